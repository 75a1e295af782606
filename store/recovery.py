"""Bringing a store to one consistent state when it is opened.

The commit log comes first: its end is found record by record, and what is damaged behind it is cut. Then everything
derived from it is cut to what is known to be complete and built again from there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from rmqwire.checksum import crc32
from rmqwire.errors import MalformedMessage
from rmqwire.message import BLANK_MAGIC, MESSAGE_MAGIC_V1, MESSAGE_MAGIC_V2, StoredMessage, decode_record

from .checkpoint import Checkpoint
from .commitlog import BLANK_BYTES, CommitLog
from .consumequeue import ConsumeQueue
from .dispatch import DeliveryTime, Dispatcher, GapFound, KeyIndexPort
from .errors import StoreDamaged
from .fdpool import WaitingReader
from .files import SECTOR_BYTES, Files
from .queuetable import ConsumeQueues

_CHUNK_BYTES = 1 << 20
_SIZE_MAGIC = struct.Struct(">ii")
NOTHING_WRITTEN = "nothing was written"


class RecoveredIndex(KeyIndexPort, Protocol):
    """What recovery does with the index."""

    def cut_to_synced(self, file_number: int, count: int) -> list[str]:
        """Go back to what a checkpoint noted; returns what a person should know."""
        ...

    def position(self) -> tuple[int, int]:
        """The newest file's name as a number and its entry count."""
        ...

    def file_count(self) -> int:
        """How many files there are."""
        ...

    def discard_after(self, timestamp_ms: int) -> None:
        """Delete the files whose last entry is younger than that, as the official broker does after a crash."""
        ...

    def discard_all(self) -> None:
        """Delete every file."""
        ...


@dataclass(slots=True)
class RecoveryReport:
    """What opening a store found and did."""

    previous_exit_ok: bool = True
    same_boot: bool = False
    """The previous run was in the same life of the machine."""
    case: str = ""
    """The name of the recovery function that ran."""
    log_begin: int = 0
    log_end: int = 0
    scanned_from: int = 0
    """Where reading of the log began."""
    scanned_records: int = 0
    truncated_bytes: int = 0
    """Damaged or unfinished bytes behind the last good record."""
    last_store_timestamp: int = 0
    """Store time of the last record that was read; 0 when none was."""
    notes: list[str] = field(default_factory=list)
    """One clear line for each thing a person should know."""

    def lines(self) -> list[str]:
        """What to log: where the log begins and ends, and the notes."""
        how = "closed in order" if self.previous_exit_ok else "not closed in order"
        summary = (
            f"store opened ({how}, {self.case}): commit log {self.log_begin} to {self.log_end}, "
            f"{self.scanned_records} records read from {self.scanned_from}"
        )
        return [summary, *self.notes]


