"""Requests that put messages into a broker, and the push of replies to a requester."""

from __future__ import annotations

import msgspec

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32, i64

from .base import RpcRequest, TopicRequest


class SendMessageReply(Header):
    """Where the message was stored; Java clients need it on every stored-with-a-caveat code (10, 11, 12) as well."""

    msg_id: str
    queue_id: i32
    queue_offset: i64
    """Logical offset, of the first message of a batch."""
    transaction_id: str | None = None
    batch_uniq_id: str | None = None
    recall_handle: str | None = None
    msg_region: str | None = msgspec.field(name="MSG_REGION", default=None)
    """Always sent by a broker, on errors too."""
    trace_on: bool | None = msgspec.field(name="TRACE_ON", default=None)
    """Always sent by a broker, on errors too."""


@request(
    RequestCode.SEND_MESSAGE,
    served_by=Role.BROKER,
    reply=SendMessageReply,
    source="SendMessageRequestHeader 5.5.0",
    body="the message's body",
)
class SendMessage(TopicRequest):
    """Store one message (Go, and Java with `sendSmartMsg=false`)."""

    producer_group: str
    topic: str
    default_topic: str
    """The topic whose settings a topic that does not exist yet is created from."""
    default_topic_queue_nums: i32
    queue_id: i32
    """Negative: the broker picks one."""
    sys_flag: i32
    born_timestamp: i64
    """Milliseconds since 1970, the client's clock."""
    flag: i32
    properties: str | None = None
    reconsume_times: i32 = 0
    unit_mode: bool = False
    batch: bool = False
    max_reconsume_times: i32 | None = None


class _CompactSend(TopicRequest, kw_only=True):
    producer_group: str = msgspec.field(name="a")
    topic: str = msgspec.field(name="b")
    default_topic: str = msgspec.field(name="c")
    default_topic_queue_nums: i32 = msgspec.field(name="d")
    queue_id: i32 = msgspec.field(name="e")
    sys_flag: i32 = msgspec.field(name="f")
    born_timestamp: i64 = msgspec.field(name="g")
    flag: i32 = msgspec.field(name="h")
    properties: str | None = msgspec.field(name="i", default=None)
    reconsume_times: i32 = msgspec.field(name="j", default=0)
    unit_mode: bool = msgspec.field(name="k", default=False)
    max_reconsume_times: i32 | None = msgspec.field(name="l", default=None)
    batch: bool = msgspec.field(name="m", default=False)
    broker_name: str | None = msgspec.field(name="n", default=None)


@request(
    RequestCode.SEND_MESSAGE_V2,
    served_by=Role.BROKER,
    reply=SendMessageReply,
    source="SendMessageRequestHeaderV2 5.5.0",
    body="the message's body",
)
class SendMessageV2(_CompactSend):
    """Store one message: the fields of `SendMessage` under one-letter names, what Java producers send."""


@request(
    RequestCode.SEND_BATCH_MESSAGE,
    served_by=Role.BROKER,
    reply=SendMessageReply,
    source="SendMessageRequestHeaderV2 5.5.0",
    body="batch records back to back",
)
class SendBatchMessage(_CompactSend):
    """Store several messages of one topic and queue at once."""


@request(
    RequestCode.SEND_REPLY_MESSAGE,
    served_by=Role.BROKER,
    reply=SendMessageReply,
    source="SendMessageRequestHeader 5.5.0",
    body="the reply's body",
)
class SendReplyMessage(SendMessage):
    """Send the answer of a request-reply exchange to the broker its requester is connected to."""


@request(
    RequestCode.SEND_REPLY_MESSAGE_V2,
    served_by=Role.BROKER,
    reply=SendMessageReply,
    source="SendMessageRequestHeaderV2 5.5.0",
    body="the reply's body",
)
class SendReplyMessageV2(_CompactSend):
    """`SendReplyMessage` under one-letter names."""


@request(
    RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT,
    served_by=Role.CLIENT,
    source="ReplyMessageRequestHeader 5.5.0",
    body="the reply's body",
)
class PushReplyMessageToClient(TopicRequest):
    """Hand a reply to the producer that asked for it."""

    producer_group: str
    topic: str
    default_topic: str
    default_topic_queue_nums: i32
    queue_id: i32
    sys_flag: i32
    born_timestamp: i64
    flag: i32
    born_host: str
    store_host: str
    store_timestamp: i64 = 0
    properties: str | None = None
    reconsume_times: i32 | None = None
    unit_mode: bool = False


@request(
    RequestCode.CONSUMER_SEND_MSG_BACK,
    served_by=Role.BROKER,
    source="ConsumerSendMsgBackRequestHeader 5.5.0",
)
class ConsumerSendMsgBack(RpcRequest):
    """Store a message that a consumer failed on once more, for a later try."""

    offset: i64
    """Physical offset of the consumed record."""
    group: str
    delay_level: i32
    """0: the broker chooses; negative: straight to the dead-letter queue."""
    origin_msg_id: str | None = None
    origin_topic: str | None = None
    unit_mode: bool = False
    max_reconsume_times: i32 | None = None


class RecallMessageReply(Header):
    """The id of the recalled message."""

    msg_id: str


@request(
    RequestCode.RECALL_MESSAGE,
    served_by=Role.BROKER,
    reply=RecallMessageReply,
    source="RecallMessageRequestHeader 5.5.0",
)
class RecallMessage(TopicRequest):
    """Take a delayed message back before it is delivered."""

    topic: str
    recall_handle: str
    producer_group: str | None = None
