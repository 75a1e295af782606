"""Popped messages: acknowledgements as clients send them, and what a broker stores of pops."""

from __future__ import annotations

import msgspec

from rmqwire.fields import i32, i64

from .base import Body


class BatchAck(Body):
    """Messages of one pop to acknowledge."""

    consumer_group: str | None = msgspec.field(name="c", default=None)
    topic: str | None = msgspec.field(name="t", default=None)
    retry: str | None = msgspec.field(name="r", default=None)
    start_offset: i64 = msgspec.field(name="so", default_factory=lambda: 0)
    queue_id: i32 = msgspec.field(name="q", default_factory=lambda: 0)
    revive_queue_id: i32 = msgspec.field(name="rq", default_factory=lambda: 0)
    pop_time: i64 = msgspec.field(name="pt", default_factory=lambda: 0)
    invisible_time: i64 = msgspec.field(name="it", default_factory=lambda: 0)
    bit_set: bytes | None = msgspec.field(name="b", default=None)
    """Little-endian bit set of the messages after `start_offset`."""


class BatchAckMessageRequestBody(Body):
    """Acknowledgements for one broker."""

    broker_name: str | None = None
    acks: list[BatchAck] | None = None


class PopCheckPoint(Body):
    """What one pop took of one queue, as it is stored until all of it is acknowledged or brought back."""

    acknowledged_bits: i32 = msgspec.field(name="bm", default_factory=lambda: 0)
    broker_name: str | None = msgspec.field(name="bn", default=None)
    consumer_group: str | None = msgspec.field(name="c", default=None)
    offset_differences: list[i32] | None = msgspec.field(name="d", default=None)
    """Queue offsets of the messages, less `start_offset`."""
    invisible_time: i64 = msgspec.field(name="it", default_factory=lambda: 0)
    count: i32 = msgspec.field(name="n", default_factory=lambda: 0)
    pop_time: i64 = msgspec.field(name="pt", default_factory=lambda: 0)
    queue_id: i32 = msgspec.field(name="q", default_factory=lambda: 0)
    revive_time: i64 = msgspec.field(name="reviveTime", default_factory=lambda: 0)
    """Written for readers; derived from pop time and invisible time."""
    revive_offset: i64 = msgspec.field(name="ro", default_factory=lambda: 0)
    put_again_times: str | None = msgspec.field(name="rp", default=None)
    start_offset: i64 = msgspec.field(name="so", default_factory=lambda: 0)
    suspended: bool = msgspec.field(name="sp", default_factory=lambda: False)
    """Coming back does not count as another try."""
    topic: str | None = msgspec.field(name="t", default=None)


class PopAck(Body):
    """An acknowledgement of one popped message, as it is stored; of several, when `ack_offsets` is there."""

    ack_offset: i64 = msgspec.field(name="ao", default_factory=lambda: 0)
    ack_offsets: list[i64] | None = msgspec.field(name="aol", default=None)
    broker_name: str | None = msgspec.field(name="bn", default=None)
    consumer_group: str | None = msgspec.field(name="c", default=None)
    pop_time: i64 = msgspec.field(name="pt", default_factory=lambda: 0)
    queue_id: i32 = msgspec.field(name="q", default_factory=lambda: 0)
    start_offset: i64 = msgspec.field(name="so", default_factory=lambda: 0)
    topic: str | None = msgspec.field(name="t", default=None)


class PopOrder(Body):
    """What an ordered pop took of a queue, as in `config/consumerOrderInfo.json`."""

    attempt_id: str | None = msgspec.field(name="a", default=None)
    acknowledged_bits: i64 = msgspec.field(name="cm", default_factory=lambda: 0)
    invisible_time: i64 | None = msgspec.field(name="i", default=None)
    last_consumed_at: i64 = msgspec.field(name="l", default_factory=lambda: 0)
    offsets: list[i64] | None = msgspec.field(name="o", default=None)
    """The first queue offset, then the differences from it."""
    consumed_counts: dict[i64, i32] | None = msgspec.field(name="oc", default=None)
    """How often each queue offset was taken before."""
    visible_at: dict[i64, i64] | None = msgspec.field(name="ot", default=None)
    """By queue offset: when its invisible time ends, if it was changed."""
    pop_time: i64 = msgspec.field(name="popTime", default_factory=lambda: 0)
