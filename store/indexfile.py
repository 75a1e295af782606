"""One file of the index by key: a hash table on disk, from `topic#key` to offsets of the commit log.

`header 40 | slots max_hash_slot_num * i32 | entries max_index_num * 20`, sparse at full length. The header is
`begin store time i64 | end store time i64 | begin physical offset i64 | end physical offset i64 | used slots i32 |
entry count i32`, the count beginning at 1 as entry 0 is never used. A slot holds the number of the newest entry of its
chain; an entry is `key hash i32 | physical offset i64 | seconds since begin i32 | previous entry i32`.

The slot table of the file that is written to is held in memory, and its changed pages are written in groups. What it
must not do: know messages, or which file comes next.

Crash guarantee: entries are written before the slots that point to them and the header last, so after a crash of the
process everything below the header's count is found. After a power loss `cut_to` puts the slots in order.

Source: `IndexFile`, `IndexHeader`, 4.7.0 and 5.3.4.
"""

from __future__ import annotations

import struct
import threading
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rmqwire import speed

from .commitlog import make_file
from .errors import StoreDamaged
from .fdpool import DescriptorPool, Reader
from .files import SECTOR_BYTES, Files, clear_from, write_all
from .indexslots import SLOT_BYTES, SLOTS_PER_PAGE_BITS, SlotTable, read_slots, to_big_endian
from .keyed import KeyedMessage, hashes_of, key_count

HEADER_BYTES = 40
ENTRY_BYTES = 20
_HEADER = struct.Struct(">qqqqii")
_ENTRY = struct.Struct(">iqii")
_SLOT = struct.Struct(">i")
_ENTRIES_WRITE_BYTES = 1 << 16
_READ_ENTRIES = 50_000
_INT_MAX = 0x7FFFFFFF


@dataclass(slots=True)
class IndexHeader:
    """The first 40 bytes; times are Unix milliseconds."""

    begin_timestamp: int = 0
    end_timestamp: int = 0
    begin_physical_offset: int = 0
    end_physical_offset: int = 0
    slot_count: int = 0
    index_count: int = 1


