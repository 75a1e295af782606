"""The index by key over all its files: which messages of a topic carry a key.

What it is for: keys of new messages wait in memory until there are enough of them, and are then hashed and added in
one go; lookups go from the newest file to the oldest. What it must not do: read messages.

Crash guarantee: derived. The checkpoint names the file and the number of entries that were synced; above that
entries are dropped at recovery and made again from the log.

Source: `IndexService`, 4.7.0 and 5.3.4.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from rmqwire.hashing import IndexKeyHasher

from .consumequeue import ConsumeQueue
from .fdpool import DescriptorPool, HotReader, Reader, WaitingReader
from .files import Files, remove_file
from .indexfile import IndexFile
from .indexlookup import IndexLookup
from .keyed import KeyedMessage, hashes_of, without_first

BUILD_AFTER = 512
"""Messages whose keys wait before they are added without being asked for."""
_OPEN_FILES_MAX = 16


def index_file_name(time_ms: int) -> str:
    """17 digits of local time, `yyyyMMddHHmmssSSS`."""
    return time.strftime("%Y%m%d%H%M%S", time.localtime(time_ms // 1000)) + f"{time_ms % 1000:03d}"


class KeyIndex:
    """All index files of a store.

    Args:
        folder: `index` under the root.
        record_timestamp: store time of the record at an offset, or -1; for putting a header right after a crash.
    """

    def __init__(
        self,
        files: Files,
        folder: str,
        slot_num: int,
        index_num: int,
        *,
        wall_clock_ms: Callable[[], int],
        record_timestamp: Callable[[int], int],
    ) -> None:
        self._files = files
        self._folder = folder
        self._slot_num = slot_num
        self._index_num = index_num
        self._wall_clock_ms = wall_clock_ms
        self._record_timestamp = record_timestamp
        self._pool = DescriptorPool(files, _OPEN_FILES_MAX)
        self.hot = HotReader(files, self._pool)
        self._waiting_reader = WaitingReader(files, self._pool)
        self.files: list[IndexFile] = []
        """Oldest first."""
        self._last_in_doubt = False  # whether all keys of the last message are there
        self._full: list[IndexFile] = []  # not wholly written yet
        self._writing: list[IndexFile] = []
        self.pending: list[KeyedMessage] = []
        """Messages that wait to be added, in the order of the log."""
        self.unsynced: dict[str, None] = {}
        """Files (and the folder, ending in a slash) written to since the last checkpoint."""

    def load(self) -> None:
        """Read the headers of all files.

        Raises:
            StoreDamaged: a file has a wrong length. OSError.
        """
        for name, is_folder in self._files.entries(self._folder):
            path = os.path.join(self._folder, name)
            if is_folder or len(name) != 17 or not name.isdigit():
                continue
            if self._files.size(path) == 0:  # a crash between making it and setting its length
                remove_file(self._files, path)
                continue
            file = IndexFile(self._files, self._pool, path, self._slot_num, self._index_num)
            file.load()
            self.files.append(file)

    # -- adding --------------------------------------------------------------------------------------------------

    def add(self, queue: ConsumeQueue, physical_offset: int, store_timestamp: int, keys: Sequence[str]) -> None:
        """Index one message that was read back from the log. Raises `OSError`."""
        self.pending.append((queue.hasher, physical_offset, store_timestamp, keys))
        if len(self.pending) >= BUILD_AFTER:
            self.build()

    def holds(self, physical_offset: int) -> bool:
        """Whether the message of an offset was indexed before."""
        if self.pending and self.pending[-1][1] >= physical_offset:
            return True
        for file in reversed(self.files[-2:]):
            if file.header.index_count > 1:
                last = file.header.end_physical_offset
                return physical_offset < last or (physical_offset == last and not self._last_in_doubt)
        return False

    def build(self) -> None:
        """Add the messages that wait, all keys of each.

        Raises:
            OSError: a file could not be made or written; what is not added still waits.
        """
        pending = self.pending
        if pending:
            self._last_in_doubt = False
        while pending:
            file = self._file_for(pending[0])
            done = file.add_all(pending)
            if done:
                del pending[:done]
            else:
                self._add_across(file)
            file.write_entries()

    def _file_for(self, message: KeyedMessage) -> IndexFile:
        file = self.files[-1] if self.files else None
        if file is None or file.is_full:
            file = self._next_file(file)
        else:
            file.open_for_writing()
        self.unsynced[file.path] = None
        return file

    def _next_file(self, last: IndexFile | None) -> IndexFile:
        begin_timestamp = begin_offset = 0
        if last is not None:
            begin_timestamp, begin_offset = last.header.end_timestamp, last.header.end_physical_offset
        else:
            self._files.make_directories(self._folder)
        now = self._wall_clock_ms()
        name = index_file_name(now)
        while last is not None and name <= os.path.basename(last.path):  # names ascend, whatever the clock does
            name = f"{int(os.path.basename(last.path)) + 1:017d}"
        path = os.path.join(self._folder, name)
        file = IndexFile(self._files, self._pool, path, self._slot_num, self._index_num)
        file.create(begin_timestamp, begin_offset)
        if last is not None:
            self._full.append(last)
        self.files = [*self.files, file]
        self.unsynced[self._folder + "/"] = None
        return file

    def _add_across(self, file: IndexFile) -> None:
        """Add keys of the first that waits until the file is full; the rest of it waits for the next file."""
        message = self.pending[0]
        for count, (key_hash, physical_offset) in enumerate(hashes_of(message)):
            if file.is_full:
                self.pending[0] = without_first(message, count)
                return
            file.add(key_hash, physical_offset, message[2])
        del self.pending[0]

    def write_plan(self) -> Callable[[], None] | None:
        """Bring everything that is only in memory to the files: some at once, the rest by the job, for a thread.

        Returns:
            None when there is nothing to write. After the job `written` or `write_failed` must be called.

        Raises:
            OSError: the system refused what is written at once.
        """
        self.build()
        jobs = []
        for file in [*self._full, *self.files[-1:]]:
            try:
                job = file.write_plan()
            except OSError:
                self.write_failed()  # the jobs of the files before it are not run either
                raise
            if job is not None:
                jobs.append(job)
                self._writing.append(file)
                self.unsynced[file.path] = None
        if not jobs:
            return None

        def write() -> None:
            for job in jobs:
                job()

        return write

    def written(self) -> None:
        """The job is done; the slot tables of full files are not needed in memory any more.

        A file that became full meanwhile has slots that the job did not write: it waits for the next one.
        """
        for file in self._writing:
            if file in self._full and file.release():
                self._full.remove(file)
        self._writing.clear()

    def write_failed(self) -> None:
        """The job failed; the next one writes it again."""
        for file in self._writing:
            file.write_failed()
        self._writing.clear()

    def position(self) -> tuple[int, int]:
        """The newest file's name as a number, and its entry count: what a checkpoint notes. (0, 0) without files."""
        if not self.files:
            return 0, 0
        return int(os.path.basename(self.files[-1].path)), self.files[-1].header.index_count

    def position_at(self, physical_offset: int) -> tuple[int, int]:
        """What `position` was before the messages at and behind an offset were added; all is written by now.

        Raises:
            OSError: a file could not be read.
        """
        for file in reversed(self.files):
            low, high = 1, file.header.index_count
            while low < high:
                middle = (low + high) // 2
                if file.entry(middle, self._waiting_reader)[1] < physical_offset:
                    low = middle + 1
                else:
                    high = middle
            if low > 1:
                return int(os.path.basename(file.path)), low
        return 0, 0

    def file_count(self) -> int:
        """How many files there are."""
        return len(self.files)

    # -- looking up ----------------------------------------------------------------------------------------------

    def select(self, topic: str, key: str, max_num: int, begin_ms: int, end_ms: int, reader: Reader) -> list[int]:
        """Physical offsets of messages that may carry a key (hashes can coincide), newest file first.

        Raises:
            ColdRead: as the reader, or there is too much to look at without a thread. OSError.
        """
        lookup = IndexLookup(IndexKeyHasher(topic).index_hash(key), max_num, begin_ms, end_ms, reader)
        for file in reversed(self.files):
            try:
                if not lookup.in_file(file):
                    break
            except FileNotFoundError:
                if file in self.files:
                    raise
                continue  # it went while a thread looked
        return lookup.found

    def last_update(self) -> tuple[int, int]:
        """Store time and physical offset of the last message that was added; zeros when none was."""
        if not self.files:
            return 0, 0
        header = self.files[-1].header
        return header.end_timestamp, header.end_physical_offset

    # -- recovery and retention ----------------------------------------------------------------------------------

    def cut_to_synced(self, file_number: int, count: int) -> list[str]:
        """Go back to what a checkpoint noted (`position`): later files go, and entries that are not counted.

        Returns:
            One line for each thing a person should know.
        """
        lines = []
        for file in list(self.files):
            if int(os.path.basename(file.path)) > file_number:
                self._remove(file)
        if self.files and int(os.path.basename(self.files[-1].path)) == file_number:
            last = self.files[-1]
            end_timestamp = last.header.end_timestamp
            if last.header.index_count != count:
                number = count - 1
                if number > 0:
                    _, offset, seconds, _ = last.entry_in_file(number, self._waiting_reader)
                    found = self._record_timestamp(offset)
                    end_timestamp = found if found >= 0 else last.header.begin_timestamp + seconds * 1000
                else:
                    end_timestamp = last.header.begin_timestamp
            if last.cut_to(count, end_timestamp, self._waiting_reader):
                lines.append(f"the slots of index file {last.path} were built anew from its entries")
            self.unsynced[last.path] = None
        return lines

    def discard_after(self, timestamp_ms: int) -> None:
        """Delete the files whose last entry is younger than that, as the official broker does after a crash."""
        for file in list(self.files):
            if file.header.end_timestamp > timestamp_ms:
                self._remove(file)
                self._last_in_doubt = True  # some of its keys may have been in this file

    def discard_all(self) -> None:
        """Delete every file."""
        self.pending.clear()
        for file in list(self.files):
            self._remove(file)

    def _remove(self, file: IndexFile) -> None:
        self.files = [each for each in self.files if each is not file]
        self._pool.drop(file.path)
        self.unsynced.pop(file.path, None)
        self.unsynced[self._folder + "/"] = None
        remove_file(self._files, file.path)

    def remove_expired(self, log_min: int) -> list[str]:
        """Take files out whose messages are all gone, never the newest; the caller unlinks the returned paths.

        Source: `IndexService.deleteExpiredFile`.
        """
        removed = []
        while len(self.files) > 1 and self.files[0].header.end_physical_offset < log_min:
            path = self.files[0].path
            self.files = self.files[1:]
            self._pool.drop(path)
            self.unsynced.pop(path, None)
            removed.append(path)
        return removed

    def close(self) -> None:
        """Close all descriptors; nothing is written."""
        self._pool.close()
