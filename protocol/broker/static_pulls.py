"""Pulls of logical queues.

A pull reads the one stretch that its offset is in; at the end of a stretch the consumer is sent on to the next. Old
stretches may lie on other brokers, which are asked for them.

Source: `PullMessageProcessor.rewriteRequestForStaticTopic`, `rewriteResponseForStaticTopic` (5.3.4). Unlike there, an
offset that is committed along with a pull is translated too: in Java it goes into the physical queue as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqd.protocol.replies import Reply, encode_reply
from rmqd.protocol.static_mapping import (
    has_end,
    item_after,
    item_at,
    last_logical_offset,
    logical_offset,
    physical_offset,
)
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests.pull import PullMessage, PullMessageReply

from .pull_checks import SYSFLAG_COMMIT_OFFSET, SYSFLAG_SUSPEND
from .static_front import led_items
from .static_replies import changed, frame

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from rmqd.protocol.dispatch import Handler, Request
    from rmqd.protocol.replies import Result
    from rmqwire.bodies import LogicQueueMappingItem, TopicQueueMappingDetail

    from .broker_peers import BrokerPeers
    from .holds import PullHolds
    from .pull import PullSettings
    from .static_table import StaticTable

_log = Logger()

_PULLED = (
    ResponseCode.SUCCESS,
    ResponseCode.PULL_NOT_FOUND,
    ResponseCode.PULL_RETRY_IMMEDIATELY,
    ResponseCode.PULL_OFFSET_MOVED,
)


class Found(msgspec.Struct):
    """What a pull of a stretch was answered; offsets are those of `item`'s physical queue."""

    item: LogicQueueMappingItem
    code: int
    next_begin: int
    min: int
    max: int

    def fields(self, items: list[LogicQueueMappingItem]) -> dict[str, str]:
        """Give the fields of the answer that say logical offsets."""
        item, next_begin = self.item, self.next_begin
        if has_end(item):
            next_begin = min(next_begin, item.end_offset)
        return {
            "nextBeginOffset": str(logical_offset(item, next_begin)),
            "minOffset": str(logical_offset(item, self.min)),
            "maxOffset": str(max(logical_offset(item, self.max), last_logical_offset(items[-1]))),
            "offsetDelta": str(item.logic_offset - item.start_offset),
        }


def sent_on(found: Found, items: list[LogicQueueMappingItem], asked: int) -> Found:
    """Say where a consumer that found nothing goes on: its stretch may have ended or lost its begin."""
    item, code = found.item, found.code
    if asked < found.min:
        first = item_at(items, 0)
        moved = first is not None and first.gen == item.gen
        code = ResponseCode.PULL_OFFSET_MOVED if moved else ResponseCode.PULL_RETRY_IMMEDIATELY
        return Found(item, code, found.min, found.min, found.max)
    if item.gen == items[-1].gen:
        return found
    if asked >= found.max:
        after = item_after(items, item)
        if after is None:
            return Found(item, ResponseCode.PULL_NOT_FOUND, found.max, found.min, found.max)
        begin = after.start_offset
        return Found(after, ResponseCode.PULL_RETRY_IMMEDIATELY, begin, begin, begin)
    return found


