"""The sync of a log up to a position, to be run where nobody waits for it.

What it is for: a thread calls it; a compiled one, which cannot call Python, takes the descriptors and hands back what
became of them. What it must not do: change the log, which is told by whoever ran this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from .errors import FlushFailed
from .files import Files


class SyncJob:
    """Makes everything before a position durable.

    Args:
        files: The file system.
        wrote: Start and descriptor of each file that was written since the last sync.
        path: Of the file with a start.
        folder: Holds names that are not durable yet; None when all are.
        end: What the log is synced up to.
    """

    __slots__ = ("_files", "_folder", "_path", "_wrote", "end")

    def __init__(
        self, files: Files, wrote: Sequence[tuple[int, int]], path: Callable[[int], str], folder: str | None, end: int
    ) -> None:
        self._files = files
        self._wrote = wrote
        self._path = path
        self._folder = folder
        self.end = end

    def __call__(self) -> int:
        """Sync, and give the position.

        Raises:
            FlushFailed: What was written since the last sync may be lost.
        """
        for start, fd in self._wrote:
            try:
                self._files.data_sync(fd)
            except OSError as error:
                raise _failed(self._path(start), error) from error
        if self._folder is not None:
            try:
                self._files.sync_directory(self._folder)
            except OSError as error:
                raise _failed(self._folder, error) from error
        return self.end

    def descriptors(self) -> list[int] | None:
        """Give the files of which `fdatasync` is all there is to do; None where there is more."""
        if self._folder is not None or self._files.data_sync is not os.fdatasync:
            return None
        return [fd for _, fd in self._wrote]

    def failed(self, place: int, code: int) -> FlushFailed:
        """Tell that the sync of one of the descriptors failed with an errno."""
        return _failed(self._path(self._wrote[place][0]), OSError(code, os.strerror(code)))


def _failed(path: str, error: OSError) -> FlushFailed:
    return FlushFailed(f"cannot sync: {error.strerror}", file=path)
