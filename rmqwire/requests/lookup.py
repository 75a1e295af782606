"""Requests that find single messages and show a consume queue."""

from __future__ import annotations

import msgspec

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32, i64

from .base import TopicRequest


class QueryMessageReply(Header):
    """How new the index is."""

    index_last_update_timestamp: i64
    index_last_update_phyoffset: i64


@request(
    RequestCode.QUERY_MESSAGE,
    served_by=Role.BROKER,
    reply=QueryMessageReply,
    source="QueryMessageRequestHeader 5.5.0",
    reply_body="stored records back to back",
)
class QueryMessage(TopicRequest):
    """Find messages by key in the index."""

    topic: str
    key: str
    max_num: i32
    begin_timestamp: i64
    """Store time, milliseconds since 1970."""
    end_timestamp: i64
    unique_key_query: bool | None = msgspec.field(name="_UNIQUE_KEY_QUERY", default=None)
    """The key is the client's message id."""
    index_type: str | None = None
    last_key: str | None = None


@request(
    RequestCode.VIEW_MESSAGE_BY_ID,
    served_by=Role.BROKER,
    source="ViewMessageRequestHeader 5.5.0",
    reply_body="one stored record",
)
class ViewMessageById(Header):
    """Read the record at a physical offset."""

    offset: i64
    topic: str | None = None


@request(
    RequestCode.QUERY_CONSUME_QUEUE,
    served_by=Role.BROKER,
    source="QueryConsumeQueueRequestHeader 5.5.0",
    reply_body="QueryConsumeQueueResponseBody",
)
class QueryConsumeQueue(TopicRequest):
    """Show units of a consume queue."""

    topic: str | None = None
    queue_id: i32 = 0
    index: i64 = 0
    count: i32 = 0
    consumer_group: str | None = None