class StaticPulls:
    """Serves pulls of logical queues.

    Args:
        table: The mappings; looked at again when a held pull is woken.
        holds: Keeps pulls that find nothing.
        settings: How long.
        peers: Other brokers.
    """

    def __init__(self, table: StaticTable, holds: PullHolds, settings: PullSettings, peers: BrokerPeers) -> None:
        self._table = table
        self._holds = holds
        self._settings = settings
        self._peers = peers

    def pull(self, handler: Handler, request: Request, header: PullMessage, detail: TopicQueueMappingDetail) -> Result:
        """Answer with messages of one stretch, or hold the pull until there are some.

        Raises:
            RequestError: The queue is led by another broker, or the one that has the messages does not answer.
        """
        return self._pull(handler, request, header, detail, may_hold=True)

    def _pull(
        self,
        handler: Handler,
        request: Request,
        header: PullMessage,
        detail: TopicQueueMappingDetail,
        *,
        may_hold: bool,
    ) -> Result:
        items = led_items(detail, header.queue_id, "cannot find mapping item in request process of current broker")
        item = item_at(items, header.queue_offset)
        if item is None:
            raise RequestError(f"{detail.topic}-{header.queue_id} has no decided mapping item")
        physical = self._physical(header, item, items, detail, commits=may_hold)
        if item.bname != detail.bname:
            return Deferred.fromCoroutine(self._remote(request, physical, items, item))

        def logical(members: dict[str, Any], body: bytes) -> bytes | None:
            code, ext = members["code"], members["extFields"]
            if code not in _PULLED or "nextBeginOffset" not in ext:
                return frame(members, body)
            found = Found(item, code, *(int(ext[name]) for name in ("nextBeginOffset", "minOffset", "maxOffset")))
            if code != ResponseCode.SUCCESS:
                found = sent_on(found, items, physical.queue_offset)
            if found.code == ResponseCode.PULL_NOT_FOUND and may_hold and header.sys_flag & SYSFLAG_SUSPEND:
                self._hold(handler, request, header, physical)
                return None
            ext.update(found.fields(items))
            return frame({**members, "code": found.code}, body)

        return changed(handler(request, physical), logical)

    def _physical(
        self,
        header: PullMessage,
        item: LogicQueueMappingItem,
        items: list[LogicQueueMappingItem],
        detail: TopicQueueMappingDetail,
        *,
        commits: bool,
    ) -> PullMessage:
        """Put the physical queue in. Nobody may hold this pull: it is answered here, with logical offsets."""
        flags, commit_offset = header.sys_flag & ~SYSFLAG_SUSPEND, 0
        committed = item_at(items, header.commit_offset)
        if commits and item.bname == detail.bname and committed is item:
            commit_offset = max(0, physical_offset(item, header.commit_offset))
        else:  # the consumer will say it again by itself
            flags &= ~SYSFLAG_COMMIT_OFFSET
        most = header.max_msg_nums
        if has_end(item):
            most = min(most, item.end_offset - item.start_offset)
        return msgspec.structs.replace(
            header,
            queue_id=item.queue_id,
            queue_offset=physical_offset(item, header.queue_offset),
            commit_offset=commit_offset,
            sys_flag=flags,
            max_msg_nums=most,
            logical=False,
        )

    async def _remote(
        self, request: Request, header: PullMessage, items: list[LogicQueueMappingItem], item: LogicQueueMappingItem
    ) -> Reply:
        """Ask the broker that has an old stretch; nothing is waited for there, as nothing comes any more."""
        fields = {name: getattr(header, name) for name in PullMessage.__struct_fields__}
        fields["broker_name"] = item.bname
        answer = await self._peers.call(item.bname or "", PullMessage(**fields))
        if answer.code not in _PULLED:
            raise RequestError(f"unexpected remote response code {answer.code} of {item.bname}: {answer.remark}")
        reply = answer.header(PullMessageReply)
        found = Found(item, answer.code, reply.next_begin_offset, reply.min_offset, reply.max_offset)
        if answer.code != ResponseCode.SUCCESS:
            found = sent_on(found, items, header.queue_offset)
        ext = {
            "suggestWhichBrokerId": "0",
            "topicSysFlag": str(reply.topic_sys_flag or 0),
            "groupSysFlag": str(reply.group_sys_flag or 0),
            **found.fields(items),
        }
        return Reply(code=found.code, remark=answer.remark, body=answer.body, ext=ext)

    # Held pulls

    def _hold(self, handler: Handler, request: Request, header: PullMessage, physical: PullMessage) -> None:
        settings = self._settings
        self._holds.add(
            (physical.topic, physical.queue_id),
            request.connection,
            physical.queue_offset,
            None,
            header.suspend_timeout_millis if settings.long_polling_enable else settings.short_polling_time_ms,
            lambda: self._run_again(handler, request, header),
        )

    def _run_again(self, handler: Handler, request: Request, header: PullMessage) -> None:
        """Execute a held pull without permission to wait once more; its queue may be led by another broker now."""
        again: Deferred[Result] = Deferred()
        again.addCallback(lambda _: self._again(handler, request, header))
        again.addErrback(_refused)
        again.addCallback(_send, request)
        again.addErrback(lambda failure: _log.failure("a held pull was lost", failure))
        again.callback(None)

    def _again(self, handler: Handler, request: Request, header: PullMessage) -> Result:
        detail = self._table.get(header.topic)
        if detail is None:
            remark = f"{header.topic} is no static topic any more"
            raise RequestError(remark, ResponseCode.NOT_LEADER_FOR_QUEUE)
        return self._pull(handler, request, header, detail, may_hold=False)


def _refused(failure: Failure) -> Reply:
    if isinstance(failure.value, RequestError):
        return Reply(code=failure.value.code, remark=failure.value.remark)
    _log.failure("a held pull failed", failure)
    return Reply(code=ResponseCode.SYSTEM_ERROR, remark=failure.getErrorMessage())


def _send(result: Result, request: Request) -> None:
    if isinstance(result, bytes):
        request.connection.send(result)
    elif isinstance(result, Reply):
        request.connection.send(encode_reply(request.opaque, result))
