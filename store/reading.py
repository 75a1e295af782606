"""Reading messages of a queue: which ones a pull gets, and where it goes on.

What it is for: the answers of `DefaultMessageStore.getMessage`, status for status, from consume queue units first and
then as few reads of the log as possible. What it must not do: change anything; with a `ColdReader` all of it may run
in a thread beside the store's own.

Source: `DefaultMessageStore.getMessage`, `isTheBatchFull`, 5.3.4; `ConsumeQueue.getOffsetInQueueByTime`.
"""

from __future__ import annotations

import enum
import os
import struct
from collections.abc import Callable, Iterable
from functools import cache

import msgspec

from rmqwire.message import MESSAGE_MAGIC_V1, MESSAGE_MAGIC_V2, RECORD_FIXED_BYTES

from .acceptance import WANTED_ONLY, Accepts, Unit, judged
from .commitlog import CommitLog
from .consumequeue import UNIT, UNIT_BYTES, ConsumeQueue
from .fdpool import Reader
from .options import StoreOptions
from .queuetable import ConsumeQueues

MAX_PULL_BYTES = 128 * 1024 * 1024
_SPAN_GAP_MAX_BYTES = 4096
"""Records nearer to each other than this are read at once: copying is cheaper than a system call."""
_SPAN_MAX_BYTES = 1 << 20
_FIRST_READ_BYTES = 1024
_PLAIN_UNITS_MAX = 256
_STORE_TIMESTAMP = struct.Struct(">q")
_SIZE_MAGIC = struct.Struct(">ii")


class GetStatus(enum.Enum):
    """What a read found, by the names of Java's `GetMessageStatus`."""

    FOUND = "FOUND"
    NO_MATCHED_MESSAGE = "NO_MATCHED_MESSAGE"
    MESSAGE_WAS_REMOVING = "MESSAGE_WAS_REMOVING"
    OFFSET_FOUND_NULL = "OFFSET_FOUND_NULL"
    OFFSET_OVERFLOW_BADLY = "OFFSET_OVERFLOW_BADLY"
    OFFSET_OVERFLOW_ONE = "OFFSET_OVERFLOW_ONE"
    OFFSET_TOO_SMALL = "OFFSET_TOO_SMALL"
    NO_MATCHED_LOGIC_QUEUE = "NO_MATCHED_LOGIC_QUEUE"
    NO_MESSAGE_IN_QUEUE = "NO_MESSAGE_IN_QUEUE"
    OFFSET_RESET = "OFFSET_RESET"


class GetResult(msgspec.Struct):
    """What a read gives."""

    status: GetStatus
    next_begin_offset: int
    min_offset: int
    max_offset: int
    body: bytes = b""
    """The records, one after the other, as a pull reply carries them."""
    sizes: list[int] = msgspec.field(default_factory=list)
    """Bytes of each record in `body`."""
    suggest_slave: bool = False
    """The consumer is further behind than memory reaches."""
    behind_bytes: int = 0
    """Of the log, from the last message that was looked at to its end; 0 when none was."""

    @property
    def count(self) -> int:
        """The number of messages."""
        return len(self.sizes)

    @property
    def records(self) -> list[bytes]:
        """The records one by one."""
        records = []
        position = 0
        for size in self.sizes:
            records.append(self.body[position : position + size])
            position += size
        return records


@cache
def _all_units(count: int) -> Callable[[bytes | bytearray], tuple[int, ...]]:
    """What unpacks so many units of a queue: offset, size and tags code of each, one after the other."""
    return struct.Struct(">" + "qiq" * count).unpack


