"""Pop consumers (5.x), and lite topics (5.5): a part of `BrokerConfig`."""

from __future__ import annotations

from rmqd.conf.option import OptionGroup, boolean, int32, int64


class BrokerPop(OptionGroup):
    """Pop consumers (5.x), and lite topics (5.5)."""

    pop_polling_size = int32(1024, "requests", "Most held pops of one queue.", acted=True)
    pop_polling_map_size = int32(100_000, "keys", "Most queues with held pops.")
    pop_polling_map_expire_time_seconds = int32(600, "s", "Forget a queue without a held pop after so long.")
    max_pop_polling_size = int64(100_000, "requests", "Most held pops altogether.", acted=True)
    pop_long_polling_force_notify_interval = int64(
        800, "messages", "Wake a held pop after so many messages that its filter passes over.", acted=True
    )
    revive_queue_num = int32(
        8, "queues", "Queues of the topic that holds check points and acknowledgements.", acted=True
    )
    revive_interval = int64(1000, "ms", "Pause between two rounds over that topic.", acted=True)
    revive_max_slow = int64(3, "rounds", "Rounds without progress after which the pause grows no more.")
    revive_scan_time = int64(10_000, "ms", "Longest round.")
    revive_ack_wait_ms = int64(180_000, "ms", "How long a round waits for acknowledgements that are late.")
    enable_skip_long_awaiting_ack = boolean(False, "Go on without acknowledgements that are later still.")
    enable_pop_log = boolean(False, "Log each pop.")
    enable_pop_buffer_merge = boolean(False, "Match check points and acknowledgements in memory first.")
    pop_ck_stay_buffer_time = int32(10_000, "ms", "How long a check point stays in memory.")
    pop_ck_stay_buffer_time_out = int32(3000, "ms", "How long before its time it is written out.")
    pop_ck_max_buffer_size = int32(200_000, "check points", "Most check points in memory.")
    pop_ck_offset_max_queue_size = int32(20_000, "check points", "Most check points of one queue in memory.")
    enable_pop_batch_ack = boolean(False, "Write several acknowledgements as one message.")
    append_ack_async = boolean(False, "Do not wait for an acknowledgement to be stored.")
    append_ck_async = boolean(False, "Do not wait for a check point to be stored.")
    skip_when_ck_re_put_reach_max_times = boolean(
        False, "Drop a check point that has been put back too often.", key="skipWhenCKRePutReachMaxTimes", acted=True
    )
    enable_notify_before_pop_calculate_lag = boolean(True, "Wake held pops before a lag is calculated.")
    enable_notify_after_pop_order_lock_release = boolean(
        True, "Wake held pops when an ordered queue is unlocked.", acted=True
    )
    init_pop_offset_by_check_msg_in_mem = boolean(
        True, "Begin at the end of a queue only if its last message is in memory.", acted=True
    )
    retrieve_message_from_pop_retry_topic_v1 = boolean(True, "Read retry topics of the first form too.", acted=True)
    enable_retry_topic_v2 = boolean(False, "Name retry topics in the second form.", acted=True)
    pop_from_retry_probability = int32(20, "%", "How often a pop looks at the retry topic first.", acted=True)
    pop_from_retry_probability_for_priority = int32(0, "%", "The same for priority topics.")
    priority_order_asc = boolean(True, "A smaller priority number comes later.")
    pop_consumer_fs_service_init = boolean(
        True, "Start the pop service that works on topics.", key="popConsumerFSServiceInit"
    )
    pop_consumer_kv_service_init = boolean(
        False, "Start the pop service that works on RocksDB.", key="popConsumerKVServiceInit"
    )
    pop_consumer_kv_service_enable = boolean(
        False, "Use the pop service that works on RocksDB.", key="popConsumerKVServiceEnable"
    )
    pop_consumer_kv_service_log = boolean(False, "Log what it does.", key="popConsumerKVServiceLog")
    pop_revive_max_return_size_per_read = int32(16_384, "messages", "Most messages brought back in one read.")
    pop_revive_max_attempt_times = int32(16, "times", "Attempts to bring a message back.")
    pop_revive_concurrency = int32(32, "messages", "How many are brought back at a time.")
    pop_revive_skip_if_group_absent = boolean(True, "Bring nothing back for a group that no longer exists.", acted=True)
    use_separate_retry_queue = boolean(False, "Keep a retry queue for each queue.")
    use_message_filter_for_notification = boolean(True, "Ask the filter before a held pop is woken.")
    max_message_filter_num_for_notification = int32(64, "requests", "Most held pops asked in that way.")
    pop_response_return_actual_retry_topic = boolean(False, "Name the retry topic in the answer to a pop.", acted=True)
    pop_inflight_message_threshold = int64(
        10_000, "messages", "Most messages of a queue that are out with consumers.", acted=True
    )
    enable_pop_message_threshold = boolean(False, "Keep to that number.", acted=True)
    enable_lite_event_mode = boolean(True, "Tell lite consumers of new messages by events.")
    enable_lite_pop_log = boolean(False, "Log each pop of a lite topic.")
    lite_event_check_interval = int64(10_000, "ms", "Time between two checks of those events.")
    lite_event_full_dispatch_delay_time = int64(10_000, "ms", "Wait before all lite topics of a client are looked at.")
    lite_event_full_dispatch_delay_time_for_wildcard_group = int64(
        10_000, "ms", "The same for groups that subscribe to all lite topics."
    )
    max_client_event_count = int32(100, "events", "Most events that wait for one client.")
    lite_ttl_check_interval = int64(120_000, "ms", "Time between two looks for lite topics that have expired.")
    min_lite_ttl = int64(900_000, "ms", "Shortest life of a lite topic.", key="minLiteTTl")
    lite_subscription_check_interval = int64(
        120_000, "ms", "Time between two looks for lite subscriptions that have expired."
    )
    lite_subscription_check_timeout_mills = int64(180_000, "ms", "Life of a lite subscription that is not repeated.")
    max_lite_subscription_count = int64(100_000, "subscriptions", "Most lite subscriptions.")
    lite_lag_count_metrics_enable = boolean(False, "Export how many messages of lite topics wait.")
    lite_lag_latency_collect_enable = boolean(False, "Measure how long messages of lite topics wait.")
    lite_lag_latency_metrics_enable = boolean(False, "Export how long messages of lite topics wait.")
    lite_lag_latency_top_k = int32(50, "topics", "How many of the slowest lite topics are exported.")
