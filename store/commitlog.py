"""The commit log: every message once, in the order it came.

Files of one equal length, named by the offset of their first byte in 20 digits, made sparse at full length. A record
never spans two of them: when it does not fit with 8 bytes left, `rest i32 | blank magic i32` ends the file.

What it must not do: parse messages, or sync on the caller's thread; `flush_plan` hands out the blocking part.

Crash guarantee: bytes below `flushed_offset` are durable. Above it a process crash keeps what was written and a power
loss keeps any of the pages; recovery finds the end by checksums and cuts there.

Source: `MappedFileQueue`, `CommitLog`, 4.7.0 and 5.5.0.
"""

from __future__ import annotations

import errno
import os
import struct
from bisect import bisect_left, bisect_right

from rmqwire.message import BLANK_MAGIC

from .errors import StoreDamaged, StoreFull, WriteFailed
from .fdpool import DescriptorPool, Reader
from .files import Files, clear_from, has_content, remove_file, write_all
from .syncjob import SyncJob

BLANK_BYTES = 8
_BLANK = struct.Struct(">ii")
_READ_FILES_MAX = 64


def file_name(offset: int) -> str:
    """The 20 digits of a file that begins at `offset`."""
    return f"{offset:020d}"


def list_files(files: Files, folder: str, size: int, key: str) -> list[int]:
    """Start offsets of the files in a folder, checked as the official broker checks them; folders are skipped.

    An empty last file is removed: a crash between making a file and setting its length leaves one.

    Args:
        size: the length each has.
        key: the option that says so.

    Raises:
        StoreDamaged: a name that is no offset, or a length that is not the configured one.
    """
    names = [name for name, is_folder in files.entries(folder) if not is_folder]
    starts: list[int] = []
    for position, name in enumerate(names):
        path = os.path.join(folder, name)
        if not (len(name) == 20 and name.isascii() and name.isdigit()):
            raise StoreDamaged("the name is no offset in 20 digits", file=path)
        length = files.size(path)
        if length == 0 and position == len(names) - 1:
            remove_file(files, path)
            continue
        check_length(path, length, size, key)
        if int(name) % size:
            raise StoreDamaged(f"the name is no multiple of the length {size}", file=path)
        starts.append(int(name))
    return starts


def check_length(path: str, length: int, size: int, key: str) -> None:
    """Raise `StoreDamaged` for a file that was made with another setting; as official brokers, which do not start."""
    if length != size:
        text = f"the file has {length} bytes, but {key} is {size}: it was made with another value, or is damaged"
        raise StoreDamaged(text, file=path)


def make_file(files: Files, path: str, size: int) -> int:
    """Make a sparse file of full length; returns its descriptor. An existing one is opened."""
    fd = files.open(path, create=True)
    try:
        files.truncate(fd, size)
    except OSError:
        files.close(fd)
        remove_file(files, path)
        raise
    return fd


