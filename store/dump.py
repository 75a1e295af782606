"""What is in a file of a store, value by value, for people: the engine of `rmqd dump`.

What it is for: reading any one file with the declared layouts, whether or not the store is open, and showing damage
where it is instead of stopping at it unsaid. What it must not do: write, lock, or be imported by what serves messages.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from typing import Any

from construct import ConstructError  # type: ignore[import-untyped]

from rmqwire.checksum import crc32
from rmqwire.dialect import BeanMap, loads
from rmqwire.errors import MalformedBody
from rmqwire.layouts import (
    BLANK,
    CHECKPOINT,
    CHECKPOINT_COUNTS,
    CHECKPOINT_MARK,
    CONSUME_QUEUE_UNIT,
    INDEX_ENTRY,
    INDEX_HEADER,
    INDEX_SLOT,
    MAGIC_BLANK,
    MAGIC_V1,
    MAGIC_V2,
    MESSAGE_RECORD,
)

from .errors import StoreError
from .timerdump import dump_timer_checkpoint, dump_timer_log, dump_timer_wheel

Values = dict[str, Any]

BODY_SHOWN_BYTES = 256
_UNIT_BYTES = 20
_INDEX_HEADER_BYTES = 40
_INDEX_ENTRY_BYTES = 20
_SLOT_BYTES = 4
_SLOTS_READ = 16_384


def dump_file(path: str, *, slot_num: int = 5_000_000, kind: str | None = None) -> Iterator[Values]:
    """The content of one file, in JSON-able dictionaries, each with its `kind`; binary ones also with the `position`.

    Args:
        path: a file under `commitlog`, `consumequeue/<topic>/<queue>`, `index` or `config`, or `checkpoint`.
        slot_num: `maxHashSlotNum` of an index file.
        kind: `commitlog`, `consumequeue`, `index`, `checkpoint`, `config`, `timerwheel`, `timerlog` or `timercheck`,
            when the path does not say it.

    Raises:
        StoreError: the file cannot be read, or what it is cannot be told.
    """
    kind = kind or file_kind(path)
    try:
        with open(path, "rb", buffering=0) as file:
            fd = file.fileno()
            if kind == "index":
                yield from _index(fd, slot_num)
            else:
                yield from _DUMPS[kind](fd, path)
    except OSError as error:
        raise StoreError(f"cannot read: {error.strerror}", file=path) from error


def file_kind(path: str) -> str:
    """What a file is, by its name and place.

    Raises:
        StoreError: it is none of a store's files.
    """
    full = os.path.abspath(path)
    name = os.path.basename(full)
    folder = os.path.basename(os.path.dirname(full))
    if name == "checkpoint":
        return "checkpoint"
    if name in ("timerwheel", "timercheck"):
        return name
    if folder == "timerlog":
        return folder
    if name.isdigit() and len(name) == 17:
        return "index"
    if name.isdigit() and len(name) == 20:
        return "consumequeue" if folder.isdigit() else "commitlog"
    if folder == "config" or name.removesuffix(".bak").endswith(".json"):
        return "config"
    text = "neither a commit log, consume queue, index, config or timer file nor a checkpoint by its name and folder"
    raise StoreError(text, file=path)


def _plain(container: Any) -> Values:
    """A container without what `construct` keeps for itself."""
    values: Values = {}
    for key, value in container.items():
        if key.startswith("_"):
            continue
        if hasattr(value, "items"):
            value = _plain(value)
        elif isinstance(value, int):
            value = int(value)
        values[key] = value
    return values


def _shown(body: bytes) -> str | Values:
    """A body as text when it is text, else the beginning in base64."""
    try:
        text = body[:BODY_SHOWN_BYTES].decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and (text or not body):
        return text
    return {"base64": base64.b64encode(body[:BODY_SHOWN_BYTES]).decode("ascii")}


def _commit_log(fd: int, path: str) -> Iterator[Values]:
    size = os.fstat(fd).st_size
    position = 0
    while position + 8 <= size:
        head = os.pread(fd, 8, position)
        length = int.from_bytes(head[:4], "big", signed=True)
        magic = int.from_bytes(head[4:], "big")
        if magic == MAGIC_BLANK:
            yield {"kind": "blank", "position": position, **_plain(BLANK.parse(head))}
            return
        if not any(head):
            yield {"kind": "end", "position": position, "remark": "nothing was written from here on"}
            return
        if magic not in (MAGIC_V1, MAGIC_V2) or not 91 <= length <= size - position:
            yield _damage(position, f"no record begins here (size {length}, magic {magic:08X})")
            return
        data = os.pread(fd, length, position)
        try:
            record = _plain(MESSAGE_RECORD.parse(data))
        except ConstructError as error:
            yield _damage(position, f"a record that cannot be read: {error}".splitlines()[0])
            return
        body = record.pop("body")
        properties = record.pop("properties")
        record["magic"] = f"{magic:08X}"
        yield {
            "kind": "message",
            "position": position,
            **record,
            "body_bytes": len(body),
            "body": _shown(body),
            "body_crc_right": crc32(body) & 0x7FFFFFFF == record["body_crc"],
            "properties": dict(piece.split("\x01", 1) for piece in _clean(properties).split("\x02") if "\x01" in piece),
            "topic": _clean(record["topic"]),
        }
        position += length


def _clean(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _consume_queue(fd: int, path: str) -> Iterator[Values]:
    name = os.path.basename(path)
    first = int(name) // _UNIT_BYTES if name.isdigit() else 0
    position = 0
    fillers = 0
    while True:
        data = os.pread(fd, _UNIT_BYTES, position)
        if len(data) < _UNIT_BYTES:
            return
        unit = _plain(CONSUME_QUEUE_UNIT.parse(data))
        if unit["size_bytes"] == 0x7FFFFFFF and unit["physical_offset"] == 0:
            fillers += 1
        else:
            if fillers:
                at = position - fillers * _UNIT_BYTES
                yield {"kind": "filler", "position": at, "units": fillers}
                fillers = 0
            if unit["size_bytes"] <= 0:
                yield {"kind": "end", "position": position, "remark": "nothing was written from here on"}
                return
            yield {"kind": "unit", "position": position, "queue_offset": first + position // _UNIT_BYTES, **unit}
        position += _UNIT_BYTES


def _index(fd: int, slot_num: int) -> Iterator[Values]:
    size = os.fstat(fd).st_size
    entries_at = _INDEX_HEADER_BYTES + slot_num * _SLOT_BYTES
    if size < entries_at:
        yield _damage(0, f"{size} bytes cannot hold {slot_num} slots; give the maxHashSlotNum of its broker")
        return
    header = _plain(INDEX_HEADER.parse(os.pread(fd, _INDEX_HEADER_BYTES, 0)))
    yield {"kind": "index_header", "position": 0, **header}
    yield from _index_slots(fd, slot_num)
    for number in range(1, header["index_count"]):
        at = entries_at + number * _INDEX_ENTRY_BYTES
        data = os.pread(fd, _INDEX_ENTRY_BYTES, at)
        if len(data) < _INDEX_ENTRY_BYTES:
            yield _damage(at, f"the header counts {header['index_count']} entries, but the file ends here")
            return
        entry = _plain(INDEX_ENTRY.parse(data))
        time_ms = header["begin_timestamp_ms"] + entry["seconds_since_begin"] * 1000
        yield {"kind": "index_entry", "position": at, "entry": number, **entry, "about_timestamp_ms": time_ms}


def _index_slots(fd: int, slot_num: int) -> Iterator[Values]:
    for first in range(0, slot_num, _SLOTS_READ):
        count = min(_SLOTS_READ, slot_num - first)
        data = os.pread(fd, count * _SLOT_BYTES, _INDEX_HEADER_BYTES + first * _SLOT_BYTES)
        if not any(data):
            continue
        for slot in range(count):
            piece = data[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES]
            if any(piece):
                at = _INDEX_HEADER_BYTES + (first + slot) * _SLOT_BYTES
                yield {"kind": "index_slot", "position": at, "slot": first + slot, **_plain(INDEX_SLOT.parse(piece))}


def _checkpoint(fd: int, path: str) -> Iterator[Values]:
    data = os.pread(fd, 4096, 0)
    if len(data) < 4096:
        yield _damage(0, f"{len(data)} bytes, a checkpoint has 4096")
        return
    values = _plain(CHECKPOINT.parse(data))
    values.pop("unused", None)
    counts, mark = values.pop("counts_bytes"), values.pop("mark_bytes")
    yield {"kind": "checkpoint", "position": 0, **values}
    if any(mark):
        try:
            found = _plain(CHECKPOINT_MARK.parse(mark))
        except ConstructError:
            yield _damage(4096 - len(mark), "neither zeros nor a mark")
            return
        right = found.pop("crc") == crc32(mark[:40]) & 0x7FFFFFFF
        for name in ("mark", "reserved", "padding"):
            found.pop(name)
        yield {"kind": "checkpoint_mark", "position": 4096 - len(mark), **found, "crc_right": right}
    if any(counts):
        at = 4096 - len(mark) - len(counts)
        try:
            found = _plain(CHECKPOINT_COUNTS.parse(counts))
        except ConstructError:
            yield _damage(at, "neither zeros nor counts of files")
            return
        right = found.pop("crc") == crc32(data[:48] + counts[:8] + mark) & 0x7FFFFFFF
        found.pop("padding")
        yield {"kind": "checkpoint_counts", "position": at, **found, "crc_right": right}


def _config(fd: int, path: str) -> Iterator[Values]:
    """One entry for each member of the tables in a state file, and one for what is no table."""
    try:
        tree = loads(os.pread(fd, os.fstat(fd).st_size, 0))
    except MalformedBody as error:
        yield _damage(0, f"not what the broker writes: {error}")
        return
    if not isinstance(tree, dict):
        yield {"kind": "value", "value": _jsonable(tree)}
        return
    for name, value in tree.items():
        if isinstance(value, dict) and name != "dataVersion":
            for key, member in value.items():
                yield {"kind": str(name), "key": key, "value": _jsonable(member)}
        else:
            yield {"kind": str(name), "value": _jsonable(value)}


def _jsonable(value: Any) -> Any:
    """A value without maps whose keys are objects, which become lists of pairs."""
    if isinstance(value, BeanMap):
        return [[_jsonable(key), _jsonable(member)] for key, member in value.pairs]
    if isinstance(value, dict):
        return {str(key): _jsonable(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_jsonable(member) for member in value]
    return value


def _damage(position: int, text: str) -> Values:
    return {"kind": "damage", "position": position, "remark": text}


_DUMPS: dict[str, Callable[[int, str], Iterator[Values]]] = {
    "commitlog": _commit_log,
    "consumequeue": _consume_queue,
    "checkpoint": _checkpoint,
    "config": _config,
    "timerwheel": dump_timer_wheel,
    "timerlog": dump_timer_log,
    "timercheck": dump_timer_checkpoint,
}
