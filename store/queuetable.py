"""All consume queues of a store, and writing to them.

What it is for: units of the newest messages are kept in memory and written in groups. There may be tens of thousands of
queues: a queue is looked at on disk when it is first asked for, and descriptors come from a bounded pool. What it must
not do: decide what is in the log.

Crash guarantee: none of its own. The checkpoint says up to where in the log all queues are complete and synced; what
is above is cut at recovery and built again from the log.

Source: `ConsumeQueue`, `ConsumeQueueStore`, 4.7.0 and 5.3.4.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

from rmqwire.hashing import IndexKeyHasher

from .commitlog import CommitLog, check_length, make_file
from .consumequeue import FILE_SIZE_KEY, FILLER, UNIT, UNIT_BYTES, ConsumeQueue, QueueFiles
from .errors import MessageIllegal, StoreDamaged
from .fdpool import DescriptorPool, HotReader, Reader, WaitingReader
from .files import Files, clear_from, remove_file, write_all
from .manysync import ManySync

TAIL_WRITE_BYTES = 16_384
"""A queue's units are written when there are so many of them, else with the next tick."""
_NEW_FILE_COUNTS = 4
"""A folder and a file cost a tick this many times what writing to one does: 200 µs, mostly the system's."""


class ConsumeQueues(QueueFiles):
    """All queues of a store; arguments as `QueueFiles`.

    Args:
        open_files_max: descriptors kept.
    """

    def __init__(self, files: Files, root: str, file_size: int, log: CommitLog, *, open_files_max: int) -> None:
        super().__init__(files, root, file_size, log)
        self._pool = DescriptorPool(files, open_files_max)
        self._known: dict[str, dict[int, ConsumeQueue | None]] = {}
        self._hashers: dict[str, IndexKeyHasher] = {}
        self.dirty: dict[ConsumeQueue, None] = {}
        """Queues with units that are in no file, the one waiting longest first: all whose tail is not empty."""
        self.unsynced: dict[str, None] = {}
        """Files (and folders, ending in a slash) written to since the last checkpoint."""
        self._files_made = 0
        self.syncing = ManySync(files, root)
        self.hot = HotReader(files, self._pool)
        self.waiting = WaitingReader(files, self._pool)

    # -- which queues there are ----------------------------------------------------------------------------------

    def load(self) -> None:
        """List the folders; no file is opened. Folders whose names are no queue ids are left alone.

        Raises:
            StoreDamaged: the files were made with another length. One is looked at: a store of two cannot come about.
        """
        self._files.make_directories(self.root)
        self.syncing.open()
        for topic, is_folder in self._files.entries(self.root):
            if is_folder:
                queues: dict[int, ConsumeQueue | None] = {}
                for name, is_queue in self._files.entries(os.path.join(self.root, topic)):
                    if is_queue and name.isascii() and name.isdigit():
                        queues[int(name)] = None
                self._known[topic] = queues
        self._check_length()

    def _check_length(self) -> None:
        for topic, queues in self._known.items():
            for queue_id in queues:
                folder = self._folder(topic, queue_id)
                for name, is_folder in self._files.entries(folder):
                    path = os.path.join(folder, name)
                    length = 0 if is_folder else self._files.size(path)
                    if length:  # an empty one was about to be made in a crash
                        check_length(path, length, self.file_size, FILE_SIZE_KEY)
                        return

    def count_files(self) -> int:
        """How many files all queues have on disk."""
        count = 0
        for topic, queues in self._known.items():
            for queue_id in queues:
                entries = self._files.entries(self._folder(topic, queue_id))
                count += sum(not is_folder for _, is_folder in entries)
        return count

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
            self.open_queue(queue, self.waiting)
            queues[queue_id] = queue
        elif queue.log_begin != self._log.min_offset:
            self.correct_min(queue, self.waiting)
        return queue

    def view(self, topic: str, queue_id: int, reader: Reader) -> ConsumeQueue | None:
        """As `find`, for another thread: what is not in memory is read for this call only, and nothing is changed.

        Raises:
            StoreDamaged: its files cannot be used.
        """
        queues = self._known.get(topic)
        if queues is None or queue_id not in queues:
            return None
        queue = queues[queue_id]
        if queue is None:
            queue = ConsumeQueue(topic, queue_id, self._folder(topic, queue_id), IndexKeyHasher(topic))
            self.open_queue(queue, reader)
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
        return ConsumeQueue(topic, queue_id, self._folder(topic, queue_id), hasher)

    def _folder(self, topic: str, queue_id: int) -> str:
        return os.path.join(self.root, topic, str(queue_id))

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

    def loaded_ends(self, topic: str) -> list[tuple[int, int]]:
        """Numbers and ends of a topic's queues that were used since the store was opened; no file is looked at."""
        queues = self._known.get(topic, {})
        return [(queue_id, queue.max_offset) for queue_id, queue in queues.items() if queue is not None]

    # -- writing -------------------------------------------------------------------------------------------------

    def append(self, queue: ConsumeQueue, units: bytes | bytearray) -> None:
        """Add units to a queue's end, in memory; `write_tail` brings them to the file."""
        queue.memory[1].extend(units)
        queue.max_offset = queue.staged_next = queue.end_offset
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
        self._files_made += 1
        fd = self._pool.get(path)
        if position > start:
            write_all(self._files, fd, FILLER * ((position - start) // UNIT_BYTES), 0)
        for folder in (queue.folder, os.path.dirname(queue.folder), self.root):
            self.unsynced[folder + "/"] = None
        queue.starts = (*queue.starts, start)
        return fd

    def write_tails(self, limit: int | None = None) -> int:
        """Write the tails of the queues that wait longest, `limit` of them or all; returns how many still wait.

        Args:
            limit: one that needs a new file counts `_NEW_FILE_COUNTS`.

        Raises:
            OSError: the system refused.
        """
        before = self._files_made
        for done, queue in enumerate(list(islice(self.dirty, limit))):
            if limit is not None and done + (self._files_made - before) * (_NEW_FILE_COUNTS - 1) >= limit:
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
        queue.staged_next = offset
        queue.max_offset = min(queue.max_offset, offset)
        queue.min_offset = min(queue.min_offset, offset)

    def cut_behind(self, queue: ConsumeQueue, physical_offset: int) -> int | None:
        """Drop the units about bytes of the log at or behind an offset; gives where the queue ended if there were any.

        Raises:
            OSError: a file could not be read or written.
        """
        low, end = queue.min_offset, queue.end_offset
        high = end
        while low < high:
            middle = (low + high) // 2
            if self.unit(queue, middle, self.waiting)[0] < physical_offset:
                low = middle + 1
            else:
                high = middle
        if low >= end:
            return None
        self.cut(queue, low)
        return end

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
            if last_unit >= queue.memory[0] or self.unit(queue, last_unit, self.waiting)[0] >= log_min:
                break
            path = queue.path(queue.starts[0])
            self._pool.drop(path)
            queue.starts = queue.starts[1:]
            removed.append(path)
        self.correct_min(queue, self.waiting)
        return removed

    def close(self) -> None:
        """Close all descriptors; nothing is written."""
        self._pool.close()
        self.syncing.close()
