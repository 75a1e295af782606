"""Acknowledging popped messages, and hiding them longer or shorter.

Source: `AckMessageProcessor`, `ChangeInvisibleTimeProcessor` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result, Staged
from rmqd.store.errors import StoreError
from rmqwire.bodies import BatchAckMessageRequestBody, PopAck, PopCheckPoint
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests.pop import (
    AckMessage,
    BatchAckMessage,
    ChangeMessageInvisibleTime,
    ChangeMessageInvisibleTimeReply,
)

from .pop_checks import illegal_queue
from .pop_log import Posted, first_problem
from .pop_offsets import PopQueue
from .pop_order import NOT_FOUND
from .pop_receipt import ORDERED_REVIVE_QUEUE_ID, Receipt, read_receipt, topic_of_flag
from .pop_turn import commit
from .reading import body_of

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import StagedPut
    from rmqwire.bodies import BatchAck

    from .pop_parts import PopShared

_SAME_MOMENT_MS = 1000
_NO_CHANGE = ChangeMessageInvisibleTimeReply(pop_time=0, invisible_time=0, revive_qid=0)
_ACKS_MAX = 1 << 16
"""Most messages that one entry of a batch may name; a pop gives at most 32."""


class AckHandlers:
    """Serves acknowledgements.

    Args:
        shared: What they work on.
    """

    def __init__(self, shared: PopShared) -> None:
        self._shared = shared

    @handles(AckMessage)
    def ack(self, request: Request, header: AckMessage) -> Result:
        """Acknowledge one message."""
        shared = self._shared
        first, end = self._check_queue(request, header)
        if not first <= header.offset <= end:
            raise RequestError(
                f"offset is illegal, key:{header.topic}@{header.queue_id}, commit:{header.offset}, store:{first}~{end}",
                ResponseCode.NO_MESSAGE,
            )
        receipt = read_receipt(header.extra_info, broker_first=True)
        queue = PopQueue(header.topic, header.consumer_group, header.queue_id)
        if receipt.ordered:
            self._ack_ordered(request, queue, header.offset, receipt.pop_time, receipt.invisible_time_ms)
            return Reply()
        put = self._stage_ack(queue, receipt, header.offset)
        return self._stored([put], Reply(), lambda: shared.out.remove(queue, receipt.pop_time))

    @handles(BatchAckMessage)
    def ack_batch(self, request: Request, header: BatchAckMessage) -> Result:
        """Acknowledge many messages of many pops."""
        body = body_of(request, BatchAckMessageRequestBody) if request.body else None
        if body is None or not body.acks:
            return Reply(code=ResponseCode.NO_MESSAGE)
        puts: list[StagedPut | Posted | None] = []
        removed: list[tuple[PopQueue, int, int]] = []
        for batch in body.acks:
            topic = topic_of_flag(batch.retry, batch.topic or "", batch.consumer_group or "")
            queue = PopQueue(topic, batch.consumer_group or "", batch.queue_id)
            offsets = self._offsets(batch, queue)
            if batch.revive_queue_id == ORDERED_REVIVE_QUEUE_ID:
                for offset in offsets:
                    self._ack_ordered(request, queue, offset, batch.pop_time, batch.invisible_time)
            elif offsets:
                receipt = Receipt(
                    batch.start_offset,
                    batch.pop_time,
                    batch.invisible_time,
                    batch.revive_queue_id,
                    body.broker_name or "",
                )
                puts.append(self._stage_ack(queue, receipt, -1, offsets))
                removed.append((queue, batch.pop_time, len(offsets)))

        def stored() -> None:
            for queue, pop_time, count in removed:
                self._shared.out.remove(queue, pop_time, count)

        return self._stored(puts, Reply(), stored)

    def _offsets(self, batch: BatchAck, queue: PopQueue) -> list[int]:
        """The queue offsets that a bit set names, less those that the queue does not have."""
        bits = batch.bit_set or b""
        if len(bits) * 8 > _ACKS_MAX:
            raise RequestError(f"a batch names more than {_ACKS_MAX} messages", ResponseCode.SYSTEM_ERROR)
        first = self._shared.store.min_offset(queue.topic, queue.queue_id)
        end = self._shared.store.max_offset(queue.topic, queue.queue_id)
        named = (batch.start_offset + index for index in range(len(bits) * 8) if bits[index >> 3] >> (index & 7) & 1)
        return [offset for offset in named if first <= offset <= end]

    @handles(ChangeMessageInvisibleTime)
    def change(self, request: Request, header: ChangeMessageInvisibleTime) -> Result:
        """Hide a message for another time, from now on."""
        shared = self._shared
        try:
            first, end = self._check_queue(request, header)
            if not first <= header.offset < end:
                return Reply(_NO_CHANGE, ResponseCode.NO_MESSAGE)
        except RequestError as refused:
            return Reply(_NO_CHANGE, refused.code, refused.remark)
        receipt = read_receipt(header.extra_info)
        queue = PopQueue(header.topic, header.consumer_group, header.queue_id)
        if receipt.ordered:
            return Reply(self._change_ordered(queue, header, receipt))
        pop_time = shared.wall_clock_ms()
        if 0 <= receipt.pop_time - pop_time < _SAME_MOMENT_MS:
            # Two check points of one start and one time count as one, and the acknowledgement would be of both.
            pop_time = receipt.pop_time + 1
        point = PopCheckPoint(
            broker_name=receipt.broker_name,
            consumer_group=header.consumer_group,
            offset_differences=[0],
            invisible_time=header.invisible_time,
            count=1,
            pop_time=pop_time,
            queue_id=header.queue_id,
            start_offset=header.offset,
            suspended=header.suspend,
            topic=header.topic,
        )
        shared.stats.check_pointed(queue.group, queue.topic)
        reply = Reply(
            ChangeMessageInvisibleTimeReply(
                pop_time=pop_time, invisible_time=header.invisible_time, revive_qid=receipt.revive_queue_id
            )
        )
        # First the new check point: the other way round a crash between the two would lose the message.
        put = self._put(lambda: shared.log.stage_check_point(point, receipt.revive_queue_id))
        if not isinstance(put, Posted):
            return self._stored([put, self._stage_ack(queue, receipt, header.offset)], reply, lambda: None)

        def there(problem: str | None) -> Any:
            if problem is not None:
                return Reply(code=ResponseCode.SYSTEM_ERROR, remark=problem)
            result = self._stored([self._stage_ack(queue, receipt, header.offset)], reply, lambda: None)
            return result.finish(commit(shared.store)) if isinstance(result, Staged) else result

        return first_problem([put.done]).addCallback(there)

    def _change_ordered(
        self, queue: PopQueue, header: ChangeMessageInvisibleTime, receipt: Receipt
    ) -> ChangeMessageInvisibleTimeReply:
        shared = self._shared
        if header.offset < shared.offsets.query(queue):
            return _NO_CHANGE
        visible_at_ms = shared.wall_clock_ms() + header.invisible_time
        shared.orders.show_at(queue, header.offset, receipt.pop_time, visible_at_ms)
        return ChangeMessageInvisibleTimeReply(
            pop_time=receipt.pop_time,
            invisible_time=visible_at_ms - receipt.pop_time,
            revive_qid=receipt.revive_queue_id,
        )

    def _check_queue(self, request: Request, header: AckMessage | ChangeMessageInvisibleTime) -> tuple[int, int]:
        """Give the offsets between which a queue has messages.

        Raises:
            RequestError: There is no such queue.
        """
        topic = self._shared.checks.existing_topic(header.topic)
        if not 0 <= header.queue_id < topic.read_queue_nums:
            raise RequestError(illegal_queue(request, topic, header.queue_id), ResponseCode.MESSAGE_ILLEGAL)
        store = self._shared.store
        return store.min_offset(header.topic, header.queue_id), store.max_offset(header.topic, header.queue_id)

    def _stage_ack(
        self, queue: PopQueue, receipt: Receipt, offset: int, offsets: list[int] | None = None
    ) -> StagedPut | Posted | None:
        self._shared.stats.acknowledged(queue.group, queue.topic, 1 if offsets is None else len(offsets))
        ack = PopAck(
            ack_offset=offset,
            ack_offsets=offsets,
            broker_name=receipt.broker_name,
            consumer_group=queue.group,
            pop_time=receipt.pop_time,
            queue_id=queue.queue_id,
            start_offset=receipt.start_offset,
            topic=queue.topic,
        )
        return self._put(lambda: self._shared.log.stage_ack(ack, receipt.revive_queue_id, receipt.revive_time))

    @staticmethod
    def _put(stage: Callable[[], StagedPut | Posted | None]) -> StagedPut | Posted | None:
        try:
            return stage()
        except StoreError as failed:
            raise RequestError(str(failed), ResponseCode.SYSTEM_ERROR) from failed

    def _stored(self, puts: list[StagedPut | Posted | None], reply: Reply, stored: Callable[[], None]) -> Result:
        """Answer when what was staged is stored, here or elsewhere."""
        posted = [put.done for put in puts if isinstance(put, Posted)]
        end = max((put.physical_offset + put.size for put in puts if put and not isinstance(put, Posted)), default=0)

        def finish(failed: Exception | None) -> Result:
            if failed is not None:
                return Reply(code=ResponseCode.SYSTEM_ERROR, remark=str(failed))
            stored()
            when_safe = self._shared.when_safe
            wait = when_safe(end) if when_safe is not None else None
            return reply if wait is None else wait.addCallback(lambda _: reply)  # late or not, it is stored

        def there(problem: str | None) -> Reply:
            if problem is not None:
                return Reply(code=ResponseCode.SYSTEM_ERROR, remark=problem)
            stored()
            return reply

        if posted:
            return first_problem(posted).addCallback(there)
        return Staged(finish) if end else reply

    def _ack_ordered(
        self, request: Request, queue: PopQueue, offset: int, pop_time: int, invisible_time_ms: int
    ) -> None:
        """Acknowledge a message of an ordered pop.

        Raises:
            RequestError: It is not out.
        """
        shared = self._shared
        before = shared.offsets.query(queue)
        if offset < before:
            return
        shared.stats.acknowledged(queue.group, queue.topic, 1)
        next_offset = shared.orders.acknowledge(queue, offset, pop_time)
        if next_offset == NOT_FOUND:
            raise RequestError(
                f"offset is illegal, key:{queue}, old:{before}, commit:{offset}, next:{next_offset},"
                f" /{request.connection.peer}",
                ResponseCode.MESSAGE_ILLEGAL,
            )
        if next_offset >= 0:
            if not shared.offsets.has_reset(queue):
                shared.offsets.commit(queue, next_offset)
            if not shared.orders.blocked(queue, None, invisible_time_ms):
                shared.holds.notify_group(queue)
        shared.out.remove(queue, pop_time)
