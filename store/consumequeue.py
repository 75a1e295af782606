"""Consume queues: for each queue of a topic, where its messages are in the commit log.

Files of one length hold units of 20 bytes, `physical offset i64 | size i32 | tags code i64`; the unit of queue offset
n is at byte n * 20, and a file is named by the byte its first unit has. Where a queue begins above its first file's
start, the units before it are filler (0, 2^31-1, 0).

What it is for: one queue as a small object, and finding and reading its units, from memory or from the files. What it
must not do: write; that is `queuetable`.

Source: `ConsumeQueue`, `ConsumeQueueStore`, 4.7.0 and 5.5.0.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from rmqwire.errors import MalformedMessage
from rmqwire.hashing import IndexKeyHasher
from rmqwire.message import MESSAGE_MAGIC_V1, MESSAGE_MAGIC_V2, topic_field

from .commitlog import CommitLog, list_files
from .errors import StoreDamaged, TopicTooLong
from .fdpool import Reader
from .files import Files

UNIT_BYTES = 20
UNIT = struct.Struct(">qiq")
FILLER = UNIT.pack(0, 0x7FFFFFFF, 0)
SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX"
FILE_SIZE_KEY = "mappedFileSizeConsumeQueue"
_RECORD_HEAD = struct.Struct(">iiiiiqq")
_HEAD_BYTES = 4096 // UNIT_BYTES * UNIT_BYTES


class ConsumeQueue:
    """One queue. Offsets are logical, in units, unless they say otherwise."""

    __slots__ = (
        "fixed_size",
        "folder",
        "hasher",
        "is_schedule",
        "log_begin",
        "magic",
        "max_offset",
        "memory",
        "min_offset",
        "queue_id",
        "staged",
        "staged_next",
        "starts",
        "topic",
        "topic_field",
    )

    def __init__(self, topic: str, queue_id: int, folder: str, hasher: IndexKeyHasher) -> None:
        self.topic = topic
        self.queue_id = queue_id
        self.folder = folder
        self.hasher = hasher
        try:
            self.topic_field, self.magic = topic_field(topic)
        except MalformedMessage as error:
            raise TopicTooLong(str(error)) from error
        self.is_schedule = topic == SCHEDULE_TOPIC
        self.fixed_size = 0  # of a record, without body and properties; the store sets it
        self.starts: tuple[int, ...] = ()
        """Bytes at which the queue's files begin, ascending."""
        self.min_offset = 0
        self.log_begin = 0  # of the log, when min_offset was last looked for
        self.max_offset = 0
        """What is read ends here; `end_offset`, unless messages are held back."""
        # The offset of the first unit that is not in a file, and the units from there on. Swapped as one, so that
        # a reader in a thread never sees the one without the other.
        self.memory: tuple[int, bytearray] = (0, bytearray())
        self.staged_next = 0
        self.staged = bytearray()

    @property
    def end_offset(self) -> int:
        """Where the next message goes."""
        memory_start, tail = self.memory
        return memory_start + len(tail) // UNIT_BYTES

    def path(self, start: int) -> str:
        """The file that begins at byte `start`."""
        return f"{self.folder}/{start:020d}"

    def begin_at(self, offset: int) -> None:
        """The queue is empty and its first message has this offset (a slave, or old messages that expired)."""
        self.min_offset = self.max_offset = self.staged_next = offset
        self.memory = (offset, bytearray())