class IndexFile:
    """One file; `open_for_writing` makes it the one that grows.

    Args:
        slot_num: `maxHashSlotNum`. index_num: `maxIndexNum`; the file takes one entry less.
    """

    def __init__(self, files: Files, pool: DescriptorPool, path: str, slot_num: int, index_num: int) -> None:
        self._files = files
        self._pool = pool
        self.path = path
        self._slot_num = slot_num
        self._index_num = index_num
        self._entries_at = HEADER_BYTES + slot_num * SLOT_BYTES
        self.size = self._entries_at + index_num * ENTRY_BYTES
        self.header = IndexHeader()
        self._table: SlotTable | None = None
        # The number of the first entry that is not in the file, and the entries from there on; swapped as one.
        self._memory: tuple[int, bytearray] = (1, bytearray())
        # Slots, entries and their count change together: a lookup in a thread never sees a slot alone.
        self._adding = threading.Lock()
        self._header_dirty = False

    # -- the file ------------------------------------------------------------------------------------------------

    def create(self, begin_timestamp: int, begin_physical_offset: int) -> None:
        """Make the file; a successor starts with the end of the one before, as Java's does. Raises `OSError`."""
        self._files.close(make_file(self._files, self.path, self.size))
        self.header = IndexHeader(begin_timestamp, begin_timestamp, begin_physical_offset, begin_physical_offset, 0, 1)
        self._header_dirty = True
        self._table = SlotTable(self._slot_num)

    def load(self) -> None:
        """Read the header.

        Raises:
            StoreDamaged: the length is not the configured one. OSError.
        """
        length = self._files.size(self.path)
        if length != self.size:
            raise StoreDamaged(
                f"the file has {length} bytes, but maxHashSlotNum {self._slot_num} and maxIndexNum {self._index_num} "
                f"make {self.size}: set them as the files are, or delete the files of this folder and lose lookups by "
                "key of what is in them",
                file=self.path,
            )
        fields = _HEADER.unpack(self._files.pread(self._pool.get(self.path), HEADER_BYTES, 0))
        self.header = IndexHeader(*fields)
        # As Java: a count of 0 is read as 1. More than fit is damage; the entries that fit are there.
        self.header.index_count = min(max(self.header.index_count, 1), self._index_num)
        self._memory = (self.header.index_count, bytearray())

    @property
    def is_full(self) -> bool:
        """Whether no entry fits any more."""
        return self.header.index_count >= self._index_num

    def open_for_writing(self) -> None:
        """Have the slot table in memory, read from the file the first time. Raises `OSError`."""
        if self._table is None:
            table = SlotTable(self._slot_num)
            count = self.header.index_count
            for first, values in self._read_slots():
                # As Java: a slot that is negative or points behind the count is empty.
                if max(values) >= count or min(values) < 0:
                    values = array("i", [value if 0 < value < count else 0 for value in values])
                table.values[first : first + len(values)] = values
            self._table = table

    def _read_slots(self) -> Iterator[tuple[int, array[int]]]:
        return read_slots(self._files, self._pool.get(self.path), HEADER_BYTES, self._slot_num)

    # -- adding --------------------------------------------------------------------------------------------------

    def add(self, key_hash: int, physical_offset: int, store_timestamp: int) -> None:
        """Add one entry; the file must be open for writing and not full. Nothing reaches the file before `write`.

        As Java: the first entry's time difference is taken before the header's begin time is its own.
        """
        with self._adding:
            self._add(key_hash, physical_offset, store_timestamp)

    def _add(self, key_hash: int, physical_offset: int, store_timestamp: int) -> None:
        table = self._table
        header = self.header
        assert table is not None
        assert header.index_count < self._index_num
        slots = table.values
        number = header.index_count
        slot = key_hash % self._slot_num
        previous = slots[slot]
        begin = header.begin_timestamp
        seconds = 0 if begin <= 0 else min(max((store_timestamp - begin) // 1000, 0), _INT_MAX)
        self._memory[1].extend(_ENTRY.pack(key_hash, physical_offset, seconds, previous))
        slots[slot] = number
        table.changed_pages[slot >> SLOTS_PER_PAGE_BITS] = 1
        if number == 1:
            header.begin_physical_offset = physical_offset
            header.begin_timestamp = store_timestamp
        if previous == 0:
            header.slot_count += 1
        header.index_count = number + 1
        header.end_physical_offset = physical_offset
        header.end_timestamp = store_timestamp
        self._header_dirty = True

    def add_all(self, messages: list[KeyedMessage]) -> int:
        """Add the keys of many messages; as `add` for each, with its steps written out.

        Returns:
            How many of the messages were added: fewer than given when the file was about to become full.
        """
        with self._adding:
            return self._add_all(messages)

    def _add_all(self, messages: list[KeyedMessage]) -> int:
        table = self._table
        header = self.header
        assert table is not None
        if header.index_count == 1 or header.begin_timestamp <= 0:
            return self._add_first(messages)
        if speed.add_keys is not None:
            return self._add_compiled(speed.add_keys, table, messages)
        slots = table.values
        number = header.index_count
        limit = self._index_num
        begin = header.begin_timestamp
        slot_num = self._slot_num
        used = header.slot_count
        extend = self._memory[1].extend
        pack = _ENTRY.pack
        changed = table.changed_pages
        timestamp, seconds, physical_offset = -1, 0, header.end_physical_offset
        done = 0
        for message in messages:
            _, physical_offset, stored_at, keys = message
            if stored_at != timestamp:
                timestamp = stored_at
                seconds = min(max((timestamp - begin) // 1000, 0), _INT_MAX)
            if number + key_count(keys) > limit:
                break
            for key_hash, offset in hashes_of(message):
                slot = key_hash % slot_num
                previous = slots[slot]
                extend(pack(key_hash, offset, seconds, previous))
                slots[slot] = number
                changed[slot >> SLOTS_PER_PAGE_BITS] = 1
                if not previous:
                    used += 1
                number += 1
            done += 1
            header.end_physical_offset = physical_offset
            header.end_timestamp = timestamp
        header.slot_count = used
        header.index_count = number
        self._header_dirty = True
        return done

    def _add_compiled(self, add_keys: speed.AddKeys, table: SlotTable, messages: list[KeyedMessage]) -> int:
        header = self.header
        entries, done, header.index_count, header.slot_count = add_keys(
            messages,
            table.values,
            table.changed_pages,
            SLOTS_PER_PAGE_BITS,
            header.index_count,
            self._index_num,
            header.begin_timestamp,
            header.slot_count,
        )
        self._memory[1].extend(entries)
        if done:
            _, header.end_physical_offset, header.end_timestamp, _ = messages[done - 1]
        self._header_dirty = True
        return done

    def _add_first(self, messages: list[KeyedMessage]) -> int:
        if not messages:
            return 0
        _, _, timestamp, keys = messages[0]
        if key_count(keys) > self._index_num - self.header.index_count:
            return 0
        for key_hash, physical_offset in hashes_of(messages[0]):
            self._add(key_hash, physical_offset, timestamp)
        return 1

    # -- writing -------------------------------------------------------------------------------------------------

    def write_entries(self, *, least_bytes: int = _ENTRIES_WRITE_BYTES) -> None:
        """Write the entries that are only in memory, when there are enough of them. Raises `OSError`."""
        number, entries = self._memory
        if len(entries) < least_bytes or not entries:
            return
        write_all(self._files, self._pool.get(self.path), entries, self._entries_at + number * ENTRY_BYTES)
        self._memory = (number + len(entries) // ENTRY_BYTES, bytearray())

    def write_plan(self) -> Callable[[], None] | None:
        """Writing of everything that is only in memory: entries at once, slots and header by the returned job.

        The job works on copies, so it may run in a thread; until it is done there must be no other.

        Returns:
            None when there is nothing to write.

        Raises:
            OSError: the entries were refused; they are tried again with the next call.
        """
        if not self._header_dirty:
            return None
        self.write_entries(least_bytes=1)
        runs = [] if self._table is None else self._table.take_changed()
        header = self.header
        head = _HEADER.pack(
            header.begin_timestamp,
            header.end_timestamp,
            header.begin_physical_offset,
            header.end_physical_offset,
            header.slot_count,
            header.index_count,
        )
        self._header_dirty = False
        files, path = self._files, self.path

        def write() -> None:
            fd = files.open(path)
            try:
                for first, values in runs:
                    write_all(files, fd, to_big_endian(values), HEADER_BYTES + first * SLOT_BYTES)
                write_all(files, fd, head, 0)
            finally:
                files.close(fd)

        return write

    def write_failed(self) -> None:
        """The job of `write_plan` failed: everything has to be written again."""
        if self._table is not None:
            self._table.all_changed()
        self._header_dirty = True

    def release(self) -> bool:
        """No entry comes any more: let go of the slot table, unless some of it is not written; tell whether."""
        if not self._header_dirty:
            self._table = None
        return self._table is None

    # -- reading -------------------------------------------------------------------------------------------------

    def overlaps(self, begin_ms: int, end_ms: int) -> bool:
        """Whether a span of time touches the file's (`IndexFile.isTimeMatched`)."""
        first, last = self.header.begin_timestamp, self.header.end_timestamp
        return (begin_ms < first and end_ms > last) or first <= begin_ms <= last or first <= end_ms <= last

    def entry(self, number: int, reader: Reader) -> tuple[int, int, int, int]:
        """Key hash, physical offset, seconds and previous entry."""
        memory_start, entries = self._memory
        if number >= memory_start:
            at = (number - memory_start) * ENTRY_BYTES
            # What was cut while a thread followed its chain: zeros, as the file has them then.
            return _ENTRY.unpack_from(entries, at) if at < len(entries) else (0, 0, 0, 0)
        return _ENTRY.unpack(reader.read(self.path, self._entries_at + number * ENTRY_BYTES, ENTRY_BYTES))

    def newest(self, key_hash: int, reader: Reader) -> tuple[int, int]:
        """Number of the newest entry in the chain of a hash, 0 for none, and the number that all entries are below.

        Raises:
            ColdRead: as the reader. OSError.
        """
        slot = key_hash % self._slot_num
        table = self._table
        if table is None:
            (number,) = _SLOT.unpack(reader.read(self.path, HEADER_BYTES + slot * SLOT_BYTES, SLOT_BYTES))
            return number, self.header.index_count
        with self._adding:
            return table.values[slot], self.header.index_count

    # -- after a crash -------------------------------------------------------------------------------------------

    def cut_to(self, count: int, end_timestamp: int, reader: Reader) -> bool:
        """Go back to the first `count - 1` entries, which are known to be in the file, and put the slots in order.

        A slot that points behind them is followed down its chain; entries there may be missing, and then the slots
        are built anew from the entries.

        Returns:
            Whether the slots had to be built anew.

        Raises:
            OSError.
        """
        self.header.index_count = count
        self._memory = (count, bytearray())
        self.header.end_timestamp = end_timestamp
        if count > 1:
            self.header.end_physical_offset = self.entry(count - 1, reader)[1]
        table = SlotTable(self._slot_num)
        broken = False
        for first, values in self._read_slots():
            if max(values) >= count or min(values) < 0:
                broken = not self._repair(table, first, values, count, reader)
            if broken:
                table = self._rebuilt_table(count, reader)
                break
            table.values[first : first + len(values)] = values
        # Else parts of them could be taken for parts of the entries that come in their place.
        fd = self._pool.get(self.path)
        if clear_from(self._files, fd, self._entries_at + count * ENTRY_BYTES, self.size):
            self._files.data_sync(fd)
        self._table = table
        self.header.slot_count = table.used()
        self._header_dirty = True
        return broken

    def _repair(self, table: SlotTable, first: int, values: array[int], count: int, reader: Reader) -> bool:
        """Replace slots that point behind the entries; says whether that was possible."""
        for offset, value in enumerate(values):
            if value >= count or value < 0:
                repaired = self._follow(first + offset, value, count, reader)
                if repaired is None:
                    return False
                values[offset] = repaired
                table.changed_pages[(first + offset) >> SLOTS_PER_PAGE_BITS] = 1
        return True

    def _follow(self, slot: int, number: int, count: int, reader: Reader) -> int | None:
        """The newest entry below `count` in a slot's chain; None when the chain is not whole."""
        while number >= count:
            if number >= self._index_num:
                return None
            key_hash, _, _, previous = self.entry_in_file(number, reader)
            if key_hash % self._slot_num != slot or previous >= number or (key_hash == 0 and previous == 0):
                return None
            if self._may_be_torn(number, reader):
                return None
            number = previous
        return None if number < 0 else number

    def _may_be_torn(self, number: int, reader: Reader) -> bool:
        """Whether an entry the header does not count lies in two sectors, of which the second may be missing.

        It is there when the entry behind, which was written with it or later, is; behind the last one are zeros.
        """
        if (self._entries_at + number * ENTRY_BYTES) % SECTOR_BYTES + ENTRY_BYTES <= SECTOR_BYTES:
            return False
        return number + 1 >= self._index_num or not any(self.entry_in_file(number + 1, reader))

    def entry_in_file(self, number: int, reader: Reader) -> tuple[int, int, int, int]:
        """As `entry`, of numbers the header does not count."""
        return _ENTRY.unpack(reader.read(self.path, self._entries_at + number * ENTRY_BYTES, ENTRY_BYTES))

    def _rebuilt_table(self, count: int, reader: Reader) -> SlotTable:
        table = SlotTable(self._slot_num)
        number = 1
        while number < count:
            amount = min(count - number, _READ_ENTRIES)
            data = reader.read(self.path, self._entries_at + number * ENTRY_BYTES, amount * ENTRY_BYTES)
            for key_hash, _, _, _ in _ENTRY.iter_unpack(data):
                table.values[key_hash % self._slot_num] = number
                number += 1
        table.all_changed()
        return table
