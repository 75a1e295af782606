"""Syncing very many files: a checkpoint of a store with thousands of queues.

What it is for: one `fdatasync` after the other costs 75 µs of CPU and 200 to 600 µs of waiting for each file, which
is seconds for 20,000 queues. Where the file system is known to make everything durable by one call, and to tell of
every error, that call takes their place; elsewhere several threads wait at once. What it must not do: return before
all is durable.

Crash guarantee: as one sync after the other. `syncfs` of ext4 writes all data, commits the journal, and has the disk
empty its cache; it tells of failed writes since Linux 5.8, of those since its descriptor was opened, which is why that
is kept. Other file systems do not promise all of this (XFS may leave the disk's cache as it is), and are not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from .files import Files, sync_path

ONE_BY_ONE_MAX = 64
"""So many files are synced one after the other: the one call writes what other programs have left as well."""
_THREADS = 8
_HERE_MAX = 50_000
"""So many files are remembered to be on the file system."""


class ManySync:
    """Syncs files.

    Args:
        folder: where most of them are.
    """

    def __init__(self, files: Files, folder: str) -> None:
        self._files = files
        self._folder = folder
        self._fd: int | None = None
        self._here: set[str] = set()  # asked once: each question hands the interpreter to another thread and back

    def open(self) -> None:
        """Take hold of the file system, before anything is written. Raises `OSError`."""
        self._fd = self._files.open_file_system(self._folder)

    def sync(self, paths: Sequence[str]) -> None:
        """Sync files, and folders ending in a slash; one that is gone by now (a deleted topic) is skipped.

        For a thread. Raises `OSError`, with the path where there is one.
        """
        if len(paths) > ONE_BY_ONE_MAX and self._fd is not None:
            paths = self._sync_all(self._fd, paths)
        if len(paths) <= ONE_BY_ONE_MAX:
            for path in paths:
                self._sync_one(path)
            return
        with ThreadPoolExecutor(_THREADS, "sync") as threads:
            for _ in threads.map(self._sync_one, paths):
                pass  # the first error is raised here, and the others still run to their end

    def _sync_all(self, fd: int, paths: Sequence[str]) -> list[str]:
        """Make all on the file system durable; gives the paths that are on another one."""
        here = self._here
        new = [path for path in paths if path not in here]
        elsewhere = self._files.sync_file_system(fd, new)
        if len(here) + len(new) > _HERE_MAX:
            here.clear()
        here.update(new[:_HERE_MAX])
        here.difference_update(elsewhere)
        return elsewhere

    def _sync_one(self, path: str) -> None:
        try:
            sync_path(self._files, path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error

    def close(self) -> None:
        """Let go of the file system."""
        if self._fd is not None:
            self._files.close(self._fd)
            self._fd = None
            self._here.clear()
