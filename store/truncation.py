"""Cutting the end off an open log: what a slave has and its new master does not.

What it is for: log, queues, index, checkpoint and all that is in memory go back to an offset, without a restart. What
it must not do: decide where. It waits for the disk, on the store's thread, and no sync may be under way in another one.

Crash guarantee: first everything is synced and the checkpoint goes back to the offset, then the log is cut. A crash in
between leaves a log that ends anywhere from the offset to its old end, which recovery brings to one state; when
`cut_log` returns, the cut is durable, so that no byte of the old end can come back behind a new one.

Source: `DefaultMessageStore.truncateFiles`, `CommitLog.truncateDirtyFiles` (5.5.0).
"""

from __future__ import annotations

from msgspec.structs import replace

from .checkpoint import save_checkpoint
from .checkpoints import Checkpoints
from .consumequeue import ConsumeQueue
from .errors import FlushFailed, NotWritable, ReplicaRefused, StoreError
from .files import remove_file
from .recovery import NOTHING_WRITTEN, LogScan, RecoveryReport


class Truncation(Checkpoints):
    """What a store whose end can be cut adds to a replica."""

    report: RecoveryReport
    """What opening the store found and did."""

    @property
    def is_syncing(self) -> bool:
        """Whether a sync is under way in another thread."""
        return self._checkpointing or self.log.is_flushing

    def cut_log(self, offset: int) -> int:
        """Make `offset` the end of the log; where no record begins there, the last place before it where one does.

        Returns:
            The end of the log.

        Raises:
            ReplicaRefused: the log begins behind the offset. NotWritable: the store is closed or failed before.
            StoreError: the system refused; the store takes nothing more until it is opened anew.
        """
        self.forget_incomplete()
        self._drop_group()
        log = self.log
        if offset >= log.wrote_offset and (offset or not log.starts):
            return log.wrote_offset
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        if not self._open:
            raise NotWritable("the store is closed")
        if self.is_syncing:
            raise NotWritable("a sync is under way")
        if offset < log.min_offset:
            raise ReplicaRefused(f"the log cannot end at {offset}, it begins at {log.min_offset}")
        try:
            offset = self._record_at_or_before(offset)
            self.tick_checkpoint()
            queues, first_timestamp = self._queues_behind(offset)
            index_file, index_count = (0, 0) if self.index is None else self.index.position_at(offset)
            self._note_cut(offset, index_file, index_count, first_timestamp)
            log.set_end(offset)
            if offset:
                self._files.sync_directory(log.folder)
                for queue in queues:
                    self.queues.cut_behind(queue, offset)
                if self.index is not None:
                    self.index.cut_to_synced(index_file, index_count)
            else:
                self._begin_anew()
        except (OSError, FlushFailed) as error:
            self._fail(f"the log could not be cut at {offset}: {error}", error)
            raise StoreError(f"cannot cut the log at {offset}: {error}", file=log.folder) from error
        while self._samples and self._samples[-1][0] > offset:
            self._samples.pop()
        if self.held_back is not None:
            self.held_back.forget_behind(offset)
        self.last_received = None
        self._drop_group()  # sets where the next group begins
        return offset

    def record_before(self, offset: int) -> int | None:
        """Where the last record before an offset begins at which one ends; None when the log has none there.

        Reads a whole file at worst, and waits for the disk.
        """
        log = self.log
        if not log.min_offset < offset <= log.wrote_offset or not log.starts:
            return None
        scan = LogScan(self._files, log, log.start_of(offset - 1), check_crc=False)
        found = scan.end
        for _ in scan:
            if scan.end >= offset:
                break
            found = scan.end
        return found

    def _record_at_or_before(self, offset: int) -> int:
        """The last offset up to this one where a record, a blank or the end of the files is."""
        log = self.log
        scan = LogScan(self._files, log, offset, check_crc=False)
        if next(iter(scan), None) is not None or scan.end > offset or scan.stopped == NOTHING_WRITTEN:
            return offset
        scan = LogScan(self._files, log, log.start_of(offset), check_crc=False)
        found = scan.end
        for _ in scan:
            if scan.end > offset:
                break
            found = scan.end
        return found

    def _queues_behind(self, offset: int) -> tuple[list[ConsumeQueue], int]:
        """The queues that have messages behind an offset, and the store time of the first of them."""
        scan = LogScan(self._files, self.log, offset, check_crc=False)
        keys: dict[tuple[str, int], None] = {}
        first_timestamp = 0
        for record in scan:
            keys[record.topic, record.queue_id] = None
            first_timestamp = first_timestamp or record.store_timestamp
        if scan.end < self.log.wrote_offset:  # damage in what goes away hides what is behind it
            return list(self.queues.all()), first_timestamp
        found = [self.queues.find(topic, queue_id) for topic, queue_id in keys]
        return [queue for queue in found if queue is not None], first_timestamp

    def _note_cut(self, offset: int, index_file: int, index_count: int, first_timestamp: int) -> None:
        """Have recovery trust nothing behind the offset from now on."""
        old = self._checkpoint
        until = first_timestamp or old.physic_msg_timestamp
        self._checkpoint = replace(
            old,
            physic_msg_timestamp=min(old.physic_msg_timestamp, until),
            logics_msg_timestamp=min(old.logics_msg_timestamp, until),
            index_msg_timestamp=min(old.index_msg_timestamp, until),
            confirm_physical_offset=min(old.confirm_physical_offset, offset),
            consume_queue_offset=min(old.consume_queue_offset, offset),
            synced_offset=offset,
            index_offset=offset,
            index_file=index_file,
            index_count=index_count,
            queue_files=None,
        )
        save_checkpoint(self._files, self._checkpoint_path, self._checkpoint)

    def _begin_anew(self) -> None:
        """Nothing is left: the master chooses where the log begins."""
        log = self.log
        log.close()
        for start in log.starts:
            remove_file(self._files, log.path(start))
        log.starts = []
        self._files.sync_directory(log.folder)
        for queue in self.queues.all():
            self.queues.discard(queue)
        if self.index is not None:
            self.index.discard_all()
