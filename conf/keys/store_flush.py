"""Writing to disk: when, how much, and what waits for it: a part of `MessageStoreConfig`."""

from __future__ import annotations

from rmqd.conf.enums import FlushDiskType
from rmqd.conf.option import OptionGroup, boolean, choice, int32, int64


class StoreFlush(OptionGroup):
    """Writing to disk: when, how much, and what waits for it."""

    flush_disk_type = choice(
        FlushDiskType.ASYNC_FLUSH,
        "SYNC_FLUSH: acknowledge what is on disk; ASYNC_FLUSH: what is written.",
        important=True,
        acted=True,
    )
    flush_interval_commit_log = int32(
        500, "ms", "Time between two flushes of the commit log.", important=True, acted=True, low=1
    )
    flush_commit_log_timed = boolean(True, "Sleep that long rather than wait for messages.", important=True)
    flush_commit_log_least_pages = int32(
        4, "pages", "Flush only if so many pages of 4 KiB are unflushed.", acted=True, low=0
    )
    flush_commit_log_thorough_interval = int32(
        10_000, "ms", "Flush whatever there is after so long.", acted=True, low=1
    )
    flush_interval_consume_queue = int32(1000, "ms", "Time between two flushes of the consume queues.", low=1)
    flush_consume_queue_least_pages = int32(2, "pages", "Flush only if so many pages of 4 KiB are unflushed.", low=0)
    flush_consume_queue_thorough_interval = int32(
        60_000, "ms", "Flush whatever there is after so long.", acted=True, low=1
    )
    sync_flush_timeout = int32(
        5000, "ms", "Longest wait of a SYNC_FLUSH send before FLUSH_DISK_TIMEOUT.", acted=True, low=1
    )
    put_message_timeout = int32(8000, "ms", "Never read by 5.5.")
    transient_store_pool_enable = boolean(False, "Gather records in memory that is not mapped.", important=True)
    transient_store_pool_size = int32(5, "buffers", "Buffers of that memory.")
    fast_fail_if_no_buffer_in_store_pool = boolean(False, "Refuse messages while no such buffer is free.")
    commit_interval_commit_log = int32(
        200, "ms", "Time between two moves from that memory to the file.", important=True
    )
    commit_commit_log_least_pages = int32(4, "pages", "Move only if there is so much.")
    commit_commit_log_thorough_interval = int32(200, "ms", "Move whatever there is after so long.")
    write_without_mmap = boolean(
        False, "Write by file descriptors rather than by maps; here it is always so.", important=True
    )
    wake_commit_when_put_message = boolean(True, "A message wakes the thread that moves.", important=True)
    wake_flush_when_put_message = boolean(False, "A message wakes the thread that flushes.", important=True)
    use_reentrant_lock_when_put_message = boolean(True, "Kind of lock around an append.")
    use_abs_lock = boolean(False, "Kind of lock around an append: backing off by itself.", key="useABSLock")
    spin_lock_collision_retreat_optimal_degree = int32(1000, "spins", "When that lock backs off.")
    topic_queue_lock_num = int32(32, "locks", "Locks around the offsets of queues.")
    os_page_cache_busy_time_out_mills = int64(
        1000, "ms", "Answer SYSTEM_BUSY while an append takes longer.", acted=True
    )
    max_async_put_message_requests = int32(5000, "requests", "Most sends that wait for the store.")
    warm_maped_file_enable = boolean(False, "Touch every page of a new file.")
    flush_least_pages_when_warm_maped_file = int32(4096, "pages", "Flush after so many pages of it.")
    shared_byte_buffer_num = int32(16, "buffers", "Buffers shared for writing without maps.")
    put_consume_queue_data_by_file_channel = boolean(True, "Write consume queues by file descriptors.")
    mapped_file_swap_enable = boolean(True, "Never read by 5.5.")
    commit_log_force_swap_map_interval = int64(43_200_000, "ms", "Never read by 5.5.")
    commit_log_swap_map_interval = int64(3_600_000, "ms", "Never read by 5.5.")
    commit_log_swap_map_reserve_file_num = int32(100, "files", "Never read by 5.5.")
    logic_queue_force_swap_map_interval = int64(43_200_000, "ms", "Never read by 5.5.")
    logic_queue_swap_map_interval = int64(3_600_000, "ms", "Never read by 5.5.")
    logic_queue_swap_map_reserve_file_num = int32(20, "files", "Never read by 5.5.")
    clean_swaped_map_interval = int64(300_000, "ms", "Never read by 5.5.")
    enable_running_flags_in_flush = boolean(False, "Stop flushing once the store is marked as failed.", important=True)
    debug_lock_enable = boolean(False, "Log stacks when an append holds the lock for over a second.")