class LogScan:
    """Good records of the log from an offset on, and where they end.

    After iteration `end` is the offset behind the last good record, and `stopped` says why it is the last.
    """

    def __init__(self, files: Files, log: CommitLog, start: int, *, check_crc: bool) -> None:
        self.end = start
        self.stopped = ""
        self._log = log
        self._check_crc = check_crc
        self._reader = WaitingReader(files, log.pool)

    def __iter__(self) -> Iterator[StoredMessage]:
        log = self._log
        while log.has(self.end):
            file_end = log.start_of(self.end) + log.file_size
            yield from self._file(file_end)
            if self.end != file_end:
                return
        self.stopped = self.stopped or "end of the files"

    def _file(self, file_end: int) -> Iterator[StoredMessage]:
        log, reader = self._log, self._reader
        base, chunk = self.end, b""
        while True:
            at = self.end - base
            if len(chunk) - at < BLANK_BYTES:
                base, chunk, at = self.end, log.read(reader, self.end, min(_CHUNK_BYTES, file_end - self.end)), 0
                if len(chunk) < BLANK_BYTES:
                    self.stopped = "less than a record is left in the file"
                    return
            size, magic = _SIZE_MAGIC.unpack_from(chunk, at)
            if magic == BLANK_MAGIC:
                if size != file_end - self.end:
                    self.stopped = f"a blank of {size} bytes that does not end the file"
                    return
                self.end = file_end
                return
            if magic not in (MESSAGE_MAGIC_V1, MESSAGE_MAGIC_V2):
                self.stopped = NOTHING_WRITTEN if size == 0 and magic == 0 else "no record begins there"
                return
            if size <= 0 or size + BLANK_BYTES > file_end - self.end:
                self.stopped = f"a record of {size} bytes does not fit into the file"
                return
            if at + size > len(chunk):
                base, at = self.end, 0
                chunk = log.read(reader, self.end, min(max(_CHUNK_BYTES, size), file_end - self.end))
            try:
                record = decode_record(chunk, at)
            except MalformedMessage as error:
                self.stopped = str(error)
                return
            if record.physical_offset != self.end:
                self.stopped = f"the record there says it is at {record.physical_offset}"
                return
            if self._check_crc and crc32(record.body) & 0x7FFFFFFF != record.body_crc:
                self.stopped = "the body's checksum is wrong"
                return
            if has_lost_page(record):
                self.stopped = "a page of the record was never written"
                return
            self.end += size
            yield record


def has_lost_page(record: StoredMessage) -> bool:
    """Whether a part of the record that no checksum covers lies in a sector that reads as zeros.

    After a power loss any page that was not synced can be missing, and a page can be torn at the sectors of a disk. The
    body has a checksum and the lengths have to add up; the topic and the properties have nothing, but they never hold
    zeros from the beginning of a sector to its end. The sector that properties begin in holds their length as well,
    which would be zero, unless they begin with it.
    """
    if "\0" in record.topic:
        return True
    properties = record.properties
    end = record.physical_offset + record.size
    begin = end - len(properties)
    sector = begin - begin % SECTOR_BYTES
    if begin - sector > 1:
        sector += SECTOR_BYTES
    while sector < end:
        piece = properties[max(sector - begin, 0) : sector + SECTOR_BYTES - begin]
        if piece and not any(piece):
            return True
        sector += SECTOR_BYTES
    return False


