"""The timer's files as one thing: taking messages into slots, finding those that are due, flushing, recovering.

What it is for: `enqueue` for the thread that owns it, which never waits for the disk; `slot_reader` for a thread that
does; `flush_plan` for another. What it must not do: read or write the commit log; know properties.

Guarantee: after a crash of the process or the machine, each message of the timer's queue that was not delivered is in
a slot or is taken from the queue again. What was delivered since the last checkpoint may be delivered again.

Source: `TimerMessageStore.recover`, `doEnqueue`, `dequeue`, `prepareTimerCheckPoint` (5.5.0).
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from .errors import StoreDamaged, StoreError, WriteFailed
from .fdpool import ColdReader
from .files import Files, RealFiles, remove_file
from .timercheckpoint import TimerCheckpoint, flush_job, load_timer_checkpoint
from .timerlog import MAGIC_DEFAULT, MAGIC_DELETE, MAGIC_ROLL, TimerLog, Unit, deletes
from .timerprogress import Delivered, DeliveredElsewhere
from .timerrecovery import QueueState, TimerRecovery
from .timerwheel import BLANK, SLOTS_PER_TURN, Slot, TimerWheel

_MANY_SLOTS = 20_000
"""More than these are looked for in the pages that are in use."""
_BLANK_SLOTS = 60
"""So many slots less than a turn may be delivered late, so that reading never meets writing."""


class Entry(NamedTuple):
    """A message to take."""

    due_ms: int
    """Of its slot."""
    physical_offset: int
    size: int
    topic_hash: int
    deletes: bool = False


class SlotContent(NamedTuple):
    """What is in a slot that is due."""

    positions: array[int]
    """Log positions of messages to deliver or to roll, the oldest last: take them from the end."""
    deletes: list[Unit]
    """Messages that take others back."""


class TimerStore:
    """The timer's files below one folder.

    Args:
        root: `storePathRootDir`.
        precision_ms: time of a slot.
        log_file_size: bytes of a file of the log.
        roll_window_slots: how far the wheel looks ahead.
    """

    def __init__(
        self,
        root: str,
        *,
        precision_ms: int,
        log_file_size: int,
        roll_window_slots: int,
        files: Files | None = None,
        slots_per_turn: int = SLOTS_PER_TURN,
    ) -> None:
        self._files: Files = files or RealFiles()
        self.precision_ms = precision_ms
        self.wheel = TimerWheel(self._files, os.path.join(root, "timerwheel"), precision_ms, 2 * slots_per_turn)
        self.log = TimerLog(self._files, os.path.join(root, "timerlog"), log_file_size)
        self._checkpoint_path = os.path.join(root, "config", "timercheck")
        self.checkpoint = TimerCheckpoint()
        """As it is on disk."""
        self._turn_ms = slots_per_turn * precision_ms
        widest = slots_per_turn - _BLANK_SLOTS
        if not 2 <= roll_window_slots <= widest:
            roll_window_slots = widest
        self._window_slots = roll_window_slots
        self.read_ms = 0
        """The time of the next slot to deliver."""
        self.write_ms = 0
        """Slots before this time take no more messages."""
        self.queue_offset = 0
        """The next message of the timer's queue to take."""
        self.pending = 0
        """Messages in slots, less those taken back."""
        self.follows = False
        """Whether another broker delivers: slots are filled here and passed when they are delivered there."""
        self.elsewhere = DeliveredElsewhere()
        self._flushing: list[tuple[int, bytes]] | None = None
        self._delivered = False
        """Since the last flush, here or elsewhere."""
        self._lost = False

    # -- opening and closing -------------------------------------------------------------------------------------

    def open(self, now_ms: int, queue: QueueState, *, follows: bool = False) -> None:
        """Recover.

        Args:
            now_ms: The time.
            queue: Of the timer.
            follows: Whether another broker delivers.

        Raises:
            StoreDamaged: files that cannot be used as they are.
        """
        try:
            self._files.make_directories(os.path.dirname(self._checkpoint_path))
            found = load_timer_checkpoint(self._files, self._checkpoint_path)
            self.checkpoint = found or TimerCheckpoint()
            self.wheel.load()
            self.log.load()
            self.follows = follows
            self._recover(found is not None, now_ms, queue)
        except OSError as error:
            raise StoreDamaged(f"cannot open the timer: {error}", file=self.wheel.path) from error

    def _recover(self, known: bool, now_ms: int, queue: QueueState) -> None:
        checkpoint, wheel = self.checkpoint, self.wheel
        recovery = TimerRecovery(self._files, wheel, self.log, checkpoint)
        self.queue_offset = recovery.queue_offset(queue)
        now_floor = wheel.floor(now_ms)
        self.write_ms = now_floor
        oldest = now_floor - self._turn_ms + _BLANK_SLOTS * self.precision_ms
        # Without anything to look back for, a new timer begins now; where its master is, a follower is told.
        looks_back = known or self.log.end > self.log.begin or self.follows
        self.read_ms = max(checkpoint.read_ms, oldest) if looks_back else now_floor
        if self.follows:
            self.write_ms = self.read_ms
        self.elsewhere = DeliveredElsewhere(Delivered(checkpoint.master_queue_offset, checkpoint.read_ms))
        recovery.repair_lost(self.read_ms)
        self.pending = sum(slot.messages for slot in wheel.slots_from(self.read_ms))

    def close(self) -> None:
        """Let go of the files as they are; `flush_plan` makes them durable before."""
        self.log.close()
        self.wheel.close()

    # -- whose turn it is to deliver ---------------------------------------------------------------------------------

    def delivered_elsewhere(self, by: TimerCheckpoint) -> None:
        """Take how far another broker has delivered. A follower passes the slots; others look at each message."""
        read_ms = self.wheel.floor(by.read_ms)
        before = self.elsewhere
        self.elsewhere = before.joined(Delivered(by.master_queue_offset, read_ms))
        if self.elsewhere.furthest.queue_offset > before.furthest.queue_offset or not self.follows:
            self._delivered = True
        self.checkpoint = replace(
            self.checkpoint,
            state_version=by.state_version,
            version_timestamp=by.version_timestamp,
            version_counter=by.version_counter,
        )
        if self.follows and read_ms > self.read_ms:
            passed = [slot.messages for slot in self._slots_until(read_ms)]
            self.pending -= sum(passed)
            self._delivered = self._delivered or bool(passed)
            self.read_ms = self.write_ms = read_ms

    def _slots_until(self, time_ms: int) -> Iterator[Slot]:
        wheel, step = self.wheel, self.precision_ms
        if (time_ms - self.read_ms) // step > _MANY_SLOTS:
            return (slot for slot in wheel.slots_from(self.read_ms) if slot.time_ms < time_ms)
        found = (wheel.slot(at) for at in range(self.read_ms, time_ms, step))
        return (slot for slot in found if slot is not None)

    def lead(self, now_ms: int) -> None:
        """Deliver from now on."""
        self.follows = False
        now_floor = self.wheel.floor(now_ms)
        oldest = min((slot.time_ms for slot in self.wheel.slots_from(self.read_ms)), default=now_floor)
        self.read_ms = max(self.read_ms, min(oldest, now_floor))
        self.move_write_time(now_ms)

    def follow(self) -> None:
        """Leave it to another broker from now on."""
        self.follows = True
        self.write_ms = self.read_ms

    def is_delivered(self, queue_offset: int, due_ms: int) -> bool:
        """Whether a message of the queue was delivered by another broker."""
        return self.elsewhere.has(queue_offset, self.wheel.floor(due_ms))

    # -- taking messages -----------------------------------------------------------------------------------------

    def move_write_time(self, now_ms: int) -> None:
        """Close the slots before a time."""
        self.write_ms = max(self.write_ms, self.wheel.floor(now_ms))

    def enqueue(self, entries: Iterable[Entry]) -> None:
        """Put messages into their slots; those of slots before `write_ms` are not for the wheel.

        Raises:
            WriteFailed: none of them was put.
        """
        wheel, log = self.wheel, self.log
        slots: dict[int, Slot] = {}
        units: list[tuple[int, bytes]] = []
        position = log.end
        change = 0
        for entry in entries:
            due_ms, magic = self._place(entry.due_ms)
            if entry.deletes:
                magic |= MAGIC_DELETE
            slot_ms = wheel.floor(due_ms)
            slot = slots.get(slot_ms) or wheel.slot(slot_ms)
            position = log.place(position)
            unit = Unit(
                BLANK if slot is None else slot.last,
                magic,
                self.write_ms,
                due_ms,
                entry.physical_offset,
                entry.size,
                entry.topic_hash,
            )
            units.append((position, unit.encode()))
            one = -1 if entry.deletes else 1
            change += one
            if slot is None:
                slots[slot_ms] = Slot(slot_ms, position, position, one, 0)
            else:
                slots[slot_ms] = slot._replace(last=position, messages=slot.messages + one)
            position += len(units[-1][1])
        try:
            log.append(units)
        except OSError as error:
            raise WriteFailed(f"the timer log cannot be written: {error}", file=log.folder) from error
        for slot in slots.values():
            wheel.put(*slot)
        self.pending += change

    def _place(self, due_ms: int) -> tuple[int, int]:
        """The time to put a message off to, and the magic of its unit."""
        window_ms = self._window_slots * self.precision_ms
        surplus_ms = due_ms - self.write_ms - window_ms
        if surplus_ms < 0:
            return due_ms, MAGIC_DEFAULT
        if surplus_ms < self._window_slots // 3 * self.precision_ms:
            # So that there is time enough for the last part.
            window_ms = self._window_slots // 2 * self.precision_ms
        return self.write_ms + window_ms, MAGIC_DEFAULT | MAGIC_ROLL

    # -- finding those that are due ------------------------------------------------------------------------------

    def next_slot(self, limit: int = 20_000) -> Slot | None:
        """Go on to the next slot that is due and not empty; None when there is none, or not within so many slots."""
        wheel = self.wheel
        for _ in range(limit):
            if self.read_ms >= self.write_ms:
                return None
            slot = wheel.slot(self.read_ms)
            if slot is not None:
                return slot
            self.read_ms += self.precision_ms
        return None

    def passed(self, slot: Slot) -> None:
        """A slot was delivered."""
        self.pending -= slot.messages
        self._delivered = True
        self.read_ms = slot.time_ms + self.precision_ms

    def content(self, slot: Slot, reader: ColdReader) -> SlotContent:
        """What is in a slot; waits for the disk, in any thread: the slot is due and does not change any more.

        Raises:
            StoreError: the log cannot be read.
        """
        positions: array[int] = array("q")
        taking_back: list[int] = []
        try:
            for position, magic in self.log.chain(slot.last, slot.time_ms, slot.time_ms + self.precision_ms, reader):
                (taking_back if deletes(magic) else positions).append(position)
        except OSError as error:
            raise StoreError(f"the timer log cannot be read: {error}", file=self.log.folder) from error
        return SlotContent(positions, [unit for unit in self.units(taking_back, reader) if unit is not None])

    def units(self, positions: Iterable[int], reader: ColdReader) -> list[Unit | None]:
        """The unit at each position, None where there is none any more; waits for the disk, in any thread.

        Raises:
            StoreError: the log cannot be read.
        """
        try:
            return [self.log.unit(position, reader) for position in positions]
        except OSError as error:
            raise StoreError(f"the timer log cannot be read: {error}", file=self.log.folder) from error

    def new_reader(self) -> ColdReader:
        """A reader for a thread, to be closed."""
        return ColdReader(self._files)

    # -- flushing ------------------------------------------------------------------------------------------------

    @property
    def changed(self) -> bool:
        """Whether there is something to flush. That time has passed without a delivery is nothing."""
        old = self.checkpoint
        return (
            self._delivered
            or self.wheel.dirty
            or not old.complete
            or (self.log.end, self.queue_offset) != (old.log_end, old.queue_offset)
        )

    def current(self) -> TimerCheckpoint:
        """How far it has come, on disk or not."""
        read_ms, other = self.read_ms, self.elsewhere.furthest
        if self.queue_offset < other.queue_offset:
            # What is not taken yet is told apart by the other's time, also after a crash.
            read_ms = min(read_ms, other.read_ms)
        return replace(
            self.checkpoint,
            read_ms=read_ms,
            queue_offset=self.queue_offset,
            master_queue_offset=max(self.queue_offset, other.queue_offset),
        )

    def flush_plan(self, now_ms: int) -> Callable[[], TimerCheckpoint] | None:
        """The sync of everything up to here, for a thread; None when one is under way.

        All that was delivered up to here must be durable in the commit log. Pass what it returns to `flushed`, or
        call `flush_failed`.
        """
        if self._flushing is not None or self._lost:
            return None
        old = self.checkpoint
        new = replace(self.current(), log_end=self.log.end, complete=True, precision_ms=self.precision_ms)
        if (new.read_ms, new.queue_offset) != (old.read_ms, old.queue_offset) and not self.follows:
            new = replace(new, version_counter=old.version_counter + 1, version_timestamp=now_ms)
        self._delivered = False
        pages = self._flushing = self.wheel.take_dirty()
        paths = self.log.dirty_paths(old.log_end if old.complete else 0)
        return flush_job(self._files, paths, self.wheel.path, pages, self._checkpoint_path, new)

    def flushed(self, checkpoint: TimerCheckpoint) -> None:
        """A flush is done."""
        self._flushing = None
        self.checkpoint = checkpoint

    def flush_failed(self, *, lost: bool = False) -> None:
        """A flush failed; the next one tries all of it again.

        Args:
            lost: Whether a sync failed, after which nobody knows what is on disk: there is no other one, and the next
                start takes from the queue what the last checkpoint does not have.
        """
        self._lost = lost
        pages, self._flushing = self._flushing, None
        self.wheel.not_written(pages or [])
        self._delivered = True

    def expired(self, min_physical_offset: int) -> int:
        """How many files of the log may be deleted; waits for the disk, in any thread. See `TimerLog.expired`.

        Raises:
            StoreError: one cannot be read.
        """
        reader = self.new_reader()
        try:
            return self.log.expired(min_physical_offset, reader)
        except OSError as error:
            raise StoreError(f"the timer log cannot be read: {error}", file=self.log.folder) from error
        finally:
            reader.close()

    def delete_plan(self, number: int) -> Callable[[], None]:
        """Let go of so many files; the deletion is for a thread. It raises `StoreError`."""
        paths, files = self.log.forget(number), self._files

        def run() -> None:
            try:
                for path in paths:
                    remove_file(files, path)
            except OSError as error:
                raise StoreError(f"an old timer log cannot be deleted: {error}", file=self.log.folder) from error

        return run
