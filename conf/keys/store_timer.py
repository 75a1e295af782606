"""Delayed messages: levels and the timer: a part of `MessageStoreConfig`."""

from __future__ import annotations

from rmqd.conf.checks import check_delay_levels, timer_precision
from rmqd.conf.option import OptionGroup, boolean, float64, int32, int64, text


class StoreTimer(OptionGroup):
    """Delayed messages: levels and the timer."""

    message_delay_level = text(
        "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
        "Delays of the levels, separated by blanks, as 5s, 10m, 2h or 1d.",
        acted=True,
        check=check_delay_levels,
    )
    flush_delay_offset_interval = int64(
        10_000, "ms", "Time between two writes of config/delayOffset.json.", acted=True, low=1
    )
    enable_schedule_message_stats = boolean(True, "Count messages by level.")
    enable_schedule_async_deliver = boolean(False, "Deliver without waiting for each message to be stored.")
    schedule_async_deliver_max_pending_limit = int32(2000, "messages", "Most deliveries that wait.")
    schedule_async_deliver_max_resend_num2_blocked = int32(3, "times", "Attempts after which a level waits.")
    timer_wheel_enable = boolean(True, "Serve messages with a moment of delivery.", acted=True)
    timer_precision_ms = int32(
        1000, "ms", "Width of a slot of the timer: 100, 200, 500 or 1000.", adjust=timer_precision, acted=True
    )
    timer_max_delay_sec = int32(259_200, "s", "Longest delay.", acted=True)
    timer_roll_window_slot = int32(172_800, "slots", "Slots that the timer looks ahead.", acted=True)
    timer_flush_interval_ms = int32(1000, "ms", "Time between two flushes of the timer.", acted=True, low=1)
    mapped_file_size_timer_log = int32(104_857_600, "bytes", "Length of a file of its log.", low=1, acted=True)
    timer_get_message_thread_num = int32(3, "threads", "Threads that read due messages.")
    timer_put_message_thread_num = int32(3, "threads", "Threads that store them.")
    timer_enable_disruptor = boolean(False, "Hand them over by a ring buffer.", settable=False)
    timer_enable_check_metrics = boolean(True, "Check its counts.")
    timer_check_metrics_when = text("05", "At this hour.", settable=False)
    timer_intercept_delay_level = boolean(False, "Let the timer serve the levels too.")
    timer_wheel_snapshot_flush = boolean(False, "Write the wheel as snapshots.")
    timer_wheel_snapshot_interval_ms = int32(10_000, "ms", "Time between two snapshots.")
    timer_stop_enqueue = boolean(False, "Take no further messages into the timer.", acted=True)
    timer_stop_dequeue = boolean(False, "Deliver nothing from it.", settable=False)
    timer_warm_enable = boolean(False, "Read due messages ahead.", settable=False)
    timer_skip_unknown_error = boolean(False, "Drop a message that cannot be delivered.")
    timer_enable_retry_until_success = boolean(False, "Deliver until it succeeds.")
    timer_congest_num_each_slot = int32(2_147_483_647, "messages", "Most messages in one slot.", acted=True)
    timer_metric_small_threshold = int32(1_000_000, "messages", "Below that a count is exact.")
    timer_progress_log_interval_ms = int32(10_000, "ms", "Time between two lines of progress in the log.")
    append_topic_for_timer_delete_key = boolean(
        False, "Put the topic in front of the key by which a delayed message is taken back.", acted=True
    )
    timer_rocksdb_enable = boolean(False, "Keep the timer in RocksDB.", key="timerRocksDBEnable")
    timer_rocksdb_stop_scan = boolean(False, "Stop reading it.", key="timerRocksDBStopScan")
    timer_rocksdb_precision_ms = int64(1000, "ms", "Width of a slot of it.", key="timerRocksDBPrecisionMs")
    timer_rocksdb_roll_max_tps = float64(
        8000.0, "messages/s", "Most messages put off again.", key="timerRocksDBRollMaxTps"
    )
    timer_rocksdb_time_expired_max_tps = float64(
        200000.0, "messages/s", "Most messages delivered late.", key="timerRocksDBTimeExpiredMaxTps"
    )
    timer_rocksdb_roll_interval_hours = int32(
        1, "h", "Time between two rounds that put messages off again.", key="timerRocksDBRollIntervalHours"
    )
    timer_rocksdb_roll_range_hours = int32(2, "h", "How far such a round looks.", key="timerRocksDBRollRangeHours")
    timer_recall_to_time_wheel_enable = boolean(True, "Take messages back from the wheel.")
    timer_recall_to_timeline_enable = boolean(True, "Take messages back from RocksDB.")
    timer_reput_service_core_pool_size = int32(6, "threads", "Threads that deliver from RocksDB.")
    timer_reput_service_max_pool_size = int32(6, "threads", "Most such threads.")
    timer_reput_service_queue_capacity = int32(10_000, "messages", "Most messages that wait for them.")