def physical_memory_bytes() -> int:
    """Of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class QueueReading:
    """Reads of queues, by the limits of the options.

    Args:
        memory_bytes: physical memory; a share of it counts as "in memory" behind the log's end.
    """

    def __init__(self, log: CommitLog, queues: ConsumeQueues, options: StoreOptions, memory_bytes: int) -> None:
        self._log = log
        self._queues = queues
        self._options = options
        self._memory_bytes = memory_bytes * options.access_message_in_memory_max_ratio // 100
        self.is_slave = options.slave

    def in_memory(self, physical_offset: int) -> bool:
        """Whether an offset is near enough to the log's end to be taken as in memory."""
        return self._log.wrote_offset - physical_offset <= self._memory_bytes

    def _next(self, asked: int, corrected: int) -> int:
        # As Java (nextOffsetCorrection): a slave does not correct offsets, its master knows better.
        return asked if self.is_slave and not self._options.offset_check_in_slave else corrected

    def get(
        self,
        queue: ConsumeQueue | None,
        offset: int,
        max_num: int,
        *,
        tags: frozenset[int] | None,
        max_bytes: int,
        queue_reader: Reader,
        log_reader: Reader,
        accepts: Accepts | None = None,
    ) -> GetResult:
        """Messages of a queue from a logical offset on.

        Args:
            tags: hashes of the tags that are wanted; None wants all.
            accepts: asked about the properties of each message, instead of tags; None wants all.

        Raises:
            ColdRead: a reader that does not wait met a page that is not in the page cache.
        """
        if queue is None:
            return GetResult(GetStatus.NO_MATCHED_LOGIC_QUEUE, self._next(offset, 0), 0, 0)
        low, high = queue.min_offset, queue.max_offset
        if high == 0:
            return GetResult(GetStatus.NO_MESSAGE_IN_QUEUE, self._next(offset, 0), low, high)
        if offset < low:
            return GetResult(GetStatus.OFFSET_TOO_SMALL, self._next(offset, low), low, high)
        if offset == high:
            return GetResult(GetStatus.OFFSET_OVERFLOW_ONE, offset, low, high)
        if offset > high:
            return GetResult(GetStatus.OFFSET_OVERFLOW_BADLY, self._next(offset, high), low, high)
        limit = min(max(max_bytes, 100), MAX_PULL_BYTES)
        return self._scan(queue, offset, max_num, tags, accepts, limit, queue_reader, log_reader)

    def _scan(
        self,
        queue: ConsumeQueue,
        offset: int,
        max_num: int,
        tags: frozenset[int] | None,
        accepts: Accepts | None,
        max_bytes: int,
        queue_reader: Reader,
        log_reader: Reader,
    ) -> GetResult:
        options = self._options
        low, high = queue.min_offset, queue.max_offset
        scan = max(options.max_filter_message_size, max_num * UNIT_BYTES) // UNIT_BYTES
        plain = tags is None and accepts is None
        wanted = max(max_num, 1) if plain else scan
        try:
            data = self._queues.units(queue, offset, min(wanted, high - offset), queue_reader)
        except FileNotFoundError:
            data = b""
        if not data:
            file_units = self._queues.file_size // UNIT_BYTES
            # As Java: the reader goes on at the next file of the queue.
            next_file = offset + file_units - offset % file_units
            return GetResult(GetStatus.OFFSET_FOUND_NULL, self._next(offset, next_file), low, high)

        if plain and (found := self._all_of(data, offset, low, high, max_num, max_bytes, log_reader)) is not None:
            return found
        log = self._log
        log_min, log_end = log.min_offset, log.wrote_offset
        memory_from = log_end - self._memory_bytes
        picked: list[tuple[int, int]] = []
        total = 0
        last_physical = 0
        status = GetStatus.NO_MATCHED_MESSAGE
        next_offset = offset
        skip_until = -1
        units: Iterable[Unit] = UNIT.iter_unpack(data)
        if accepts is not None:
            units = judged(list(units), accepts, log, lambda chosen: read_records(log, log_reader, chosen))
            tags = WANTED_ONLY
        for physical_offset, size, code in units:
            if picked:
                if physical_offset >= memory_from:
                    byte_limit = options.max_transfer_bytes_on_message_in_memory
                    count_limit = options.max_transfer_count_on_message_in_memory
                else:
                    byte_limit = options.max_transfer_bytes_on_message_in_disk
                    count_limit = options.max_transfer_count_on_message_in_disk
                if len(picked) >= min(max_num, count_limit) or total + size > byte_limit or total + size > max_bytes:
                    break
            last_physical = physical_offset
            next_offset += 1
            if physical_offset < skip_until or (tags is not None and code not in tags):
                continue
            if physical_offset < log_min or not log.has(physical_offset):
                if not picked:
                    status = GetStatus.MESSAGE_WAS_REMOVING
                skip_until = log.next_start(physical_offset)
                continue
            picked.append((physical_offset, size))
            total += size
            skip_until = -1
        behind = log_end - last_physical
        suggest_slave = behind > self._memory_bytes
        if not picked:
            return GetResult(status, next_offset, low, high, suggest_slave=suggest_slave, behind_bytes=behind)
        try:
            body = read_records(log, log_reader, picked)
        except FileNotFoundError:  # retention was faster
            return GetResult(GetStatus.MESSAGE_WAS_REMOVING, next_offset, low, high, suggest_slave=suggest_slave)
        sizes = [size for _, size in picked]
        return GetResult(GetStatus.FOUND, next_offset, low, high, body, sizes, suggest_slave, behind)

    def _all_of(
        self,
        data: bytes | bytearray,
        offset: int,
        low: int,
        high: int,
        max_num: int,
        max_bytes: int,
        log_reader: Reader,
    ) -> GetResult | None:
        """The usual pull: all units that were read, their records in one file of the log, and within each limit.

        Returns:
            None when it is not that simple, and each unit has to be looked at.
        """
        count = len(data) // UNIT_BYTES
        if count > _PLAIN_UNITS_MAX:
            return None
        fields = _all_units(count)(data)
        offsets, sizes = fields[::3], fields[1::3]
        log, options = self._log, self._options
        first, last = offsets[0], offsets[-1]
        start = first - first % log.file_size
        total = sum(sizes)
        if first >= log.wrote_offset - self._memory_bytes:
            count_limit = options.max_transfer_count_on_message_in_memory
            byte_limit = options.max_transfer_bytes_on_message_in_memory
        else:
            count_limit = options.max_transfer_count_on_message_in_disk
            byte_limit = options.max_transfer_bytes_on_message_in_disk
        if (
            count > min(max_num, count_limit)
            or total > byte_limit
            or total > max_bytes
            or first < log.min_offset
            or not first <= last < start + log.file_size
            or not log.has(first)
        ):
            return None
        try:
            if last + sizes[-1] - first == total and sorted(offsets) == list(offsets):  # nothing in between
                body = log.read(log_reader, first, total)
            else:
                body = read_records(log, log_reader, list(zip(offsets, sizes, strict=True)))
        except FileNotFoundError:  # retention was faster
            return None
        behind = log.wrote_offset - last
        suggest_slave = behind > self._memory_bytes
        return GetResult(GetStatus.FOUND, offset + count, low, high, body, list(sizes), suggest_slave, behind)

    def store_timestamp(self, queue: ConsumeQueue, offset: int, queue_reader: Reader, log_reader: Reader) -> int:
        """When the message of a logical offset was stored; -1 when there is none."""
        if not queue.min_offset <= offset < queue.max_offset:
            return -1
        try:
            physical_offset, _, _ = self._queues.unit(queue, offset, queue_reader)
            return self.record_timestamp(physical_offset, log_reader)
        except FileNotFoundError:
            return -1

    def record_timestamp(self, physical_offset: int, log_reader: Reader) -> int:
        """When the record at a physical offset was stored; -1 when there is none."""
        log = self._log
        if not log.min_offset <= physical_offset < log.wrote_offset:
            return -1
        # The born host before it has 8 or 20 bytes, by bit 0x10 of the flags at byte 36.
        head = log.read(log_reader, physical_offset, 76)
        if len(head) < 76:
            return -1
        (timestamp,) = _STORE_TIMESTAMP.unpack_from(head, 68 if head[39] & 0x10 else 56)
        return int(timestamp)

    def record(self, physical_offset: int, size: int | None, log_reader: Reader) -> bytes | None:
        """The record that begins at a physical offset; None when none does, or one of another size."""
        log = self._log
        if not log.min_offset <= physical_offset < log.wrote_offset or not log.has(physical_offset):
            return None
        rest = log.file_size - physical_offset % log.file_size
        try:
            data = log.read(log_reader, physical_offset, min(size or _FIRST_READ_BYTES, rest))
            if len(data) < RECORD_FIXED_BYTES:
                return None
            found, magic = _SIZE_MAGIC.unpack_from(data)
            (found_offset,) = _STORE_TIMESTAMP.unpack_from(data, 28)
            if (
                magic not in (MESSAGE_MAGIC_V1, MESSAGE_MAGIC_V2)
                or found_offset != physical_offset
                or (size is not None and found != size)
                or not RECORD_FIXED_BYTES <= found <= rest
            ):
                return None
            if found > len(data):
                data += log.read(log_reader, physical_offset + len(data), found - len(data))
        except FileNotFoundError:
            return None
        return data[:found]

    def search_by_time(
        self, queue: ConsumeQueue, timestamp_ms: int, boundary: str, queue_reader: Reader, log_reader: Reader
    ) -> int:
        """The first logical offset stored at or after a time (LOWER), or the last at or before it (UPPER).

        As Java: LOWER behind the last message gives the end of the queue, UPPER before the first gives 0.
        """
        low, high = queue.min_offset, queue.max_offset
        if low >= high:
            return 0 if high == 0 else high if boundary == "LOWER" else max(high - 1, 0)

        def time_at(offset: int) -> int:
            return self.store_timestamp(queue, offset, queue_reader, log_reader)

        before: Callable[[int], bool]
        if boundary == "UPPER":
            before = lambda offset: time_at(offset) <= timestamp_ms  # noqa: E731
        else:
            before = lambda offset: time_at(offset) < timestamp_ms  # noqa: E731
        first = low
        while low < high:  # the first offset that is not before
            middle = (low + high) // 2
            if before(middle):
                low = middle + 1
            else:
                high = middle
        if boundary == "UPPER":
            return low - 1 if low > first else 0
        return low


def read_records(log: CommitLog, reader: Reader, picked: list[tuple[int, int]]) -> bytes:
    """The joined bytes of records, given by offset and size in ascending order, in few reads.

    Raises:
        ColdRead, FileNotFoundError: as the reader.
    """
    file_size = log.file_size
    parts: list[bytes] = []
    count = len(picked)
    index = 0
    while index < count:
        begin, size = picked[index]
        end = begin + size
        file_end = begin - begin % file_size + file_size
        limit = min(begin + _SPAN_MAX_BYTES, file_end)
        dense = True
        last = index + 1
        while last < count:
            next_begin, next_size = picked[last]
            if next_begin - end > _SPAN_GAP_MAX_BYTES or next_begin < end or next_begin + next_size > limit:
                break
            if next_begin != end:
                dense = False
            end = next_begin + next_size
            last += 1
        data = log.read(reader, begin, end - begin)
        if dense:
            parts.append(data)
        else:
            parts.extend([data[at - begin : at - begin + length] for at, length in picked[index:last]])
        index = last
    return parts[0] if len(parts) == 1 else b"".join(parts)
