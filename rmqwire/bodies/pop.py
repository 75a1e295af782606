"""Acknowledgements of popped messages."""

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
