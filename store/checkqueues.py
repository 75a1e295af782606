"""Consume queues held against the records of the log, one after the other (`check`)."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmqwire.message import (
    SYS_FLAG_TRANSACTION_COMMIT,
    SYS_FLAG_TRANSACTION_MASK,
    SYS_FLAG_TRANSACTION_NOT,
    StoredMessage,
)
from rmqwire.properties import decode_properties

from .consumequeue import SCHEDULE_TOPIC, UNIT, UNIT_BYTES
from .dispatch import unit_tags_code
from .fdpool import DescriptorPool

if TYPE_CHECKING:
    from .check import Finding
    from .files import Files

_OPEN_FILES_MAX = 64
_CHUNK_BYTES = 512 * UNIT_BYTES


@dataclass
class _Queue:
    """What is known of one queue; offsets are logical."""

    folder: str
    starts: frozenset[int]
    chunk_at: int = -1
    chunk: bytes = b""
    next_offset: int = 0
    missing: int = 0
    first_missing: int = -1
    wrong: int = 0
    first_wrong: str = ""


class QueueCheck:
    """Asks of each record whether its queue has a right unit for it.

    Args:
        root: The store's folder.
        topics: Those there are; records of others need no unit. None: all.
        findings: Where to put what is found.
        clean: Whether the store was closed in order, so that nothing may be missing.
    """

    def __init__(
        self, root: str, files: Files, topics: frozenset[str] | None, findings: list[Finding], *, clean: bool
    ) -> None:
        self._files = files
        self._topics = topics
        self._findings = findings
        self._clean = clean
        self._pool = DescriptorPool(files, _OPEN_FILES_MAX)
        self._root = os.path.join(root, "consumequeue")
        self._queues: dict[tuple[str, int], _Queue] = {}
        self.file_size = 0
        self._list()

    def _list(self) -> None:
        found: dict[str, dict[str, int]] = {}
        sizes: Counter[int] = Counter()
        for folder, _, names in os.walk(self._root):
            parts = os.path.relpath(folder, self._root).split(os.sep)
            if len(parts) != 2 or not parts[1].isdigit():
                for name in names:
                    self._found(os.path.join(folder, name), "no file belongs there", derived=False)
                continue
            found[folder] = {name: os.path.getsize(os.path.join(folder, name)) for name in names}
            sizes.update(size for size in found[folder].values() if size)
        self.file_size = sizes.most_common(1)[0][0] if sizes else 0
        for folder, names_and_sizes in sorted(found.items()):
            topic, number = os.path.relpath(folder, self._root).split(os.sep)
            starts = set()
            for name, size in sorted(names_and_sizes.items()):
                if not (name.isdigit() and len(name) == 20 and size == self.file_size and int(name) % size == 0):
                    text = f"{size} bytes at that name, where others have {self.file_size}"
                    self._found(os.path.join(folder, name), text)
                else:
                    starts.add(int(name))
            self._queues[topic, int(number)] = _Queue(folder, frozenset(starts))

    def _found(self, path: str, text: str, *, derived: bool = True, serious: bool = True) -> None:
        from .check import Finding

        self._findings.append(Finding(path, text, derived, serious))

    def record(self, record: StoredMessage) -> None:
        """Look at a record, in the order of the log."""
        if record.sys_flag & SYS_FLAG_TRANSACTION_MASK not in (SYS_FLAG_TRANSACTION_NOT, SYS_FLAG_TRANSACTION_COMMIT):
            return
        queue = self._queues.get((record.topic, record.queue_id))
        if queue is None:
            if self._topics is not None and record.topic not in self._topics:
                return
            folder = os.path.join(self._root, record.topic, str(record.queue_id))
            queue = self._queues[record.topic, record.queue_id] = _Queue(folder, frozenset())
        queue.next_offset = max(queue.next_offset, record.queue_offset + 1)
        unit = self._unit(queue, record.queue_offset)
        if unit is None or unit[1] <= 0:
            queue.missing += 1
            if queue.first_missing < 0:
                queue.first_missing = record.queue_offset
            return
        position, size, code = unit
        if position > record.physical_offset:
            return  # the topic was deleted and made anew: the offset is that of a later record, which is looked at too
        right = (position, size) == (record.physical_offset, record.size)
        if right and record.topic != SCHEDULE_TOPIC:
            right = code == unit_tags_code(
                record.topic, decode_properties(record.properties), record.store_timestamp, None
            )
        if not right:
            queue.wrong += 1
            queue.first_wrong = queue.first_wrong or (
                f"that of offset {record.queue_offset} says {position}, {size} bytes, tags {code},"
                f" and the record is at {record.physical_offset}, {record.size} bytes"
            )

    def _unit(self, queue: _Queue, offset: int) -> tuple[int, int, int] | None:
        at = offset * UNIT_BYTES
        if not queue.chunk_at <= at < queue.chunk_at + len(queue.chunk):
            if offset < 0 or not self.file_size or at - at % self.file_size not in queue.starts:
                return None
            start = at - at % self.file_size
            fd = self._pool.get(f"{queue.folder}/{start:020d}")
            queue.chunk_at = at
            queue.chunk = self._files.pread(fd, min(_CHUNK_BYTES, start + self.file_size - at), at - start)
        return UNIT.unpack_from(queue.chunk, at - queue.chunk_at)

    def finish(self, log_begin: int, log_end: int) -> None:
        """Say what was found of each queue, and look behind the last unit of each."""
        for queue in self._queues.values():
            if queue.wrong:
                self._found(queue.folder, f"{queue.wrong} units are wrong; {queue.first_wrong}")
            if queue.missing:
                text = f"{queue.missing} units are missing, the first at offset {queue.first_missing}"
                self._found(queue.folder, text, serious=self._clean)
            unit = self._unit(queue, queue.next_offset) if queue.next_offset else None
            if unit is not None and unit[1] > 0 and unit[0] >= log_begin:
                text = f"the unit at offset {queue.next_offset} tells of {unit[0]}, where the log has no record of it"
                self._found(queue.folder, text, serious=unit[0] < log_end or self._clean)
        self._pool.close()
