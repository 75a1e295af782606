"""Requests on consumer offsets and on the offsets of queues."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32, i64

from .base import RpcRequest, TopicRequest


class OffsetReply(Header):
    """One logical offset."""

    offset: i64


class QueryConsumerOffsetReply(OffsetReply):
    """The stored offset."""


@request(
    RequestCode.QUERY_CONSUMER_OFFSET,
    served_by=Role.BROKER,
    reply=QueryConsumerOffsetReply,
    source="QueryConsumerOffsetRequestHeader 5.5.0",
)
class QueryConsumerOffset(TopicRequest):
    """Ask how far a group has consumed a queue."""

    consumer_group: str
    topic: str
    queue_id: i32
    set_zero_if_not_found: bool | None = None


@request(
    RequestCode.UPDATE_CONSUMER_OFFSET,
    served_by=Role.BROKER,
    source="UpdateConsumerOffsetRequestHeader 5.5.0",
    oneway=True,
)
class UpdateConsumerOffset(TopicRequest):
    """Store how far a group has consumed a queue."""

    consumer_group: str
    topic: str
    queue_id: i32 | None = None
    """Without it or the offset the answer is INVALID_PARAMETER, not that of other fields that are missing."""
    commit_offset: i64 | None = None


class SearchOffsetByTimestampReply(OffsetReply):
    """The offset found."""


@request(
    RequestCode.SEARCH_OFFSET_BY_TIMESTAMP,
    served_by=Role.BROKER,
    reply=SearchOffsetByTimestampReply,
    source="SearchOffsetRequestHeader 5.5.0",
)
class SearchOffsetByTimestamp(TopicRequest):
    """Ask for the offset of the message stored at a time."""

    topic: str
    queue_id: i32
    timestamp: i64
    """Store time, milliseconds since 1970."""
    boundary_type: str | None = None
    """`LOWER` or `UPPER` in any case: which of several messages of the same time."""
    lite_topic: str | None = None


class GetMaxOffsetReply(OffsetReply):
    """The offset after the newest message."""


@request(
    RequestCode.GET_MAX_OFFSET,
    served_by=Role.BROKER,
    reply=GetMaxOffsetReply,
    source="GetMaxOffsetRequestHeader 5.5.0",
)
class GetMaxOffset(TopicRequest):
    """Ask for the end of a queue."""

    topic: str
    queue_id: i32
    committed: bool = True


class GetMinOffsetReply(OffsetReply):
    """The offset of the oldest message."""


@request(
    RequestCode.GET_MIN_OFFSET,
    served_by=Role.BROKER,
    reply=GetMinOffsetReply,
    source="GetMinOffsetRequestHeader 5.5.0",
)
class GetMinOffset(TopicRequest):
    """Ask for the beginning of a queue."""

    topic: str
    queue_id: i32


class GetEarliestMsgStoretimeReply(Header):
    """Store time of the oldest message, milliseconds since 1970."""

    timestamp: i64


@request(
    RequestCode.GET_EARLIEST_MSG_STORETIME,
    served_by=Role.BROKER,
    reply=GetEarliestMsgStoretimeReply,
    source="GetEarliestMsgStoretimeRequestHeader 5.5.0",
)
class GetEarliestMsgStoretime(TopicRequest):
    """Ask when the oldest message of a queue was stored."""

    topic: str
    queue_id: i32


@request(
    RequestCode.GET_ALL_CONSUMER_OFFSET,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    reply_body="ConsumerOffsetTable",
)
class GetAllConsumerOffset(Header):
    """Ask for the offsets of all groups, as a slave does."""


@request(
    RequestCode.GET_ALL_DELAY_OFFSET,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    reply_body="DelayOffsetTable",
)
class GetAllDelayOffset(Header):
    """Ask how far each delay level was delivered, as a slave does."""


@request(
    RequestCode.QUERY_CORRECTION_OFFSET,
    served_by=Role.BROKER,
    source="QueryCorrectionOffsetHeader 5.5.0",
    reply_body="QueryCorrectionOffsetBody",
)
class QueryCorrectionOffset(TopicRequest):
    """Ask for the smallest offsets of other groups, compared with one group."""

    compare_group: str
    topic: str
    filter_groups: str | None = None
    """Group names joined by commas."""


@request(RequestCode.CLONE_GROUP_OFFSET, served_by=Role.BROKER, source="CloneGroupOffsetRequestHeader 5.5.0")
class CloneGroupOffset(RpcRequest):
    """Copy the offsets of one group to another."""

    src_group: str
    dest_group: str
    topic: str | None = None
    offline: bool = False


class _ResetOffset(TopicRequest):
    group: str
    topic: str
    queue_id: i32 = -1
    """-1: all queues."""
    offset: i64 | None = None
    """Given: reset to this logical offset and not by time."""
    timestamp: i64 = 0
    """Milliseconds since 1970; -1: the end of the queue."""
    is_force: bool = False
    """Whether the offset may also move forward."""


@request(
    RequestCode.INVOKE_BROKER_TO_RESET_OFFSET,
    served_by=Role.BROKER,
    source="ResetOffsetRequestHeader 5.5.0",
    reply_body="ResetOffsetBody",
)
class InvokeBrokerToResetOffset(_ResetOffset):
    """Reset a group's offsets on one broker."""


@request(
    RequestCode.RESET_CONSUMER_CLIENT_OFFSET,
    served_by=Role.CLIENT,
    source="ResetOffsetRequestHeader 5.5.0",
    body="ResetOffsetBody (ResetOffsetBodyForC to C++)",
    oneway=True,
)
class ResetConsumerClientOffset(_ResetOffset):
    """Tell a consumer its new offsets."""


class _ConsumerStatus(TopicRequest):
    topic: str
    group: str
    client_addr: str | None = None


@request(
    RequestCode.INVOKE_BROKER_TO_GET_CONSUMER_STATUS,
    served_by=Role.BROKER,
    source="GetConsumerStatusRequestHeader 5.5.0",
    reply_body="GetConsumerStatusBody",
)
class InvokeBrokerToGetConsumerStatus(_ConsumerStatus):
    """Ask how far the consumers of a group have come, by asking them."""


@request(
    RequestCode.GET_CONSUMER_STATUS_FROM_CLIENT,
    served_by=Role.CLIENT,
    source="GetConsumerStatusRequestHeader 5.5.0",
    reply_body="GetConsumerStatusBody",
)
class GetConsumerStatusFromClient(_ConsumerStatus):
    """Ask one consumer how far it has come."""
