"""Index files held against the log (`check`): every entry tells of a record that has such a key."""

from __future__ import annotations

import enum
import os
import struct
from array import array
from typing import TYPE_CHECKING

from rmqwire.errors import MalformedMessage
from rmqwire.hashing import IndexKeyHasher
from rmqwire.layouts import INDEX_HEADER
from rmqwire.message import SYS_FLAG_TRANSACTION_MASK, SYS_FLAG_TRANSACTION_ROLLBACK, StoredMessage, decode_record
from rmqwire.properties import PROPERTY_TAGS, decode_properties, message_keys

from .fdpool import DescriptorPool, WaitingReader
from .indexfile import ENTRY_BYTES, HEADER_BYTES
from .indexslots import SLOT_BYTES, read_slots

if TYPE_CHECKING:
    from .check import Finding
    from .commitlog import CommitLog
    from .files import Files

_ENTRY = struct.Struct(">iqii")
_CHUNK_ENTRIES = 4096
_OPEN_FILES_MAX = 8


class IndexCheck:
    """Counts the keys of records, and looks every entry up.

    Args:
        folder: The folder `index`.
        slot_num: `maxHashSlotNum`.
        findings: Where to put what is found.
        clean: Whether the store was closed in order, so that nothing may be missing.
    """

    def __init__(self, folder: str, slot_num: int, files: Files, findings: list[Finding], *, clean: bool) -> None:
        self._folder = folder
        self._slots_end = HEADER_BYTES + slot_num * SLOT_BYTES
        self._slot_num = slot_num
        self._files = files
        self._findings = findings
        self._clean = clean
        self._pool = DescriptorPool(files, _OPEN_FILES_MAX)
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        self._paths = [os.path.join(folder, name) for name in names]
        self._begin = self._begin_of(self._paths[0]) if self._paths else 0
        self._keys = 0

    def _begin_of(self, path: str) -> int:
        header = self._files.pread(self._pool.get(path), HEADER_BYTES, 0)
        return int(INDEX_HEADER.parse(header).begin_physical_offset) if len(header) == HEADER_BYTES else 0

    def _found(self, path: str, text: str, *, serious: bool = True) -> None:
        from .check import Finding

        self._findings.append(Finding(path, text, True, serious))

    def record(self, record: StoredMessage) -> None:
        """Count the keys of a record that is to be in these files."""
        if self._paths and record.physical_offset >= self._begin:
            self._keys += len(_keys_of(record)[0])

    def finish(self, log: CommitLog, log_end: int) -> None:
        """Look at every entry."""
        entries = sum(self._file(path, log, log_end) for path in self._paths)
        if entries < self._keys:
            text = f"{self._keys - entries} of {self._keys} keys are missing"
            self._found(self._folder, text, serious=self._clean)
        self._pool.close()

    def _file(self, path: str, log: CommitLog, log_end: int) -> int:
        """Check one file; give how many of its entries tell of what the log still has."""
        length = os.path.getsize(path)
        entries_max = (length - self._slots_end) // ENTRY_BYTES
        if entries_max <= 0 or (length - self._slots_end) % ENTRY_BYTES:
            text = (
                f"{length} bytes are no index of {self._slot_num} slots (maxHashSlotNum): give --slots as it was made"
            )
            self._found(path, text)
            return 0
        fd = self._pool.get(path)
        count = INDEX_HEADER.parse(self._files.pread(fd, HEADER_BYTES, 0)).index_count
        if not 0 <= count <= entries_max:
            self._found(path, f"{count} entries, of at most {entries_max}")
            return 0
        alive = wrong = loose = 0
        first_wrong = ""
        newest = array("i", bytes(4 * self._slot_num))
        for first in range(1, max(count, 1), _CHUNK_ENTRIES):
            size = min(_CHUNK_ENTRIES, count - first) * ENTRY_BYTES
            data = self._files.pread(fd, size, self._slots_end + first * ENTRY_BYTES)
            for number, (key_hash, position, _, before) in enumerate(_ENTRY.iter_unpack(data), first):
                slot = key_hash % self._slot_num
                loose += before != newest[slot]
                newest[slot] = number
                if position < log.min_offset:
                    continue
                found = None if position >= log_end else _has_key(log, self._files, position, key_hash)
                alive += found is not _Found.TAGS  # which brokers before 5.5 leave out
                if found is None:
                    wrong += 1
                    first_wrong = first_wrong or f"entry {number} tells of {position}"
        if wrong:
            self._found(path, f"{wrong} entries tell of records that have no such key; {first_wrong}")
        slots = array("i", bytes(4 * self._slot_num))
        for start, values in read_slots(self._files, fd, HEADER_BYTES, self._slot_num):
            slots[start : start + len(values)] = values
        if slots != newest:
            loose += sum(one != other for one, other in zip(slots, newest, strict=True))
        if loose:
            self._found(path, f"{loose} chains of entries are broken", serious=self._clean)
        return alive


class _Found(enum.Enum):
    """What of a record an entry is of."""

    KEY = 1
    TAGS = 2


def _keys_of(record: StoredMessage) -> tuple[list[str], list[str]]:
    """The keys that are in every index, and those of tags."""
    if record.sys_flag & SYS_FLAG_TRANSACTION_MASK == SYS_FLAG_TRANSACTION_ROLLBACK:
        return [], []
    keys = message_keys(decode_properties(record.properties))
    tags = [key for key in keys[-1:] if PROPERTY_TAGS in decode_properties(record.properties)]
    return keys[: len(keys) - len(tags)], tags


def _has_key(log: CommitLog, files: Files, position: int, key_hash: int) -> _Found | None:
    reader = WaitingReader(files, log.pool)
    if not log.has(position):
        return None
    left = log.start_of(position) + log.file_size - position
    size = int.from_bytes(log.read(reader, position, 4), "big", signed=True) if left >= 4 else 0
    if not 0 < size <= left:
        return None
    try:
        record = decode_record(log.read(reader, position, size), 0)
    except MalformedMessage:
        return None
    hasher = IndexKeyHasher(record.topic)
    keys, tags = _keys_of(record)
    if any(hasher.index_hash(key) == key_hash for key in keys):
        return _Found.KEY
    return _Found.TAGS if any(hasher.index_hash(key) == key_hash for key in tags) else None