class CommitLog:
    """The files of the log, its end, and how far it is flushed.

    Args:
        folder: `storePathCommitLog`.
        file_size: `mappedFileSizeCommitLog`, bytes.
    """

    def __init__(self, files: Files, folder: str, file_size: int) -> None:
        self._files = files
        self.folder = folder
        self.file_size = file_size
        self.starts: list[int] = []
        """Start offsets of the files, ascending."""
        self.wrote_offset = 0
        """The end of the log: where the next record goes."""
        self.flushed_offset = 0
        self._write_fds: dict[int, int] = {}  # by start offset; those not yet wholly flushed
        self._pool = DescriptorPool(files, _READ_FILES_MAX)
        self._unsynced_names = False
        self._flushing = False

    # -- files ---------------------------------------------------------------------------------------------------

    def load(self) -> None:
        """List the files; the end is where the last one ends until `set_end` says better.

        Raises:
            StoreDamaged: a file has a wrong name or length.
        """
        self._files.make_directories(self.folder)
        self.starts = list_files(self._files, self.folder, self.file_size, "mappedFileSizeCommitLog")
        self.wrote_offset = self.flushed_offset = self.starts[-1] + self.file_size if self.starts else 0

    def path(self, start: int) -> str:
        """The file that begins at `start`."""
        return os.path.join(self.folder, file_name(start))

    def start_of(self, offset: int) -> int:
        """The start offset of the file that an offset falls into."""
        return offset - offset % self.file_size

    @property
    def min_offset(self) -> int:
        """The start of the first file; 0 when there is none."""
        return self.starts[0] if self.starts else 0

    def has(self, offset: int) -> bool:
        """Whether the file of an offset is there."""
        start = self.start_of(offset)
        index = bisect_right(self.starts, start) - 1
        return index >= 0 and self.starts[index] == start

    def next_start(self, offset: int) -> int:
        """The start of the first file behind the one `offset` falls into, skipping a gap."""
        index = bisect_right(self.starts, offset)
        return self.starts[index] if index < len(self.starts) else self.start_of(offset) + self.file_size

    def set_end(self, offset: int, *, flushed: int | None = None) -> int:
        """Make `offset` the end of the log: later files go, and stale bytes behind it are overwritten with zeros.

        Returns:
            How many bytes were taken away or overwritten.
        """
        removed = 0
        for start in [start for start in self.starts if start > offset]:
            self.starts.remove(start)
            removed += self._drop(start)
        if self.starts and offset < self.starts[-1] + self.file_size:
            start = self.starts[-1]
            fd = self._write_fd(start)
            removed += clear_from(self._files, fd, offset - start, self.file_size)
            if removed:
                self._files.data_sync(fd)
        self.wrote_offset = offset
        self.flushed_offset = offset if flushed is None else flushed
        return removed

    def _drop(self, start: int) -> int:
        path = self.path(start)
        self._pool.drop(path)
        fd = self._write_fds.pop(start, None)
        if fd is None:
            fd = self._files.open(path)
        written = has_content(self._files, fd, self.file_size)
        self._files.close(fd)
        remove_file(self._files, path)
        return self.file_size if written else 0

    def remove_first(self) -> str | None:
        """Take the first file out of the log, unless it is the last one; the caller unlinks the returned path."""
        if len(self.starts) < 2 or self.starts[0] in self._write_fds:
            return None
        path = self.path(self.starts[0])
        self.starts = self.starts[1:]
        self._pool.drop(path)
        return path

    # -- writing -------------------------------------------------------------------------------------------------

    def _write_fd(self, start: int) -> int:
        fd = self._write_fds.get(start)
        if fd is None:
            if not self.starts or start > self.starts[-1]:
                self._files.make_directories(self.folder)
                fd = make_file(self._files, self.path(start), self.file_size)
                self.starts = [*self.starts, start]
                self._unsynced_names = True
            else:
                fd = self._files.open(self.path(start))
            self._write_fds[start] = fd
        return fd

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes that lie within one file, making the file when it is the next one.

        The end of the log does not move: that is `advance`, when the whole group is written.

        Raises:
            StoreFull, WriteFailed: the system refused; a part may be in the file, `take_back` clears it.
        """
        start = offset - offset % self.file_size
        try:
            fd = self._write_fds.get(start)
            if fd is None:
                fd = self._write_fd(start)
            write_all(self._files, fd, data, offset - start)
        except OSError as error:
            kind = StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else WriteFailed
            raise kind(f"cannot write: {error.strerror}", file=self.path(start), position=offset - start) from error

    def advance(self, offset: int) -> None:
        """The log now ends at `offset`."""
        self.wrote_offset = offset

    def take_back(self) -> None:
        """Clear what a failed group left behind the end of the log.

        Raises:
            WriteFailed: that is refused too; the store must not be written to again.
        """
        for start in [start for start in self.starts if start + self.file_size > self.wrote_offset]:
            try:
                fd = self._write_fd(start)
                clear_from(self._files, fd, max(self.wrote_offset - start, 0), self.file_size)
            except OSError as error:
                raise WriteFailed(f"cannot clear a failed write: {error.strerror}", file=self.path(start)) from error

    def blank(self, offset: int) -> bytes:
        """The filler that ends the file `offset` is in."""
        return _BLANK.pack(self.file_size - offset % self.file_size, BLANK_MAGIC)

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, reader: Reader, offset: int, size: int) -> bytes:
        """Bytes within one file.

        Raises:
            ColdRead: the reader does not wait, and they are not in the page cache.
            OSError: the file is gone (retention) or cannot be read.
        """
        start = offset - offset % self.file_size
        return reader.read(f"{self.folder}/{start:020d}", offset - start, size)

    @property
    def pool(self) -> DescriptorPool:
        """Descriptors for reading on the thread that owns the store."""
        return self._pool

    # -- flushing ------------------------------------------------------------------------------------------------

    def flush_plan(self, least_pages: int = 0) -> SyncJob | None:
        """The blocking sync of what is written now, to be run in a thread; None when there is nothing to do.

        Only one may be under way: until `flushed` or `flush_failed` is called there is no other.

        Args:
            least_pages: do nothing when fewer 4 KiB pages than that are dirty; 0 means anything at all.
        """
        wrote = self.wrote_offset
        if self._flushing or wrote <= self.flushed_offset:
            return None
        if least_pages and wrote // 4096 - self.flushed_offset // 4096 < least_pages:
            return None
        first = bisect_left(self.starts, self.start_of(self.flushed_offset))
        fds = [(start, self._write_fd(start)) for start in self.starts[first:] if start < wrote]
        folder = self.folder if self._unsynced_names else None
        self._unsynced_names = False
        self._flushing = True
        return SyncJob(self._files, fds, self.path, folder, wrote)

    @property
    def is_flushing(self) -> bool:
        """Whether the sync that `flush_plan` gave is not done yet."""
        return self._flushing

    def flushed(self, offset: int) -> None:
        """The sync that `flush_plan` gave is done."""
        self._flushing = False
        self.synced(offset)

    def synced(self, offset: int) -> None:
        """All below `offset` is durable, by whatever sync; descriptors of files that are wholly flushed are closed."""
        self.flushed_offset = max(self.flushed_offset, offset)
        if self._flushing:
            return  # the sync under way uses them
        for start in [start for start in self._write_fds if start + self.file_size <= self.flushed_offset]:
            self._files.close(self._write_fds.pop(start))

    def flush_failed(self) -> None:
        """A sync failed: nothing more is known to be durable, and it is not tried again."""
        self._flushing = False

    def close(self) -> None:
        """Close all descriptors, without a sync."""
        while self._write_fds:
            self._files.close(self._write_fds.popitem()[1])
        self._pool.close()
