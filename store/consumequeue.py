"""Consume queues: for each queue of a topic, where its messages are in the commit log.

Files of one length hold units of 20 bytes, `physical offset i64 | size i32 | tags code i64`; the unit of queue offset
n is at byte n * 20, and a file is named by the byte its first unit has. Where a queue begins above its first file's
start, the units before it are filler (0, 2^31-1, 0).

What it is for: units of the newest messages are kept in memory and written in groups; older ones are read from the
files. There may be tens of thousands of queues: a queue is looked at on disk when it is first asked for, and
descriptors come from a bounded pool. What it must not do: decide what is in the log.

Crash guarantee: none of its own. The checkpoint says up to where in the log all queues are complete and synced; what
is above is cut at recovery and built again from the log.

Source: `ConsumeQueue`, `ConsumeQueueStore`, 4.7.0 and 5.5.0.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from rmqwire.errors import MalformedMessage
from rmqwire.hashing import IndexKeyHasher
from rmqwire.message import topic_field

from .commitlog import CommitLog, list_files, make_file
from .errors import MessageIllegal, StoreDamaged, TopicTooLong
from .fdpool import DescriptorPool, HotReader, Reader, WaitingReader
from .files import Files, clear_from, remove_file, write_all

UNIT_BYTES = 20
UNIT = struct.Struct(">qiq")
FILLER = UNIT.pack(0, 0x7FFFFFFF, 0)
TAIL_WRITE_BYTES = 16_384
"""A queue's units are written when there are so many of them, else with the next tick."""
SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX"
_RECORD_HEAD = struct.Struct(">iiiiiqq")


