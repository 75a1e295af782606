"""A small RocksDB database, read without RocksDB: what brokers of 5.x keep topics, groups and offsets in.

What it is for: `mqadmin exportMetadataInRocksDB` and `rocksDBConfigToJson -p`. The whole of one column family is held
in memory. What it must not do: write, or lock. Files that vanish, as a broker that runs may delete some, are told.

`CURRENT` names the manifest, a log of edits that say which tables are live and from which write-ahead log on; a log is
blocks of 32 KiB with records of `crc u32 | length u16 | type u8`, a record of a write-ahead log is `sequence u64 |
count u32 | operations`. Damaged records of write-ahead logs are passed over, as the broker does
(`SkipAnyCorruptedRecords`).

Source: RocksDB 8, `db/log_format.h`, `db/version_edit.cc`, `db/write_batch.cc`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .errors import StoreDamaged
from .rockstable import Entry, masked_crc32c, read_slice, read_table, read_varint

_MANIFEST = re.compile(rb"MANIFEST-\d+")
_BLOCK_BYTES = 32768
_HEADER = struct.Struct("<IHB")
_RECYCLED_HEADER_BYTES = 11
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_RECYCLED = 4
"""Added to a type whose header also tells the log's number."""

_DELETION, _VALUE, _MERGE, _LOG_DATA, _SINGLE_DELETION = 0, 1, 2, 3, 7
_OF_FAMILY = {4: _DELETION, 5: _VALUE, 6: _MERGE, 8: _SINGLE_DELETION}
_NOOP = 13
_DELETIONS = (_DELETION, _SINGLE_DELETION)

_COMPARATOR, _LOG_NUMBER, _COMPACT_CURSOR, _DELETED_FILE = 1, 2, 5, 6
_NUMBERS = (3, 4, 9, 10, 203, 300)
"""Tags with one number that is not needed: next file, last sequence, previous log, least log, largest family, group."""
_NEW_FILE_2, _NEW_FILE_3, _NEW_FILE_4 = 100, 102, 103
_FAMILY, _FAMILY_ADD, _FAMILY_DROP = 200, 201, 202
_IGNORABLE = 1 << 13


def read_database(folder: Path, family: str = "default") -> list[tuple[bytes, bytes]]:
    """Every key of a column family and its value, by key.

    Raises:
        StoreDamaged: it is no database, it is damaged, or it uses what is not known here.
        OSError: a file cannot be read.
    """
    versions = _Versions()
    current = folder / "CURRENT"
    name = current.read_bytes().strip()
    if not _MANIFEST.fullmatch(name):
        raise StoreDamaged("it names no manifest", file=str(current))
    manifest = folder / name.decode()
    edits = 0
    try:
        for record in _records(manifest.read_bytes(), str(manifest), lenient=False):
            versions.apply(record, str(manifest))
            edits += 1
    except (IndexError, struct.error) as cause:
        raise StoreDamaged("an edit ends too early", file=str(manifest)) from cause
    if not edits:  # a new database has some at once
        raise StoreDamaged("a manifest without an edit", file=str(manifest))
    wanted = next((number for number, name in versions.families.items() if name == family), None)
    if wanted is None:
        raise StoreDamaged(f"no column family {family}", file=str(manifest))
    newest: dict[bytes, tuple[int, int, bytes]] = {}
    for key, sequence, kind, value in _all_entries(folder, versions.of(wanted), wanted):
        before = newest.get(key)
        if before is None or before[0] <= sequence:
            newest[key] = sequence, kind, value
    found = []
    for key, (_, kind, value) in sorted(newest.items()):
        if kind == _VALUE:
            found.append((key, value))
        elif kind not in _DELETIONS:
            raise StoreDamaged(f"an entry of type {kind}, which needs RocksDB itself", file=str(folder))
    return found


def _all_entries(folder: Path, live: _Live, family: int) -> Iterator[Entry]:
    for number in sorted(live.tables):
        path = folder / f"{number:06d}.sst"
        yield from read_table(path.read_bytes(), str(path))
    for path in sorted(folder.glob("*.log")):
        if path.stem.isdigit() and int(path.stem) >= live.log_number:
            for record in _records(path.read_bytes(), str(path), lenient=True, log_number=int(path.stem)):
                try:
                    yield from _operations(record, family, str(path))
                except (IndexError, struct.error) as cause:
                    raise StoreDamaged("a batch ends too early", file=str(path)) from cause


# -- logs ----------------------------------------------------------------------------------------------------------


