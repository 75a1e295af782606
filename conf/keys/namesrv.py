"""Options of the name server."""

from __future__ import annotations

from rmqd.conf.option import Computed, OptionGroup, boolean, int32, int64, optional_text, text


class NamesrvConfig(OptionGroup):
    """The name server."""

    JAVA_CLASS = "org.apache.rocketmq.common.namesrv.NamesrvConfig"

    rocketmq_home = optional_text(
        "Folder of the installation, from ROCKETMQ_HOME.",
        default=Computed("$ROCKETMQ_HOME", lambda machine: machine.environ.get("ROCKETMQ_HOME")),
    )
    kv_config_path = text(
        Computed("~/namesrv/kvConfig.json", lambda machine: f"{machine.user_home}/namesrv/kvConfig.json"),
        "File of the KV configuration.",
        acted=True,
    )
    config_store_path = text(
        Computed("~/namesrv/namesrv.properties", lambda machine: f"{machine.user_home}/namesrv/namesrv.properties"),
        "File of these options that a running name server rewrites; the one given by -c if there is one.",
        acted=True,
    )
    product_env_name = text("center", "Name of the environment for the routes of a test cluster.")
    cluster_test = boolean(False, "Ask the name servers of that environment for topics that are unknown here.")
    order_message_enable = boolean(
        False, "Give ordered topics their configuration of queues along with the route.", acted=True
    )
    return_order_topic_config_to_broker = boolean(
        True, "Tell a broker at its registration which topics are ordered.", acted=True
    )
    client_request_thread_pool_nums = int32(8, "threads", "Threads that give routes to clients.")
    default_thread_pool_nums = int32(16, "threads", "Threads that serve everything else.")
    client_request_thread_pool_queue_capacity = int32(50_000, "requests", "Most requests for routes that wait.")
    default_thread_pool_queue_capacity = int32(10_000, "requests", "Most other requests that wait.")
    scan_not_active_broker_interval = int64(
        5000, "ms", "Time between two looks for brokers that have fallen silent.", acted=True, low=1
    )
    un_register_broker_queue_capacity = int32(3000, "requests", "Most brokers that wait to be taken out.")
    support_acting_master = boolean(False, "Let clients take a slave for its missing master.", acted=True)
    enable_all_topic_list = boolean(True, "Answer requests for the list of all topics.", acted=True)
    enable_topic_list = boolean(True, "Answer requests for the topics of a cluster.", acted=True)
    notify_min_broker_id_changed = boolean(
        False, "Tell brokers when the lowest number of their name changes.", acted=True
    )
    enable_controller_in_namesrv = boolean(False, "Run a controller too.")
    need_wait_for_service = boolean(
        False, "Give no routes at first, until brokers have had time to register.", acted=True
    )
    wait_seconds_for_service = int32(45, "s", "How long.", acted=True, low=0)
    delete_topic_with_broker_registration = boolean(
        False, "Forget topics of a broker that are missing from its registration.", acted=True
    )
    config_black_list = text(
        "configBlackList;configStorePath;kvConfigPath",
        "Keys, separated by ;, that a running name server refuses to change.",
        acted=True,
    )
