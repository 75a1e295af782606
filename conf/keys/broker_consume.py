"""Pulling, offsets, filters and the life of consumers: a part of `BrokerConfig`."""

from __future__ import annotations

from rmqd.conf.enums import MessageRequestMode
from rmqd.conf.option import OptionGroup, boolean, choice, int32, int64


class BrokerConsume(OptionGroup):
    """Pulling, offsets, filters and the life of consumers."""

    flush_consumer_offset_interval = int32(
        5000, "ms", "Time between two writes of config/consumerOffset.json.", acted=True, low=1
    )
    flush_consumer_offset_history_interval = int32(60_000, "ms", "Never read by the official broker either.")
    long_polling_enable = boolean(True, "Hold a pull that finds nothing until a message comes.", acted=True)
    short_polling_time_mills = int64(
        1000, "ms", "How long such a pull is held where long polling is off.", acted=True, low=1
    )
    notify_consumer_ids_changed_enable = boolean(
        True, "Tell the consumers of a group when one comes or goes.", acted=True
    )
    real_time_notify_consumer_change = boolean(True, "Tell them at once rather than once in a while.", acted=True)
    channel_expired_timeout = int64(
        120_000, "ms", "A client that is silent for so long is forgotten.", low=1, acted=True
    )
    subscription_expired_timeout = int64(
        600_000, "ms", "A subscription that is not repeated for so long is forgotten.", low=1
    )
    reject_pull_consumer_enable = boolean(False, "Refuse consumers that pull by hand.", acted=True)
    lite_pull_message_enable = boolean(True, "Serve consumers of the lite pull API.", acted=True)
    slave_read_enable = boolean(False, "Let a slave serve those who have fallen behind.", acted=True)
    disable_consume_if_consumer_read_slowly = boolean(False, "Stop a group that has fallen too far behind.", acted=True)
    consumer_fallbehind_threshold = int64(17_179_869_184, "bytes", "What too far behind means.", acted=True)
    transfer_msg_by_heap = boolean(True, "Copy messages to the heap rather than send from the mapped file.")
    use_server_side_reset_offset = boolean(
        True, "Keep a reset of offsets in the broker until the consumer comes for it.", acted=True
    )
    consumer_offset_update_version_step = int64(
        500, "changes", "Raise the data version of the consumer offsets after so many changes.", acted=True
    )
    delay_offset_update_version_step = int64(
        200, "changes", "Raise the data version of the delay offsets after so many changes.", acted=True
    )
    persist_consumer_offset_incrementally = boolean(
        False, "Write only the changed offsets, where they are kept in RocksDB."
    )
    enable_broadcast_offset_store = boolean(True, "Keep offsets of broadcasting consumers that come through a proxy.")
    broadcast_offset_expire_second = int64(120, "s", "Forget such an offset after so long without a change.")
    broadcast_offset_expire_max_second = int64(300, "s", "Forget such an offset after so long in any case.")
    use_static_subscription = boolean(False, "Allow a group only the topics that its settings list.")
    server_load_balancer_enable = boolean(True, "Assign queues to consumers in the broker.", acted=True)
    load_balance_poll_name_server_interval = int64(
        30_000, "ms", "Time between two looks at the routes for that assignment.", acted=True
    )
    default_message_request_mode = choice(
        MessageRequestMode.PULL, "How groups without a setting are told to consume.", acted=True
    )
    default_pop_share_queue_num = int32(
        -1, "queues", "How many further queues a pop consumer may share; -1 is all.", acted=True
    )
    enable_property_filter = boolean(False, "Allow SQL filters over the properties of messages.", acted=True)
    enable_calc_filter_bit_map = boolean(False, "Note at storing time which filters a message passes.")
    expect_consumer_num_use_filter = int32(
        32, "consumers", "How many filtering consumers such notes are laid out for.", low=1, acted=True
    )
    max_error_rate_of_bloom_filter = int32(
        20, "%", "Error rate such notes are laid out for.", low=1, high=99, acted=True
    )
    filter_data_clean_time_span = int64(
        86_400_000, "ms", "Forget the filter of a consumer that has been gone for so long.", acted=True
    )
    filter_support_retry = boolean(
        False, "Filter messages of retry topics by the expression for their first topic.", acted=True
    )
    estimate_accumulation = boolean(True, "Estimate how many of the waiting messages pass a tag filter.")
