"""Replication: HA, DLedger, controller: a part of `MessageStoreConfig`."""

from __future__ import annotations

from rmqd.conf.enums import BrokerRole
from rmqd.conf.option import Computed, OptionGroup, boolean, choice, int32, int64, optional_text


class StoreHa(OptionGroup):
    """Replication: HA, DLedger, controller."""

    broker_role = choice(
        BrokerRole.ASYNC_MASTER,
        "ASYNC_MASTER, SYNC_MASTER (acknowledge what is replicated) or SLAVE.",
        important=True,
        acted=True,
    )
    ha_listen_port = int32(
        Computed("listenPort + 1", lambda _: 0),
        "",
        "Port for slaves; the served port + 1 unless set.",
        acted=True,
        low=0,
        high=65_535,
    )
    ha_master_address = optional_text(
        "Address of the master's port for slaves; a slave asks the name server if it is not set.",
        important=True,
        acted=True,
    )
    ha_send_heartbeat_interval = int32(
        5000, "ms", "Time between two signs of life between master and slave.", acted=True, low=1
    )
    ha_housekeeping_interval = int32(20_000, "ms", "Silence after which master and slave part.", acted=True, low=1)
    ha_transfer_batch_size = int32(32_768, "bytes", "Most bytes of one frame to a slave.", acted=True, low=1)
    ha_max_gap_not_in_sync = int32(
        268_435_456,
        "bytes",
        "A slave that is further behind is not in sync.",
        aliases=("haSlaveFallbehindMax",),
        acted=True,
    )
    ha_max_time_slave_not_catchup = int64(
        15_000, "ms", "A slave that has been behind for longer is not in sync.", acted=True
    )
    ha_flow_control_enable = boolean(False, "Limit what is sent to a slave.", important=True, acted=True)
    max_ha_transfer_byte_in_second = int64(104_857_600, "bytes/s", "Most bytes sent to a slave.", acted=True, low=1)
    slave_timeout = int32(3000, "ms", "Longest wait of a SYNC_MASTER send for its replicas.", acted=True, low=1)
    offset_check_in_slave = boolean(False, "Let a slave refuse offsets that it does not have.", acted=True)
    in_sync_replicas = int32(
        1,
        "replicas",
        "Replicas, the master among them, that must have a SYNC_MASTER send.",
        important=True,
        acted=True,
    )
    min_in_sync_replicas = int32(
        1, "replicas", "Smallest number of them while some are gone.", important=True, acted=True
    )
    total_replicas = int32(1, "replicas", "All of them.", important=True, acted=True)
    all_ack_in_sync_state_set = boolean(False, "All replicas in sync must have it.", important=True, acted=True)
    enable_auto_in_sync_replicas = boolean(False, "Ask for fewer while some are gone.", important=True, acted=True)
    sync_master_flush_offset_when_startup = boolean(
        False, "Ask the master at the start how far it has flushed; only shown.", acted=True
    )
    max_checksum_range = int64(1_073_741_824, "bytes", "Most of the log that is compared with the master at the start.")
    max_slave_resend_length = int64(268_435_456, "bytes", "Never read by 5.5.")
    sync_from_last_file = boolean(False, "An empty slave begins at the master's last file.", acted=True)
    async_learner = boolean(False, "A replica that never counts as in sync.", acted=True)
    enable_dleger_commit_log = boolean(False, "Replicate by DLedger.", key="enableDLegerCommitLog")
    dleger_group = optional_text("Name of the DLedger group.", key="dLegerGroup")
    dleger_peers = optional_text("Its members as n0-host:port;n1-host:port.", key="dLegerPeers")
    dleger_self_id = optional_text("Which of them this broker is.", key="dLegerSelfId")
    preferred_leader_id = optional_text("Who should lead it.")
    enable_batch_push = boolean(False, "Send several of its entries at once.")
