"""Requests of pop consumption: messages without a consumer offset, each acknowledged (5.0+, JSON header only)."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32, i64

from .base import TopicRequest


class PopMessageReply(Header):
    """What the client builds the receipt of each message from."""

    pop_time: i64
    invisible_time: i64
    revive_qid: i32
    """999: popped in order."""
    rest_num: i64
    start_offset_info: str | None = None
    msg_offset_info: str | None = None
    order_count_info: str | None = None


@request(
    RequestCode.POP_MESSAGE,
    served_by=Role.BROKER,
    reply=PopMessageReply,
    source="PopMessageRequestHeader 5.5.0",
    reply_body="stored records back to back",
)
class PopMessage(TopicRequest):
    """Take messages of a topic, hidden from others for a time."""

    consumer_group: str
    topic: str
    queue_id: i32 = 0
    """-1: all queues."""
    max_msg_nums: i32 = 0
    invisible_time: i64 = 0
    """Milliseconds."""
    poll_time: i64 = 0
    born_time: i64 = 0
    init_mode: i32 = 0
    """Where a new group begins: 0 the oldest, 1 the newest message."""
    exp_type: str | None = None
    exp: str | None = None
    order: bool | None = None
    attempt_id: str | None = None


@request(
    RequestCode.PEEK_MESSAGE,
    served_by=Role.BROKER,
    reply=PopMessageReply,
    source="PeekMessageRequestHeader 5.5.0",
    reply_body="stored records back to back",
)
class PeekMessage(TopicRequest):
    """Look at messages that would be popped."""

    consumer_group: str
    topic: str
    queue_id: i32 = 0
    max_msg_nums: i32 = 0


@request(RequestCode.ACK_MESSAGE, served_by=Role.BROKER, source="AckMessageRequestHeader 5.5.0")
class AckMessage(TopicRequest):
    """Acknowledge one popped message."""

    consumer_group: str
    topic: str
    queue_id: i32
    extra_info: str
    """The receipt."""
    offset: i64
    lite_topic: str | None = None


@request(
    RequestCode.BATCH_ACK_MESSAGE,
    served_by=Role.BROKER,
    source="no header class; AckMessageProcessor 5.5.0",
    body="BatchAckMessageRequestBody",
)
class BatchAckMessage(Header):
    """Acknowledge many popped messages."""


class ChangeMessageInvisibleTimeReply(Header):
    """What the new receipt is built from."""

    pop_time: i64
    invisible_time: i64
    revive_qid: i32


@request(
    RequestCode.CHANGE_MESSAGE_INVISIBLETIME,
    served_by=Role.BROKER,
    reply=ChangeMessageInvisibleTimeReply,
    source="ChangeInvisibleTimeRequestHeader 5.5.0",
)
class ChangeMessageInvisibleTime(TopicRequest):
    """Hide a popped message longer or shorter."""

    consumer_group: str
    topic: str
    queue_id: i32
    extra_info: str
    offset: i64
    invisible_time: i64
    lite_topic: str | None = None
    suspend: bool = False


class NotificationReply(Header):
    """Whether messages are there."""

    has_msg: bool
    polling_full: bool = False


@request(
    RequestCode.NOTIFICATION,
    served_by=Role.BROKER,
    reply=NotificationReply,
    source="NotificationRequestHeader 5.5.0",
)
class Notification(TopicRequest):
    """Wait until there is something to pop."""

    consumer_group: str
    topic: str
    queue_id: i32 = 0
    poll_time: i64 = 0
    born_time: i64 = 0
    order: bool | None = None
    attempt_id: str | None = None
    exp_type: str | None = None
    exp: str | None = None


class PollingInfoReply(Header):
    """How many requests wait."""

    polling_num: i32


@request(
    RequestCode.POLLING_INFO,
    served_by=Role.BROKER,
    reply=PollingInfoReply,
    source="PollingInfoRequestHeader 5.5.0",
)
class PollingInfo(TopicRequest):
    """Ask how many pops wait on a queue."""

    consumer_group: str
    topic: str
    queue_id: i32 = 0


@request(
    RequestCode.POP_ROLLBACK,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
)
class PopRollback(Header):
    """Write receipts kept in RocksDB back to files."""
