"""One pull of a queue, as the official tools' pull consumer makes it: without committing and without waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmqwire.codes import ResponseCode
from rmqwire.requests.offset import (
    GetMaxOffset,
    GetMaxOffsetReply,
    GetMinOffset,
    GetMinOffsetReply,
    SearchOffsetByTimestamp,
    SearchOffsetByTimestampReply,
)
from rmqwire.requests.pull import PullMessage, PullMessageReply

from .records import Message, read_messages

if TYPE_CHECKING:
    from .asking import Admin

TOOLS_GROUP = "TOOLS_CONSUMER"
"""The group the official tools pull by."""

_HAS_SUBSCRIPTION = 4
_STATUS = {
    ResponseCode.SUCCESS: "FOUND",
    ResponseCode.PULL_NOT_FOUND: "NO_NEW_MSG",
    ResponseCode.PULL_RETRY_IMMEDIATELY: "NO_MATCHED_MSG",
    ResponseCode.PULL_OFFSET_MOVED: "OFFSET_ILLEGAL",
}


@dataclass(frozen=True)
class Pulled:
    """What one pull brought. `status` is Java's `PullStatus`."""

    status: str
    next_offset: int
    min_offset: int
    max_offset: int
    messages: list[Message]


async def pull(
    admin: Admin,
    address: str,
    broker_name: str,
    topic: str,
    queue_id: int,
    offset: int,
    count: int,
    *,
    expression: str = "*",
    group: str = TOOLS_GROUP,
) -> Pulled:
    """Pull once."""
    header = PullMessage(
        consumer_group=group,
        topic=topic,
        queue_id=queue_id,
        queue_offset=offset,
        max_msg_nums=count,
        sys_flag=_HAS_SUBSCRIPTION,
        commit_offset=0,
        suspend_timeout_millis=0,
        sub_version=admin.now_ms(),
        subscription=expression,
        expression_type="TAG",
    )
    answer = await admin.call(address, header, timeout_ms=10_000, also=tuple(_STATUS))
    reply = answer.header(PullMessageReply)
    status = _STATUS[answer.code]
    wanted = {tag.strip() for tag in expression.split("||")}
    bounds = {"MIN_OFFSET": str(reply.min_offset), "MAX_OFFSET": str(reply.max_offset)}
    messages = list(read_messages(answer.body, broker_name)) if status == "FOUND" else []
    for message in messages:
        message.properties.update(bounds)  # as the official client
    if expression.strip() not in ("*", ""):  # brokers compare hashes only
        messages = [message for message in messages if message.tags in wanted]
        status = "NO_MATCHED_MSG" if status == "FOUND" and not messages else status
    return Pulled(status, reply.next_begin_offset, reply.min_offset, reply.max_offset, messages)


async def bounds(
    admin: Admin, address: str, topic: str, queue_id: int, begin_ms: int | None, end_ms: int | None
) -> tuple[int, int]:
    """The first offset of a queue and the one after its last, or those at two times."""
    first = await _search(admin, address, topic, queue_id, begin_ms) if begin_ms is not None else None
    last = await _search(admin, address, topic, queue_id, end_ms) if end_ms is not None else None
    if first is None:
        answer = await admin.call(address, GetMinOffset(topic=topic, queue_id=queue_id))
        first = answer.header(GetMinOffsetReply).offset
    if last is None:
        answer = await admin.call(address, GetMaxOffset(topic=topic, queue_id=queue_id))
        last = answer.header(GetMaxOffsetReply).offset
    return first, last


async def _search(admin: Admin, address: str, topic: str, queue_id: int, at_ms: int) -> int:
    answer = await admin.call(address, SearchOffsetByTimestamp(topic=topic, queue_id=queue_id, timestamp=at_ms))
    return answer.header(SearchOffsetByTimestampReply).offset
