"""The file `timerwheel`: for each slot of time, where in the timer log the chain of its messages begins and ends.

Slots of 32 bytes, big-endian: `time / precision i64 | first log position i64 | last log position i64 | messages i32 |
magic i32`. A slot stands at (time / precision) modulo their number, which covers 14 days at a precision of one second,
whatever the precision; one whose stored time is not the wanted one is empty.

What it is for: looking slots up and changing them without waiting for the disk: the whole is held in memory of a fixed
size, of which only what was ever used is real. Changed pages are handed out for a thread to write. What it must not
do: know what a log position means.

Source: `TimerWheel`, `Slot` (5.5.0).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import NamedTuple

from .errors import StoreDamaged
from .files import Files

SLOTS_PER_TURN = 7 * 24 * 3600
"""How far a message can be put off, in slots; the wheel has twice as many."""
SLOT_BYTES = 32
BLANK = -1
"""No log position."""

_SLOT = struct.Struct(">qqqii")
_PAGE_BYTES = 4096
_LOAD_BYTES = 1 << 20


class Slot(NamedTuple):
    """One slot."""

    time_ms: int
    first: int
    last: int
    messages: int
    """How many, less those taken back; inexact after a crash of an official broker."""
    magic: int


class TimerWheel:
    """The wheel.

    Args:
        path: the file; made when it does not exist.
        precision_ms: the time of one slot.
        slots: how many there are.
    """

    def __init__(self, files: Files, path: str, precision_ms: int, slots: int = 2 * SLOTS_PER_TURN) -> None:
        self._files = files
        self.path = path
        self.precision_ms = precision_ms
        self._slots = slots
        self.size_bytes = slots * SLOT_BYTES
        self._memory = mmap.mmap(-1, self.size_bytes)
        self._used: set[int] = set()
        """Pages that are not all zeros."""
        self._dirty: set[int] = set()
        """Pages that differ from the file."""

    def load(self) -> None:
        """Read the file.

        Raises:
            StoreDamaged: it has another length.
            OSError: it cannot be read or made.
        """
        if self._memory.closed:
            self._memory = mmap.mmap(-1, self.size_bytes)
            self._used.clear()
            self._dirty.clear()
        files = self._files
        fd = files.open(self.path, create=True)
        try:
            size = files.size(self.path)
            if size not in (0, self.size_bytes):
                raise StoreDamaged(f"{size} bytes, a timer wheel has {self.size_bytes}", file=self.path)
            if size == 0:
                files.truncate(fd, self.size_bytes)
            offset = 0
            while offset < self.size_bytes:
                start = files.next_data(fd, offset)
                if start is None:
                    break
                start -= start % _PAGE_BYTES
                data = files.pread(fd, min(_LOAD_BYTES, self.size_bytes - start), start)
                for begin in range(0, len(data), _PAGE_BYTES):
                    page = data[begin : begin + _PAGE_BYTES]
                    if page.count(0) != len(page):
                        self._memory[start + begin : start + begin + len(page)] = page
                        self._used.add((start + begin) // _PAGE_BYTES)
                if not data:
                    break
                offset = start + len(data)
        finally:
            files.close(fd)

    def close(self) -> None:
        """Let go of the memory; `load` takes it again."""
        self._memory.close()

    def floor(self, time_ms: int) -> int:
        """The time of the slot a moment is in."""
        return time_ms // self.precision_ms * self.precision_ms

    def slot(self, time_ms: int) -> Slot | None:
        """The slot of a time; None when it is empty."""
        units = time_ms // self.precision_ms
        stored, first, last, count, magic = _SLOT.unpack_from(self._memory, units % self._slots * SLOT_BYTES)
        if stored != units:
            return None
        return Slot(units * self.precision_ms, first, last, count, magic)

    def put(self, time_ms: int, first: int, last: int, messages: int, magic: int = 0) -> None:
        """Write the slot of a time."""
        units = time_ms // self.precision_ms
        position = units % self._slots * SLOT_BYTES
        _SLOT.pack_into(self._memory, position, units, first, last, messages, magic)
        page = position // _PAGE_BYTES
        self._used.add(page)
        self._dirty.add(page)

    def clear(self, time_ms: int) -> None:
        """Make the slot of a time an empty one."""
        position = time_ms // self.precision_ms % self._slots * SLOT_BYTES
        _SLOT.pack_into(self._memory, position, 0, 0, 0, 0, 0)
        self._dirty.add(position // _PAGE_BYTES)

    def count(self, time_ms: int) -> int:
        """How many messages wait in the slot of a time."""
        slot = self.slot(time_ms)
        return 0 if slot is None else slot.messages

    def slots_from(self, time_ms: int) -> Iterator[Slot]:
        """Slots in use from a time on, in no order. Nothing may change meanwhile."""
        precision = self.precision_ms
        begin = time_ms // precision
        end = begin + self._slots
        memory = self._memory
        for page in sorted(self._used):
            start = page * _PAGE_BYTES
            for units, first, last, count, magic in _SLOT.iter_unpack(memory[start : start + _PAGE_BYTES]):
                if begin <= units < end and units:
                    yield Slot(units * precision, first, last, count, magic)

    def take_dirty(self) -> list[tuple[int, bytes]]:
        """Pages to write, as (position in the file, bytes); they count as written from now on."""
        dirty, self._dirty = self._dirty, set()
        memory = self._memory
        return [(page * _PAGE_BYTES, memory[page * _PAGE_BYTES : (page + 1) * _PAGE_BYTES]) for page in sorted(dirty)]

    def not_written(self, pages: list[tuple[int, bytes]]) -> None:
        """Pages that could not be written."""
        self._dirty.update(position // _PAGE_BYTES for position, _ in pages)

    @property
    def dirty(self) -> bool:
        """Whether there is something to write."""
        return bool(self._dirty)
