"""Where the files of the store lie and how long they are: a part of `MessageStoreConfig`."""

from __future__ import annotations

from rmqd.conf.checks import check_store_type, round_up
from rmqd.conf.option import Computed, OptionGroup, boolean, int32, optional_text, text


class StoreFiles(OptionGroup):
    """Where the files of the store lie and how long they are."""

    store_path_root_dir = text(
        Computed("~/store", lambda machine: f"{machine.user_home}/store"),
        "Root of everything that is stored.",
        important=True,
        acted=True,
    )
    store_path_commit_log = text(
        Computed("<storePathRootDir>/commitlog", lambda _: ""),
        "Folder of the commit log; commitlog under the root unless set. Several, separated by a comma, spread it.",
        important=True,
        acted=True,
    )
    read_only_commit_log_store_paths = optional_text("Folders of the commit log that are only read.")
    store_path_dledger_commit_log = optional_text(
        "Folder of the DLedger log.", key="storePathDLedgerCommitLog", important=True
    )
    store_path_epoch_file = optional_text(
        "File of the epochs in controller mode; epochFileCheckpoint under the root unless set.",
        important=True,
        acted=True,
    )
    store_path_broker_identity = optional_text(
        "File of the broker's number in controller mode; brokerIdentity under the root unless set.",
        important=True,
        acted=True,
    )
    mapped_file_size_commit_log = int32(
        1_073_741_824,
        "bytes",
        "Length of a file of the commit log.",
        acted=True,
        low=1,
        aliases=("mapedFileSizeCommitLog",),
    )
    mapped_file_size_consume_queue = int32(
        6_000_000,
        "bytes",
        "Length of a file of a consume queue, rounded up to a multiple of 20.",
        acted=True,
        low=1,
        adjust=round_up(20),
        aliases=("mapedFileSizeConsumeQueue",),
    )
    enable_consume_queue_ext = boolean(False, "Keep the properties' bit maps of filters in further files.")
    mapped_file_size_consume_queue_ext = int32(
        50_331_648, "bytes", "Length of such a file.", low=1, aliases=("mapedFileSizeConsumeQueueExt",)
    )
    mapper_file_size_batch_consume_queue = int32(
        13_800_000, "bytes", "Length of a file of a consume queue of batches.", low=1
    )
    bit_map_length_consume_queue_ext = int32(64, "bits", "Length of a bit map.", low=1)
    max_hash_slot_num = int32(5_000_000, "slots", "Hash slots of an index file.", acted=True, low=1)
    max_index_num = int32(20_000_000, "entries", "Entries of an index file.", acted=True, low=2)
    message_index_enable = boolean(True, "Keep the index of message keys.", important=True, acted=True)
    message_index_safe = boolean(False, "Recover the index as strictly as the commit log.", important=True, acted=True)
    index_file_write_enable = boolean(True, "Write index files, where there is an index in RocksDB too.")
    index_file_read_enable = boolean(True, "Read index files, where there is an index in RocksDB too.")
    max_message_size = int32(4_194_304, "bytes", "Longest body of a message.", acted=True, low=1)
    max_topic_length = int32(127, "bytes", "Never read by 5.5.")
    auto_message_version_on_topic_len = boolean(
        True, "Store topics over 127 bytes in records of the second form.", acted=True
    )
    check_crc_on_recover = boolean(
        True, "Check the bodies' check sums when the store is recovered.", key="checkCRCOnRecover", acted=True
    )
    check_commit_log_offset_on_recover = boolean(False, "Check each record's own offset when the store is recovered.")
    enabled_append_prop_crc = boolean(
        False, "Append a check sum of the whole record as a property.", key="enabledAppendPropCRC"
    )
    force_verify_prop_crc = boolean(False, "Refuse records with a wrong one.", key="forceVerifyPropCRC")
    duplication_enable = boolean(False, "Write replicated records where another replica would.")
    store_type = text(
        "default", "default: files; defaultRocksDB: consume queues in RocksDB.", important=True, check=check_store_type
    )
    enable_compaction = boolean(True, "Serve topics that keep the last message of each key only.")
    compaction_mapped_file_size = int32(104_857_600, "bytes", "Length of a file of such a topic.", low=1)
    compaction_cq_mapped_file_size = int32(
        10_485_760, "bytes", "Length of a consume queue's file of such a topic.", low=1
    )
    compaction_schedule_internal = int32(900_000, "ms", "Time between two compactions.")
    compaction_thread_num = int32(6, "threads", "Threads that compact.")
    max_offset_map_size = int32(104_857_600, "bytes", "Memory for the keys of one compaction.")
