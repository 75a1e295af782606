"""Lite topics (5.5)."""

from __future__ import annotations

import msgspec

from rmqwire.fields import i32, i64

from .base import Body, written
from .offset import OffsetWrapper, TopicOffset


class OffsetOption(Body):
    """Where a lite subscription begins."""

    type: str | None = None
    value: i64 = written(0)


class LiteSubscriptionDTO(Body):
    """A change of one client's lite subscriptions."""

    action: str | None = None
    """`PARTIAL_ADD`, `PARTIAL_REMOVE`, `COMPLETE_ADD` or `COMPLETE_REMOVE`."""
    client_id: str | None = None
    group: str | None = None
    topic: str | None = None
    lite_topic_set: list[str] | None = None
    offset_option: OffsetOption | None = None
    version: i64 = written(0)


class LiteSubscriptionCtlRequestBody(Body):
    """Changes of lite subscriptions."""

    subscription_set: list[LiteSubscriptionDTO] | None = None


class GetBrokerLiteInfoResponseBody(Body):
    """Sizes of a broker's lite tables."""

    store_type: str | None = None
    max_lmq_num: i32 = written(0)
    current_lmq_num: i32 = written(0)
    lite_subscription_count: i32 = written(0)
    order_info_count: i32 = written(0)
    cq_table_size: i32 = written(0)
    offset_table_size: i32 = written(0)
    event_map_size: i32 = written(0)
    topic_meta: dict[str, i32] | None = None
    group_meta: dict[str, list[str]] | None = None


class GetParentTopicInfoResponseBody(Body):
    """A topic that has lite topics."""

    topic: str | None = None
    ttl: i32 = written(0)
    groups: list[str] | None = None
    lmq_num: i32 = written(0)
    lite_topic_count: i32 = written(0)


class ClientGroup(Body):
    """A client of a group."""

    client_id: str | None = None
    group: str | None = None


class GetLiteTopicInfoResponseBody(Body):
    """One lite topic."""

    parent_topic: str | None = None
    lite_topic: str | None = None
    subscriber: list[ClientGroup] | None = None
    topic_offset: TopicOffset | None = None
    sharding_to_broker: bool = written(False)


class GetLiteClientInfoResponseBody(Body):
    """One client's lite subscriptions."""

    parent_topic: str | None = None
    group: str | None = None
    client_id: str | None = None
    last_access_time: i64 = written(0)
    last_consume_time: i64 = written(0)
    lite_topic_count: i32 = written(0)
    lite_topic_set: list[str] | None = None


class LiteLagInfo(Body):
    """How far behind a group is on one lite topic."""

    lite_topic: str | None = None
    lag_count: i64 = written(0)
    earliest_unconsumed_timestamp: i64 = written(-1)


class GetLiteGroupInfoResponseBody(Body):
    """How far behind a group is on its lite topics."""

    group: str | None = None
    parent_topic: str | None = None
    lite_topic: str | None = None
    earliest_unconsumed_timestamp: i64 = written(-1)
    total_lag_count: i64 = written(0)
    lite_topic_offset_wrapper: OffsetWrapper | None = None
    lag_count_top_k: list[LiteLagInfo] | None = msgspec.field(name="lagCountTopK", default=None)
    lag_timestamp_top_k: list[LiteLagInfo] | None = msgspec.field(name="lagTimestampTopK", default=None)
