"""Which half messages have ended: noted in `RMQ_SYS_TRANS_OP_HALF_TOPIC`, many in one message.

A half message stays in its queue for ever; that it was committed or rolled back is told by a message of the op queue
with the same id, tags `d`, whose body lists queue offsets: `12,15,` (5.x), or holds one of them (4.x). What ended in
the last moments is only in memory: lost in a crash, its transaction is asked for again.
Source: `TransactionalMessageServiceImpl.deletePrepareMessage`, `getOpMessage`, `fillOpRemoveMap` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from rmqd.store.errors import StoreError
from rmqd.store.reading import GetStatus
from rmqwire.hashing import tags_code
from rmqwire.message import decode_properties, decode_record, encode_properties

from .names import TRANS_OP_HALF_TOPIC

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from rmqd.store.messagestore import MessageStore
    from rmqd.store.reading import GetResult

    from .stats import BrokerStats
    from .transaction_settings import TransactionSettings

_log = Logger()

_ENDED = "d"
_PROPERTIES = encode_properties({"WAIT": "true", "TAGS": _ENDED})


class EndNotes:
    """Notes that are not written yet, by queue, and their writing.

    Args:
        store: Put to.
        settings: How large a note may grow, and how long it may wait.
        clock: For the wait.
        wall_clock_ms: Stamps notes.
        host: The broker's address as records store it.
        stats: Counts.
    """

    def __init__(
        self,
        store: MessageStore,
        settings: TransactionSettings,
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        host: bytes,
        stats: BrokerStats,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._wall_clock_ms = wall_clock_ms
        self._host = host
        self._stats = stats
        self._pending: dict[int, dict[int, None]] = {}
        self._bytes = 0
        self._due: IDelayedCall | None = None
        self._full = False

    def add(self, queue_id: int, queue_offset: int) -> None:
        """Note that a half message has ended. Nothing is stored in this turn of the reactor."""
        queue = self._pending.setdefault(queue_id, {})
        if queue_offset in queue:
            return
        queue[queue_offset] = None
        self._bytes += len(str(queue_offset)) + 1
        if self._due is None:
            self._due = self._clock.callLater(self._settings.op_batch_interval_ms / 1000, self._write_due)
        if not self._full and self._bytes > self._settings.op_msg_max_size:
            # In the next turn: in this one a dispatcher may have staged what it has not committed.
            self._full = True
            self._due.reset(0)

    def has(self, queue_id: int, queue_offset: int) -> bool:
        """Whether the end of a half message waits to be written."""
        queue = self._pending.get(queue_id)
        return queue is not None and queue_offset in queue

    def _write_due(self) -> None:
        self._due = None
        self.write()

    def write(self) -> None:
        """Write all notes now; those that could not be written are tried again after the interval."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        self._full = False
        try:
            for queue_id in [queue_id for queue_id, offsets in self._pending.items() if offsets]:
                while self._pending[queue_id]:
                    self._write_one(queue_id)
        except StoreError as cause:
            waiting = sum(map(len, self._pending.values()))
            _log.error("{count} ended transactions are not noted yet: {cause}", count=waiting, cause=cause)
            self._due = self._clock.callLater(self._settings.op_batch_interval_ms / 1000, self._write_due)
            self._full = True  # the time alone decides when it is tried again

    def _write_one(self, queue_id: int) -> None:
        queue = self._pending[queue_id]
        parts: list[str] = []
        size = 0
        for offset in queue:
            parts.append(f"{offset},")
            size += len(parts[-1])
            if size >= self._settings.op_msg_max_size:
                break
        put = self._store.stage(
            TRANS_OP_HALF_TOPIC,
            queue_id,
            "".join(parts).encode(),
            _PROPERTIES,
            tags_code=tags_code(_ENDED),
            keys=(),
            flag=0,
            sys_flag=0,
            born_timestamp=self._wall_clock_ms(),
            born_host=self._host,
        )
        self._store.commit()
        self._stats.put(TRANS_OP_HALF_TOPIC, 1, put.size)
        for part in parts:
            del queue[int(part[:-1])]
        self._bytes -= size

    def forget(self) -> None:
        """Drop what is not written: this broker is no longer the one to write it."""
        self._pending.clear()
        self._bytes = 0
        self._full = False
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def stop(self) -> None:
        """Write what is there; what cannot be written is asked for again after the next start."""
        self.write()
        if self._due is not None:
            self._due.cancel()
            self._due = None


class EndedHalves:
    """What the op queue of one half queue says, from its progress on.

    A note is done when the half messages it names are behind the progress of the half queue. One that names messages
    which were behind already when it was read, since they have been put again, is kept until every copy that was
    there at that time is behind too: the copies have ended with it.

    Args:
        progress: The queue offset of the first note that is not done.

    Attributes:
        read_to: The queue offset of the next note to read.
    """

    def __init__(self, progress: int) -> None:
        self.read_to = progress
        self._ends: dict[int, int] = {}
        """Half offset to the note's offset."""
        self._open: dict[int, int] = {}
        """Note's offset to how many of the half messages it names are still ahead. Ascending."""
        self._late: dict[int, int] = {}
        self._held: dict[int, tuple[int, list[int]]] = {}
        """Note's offset to the end of the half queue when it was read, and the late ones it names. Ascending."""

    def take(self, found: GetResult, half_progress: int, half_end: int) -> None:
        """Take notes that were read at `read_to`.

        Args:
            found: What the store gave.
            half_progress: Of the half queue.
            half_end: The next queue offset there.
        """
        if found.status is GetStatus.FOUND:
            for record in found.records:
                message = decode_record(record)
                if decode_properties(message.properties).get("TAGS") == _ENDED:
                    self._take_one(message.queue_offset, _offsets(message.body), half_progress, half_end)
                else:
                    _log.error("no note of ended transactions at op offset {offset}", offset=message.queue_offset)
        self.read_to = max(self.read_to, found.next_begin_offset)

    def _take_one(self, at: int, offsets: Iterable[int], half_progress: int, half_end: int) -> None:
        late = []
        ahead = 0
        for offset in offsets:
            if offset < half_progress:
                late.append(offset)
                self._late[offset] = at
            elif offset not in self._ends:
                self._ends[offset] = at
                ahead += 1
        if ahead:
            self._open[at] = ahead
        if late:
            self._held[at] = half_end, late

    def has(self, half_offset: int) -> bool:
        """Whether a note that was read names a half message."""
        return half_offset in self._ends or half_offset in self._late

    def advance(self, old: int, new: int) -> None:
        """Follow the half queue's progress."""
        ends = self._ends
        if ends:
            # Whichever is less to look at: the messages passed, or the ends known.
            passed = range(old, new) if new - old < len(ends) else [offset for offset in ends if offset < new]
            for offset in passed:
                at = ends.pop(offset, None)
                if at is not None:
                    self._open[at] -= 1
                    if not self._open[at]:
                        del self._open[at]
        while self._held:
            at, (half_end, late) = next(iter(self._held.items()))
            if half_end > new:
                break
            del self._held[at]
            for offset in late:
                if self._late.get(offset) == at:
                    del self._late[offset]

    @property
    def progress(self) -> int:
        """The queue offset of the first note that is not done."""
        return min(next(iter(self._open), self.read_to), next(iter(self._held), self.read_to))


def _offsets(body: bytes) -> list[int]:
    return [int(piece) for piece in body.split(b",") if piece.isdigit() and len(piece) < 20]
