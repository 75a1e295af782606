"""The files `timerlog/<offset>`: one unit for each message the timer has taken.

Units of 52 bytes, big-endian: `size i32 | previous unit of the slot i64, -1 for none | magic i32 | write time i64 |
due time - write time i32 | physical offset of the message i64 | its size i32 | hash of its real topic i32 | 0 i64`.
Where a unit and a filler do not fit any more, a filler `rest of the file i32 | 0 i64 | blank magic i32` ends the file.

What it is for: appending units and finding them again, also from the end. What it must not do: know slots or messages.

Source: `TimerLog`, `MappedFileQueue.deleteExpiredFileByOffsetForTimerLog` (5.5.0).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .errors import StoreDamaged
from .fdpool import ColdReader, DescriptorPool
from .files import Files, clear_from, remove_file, write_all

UNIT_BYTES = 52
MAGIC_DEFAULT, MAGIC_ROLL, MAGIC_DELETE = 1, 2, 4
BLANK_MAGIC = -875286124

_UNIT = struct.Struct(">iqiqiqiiq")
_BLANK = struct.Struct(">iqi")
_MAGIC_MASK = 0xF
_SCAN_UNITS = 4096
_BACK_BYTES = 16 * 1024
_OPEN_FILES = 4


class Unit(NamedTuple):
    """One unit."""

    previous: int
    magic: int
    write_ms: int
    due_ms: int
    physical_offset: int
    size: int
    topic_hash: int

    @property
    def rolls(self) -> bool:
        """Whether the message is not due yet: it was put off further than the wheel looks ahead."""
        return bool(self.magic & MAGIC_ROLL)

    @property
    def deletes(self) -> bool:
        """Whether the message takes another one back. One that rolls is only put off."""
        return deletes(self.magic)

    def encode(self) -> bytes:
        """The 52 bytes."""
        return _UNIT.pack(
            UNIT_BYTES,
            self.previous,
            self.magic,
            self.write_ms,
            self.due_ms - self.write_ms,
            self.physical_offset,
            self.size,
            self.topic_hash,
            0,
        )


def deletes(magic: int) -> bool:
    """Whether a unit of this magic is about a message that takes another one back, and now."""
    return magic & (MAGIC_DELETE | MAGIC_ROLL) == MAGIC_DELETE


def decode_unit(data: bytes | memoryview, position: int = 0) -> Unit | None:
    """Read a unit; None for a filler, zeros, or what is none."""
    size, previous, magic, write_ms, delay_ms, offset, length, topic_hash, _ = _UNIT.unpack_from(data, position)
    if size != UNIT_BYTES or magic & ~_MAGIC_MASK:
        return None
    return Unit(previous, magic, write_ms, write_ms + delay_ms, offset, length, topic_hash)


class TimerLog:
    """The log.

    Args:
        folder: `timerlog`.
        file_size: bytes of each file.
    """

    def __init__(self, files: Files, folder: str, file_size: int) -> None:
        self._files = files
        self.folder = folder
        self.file_size = file_size
        self._starts: list[int] = []
        self._pool = DescriptorPool(files, _OPEN_FILES)
        self.end = 0
        """Where the next unit goes, if it fits there."""

    def load(self) -> None:
        """Find the files.

        Raises:
            StoreDamaged: one has another length, or they leave a gap.
            OSError: they cannot be looked at.
        """
        self._files.make_directories(self.folder)
        self._starts.clear()
        names = [name for name, is_folder in self._files.entries(self.folder) if not is_folder]
        for name in names:
            path = os.path.join(self.folder, name)
            if not (name.isascii() and name.isdigit() and len(name) == 20) or int(name) % self.file_size:
                raise StoreDamaged(f"no name of a timer log file of {self.file_size} bytes", file=path)
            if self._starts and int(name) != self._starts[-1] + self.file_size:
                raise StoreDamaged("files are missing before this one", file=path)
            if name == names[-1] and not self._files.size(path):
                remove_file(self._files, path)  # a crash between making it and setting its length
                break
            if self._files.size(path) != self.file_size:
                raise StoreDamaged(f"{self._files.size(path)} bytes, expected {self.file_size}", file=path)
            self._starts.append(int(name))
        self.end = self._starts[-1] if self._starts else 0

    def close(self) -> None:
        """Close the files."""
        self._pool.close()

    @property
    def begin(self) -> int:
        """The first position."""
        return self._starts[0] if self._starts else self.end

    @property
    def _last_in_file(self) -> int:
        """Where in a full file its last unit begins."""
        return (self.file_size - _BLANK.size) // UNIT_BYTES * UNIT_BYTES - UNIT_BYTES

    @property
    def last_position(self) -> int:
        """The position of the last unit of a log that is not empty."""
        if self.end % self.file_size == 0:
            return self.end - self.file_size + self._last_in_file
        return self.end - UNIT_BYTES

    def path(self, position: int) -> str:
        """The file that has a position."""
        return os.path.join(self.folder, f"{position - position % self.file_size:020d}")

    def recover(self, start: int, accepts: Callable[[Unit], bool]) -> Iterator[tuple[int, Unit]]:
        """Units from a position on, in order; `end` is behind the last of them once all were taken.

        Args:
            start: the position of a unit, or where a file begins.
            accepts: tells whether a unit can be believed; the log ends before the first that cannot.
        """
        if not self._starts:
            return
        files_end = self._starts[-1] + self.file_size
        self.end = start = max(start, self.begin) if start <= files_end else self._starts[-1]
        for file_start in list(self._starts):
            if file_start + self.file_size <= start:
                continue
            self.end = max(start, file_start)
            for position, unit in self._units_of(file_start, self.end):
                if unit is None or not accepts(unit):
                    self._cut(position)
                    return
                self.end = position + UNIT_BYTES
                yield position, unit
            if not self._ends_with_filler(self.end):
                self._cut(self.end)
                return
            self.end = file_start + self.file_size

    def _units_of(self, file_start: int, position: int) -> Iterator[tuple[int, Unit | None]]:
        """Units of one file; the last is None where something else stands. Nothing at a filler."""
        fd = self._pool.get(self.path(file_start))
        while True:
            data = self._files.pread(fd, _SCAN_UNITS * UNIT_BYTES, position - file_start)
            count = len(data) // UNIT_BYTES
            for index in range(count):
                unit = decode_unit(data, index * UNIT_BYTES)
                if unit is None:
                    if not _is_filler(data[index * UNIT_BYTES :]):
                        yield position + index * UNIT_BYTES, None
                    return
                yield position + index * UNIT_BYTES, unit
            position += count * UNIT_BYTES
            if count < _SCAN_UNITS:
                return

    def _ends_with_filler(self, position: int) -> bool:
        data = self._files.pread(self._pool.get(self.path(position)), _BLANK.size, position % self.file_size)
        return _is_filler(data)

    def _cut(self, position: int) -> None:
        """Forget everything from a position on."""
        self.end = position
        keep = [start for start in self._starts if start <= position]
        for start in self._starts[len(keep) :]:
            self._pool.drop(self.path(start))
            remove_file(self._files, self.path(start))
        self._starts = keep
        if keep:
            # What is behind must not be found by a later recovery: units have one size, so they would line up.
            fd = self._pool.get(self.path(keep[-1]))
            clear_from(self._files, fd, max(position - keep[-1], 0), self.file_size)

    def place(self, position: int) -> int:
        """Where a unit goes that would be written at a position: there, or at the beginning of the next file."""
        used = position % self.file_size
        if UNIT_BYTES + _BLANK.size > self.file_size - used:
            return position - used + self.file_size
        return position

    def append(self, units: list[tuple[int, bytes]]) -> None:
        """Write units at the places `place` gave, the first of them from `end`.

        Raises:
            OSError: nothing of it counts as written.
        """
        end = self.end
        index = 0
        while index < len(units):
            position = units[index][0]
            if position - position % self.file_size not in self._starts[-1:]:
                if self._starts and position > end:
                    self._write(end, _BLANK.pack(self.file_size - end % self.file_size, 0, BLANK_MAGIC))
                self._grow(position)
            run = [units[index][1]]
            index += 1
            while index < len(units) and units[index][0] == position + UNIT_BYTES * len(run):
                run.append(units[index][1])
                index += 1
            self._write(position, b"".join(run))
            end = position + UNIT_BYTES * len(run)
        self.end = end

    def _grow(self, position: int) -> None:
        path = self.path(position)
        fd = self._pool.get(path, create=True)
        self._files.truncate(fd, self.file_size)
        start = position - position % self.file_size
        if start not in self._starts:
            self._starts.append(start)

    def _write(self, position: int, data: bytes) -> None:
        write_all(self._files, self._pool.get(self.path(position)), data, position % self.file_size)

    def dirty_paths(self, start: int) -> list[str]:
        """Files with bytes from a position on: what a sync of these bytes has to sync, and their folder."""
        if start >= self.end:
            return []
        paths = [self.path(each) for each in self._starts if each + self.file_size > start and each < self.end]
        return [*paths, self.folder + "/"] if paths else []

    def has(self, position: int) -> bool:
        """Whether a unit can be at a position."""
        return self.begin <= position < self.end

    def chain(self, last: int, from_ms: int, to_ms: int, reader: ColdReader) -> Iterator[tuple[int, int]]:
        """Positions and magics of a slot's units, from the last to the first, waiting for the disk.

        It ends where the chain leads out of the log, forward, or to a unit that is not due in the slot's time.

        Args:
            last: the position of the last unit.
            from_ms, to_ms: the time of the slot.
            reader: reads.
        """
        unpack = _UNIT.unpack_from
        file_size, begin, end = self.file_size, self.begin, self.end
        position, block_start, block_last, block = last, 0, -1, b""
        while begin <= position < end:
            if not block_start <= position <= block_last:
                # Units before this one are likely to be wanted next.
                file_start = position - position % file_size
                block_start = max(file_start, position + UNIT_BYTES - _BACK_BYTES)
                size = position + UNIT_BYTES - block_start
                try:
                    block = reader.read(self.path(position), block_start - file_start, size)
                except FileNotFoundError:  # expired meanwhile
                    return
                block_last = block_start + len(block) - UNIT_BYTES
                if position > block_last:
                    return
            size, previous, magic, write_ms, delay_ms, _, _, _, _ = unpack(block, position - block_start)
            if size != UNIT_BYTES or magic & ~_MAGIC_MASK or not from_ms <= write_ms + delay_ms < to_ms:
                return
            yield position, magic
            if previous >= position:
                return
            position = previous

    def unit(self, position: int, reader: ColdReader) -> Unit | None:
        """The unit at a position, waiting for the disk."""
        if not self.has(position):
            return None
        try:
            data = reader.read(self.path(position), position % self.file_size, UNIT_BYTES)
        except FileNotFoundError:
            return None
        return decode_unit(data) if len(data) == UNIT_BYTES else None

    def expired(self, min_physical_offset: int, reader: ColdReader) -> int:
        """How many files, from the first, speak only of messages that are gone from the commit log; never the last.

        Waits for the disk, in any thread. Raises `OSError`.
        """
        # As Java, by the last unit of each file, which is the newest but for messages that were rolled.
        last_unit = self._last_in_file
        starts = self._starts[:-1]
        for number, start in enumerate(starts):
            unit = decode_unit(reader.read(self.path(start), last_unit, UNIT_BYTES).ljust(UNIT_BYTES, b"\0"))
            if unit is None or unit.physical_offset >= min_physical_offset:
                return number
        return len(starts)

    def forget(self, number: int) -> list[str]:
        """Let go of so many files from the first; give their paths, to be deleted."""
        paths = [self.path(start) for start in self._starts[:number]]
        del self._starts[:number]
        for path in paths:
            self._pool.drop(path)
        return paths


def _is_filler(data: bytes) -> bool:
    if len(data) < _BLANK.size:
        return False
    return bool(_BLANK.unpack_from(data)[2] == BLANK_MAGIC)
