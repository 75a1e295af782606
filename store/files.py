"""The port between the store and the file system, and its real implementation.

What it is for: every system call of the store goes through one object, so that tests can put a simulated file
system with crashes in its place. What it must not do: keep state, or know what the bytes mean.

File descriptors are plain ints. All calls raise `OSError` as the operating system does; the callers turn it into
`StoreError`s that name the file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import sys
from collections.abc import Sequence
from typing import Protocol

SECTOR_BYTES = 512
"""Of a disk: what is written to one is there after a power loss as a whole, or not at all."""


class Files(Protocol):
    """System calls on files and folders; paths are absolute text."""

    def open(self, path: str, *, create: bool = False) -> int:
        """Open for reading and writing; with `create` the file may be new."""
        ...

    def close(self, fd: int) -> None: ...

    def lock(self, path: str) -> int:
        """Make the file if need be and take the system's lock on its byte 0, until the descriptor is closed.

        Raises:
            BlockingIOError: another process has it.
        """
        ...

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        """Write at an offset; the count may be short when the disk is full."""
        ...

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Read at an offset, waiting for the disk; shorter only at the end of the file."""
        ...

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | None:
        """As `pread`, but None instead of waiting for the disk."""
        ...

    def read_at_random(self, fd: int) -> None:
        """Have the system read no more than is asked for by this descriptor."""
        ...

    def truncate(self, fd: int, size: int) -> None: ...

    def data_sync(self, fd: int) -> None:
        """`fdatasync`."""
        ...

    def sync_directory(self, path: str) -> None:
        """Make the names in a folder durable."""
        ...

    def open_file_system(self, folder: str) -> int | None:
        """A descriptor for `sync_file_system`; None when the file system of a folder is not known to be fit for it."""
        ...

    def sync_file_system(self, fd: int, paths: Sequence[str]) -> list[str]:
        """Make all files and names of a file system durable; gives those of `paths` that are on another one.

        Raises:
            OSError: anything written since the descriptor was opened may be lost.
        """
        ...

    def size(self, path: str) -> int:
        """Length in bytes; raises `FileNotFoundError`."""
        ...

    def next_data(self, fd: int, offset: int) -> int | None:
        """Where the next written (not sparse) bytes begin, at or after `offset`; None when there are none."""
        ...

    def modified_at_ms(self, path: str) -> int: ...

    def entries(self, path: str) -> list[tuple[str, bool]]:
        """Names in a folder and whether each is a folder, sorted; empty when the folder does not exist."""
        ...

    def make_directories(self, path: str) -> None: ...

    def rename(self, source: str, target: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def remove_directory(self, path: str) -> None: ...

    def disk_used_ratio(self, path: str) -> float:
        """Used part of the file system that holds `path`, 0 to 1; raises when it cannot be told."""
        ...


class RealFiles:
    """`Files` of this operating system."""

    close = staticmethod(os.close)
    pwrite = staticmethod(os.pwrite)
    truncate = staticmethod(os.ftruncate)
    data_sync = staticmethod(os.fdatasync)
    rename = staticmethod(os.rename)
    unlink = staticmethod(os.unlink)
    remove_directory = staticmethod(os.rmdir)

    def open(self, path: str, *, create: bool = False) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o644)

    def lock(self, path: str) -> int:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        data = os.pread(fd, size, offset)
        if len(data) == size or not data:
            return data
        parts = [data]
        got = len(data)
        while got < size:  # a signal, or the 2 GiB limit of one call
            data = os.pread(fd, size - got, offset + got)
            if not data:
                break
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | None:
        buffer = bytearray(size)
        try:
            got = os.preadv(fd, (buffer,), offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                # A file system that cannot promise not to wait: there is only the waiting read.
                return self.pread(fd, size, offset)
            raise
        if got < size:
            # Either the end of the file or the end of what is cached; asking again at that place tells which.
            return None if got == 0 or offset + got < os.fstat(fd).st_size else bytes(buffer[:got])
        return bytes(buffer)

    def read_at_random(self, fd: int) -> None:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)

    def sync_directory(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def open_file_system(self, folder: str) -> int | None:
        if not _reports_write_errors() or file_system_type(os.stat(folder).st_dev) != "ext4":
            return None
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def sync_file_system(self, fd: int, paths: Sequence[str]) -> list[str]:
        import ctypes

        device = os.fstat(fd).st_dev
        elsewhere = [path for path in paths if not _is_on(device, path)]
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return elsewhere

    def size(self, path: str) -> int:
        return os.stat(path).st_size

    def next_data(self, fd: int, offset: int) -> int | None:
        try:
            return os.lseek(fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return None
            if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system without holes: all of it is data
                return offset if offset < os.fstat(fd).st_size else None
            raise

    def modified_at_ms(self, path: str) -> int:
        return os.stat(path).st_mtime_ns // 1_000_000

    def entries(self, path: str) -> list[tuple[str, bool]]:
        try:
            with os.scandir(path) as found:
                return sorted((entry.name, entry.is_dir()) for entry in found)
        except FileNotFoundError:
            return []

    def make_directories(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def disk_used_ratio(self, path: str) -> float:
        stat = os.statvfs(path)
        used = stat.f_blocks - stat.f_bfree
        usable = stat.f_bavail
        return used / (used + usable) if used + usable else 0.0


def _reports_write_errors() -> bool:
    """Whether `syncfs` of this kernel tells of data that could not be written."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release) if sys.platform == "linux" else None
    return release is not None and (int(release[1]), int(release[2])) >= (5, 8)


def file_system_type(device: int, mounts: str = "/proc/self/mountinfo") -> str | None:
    """What kind of file system a device holds, as the mounts of this process tell; None when they do not."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open(mounts, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                before, _, after = line.partition(" - ")
                if before.split(" ", 3)[2:3] == [number] and after:
                    return after.split(" ", 1)[0]
    except FileNotFoundError:
        pass
    return None


def _is_on(device: int, path: str) -> bool:
    try:
        return os.stat(path).st_dev == device
    except FileNotFoundError:
        return True  # gone: nothing to sync


def write_all(files: Files, fd: int, data: bytes | bytearray, offset: int) -> None:
    """Write every byte; a short count is followed by another call, whose error says why.

    Raises:
        OSError: the disk is full or broken; a part may have been written.
    """
    written = files.pwrite(fd, data, offset)
    if written == len(data):
        return
    view = memoryview(data)
    while written < len(data):
        count = files.pwrite(fd, view[written:], offset + written)
        if count == 0:
            raise OSError(errno.ENOSPC, "nothing more was written")
        written += count


def save_page(files: Files, path: str, page: bytes) -> None:
    """Write a file that is one page, at once, and sync it; it is made when there is none. Raises `OSError`."""
    fd = files.open(path, create=True)
    try:
        write_all(files, fd, page, 0)
        files.data_sync(fd)
    finally:
        files.close(fd)


def sync_path(files: Files, path: str) -> None:
    """Sync a file, or the names in a folder when the path ends in a slash. Raises `OSError`."""
    if path.endswith("/"):
        files.sync_directory(path)
        return
    fd = files.open(path)
    try:
        files.data_sync(fd)
    finally:
        files.close(fd)


def remove_file(files: Files, path: str) -> None:
    """Unlink; a file that is already gone is fine."""
    with contextlib.suppress(FileNotFoundError):
        files.unlink(path)


_CLEAR_BYTES = 1 << 16
_FIRST_LOOK_BYTES = 4096
_ZEROS = bytes(_CLEAR_BYTES)


def has_content(files: Files, fd: int, end: int) -> bool:
    """Whether any byte before `end` is not zero."""
    offset = 0
    while offset < end:
        start = files.next_data(fd, offset)
        if start is None or start >= end:
            return False
        chunk = files.pread(fd, min(_CLEAR_BYTES, end - start), start)
        if not chunk or any(chunk):
            return bool(chunk)
        offset = start + len(chunk)
    return False


def clear_from(files: Files, fd: int, offset: int, end: int) -> int:
    """Overwrite with zeros what was written in `[offset, end)`; holes and zeros stay as they are.

    Stale bytes after a cut must not be found again: a later crash could read them as records that were never
    acknowledged, since records of equal sizes line up.

    Returns:
        The number of bytes from the first to the last that was not zero.
    """
    first, last = end, offset
    step = _FIRST_LOOK_BYTES
    while offset < end:
        start = files.next_data(fd, offset)
        if start is None or start >= end:
            break
        chunk = files.pread(fd, min(step, end - start), start)
        offset, step = start + len(chunk), _CLEAR_BYTES
        # Compared before it is stripped, which looks at each byte: a restart looks at the rest of every queue's file.
        used = b"" if chunk == _ZEROS[: len(chunk)] else chunk.rstrip(b"\0")
        if used:
            skipped = len(used) - len(used.lstrip(b"\0"))
            write_all(files, fd, bytes(len(used) - skipped), start + skipped)
            first, last = min(first, start + skipped), start + len(used)
        elif not chunk:
            break
    return max(last - first, 0)
