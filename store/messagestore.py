"""The store as one thing: messages in, messages out, and what keeps it safe.

What it is for: opening, closing, and the work the clock drives. It runs on one thread and never waits for the disk
there: the blocking parts are handed out as callables (`flush_plan`, `checkpoint_plan`, `clean_plan`) for a thread to
run, and reads raise `ColdRead` when they would wait. Only opening and closing wait. What it must not do: know
requests, sockets, or configuration files.

Crash guarantee: a message is acknowledged after `commit`. From then on it survives a crash of the process; once
`flushed_offset` is past it, also that of the machine.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from msgspec.structs import replace

from .batchruns import BatchRunWriter
from .checkpoint import load_checkpoint, save_checkpoint
from .checkpoints import CHECKPOINT_MANY_FILES
from .commitlog import CommitLog
from .dirlock import AbortFile, DirectoryLock
from .dispatch import DeliveryTime
from .errors import NotWritable, StoreDamaged, StoreError
from .fdpool import HotReader, WaitingReader
from .files import Files, RealFiles
from .groupwriter import StagedPut
from .keyindex import KeyIndex
from .options import StoreOptions
from .queuetable import ConsumeQueues
from .reading import QueueReading, physical_memory_bytes
from .recovery import Recovery, RecoveryReport
from .retention import DiskState, Retention
from .storereads import QueryResult, StoreReads
from .syncjob import SyncJob
from .truncation import Truncation

__all__ = ["MessageStore", "QueryResult", "RecoveryReport", "StagedPut", "StoreOptions"]


class MessageStore(BatchRunWriter, Truncation, StoreReads):
    """One folder of messages.

    Args:
        wall_clock_ms: Unix milliseconds.
        delivery_time_ms: (delay level, store time) to the time of delivery, for the units of delayed messages.
        files: the file system; a simulated one in tests.
        memory_bytes: physical memory, when it is not to be asked of the system.
    """

    def __init__(
        self,
        options: StoreOptions,
        *,
        wall_clock_ms: Callable[[], int],
        delivery_time_ms: DeliveryTime | None = None,
        files: Files | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self._files: Files = files or RealFiles()
        self._root = str(options.root)
        log = CommitLog(self._files, str(options.commit_log_path()), options.mapped_file_size_commit_log)
        queues = ConsumeQueues(
            self._files,
            os.path.join(self._root, "consumequeue"),
            options.mapped_file_size_consume_queue,
            log,
            open_files_max=options.open_files_max,
        )
        self._reading = QueueReading(
            log, queues, options, physical_memory_bytes() if memory_bytes is None else memory_bytes
        )
        index = self._make_index(options, log, wall_clock_ms) if options.message_index_enable else None
        super().__init__(log, queues, index, options, wall_clock_ms, delivery_time_ms)
        self._hot_log_reader = HotReader(self._files, log.pool)
        self._retention = Retention(self._files, log, queues, index, options)
        self._lock = DirectoryLock(self._files, self._root)
        self._abort = AbortFile(self._files, self._root)
        self._owner = 0  # the thread that may change things
        self.cleaned_files = 0
        self.clean_error: BaseException | None = None
        """Why a file could not be deleted, the last time that happened."""

    def _make_index(self, options: StoreOptions, log: CommitLog, wall_clock_ms: Callable[[], int]) -> KeyIndex:
        reader = WaitingReader(self._files, log.pool)
        return KeyIndex(
            self._files,
            os.path.join(self._root, "index"),
            options.max_hash_slot_num,
            options.max_index_num,
            wall_clock_ms=wall_clock_ms,
            record_timestamp=lambda offset: self._reading.record_timestamp(offset, reader),
        )

    # -- opening and closing -------------------------------------------------------------------------------------

    def open(self) -> RecoveryReport:
        """Lock the folder, recover, and take writes.

        Raises:
            StoreLocked: it is served already.
            StoreError: files that cannot be used, each named.
        """
        try:
            self._files.make_directories(self._root)
        except OSError as error:
            raise StoreError(f"cannot make the folder: {error.strerror}", file=self._root) from error
        self._lock.acquire()
        try:
            self._refuse_other_layouts()
            report = self.report = self._recover()
        except OSError as error:
            self._abandon()
            raise StoreError(f"cannot open the store: {error}", file=self._root) from error
        except BaseException:
            self._abandon()
            raise
        self._owner = threading.get_ident()
        self._open = True
        self._judge()
        return report

    def _refuse_other_layouts(self) -> None:
        """Say so when the folder belongs to a store of another kind, instead of beginning an empty one beside it."""
        for name, is_folder in self._files.entries(self._root):
            if is_folder and name.startswith(("dledger-", "consumequeue_rocksdb", "rocksdb_")):
                raise StoreDamaged("a DLedger or RocksDB store; only the plain file layout is served", file=name)

    def _recover(self) -> RecoveryReport:
        report = RecoveryReport(not self._abort.exists(), self._abort.is_of_boot(self.options.boot_id))
        self.log.load()
        self.queues.load()
        if self.index is not None:
            self.index.load()
        self._checkpoint = load_checkpoint(self._files, self._checkpoint_path)
        self.master_flushed_offset = self._checkpoint.master_flushed_offset
        Recovery(
            files=self._files,
            log=self.log,
            queues=self.queues,
            index=self.index,
            checkpoint=self._checkpoint,
            delivery=self._delivery,
            check_crc=self.options.check_crc_on_recover,
            index_safe=self.options.message_index_safe,
            report=report,
        ).run()
        self._abort.create(os.getpid(), self.options.boot_id)
        self._position = self._part_begin = self.log.wrote_offset
        self._file_end = self.log.start_of(self._position) + self.log.file_size
        self._last_timestamp = max(self._checkpoint.physic_msg_timestamp, report.last_store_timestamp)
        if len(self.queues.unsynced) + len(self.queues.dirty) <= CHECKPOINT_MANY_FILES:  # else a thread does it soon
            self.tick_checkpoint()
        return report

    def _abandon(self) -> None:
        """Let go of everything as it is, as a crash would."""
        self.log.close()
        self.queues.close()
        if self.index is not None:
            self.index.close()
        self._lock.release()

    def close(self) -> None:
        """Write and sync everything, and leave the mark of an orderly end. A sync under way must have ended before.

        Raises:
            StoreError: something could not be made durable; the abort file stays, so the next start recovers.
        """
        if not self._open:
            return
        self._open = False
        self._judge()
        try:
            self._drop_group()
            if self._failure is None:
                self.tick_checkpoint()
                self._note_files()
                self._abort.remove()
        except OSError as error:
            raise StoreError(f"cannot close the store in order: {error}", file=self._root) from error
        finally:
            self._abandon()

    def _note_files(self) -> None:
        """Have the next start miss files that are gone by then."""
        counted = replace(
            self._checkpoint,
            queue_files=self.queues.count_files(),
            index_files=0 if self.index is None else len(self.index.files),
        )
        save_checkpoint(self._files, self._checkpoint_path, counted)

    def destroy_topic(self, topic: str) -> bool:
        """Delete the consume queues of a topic; its records stay in the log until they expire.

        Raises:
            StoreError: a file or folder could not be deleted.
        """
        for queue_id in self.queues.queue_ids(topic):
            self._by_key.pop((topic, queue_id), None)
        self._by_topic.pop(topic, None)
        try:
            return self.queues.remove_topic(topic)
        except OSError as error:
            raise StoreError(f"cannot delete the queues of {topic}: {error}") from error

    # -- flushing ------------------------------------------------------------------------------------------------

    def flush_plan(self, least_pages: int = 0) -> SyncJob | None:
        """The sync of the log up to here, to be run in a thread; None when nothing is to do or one is under way.

        Pass what it returns to `flushed`, or what it raises to `flush_failed`.
        """
        return self.log.flush_plan(least_pages)

    def flushed(self, offset: int) -> None:
        """A sync is done."""
        self.log.flushed(offset)

    def flush_failed(self, error: BaseException) -> None:
        """A sync failed. What it was about may be lost: no more messages are taken until the store is opened anew."""
        self.log.flush_failed()
        self._fail(f"a sync failed: {error}", error)

    # -- what is derived -----------------------------------------------------------------------------------------

    def tick_consume_queues(self, limit: int = 64) -> int:
        """Write queue units and index entries that are only in memory, of at most `limit` queues.

        Returns:
            How many queues still wait.
        """
        try:
            left = self.queues.write_tails(limit)
            if self.index is not None:
                self.index.build()
        except OSError as error:
            self._derived_failed(error)
            return len(self.queues.dirty)
        self._derived_works()
        return left

    def _build_index(self) -> None:
        if self.index is not None and self.index.pending and threading.get_ident() == self._owner:
            try:
                self.index.build()
            except OSError as error:
                self._derived_failed(error)

    # -- retention -----------------------------------------------------------------------------------------------

    def clean_plan(self) -> Callable[[], int] | None:
        """One round of cleaning, to be called every `cleanResourceInterval`; the returned job unlinks files.

        Pass what it returns to `cleaned`, or what it raises to `clean_failed`. Sets or clears the disk-full state.

        Raises:
            StoreError: the disk or a file could not be looked at.
        """
        try:
            job = self._retention.plan(self._wall_clock_ms(), self._checkpoint.synced_offset or 0)
        except OSError as error:
            raise StoreError(f"cannot clean: {error}", file=self._root) from error
        self._judge_disk()
        return job

    def tick_disk(self) -> None:
        """Look whether a full disk has space again, before the next cleaning. Raises `OSError`."""
        if self._disk_full is not None:
            self._retention.look_at_disk()
            self._judge_disk()

    def _judge_disk(self) -> None:
        disk = self._retention.disk
        if disk.full != (self._disk_full is not None):
            self._disk_full = NotWritable(f"the disk is {disk.ratio:.0%} full", file=self._root) if disk.full else None
            self._judge()

    def cleaned(self, count: int) -> None:
        """So many files are gone."""
        self.cleaned_files += count

    def clean_failed(self, error: BaseException) -> None:
        """A file could not be deleted; the next start lists it again, and cleaning goes on with the others."""
        self.clean_error = error

    def clean_expired(self) -> int:
        """One round of cleaning, waiting for it; returns how many files went."""
        job = self.clean_plan()
        return 0 if job is None else job()

    def delete_expired_by_hand(self) -> None:
        """Let expired files go in the next rounds, whatever the hour."""
        self._retention.ask_by_hand()

    def clean_queues_by_hand(self) -> None:
        """Look for expired files in all consume queues in the next rounds of cleaning."""
        self._retention.ask_all_queues()

    @property
    def disk(self) -> DiskState:
        """How full the disks were when they were last looked at."""
        return self._retention.disk
