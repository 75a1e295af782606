"""The marks of a store that is open: the lock on its folder, and the abort file.

The lock is the operating system's, on byte 0 of the file `lock`, as Java's `FileChannel.tryLock(0, 1, false)` takes
it: an official broker and ours exclude each other. The abort file is made when the store opens and removed when it
is closed in order; found at start, it says that the previous run ended in a crash.

Source: `DefaultMessageStore.start`, `createTempFile`, 4.7.0 and 5.5.0.
"""

from __future__ import annotations

import os
from typing import ClassVar

from .errors import StoreError, StoreLocked
from .files import Files, remove_file, write_all


class DirectoryLock:
    """The lock of one folder; the process that dies loses it."""

    # A process does not exclude itself by such locks, so it has to remember what it holds.
    _held: ClassVar[set[str]] = set()

    def __init__(self, files: Files, root: str) -> None:
        self._files = files
        self._path = os.path.join(root, "lock")
        self._key = os.path.realpath(self._path)
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            StoreLocked: somebody has it.
            StoreError: the lock file cannot be made.
        """
        if self._key in self._held:
            raise StoreLocked("the store is already open in this process", file=self._path)
        try:
            fd = self._files.lock(self._path)
        except BlockingIOError as error:
            raise StoreLocked("another process has this store open", file=self._path) from error
        except OSError as error:
            raise StoreError(f"cannot lock: {error.strerror}", file=self._path) from error
        try:
            write_all(self._files, fd, b"lock", 0)
        except OSError as error:
            self._files.close(fd)
            raise StoreError(f"cannot write the lock file: {error.strerror}", file=self._path) from error
        self._fd = fd
        self._held.add(self._key)

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._fd is not None:
            self._files.close(self._fd)
            self._fd = None
            self._held.discard(self._key)


class AbortFile:
    """`abort` under the root of a store."""

    def __init__(self, files: Files, root: str) -> None:
        self._files = files
        self._root = root
        self.path = os.path.join(root, "abort")

    def exists(self) -> bool:
        """Whether the previous run ended without closing the store."""
        try:
            self._files.size(self.path)
        except FileNotFoundError:
            return False
        return True

    def is_of_boot(self, boot_id: str) -> bool:
        """Whether the previous run was in the same life of the machine, so that all it wrote is there."""
        try:
            fd = self._files.open(self.path)
        except FileNotFoundError:
            return False
        try:
            _, _, written = self._files.pread(fd, self._files.size(self.path), 0).partition(b"\n")
        finally:
            self._files.close(fd)
        return bool(boot_id) and written == boot_id.encode("ascii")

    def create(self, process_id: int, boot_id: str = "") -> None:
        """Make it, with the process id as text as 5.x does, and the life of the machine in a line of its own."""
        fd = self._files.open(self.path, create=True)
        try:
            self._files.truncate(fd, 0)
            write_all(self._files, fd, f"{process_id}\n{boot_id}".encode("ascii") if boot_id else b"%d" % process_id, 0)
            self._files.data_sync(fd)
        finally:
            self._files.close(fd)
        self._files.sync_directory(self._root)

    def remove(self) -> None:
        """The store was closed in order."""
        remove_file(self._files, self.path)
        self._files.sync_directory(self._root)
