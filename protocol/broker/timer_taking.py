"""From the timer's queue into the wheel: each message once, in order, in small batches.

Messages that are due already are put to their real queue instead. What was just stored is read without waiting;
what is not in memory any more is read in a thread. Source: `TimerMessageStore.enqueue`, `putMessageToTimerWheel`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from rmqd.store.errors import ColdRead, StoreError
from rmqd.store.timerstore import Entry
from rmqwire.errors import MalformedMessage
from rmqwire.hashing import java_string_hash

from .names import TIMER_TOPIC
from .timer_messages import NEVER_ENQUEUED_MS, TimerMessage

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.store.messagestore import MessageStore
    from rmqd.store.timerstore import TimerStore

    from .timer_messages import Put, Puts
    from .topic_counts import TopicCounts

_log = Logger()

BATCH = 64
_BATCH_BYTES = 1 << 20
Found = tuple[int, int, "bytes | None"]


class TimerTaking:
    """Takes messages.

    Args:
        store: Whose queue it is.
        files: The wheel.
        puts: For messages that are late.
        counts: Of waiting messages.
        wall_clock_ms: Tells late from early.
        run_in_thread: Reads what is not in memory.

    Attributes:
        puts: Where messages go that are late.
        taken: How many, since the start.
        log_end: The end of the records of what was taken.
    """

    def __init__(
        self,
        store: MessageStore,
        files: TimerStore,
        puts: Puts,
        counts: TopicCounts,
        wall_clock_ms: Callable[[], int],
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self._store = store
        self._files = files
        self.puts = puts
        self._counts = counts
        self._wall_clock_ms = wall_clock_ms
        self._run_in_thread = run_in_thread
        self.taken = 0
        self.log_end = 0

    @property
    def behind(self) -> int:
        """How many messages wait in the queue; those that its master has not taken are not for a follower."""
        files, end = self._files, self._store.max_offset(TIMER_TOPIC, 0)
        return max(0, (min(end, files.elsewhere.furthest.queue_offset) if files.follows else end) - files.queue_offset)

    async def some(self) -> bool:
        """Take a batch; tell whether there may be more.

        Raises:
            StoreError: What was not taken is to be tried again.
        """
        files = self._files
        self._move_write_time()
        if not self.behind:
            return False
        first = self._store.min_offset(TIMER_TOPIC, 0)
        if files.queue_offset < first:
            _log.warn("timer: messages {begin} to {end} of the queue have expired", begin=files.queue_offset, end=first)
            files.queue_offset = first
        offset = files.queue_offset
        try:
            found = self._read(offset, allow_cold=False)
        except ColdRead:
            found = await self._run_in_thread(self._read, offset, allow_cold=True)
            self._move_write_time()
        if not found:
            raise StoreError(f"the timer's queue has no units at {offset}, {self.behind} before its end")
        await self._take(found)
        return self.behind > 0

    def _move_write_time(self) -> None:
        if not self._files.follows:
            self._files.move_write_time(self._wall_clock_ms())

    def _read(self, offset: int, *, allow_cold: bool) -> list[Found]:
        """Records from an offset of the queue on, as (position, size, record, or None where there is none any more)."""
        units = self._store.queue_units(TIMER_TOPIC, 0, offset, BATCH, allow_cold=allow_cold) or []
        found: list[Found] = []
        total = 0
        for position, size, _ in units[: self.behind]:
            total += size
            if found and total > _BATCH_BYTES:
                break
            found.append((position, size, self._store.read_record(position, size, allow_cold=allow_cold)))
        return found

    async def _take(self, found: list[Found]) -> None:
        """Take them in runs of the same kind: each is done with, or fails, as a whole."""
        entries: list[tuple[Entry, str]] = []
        late: list[tuple[TimerMessage, int]] = []
        """With how many were left out before each, since the last that was done with."""
        left_out = 0
        for position, size, record in found:
            message = _message(position, record)
            if message is not None and self._files.is_delivered(message.queue_offset, message.due_ms):
                message = None
            is_late = message is not None and message.due_ms < self._files.write_ms and not self._files.follows
            if late and not is_late:
                left_out = await self._put_late(late, left_out)
                late = []
            elif entries and is_late:
                left_out = self._put_in_slots(entries, left_out)
                entries = []
            if message is None or (is_late and message.delete_key is not None):
                left_out += 1  # what takes back too late has nothing to take back
                if not late and not entries:
                    left_out = self._advance(0, left_out)
            elif is_late:
                late.append((message, left_out))
            else:
                deletes = message.delete_key is not None
                topic_hash = java_string_hash(message.topic)
                due_ms = max(message.due_ms, self._files.write_ms)
                entries.append((Entry(due_ms, position, size, topic_hash, deletes), message.topic))
            self.log_end = position + size
        if late:
            await self._put_late(late, left_out)
        elif entries:
            self._put_in_slots(entries, left_out)
        else:
            self._advance(0, left_out)

    async def _put_late(self, late: list[tuple[TimerMessage, int]], left_out: int) -> int:
        puts: list[Put] = [(message, NEVER_ENQUEUED_MS, False) for message, _ in late]
        done, failed = await self.puts.put_all(puts)
        if failed is not None:
            self._advance(done, late[done][1])
            raise failed
        return self._advance(done, left_out)

    def _put_in_slots(self, entries: list[tuple[Entry, str]], left_out: int) -> int:
        self._files.enqueue([entry for entry, _ in entries])
        if not self._files.follows:  # whose counts are copied
            for entry, topic in entries:
                self._counts.add(topic, -1 if entry.deletes else 1)
        return self._advance(len(entries), left_out)

    def _advance(self, done: int, left_out: int) -> int:
        self._files.queue_offset += done + left_out
        self.taken += done
        return 0


def _message(position: int, record: bytes | None) -> TimerMessage | None:
    if record is None:
        _log.error("timer: there is no message at {offset} any more", offset=position)
        return None
    try:
        return TimerMessage(record)
    except MalformedMessage as cause:
        _log.error("timer: left out at {offset}: {cause}", offset=position, cause=cause)
        return None
