"""Offsets of groups in logical queues, and the ends of these.

A group's offset is kept where the messages are: in the physical queue of the stretch that it has come to. Who asks for
it is told the one of the newest stretch that has any.

Source: `ConsumerManageProcessor`, `AdminBrokerProcessor` (5.3.4). Unlike there, a search by time looks at the newest
stretch first and goes back only as far as needed (Java gives 0 for a time within an older stretch), and the time of the
oldest message is that of the oldest stretch's physical queue (Java takes the queue with the logical number).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec
from twisted.internet.defer import Deferred

from rmqd.protocol.replies import Reply
from rmqd.protocol.static_mapping import (
    is_decided,
    item_at,
    last_item,
    logical_offset,
    logical_offset_within,
    physical_offset,
)
from rmqwire.codes import ResponseCode
from rmqwire.declare import declaration_of
from rmqwire.errors import RequestError
from rmqwire.requests import (
    GetEarliestMsgStoretimeReply,
    GetMaxOffsetReply,
    GetMinOffset,
    GetMinOffsetReply,
    QueryConsumerOffsetReply,
    SearchOffsetByTimestampReply,
)

from .static_front import led_items
from .static_replies import now_or_later

if TYPE_CHECKING:
    from collections.abc import Callable

    from rmqd.protocol.dispatch import Handler, Request
    from rmqd.protocol.replies import Result
    from rmqd.store.messagestore import MessageStore
    from rmqwire.bodies import LogicQueueMappingItem, TopicQueueMappingDetail
    from rmqwire.declare import Header
    from rmqwire.requests import (
        GetEarliestMsgStoretime,
        GetMaxOffset,
        QueryConsumerOffset,
        SearchOffsetByTimestamp,
        UpdateConsumerOffset,
    )
    from rmqwire.requests.base import TopicRequest

    from .broker_peers import BrokerPeers
    from .offsets import ConsumerOffsets

    Lookup = GetEarliestMsgStoretime | GetMaxOffset | GetMinOffset | SearchOffsetByTimestamp | QueryConsumerOffset

R = TypeVar("R", bound="Header")
T = TypeVar("T", bound="TopicRequest")
E = TypeVar("E", GetMaxOffsetReply, GetMinOffsetReply)

_NOBODY = "Not found, maybe this group consumer boot first"


class StaticOffsets:
    """Serves offsets.

    Args:
        offsets: Those of groups in physical queues of this broker.
        store: Tells where these begin.
        peers: Other brokers.
    """

    def __init__(self, offsets: ConsumerOffsets, store: MessageStore, peers: BrokerPeers) -> None:
        self._offsets = offsets
        self._store = store
        self._peers = peers

    # Of groups

    def update(
        self, handler: Handler, request: Request, header: UpdateConsumerOffset, detail: TopicQueueMappingDetail
    ) -> Result:
        """Store an offset with the stretch that it is in.

        Raises:
            RequestError: The queue is led by another broker.
        """
        if header.queue_id is None or header.commit_offset is None:
            return handler(request, header)  # refused
        items = led_items(detail, header.queue_id)
        item = _known(item_at(items, header.commit_offset), detail)
        physical = msgspec.structs.replace(
            header, queue_id=item.queue_id, commit_offset=physical_offset(item, header.commit_offset)
        )
        if item.bname == detail.bname:
            return handler(request, physical)
        return Deferred.fromCoroutine(self._update_elsewhere(physical, item))

    async def _update_elsewhere(self, header: UpdateConsumerOffset, item: LogicQueueMappingItem) -> Reply:
        answer = await self._peers.call(item.bname or "", _forwarded(header, item))
        return Reply(code=answer.code, remark=answer.remark)

    def query(
        self, handler: Handler, request: Request, header: QueryConsumerOffset, detail: TopicQueueMappingDetail
    ) -> Result:
        """Say where a group goes on.

        Raises:
            RequestError: The queue is led by another broker.
        """
        items = led_items(detail, header.queue_id)
        if len(items) == 1 and items[0].logic_offset == 0:
            return handler(request, msgspec.structs.replace(header, queue_id=items[0].queue_id))
        return Deferred.fromCoroutine(self._query(header, detail, items))

    async def _query(
        self, header: QueryConsumerOffset, detail: TopicQueueMappingDetail, items: list[LogicQueueMappingItem]
    ) -> Reply:
        for item in reversed(items):
            if not is_decided(item):
                continue
            if item.bname == detail.bname:
                offset = self._offsets.query(header.consumer_group, header.topic, item.queue_id)
            else:
                offset = await self._query_elsewhere(header, item)
            if offset >= 0:
                return Reply(QueryConsumerOffsetReply(offset=logical_offset(item, offset)))
        return Reply(code=ResponseCode.QUERY_NOT_FOUND, remark=_NOBODY)

    async def _query_elsewhere(self, header: QueryConsumerOffset, item: LogicQueueMappingItem) -> int:
        asked = msgspec.structs.replace(header, queue_id=item.queue_id, set_zero_if_not_found=False)
        answer = await self._peers.call(item.bname or "", _forwarded(asked, item))
        if answer.code == ResponseCode.QUERY_NOT_FOUND:
            return -1
        if answer.code != ResponseCode.SUCCESS:
            raise RequestError(f"Unknown response code {answer.code}")
        return answer.header(QueryConsumerOffsetReply).offset

    # Ends of queues

    def max_offset(
        self, handler: Handler, request: Request, header: GetMaxOffset, detail: TopicQueueMappingDetail
    ) -> Result:
        """Give the end of the newest stretch.

        Raises:
            RequestError: The queue is led by another broker.
        """
        item = _known(last_item(led_items(detail, header.queue_id)), detail)
        end = self._end_of(handler, request, header, detail, item, GetMaxOffsetReply, logical_offset)
        return Deferred.fromCoroutine(end)

    def min_offset(
        self, handler: Handler, request: Request, header: GetMinOffset, detail: TopicQueueMappingDetail
    ) -> Result:
        """Give the begin of the oldest stretch.

        Raises:
            RequestError: The queue is led by another broker.
        """
        words = f"is not leader in broker {detail.bname}, request code {declaration_of(GetMinOffset).code}"
        try:
            items = led_items(detail, header.queue_id)
        except RequestError as other:
            raise RequestError(f"{detail.topic}-{header.queue_id} {words}", other.code) from other
        item = _known(item_at(items, 0), detail)
        begin = self._end_of(handler, request, header, detail, item, GetMinOffsetReply, logical_offset_within)
        return Deferred.fromCoroutine(begin)

    async def _end_of(
        self,
        handler: Handler,
        request: Request,
        header: GetMaxOffset | GetMinOffset,
        detail: TopicQueueMappingDetail,
        item: LogicQueueMappingItem,
        reply: type[E],
        to_logical: Callable[[LogicQueueMappingItem, int], int],
    ) -> Reply:
        """Ask where a stretch begins or ends, and say it in offsets of the logical queue."""
        found = await self._asked(handler, request, header, detail, item, reply)
        return Reply(reply(offset=to_logical(item, found.offset)))

    def earliest_store_time(
        self, handler: Handler, request: Request, header: GetEarliestMsgStoretime, detail: TopicQueueMappingDetail
    ) -> Result:
        """Give the time of the oldest message of the oldest stretch.

        Raises:
            RequestError: The queue is led by another broker.
        """
        item = _known(item_at(led_items(detail, header.queue_id), 0), detail)
        return Deferred.fromCoroutine(self._earliest(handler, request, header, detail, item))

    async def _earliest(
        self,
        handler: Handler,
        request: Request,
        header: GetEarliestMsgStoretime,
        detail: TopicQueueMappingDetail,
        item: LogicQueueMappingItem,
    ) -> Reply:
        return Reply(await self._asked(handler, request, header, detail, item, GetEarliestMsgStoretimeReply))

    def search(
        self, handler: Handler, request: Request, header: SearchOffsetByTimestamp, detail: TopicQueueMappingDetail
    ) -> Result:
        """Give the offset that a store time stands for.

        Raises:
            RequestError: The queue is led by another broker.
        """
        items = [item for item in led_items(detail, header.queue_id) if is_decided(item)]
        _known(items[0] if items else None, detail)
        return Deferred.fromCoroutine(self._search(handler, request, header, detail, items))

    async def _search(
        self,
        handler: Handler,
        request: Request,
        header: SearchOffsetByTimestamp,
        detail: TopicQueueMappingDetail,
        items: list[LogicQueueMappingItem],
    ) -> Reply:
        for item in reversed(items):
            found = await self._asked(handler, request, header, detail, item, SearchOffsetByTimestampReply)
            if item is items[0] or found.offset > await self._begin(header.topic, detail, item):
                return Reply(SearchOffsetByTimestampReply(offset=logical_offset_within(item, found.offset)))
        raise AssertionError("the first stretch ends the search")

    async def _begin(self, topic: str, detail: TopicQueueMappingDetail, item: LogicQueueMappingItem) -> int:
        if item.bname == detail.bname:
            return max(0, self._store.min_offset(topic, item.queue_id))
        header = GetMinOffset(topic=topic, queue_id=item.queue_id)
        return (await self._asked_elsewhere(header, item, GetMinOffsetReply)).offset

    async def _asked(
        self,
        handler: Handler,
        request: Request,
        header: Lookup,
        detail: TopicQueueMappingDetail,
        item: LogicQueueMappingItem,
        reply: type[R],
    ) -> R:
        """Ask for something of a stretch, by the handler of any topic or by the broker that has it."""
        physical = msgspec.structs.replace(header, queue_id=item.queue_id)
        if item.bname == detail.bname:
            local = await now_or_later(handler(request, physical))
            assert isinstance(local.header, reply)
            return local.header
        return await self._asked_elsewhere(physical, item, reply)

    async def _asked_elsewhere(self, header: Lookup, item: LogicQueueMappingItem, reply: type[R]) -> R:
        answer = await self._peers.call(item.bname or "", _forwarded(header, item))
        if answer.code != ResponseCode.SUCCESS:
            raise RequestError(f"{item.bname} answers {answer.code} {answer.remark}")
        return answer.header(reply)


def _known(item: LogicQueueMappingItem | None, detail: TopicQueueMappingDetail) -> LogicQueueMappingItem:
    if item is None:
        raise RequestError(f"a queue of {detail.topic} has no stretch of which it is known where it begins")
    return item


def _forwarded(header: T, item: LogicQueueMappingItem) -> T:
    """Say that a request is about a physical queue of another broker."""
    return msgspec.structs.replace(header, logical=False, broker_name=item.bname)
