"""Choosing messages by their properties: records are read a little ahead and looked at one by one.

What it is for: pulls whose filter the consume queue cannot answer. What it must not do: judge; the question is asked
of a callable, in whatever thread reads.

Source: `ExpressionMessageFilter.isMatchedByCommitLog`, 5.3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from rmqwire.errors import MalformedMessage
from rmqwire.properties import decode_properties
from rmqwire.record_fields import record_properties

from .commitlog import CommitLog

Accepts: TypeAlias = "Callable[[Mapping[str, str]], bool]"
Unit: TypeAlias = "tuple[int, int, int]"
"""Of a consume queue: physical offset, size, tags code."""

AHEAD_BYTES = 64 * 1024
"""Records that are read at once; one that is larger is read alone."""

AHEAD_UNITS = 128

LOOKED_AT_MAX_BYTES = 4 * 1024 * 1024
"""Most that one pull reads through in search of what it wants, so that large messages cannot make it take long; the
consumer asks again at once, from where it ended."""

WANTED, UNWANTED = 1, 0
WANTED_ONLY = frozenset((WANTED,))


def judged(
    units: Sequence[Unit],
    accepts: Accepts,
    log: CommitLog,
    read_records: Callable[[list[tuple[int, int]]], bytes],
) -> Iterator[Unit]:
    """Give the units with `WANTED` or `UNWANTED` in place of their tags code, each when it is asked for.

    Ends before the last one when `LOOKED_AT_MAX_BYTES` have been looked at. Units whose records are gone are wanted:
    what to make of them is the caller's business.

    Raises:
        ColdRead: The reader does not wait, and a page is not in the page cache.
    """
    looked_at_bytes = 0
    ahead: list[bytes] = []
    for index, (physical_offset, size, _) in enumerate(units):
        if looked_at_bytes >= LOOKED_AT_MAX_BYTES:
            return
        if not ahead:
            if physical_offset < log.min_offset or not log.has(physical_offset):
                yield physical_offset, size, WANTED
                continue
            try:
                ahead = _ahead(units[index : index + AHEAD_UNITS], log, read_records)
            except FileNotFoundError:  # retention was faster
                yield physical_offset, size, WANTED
                continue
        record = ahead.pop()
        looked_at_bytes += size
        yield physical_offset, size, WANTED if _is_wanted(record, accepts) else UNWANTED


def _is_wanted(record: bytes, accepts: Accepts) -> bool:
    try:
        properties = record_properties(record)
    except MalformedMessage:
        return False  # the unit does not point at a record: nobody could read that message
    return accepts(decode_properties(properties))


def _ahead(
    units: Sequence[Unit], log: CommitLog, read_records: Callable[[list[tuple[int, int]]], bytes]
) -> list[bytes]:
    """Read the records of the next units, at least one, last first."""
    chosen: list[tuple[int, int]] = []
    total = end = 0
    for physical_offset, size, _ in units:
        total += size
        if chosen and (total > AHEAD_BYTES or physical_offset < end or not log.has(physical_offset)):
            break
        chosen.append((physical_offset, size))
        end = physical_offset + size
    data = read_records(chosen)
    records = []
    position = 0
    for _, size in chosen:
        records.append(data[position : position + size])
        position += size
    records.reverse()
    return records
