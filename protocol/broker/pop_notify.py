"""Requests about what could be popped: NOTIFICATION waits for it, PEEK_MESSAGE shows it, POLLING_INFO counts who waits.

Source: `NotificationProcessor`, `PeekMessageProcessor`, `PollingInfoProcessor` (5.5.0).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqd.store.reading import GetStatus
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests.pop import (
    Notification,
    NotificationReply,
    PeekMessage,
    PollingInfo,
    PollingInfoReply,
    PopMessageReply,
    PopRollback,
)

from .names import pop_retry_topics
from .pop import NO_REPLY
from .pop_checks import pop_selection
from .pop_holds import Holding
from .pop_offsets import PopQueue
from .pop_turn import answer_now
from .reading import ColdReads

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.store.reading import GetResult
    from rmqwire.bodies import TopicConfig

    from .pop_parts import PopShared

_NOTHING = NotificationReply(has_msg=False)


class NotifyHandlers:
    """Serves these requests.

    Args:
        shared: What they look at.
    """

    def __init__(self, shared: PopShared) -> None:
        self._shared = shared
        self._reads = ColdReads(shared.run_in_thread)

    @handles(Notification)
    def notification(self, request: Request, header: Notification) -> Result:
        """Tell whether there are messages, or wait until there are."""
        return self._notify(request, header, header.born_time or self._shared.wall_clock_ms())

    def _notify(self, request: Request, header: Notification, born_ms: int) -> Result:
        shared = self._shared
        try:
            topic = shared.checks.look(request, header)
            selection = pop_selection(header.exp_type, header.exp)
        except RequestError as refused:
            return Reply(_NOTHING, refused.code, refused.remark)
        if any(map(self._has_messages, self._queues(header, topic))):
            return Reply(NotificationReply(has_msg=True))
        holding = shared.notices.hold(
            PopQueue(header.topic, header.consumer_group, header.queue_id),
            request.connection,
            born_ms=born_ms,
            poll_ms=header.poll_time,
            selection=selection,
            run=lambda: answer_now(shared.store, request, lambda: self._notify(request, header, born_ms)),
        )
        if holding is Holding.HELD:
            return None
        return Reply(NotificationReply(has_msg=False, polling_full=holding is Holding.FULL))

    def _queues(self, header: Notification | PeekMessage, topic: TopicConfig) -> Iterator[PopQueue]:
        """The queues of a topic and its retry topics, less those that an ordered pop has closed."""
        at_random = random.randrange(100)  # noqa: S311
        second, first = pop_retry_topics(header.topic, header.consumer_group)
        settings = self._shared.settings
        names = (
            [second, first]
            if settings.retry_v2 and settings.read_retry_v1
            else [second if settings.retry_v2 else first]
        )
        group = header.consumer_group
        for config in (topic, *(self._shared.topics.get(name) for name in names)):
            if config is None:
                continue
            if config is topic and header.queue_id >= 0:
                queue_ids: range | list[int] = [header.queue_id]
            else:
                queue_ids = range(config.read_queue_nums)
            for index in queue_ids:
                queue_id = (at_random + index) % len(queue_ids) if isinstance(queue_ids, range) else index
                if isinstance(header, Notification) and header.order:
                    closed = PopQueue(header.topic, group, queue_id)
                    if self._shared.orders.blocked(closed, header.attempt_id, 0):
                        continue
                yield PopQueue(config.topic_name or "", group, queue_id)

    def _offset(self, queue: PopQueue) -> int:
        known = self._shared.offsets.query(queue)
        return known if known >= 0 else self._shared.store.min_offset(queue.topic, queue.queue_id)

    def _has_messages(self, queue: PopQueue) -> bool:
        return self._shared.store.max_offset(queue.topic, queue.queue_id) > self._offset(queue)

    @handles(PeekMessage)
    def peek(self, request: Request, header: PeekMessage) -> Result:
        """Show messages that a pop would give."""
        try:
            topic = self._shared.checks.look(request, header)
        except RequestError as refused:
            return Reply(NO_REPLY, refused.code, refused.remark)
        return Deferred.fromCoroutine(self._peek(header, topic))

    async def _peek(self, header: PeekMessage, topic: TopicConfig) -> Reply:
        shared = self._shared
        bodies: list[bytes] = []
        count = rest = 0
        for queue in self._queues(header, topic):
            offset = self._offset(queue)
            rest += shared.store.max_offset(queue.topic, queue.queue_id) - offset
            if count >= header.max_msg_nums:
                continue
            found = await self._read(queue, offset, header.max_msg_nums - count)
            if found.status in (GetStatus.OFFSET_TOO_SMALL, GetStatus.OFFSET_OVERFLOW_BADLY):
                found = await self._read(queue, found.next_begin_offset, header.max_msg_nums - count)
            if found.count:
                count += found.count
                bodies.append(found.body)
                shared.stats.get(header.consumer_group, header.topic, found.count, len(found.body))
        reply = PopMessageReply(pop_time=0, invisible_time=0, revive_qid=0, rest_num=rest)
        if not bodies:
            return Reply(reply, ResponseCode.PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE")
        return Reply(reply, ResponseCode.SUCCESS, "FOUND", b"".join(bodies))

    def _read(self, queue: PopQueue, offset: int, count: int) -> Deferred[GetResult]:
        return self._reads.later(self._shared.store.get_messages, queue.topic, queue.queue_id, offset, count)

    @handles(PollingInfo)
    def polling_info(self, request: Request, header: PollingInfo) -> Result:
        """Tell how many pops wait."""
        queue = PopQueue(header.topic, header.consumer_group, header.queue_id)
        self._shared.checks.existing_topic(header.topic)
        return Reply(PollingInfoReply(polling_num=self._shared.holds.count(queue)))

    @handles(PopRollback)
    def roll_back(self, request: Request, header: PopRollback) -> Result:
        """Bring what is kept in RocksDB back to files: there is nothing, as all of it is in files already."""
        return Reply()
