"""Addresses, name servers, topics and permissions of a broker: a part of `BrokerConfig`."""

from __future__ import annotations

from rmqd.conf.checks import check_addresses, clamp
from rmqd.conf.option import Computed, OptionGroup, boolean, int32, int64, optional_text, text


class BrokerTopics(OptionGroup):
    """Addresses, name servers, topics and permissions of a broker."""

    broker_config_path = optional_text("File that a broker container reads this broker's options from.")
    rocketmq_home = optional_text(
        "Folder of the installation, from ROCKETMQ_HOME.",
        default=Computed("$ROCKETMQ_HOME", lambda machine: machine.environ.get("ROCKETMQ_HOME")),
    )
    namesrv_addr = optional_text(
        "Name servers as host:port;host:port, from NAMESRV_ADDR.",
        default=Computed("$NAMESRV_ADDR", lambda machine: machine.environ.get("NAMESRV_ADDR")),
        important=True,
        acted=True,
        check=check_addresses,
    )
    listen_port = int32(
        6888,
        "",
        "The broker container's copy of the key; the port that is served is the one of the server object.",
        important=True,
        low=0,
        high=65_535,
    )
    broker_ip1 = text(
        Computed("an address of the host", lambda machine: machine.local_address),
        "Address that clients are told; by default a public address of the host, else a private one.",
        key="brokerIP1",
        important=True,
        acted=True,
    )
    broker_ip2 = text(
        Computed("an address of the host", lambda machine: machine.local_address),
        "Address that slaves are told.",
        key="brokerIP2",
        acted=True,
    )
    broker_permission = int32(
        6, "", "Permission of the whole broker: 4 read, 2 write, 6 both.", acted=True, low=0, high=7
    )
    default_topic_queue_nums = int32(
        8, "queues", "Most queues of a topic that is created at its first message.", acted=True, low=1
    )
    auto_create_topic_enable = boolean(
        True, "Create a topic at its first message, after the model of TBW102.", important=True, acted=True
    )
    cluster_topic_enable = boolean(True, "Have a topic with the name of the cluster.", acted=True)
    broker_topic_enable = boolean(True, "Have a topic with the name of the broker.", acted=True)
    auto_create_subscription_group = boolean(
        True, "Create a consumer group when it first appears.", important=True, acted=True
    )
    msg_trace_topic_name = text("RMQ_SYS_TRACE_TOPIC", "Topic of message traces.", important=True, acted=True)
    trace_topic_enable = boolean(False, "Have the topic of message traces.", important=True, acted=True)
    trace_on = boolean(True, "Tell clients with every pull and send that traces are wanted.", acted=True)
    region_id = text("DefaultRegion", "Region named in the properties of every message, for traces.", acted=True)
    reject_transaction_message = boolean(
        False, "Answer NO_PERMISSION to transactional messages.", important=True, acted=True
    )
    validate_system_topic_when_update_topic = boolean(
        True, "Refuse to create or change a topic with a reserved name.", acted=True
    )
    clear_retry_topic_when_delete_topic = boolean(
        True, "Delete the retry topics of pop consumers together with their topic.", acted=True
    )
    enable_mixed_message_type = boolean(False, "Let a topic take messages of several kinds.", acted=True)
    register_name_server_period = int32(
        30_000,
        "ms",
        "Time between two registrations with the name servers; 10 s to 60 s.",
        acted=True,
        adjust=clamp(10_000, 60_000),
    )
    register_broker_timeout_mills = int32(
        24_000, "ms", "Longest wait for the answer of a name server to a registration.", acted=True, low=1
    )
    send_heartbeat_timeout_millis = int32(1000, "ms", "Longest wait for the answer of a name server to a heartbeat.")
    compressed_register = boolean(False, "Compress the body of a registration.", acted=True)
    force_register = boolean(True, "Register even where the name server already has this data version.", acted=True)
    update_name_server_addr_period = int32(120_000, "ms", "Time between two looks at the list of name servers.")
    fetch_namesrv_addr_by_address_server = boolean(
        False, "Ask an address server over HTTP for the name servers.", important=True
    )
    fetch_name_srv_addr_by_dns_lookup = boolean(False, "Look the name servers up in DNS.", important=True)
    fetch_namesrv_addr_interval = int64(10_000, "ms", "Time between two fetches of the list of name servers.")
    compatible_with_old_name_srv = boolean(True, "Send what name servers of version 4 understand.", acted=True)
    enable_single_topic_register = boolean(False, "Register a created or changed topic alone, at once.")
    enable_split_registration = boolean(False, "Spread a registration over several requests.", acted=True)
    split_registration_size = int32(800, "topics", "Most topics in one request of a spread registration.", acted=True)
    enable_split_metadata = boolean(True, "Send topics to a slave in several parts.", acted=True)
    split_metadata_size = int32(2000, "topics", "Most topics in one part.", acted=True)
    start_accept_send_request_time_stamp = int64(0, "ms since 1970", "Refuse messages before this moment.", acted=True)
    message_store_plug_in = text("", "Java classes that are put in front of the store; they cannot be loaded here.")
    enable_register_producer = boolean(True, "Keep a list of producers by their heartbeats.", acted=True)
    enable_create_sys_group = boolean(True, "Create the consumer groups that the broker itself uses.", acted=True)
    config_black_list = text(
        "configBlackList;brokerConfigPath", "Keys, separated by ;, that a running broker refuses to change.", acted=True
    )
    config_manager_version = text("v1", "Form of the files in config/: v1 is JSON, v2 RocksDB.")
