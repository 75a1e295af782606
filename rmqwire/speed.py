"""The compiled functions, where they were built; None where not.

What it is for: the callers take the compiled function when there is one and their own Python otherwise, which is
complete and the reference. With RMQD_PURE=1 in the environment nothing compiled is used. What it must not do: behave in
any way that the Python does not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

__all__ = [
    "Syncs",
    "add_keys",
    "append_units",
    "batch_answers",
    "crc32",
    "cut_frames",
    "keep_freed",
    "pack_batches",
    "pack_sends",
    "read_batches",
    "read_ext",
    "read_halves",
    "read_sends",
    "send_answers",
]

if TYPE_CHECKING:
    from rmqwire._speed import Syncs as SyncsType
    from rmqwire.frames import Frame

    Put = tuple[int, str, int, int, int, int, bytes, bytes, int, tuple[str, ...], int, int, int]
    """Opaque, topic, queue id, sys flag, born timestamp (ms), flag, body, properties with their last end, tags code,
    unique key and keys, kind; of an end of a transaction where its half message is in the log, and in its queue."""

    PackSends = Callable[..., tuple[bytes, bytes, int, int, int, int]]
    AppendUnits = Callable[
        [list[Any], dict[Any, None], tuple[Any, ...] | None, int], tuple[list[tuple[Any, bytes]], list[Any]]
    ]
    Batch = tuple[int, str, int, int, int, bytes]
    """Opaque, topic, queue id, sys flag, born timestamp (ms), body."""

    PackBatches = Callable[
        [list[Batch], int, list[Any], list[Any], list[Any], bytes, bytes, int, int, int, int, int, int, int],
        tuple[bytes, bytes, int, int],
    ]
    AddKeys = Callable[[list[Any], Any, bytearray, int, int, int, int, int], tuple[bytes, int, int, int]]

read_ext: Callable[[bytes], dict[str, str] | None] | None = None
"""Ext fields of a binary header; None for what is not plainly well-formed."""

add_keys: AddKeys | None = None
"""(messages, slots, changed pages, bits of a page, next number, limit, begin time, used slots) -> (entries, messages
done, next number, used slots); enters changed slots and pages in place"""

PUT_OPAQUE: Final = 0
PUT_TOPIC: Final = 1
PUT_QUEUE: Final = 2
PUT_KIND: Final = 10
PUT_HALF_OFFSET: Final = 12
"""Places in a `Put`."""

KIND_SEND, KIND_HALF, KIND_COMMIT, KIND_ROLLBACK = range(4)
"""What is put: the kinds of a `Put`."""

read_sends: Callable[[list[Frame], int], tuple[list[Put], list[int]]] | None = None
"""(frames, first) -> (the usual sends to one topic from there on and the ends of transactions between them, where in
the log the half messages of these are); a run ends before the first frame that is neither. `read_halves` makes puts of
the ends, which are none before."""

read_halves: Callable[[list[Put], bytes, int, bytes, bytes], int] | None = None
"""(requests, part of the log, where that begins, born host, topic field of half messages) -> how many requests from the
first on are usual; makes puts of their ends in place."""

pack_sends: PackSends | None = None
"""(puts, first, queues by id, queue of half messages, touched queues, keyed messages, record template, topic field,
that of half messages, broker's properties, store time, position, largest body, largest record, largest properties,
room)
-> (records, places, puts dealt with, messages stored, half messages among them, bytes of those); a place is physical
offset i64, queue offset i64, of sends and half messages. Stages their units and keys; stops before the first that
breaks a limit or has no queue."""

cut_frames: Callable[[bytes | memoryview, int, int], tuple[list[Frame], int]] | None = None
"""(bytes, largest frame length, place) -> (whole frames from there on, where the first begins that is not whole, or is
not one)"""

read_batches: Callable[[list[Frame], int], list[Batch]] | None = None
"""(frames, first) -> the usual batches to one topic from there on; a run ends before the first frame that is none."""

pack_batches: PackBatches | None = None
"""(batches, first, queues by id, touched queues, keyed messages, record template, topic field, store time, position,
largest batch, largest body, largest record, largest properties, room) -> (records, places, batches, messages); the
places of a batch are how many messages i64, queue offset of the first i64, physical offset of each i64. Stages their
units and hashed keys; stops before the first that is malformed, breaks a limit or has no queue."""

batch_answers: Callable[[tuple[bytes, ...], bytes, int, list[Batch], int, int, bytes], bytes] | None = None
"""(pieces of the header, host in hex, code, batches, first, how many, places) -> the answers as frames."""

append_units: AppendUnits | None = None
"""(touched queues, dirty queues, mappings with awaited topics or None for all, bytes that are many) -> (queues of
awaited topics with their new units, queues with many bytes of units in memory); makes visible what is staged."""

send_answers: Callable[[tuple[bytes, ...], int, list[Put], int, bytes], bytes] | None = None
"""(pieces of the header, code, puts, first, places) -> the answers to sends and half messages as frames."""

crc32: Callable[[bytes | bytearray | memoryview], int] | None = None
"""CRC-32 (IEEE 802.3) of a buffer, as `zlib.crc32`; callers take that of `rmqwire.checksum`."""

keep_freed: Callable[[int], bool] | None = None
"""Let the process keep so many freed bytes for what comes next; False where that cannot be said."""

Syncs: type[SyncsType] | None = None
"""(eventfd) -> a thread that syncs files without waiting for the interpreter; Linux only."""

if os.environ.get("RMQD_PURE", "") in ("", "0"):
    try:
        from rmqwire import _speed
    except ImportError:  # not built: no compiler was there
        pass
    else:
        read_ext, add_keys = _speed.read_ext, _speed.add_keys
        append_units, cut_frames, crc32 = _speed.append_units, _speed.cut_frames, _speed.crc32
        read_sends, read_halves = _speed.read_sends, _speed.read_halves
        pack_sends, send_answers = _speed.pack_sends, _speed.send_answers
        read_batches, pack_batches = _speed.read_batches, _speed.pack_batches
        batch_answers = _speed.batch_answers
        keep_freed = _speed.keep_freed
        Syncs = getattr(_speed, "Syncs", None)