class ConsumeQueue:
    """One queue. Offsets are logical, in units, unless they say otherwise."""

    __slots__ = (
        "fixed_size",
        "folder",
        "hasher",
        "is_schedule",
        "magic",
        "max_offset",
        "memory",
        "min_offset",
        "queue_id",
        "staged",
        "staged_next",
        "staged_tags",
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
        self.max_offset = 0
        """Where the next message goes."""
        # The offset of the first unit that is not in a file, and the units from there on. Swapped as one, so that
        # a reader in a thread never sees the one without the other.
        self.memory: tuple[int, bytearray] = (0, bytearray())
        self.staged_next = 0
        self.staged = bytearray()
        self.staged_tags: list[int] = []

    def path(self, start: int) -> str:
        """The file that begins at byte `start`."""
        return f"{self.folder}/{start:020d}"

    def begin_at(self, offset: int) -> None:
        """The queue is empty and its first message has this offset (a slave, or old messages that expired)."""
        self.min_offset = self.max_offset = self.staged_next = offset
        self.memory = (offset, bytearray())


class ConsumeQueues:
    """All queues of a store.

    Args:
        root: the folder `consumequeue`.
        file_size: `mappedFileSizeConsumeQueue`, bytes; made a multiple of 20 by rounding up, as Java does.
        log: for looking at the record behind a unit.
        open_files_max: descriptors kept.
    """

    def __init__(self, files: Files, root: str, file_size: int, log: CommitLog, *, open_files_max: int) -> None:
        self._files = files
        self.root = root
        self.file_size = -(-file_size // UNIT_BYTES) * UNIT_BYTES
        self._log = log
        self._pool = DescriptorPool(files, open_files_max)
        self._known: dict[str, dict[int, ConsumeQueue | None]] = {}
        self._hashers: dict[str, IndexKeyHasher] = {}
        self.bound: int | None = None
        """Units at or above this physical offset are not taken from files; None while all are."""
        self.dirty: dict[ConsumeQueue, None] = {}
        """Queues with units that are in no file, the one waiting longest first."""
        self.unsynced: dict[str, None] = {}
        """Files (and folders, ending in a slash) written to since the last checkpoint."""
        self.hot = HotReader(files, self._pool)
        self._waiting = WaitingReader(files, self._pool)

    # -- which queues there are ----------------------------------------------------------------------------------

    def load(self) -> None:
        """List the folders; no file is opened. Folders whose names are no queue ids are left alone."""
        self._files.make_directories(self.root)
        for topic, is_folder in self._files.entries(self.root):
            if is_folder:
                queues: dict[int, ConsumeQueue | None] = {}
                for name, is_queue in self._files.entries(os.path.join(self.root, topic)):
                    if is_queue and name.isascii() and name.isdigit():
                        queues[int(name)] = None
                self._known[topic] = queues

    def topics(self) -> list[str]:
        """Topics that have at least one queue."""
        return [topic for topic, queues in self._known.items() if queues]

    def queue_ids(self, topic: str) -> list[int]:
        """The queues of a topic, ascending."""
        return sorted(self._known.get(topic, ()))

    def find(self, topic: str, queue_id: int) -> ConsumeQueue | None:
        """A queue that exists, read from disk when this is the first time.

        Raises:
            StoreDamaged: its files cannot be used.
        """
        queues = self._known.get(topic)
        if queues is None or queue_id not in queues:
            return None
        queue = queues[queue_id]
        if queue is None:
            queue = self._new(topic, queue_id)
            self._open(queue)
            queues[queue_id] = queue
        return queue

    def find_or_make(self, topic: str, queue_id: int) -> ConsumeQueue:
        """A queue, a new one in memory when there is none; its files come with the first write.

        Raises:
            MessageIllegal: the topic or the number cannot be a folder's name.
        """
        queue = self.find(topic, queue_id)
        if queue is None:
            if not topic or "/" in topic or "\0" in topic or topic in (".", "..") or queue_id < 0:
                raise MessageIllegal(f"no queue can have topic {topic!r} and number {queue_id}")
            queue = self._new(topic, queue_id)
            self._known.setdefault(topic, {})[queue_id] = queue
        return queue

    def _new(self, topic: str, queue_id: int) -> ConsumeQueue:
        hasher = self._hashers.get(topic)
        if hasher is None:
            hasher = self._hashers[topic] = IndexKeyHasher(topic)
        return ConsumeQueue(topic, queue_id, os.path.join(self.root, topic, str(queue_id)), hasher)

    def all(self) -> Iterator[ConsumeQueue]:
        """Every queue, those not yet looked at included; for recovery."""
        for topic in list(self._known):
            for queue_id in self.queue_ids(topic):
                queue = self.find(topic, queue_id)
                assert queue is not None
                yield queue

    def loaded(self) -> Iterator[ConsumeQueue]:
        """The queues that were used since the store was opened."""
        for queues in list(self._known.values()):
            for queue in list(queues.values()):
                if queue is not None:
                    yield queue

    # -- what is in the files ------------------------------------------------------------------------------------

    def _open(self, queue: ConsumeQueue) -> None:
        """Find the end and the beginning of a queue in its files."""
        files = self._files
        try:
            starts = list_files(files, queue.folder, self.file_size)
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
            end = self._last_end(queue)
            queue.min_offset = queue.starts[0] // UNIT_BYTES
            queue.max_offset = queue.staged_next = end
            queue.memory = (end, bytearray())
            self.correct_min(queue)
        except OSError as error:
            raise StoreDamaged(f"cannot read: {error.strerror}", file=queue.folder) from error

    def unit(self, queue: ConsumeQueue, offset: int, reader: Reader | None = None) -> tuple[int, int, int]:
        """Physical offset, size and tags code of one unit; zeros behind the end of a file."""
        memory_start, tail = queue.memory
        if offset >= memory_start:
            return UNIT.unpack_from(tail, (offset - memory_start) * UNIT_BYTES)
        at = offset * UNIT_BYTES
        start = at - at % self.file_size
        data = (reader or self._waiting).read(queue.path(start), at - start, UNIT_BYTES)
        return UNIT.unpack(data) if len(data) == UNIT_BYTES else (0, 0, 0)

    def _is_unit(self, queue: ConsumeQueue, offset: int) -> bool:
        physical_offset, size, _ = self.unit(queue, offset)
        return physical_offset >= 0 and size > 0 and (self.bound is None or physical_offset < self.bound)

    def _last_end(self, queue: ConsumeQueue) -> int:
        """The offset behind the last unit in the files.

        Units lie without holes and point ever higher, so the end is found by halving. Then the last one is compared
        with its record: after a cut an official broker leaves units behind the end, which look good once the log has
        grown past them; those have no such record.
        """
        queue.memory = (1 << 62, bytearray())  # nothing is in memory while the files are looked at
        for start in reversed(queue.starts):
            low = start // UNIT_BYTES
            if not self._is_unit(queue, low):
                continue
            high = (start + self.file_size) // UNIT_BYTES
            begin = low
            while high - low > 1:
                middle = (low + high) // 2
                if self._is_unit(queue, middle):
                    low = middle
                else:
                    high = middle
            while low >= begin and not self._has_record(queue, low):
                low -= 1
            if low >= begin:
                return low + 1
        return queue.starts[0] // UNIT_BYTES

    def _has_record(self, queue: ConsumeQueue, offset: int) -> bool:
        physical_offset, size, _ = self.unit(queue, offset)
        if size == 0x7FFFFFFF and physical_offset == 0:
            return True  # filler
        log = self._log
        if physical_offset < log.min_offset:
            return True  # it has expired: nothing to compare with
        if not log.has(physical_offset) or physical_offset % log.file_size + size > log.file_size:
            return False
        if queue.topic.startswith("%LMQ%"):
            return True  # the record carries its own topic's queue and offset
        head = log.read(WaitingReader(self._files, log.pool), physical_offset, _RECORD_HEAD.size)
        if len(head) < _RECORD_HEAD.size:
            return False
        found_size, magic, _, queue_id, _, queue_offset, found_offset = _RECORD_HEAD.unpack(head)
        return bool(
            found_size == size
            and magic in (-626843481, -626843477)
            and queue_id == queue.queue_id
            and queue_offset == offset
            and found_offset == physical_offset
        )

    def correct_min(self, queue: ConsumeQueue) -> None:
        """Set the first offset whose message is still in the log; the end of the queue when none is.

        Source: `ConsumeQueue.correctMinOffset`.
        """
        log_min = self._log.min_offset

        def gone(offset: int) -> bool:
            physical_offset, size, _ = self.unit(queue, offset)
            return physical_offset < log_min or (size == 0x7FFFFFFF and physical_offset == 0)

        low = max(queue.min_offset, queue.starts[0] // UNIT_BYTES if queue.starts else queue.memory[0])
        high = queue.max_offset
        if low >= high or not gone(low):
            queue.min_offset = min(low, high)
            return
        while high - low > 1:
            middle = (low + high) // 2
            if gone(middle):
                low = middle
            else:
                high = middle
        queue.min_offset = high

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

    # -- writing -------------------------------------------------------------------------------------------------

    def append(self, queue: ConsumeQueue, units: bytes | bytearray) -> None:
        """Add units to a queue's end, in memory; `write_tail` brings them to the file."""
        queue.memory[1].extend(units)
        queue.max_offset += len(units) // UNIT_BYTES
        queue.staged_next = queue.max_offset
        self.dirty[queue] = None

    def write_tail(self, queue: ConsumeQueue) -> None:
        """Write the units that are only in memory.

        Raises:
            OSError: the system refused; they stay in memory and can be read, and are tried again.
        """
        offset, tail = queue.memory
        position, end = offset * UNIT_BYTES, offset * UNIT_BYTES + len(tail)
        done = 0
        while position < end:
            start = position - position % self.file_size
            piece = tail[done : done + self.file_size - (position - start)]
            fd = self._file_for(queue, start, position)
            write_all(self._files, fd, piece, position - start)
            self.unsynced[queue.path(start)] = None
            position += len(piece)
            done += len(piece)
        queue.memory = (end // UNIT_BYTES, bytearray())
        self.dirty.pop(queue, None)

    def _file_for(self, queue: ConsumeQueue, start: int, position: int) -> int:
        path = queue.path(start)
        if start in queue.starts[-2:]:
            return self._pool.get(path)
        self._files.make_directories(queue.folder)
        self._pool.drop(path)
        fd = make_file(self._files, path, self.file_size)
        self._files.close(fd)
        fd = self._pool.get(path)
        if position > start:
            write_all(self._files, fd, FILLER * ((position - start) // UNIT_BYTES), 0)
        for folder in (queue.folder, os.path.dirname(queue.folder), self.root):
            self.unsynced[folder + "/"] = None
        queue.starts = (*queue.starts, start)
        return fd

    def write_tails(self, limit: int | None = None) -> int:
        """Write the tails of the queues that wait longest, `limit` of them or all; returns how many still wait.

        Raises:
            OSError: the system refused.
        """
        for count, queue in enumerate(list(self.dirty)):
            if count == limit:
                break
            self.write_tail(queue)
        return len(self.dirty)

    def complete_offset(self, log_end: int) -> int:
        """The physical offset below which every unit is in a file (if not yet synced)."""
        for queue in self.dirty:
            tail = queue.memory[1]
            if tail:
                first: int = UNIT.unpack_from(tail, 0)[0]
                return first
        return log_end

    # -- cutting -------------------------------------------------------------------------------------------------

    def cut(self, queue: ConsumeQueue, offset: int) -> None:
        """Drop the units at and above `offset`, in memory and in the files, where zeros take their place."""
        memory_start, tail = queue.memory
        if offset > memory_start:
            del tail[(offset - memory_start) * UNIT_BYTES :]
        else:
            queue.memory = (offset, bytearray())
            self.dirty.pop(queue, None)
        self.clear_behind(queue, offset)
        queue.max_offset = queue.staged_next = offset
        queue.min_offset = min(queue.min_offset, offset)

    def clear_behind(self, queue: ConsumeQueue, offset: int) -> None:
        """Make sure that nothing is in the files at or above `offset`."""
        position = offset * UNIT_BYTES
        for start in queue.starts:
            path = queue.path(start)
            if start > position:
                self._pool.drop(path)
                remove_file(self._files, path)
                self.unsynced[queue.folder + "/"] = None
            elif start + self.file_size > position and clear_from(
                self._files, self._pool.get(path), position - start, self.file_size
            ):
                self.unsynced[path] = None
        queue.starts = tuple(start for start in queue.starts if start <= position)

    def discard(self, queue: ConsumeQueue) -> None:
        """Drop all units and files of a queue; it begins anew at 0."""
        for start in queue.starts:
            self._pool.drop(queue.path(start))
            remove_file(self._files, queue.path(start))
            self.unsynced.pop(queue.path(start), None)
            self.unsynced[queue.folder + "/"] = None
        queue.starts = ()
        self.dirty.pop(queue, None)
        queue.begin_at(0)

    def remove_topic(self, topic: str) -> bool:
        """Delete the queues of a topic with their files; says whether there were any."""
        queues = self._known.pop(topic, None)
        self._hashers.pop(topic, None)
        if queues is None:
            return False
        for queue in queues.values():
            if queue is not None:
                self.dirty.pop(queue, None)
        folder = os.path.join(self.root, topic)
        for name, is_folder in self._files.entries(folder):
            if is_folder:
                self._remove_folder(os.path.join(folder, name))
        self._remove_folder(folder)
        prefix = folder + "/"
        self.unsynced = {path: None for path in self.unsynced if not path.startswith(prefix)}
        self.unsynced[self.root + "/"] = None
        return True

    def _remove_folder(self, folder: str) -> None:
        for name, is_folder in self._files.entries(folder):
            if not is_folder:
                path = os.path.join(folder, name)
                self._pool.drop(path)
                remove_file(self._files, path)
        try:
            self._files.remove_directory(folder)
        except FileNotFoundError:
            pass  # never written to
        except OSError as error:
            raise StoreDamaged(f"cannot remove: {error.strerror}", file=folder) from error

    def remove_expired(self, queue: ConsumeQueue) -> list[str]:
        """Take files out of a queue whose last unit is about a message that is gone; the caller unlinks them.

        Source: `MappedFileQueue.deleteExpiredFileByOffset`.
        """
        removed = []
        log_min = self._log.min_offset
        while len(queue.starts) > 1:
            last_unit = queue.starts[1] // UNIT_BYTES - 1
            if last_unit >= queue.memory[0] or self.unit(queue, last_unit)[0] >= log_min:
                break
            path = queue.path(queue.starts[0])
            self._pool.drop(path)
            queue.starts = queue.starts[1:]
            removed.append(path)
        self.correct_min(queue)
        return removed

    def close(self) -> None:
        """Close all descriptors; nothing is written."""
        self._pool.close()
