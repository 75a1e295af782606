"""A lookup in the index: the chains of one key, newest file first.

A chain has an entry for each message with the key, and with keys that share its slot, so it may be as long as the file
has entries (all messages of a topic with one tag); what is asked for may lie at its end. A reader that does not wait
gives up after `HOT_STEPS_MAX` entries and leaves the rest to a thread. What this must not do: change a file.

Source: `IndexFile.selectPhyOffset`, `IndexService.queryOffset`.
"""

from __future__ import annotations

import sys

from .errors import ColdRead
from .fdpool import HotReader, Reader
from .indexfile import IndexFile

HOT_STEPS_MAX = 4096
"""Entries that a lookup looks at without a thread, in all files: 2 µs each."""


class IndexLookup:
    """Looks for one key; safe in any thread with a `ColdReader`, whatever is added meanwhile.

    Args:
        max_num: How many to find.
        begin_ms: Store time of the oldest one. end_ms: and of the newest one.

    Attributes:
        found: Physical offsets, newest first.
    """

    def __init__(self, key_hash: int, max_num: int, begin_ms: int, end_ms: int, reader: Reader) -> None:
        self._key_hash = key_hash
        self._max_num = max_num
        self._begin_ms = begin_ms
        self._end_ms = end_ms
        self._reader = reader
        self._steps_left = HOT_STEPS_MAX if isinstance(reader, HotReader) else sys.maxsize
        self.found: list[int] = []

    def in_file(self, file: IndexFile) -> bool:
        """Look in one file; says whether an older one may have more of what is asked for.

        Raises:
            ColdRead: As the reader, or there is too much to look at without a thread. OSError.
        """
        if file.overlaps(self._begin_ms, self._end_ms):
            self._walk(file)
        return file.header.begin_timestamp >= self._begin_ms and len(self.found) < self._max_num

    def _walk(self, file: IndexFile) -> None:
        key_hash, max_num, reader, found = self._key_hash, self._max_num, self._reader, self.found
        begin_ms, end_ms = self._begin_ms, self._end_ms
        number, count = file.newest(key_hash, reader)
        first_time = file.header.begin_timestamp
        while 0 < number < count and len(found) < max_num:
            if not self._steps_left:
                raise ColdRead(f"more than {HOT_STEPS_MAX} entries to look at", file=file.path)
            self._steps_left -= 1
            entry_hash, physical_offset, seconds, previous = file.entry(number, reader)
            if seconds < 0:
                return
            time_ms = first_time + seconds * 1000
            if entry_hash == key_hash and begin_ms <= time_ms <= end_ms:
                found.append(physical_offset)
            # A chain leads to ever lower numbers; as Java, one that is older than asked for ends it.
            if previous >= number or time_ms < begin_ms:
                return
            number = previous
