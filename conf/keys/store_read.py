"""Reading, dispatching and recovering: a part of `MessageStoreConfig`."""

from __future__ import annotations

from rmqd.conf.option import OptionGroup, boolean, int32


class StoreRead(OptionGroup):
    """Reading, dispatching and recovering."""

    max_transfer_bytes_on_message_in_memory = int32(
        262_144, "bytes", "Most bytes of one pull from memory.", important=True, acted=True, low=1
    )
    max_transfer_count_on_message_in_memory = int32(
        32, "messages", "Most messages of one pull from memory.", important=True, acted=True, low=1
    )
    max_transfer_bytes_on_message_in_disk = int32(
        65_536, "bytes", "Most bytes of one pull from disk.", important=True, acted=True, low=1
    )
    max_transfer_count_on_message_in_disk = int32(
        8, "messages", "Most messages of one pull from disk.", important=True, acted=True, low=1
    )
    access_message_in_memory_max_ratio = int32(
        40,
        "%",
        "Part of the memory that counts as filled with recent messages.",
        important=True,
        acted=True,
        low=0,
        high=100,
    )
    access_message_in_memory_hot_ratio = int32(26, "%", "Part of the memory that counts as hot.", acted=True)
    disk_fall_recorded = boolean(True, "Count how far readers are behind.")
    max_filter_message_size = int32(
        16_000, "bytes", "Most of a consume queue that one pull filters through.", acted=True, low=20
    )
    max_msgs_num_batch = int32(64, "messages", "Most messages found by one look-up of a key.", acted=True, low=1)
    default_query_max_num = int32(
        32, "messages", "Most messages found by one look-up of a unique key.", low=1, acted=True
    )
    travel_cq_file_num_when_get_message = int32(1, "files", "Most files of a consume queue that one pull goes through.")
    pull_batch_max_message_count = int32(160, "messages", "Never read by 5.5.")
    max_consume_queue_scan = int32(20_000, "entries", "Entries scanned to estimate a lag.")
    sample_count_threshold = int32(5000, "entries", "Matches after which a lag is estimated.")
    sample_steps = int32(32, "entries", "Step of that estimate.")
    search_bcq_by_cache_enable = boolean(True, "Search consume queues of batches by a cache.")
    read_un_committed = boolean(False, "Let consumers read what is not yet on as many replicas as it should be.")
    data_read_ahead_enable = boolean(True, "Let the kernel read ahead.", acted=True)
    cold_data_flow_control_enable = boolean(False, "Find out which reads come from disk.", acted=True)
    cold_data_scan_enable = boolean(False, "Keep looking which pages are in memory.", acted=True)
    timer_cold_data_check_interval_ms = int32(60_000, "ms", "Time between two such looks.")
    put_msg_index_hight_water = int32(600_000, "requests", "Never read by 5.5.")
    dispatch_from_sender_thread = boolean(False, "Never read by 5.5.", important=True)
    dispatch_cq_threads = int32(10, "threads", "Never read by 5.5.")
    dispatch_cq_cache_num = int32(4096, "entries", "Never read by 5.5.")
    enable_async_reput = boolean(True, "Never read by 5.5.")
    recheck_reput_offset_from_cq = boolean(False, "Begin dispatching where the consume queues end.")
    enable_build_consume_queue_concurrently = boolean(False, "Build consume queues in several threads.")
    batch_dispatch_request_thread_pool_nums = int32(16, "threads", "So many.")
    max_recovery_commitlog_files = int32(30, "files", "Never read by 5.5.")
    commit_log_recover_max_num = int32(10, "files", "Most files of the commit log that are recovered.")
    enable_log_consume_queue_repeatedly_build_when_recover = boolean(
        False, "Log entries that are built twice by a recovery."
    )
    enable_accelerated_recovery = boolean(
        False, "Recover from a snapshot; only after SYNC_FLUSH with consume queues in RocksDB."
    )
    enable_lmq = boolean(False, "Serve light queues.")
    enable_multi_dispatch = boolean(False, "Put a message into several light queues.")
    max_lmq_consume_queue_num = int32(20_000, "queues", "Never read by 5.5.")
    enable_lmq_quota = boolean(False, "Keep to the quotas of light queues.")
    disappear_time_after_start = int32(-1, "ms", "Stay out of the routes for so long after the start.", important=True)
