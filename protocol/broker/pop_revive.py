"""Bring popped messages back that nobody acknowledged in time.

The revive topic tells, a little after the time of each pop, what was popped and what of it was acknowledged. What was
not goes to the group's retry topic; then, not before, the offset of the revive group moves on. A crash brings messages
back twice, it loses none.

Source: `PopReviveService` (5.5.0).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from rmqd.protocol.remoting import PeerError
from rmqd.store.errors import MessageIllegal, StoreError
from rmqd.store.reading import GetStatus
from rmqwire.bodies import PopAck, PopCheckPoint
from rmqwire.dialect import loads
from rmqwire.errors import MalformedBody, RequestError, WireError
from rmqwire.hashing import tags_code
from rmqwire.message import decode_properties, decode_record, encode_properties, message_keys

from .names import PERM_READ, PERM_WRITE, RETRY_PREFIX, pop_retry_topics
from .pop_log import ACK_TAG, BATCH_ACK_TAG, CHECK_POINT_TAG, DELIVER_AT, Posted, first_problem
from .pop_offsets import PopQueue
from .pop_receipt import normal_topic
from .pop_turn import commit
from .reading import ColdReads

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from rmqd.store.messagestore import StagedPut
    from rmqwire.message import StoredMessage

    from .pop_parts import PopShared

_log = Logger()

REVIVE_GROUP = "CID_RMQ_SYS_REVIVE_GROUP"
_BATCH = 32
_BATCHES_PER_ROUND = 512
_ACKS_ARE_IN_MS = 2000
"""So long after its time a check point's acknowledgements have all been read, if anything newer has."""
_QUIET_MS = 3000
"""When nothing has come for so long, and the timer has nothing that is due, everything has been read."""
_RETRY_QUEUES = 1
_PUT_AGAIN_AFTER_S = (10, 20, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200)
_OLD_NAMES = {
    "ackOffset": "ao",
    "startOffset": "so",
    "consumerGroup": "c",
    "topic": "t",
    "queueId": "q",
    "popTime": "pt",
    "brokerName": "bn",
}
_FIRST_POP_TIME, _ORIGIN_GROUP = "1ST_POP_TIME", "ORIGIN_GROUP"

_Key = tuple["str | None", "str | None", int, int, int, "str | None"]


