"""Who stands before the handlers of sends, pulls and offsets as long as the broker knows static topics.

What it is for: such requests name logical queues. They are served by the handlers of any topic with the physical queue
put in, here or by the broker that has it, and the answers are changed back. What it must not do: cost anything where
there is no static topic: then the handlers stand alone in the dispatcher's table.

Source: `buildTopicQueueMappingContext` and the `rewriteRequestForStaticTopic` of each processor (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from rmqd.protocol.static_mapping import current_ids, leader, logical_offset_within
from rmqwire.codes import RequestCode as C
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError

from .static_replies import changed, frame

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Dispatcher, Handler, Request
    from rmqd.protocol.replies import Result
    from rmqwire.bodies import LogicQueueMappingItem, TopicQueueMappingDetail
    from rmqwire.requests.send import SendBatchMessage, SendMessage, SendMessageV2

    from .static_offsets import StaticOffsets
    from .static_pulls import StaticPulls
    from .static_table import StaticTable

Serve = Callable[["Handler", "Request", Any, "TopicQueueMappingDetail"], "Result"]
"""Serves a request about a static topic; given the handler of any topic."""


def led_items(
    detail: TopicQueueMappingDetail, logical_id: int, words: str = "does not exit in request process of current broker"
) -> list[LogicQueueMappingItem]:
    """Give the stretches of a logical queue that this broker leads.

    Raises:
        RequestError: It does not.
    """
    items = detail.hosted_queues.get(logical_id, [])
    if leader(items) != detail.bname or not items:
        remark = f"{detail.topic}-{logical_id} {words} {detail.bname}"  # "exit": sic
        raise RequestError(remark, ResponseCode.NOT_LEADER_FOR_QUEUE)
    return items


class StaticFront:
    """Passes requests about static topics to those who serve them.

    Args:
        table: The mappings.
        pulls: Serves pulls.
        offsets: Serves offsets of groups and ends of queues.
    """

    def __init__(self, table: StaticTable, pulls: StaticPulls, offsets: StaticOffsets) -> None:
        self._table = table
        self._dispatchers: tuple[Dispatcher, ...] = ()
        self._serves: dict[int, Serve] = {
            **dict.fromkeys((C.SEND_MESSAGE, C.SEND_MESSAGE_V2, C.SEND_BATCH_MESSAGE), send),
            **dict.fromkeys((C.PULL_MESSAGE, C.LITE_PULL_MESSAGE), pulls.pull),
            C.QUERY_CONSUMER_OFFSET: offsets.query,
            C.UPDATE_CONSUMER_OFFSET: offsets.update,
            C.SEARCH_OFFSET_BY_TIMESTAMP: offsets.search,
            C.GET_MAX_OFFSET: offsets.max_offset,
            C.GET_MIN_OFFSET: offsets.min_offset,
            C.GET_EARLIEST_MSG_STORETIME: offsets.earliest_store_time,
        }

    def stand_before(self, *dispatchers: Dispatcher) -> None:
        """Take the place of handlers, now and whenever there are static topics."""
        self._dispatchers = dispatchers
        self._table.on_any = self._follow
        self._follow()

    def _follow(self) -> None:
        for dispatcher in self._dispatchers:
            for code in self._serves.keys() & dispatcher.codes:
                dispatcher.replace(code, self._before(self._serves[code]) if self._table.table else None)

    def _before(self, serve: Serve) -> Callable[[Handler], Handler]:
        table = self._table.table

        def stand_in(handler: Handler) -> Handler:
            def handle(request: Request, header: Any) -> Result:
                detail = table.get(header.topic)
                if detail is None or header.logical is False:  # which is how other brokers ask for a physical queue
                    return handler(request, header)
                return serve(handler, request, header, detail)

            return handle

        return stand_in


def send(
    handler: Handler,
    request: Request,
    header: SendMessage | SendMessageV2 | SendBatchMessage,
    detail: TopicQueueMappingDetail,
) -> Result:
    """Store in the physical queue, and tell the logical one.

    Raises:
        RequestError: The queue is led by another broker.
    """
    logical_id = header.queue_id
    if logical_id < 0:
        logical_id = next(iter(current_ids(detail)), logical_id)
    item = led_items(detail, logical_id)[-1]

    def logical(members: dict[str, Any], body: bytes) -> bytes:
        ext = members["extFields"]
        ext["queueId"] = str(logical_id)
        ext["queueOffset"] = str(logical_offset_within(item, int(ext["queueOffset"])))
        return frame(members, body)

    return changed(handler(request, msgspec.structs.replace(header, queue_id=item.queue_id)), logical)