def append_units(
    touched: list[ConsumeQueue],
    dirty: dict[ConsumeQueue, None],
    awaited: tuple[Mapping[str, object], ...] | None,
    long_bytes: int,
) -> tuple[list[tuple[ConsumeQueue, bytes]], list[ConsumeQueue]]:
    """Make the units that are staged in queues visible, in memory; reference of `speed.append_units`.

    Args:
        dirty: queues whose tail is not empty, and maybe others; those that were empty are added.

    Returns:
        The queues of awaited topics with what came, and the queues whose units should be written.
    """
    arrived, long = [], []
    for queue in touched:
        units, tail = queue.staged, queue.memory[1]
        if not tail:  # else it waits in there already; a look at it would cost much where there are very many
            dirty[queue] = None
        tail += units
        queue.max_offset = queue.staged_next
        if awaited is None or any(queue.topic in topics for topics in awaited):
            arrived.append((queue, bytes(units)))
        units.clear()
        if len(tail) >= long_bytes:
            long.append(queue)
    return arrived, long


class QueueFiles:
    """Looking at queues in their files.

    Args:
        root: the folder `consumequeue`.
        file_size: `mappedFileSizeConsumeQueue`, bytes; made a multiple of 20 by rounding up, as Java does.
        log: for looking at the record behind a unit.
    """

    def __init__(self, files: Files, root: str, file_size: int, log: CommitLog) -> None:
        self._files = files
        self.root = root
        self.file_size = -(-file_size // UNIT_BYTES) * UNIT_BYTES
        self._log = log
        self.bound: int | None = None
        """Units at or above this physical offset are not taken from files; None while all are."""

    def open_queue(self, queue: ConsumeQueue, reader: Reader) -> None:
        """Find the end and the beginning of a queue in its files.

        Raises:
            StoreDamaged: they cannot be used.
        """
        files = self._files
        try:
            starts = list_files(files, queue.folder, self.file_size, FILE_SIZE_KEY)
        except OSError as error:
            raise StoreDamaged(f"cannot list: {error.strerror}", file=queue.folder) from error
        # Of a gap only what is behind it counts: the units before it were about messages that are gone.
        first = len(starts) - 1
        while first > 0 and starts[first - 1] + self.file_size == starts[first]:
            first -= 1
        queue.starts = tuple(starts[max(first, 0) :])
        if not queue.starts:
            return
        try:
            end = self._last_end(queue, reader)
            queue.min_offset = queue.starts[0] // UNIT_BYTES
            queue.max_offset = queue.staged_next = end
            queue.memory = (end, bytearray())
            self.correct_min(queue, reader)
        except OSError as error:
            raise StoreDamaged(f"cannot read: {error.strerror}", file=queue.folder) from error

    def unit(self, queue: ConsumeQueue, offset: int, reader: Reader) -> tuple[int, int, int]:
        """Physical offset, size and tags code of one unit; zeros behind the end of a file."""
        memory_start, tail = queue.memory
        if offset >= memory_start:
            return UNIT.unpack_from(tail, (offset - memory_start) * UNIT_BYTES)
        at = offset * UNIT_BYTES
        start = at - at % self.file_size
        data = reader.read(queue.path(start), at - start, UNIT_BYTES)
        return UNIT.unpack(data) if len(data) == UNIT_BYTES else (0, 0, 0)

    def _is_unit(self, queue: ConsumeQueue, offset: int, reader: Reader) -> bool:
        return self._looks_good(*self.unit(queue, offset, reader))

    def _looks_good(self, physical_offset: int, size: int, _tags_code: int) -> bool:
        return physical_offset >= 0 and size > 0 and (self.bound is None or physical_offset < self.bound)

    def _last_end(self, queue: ConsumeQueue, reader: Reader) -> int:
        """The offset behind the last unit in the files.

        Units lie without holes and point ever higher, so the end is found by halving. Then the last one is compared
        with its record: after a cut an official broker leaves units behind the end, which look good once the log has
        grown past them; those have no such record.
        """
        queue.memory = (1 << 62, bytearray())  # nothing is in memory while the files are looked at
        for start in reversed(queue.starts):
            begin = start // UNIT_BYTES
            end = self._end_in_file(queue, start, reader)
            if end > begin and not self._has_record(queue, end - 1, reader):
                end = _first_not(begin, end, lambda offset: self._has_record(queue, offset, reader))
            if end > begin:
                return end
        return queue.starts[0] // UNIT_BYTES

    def _end_in_file(self, queue: ConsumeQueue, start: int, reader: Reader) -> int:
        """The offset behind the last unit in one file.

        Most queues are short when there are very many of them: their end is found with one read.
        """
        begin, end = start // UNIT_BYTES, (start + self.file_size) // UNIT_BYTES
        head = reader.read(queue.path(start), 0, min(_HEAD_BYTES, self.file_size))
        count = len(head) // UNIT_BYTES
        if count and self._looks_good(*UNIT.unpack_from(head, (count - 1) * UNIT_BYTES)):
            return _first_not(begin + count, end, lambda offset: self._is_unit(queue, offset, reader))
        return begin + _first_not(0, count, lambda at: self._looks_good(*UNIT.unpack_from(head, at * UNIT_BYTES)))

    def _has_record(self, queue: ConsumeQueue, offset: int, reader: Reader) -> bool:
        """Whether the log has the record a unit is about, as far as can be told."""
        physical_offset, size, _ = self.unit(queue, offset, reader)
        if size == 0x7FFFFFFF and physical_offset == 0:
            return True  # filler
        log = self._log
        if physical_offset < log.min_offset:
            return True  # it has expired: nothing to compare with
        if not log.has(physical_offset) or physical_offset % log.file_size + size > log.file_size:
            return False
        if queue.topic.startswith("%LMQ%"):
            return True  # the record carries its own topic's queue and offset
        head = log.read(reader, physical_offset, _RECORD_HEAD.size)
        if len(head) < _RECORD_HEAD.size:
            return False
        found_size, magic, _, queue_id, _, queue_offset, found_offset = _RECORD_HEAD.unpack(head)
        return bool(
            found_size == size
            and magic in (MESSAGE_MAGIC_V1, MESSAGE_MAGIC_V2)
            and queue_id == queue.queue_id
            and queue_offset == offset
            and found_offset == physical_offset
        )

    def correct_min(self, queue: ConsumeQueue, reader: Reader) -> None:
        """Set the first offset whose message is still in the log; the end of the queue when none is.

        Source: `ConsumeQueue.correctMinOffset`.
        """
        log_min = queue.log_begin = self._log.min_offset

        def gone(offset: int) -> bool:
            physical_offset, size, _ = self.unit(queue, offset, reader)
            return physical_offset < log_min or (size == 0x7FFFFFFF and physical_offset == 0)

        low = max(queue.min_offset, queue.starts[0] // UNIT_BYTES if queue.starts else queue.memory[0])
        high = queue.max_offset
        queue.min_offset = _first_not(low, high, gone) if low < high and gone(low) else min(low, high)

    def units(self, queue: ConsumeQueue, offset: int, count: int, reader: Reader) -> bytes | bytearray:
        """The units from `offset`, at most `count`, none across the end of a file.

        Raises:
            ColdRead: the reader does not wait and they are not in the page cache.
            OSError: the file is gone.
        """
        memory_start, tail = queue.memory
        if offset >= memory_start:
            first = (offset - memory_start) * UNIT_BYTES
            return tail[first : first + count * UNIT_BYTES]
        at = offset * UNIT_BYTES
        start = at - at % self.file_size
        end = min((offset + count) * UNIT_BYTES, memory_start * UNIT_BYTES, start + self.file_size)
        data = reader.read(f"{queue.folder}/{start:020d}", at - start, end - at)
        if end == memory_start * UNIT_BYTES and count * UNIT_BYTES > end - at:
            return data + tail[: (count * UNIT_BYTES) - (end - at)]
        return data


def _first_not(low: int, high: int, is_so: Callable[[int], bool]) -> int:
    """The first number in `[low, high)` of which something is not so, when it is so of all before it; else `high`."""
    while low < high:
        middle = (low + high) // 2
        if is_so(middle):
            low = middle + 1
        else:
            high = middle
    return low
