"""Whether a whole store is in order, offline: the engine of `rmqd check`.

What it is for: reading every file of a store that is not open, and saying in one line for each thing what is not as a
broker leaves it. What it must not do: change anything (that is `repair`), stop at the first damage, keep anything per
message in memory, or be imported by what serves messages.

The commit log is read from its first record to its last; consume queues and index are held against it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from rmqwire.message import BLANK_MAGIC, MESSAGE_MAGIC_V1, MESSAGE_MAGIC_V2, StoredMessage

from .checkindex import IndexCheck
from .checkqueues import QueueCheck
from .commitlog import CommitLog
from .dirlock import AbortFile
from .dump import dump_file
from .errors import StoreError
from .fdpool import WaitingReader
from .files import RealFiles
from .recovery import NOTHING_WRITTEN, LogScan

_MAGICS = (MESSAGE_MAGIC_V1, MESSAGE_MAGIC_V2, BLANK_MAGIC)
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Finding:
    """One thing that is not as a broker leaves it.

    Attributes:
        path: The file or folder.
        text: What is wrong with it, and where.
        derived: Whether the commit log can give it again.
        serious: False for what the next start puts right by itself.
    """

    path: str
    text: str
    derived: bool = False
    serious: bool = True

    @property
    def line(self) -> str:
        """What is printed."""
        return f"{self.path}: {self.text}" + ("" if self.serious else " (no damage)")


@dataclass
class CheckReport:
    """What a check found.

    Attributes:
        log_file_size, queue_file_size: As the files are, bytes; 0 without files.
        records: Good ones in the log.
    """

    findings: list[Finding] = field(default_factory=list)
    log_begin: int = 0
    log_end: int = 0
    records: int = 0
    log_file_size: int = 0
    queue_file_size: int = 0
    clean: bool = True

    @property
    def damaged(self) -> bool:
        """Whether there is anything serious."""
        return any(finding.serious for finding in self.findings)


class StoreCheck:
    """One check of one store.

    Args:
        root: `storePathRootDir`.
        log_folder: `storePathCommitLog`, when it is not `commitlog` under the root.
        slot_num: `maxHashSlotNum` of its index files.
    """

    def __init__(self, root: str, log_folder: str | None = None, slot_num: int = 5_000_000) -> None:
        self.root = root
        self.log_folder = log_folder or os.path.join(root, "commitlog")
        self._slot_num = slot_num
        self._files = RealFiles()
        self.report = CheckReport()

    def run(self) -> CheckReport:
        """Check everything.

        Raises:
            StoreError: There is no store.
            OSError: A file cannot be read.
        """
        if not os.path.isdir(self.log_folder):
            raise StoreError("no commit log: is it the folder of a store?", file=self.log_folder)
        report = self.report
        report.clean = not AbortFile(self._files, self.root).exists()
        if not report.clean:
            self._note(self.root, "was not closed in order; the next start derives what is missing")
        log = self._log()
        queues = QueueCheck(self.root, self._files, self._topics(), report.findings, clean=report.clean)
        report.queue_file_size = queues.file_size
        index = IndexCheck(
            os.path.join(self.root, "index"), self._slot_num, self._files, report.findings, clean=report.clean
        )
        for record in self._records(log):
            report.records += 1
            queues.record(record)
            index.record(record)
        queues.finish(log.min_offset, report.log_end)
        index.finish(log, report.log_end)
        for entry in self._others():
            self._other(entry)
        log.close()
        return report

    def _found(self, path: str, text: str, *, derived: bool = False) -> None:
        self.report.findings.append(Finding(path, text, derived))

    def _note(self, path: str, text: str) -> None:
        self.report.findings.append(Finding(path, text, serious=False))

    # -- the commit log --------------------------------------------------------------------------------------------

    def _log(self) -> CommitLog:
        names = sorted(entry.name for entry in os.scandir(self.log_folder) if entry.is_file())
        sizes = {name: os.path.getsize(os.path.join(self.log_folder, name)) for name in names}
        size = next((size for size in sizes.values() if size), 0)
        log = CommitLog(self._files, self.log_folder, size or 1)
        for name in names:
            path = os.path.join(self.log_folder, name)
            if not (len(name) == 20 and name.isascii() and name.isdigit()):
                self._found(path, "the name is no offset in 20 digits")
            elif sizes[name] == 0 and name == names[-1]:
                self._note(path, "empty: a broker was ended while it made the file")
            elif sizes[name] != size or int(name) % size:
                self._found(path, f"{sizes[name]} bytes at that name, where the first file has {size}")
            else:
                log.starts.append(int(name))
        self.report.log_file_size = size
        self.report.log_begin = self.report.log_end = log.min_offset
        return log

    def _records(self, log: CommitLog) -> Iterator[StoredMessage]:
        """Every good record; what is none is skipped and told."""
        at = log.min_offset
        while log.has(at):
            scan = LogScan(self._files, log, at, check_crc=True)
            yield from scan
            at = self.report.log_end = scan.end
            if not log.has(at):
                if log.starts and at < log.starts[-1]:
                    at = log.next_start(at)
                    self._found(log.folder, f"the files from {scan.end} to {at} are missing")
                continue
            if scan.stopped == NOTHING_WRITTEN:
                self._behind(log, at)
                return
            following = self._following(log, at)
            path = log.path(log.start_of(at))
            if following is None:
                text = f"position {at % log.file_size}: {scan.stopped}, and no record follows"
                if self.report.clean:
                    self._found(path, text)
                else:
                    self._note(path, text)
                return
            self._found(path, f"position {at % log.file_size}: {scan.stopped}, and records follow")
            at = following

    def _following(self, log: CommitLog, at: int) -> int | None:
        """Where records may go on behind a bad one."""
        reader = WaitingReader(self._files, log.pool)
        size = int.from_bytes(log.read(reader, at, 4), "big", signed=True)
        file_end = log.start_of(at) + log.file_size
        if size > 0 and at + size + 8 <= file_end:
            magic = int.from_bytes(log.read(reader, at + size + 4, 4), "big", signed=True)
            if magic in _MAGICS:
                return at + size
        following = log.next_start(at)
        return following if log.has(following) else None

    def _behind(self, log: CommitLog, end: int) -> None:
        """Look for anything but zeros behind the end."""
        for start in log.starts:
            if start + log.file_size <= end:
                continue
            fd = log.pool.get(log.path(start))
            at: int | None = max(end - start, 0)
            while at is not None and at < log.file_size:
                data = self._files.pread(fd, min(_CHUNK_BYTES, log.file_size - at), at)
                if data.strip(b"\0"):
                    self._found(log.path(start), f"bytes that are no record behind the end of the log at {end}")
                    return
                at = self._files.next_data(fd, at + len(data)) if data else None

    # -- the rest --------------------------------------------------------------------------------------------------

    def _topics(self) -> frozenset[str] | None:
        """The topics there are: what the log has of others was deleted. None when that cannot be told."""
        try:
            with open(os.path.join(self.root, "config", "topics.json"), encoding="utf-8") as file:
                return frozenset(json.load(file)["topicConfigTable"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _others(self) -> Iterator[str]:
        for name in ("checkpoint", "timerwheel", "timercheck", "config/timercheck"):
            path = os.path.join(self.root, name)
            if os.path.isfile(path):
                yield path
        for folder, suffix in (("config", ".json"), ("timerlog", "")):
            whole = os.path.join(self.root, folder)
            if os.path.isdir(whole):
                for name in sorted(os.listdir(whole)):
                    if name.endswith(suffix) and os.path.isfile(os.path.join(whole, name)):
                        yield os.path.join(whole, name)

    def _other(self, path: str) -> None:
        derived = os.path.basename(path) == "checkpoint"
        if os.path.getsize(path) == 0:
            self._found(path, "empty", derived=derived)
            return
        for entry in dump_file(path):
            if entry["kind"] == "damage":
                self._found(path, f"position {entry['position']}: {entry['remark']}", derived=derived)
            elif entry.get("crc_right") is False:
                self._found(path, "the checksum of the mark is wrong", derived=derived)
            elif derived and entry.get("synced_offset", 0) > self.report.log_end:
                text = f"says that the log is safe up to {entry['synced_offset']}, and it ends at {self.report.log_end}"
                self._found(path, text, derived=True)
