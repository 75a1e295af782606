"""The epoch file: which master wrote which stretch of the log, in controller mode (`epochFileCheckpoint`).

Text: the number of entries, the CRC-32 of all that follows, then a line `epoch-start offset` for each, ascending. A
stretch ends where the next one begins, the last one at the end of the log. Two logs are the same up to the point where
the last stretch that both have ends in one of them.

What it must not do: look at the log. Crash guarantee: when a call that changes the list returns, the list is on disk; a
crash inside it leaves the old or the new one.

Source: `EpochFileCache`, `CheckpointFile`, `EpochEntry` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple
from zlib import crc32

from .errors import ReplicaRefused, StoreDamaged, StoreError
from .files import Files, RealFiles, remove_file
from .statefile import StateFile

NO_EPOCH = -1
NOBODYS_EPOCH = 0
"""Controllers count from 1: no master ever wrote anything in it."""


class Epoch(NamedTuple):
    """One master's stretch of the log."""

    epoch: int
    start: int
    """Offset of its first byte."""


def encode_epochs(entries: Sequence[Epoch]) -> bytes:
    """The text of the file."""
    lines = "".join(f"{entry.epoch}-{entry.start}\n" for entry in entries).encode("ascii")
    return b"%d\n%d\n%b" % (len(entries), crc32(lines) & 0x7FFFFFFF, lines)


def decode_epochs(text: bytes) -> tuple[Epoch, ...]:
    """Read the text of the file.

    Raises:
        ValueError: it is damaged, and says how.
    """
    head, _, rest = text.partition(b"\n")
    checksum, _, lines = rest.partition(b"\n")
    expected = int(checksum)
    if expected and crc32(lines.replace(b"\r\n", b"\n")) & 0x7FFFFFFF != expected:
        raise ValueError("the checksum is wrong")
    entries = []
    for line in lines.splitlines():
        epoch, _, start = line.partition(b"-")
        entries.append(Epoch(int(epoch), int(start)))
    if len(entries) != int(head):
        raise ValueError(f"{int(head)} entries should be there, {len(entries)} are")
    check_order(entries)
    return tuple(entries)


def check_order(entries: Sequence[Epoch]) -> None:
    """Raise `ValueError` where an entry does not follow the one before."""
    for before, after in pairwise(entries):
        if after.epoch <= before.epoch or after.start < before.start:
            raise ValueError(f"entry {after.epoch}-{after.start} follows {before.epoch}-{before.start}")


def consistent_point(ours: Sequence[Epoch], our_end: int, theirs: Sequence[Epoch], their_end: int) -> int | None:
    """Up to where two logs are the same; None when no epoch is in both, or the other one's begin behind that point.

    Of an epoch that begins elsewhere in the other log only what is before it counts: its master went down and came
    back in it with a shorter log. Java looks at the epoch before instead, which is the same where there is one.

    Args:
        our_end: the end of our log.
        their_end: the end of the other one.

    Source: `EpochFileCache.findConsistentPoint`.
    """
    known = {entry.epoch: (entry.start, end) for entry, end in zip(theirs, _ends(theirs, their_end), strict=True)}
    for entry, end in reversed(list(zip(ours, _ends(ours, our_end), strict=True))):
        if entry.epoch in known:
            their_start, their_stretch_end = known[entry.epoch]
            if entry.start == their_start:
                return min(end, their_stretch_end)
            point = min(entry.start, their_start)
            # Nobody could send what is behind the point, of no known epoch: nothing must be cut for that.
            return point if theirs[0].start <= point else None
    return None


def _is_before(one: Epoch, other: Epoch) -> bool:
    return one.epoch < other.epoch and one.start <= other.start


def _ends(entries: Sequence[Epoch], log_end: int) -> list[int]:
    return [*(entry.start for entry in entries[1:]), log_end] if entries else []


