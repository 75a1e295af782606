"""POP_MESSAGE: messages without a consumer offset, each hidden from others until it is acknowledged or its time ends.

Source: `PopMessageProcessor` (5.5.0).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result, Staged
from rmqd.store.errors import ColdRead, StoreError
from rmqd.store.reading import GetStatus
from rmqwire.bodies import PopCheckPoint
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests.pop import PopMessage, PopMessageReply

from .names import RETRY_PREFIX
from .pop_checks import pop_selection
from .pop_holds import Holding
from .pop_log import Posted, first_problem
from .pop_offsets import PopQueue
from .pop_plan import queues_to_look_at
from .pop_receipt import (
    ORDERED_REVIVE_QUEUE_ID,
    Receipt,
    message_offset_info,
    order_count_info,
    start_offset_info,
)
from .pop_told import under_own_topic
from .pop_turn import answer_now, commit

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from rmqd.protocol.dispatch import Request
    from rmqd.store.reading import GetResult
    from rmqwire.bodies import TopicConfig

    from .pop_parts import PopShared
    from .selection import Selection

_QUEUE_OFFSET = struct.Struct(">q")
_QUEUE_OFFSET_AT = 20
_FROM_OLDEST = 0
_MISPLACED = (GetStatus.OFFSET_TOO_SMALL, GetStatus.OFFSET_OVERFLOW_BADLY, GetStatus.OFFSET_FOUND_NULL)
_PASSED = (
    GetStatus.NO_MATCHED_MESSAGE,
    GetStatus.OFFSET_FOUND_NULL,
    GetStatus.MESSAGE_WAS_REMOVING,
    GetStatus.NO_MATCHED_LOGIC_QUEUE,
)
_HELD_BACK = {Holding.FULL: ResponseCode.POLLING_FULL}
NO_REPLY = PopMessageReply(pop_time=0, invisible_time=0, revive_qid=0, rest_num=0)
"""The header of refusals, whose object Java makes before the checks."""


class PopHandlers:
    """Serves pops.

    Args:
        shared: What they work on.
    """

    def __init__(self, shared: PopShared) -> None:
        self._shared = shared

    @handles(PopMessage)
    def pop(self, request: Request, header: PopMessage) -> Result:
        """Answer with messages, or wait for some."""
        return self._pop(request, header, header.born_time or self._shared.wall_clock_ms())

    def _pop(self, request: Request, header: PopMessage, born_ms: int) -> Result:
        shared = self._shared
        try:
            topic = shared.checks.pop(request, header, born_ms)
            selection = pop_selection(header.exp_type, header.exp)
        except RequestError as refused:
            return Reply(NO_REPLY, refused.code, refused.remark)

        def hold() -> Holding:
            return shared.holds.hold(
                PopQueue(header.topic, header.consumer_group, header.queue_id),
                request.connection,
                born_ms=born_ms,
                poll_ms=header.poll_time,
                selection=selection,
                run=lambda: answer_now(shared.store, request, lambda: self._pop(request, header, born_ms)),
            )

        return OnePop(shared, header, topic, selection, hold).go()


class OnePop:
    """One pop under way, queue after queue.

    Args:
        shared: What it works on.
        header: What was asked for.
        topic: Where.
        selection: Which messages.
        hold: Lets the request wait.
    """

    def __init__(
        self,
        shared: PopShared,
        header: PopMessage,
        topic: TopicConfig,
        selection: Selection,
        hold: Callable[[], Holding],
    ) -> None:
        self._shared = shared
        self._header = header
        self._selection = selection
        self._hold = hold
        self._ordered = bool(header.order)
        self._receipt = Receipt(
            0,
            shared.wall_clock_ms(),
            header.invisible_time,
            ORDERED_REVIVE_QUEUE_ID if self._ordered else shared.log.next_queue_id(),
            shared.settings.broker_name,
        )
        self._plan = queues_to_look_at(
            header, topic, shared.topics, shared.settings, lambda: len(self._records) < header.max_msg_nums
        )
        self._records: list[bytes] = []
        self._starts: list[str] = []
        self._offsets: list[str] = []
        self._counts: list[str] = []
        self._rest = 0
        self._advances: list[tuple[PopQueue, int]] = []
        self._staged_end = 0
        self._posted: list[Deferred[str | None]] = []
        self._locked: set[PopQueue] = set()
        self._ends: dict[PopQueue, int] = {}
        self._in_turn = True
        self._watching = False
        self._dropped: Exception | None = None

    def go(self) -> Result:
        """Look at the queues that are left, and answer."""
        if self._dropped is not None:
            return self._failed(self._dropped)
        try:
            for topic, queue_id in self._plan:
                waits = self._pop_queue(PopQueue(topic, self._header.consumer_group, queue_id))
                if waits is not None:
                    self._in_turn = False
                    self._watch()
                    return waits.addCallback(self._go_on)
        except (StoreError, RequestError) as failed:
            return self._failed(failed)
        except BaseException:
            self._give_up()
            raise
        if not self._in_turn:
            return self._finish(commit(self._shared.store) if self._advances else None)
        return Staged(self._finish) if self._advances else self._finish(None)

    def _go_on(self, _: object) -> Any:
        return self.go()

    def _watch(self) -> None:
        """Have others tell how they committed what is staged, while this pop waits for the disk."""
        if self._advances and not self._watching:
            self._watching = True
            self._shared.store.when_committed(self._committed)

    def _committed(self, failed: Exception | None) -> None:
        self._watching = False
        if failed is not None and self._dropped is None:
            self._dropped = failed
            self._give_up()

    def _pop_queue(self, queue: PopQueue) -> Deferred[Any] | None:
        """Take what a queue has; a Deferred when the disk has to be waited for."""
        shared, header = self._shared, self._header
        first = shared.store.min_offset(queue.topic, queue.queue_id)
        end = shared.store.max_offset(queue.topic, queue.queue_id)
        known = shared.offsets.query(queue)
        waiting = end - (known if known >= 0 else first)
        if queue in shared.offsets.locked:
            self._ends[queue] = end - waiting
            if not self._ordered:
                self._rest += waiting
            return None
        threshold = shared.settings.threshold
        if threshold is not None and shared.out.count(queue) > threshold:
            self._rest += waiting
            return None
        if shared.offsets.has_reset(queue):
            known = shared.offsets.take_reset(queue) or 0
            shared.orders.open(queue)
        if self._ordered:
            if shared.orders.blocked(queue, header.attempt_id, header.invisible_time):
                return None
            shared.out.clear(queue)
        wanted = header.max_msg_nums - len(self._records)
        if wanted <= 0:
            self._rest += waiting
            return None
        try:
            offset, found = self._look(queue, known, first, end, wanted, allow_cold=False)
        except ColdRead:
            return self._look_in_thread(queue, known, first, end, wanted)
        self._take(queue, known, offset, found)
        return None

    def _look_in_thread(self, queue: PopQueue, known: int, first: int, end: int, wanted: int) -> Deferred[Any]:
        shared = self._shared
        shared.offsets.locked.add(queue)

        def looked(seen: tuple[int, GetResult]) -> None:
            if self._dropped is None:
                self._take(queue, known, *seen)

        def failed(failure: Failure) -> Failure:
            self._give_up()
            return failure

        def unlocked(result: object) -> object:
            if queue not in self._locked:
                self._unlock({queue})
            return result

        look = shared.run_in_thread(self._look, queue, known, first, end, wanted, allow_cold=True)
        return look.addCallback(looked).addErrback(failed).addBoth(unlocked)

    def _look(
        self, queue: PopQueue, known: int, first: int, end: int, wanted: int, *, allow_cold: bool
    ) -> tuple[int, GetResult]:
        """Read; changes nothing, as it may run in a thread."""

        def read(offset: int) -> GetResult:
            return self._shared.store.get_messages(
                queue.topic,
                queue.queue_id,
                offset,
                wanted,
                tags=self._selection.tags,
                accepts=self._selection.accepts,
                allow_cold=allow_cold,
            )

        offset = known if known >= 0 else self._begin(queue, first, end, allow_cold=allow_cold)
        found = read(offset)
        if found.status in _MISPLACED and found.next_begin_offset != offset:
            offset = found.next_begin_offset
            found = read(offset)
        return offset, found

    def _begin(self, queue: PopQueue, first: int, end: int, *, allow_cold: bool) -> int:
        """Where a new group begins."""
        if self._header.init_mode == _FROM_OLDEST or queue.topic.startswith(RETRY_PREFIX):
            return first
        if self._shared.settings.look_in_memory and first <= 0:
            units = self._shared.store.queue_units(queue.topic, queue.queue_id, 0, 1, allow_cold=allow_cold)
            if units and self._shared.store.in_memory(units[0][0]):
                return 0
        return max(0, end - 1)

    def _take(self, queue: PopQueue, known: int, offset: int, found: GetResult) -> None:
        shared, header = self._shared, self._header
        self._ends[queue] = found.max_offset
        next_offset = offset if offset != known else -1
        if found.count:
            offsets = [_QUEUE_OFFSET.unpack_from(record, _QUEUE_OFFSET_AT)[0] for record in found.records]
            receipt = self._receipt._replace(start_offset=offset)
            if self._ordered:
                next_offset = offset
                counts = shared.orders.took(queue, header.attempt_id, receipt.pop_time, header.invisible_time, offsets)
                self._counts.append(order_count_info(queue.topic, queue.queue_id, counts, len(offsets)))
            else:
                next_offset = found.next_begin_offset
                self._stage_check_point(queue, receipt, offsets)
            shared.stats.get(queue.group, queue.topic, found.count, len(found.body), queue.queue_id)
            shared.out.add(queue, found.count)
            self._starts.append(start_offset_info(queue.topic, queue.queue_id, offset))
            self._offsets.append(message_offset_info(queue.topic, queue.queue_id, offsets))
            self._records += self._told(queue, receipt, found)
        elif found.status in _PASSED and found.next_begin_offset > -1:
            next_offset = found.next_begin_offset
        if next_offset >= 0 and next_offset != known:
            shared.offsets.advance(queue, next_offset)
            self._advances.append((queue, next_offset))
        self._rest += found.max_offset - found.next_begin_offset

    def _stage_check_point(self, queue: PopQueue, receipt: Receipt, offsets: list[int]) -> None:
        self._shared.stats.check_pointed(queue.group, queue.topic)
        put = self._shared.log.stage_check_point(
            PopCheckPoint(
                broker_name=receipt.broker_name,
                consumer_group=queue.group,
                offset_differences=[offset - receipt.start_offset for offset in offsets],
                invisible_time=receipt.invisible_time_ms,
                count=len(offsets),
                pop_time=receipt.pop_time,
                queue_id=queue.queue_id,
                start_offset=receipt.start_offset,
                topic=queue.topic,
            ),
            receipt.revive_queue_id,
        )
        if isinstance(put, Posted):
            self._posted.append(put.done)
            self._lock(queue)
        elif put is not None:
            self._staged_end = put.physical_offset + put.size

    def _told(self, queue: PopQueue, receipt: Receipt, found: GetResult) -> list[bytes]:
        """The records as consumers get them: those of a retry topic under their own topic, with their receipt."""
        header = self._header
        if self._shared.settings.actual_retry_topic or not queue.topic.startswith(RETRY_PREFIX):
            return found.records
        return under_own_topic(found.records, header.topic, queue.topic, queue.queue_id, receipt)

    def _finish(self, failed: Exception | None) -> Result:
        if failed is not None:
            return self._failed(failed)
        if self._posted:
            return self._finish_when_posted()
        shared, header = self._shared, self._header
        for queue, offset in self._advances:
            shared.offsets.committed(queue, offset)
        waiters = PopQueue(header.topic, header.consumer_group, header.queue_id)
        if self._records:
            if self._rest > 0:
                shared.holds.notify(waiters)
            found = self._reply(ResponseCode.SUCCESS, "FOUND")
            wait = shared.when_safe(self._staged_end) if shared.when_safe is not None and self._staged_end else None
            return found if wait is None else wait.addCallback(lambda _: found)
        holding = self._hold()
        if holding is Holding.HELD:
            # Unlike Java also only after a step ahead, as otherwise the next look would end like this one.
            if (self._rest > 0 and self._advances) or self._more_came():
                shared.holds.notify(waiters)
            return None
        return self._reply(_HELD_BACK.get(holding, ResponseCode.POLLING_TIMEOUT), "NO_MESSAGE_IN_QUEUE")

    def _finish_when_posted(self) -> Deferred[Any]:
        """Wait for check points that went elsewhere; other pops pass these queues by meanwhile."""
        posted, self._posted = self._posted, []
        for queue, _ in self._advances:
            if queue not in self._shared.offsets.locked:
                self._lock(queue)

        def ended(result: Any) -> Any:
            self._unlock(self._locked)
            return result

        def stored(problem: str | None) -> Result:
            return self._finish(None if problem is None else RequestError(problem, ResponseCode.SYSTEM_ERROR))

        return first_problem(posted).addBoth(ended).addCallback(stored)

    def _lock(self, queue: PopQueue) -> None:
        """Have others pass a queue by until it is known whether its check point is stored elsewhere."""
        self._locked.add(queue)
        self._shared.offsets.locked.add(queue)

    def _unlock(self, queues: set[PopQueue]) -> None:
        for queue in list(queues):
            self._locked.discard(queue)
            self._shared.offsets.locked.discard(queue)
            # Others passed this queue by and may wait for it.
            self._shared.holds.notify_group(PopQueue(self._header.topic, queue.group, queue.queue_id))

    def _more_came(self) -> bool:
        """Whether queues have more than was seen: what was told before this pop waited woke nobody."""
        offsets, store = self._shared.offsets, self._shared.store
        return any(  # who unlocks a queue tells
            queue not in offsets.locked and store.max_offset(queue.topic, queue.queue_id) > end
            for queue, end in self._ends.items()
        )

    def _reply(self, code: int, remark: str) -> Reply:
        receipt = self._receipt
        header = PopMessageReply(
            pop_time=receipt.pop_time,
            invisible_time=receipt.invisible_time_ms,
            revive_qid=receipt.revive_queue_id,
            rest_num=self._rest,
            start_offset_info=";".join(self._starts),
            msg_offset_info=";".join(self._offsets),
            order_count_info=";".join(self._counts) if self._ordered else None,
        )
        return Reply(header, code, remark, b"".join(self._records))

    def _failed(self, failed: Exception) -> Reply:
        self._give_up()
        code = failed.code if isinstance(failed, RequestError) else ResponseCode.SYSTEM_ERROR
        return Reply(NO_REPLY, code, str(failed))

    def _give_up(self) -> None:
        """What was taken stays with its queues. Check points that were staged before only bring messages back twice."""
        for queue, _ in self._advances:
            self._shared.offsets.failed(queue)
        self._advances.clear()
        self._unlock(self._locked)
