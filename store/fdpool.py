"""A bounded number of open file descriptors, by path.

What it must not do: hand a descriptor to another thread; whoever reads in a thread opens its own (`ColdReader`),
since one of these may be closed, and its number used again, at any time.
"""

from __future__ import annotations

from .errors import ColdRead
from .files import Files


class DescriptorPool:
    """Descriptors opened on demand; the least recently used one goes when there are too many."""

    __slots__ = ("_fds", "_files", "_limit")

    def __init__(self, files: Files, limit: int) -> None:
        self._files = files
        self._limit = limit
        self._fds: dict[str, int] = {}

    def get(self, path: str, *, create: bool = False) -> int:
        """The descriptor of a file.

        Raises:
            OSError: it cannot be opened.
        """
        fds = self._fds
        fd = fds.pop(path, None)
        if fd is None:
            fd = self._files.open(path, create=create)
            while len(fds) >= self._limit:
                self._files.close(fds.pop(next(iter(fds))))
        fds[path] = fd
        return fd

    def drop(self, path: str) -> None:
        """Close the descriptor of a file that is going away."""
        fd = self._fds.pop(path, None)
        if fd is not None:
            self._files.close(fd)

    def close(self) -> None:
        """Close all."""
        while self._fds:
            self._files.close(self._fds.popitem()[1])

    def __len__(self) -> int:
        return len(self._fds)


class HotReader:
    """Reads that never wait for the disk; for the thread that owns the store.

    Raises from `read`: `ColdRead` when a page is not in the page cache, `OSError` otherwise.
    """

    __slots__ = ("_files", "_pool")

    def __init__(self, files: Files, pool: DescriptorPool) -> None:
        self._files = files
        self._pool = pool

    def read(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, fewer at the end of the file."""
        data = self._files.pread_cached(self._pool.get(path), size, offset)
        if data is None:
            raise ColdRead("not in the page cache", file=path, position=offset)
        return data

    def close(self) -> None:
        """Nothing: the descriptors are the pool's."""


class WaitingReader:
    """Reads that may wait for the disk, on the pool's descriptors: recovery, and tests."""

    __slots__ = ("_files", "_pool")

    def __init__(self, files: Files, pool: DescriptorPool) -> None:
        self._files = files
        self._pool = pool

    def read(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, fewer at the end of the file."""
        return self._files.pread(self._pool.get(path), size, offset)

    def close(self) -> None:
        """Nothing: the descriptors are the pool's."""


class ColdReader:
    """Reads that may wait for the disk, on descriptors of their own: safe in any thread. Close it after use."""

    __slots__ = ("_fds", "_files", "_read_ahead")

    def __init__(self, files: Files, read_ahead: bool = True) -> None:
        self._files = files
        self._read_ahead = read_ahead
        self._fds: dict[str, int] = {}

    def read(self, path: str, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`, fewer at the end of the file."""
        fd = self._fds.get(path)
        if fd is None:
            fd = self._fds[path] = self._files.open(path)
            if not self._read_ahead:
                self._files.read_at_random(fd)
        return self._files.pread(fd, size, offset)

    def close(self) -> None:
        """Close what was opened."""
        while self._fds:
            self._files.close(self._fds.popitem()[1])


Reader = HotReader | WaitingReader | ColdReader
