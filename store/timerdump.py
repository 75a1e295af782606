"""The timer's files as values, for `rmqd dump`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from rmqwire.layouts_timer import TIMER_BLANK, TIMER_CHECKPOINT, TIMER_CHECKPOINT_MARK, TIMER_SLOT, TIMER_UNIT

from .timercheckpoint import CHECKPOINT_BYTES, TimerCheckpoint
from .timerlog import BLANK_MAGIC, UNIT_BYTES, decode_unit
from .timerwheel import SLOT_BYTES

Values = dict[str, Any]

_MARK_BYTES = 40
_READ_SLOTS = 16_384


def dump_timer_wheel(fd: int, path: str) -> Iterator[Values]:
    """Slots in use, in the order of the file."""
    size = os.fstat(fd).st_size
    for start in range(0, size, _READ_SLOTS * SLOT_BYTES):
        data = os.pread(fd, _READ_SLOTS * SLOT_BYTES, start)
        if not any(data):
            continue
        for at in range(0, len(data) - SLOT_BYTES + 1, SLOT_BYTES):
            piece = data[at : at + SLOT_BYTES]
            if any(piece):
                yield {"kind": "timer_slot", "position": start + at, **_plain(TIMER_SLOT.parse(piece))}
    if size % SLOT_BYTES:
        yield {"kind": "damage", "position": size - size % SLOT_BYTES, "remark": "a part of a slot"}


def dump_timer_log(fd: int, path: str) -> Iterator[Values]:
    """Units up to the filler, or to where the file was not written; positions are of the whole log."""
    name = os.path.basename(path)
    begin = int(name) if name.isdigit() else 0
    position, size = 0, os.fstat(fd).st_size
    while position + TIMER_BLANK.sizeof() <= size:
        data = os.pread(fd, UNIT_BYTES, position)
        if not any(data):
            return
        if int.from_bytes(data[12:16], "big", signed=True) == BLANK_MAGIC:
            yield {"kind": "timer_blank", "position": begin + position, **_plain(TIMER_BLANK.parse(data))}
            return
        if len(data) < UNIT_BYTES or decode_unit(data) is None:
            yield {"kind": "damage", "position": begin + position, "remark": "neither a unit nor a filler"}
            return
        yield {"kind": "timer_unit", "position": begin + position, **_plain(TIMER_UNIT.parse(data))}
        position += UNIT_BYTES


def dump_timer_checkpoint(fd: int, path: str) -> Iterator[Values]:
    """The fields, and our mark if there is one."""
    data = os.pread(fd, CHECKPOINT_BYTES, 0)
    if len(data) < CHECKPOINT_BYTES:
        yield {"kind": "damage", "position": 0, "remark": f"{len(data)} bytes, a timer checkpoint has 4096"}
        return
    values = _plain(TIMER_CHECKPOINT.parse(data))
    mark = values.pop("mark_bytes")
    yield {"kind": "timer_checkpoint", "position": 0, **values}
    decoded = TimerCheckpoint.decode(data)
    if decoded.precision_ms:
        found = _plain(TIMER_CHECKPOINT_MARK.parse(mark))
        shown = {name: found[name] for name in ("log_end", "queue_offset", "precision_ms")}
        at = CHECKPOINT_BYTES - _MARK_BYTES
        yield {"kind": "timer_checkpoint_mark", "position": at, **shown, "agrees": decoded.complete}
    elif any(mark):
        yield {"kind": "damage", "position": CHECKPOINT_BYTES - _MARK_BYTES, "remark": "neither zeros nor a mark"}


def _plain(container: Any) -> Values:
    return {
        key: int(value) if isinstance(value, int) else value
        for key, value in container.items()
        if not key.startswith("_") and value is not None
    }
