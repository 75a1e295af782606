"""Tables of offsets: what groups have consumed, what was reset, what is there."""

from __future__ import annotations

import msgspec

from rmqwire.fields import i32, i64

from .base import Body, MessageQueue, new_dict, new_list, written
from .version import DataVersion


class ConsumerOffsetTable(Body):
    """Offset by queue id by `topic@group`, as in `config/consumerOffset.json`."""

    data_version: DataVersion | None = None
    offset_table: dict[str, dict[i32, i64]] = msgspec.field(default_factory=new_dict)


class DelayOffsetTable(Body):
    """Delivered offset by delay level, as in `config/delayOffset.json`."""

    data_version: DataVersion | None = None
    offset_table: dict[i32, i64] = msgspec.field(default_factory=new_dict)


class OffsetWrapper(Body):
    """How far a group is with one queue."""

    broker_offset: i64 = written(0)
    consumer_offset: i64 = written(0)
    pull_offset: i64 = written(0)
    last_timestamp: i64 = written(0)


class ConsumeStats(Body):
    """How far a group is with its queues."""

    offset_table: dict[MessageQueue, OffsetWrapper] = msgspec.field(default_factory=new_dict)
    consume_tps: float = written(0.0)


class ConsumeStatsList(Body):
    """How far all groups are."""

    consume_stats_list: list[dict[str, list[ConsumeStats]]] = msgspec.field(default_factory=new_list)
    broker_addr: str | None = None
    total_diff: i64 = written(0)
    total_inflight_diff: i64 = written(0)


class TopicOffset(Body):
    """Both ends of a queue."""

    min_offset: i64 = written(0)
    max_offset: i64 = written(0)
    last_update_timestamp: i64 = written(0)


class TopicStatsTable(Body):
    """Both ends of the queues of a topic."""

    offset_table: dict[MessageQueue, TopicOffset] = msgspec.field(default_factory=new_dict)
    topic_put_tps: float = written(0.0)


class ResetOffsetBody(Body):
    """New offsets by queue."""

    offset_table: dict[MessageQueue, i64] = msgspec.field(default_factory=new_dict)


class MessageQueueForC(Body):
    """A queue with its offset."""

    topic: str | None = None
    broker_name: str | None = None
    queue_id: i32 = written(0)
    offset: i64 = written(0)


class ResetOffsetBodyForC(Body):
    """New offsets as a list, for C++ clients."""

    offset_table: list[MessageQueueForC] | None = None


class GetConsumerStatusBody(Body):
    """Offsets by queue, of one client (its answer) or by client id (the broker's)."""

    message_queue_table: dict[MessageQueue, i64] = msgspec.field(default_factory=new_dict)
    consumer_table: dict[str, dict[MessageQueue, i64]] = msgspec.field(default_factory=new_dict)


class QueryCorrectionOffsetBody(Body):
    """Smallest offset of other groups by queue id."""

    correction_offsets: dict[i32, i64] = msgspec.field(default_factory=new_dict)


class OffsetMovedEvent(Body):
    """The message a broker stores when a consumer asked for an offset that is gone."""

    consumer_group: str | None = None
    message_queue: MessageQueue | None = None
    offset_request: i64 = written(0)
    offset_new: i64 = written(0)
