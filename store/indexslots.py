"""The slot table of an index file while it is in memory.

Anonymous memory, so pages that are not used cost nothing, no page fault waits for the disk, and no full disk kills the
process; changed pages are remembered and handed out as copies to be written. In the file the slots are big-endian.
"""

from __future__ import annotations

import mmap
import sys
from array import array
from collections.abc import Iterator

from .files import Files

SLOT_BYTES = 4
SLOTS_PER_PAGE_BITS = 10
_PAGE_SLOTS = 1 << SLOTS_PER_PAGE_BITS
_RUN_PAGES = 256
_RUN_GAP_PAGES = 2
"""One write for changed pages that are nearly neighbours."""
_LOAD_BYTES = 1 << 20


def to_big_endian(slots: array[int]) -> bytes:
    """The bytes of the file; changes `slots`."""
    if sys.byteorder == "little":
        slots.byteswap()
    return slots.tobytes()


class SlotTable:
    """Slots by number; `values[slot] = n` has to be followed by `changed_pages[slot >> 10] = 1`."""

    __slots__ = ("changed_pages", "values")

    def __init__(self, slot_num: int) -> None:
        self.values: memoryview = memoryview(mmap.mmap(-1, slot_num * SLOT_BYTES)).cast("i")
        self.changed_pages = bytearray(-(-slot_num // _PAGE_SLOTS))
        """1 for each page that is changed."""

    def all_changed(self) -> None:
        """Everything has to be written."""
        self.changed_pages = bytearray(b"\1" * len(self.changed_pages))

    def take_changed(self) -> list[tuple[int, array[int]]]:
        """Copies of the changed stretches, with the number of their first slot; they count as written then."""
        runs: list[tuple[int, array[int]]] = []
        pages = [page for page, changed in enumerate(self.changed_pages) if changed]
        self.changed_pages = bytearray(len(self.changed_pages))
        index = 0
        while index < len(pages):
            last = index + 1
            while last < len(pages) and pages[last] <= pages[last - 1] + _RUN_GAP_PAGES and last - index < _RUN_PAGES:
                last += 1
            first = pages[index] * _PAGE_SLOTS
            values = array("i")
            values.frombytes(self.values[first : (pages[last - 1] + 1) * _PAGE_SLOTS].cast("B"))
            runs.append((first, values))
            index = last
        return runs

    def used(self) -> int:
        """How many slots are not empty."""
        zeros = 0
        for first in range(0, len(self.values), 1 << 18):
            zeros += array("i", self.values[first : first + (1 << 18)]).count(0)
        return len(self.values) - zeros


def read_slots(files: Files, fd: int, slots_at: int, slot_num: int) -> Iterator[tuple[int, array[int]]]:
    """The written stretches of a slot table in its file: number of the first slot, values."""
    position, end = slots_at, slots_at + slot_num * SLOT_BYTES
    while position < end:
        data_at = files.next_data(fd, position)
        if data_at is None or data_at >= end:
            return
        position = max(position, data_at - (data_at - slots_at) % SLOT_BYTES)
        data = files.pread(fd, min(_LOAD_BYTES, end - position), position)
        values = array("i")
        values.frombytes(data[: len(data) // SLOT_BYTES * SLOT_BYTES])
        if not values:
            return
        first = (position - slots_at) // SLOT_BYTES
        position += len(values) * SLOT_BYTES
        if sys.byteorder == "little":
            values.byteswap()
        yield first, values
