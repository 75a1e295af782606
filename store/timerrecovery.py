"""Wheel, log and queue offset of the timer brought together after any end of the process.

What it must not do: decide what is due. Source: `TimerMessageStore.recover`, `recoverAndRevise` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .errors import StoreDamaged
from .fdpool import ColdReader
from .timerlog import MAGIC_DELETE, TimerLog, Unit
from .timerwheel import BLANK, TimerWheel

if TYPE_CHECKING:
    from .files import Files
    from .timercheckpoint import TimerCheckpoint

_UNKNOWN = -1


class QueueState(NamedTuple):
    """What recovery has to know of the commit log and the timer's queue."""

    min_offset: int
    max_offset: int
    log_end: int
    """Of the commit log."""
    queue_offset_of: Callable[[int, int], int | None]
    """The queue offset of the message at a physical offset with a size; None when there is none."""


class TimerRecovery:
    """One recovery; wheel and log are loaded.

    Args:
        files: For reading.
        wheel: Corrected.
        log: Cut to what is whole.
        checkpoint: As it was written last.

    Raises:
        StoreDamaged: The wheel has other slots than it had.
    """

    def __init__(self, files: Files, wheel: TimerWheel, log: TimerLog, checkpoint: TimerCheckpoint) -> None:
        if checkpoint.precision_ms not in (0, wheel.precision_ms):
            raise StoreDamaged(
                f"the wheel has slots of {checkpoint.precision_ms} ms; timerPrecisionMs cannot change to"
                f" {wheel.precision_ms} before all messages are delivered",
                file=wheel.path,
            )
        self._files = files
        self._wheel = wheel
        self._log = log
        self._checkpoint = checkpoint

    def queue_offset(self, queue: QueueState) -> int:
        """Have the wheel know the end of the log; give the next offset of the queue to take.

        Raises:
            StoreDamaged: Files that cannot be used as they are.
            OSError: They cannot be read.
        """
        checkpoint, wheel, log = self._checkpoint, self._wheel, self._log
        # An official wheel may be a flush older than its log says, and that by one file at most.
        start = checkpoint.log_end if checkpoint.complete else max(checkpoint.log_end - log.file_size, 0)
        start -= 0 if checkpoint.complete else start % log.file_size
        last: Unit | None = None
        slots: dict[int, list[int]] = {}
        was_cut = False

        def fits(unit: Unit) -> bool:
            nonlocal was_cut
            was_cut = was_cut or (unit.size > 0 and unit.physical_offset >= queue.log_end)
            return unit.size > 0 and unit.physical_offset < queue.log_end

        for position, unit in log.recover(start, fits):
            self._revise(slots, position, unit, anew=False)
            last = unit
        if last is None:
            last = self._last()
        if was_cut or (last is not None and not fits(last)):
            # The commit log was cut: slots are counted anew, and those that lost all go in `repair_lost`.
            slots.clear()
            last = None
            for position, unit in log.recover(log.begin, fits):
                self._revise(slots, position, unit, anew=True)
                last = unit
        for due_ms, (first, last_position, messages, _) in slots.items():
            wheel.put(due_ms, first, last_position, messages)
        complete = checkpoint.complete and log.end >= checkpoint.log_end
        offset = _UNKNOWN
        if last is not None:
            found = queue.queue_offset_of(last.physical_offset, last.size)
            offset = _UNKNOWN if found is None else found + 1
        if offset == _UNKNOWN or complete:
            offset = max(offset, checkpoint.queue_offset)
        return min(max(offset, queue.min_offset), queue.max_offset)

    def _last(self) -> Unit | None:
        log = self._log
        if log.end <= log.begin:
            return None
        reader = ColdReader(self._files)
        try:
            return log.unit(log.last_position, reader)
        finally:
            reader.close()

    def _revise(self, slots: dict[int, list[int]], position: int, unit: Unit, *, anew: bool) -> None:
        """Have a slot know a unit of the log that may have been written after it.

        Args:
            slots: by time: first and last position, messages, and the last position that the wheel knew.
            position, unit: of the log, in ascending order.
            anew: Whether what the wheel knew does not count.
        """
        due_ms = self._wheel.floor(unit.due_ms)
        entry = slots.get(due_ms)
        if entry is None:
            slot = self._wheel.slot(due_ms)
            entry = (
                [position, position, 0, BLANK]
                if slot is None or anew
                else [slot.first, slot.last, slot.messages, slot.last]
            )
            slots[due_ms] = entry
        entry[1] = position
        if position > entry[3]:
            entry[2] += _change(unit)

    def repair_lost(self, read_ms: int) -> None:
        """Correct slots that point behind the end of the log: the machine crashed and the log lost its end."""
        log = self._log
        lost = {slot.time_ms: slot for slot in self._wheel.slots_from(read_ms) if slot.last >= log.end}
        if not lost:
            return
        kept: dict[int, tuple[int, int, int]] = {}
        begin = min(slot.first for slot in lost.values())
        if begin < log.end:
            for position, unit in log.recover(max(begin, log.begin), lambda _: True):
                due_ms = self._wheel.floor(unit.due_ms)
                if due_ms in lost:
                    first, _, count = kept.get(due_ms, (position, 0, 0))
                    kept[due_ms] = (first, position, count + _change(unit))
        for due_ms in lost:
            if due_ms in kept:
                self._wheel.put(due_ms, *kept[due_ms])
            else:
                self._wheel.clear(due_ms)


def _change(unit: Unit) -> int:
    return -1 if unit.magic & MAGIC_DELETE else 1
