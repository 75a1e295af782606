"""Views of consume queues and subscriptions."""

from __future__ import annotations

import msgspec

from rmqwire.fields import i32, i64

from .base import Body, MessageQueue, new_list, written
from .heartbeat import SubscriptionData


class ConsumeQueueData(Body):
    """One unit of a consume queue."""

    physic_offset: i64 = written(0)
    physic_size: i32 = written(0)
    tags_code: i64 = written(0)
    extend_data_json: str | None = None
    bit_map: str | None = None
    eval: bool = written(False)
    msg: str | None = None


class QueryConsumeQueueResponseBody(Body):
    """Units of a consume queue, and how a subscription filters them."""

    subscription_data: SubscriptionData | None = None
    filter_data: str | None = None
    queue_data: list[ConsumeQueueData] | None = None
    max_queue_index: i64 = written(0)
    min_queue_index: i64 = written(0)


class QuerySubscriptionResponseBody(Body):
    """A group's subscription of a topic."""

    subscription_data: SubscriptionData | None = None
    group: str | None = None
    topic: str | None = None


class QueueTimeSpan(Body):
    """The store times between which a group stands in one queue; texts are `yyyy-MM-dd#HH:mm:ss:SSS`."""

    message_queue: MessageQueue | None = None
    min_time_stamp: i64 = written(0)
    max_time_stamp: i64 = written(0)
    consume_time_stamp: i64 = written(0)
    delay_time: i64 = written(0)
    min_time_stamp_str: str | None = None
    max_time_stamp_str: str | None = None
    consume_time_stamp_str: str | None = None


class QueryConsumeTimeSpanBody(Body):
    """Time spans of a topic's queues."""

    consume_time_span_set: list[QueueTimeSpan] = msgspec.field(default_factory=new_list)
