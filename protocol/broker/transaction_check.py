"""Check-back: ask producers what became of transactions that they left open.

Every `transactionCheckInterval` a round goes through each half queue, from its progress to the first half message
that is too young. What has not ended is put behind the others once more, with one more check counted, and a producer
of its group is asked about that copy (39); so the progress, kept as offsets of the group CID_RMQ_SYS_TRANS, never
stands still for a transaction that stays open. A crash repeats what was done after offsets were saved: a check may
come twice, a message that ended is not forgotten. A round works in slices, so that requests are served in between,
and what it stages in a slice it commits in the same slice.

Source: `TransactionalMessageServiceImpl.check`, `AbstractTransactionalMessageCheckListener` (5.5.0).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from rmqd.store.errors import ColdRead, MessageIllegal, StoreError
from rmqd.store.reading import GetResult, GetStatus
from rmqwire.errors import MalformedMessage

from .names import TRANS_CHECK_MAX_TIME_TOPIC, TRANS_HALF_TOPIC, TRANS_OP_HALF_TOPIC
from .transaction_ends import EndedHalves
from .transaction_messages import HalfMessage
from .transaction_verdict import Verdict, judge

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.store.messagestore import MessageStore, StagedPut

    from .offsets import ConsumerOffsets
    from .stats import BrokerStats
    from .transaction_ends import EndNotes
    from .transaction_settings import TransactionSettings

_log = Logger()
_QUEUE_OFFSET = struct.Struct(">q")

GROUP = "CID_RMQ_SYS_TRANS"
"""Whose offsets the progress is."""
ROUND_MAX_MS = 60_000
"""A round of one queue ends after this, and the next one goes on."""
_STEPS_PER_SLICE = 2000
_PUTS_PER_SLICE = 64
_READ_COUNT = 32


class CheckListener(Protocol):
    """Who is told what a round has done. Nothing is staged when a method is called, unless it says so."""

    def ask(self, half: HalfMessage, put: StagedPut) -> None:
        """Ask a producer about a half message that now lies at a new place."""

    def giving_up(self) -> None:
        """Have TRANS_CHECK_MAX_TIME_TOPIC exist, for a message is about to be put there. Must store no message."""

    def gave_up(self, half: HalfMessage) -> None:
        """A half message has been moved there."""


class _Queue:
    """What is known of one half queue and its op queue.

    Attributes:
        progress: The next half message to look at.
        ended: What the op queue says.
        noted: Progress of the op queue as it was last committed.
        copied_from: Of a copy: the queue offsets it had before. Lost when the broker stops; only then can a
            producer's late answer about the original be followed by a check of the copy.
    """

    __slots__ = ("copied_from", "ended", "noted", "progress")

    def __init__(self, progress: int, noted: int) -> None:
        self.progress = progress
        self.ended = EndedHalves(noted)
        self.noted = noted
        self.copied_from: dict[int, tuple[int, ...]] = {}


class _Need(enum.Enum):
    """Why a slice ended: nothing more to do now, enough for once, half messages or notes have to be read."""

    END = 0
    PAUSE = 1
    HALVES = 2
    NOTES = 3


class TransactionCheck:
    """The rounds.

    Args:
        store: Read from and put to.
        offsets: Where progress is kept.
        ends: Ends that are not written yet.
        settings: Limits.
        listener: Asks producers.
        stats: Counts.
        clock: For pauses.
        wall_clock_ms: How old messages are.
        run_in_thread: Reads what is not in memory.
    """

    def __init__(
        self,
        store: MessageStore,
        offsets: ConsumerOffsets,
        ends: EndNotes,
        settings: TransactionSettings,
        listener: CheckListener,
        stats: BrokerStats,
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self._store = store
        self._offsets = offsets
        self._ends = ends
        self._settings = settings
        self._listener = listener
        self._stats = stats
        self._clock = clock
        self._wall_clock_ms = wall_clock_ms
        self._run_in_thread = run_in_thread
        self._queues: dict[int, _Queue] = {}
        self.stopped = False
        """Set to have a round end at its next pause."""

    def begin(self) -> None:
        """Read everything anew: another broker may have checked meanwhile."""
        self._queues.clear()
        self.stopped = False

    async def check(self, queue_id: int) -> None:
        """One round of one half queue.

        Raises:
            StoreError: Something cannot be read; the next round tries again.
        """
        began_ms = self._wall_clock_ms()
        queue = self._queue(queue_id)
        halves: dict[int, bytes] = {}
        while not self.stopped and self._wall_clock_ms() - began_ms <= ROUND_MAX_MS:
            need = self._slice(queue_id, queue, halves, began_ms)
            if need is _Need.NOTES:
                await self._read_notes(queue_id, queue)
            elif need is _Need.HALVES:
                halves = await self._read_halves(queue_id, queue)
            elif need is _Need.END:
                return
            await deferLater(self._clock, 0, lambda: None)

    def _queue(self, queue_id: int) -> _Queue:
        """Give what is known of a queue, read anew when its offsets were changed by someone else."""
        progress = self._stored(TRANS_HALF_TOPIC, queue_id)
        noted = self._stored(TRANS_OP_HALF_TOPIC, queue_id)
        queue = self._queues.get(queue_id)
        if queue is None or queue.progress != progress or queue.noted != noted:
            queue = self._queues[queue_id] = _Queue(progress, noted)
        return queue

    def _stored(self, topic: str, queue_id: int) -> int:
        # Offsets beyond a queue's end are those of messages that a crash took; before its begin, of expired ones.
        first, end = self._store.min_offset(topic, queue_id), self._store.max_offset(topic, queue_id)
        return min(max(self._offsets.query(GROUP, topic, queue_id), first), end)

    def _slice(self, queue_id: int, queue: _Queue, halves: dict[int, bytes], began_ms: int) -> _Need:
        """Go on as far as can be without waiting."""
        at = queue.progress
        actions: list[_Action] = []
        need = _Need.PAUSE
        try:
            for _ in range(_STEPS_PER_SLICE):
                if at >= self._store.max_offset(TRANS_HALF_TOPIC, queue_id):
                    need = _Need.END
                    break
                if not self._has_ended(queue_id, queue, at):
                    record = halves.get(at)
                    if record is None:
                        need = _Need.HALVES
                        break
                    wanted = self._decide(queue_id, queue, at, record, began_ms, actions)
                    if wanted is not None:
                        need = wanted
                        break
                at += 1
                if len(actions) >= _PUTS_PER_SLICE:
                    break
        except StoreError as cause:
            _log.error("transactions cannot be checked: {cause}", cause=cause)
            need = _Need.END
        if actions and not self._commit(actions):
            at, need = actions[0].at, _Need.END
        else:
            for action in actions:
                action.done(queue)
        self._advance(queue_id, queue, at)
        return need

    def _commit(self, actions: list[_Action]) -> bool:
        try:
            self._store.commit()
        except StoreError as cause:
            _log.error("{count} transactions cannot be checked: {cause}", count=len(actions), cause=cause)
            return False
        return True

    def _has_ended(self, queue_id: int, queue: _Queue, at: int) -> bool:
        return queue.ended.has(at) or self._ends.has(queue_id, at)

    def _decide(
        self, queue_id: int, queue: _Queue, at: int, record: bytes, began_ms: int, actions: list[_Action]
    ) -> _Need | None:
        """Stage what is to be done with a half message that has not ended as far as is known, if anything."""
        try:
            half = HalfMessage(record)
        except MalformedMessage as cause:
            _log.error("a half message is left out: {cause}", cause=cause)
            return None
        verdict = judge(half, self._settings, began_ms, self._wall_clock_ms())
        if verdict is Verdict.LATER:
            return _Need.END
        if queue.ended.read_to < self._store.max_offset(TRANS_OP_HALF_TOPIC, queue_id):
            return _Need.NOTES  # nothing is decided before all is known
        earlier = queue.copied_from.get(at, ())
        prepared = half.prepared_queue_offset
        if any(self._has_ended(queue_id, queue, each) for each in earlier) or (
            prepared is not None and self._has_ended(queue_id, queue, prepared)
        ):
            return None
        actions.append(self._stage(at, half, verdict))
        return None

    def _stage(self, at: int, half: HalfMessage, verdict: Verdict) -> _Action:
        if verdict is not Verdict.GIVE_UP:
            checked = verdict is Verdict.CHECK
            try:
                put = half.stage_checked(self._store) if checked else half.stage_immune(self._store)
            except MessageIllegal as cause:
                # Its properties leave no room for one more. Unlike Java, which would try this one for ever.
                _log.error("a half message at {at} cannot be checked: {cause}", at=at, cause=cause)
            else:
                return _Action(self, at, half, put, asks=checked)
        self._listener.giving_up()
        return _Action(self, at, half, half.stage_given_up(self._store), gives_up=True)

    def _done(self, queue: _Queue, action: _Action) -> None:
        topic = TRANS_CHECK_MAX_TIME_TOPIC if action.gives_up else TRANS_HALF_TOPIC
        self._stats.put(topic, 1, action.put.size)
        if action.gives_up:
            self._listener.gave_up(action.half)
            return
        queue.copied_from[action.put.queue_offset] = (*queue.copied_from.get(action.at, ()), action.at)
        if action.asks:
            self._listener.ask(action.half, action.put)

    def _advance(self, queue_id: int, queue: _Queue, at: int) -> None:
        before, queue.progress = queue.progress, at
        if queue.copied_from:
            for offset in [offset for offset in queue.copied_from if offset < at]:
                del queue.copied_from[offset]
        queue.ended.advance(before, at)
        if at != before:
            self._offsets.commit(GROUP, TRANS_HALF_TOPIC, queue_id, at)
        noted = queue.ended.progress
        if noted != queue.noted:
            queue.noted = noted
            self._offsets.commit(GROUP, TRANS_OP_HALF_TOPIC, queue_id, noted)

    async def _read_notes(self, queue_id: int, queue: _Queue) -> None:
        found = await self._read(TRANS_OP_HALF_TOPIC, queue_id, queue.ended.read_to)
        if found.next_begin_offset <= queue.ended.read_to:
            raise StoreError(f"no note of ended transactions can be read at {found.next_begin_offset}: {found.status}")
        queue.ended.take(found, queue.progress, self._store.max_offset(TRANS_HALF_TOPIC, queue_id))

    async def _read_halves(self, queue_id: int, queue: _Queue) -> dict[int, bytes]:
        at = queue.progress
        found = await self._read(TRANS_HALF_TOPIC, queue_id, at)
        halves = {}
        if found.status is GetStatus.FOUND:
            for record in found.records:
                halves[_QUEUE_OFFSET.unpack_from(record, 20)[0]] = record
        if at not in halves:  # expired meanwhile: on with the first that is there
            first = min(halves, default=found.next_begin_offset)
            if first <= at:
                raise StoreError(f"no half message can be read at {at}: {found.status}")
            self._advance(queue_id, queue, first)
        return halves

    async def _read(self, topic: str, queue_id: int, offset: int) -> GetResult:
        try:
            return self._store.get_messages(topic, queue_id, offset, _READ_COUNT)
        except ColdRead:
            found: GetResult = await self._run_in_thread(
                self._store.get_messages, topic, queue_id, offset, _READ_COUNT, allow_cold=True
            )
            return found


class _Action:
    """Something staged, and what follows once it is committed."""

    __slots__ = ("_check", "asks", "at", "gives_up", "half", "put")

    def __init__(
        self,
        check: TransactionCheck,
        at: int,
        half: HalfMessage,
        put: StagedPut,
        *,
        asks: bool = False,
        gives_up: bool = False,
    ) -> None:
        self._check = check
        self.at = at
        self.half = half
        self.put = put
        self.asks = asks
        self.gives_up = gives_up

    def done(self, queue: _Queue) -> None:
        self._check._done(queue, self)
