"""Requests that read messages of one queue."""

from __future__ import annotations

import msgspec

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32, i64

from .base import TopicRequest


class PullMessageReply(Header):
    """Where to pull next; an answer that refuses the pull has `forbidden_type` at most."""

    suggest_which_broker_id: i64
    next_begin_offset: i64
    min_offset: i64
    max_offset: i64
    offset_delta: i64 | None = None
    topic_sys_flag: i32 | None = None
    group_sys_flag: i32 | None = None
    forbidden_type: i32 | None = None


@request(
    RequestCode.PULL_MESSAGE,
    served_by=Role.BROKER,
    reply=PullMessageReply,
    source="PullMessageRequestHeader 5.5.0",
    reply_body="stored records back to back",
)
class PullMessage(TopicRequest):
    """Ask for messages of one queue, starting at a logical offset."""

    consumer_group: str
    topic: str
    queue_id: i32
    queue_offset: i64
    """Logical offset, in consume-queue units."""
    max_msg_nums: i32
    sys_flag: i32
    """Bits of `PullSysFlag`: 1 commit offset, 2 suspend, 4 subscription, 8 class filter, 16 lite pull."""
    commit_offset: i64
    suspend_timeout_millis: i64
    sub_version: i64
    subscription: str | None = None
    expression_type: str | None = None
    max_msg_bytes: i32 | None = None
    request_source: i32 | None = None
    proxy_forward_client_id: str | None = msgspec.field(name="proxyFrowardClientId", default=None)  # sic
    lite_topic: str | None = None


@request(
    RequestCode.LITE_PULL_MESSAGE,
    served_by=Role.BROKER,
    reply=PullMessageReply,
    source="PullMessageRequestHeader 5.5.0",
    reply_body="stored records back to back",
)
class LitePullMessage(PullMessage):
    """`PullMessage` as the lite pull consumer of 5.x sends it, served by a pool of its own in Java."""