def _records(data: bytes, file: str, *, lenient: bool, log_number: int = 0) -> Iterator[bytes]:
    """The records of a log, put together from their fragments.

    Raises:
        StoreDamaged: a fragment does not match its checksum, unless lenient: then the rest of its block is passed over.
    """
    parts: list[bytes] | None = None
    for block_at in range(0, len(data), _BLOCK_BYTES):
        block = data[block_at : block_at + _BLOCK_BYTES]
        at = 0
        while at + _HEADER.size <= len(block):
            crc, length, kind = _HEADER.unpack_from(block, at)
            if kind == 0 and length == 0:
                break  # filled up
            recycled = _FULL + _RECYCLED <= kind <= _LAST + _RECYCLED
            begin = at + (_RECYCLED_HEADER_BYTES if recycled else _HEADER.size)
            end = begin + length
            if end > len(block) or masked_crc32c(block[at + 6 : end]) != crc:
                if not lenient:
                    raise StoreDamaged("a record that does not match its checksum", file=file, position=block_at + at)
                parts = None
                break
            if recycled:
                if int.from_bytes(block[at + 7 : begin], "little") != log_number & 0xFFFFFFFF:
                    return  # left over from the log that this file was before
                kind -= _RECYCLED
            at = end
            piece = block[begin:end]
            if kind == _FULL:
                yield piece
            elif kind == _FIRST:
                parts = [piece]
            elif parts is not None and kind in (_MIDDLE, _LAST):
                parts.append(piece)
                if kind == _LAST:
                    yield b"".join(parts)
                    parts = None


def _operations(batch: bytes, family: int, file: str) -> Iterator[Entry]:
    """What a batch did to a column family. Raises `IndexError` when it ends too early."""
    sequence = int.from_bytes(batch[:8], "little")
    at = 12
    while at < len(batch):
        kind = batch[at]
        at += 1
        if kind == _NOOP:
            continue
        if kind == _LOG_DATA:
            _, at = read_slice(batch, at)
            continue
        of = 0
        if kind in _OF_FAMILY:
            of, at = read_varint(batch, at)
            kind = _OF_FAMILY[kind]
        if kind not in (_DELETION, _VALUE, _MERGE, _SINGLE_DELETION):
            raise StoreDamaged(f"an operation of type {kind}, which needs RocksDB itself", file=file)
        key, at = read_slice(batch, at)
        value = b""
        if kind in (_VALUE, _MERGE):
            value, at = read_slice(batch, at)
        if of == family:
            yield key, sequence, kind, value
        sequence += 1


# -- the manifest --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Live:
    """What a column family consists of."""

    tables: set[int] = field(default_factory=set)
    log_number: int = 0
    """The first write-ahead log with what is in no table yet."""


class _Versions:
    """The edits of a manifest, added up."""

    def __init__(self) -> None:
        self.families = {0: "default"}
        self._live: dict[int, _Live] = {}

    def of(self, family: int) -> _Live:
        """What a family consists of now."""
        return self._live.setdefault(family, _Live())

    def apply(self, edit: bytes, file: str) -> None:
        """Apply one edit. Raises `IndexError` when it ends too early, `StoreDamaged` for a tag that is not known."""
        at, family = 0, 0
        added: list[int] = []
        removed: list[int] = []
        log_number: int | None = None
        while at < len(edit):
            tag, at = read_varint(edit, at)
            if tag == _COMPARATOR:
                _, at = read_slice(edit, at)
            elif tag == _LOG_NUMBER:
                log_number, at = read_varint(edit, at)
            elif tag in _NUMBERS:
                _, at = read_varint(edit, at)
            elif tag == _COMPACT_CURSOR:
                _, at = read_varint(edit, at)
                _, at = read_slice(edit, at)
            elif tag == _DELETED_FILE:
                _, at = read_varint(edit, at)
                number, at = read_varint(edit, at)
                removed.append(number)
            elif tag in (_NEW_FILE_2, _NEW_FILE_3, _NEW_FILE_4):
                number, at = _new_file(edit, at, tag)
                added.append(number)
            elif tag == _FAMILY:
                family, at = read_varint(edit, at)
            elif tag == _FAMILY_ADD:
                name, at = read_slice(edit, at)
                self.families[family] = name.decode("utf-8", "replace")
            elif tag == _FAMILY_DROP:
                self.families.pop(family, None)
            elif tag & _IGNORABLE:
                _, at = read_slice(edit, at)
            else:
                raise StoreDamaged(f"an edit with tag {tag}, which needs RocksDB itself", file=file)
        live = self.of(family)
        live.tables.difference_update(removed)
        live.tables.update(added)
        if log_number is not None:
            live.log_number = max(live.log_number, log_number)


def _new_file(edit: bytes, at: int, tag: int) -> tuple[int, int]:
    """The number of a new table, and the position behind its description."""
    _, at = read_varint(edit, at)  # level
    number, at = read_varint(edit, at)
    if tag == _NEW_FILE_3:
        _, at = read_varint(edit, at)  # path
    _, at = read_varint(edit, at)  # size
    for _ in range(2):  # smallest and largest key
        _, at = read_slice(edit, at)
    for _ in range(2):  # smallest and largest sequence
        _, at = read_varint(edit, at)
    while tag == _NEW_FILE_4:
        more, at = read_varint(edit, at)
        if more == 1:
            break
        _, at = read_slice(edit, at)
    return number, at