@dataclass(slots=True)
class Recovery:
    """The pieces recovery works on; each case is a method that says which crash leads to it."""

    files: Files
    log: CommitLog
    queues: ConsumeQueues
    index: RecoveredIndex | None
    checkpoint: Checkpoint
    delivery: DeliveryTime | None
    check_crc: bool
    report: RecoveryReport
    index_safe: bool = False
    """`messageIndexSafe`."""

    def run(self) -> None:
        """Find out which case it is, and bring the store to one state.

        Raises:
            StoreDamaged, OSError: files that cannot be read or written.
        """
        report, log, mark = self.report, self.log, self.checkpoint.synced_offset
        if not log.starts:
            self.without_a_log()
        elif mark is not None and self._is_boundary(mark):
            if report.previous_exit_ok:
                self.after_own_clean_exit(mark)
            else:
                self.after_own_crash(mark)
        elif report.previous_exit_ok:
            self.after_official_clean_exit()
        else:
            self.after_official_crash()
        self.queues.bound = None
        report.log_begin, report.log_end = log.min_offset, log.wrote_offset

    def _is_boundary(self, offset: int) -> bool:
        """Whether a record, a blank or the unwritten rest of the log begins at an offset."""
        log = self.log
        if offset == log.starts[-1] + log.file_size:
            return True
        if not log.has(offset):
            return False
        scan = LogScan(self.files, log, offset, check_crc=False)
        return next(iter(scan), None) is not None or scan.end > offset or scan.stopped == NOTHING_WRITTEN

    # -- the cases -----------------------------------------------------------------------------------------------

    def without_a_log(self) -> None:
        """A new folder; or somebody removed the log, and queues that point into it are worth nothing.

        Source: `ConsumeQueueStore.recover`, `CommitLog.recoverAbnormally` (no files: all queues are destroyed).
        """
        self.report.case = "without_a_log"
        topics = self.queues.topics()
        for topic in topics:
            self.queues.remove_topic(topic)
        if topics:
            self.report.notes.append(f"no commit log: the consume queues of {len(topics)} topics were removed")
        if self.index is not None:
            self.index.discard_all()

    def after_own_clean_exit(self, mark: int) -> None:
        """`close` ran to its end, so the mark is the end of the log and everything derived is complete.

        Another broker may have run in between and closed in order as well; then there are records behind the mark, and
        what it derived from them is found built.
        """
        self.report.case = "after_own_clean_exit"
        missing = self._missing_files(mark)
        if missing:
            self.after_files_were_removed(mark, missing)
        else:
            self._dispatch_from(mark)

    def after_files_were_removed(self, mark: int, missing: str) -> None:
        """Somebody removed consume queues or index files; what the log still has is dispatched again.

        Of a queue whose messages have all expired only its end counts, and nothing could give that again.
        """
        self.report.case += ", after_files_were_removed"
        self.report.notes.append(f"{missing}: everything derived is built again")
        for queue in self.queues.all():
            if queue.max_offset > queue.min_offset:
                self.queues.discard(queue)
        if self.index is not None:
            self.index.discard_all()
        self._dispatch_from(self.log.min_offset, complete_to=mark)

    def _missing_files(self, mark: int) -> str:
        """What of the files that were there when the store was closed is gone; empty when nothing is."""
        checkpoint, index = self.checkpoint, self.index
        if mark > self.log.min_offset and not self.queues.topics():
            return "no consume queue is there"
        if checkpoint.queue_files is None:
            return ""
        found = self.queues.count_files()
        if found < checkpoint.queue_files:
            return f"of {checkpoint.queue_files} consume queue files {found} are there"
        if index is not None and (
            index.file_count() < checkpoint.index_files
            or (checkpoint.index_files and index.position() < (checkpoint.index_file, checkpoint.index_count))
        ):
            return f"of {checkpoint.index_files} index files {index.file_count()} are as they were"
        return ""

    def after_own_crash(self, mark: int) -> None:
        """This broker was killed, or the machine lost power.

        Below the mark log, queues and index were synced. Above it a kill leaves what was written (of the
        queues only what had left memory), and a power loss any subset of the pages: so the log is read from the mark
        on with checksums, queues are cut there, and both are built again as far as the log is good.
        """
        self.report.case = "after_own_crash"
        if mark > self.log.min_offset and not self.queues.topics():
            self.after_files_were_removed(mark, "no consume queue is there")
            return
        start = mark
        if self.index is not None:
            checkpoint = self.checkpoint
            self.report.notes += self.index.cut_to_synced(checkpoint.index_file, checkpoint.index_count)
            start = min(start, checkpoint.index_offset)
            if not self._is_boundary(start):
                start = self.log.min_offset
        self.queues.bound = mark
        for queue in self.queues.all():
            self.queues.clear_behind(queue, queue.max_offset)
        self._dispatch_from(start, synced=mark)

    def after_official_clean_exit(self) -> None:
        """An official broker closed in order: its queues reach to the last record it dispatched.

        Source: `CommitLog.recoverNormally`, 5.3.4.
        """
        self.report.case = "after_official_clean_exit"
        end = self._queues_end()
        self._dispatch_from(end if end >= self.log.min_offset and self._is_boundary(end) else self.log.min_offset)

    def after_official_crash(self) -> None:
        """An official broker was killed or lost power, or ours before its first checkpoint.

        Its checkpoint says by store times what was written three seconds ago and taken for safe. From the last file
        that begins before that time every record is dispatched; what the queues hold already is left as it is.

        Source: `CommitLog.recoverAbnormally`, `isMappedFileMatchedRecover`, 4.7.0 and 5.3.4.
        """
        self.report.case = "after_official_crash"
        if self.index is not None:
            self.index.discard_after(self.checkpoint.index_msg_timestamp)
        self._queues_end()
        log, until = self.log, self.checkpoint.min_timestamp()
        if self.index is not None and self.index_safe:
            until = min(until, self.checkpoint.index_msg_timestamp)
        start = log.starts[0]
        for candidate in reversed(log.starts):
            first = next(iter(LogScan(self.files, log, candidate, check_crc=False)), None)
            if first is not None and 0 < first.store_timestamp <= until:
                start = candidate
                break
        self._dispatch_from(start, synced=start)

    def rebuild(self) -> None:
        """The queues lack units from before the place where recovery began: all of the log is dispatched again."""
        log_min = self.log.min_offset
        self.report.case += ", rebuild"
        self.report.scanned_records = 0
        for queue in self.queues.all():
            self.queues.cut(queue, queue.min_offset)
        if self.index is not None:
            self.index.discard_all()
        self._dispatch(log_min, check_crc=self.check_crc)

    # -- parts ---------------------------------------------------------------------------------------------------

    def _queues_end(self) -> int:
        """Where the last record that is in any queue ends; every queue is opened and stale units are cleared."""
        end = -1
        for queue in self.queues.all():
            if queue.max_offset > queue.min_offset:
                physical_offset, size, _ = self.queues.unit(queue, queue.max_offset - 1, self.queues.waiting)
                end = max(end, physical_offset + size)
            self.queues.clear_behind(queue, queue.max_offset)
        return end

    def _dispatch_from(self, start: int, *, synced: int | None = None, complete_to: int = 0) -> None:
        """Read the log from `start` on, derive what is missing, and cut what is no record behind its end.

        Args:
            synced: what is behind this offset may not be on disk.
            complete_to: below this offset the log was good once: damage there is not cut away with all that follows.

        Raises:
            StoreDamaged: there is such damage.
        """
        try:
            scan = self._dispatch(start, check_crc=self.check_crc and not complete_to)
        except GapFound as gap:
            self.report.notes.append(f"{gap}: everything derived is built again")
            self.rebuild()
            scan = LogScan(self.files, self.log, self.log.min_offset, check_crc=False)
            for _ in scan:
                pass
        end = scan.end
        if end < complete_to:
            raise StoreDamaged(
                f"{scan.stopped}, and good records follow: what is derived from them cannot be built",
                file=self.log.path(self.log.start_of(end)),
                position=end % self.log.file_size,
            )
        removed = self.log.set_end(end, flushed=end if synced is None else min(synced, end))
        if removed:
            self.report.truncated_bytes = removed
            self.report.notes.append(
                f"commit log cut at {end} ({scan.stopped}): {removed} bytes that are no complete records were removed"
            )
        for queue in self.queues.loaded():
            self._cut_to_log(queue, end)

    def _dispatch(self, start: int, *, check_crc: bool) -> LogScan:
        self.report.scanned_from = start
        dispatcher = Dispatcher(self.queues, self.index, self.delivery, from_log_begin=start <= self.log.min_offset)
        scan = LogScan(self.files, self.log, start, check_crc=check_crc)
        for record in scan:
            dispatcher.dispatch(record)
            self.report.scanned_records += 1
            self.report.last_store_timestamp = record.store_timestamp
        self.report.notes.extend(dispatcher.gaps)
        return scan

    def _cut_to_log(self, queue: ConsumeQueue, end: int) -> None:
        """Drop the units about bytes behind the end of the log."""
        before = self.queues.cut_behind(queue, end)
        if before is not None:
            self.report.notes.append(
                f"{queue.topic} queue {queue.queue_id}: cut from {before} to {queue.end_offset}, "
                f"as the log ends at {end}"
            )