class ReviveQueue:
    """One queue of the revive topic.

    Args:
        shared: What it works on.
        queue_id: Which.
        clock: To let others run between two reads.
        timer_behind: Whether the timer has not delivered all that is due.
        drop_after_last: `skipWhenCKRePutReachMaxTimes`.
    """

    def __init__(
        self,
        shared: PopShared,
        queue_id: int,
        clock: IReactorTime,
        timer_behind: Callable[[], bool],
        *,
        drop_after_last: bool = False,
    ) -> None:
        self._shared = shared
        self._queue = PopQueue(shared.log.topic, REVIVE_GROUP, queue_id)
        self._clock = clock
        self._timer_behind = timer_behind
        self._drop_after_last = drop_after_last
        self._reads = ColdReads(shared.run_in_thread)
        self._scanned = shared.offsets.query(self._queue)
        """The last offset that was read."""
        self._waiting: dict[_Key, PopCheckPoint] = {}
        self._done: list[int] = []
        """Offsets of check points that are dealt with, later than some that are not."""
        self._newest_ms = 0
        self.stopped = False

    @property
    def waiting_count(self) -> int:
        """Check points that have been read and not been dealt with."""
        return len(self._waiting)

    async def round(self) -> None:
        """Read what is new, and bring back what is due.

        Raises:
            StoreError: A message cannot be read or stored; what was due is tried again in the next round.
        """
        if not await self._scan() and not self._waiting:
            return
        end_ms = self._read_until_ms()
        try:
            for key, point in list(self._waiting.items()):
                if self.stopped:
                    return
                if end_ms - point.pop_time - point.invisible_time > _ACKS_ARE_IN_MS:
                    await self._revive(point)
                    del self._waiting[key]
                    self._done.append(point.revive_offset)
        finally:
            self._commit()

    def _read_until_ms(self) -> int:
        """Everything that was for a time before this one has been read."""
        now_ms = self._shared.wall_clock_ms()
        at_end = self._scanned + 1 >= self._shared.store.max_offset(self._queue.topic, self._queue.queue_id)
        if at_end and now_ms - self._newest_ms > _QUIET_MS and not self._timer_behind():
            return now_ms
        return min(self._newest_ms, now_ms)

    def _commit(self) -> None:
        first_waiting = min((point.revive_offset for point in self._waiting.values()), default=1 << 63)
        passed = [offset for offset in self._done if offset < first_waiting]
        if passed:
            self._done = [offset for offset in self._done if offset > first_waiting]
            self._shared.offsets.commit(self._queue, max(passed))

    # -- reading -------------------------------------------------------------------------------------------------

    async def _scan(self) -> bool:
        """Read to the end of the queue; say whether there was anything new."""
        store, queue = self._shared.store, self._queue
        found_any = False
        for _ in range(_BATCHES_PER_ROUND):
            offset = self._scanned + 1
            if self.stopped or offset == store.max_offset(queue.topic, queue.queue_id):
                break
            found = await self._reads.later(store.get_messages, queue.topic, queue.queue_id, offset, _BATCH)
            if found.status is not GetStatus.FOUND:
                if found.next_begin_offset == offset or found.status is GetStatus.NO_MATCHED_LOGIC_QUEUE:
                    break
                _log.warn("{queue}: {offset} is {status}", queue=queue, offset=offset, status=found.status.name)
                self._scanned = found.next_begin_offset - 1
                if not self._waiting:
                    self._shared.offsets.commit(queue, self._scanned)
                continue
            for record in found.records:
                self._note(decode_record(record))
            found_any = True
            await deferLater(self._clock, 0)
        return found_any

    def _note(self, message: StoredMessage) -> None:
        self._scanned = message.queue_offset
        properties = decode_properties(message.properties)
        tag = properties.get("TAGS")
        try:
            if tag == CHECK_POINT_TAG:
                self._note_check_point(message)
            elif tag in (ACK_TAG, BATCH_ACK_TAG):
                self._note_ack(_read_ack(message.body))
        except MalformedBody as cause:
            _log.error("{queue}: {offset}: {cause}", queue=self._queue, offset=message.queue_offset, cause=cause)
        deliver_at = properties.get(DELIVER_AT, "")
        if deliver_at.isascii() and deliver_at.isdigit():
            self._newest_ms = max(self._newest_ms, int(deliver_at))

    def _note_check_point(self, message: StoredMessage) -> None:
        point = PopCheckPoint.decode(message.body)
        if point.topic is None or point.consumer_group is None:
            return
        point.revive_offset = message.queue_offset
        key = _key(point, point.broker_name or self._shared.settings.broker_name)
        before = self._waiting.pop(key, None)
        if before is not None:  # stored twice: the same messages, at the later place
            self._done.append(before.revive_offset)
            point.acknowledged_bits |= before.acknowledged_bits
        self._waiting[key] = point

    def _note_ack(self, ack: PopAck) -> None:
        point = self._waiting.get(_key(ack, ack.broker_name or self._shared.settings.broker_name))
        if point is None:
            return
        for offset in [ack.ack_offset] if ack.ack_offsets is None else ack.ack_offsets:
            index = _index(point, offset)
            if index is None:
                _log.warn("an acknowledgement of {offset} fits no {point}", offset=offset, point=point)
            else:
                point.acknowledged_bits |= 1 << index

    # -- bringing back -------------------------------------------------------------------------------------------

    async def _revive(self, point: PopCheckPoint) -> None:
        shared = self._shared
        topic, group = point.topic or "", point.consumer_group or ""
        if point.acknowledged_bits.bit_count() >= point.count:
            return
        absent = shared.settings.skip_if_group_absent and shared.groups.find(group) is None
        if absent or shared.topics.get(normal_topic(topic, group)) is None:
            _log.warn("{topic} or {group} is gone, nothing comes back", topic=topic, group=group)
            return
        queue = PopQueue(topic, group, point.queue_id)
        last: StagedPut | None = None
        posted: list[Deferred[str | None]] = []
        count = 0
        put: StagedPut | Posted | None
        for offset in _unacknowledged(point):
            try:
                message = await self._message(point, queue, offset)
                if message is None:
                    _log.warn("{queue}: {offset} is gone, it cannot come back", queue=queue, offset=offset)
                    continue
                put = self._put_retry(point, message)
                count += 1
            except (PeerError, WireError) as cause:
                _log.info("{queue}: {offset} comes back later: {cause}", queue=queue, offset=offset, cause=cause)
                put = self._put_again(point, offset)
            except MessageIllegal as cause:
                _log.error("{queue}: {offset} cannot come back: {cause}", queue=queue, offset=offset, cause=cause)
                put = self._put_again(point, offset)
            if isinstance(put, Posted):
                posted.append(put.done)
            elif put is not None:
                last = put
        problem = await first_problem(posted)
        if problem is not None:
            raise StoreError(problem)
        if last is not None:
            failed = commit(shared.store)
            if failed is not None:
                raise failed
        shared.out.remove(queue, point.pop_time, count)
        if last is not None:
            await self._settled(last)

    async def _settled(self, last: StagedPut) -> None:
        """Wait until what was put would survive what the revive group's offset survives."""
        if self._shared.topics.unsaved or self._shared.when_safe is not None:
            await self._shared.topics.saved()
        if self._shared.when_safe is not None:
            wait = self._shared.when_safe(last.physical_offset + last.size)
            if wait is not None:
                await wait

    async def _message(self, point: PopCheckPoint, queue: PopQueue, offset: int) -> StoredMessage | None:
        """Read a message that was popped, from the broker that has it.

        Raises:
            PeerError, WireError: That one cannot be asked now.
        """
        shared = self._shared
        broker_name = point.broker_name or shared.settings.broker_name
        if broker_name != shared.settings.broker_name:
            if shared.elsewhere is None:
                raise PeerError(f"{broker_name} is not known yet")
            return await shared.elsewhere.read(broker_name, queue.topic, queue.queue_id, offset)
        found = await self._reads.later(shared.store.get_messages, queue.topic, queue.queue_id, offset, 1)
        return decode_record(found.body) if found.status is GetStatus.FOUND else None

    def _put_retry(self, point: PopCheckPoint, message: StoredMessage) -> StagedPut | Posted:
        """Put a message where the group looks for what comes back; a slave that stands in, on another master."""
        shared = self._shared
        group, topic = point.consumer_group or "", point.topic or ""
        if not topic.startswith(RETRY_PREFIX):
            second, first = pop_retry_topics(topic, group)
            topic = second if shared.settings.retry_v2 else first
        properties = decode_properties(message.properties)
        if message.reconsume_times == 0 or _FIRST_POP_TIME not in properties:
            properties[_FIRST_POP_TIME] = str(point.pop_time)
        properties[_ORIGIN_GROUP] = group
        times = message.reconsume_times + (0 if point.suspended else 1)
        if shared.store.is_slave and shared.elsewhere is not None:
            again = replace(message, reconsume_times=times)
            like = normal_topic(point.topic or "", group)
            return Posted(Deferred.fromCoroutine(shared.elsewhere.put(topic, again, properties, like=like)))
        return self._stage_retry(topic, group, message, properties, times)

    def _stage_retry(
        self, topic: str, group: str, message: StoredMessage, properties: dict[str, str], times: int
    ) -> StagedPut:
        shared = self._shared
        if shared.topics.get(topic) is None:
            shared.topics.create_for_send_back(topic, _RETRY_QUEUES, PERM_READ | PERM_WRITE, 0)
            shared.topics.unsaved.add(topic)
            retry_queue = PopQueue(topic, group, 0)
            if shared.offsets.query(retry_queue) < 0:
                shared.offsets.commit(retry_queue, 0)
        put = shared.store.stage(
            topic,
            0,
            message.body,
            encode_properties(properties),
            tags_code=tags_code(properties.get("TAGS")),
            keys=message_keys(properties),
            flag=message.flag,
            sys_flag=message.sys_flag,
            born_timestamp=message.born_timestamp,
            born_host=shared.log.store_host,
            reconsume_times=times,
        )
        shared.stats.put(topic, 1, put.size)
        return put

    def _put_again(self, point: PopCheckPoint, offset: int) -> StagedPut | Posted | None:
        """Ask once more later for a message that another broker has, or that cannot come back now."""
        times = int(point.put_again_times or 0)
        if times >= len(_PUT_AGAIN_AFTER_S) and self._drop_after_last:
            _log.warn("{point}: given up after {times} times", point=point, times=times)
            return None
        wait_s = 0
        if point.pop_time + point.invisible_time <= self._shared.wall_clock_ms():
            wait_s = _PUT_AGAIN_AFTER_S[min(times, len(_PUT_AGAIN_AFTER_S) - 1)]
        again = PopCheckPoint(
            broker_name=point.broker_name,
            consumer_group=point.consumer_group,
            offset_differences=[0],
            invisible_time=point.invisible_time + wait_s * 1000,
            count=1,
            pop_time=point.pop_time,
            put_again_times=str(times + 1),
            queue_id=point.queue_id,
            start_offset=offset,
            topic=point.topic,
        )
        try:
            return self._shared.log.stage_check_point(again, self._queue.queue_id)
        except RequestError as refused:
            raise StoreError(f"a check point cannot be put again: {refused.remark}") from refused


def _key(of: PopCheckPoint | PopAck, broker_name: str | None) -> _Key:
    return of.topic, of.consumer_group, of.queue_id, of.start_offset, of.pop_time, broker_name


def _read_ack(body: bytes) -> PopAck:
    """Read an acknowledgement, also with the names that brokers before 5.1 wrote.

    Raises:
        MalformedBody: It is none.
    """
    if b'"ackOffset"' not in body:
        return PopAck.decode(body)
    tree = loads(body)
    if not isinstance(tree, dict):
        raise MalformedBody("an acknowledgement is no object")
    return PopAck.of_tree({_OLD_NAMES.get(name, name): value for name, value in tree.items()})


def _index(point: PopCheckPoint, offset: int) -> int | None:
    difference = offset - point.start_offset
    if not point.offset_differences:
        return difference if 0 <= difference < point.count else None
    return point.offset_differences.index(difference) if difference in point.offset_differences else None


def _unacknowledged(point: PopCheckPoint) -> list[int]:
    differences = point.offset_differences or list(range(point.count))
    return [
        point.start_offset + difference
        for index, difference in enumerate(differences[: point.count])
        if not point.acknowledged_bits >> index & 1
    ]