class EpochFile:
    """The list and its file.

    Args:
        path: `storePathEpochFile`.

    Attributes:
        entries: The list, oldest first; replaced as a whole.
    """

    def __init__(self, path: str, *, files: Files | None = None) -> None:
        self._files: Files = files or RealFiles()
        self._file = StateFile(path, files=self._files)
        self._loss = StateFile(path + ".lost", files=self._files)
        self.entries: tuple[Epoch, ...] = ()

    def load(self, log_end: int) -> None:
        """Read the file; stretches that begin behind the end of the log are gone with it.

        Raises:
            StoreDamaged: neither the file nor its `.bak` can be used. StoreError: they cannot be read or written.
        """
        text = self._file.load()
        if text is None:
            self.entries = ()
            return
        try:
            entries = decode_epochs(text)
        except ValueError as cause:
            entries = self._from_backup(cause)
        self.entries = entries
        self._replace(entry for entry in entries if entry.start <= log_end)

    def _from_backup(self, cause: ValueError) -> tuple[Epoch, ...]:
        # An older list is safe: where it lacks a stretch or has one too many, more of the log is compared as different.
        backup = self._file.load_backup()
        told = f"the epochs of the log cannot be read: {cause}"
        if backup is None:
            raise StoreDamaged(told, file=self._file.path) from cause
        try:
            return decode_epochs(backup)
        except ValueError as second:
            raise StoreDamaged(f"{told}; of its .bak: {second}", file=self._file.path) from second

    @property
    def last_epoch(self) -> int:
        """The newest epoch; -1 when there is none."""
        return self.entries[-1].epoch if self.entries else NO_EPOCH

    def at(self, offset: int) -> tuple[Epoch, int | None] | None:
        """The stretch an offset lies in and where it ends, None for the last one; None before the first."""
        entries = self.entries
        for index in range(len(entries) - 1, -1, -1):
            if entries[index].start <= offset:
                return entries[index], entries[index + 1].start if index + 1 < len(entries) else None
        return None

    def append(self, epoch: int, start: int) -> None:
        """Begin a stretch.

        Unlike Java, also where the one before is empty: else what two masters wrote would carry one epoch.

        Raises:
            ReplicaRefused: it is not newer than the last one, or begins before it. StoreError: it cannot be saved.
        """
        if self.entries and (epoch <= self.entries[-1].epoch or start < self.entries[-1].start):
            last = self.entries[-1]
            raise ReplicaRefused(
                f"epoch {epoch} from {start} on does not follow epoch {last.epoch} from {last.start} on"
            )
        self._replace((*self.entries, Epoch(epoch, start)))

    def receive(self, epoch: int, start: int) -> None:
        """Take the stretch that bytes of a master belong to; the one that is the last already is fine.

        Raises:
            As `append`.
        """
        if not self.entries or self.entries[-1] != (epoch, start):
            self.append(epoch, start)

    def adopt(self, theirs: Sequence[Epoch], end: int) -> None:
        """Take the stretches of another log, of which this one has all up to its end, `end`.

        Also the one that begins just there, in which nothing may be written yet: whoever counts as in sync in an epoch
        has to know of it, or its own log and the one of that epoch would have nothing in common.

        Raises:
            StoreError: it cannot be saved.
        """
        first = theirs[0] if theirs else None
        older = [one for one in self.entries if one.start < end and (first is None or _is_before(one, first))]
        self._replace((*older, *(one for one in theirs if one.start <= end)))

    def note_loss(self) -> None:
        """Write down that the end of the last epoch may be lost, until it begins again. Raises `StoreError`."""
        if self.entries and not self.may_have_lost:
            self._loss.save(b"%d\n" % self.last_epoch)

    @property
    def may_have_lost(self) -> bool:
        """Whether that is written down of the epoch that is the last one now. Raises `StoreError`."""
        return self._loss.load() == b"%d\n" % self.last_epoch

    def begin_again(self, record_before: int | None, end: int) -> None:
        """Let the last epoch begin elsewhere than ever before, as its master has lost the end of the log.

        It begins earlier: what its slaves have of it is then cut, and got again. Later is wrong: what this master wrote
        from the old beginning on would pass for what the one before wrote there. It should not be within a record, as
        official slaves cut nothing there.

        An epoch that the log begins with cannot begin earlier. What is left has to be of some epoch to be sent: of one
        that no other log has, as far as to the first byte, as no epoch ever began with the second one.

        Args:
            record_before: Where the last record before the epoch begins; None when the log has none there.
            end: The end of what is left of the log.

        Raises:
            StoreError: It cannot be saved.
        """
        *before, last = self.entries
        first = self.entries[0]
        if record_before is not None and (first.epoch != NOBODYS_EPOCH or record_before > first.start):
            kept = [one for one in before if one.start <= record_before]
            self._replace((*kept, Epoch(last.epoch, record_before)))
        elif last.start < end and last.epoch > NOBODYS_EPOCH:
            begin = first.start if first.epoch == NOBODYS_EPOCH else last.start
            self._replace((Epoch(NOBODYS_EPOCH, begin), Epoch(last.epoch, last.start + 1)))
        try:
            self._loss.remove()  # should it come back, the epoch begins once more
        except OSError as error:
            raise StoreError(f"cannot remove: {error.strerror}", file=self._loss.path) from error

    def cut_prefix(self, offset: int) -> None:
        """The log begins at `offset`: drop the stretches that end before it. Raises `StoreError`.

        One that ends just there may be one in which nothing was written, and is needed as such.
        """
        ends = [*(entry.start for entry in self.entries[1:]), None]
        kept = [entry for entry, end in zip(self.entries, ends, strict=False) if end is None or end >= offset]
        self._replace(kept)

    def _replace(self, entries: Iterable[Epoch]) -> None:
        entries = tuple(entries)
        if entries == self.entries:
            return
        if entries:
            self._file.save(encode_epochs(entries))
        else:
            self._remove()
        self.entries = entries

    def _remove(self) -> None:
        # The backup first: alone it would be taken for the list.
        path = self._file.path
        try:
            for name in (path + ".bak", path):
                remove_file(self._files, name)
            self._files.sync_directory(path.rpartition("/")[0])
        except OSError as error:
            raise StoreError(f"cannot remove: {error.strerror}", file=path) from error
