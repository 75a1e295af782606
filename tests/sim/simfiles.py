"""A file system in memory that can lose power, run full, fail, and stop at any of its operations.

The model. Data: a page of 4 KiB that was written since its file's last sync survives a power loss, or does not, or is
torn: of its sectors of 512 bytes any survive. Each page for itself, in any file. Names and lengths: as on a journaling
file system they survive in order, so a power loss keeps some first part of the changes since the last sync of a
folder. A crash of the process loses nothing that was written.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

PAGE = 4096
SECTOR = 512
EMPTY = bytes(PAGE)
ALL_SECTORS = (1 << PAGE // SECTOR) - 1


def torn(old: bytes, new: bytes, sectors: int) -> bytes:
    """A page of which only some sectors reached the disk.

    Args:
        sectors: bit n for sector n.
    """
    pieces = []
    for number, at in enumerate(range(0, PAGE, SECTOR)):
        source = new if sectors >> number & 1 else old
        pieces.append(source[at : at + SECTOR])
    return b"".join(pieces)


class SimulatedCrash(Exception):
    """The process ends here."""


@dataclass
class Inode:
    """One file: pages as they are, and as they would be found after a power loss."""

    size: int = 0
    durable_size: int = 0
    pages: dict[int, bytes] = field(default_factory=dict)
    durable: dict[int, bytes] = field(default_factory=dict)
    modified_at_ms: int = 0

    @property
    def unsynced(self) -> list[int]:
        return [page for page, data in self.pages.items() if self.durable.get(page) is not data]


@dataclass
class SimFiles:
    """The `Files` port on memory.

    Attributes:
        crash_at: the number of the changing operation at which the process ends; it is not carried out.
        failing: called with (operation, path) before each; raises what the system would.
        syncs_whole: whether all of it can be synced by one call.
        capacity_pages: pages that fit in all files together; None means any number.
    """

    names: dict[str, Inode] = field(default_factory=dict)
    folders: set[str] = field(default_factory=lambda: {"/"})
    durable_names: dict[str, Inode] = field(default_factory=dict)
    journal: list[tuple[str, str, str]] = field(default_factory=list)
    operations: int = 0
    crash_at: int | None = None
    failing: Callable[[str, str], None] | None = None
    capacity_pages: int | None = None
    now_ms: int = 1
    used_ratio: float = 0.1
    cold: bool = False
    syncs_whole: bool = False
    _fds: dict[int, tuple[str, Inode]] = field(default_factory=dict)
    _next_fd: int = 1000

    # -- what happens to it --------------------------------------------------------------------------------------

    def after_process_crash(self) -> SimFiles:
        """What the next process finds."""
        return SimFiles(
            names=self.names,
            folders=self.folders,
            durable_names=self.durable_names,
            journal=self.journal,
            now_ms=self.now_ms,
            syncs_whole=self.syncs_whole,
        )

    def after_power_loss(self, survives: Callable[[str, int], int], journal_length: int | None = None) -> SimFiles:
        """What is found after a power loss; this object is left as it is.

        Args:
            survives: what is there of a page that was not synced, by path and number of the page: False, True, or
                the bits of its sectors.
            journal_length: how many of the unsynced changes of names survive; None means all.
        """
        names = dict(self.durable_names)
        for kind, path, other in self.journal[:journal_length]:
            if kind == "create":
                names[path] = self._created[path, other]
            elif kind == "unlink":
                names.pop(path, None)
            else:
                names[other] = names.pop(path)
        after: dict[str, Inode] = {}
        for path, inode in names.items():
            pages = dict(inode.durable)
            for page in inode.unsynced:
                sectors = survives(path, page)
                if sectors:
                    whole = sectors is True or sectors == ALL_SECTORS
                    new = inode.pages[page]
                    pages[page] = new if whole else torn(pages.get(page, EMPTY), new, sectors)
            # Lengths are set before anything is written, and survive with the name.
            copy = Inode(inode.size, inode.size, dict(pages), dict(pages), inode.modified_at_ms)
            after[path] = copy
        return SimFiles(
            names=after,
            folders=set(self.folders),
            durable_names=dict(after),
            now_ms=self.now_ms,
            syncs_whole=self.syncs_whole,
        )

    _created: dict[tuple[str, str], Inode] = field(default_factory=dict)

    def _change(self, operation: str, path: str) -> None:
        self.operations += 1
        if self.crash_at is not None and self.operations >= self.crash_at:
            raise SimulatedCrash(f"operation {self.operations}: {operation} {path}")
        if self.failing is not None:
            self.failing(operation, path)

    def _log(self, kind: str, path: str, other: str = "") -> None:
        self.journal.append((kind, path, other))

    def used_pages(self) -> int:
        return sum(len(inode.pages) for inode in self.names.values())

    # -- the port ------------------------------------------------------------------------------------------------

    def open(self, path: str, *, create: bool = False) -> int:
        inode = self.names.get(path)
        if inode is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, "no such file", path)
            self._change("create", path)
            inode = self.names[path] = Inode(modified_at_ms=self.now_ms)
            number = str(len(self.journal))
            self._created[path, number] = inode
            self._log("create", path, number)
        self._next_fd += 1
        self._fds[self._next_fd] = (path, inode)
        return self._next_fd

    def close(self, fd: int) -> None:
        del self._fds[fd]

    def lock(self, path: str) -> int:
        return self.open(path, create=True)

    def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
        path, inode = self._fds[fd]
        self._change("write", path)
        data = bytes(data)
        written = 0
        while written < len(data):
            page, at = divmod(offset + written, PAGE)
            piece = data[written : written + PAGE - at]
            old = inode.pages.get(page)
            if old is None and self.capacity_pages is not None and self.used_pages() >= self.capacity_pages:
                if not written:
                    raise OSError(errno.ENOSPC, "no space left")
                break
            old = old or EMPTY
            inode.pages[page] = old[:at] + piece + old[at + len(piece) :]
            written += len(piece)
        inode.size = max(inode.size, offset + written)
        inode.modified_at_ms = self.now_ms
        return written

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        inode = self._fds[fd][1]
        size = max(min(size, inode.size - offset), 0)
        parts = []
        position = offset
        while position < offset + size:
            page, at = divmod(position, PAGE)
            piece = inode.pages.get(page, EMPTY)[at : at + offset + size - position]
            parts.append(piece)
            position += len(piece)
        return b"".join(parts)

    def pread_cached(self, fd: int, size: int, offset: int) -> bytes | None:
        return None if self.cold else self.pread(fd, size, offset)

    def read_at_random(self, fd: int) -> None:
        """Nothing to read ahead of."""

    def truncate(self, fd: int, size: int) -> None:
        path, inode = self._fds[fd]
        self._change("truncate", path)
        inode.size = size
        for page in [page for page in inode.pages if page * PAGE >= size]:
            del inode.pages[page]

    def data_sync(self, fd: int) -> None:
        path, inode = self._fds[fd]
        self._change("sync", path)
        inode.durable = dict(inode.pages)
        inode.durable_size = inode.size

    def sync_directory(self, path: str) -> None:
        self._change("sync directory", path)
        self.durable_names = dict(self.names)
        self.journal.clear()

    def open_file_system(self, folder: str) -> int | None:
        if not self.syncs_whole:
            return None
        self._next_fd += 1
        self._fds[self._next_fd] = (folder, Inode())
        return self._next_fd

    def sync_file_system(self, fd: int, paths: Sequence[str]) -> list[str]:
        self._change("sync file system", self._fds[fd][0])
        for inode in self.names.values():
            inode.durable = dict(inode.pages)
            inode.durable_size = inode.size
        self.durable_names = dict(self.names)
        self.journal.clear()
        return []

    def size(self, path: str) -> int:
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return self.names[path].size

    def next_data(self, fd: int, offset: int) -> int | None:
        inode = self._fds[fd][1]
        ahead = [max(page * PAGE, offset) for page in inode.pages if (page + 1) * PAGE > offset]
        found = min(ahead, default=None)
        return None if found is None or found >= inode.size else found

    def modified_at_ms(self, path: str) -> int:
        return self.names[path].modified_at_ms

    def entries(self, path: str) -> list[tuple[str, bool]]:
        prefix = path.rstrip("/") + "/"
        found = {name[len(prefix) :].split("/")[0]: False for name in self.names if name.startswith(prefix)}
        for name in [*self.names, *self.folders]:
            if name.startswith(prefix) and (name in self.folders or "/" in name[len(prefix) :]):
                found[name[len(prefix) :].split("/")[0]] = True
        return sorted(found.items())

    def make_directories(self, path: str) -> None:
        parts = path.strip("/").split("/")
        self.folders.update("/" + "/".join(parts[: n + 1]) for n in range(len(parts)))

    def rename(self, source: str, target: str) -> None:
        if source not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", source)
        self._change("rename", source)
        self.names[target] = self.names.pop(source)
        self._log("rename", source, target)

    def unlink(self, path: str) -> None:
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        self._change("unlink", path)
        del self.names[path]
        self._log("unlink", path)

    def remove_directory(self, path: str) -> None:
        if path not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "no such folder", path)
        self.folders.discard(path)

    def disk_used_ratio(self, path: str) -> float:
        return self.used_ratio
