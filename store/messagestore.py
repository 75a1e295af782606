"""The store as one thing: messages in, messages out, and what keeps it safe.

What it is for: the single writer. `stage` gives a message its place, `commit` writes all that is staged with one
system call and makes it visible; everything else reads. It runs on one thread and never waits for the disk there: the
blocking parts are handed out as callables (`flush_plan`, `checkpoint_plan`, `clean_plan`) for a thread to run, and
reads raise `ColdRead` when they would wait. What it must not do: know requests, sockets, or configuration files.

Crash guarantee: a message is acknowledged after `commit`. From then on it survives a crash of the process; once
`flushed_offset` is past it, also that of the machine.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from zlib import crc32

import msgspec

from rmqwire.message import (
    PROPERTIES_SIZE_MAX_BYTES,
    SYS_FLAG_BORN_HOST_V6,
    SYS_FLAG_STORE_HOST_V6,
    SYS_FLAG_TRANSACTION_MASK,
    BatchEntry,
    decode_properties,
)

from .checkpoint import Checkpoint, checkpoint_job, load_checkpoint
from .commitlog import BLANK_BYTES, CommitLog
from .consumequeue import TAIL_WRITE_BYTES, UNIT, ConsumeQueue, ConsumeQueues
from .dirlock import AbortFile, DirectoryLock
from .dispatch import DeliveryTime, unit_tags_code
from .errors import (
    FlushFailed,
    MessageTooLarge,
    NotWritable,
    PropertiesTooLarge,
    StoreError,
    TopicTooLong,
    WriteFailed,
)
from .fdpool import ColdReader, HotReader, Reader
from .files import Files, RealFiles
from .options import StoreOptions
from .reading import MAX_PULL_BYTES, GetResult, QueueReading, physical_memory_bytes
from .recovery import Recovery, RecoveryReport

ArrivalCallback = Callable[[str, int, int, Sequence[int]], None]
"""(topic, queue id, the queue's new max offset, tags codes of the new messages), once per queue and commit."""

_UNIT_PACK = UNIT.pack
_PROPERTIES_LENGTH = struct.Struct(">h").pack
_RECORD_BODY_MARGIN_BYTES = 64 * 1024
"""As Java: a record may be so much larger than `maxMessageSize`."""
_TRANSACTION_NOT_IN_QUEUE = frozenset((4, 12))  # prepared and rollback have no queue offset


class StagedPut(msgspec.Struct, gc=False):
    """Where a message goes. It is there when `commit` has returned."""

    physical_offset: int
    queue_offset: int
    size: int
    """Bytes of the record; `physical_offset + size` is what has to be flushed for it."""
    store_timestamp: int


class MessageStore:
    """One folder of messages.

    Args:
        wall_clock_ms: Unix milliseconds.
        delivery_time_ms: (delay level, store time) to the time of delivery, for the units of delayed messages.
        files: the file system; a simulated one in tests.
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
        self.options = options
        self.on_arrival: ArrivalCallback | None = None
        self._wall_clock_ms = wall_clock_ms
        self._delivery = delivery_time_ms
        self._files: Files = files or RealFiles()
        self._root = str(options.root)
        self._checkpoint_path = os.path.join(self._root, "checkpoint")
        self.log = CommitLog(self._files, str(options.commit_log_path()), options.mapped_file_size_commit_log)
        self.queues = ConsumeQueues(
            self._files,
            os.path.join(self._root, "consumequeue"),
            options.mapped_file_size_consume_queue,
            self.log,
            open_files_max=options.open_files_max,
        )
        self._reading = QueueReading(
            self.log, self.queues, options, physical_memory_bytes() if memory_bytes is None else memory_bytes
        )
        self._hot_log_reader = HotReader(self._files, self.log.pool)
        self._lock = DirectoryLock(self._root)
        self._abort = AbortFile(self._files, self._root)
        self._checkpoint = Checkpoint()
        self._checkpointing = False
        self._samples: deque[tuple[int, int]] = deque()  # (end of the log, store time) at past checkpoints
        self._not_writable: NotWritable | None = NotWritable("the store is not open")
        self._open = False

        store_host = options.store_host
        store_v6 = len(store_host) == 20
        self._store_host = store_host
        self._sys_flag = SYS_FLAG_STORE_HOST_V6 if store_v6 else 0
        self._pack_v4 = struct.Struct(f">iiiiiqqiq8sq{len(store_host)}siqi").pack
        self._pack_v6 = struct.Struct(f">iiiiiqqiq20sq{len(store_host)}siqi").pack
        self._fixed_size = 80 + len(store_host) + 2  # all but body, topic field and properties; born host IPv4
        self._body_max = options.max_message_size
        self._record_max = options.max_message_size + _RECORD_BODY_MARGIN_BYTES

        # The group that is being staged.
        self._by_key: dict[tuple[str, int], ConsumeQueue] = {}
        self._position = 0
        self._file_end = 0
        self._parts: list[bytes] = []
        self._part_begin = 0
        self._pieces: list[tuple[int, list[bytes]]] = []  # those that end a file, with their offset
        self._touched: list[ConsumeQueue] = []
        self._group_timestamp = 0
        self._last_timestamp = 0

    # -- opening and closing ---------------------------------------------------------------------------------------

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
            report = self._recover()
        except OSError as error:
            self._abandon()
            raise StoreError(f"cannot open the store: {error}", file=self._root) from error
        except BaseException:
            self._abandon()
            raise
        self._open = True
        self._not_writable = None
        return report

    def _recover(self) -> RecoveryReport:
        report = RecoveryReport(previous_exit_ok=not self._abort.exists())
        self.log.load()
        self.queues.load()
        self._checkpoint = load_checkpoint(self._files, self._checkpoint_path)
        Recovery(
            files=self._files,
            log=self.log,
            queues=self.queues,
            index=None,
            checkpoint=self._checkpoint,
            delivery=self._delivery,
            check_crc=self.options.check_crc_on_recover,
            report=report,
        ).run()
        self._abort.create(os.getpid())
        self._position = self._part_begin = self.log.wrote_offset
        self._file_end = self.log.start_of(self._position) + self.log.file_size
        self._last_timestamp = self._checkpoint.physic_msg_timestamp
        self.tick_checkpoint()
        return report

    def _abandon(self) -> None:
        self.log.close()
        self.queues.close()
        self._lock.release()

    def close(self) -> None:
        """Write and sync everything, and leave the mark of an orderly end. A sync under way must have ended before.

        Raises:
            StoreError: something could not be made durable; the abort file stays, so the next start recovers.
        """
        if not self._open:
            return
        self._open = False
        clean = not self._not_writable_for_good()
        self._not_writable = NotWritable("the store is closed")
        try:
            self._drop_group()
            if clean:
                self.tick_checkpoint()
                self._abort.remove()
        except OSError as error:
            raise StoreError(f"cannot close the store in order: {error}", file=self._root) from error
        finally:
            self._abandon()

    # -- putting -----------------------------------------------------------------------------------------------------

    def stage(
        self,
        topic: str,
        queue_id: int,
        body: bytes,
        properties: bytes,
        *,
        tags_code: int,
        keys: Sequence[str],
        flag: int,
        sys_flag: int,
        born_timestamp: int,
        born_host: bytes,
        reconsume_times: int = 0,
        prepared_transaction_offset: int = 0,
    ) -> StagedPut:
        """Give a message its place; nothing is written before `commit`.

        Args:
            properties: the property string as it is stored.
            tags_code: hash of its tags; of a message to the schedule topic the store computes it.
            keys: what it is indexed under: the unique key, and each of KEYS, without the topic.

        Raises:
            MessageIllegal: it breaks a limit. NotWritable: the store takes no messages. Nothing was assigned.
        """
        queue = self._by_key.get((topic, queue_id))
        if queue is None:
            queue = self._queue_for_put(topic, queue_id)
        body_length = len(body)
        properties_length = len(properties)
        if len(born_host) == 8:
            pack = self._pack_v4
            size = queue.fixed_size + body_length + properties_length
        else:
            pack = self._pack_v6
            size = queue.fixed_size + 12 + body_length + properties_length
            sys_flag |= SYS_FLAG_BORN_HOST_V6
        if (
            self._not_writable is not None
            or body_length > self._body_max
            or properties_length > PROPERTIES_SIZE_MAX_BYTES
            or size > self._record_max
        ):
            self._refuse(body_length, properties_length, size)
        position = self._position
        if position + size + BLANK_BYTES > self._file_end:
            position = self._roll(size)
        timestamp = self._group_timestamp or self._begin_group()
        if queue.is_schedule:
            tags_code = unit_tags_code(topic, decode_properties(properties), timestamp, self._delivery)
        if sys_flag & SYS_FLAG_TRANSACTION_MASK in _TRANSACTION_NOT_IN_QUEUE:
            queue_offset = 0
        else:
            queue_offset = queue.staged_next
            queue.staged_next = queue_offset + 1
            if not queue.staged:
                self._touched.append(queue)
            queue.staged += _UNIT_PACK(position, size, tags_code)
            queue.staged_tags.append(tags_code)
        self._parts += (
            pack(
                size,
                queue.magic,
                crc32(body) & 0x7FFFFFFF,
                queue_id,
                flag,
                queue_offset,
                position,
                sys_flag | self._sys_flag,
                born_timestamp,
                born_host,
                timestamp,
                self._store_host,
                reconsume_times,
                prepared_transaction_offset,
                body_length,
            ),
            body,
            queue.topic_field,
            _PROPERTIES_LENGTH(properties_length),
            properties,
        )
        self._position = position + size
        return StagedPut(position, queue_offset, size, timestamp)

    def stage_batch(
        self,
        topic: str,
        queue_id: int,
        entries: Sequence[BatchEntry],
        *,
        tags_codes: Sequence[int],
        keys: Sequence[Sequence[str]],
        sys_flag: int,
        born_timestamp: int,
        born_host: bytes,
        reconsume_times: int = 0,
    ) -> list[StagedPut]:
        """Give the messages of a client's batch their places, next to each other in one file.

        Args:
            tags_codes: one for each entry. keys: one sequence for each entry.

        Raises:
            As `stage`; then none of them was assigned a place.
        """
        queue = self._by_key.get((topic, queue_id))
        if queue is None:
            queue = self._queue_for_put(topic, queue_id)
        fixed = queue.fixed_size + (0 if len(born_host) == 8 else 12)
        total = 0
        for entry in entries:
            body_length, properties_length = len(entry.body), len(entry.properties)
            size = fixed + body_length + properties_length
            if body_length > self._body_max or properties_length > PROPERTIES_SIZE_MAX_BYTES or size > self._record_max:
                self._refuse(body_length, properties_length, size)
            total += size
        if self._not_writable is not None or total > self._record_max + fixed * len(entries):
            self._refuse(total, 0, total)
        if self._position + total + BLANK_BYTES > self._file_end:
            self._roll(total)
        return [
            self.stage(
                topic,
                queue_id,
                entry.body,
                entry.properties,
                tags_code=code,
                keys=entry_keys,
                flag=entry.flag,
                sys_flag=sys_flag,
                born_timestamp=born_timestamp,
                born_host=born_host,
                reconsume_times=reconsume_times,
            )
            for entry, code, entry_keys in zip(entries, tags_codes, keys, strict=True)
        ]

    def _queue_for_put(self, topic: str, queue_id: int) -> ConsumeQueue:
        if self._not_writable is not None:
            raise self._not_writable
        queue = self.queues.find_or_make(topic, queue_id)
        if not queue.fixed_size:
            if len(queue.topic_field) > 128 and not self.options.auto_message_version_on_topic_len:
                raise TopicTooLong(f"topic of {len(queue.topic_field) - 2} bytes, the limit is 127")
            queue.fixed_size = self._fixed_size + len(queue.topic_field)
        self._by_key[topic, queue_id] = queue
        return queue

    def _refuse(self, body_length: int, properties_length: int, size: int) -> None:
        if self._not_writable is not None:
            raise self._not_writable
        if properties_length > PROPERTIES_SIZE_MAX_BYTES:
            raise PropertiesTooLarge(
                f"properties of {properties_length} bytes, the limit is {PROPERTIES_SIZE_MAX_BYTES}"
            )
        raise MessageTooLarge(f"message of {body_length} bytes ({size} as stored), the limit is {self._body_max}")

    def _begin_group(self) -> int:
        # One reading of the clock for a group; as Java's under the put lock, store times never go back.
        self._group_timestamp = max(self._wall_clock_ms(), self._last_timestamp)
        return self._group_timestamp

    def _roll(self, size: int) -> int:
        """End the file with a blank and go on in the next one."""
        if size + BLANK_BYTES > self.log.file_size:
            raise MessageTooLarge(f"record of {size} bytes, but the log's files have {self.log.file_size}")
        self._parts.append(self.log.blank(self._position))
        self._pieces.append((self._part_begin, self._parts))
        self._parts = []
        self._position = self._part_begin = self._file_end
        self._file_end += self.log.file_size
        return self._position

    def commit(self) -> None:
        """Write all that is staged, and make it visible.

        Raises:
            WriteFailed: nothing of the group is stored, and its offsets are free again.
        """
        parts = self._parts
        if not parts and not self._pieces:
            return
        log = self.log
        try:
            for begin, piece in self._pieces:
                log.write(begin, b"".join(piece))
            if parts:
                log.write(self._part_begin, b"".join(parts))
        except WriteFailed as error:
            self._write_failed(error)
            raise
        log.wrote_offset = self._part_begin = self._position
        self._last_timestamp = self._group_timestamp
        self._group_timestamp = 0
        parts.clear()
        if self._pieces:
            self._pieces.clear()
            parts = self._parts
        touched = self._touched
        self._touched = []
        dirty = self.queues.dirty
        on_arrival = self.on_arrival
        arrived: list[tuple[ConsumeQueue, list[int]]] = []
        for queue in touched:
            tail = queue.memory[1]
            tail += queue.staged
            queue.staged.clear()
            queue.max_offset = queue.staged_next
            if queue not in dirty:
                dirty[queue] = None
            arrived.append((queue, queue.staged_tags))
            queue.staged_tags = []
            if len(tail) >= TAIL_WRITE_BYTES:
                self._write_tail(queue)
        if on_arrival is not None:
            for queue, tags in arrived:
                on_arrival(queue.topic, queue.queue_id, queue.max_offset, tags)

    def _write_tail(self, queue: ConsumeQueue) -> None:
        try:
            self.queues.write_tail(queue)
        except OSError as error:
            self._queue_write_failed(error)

    def _queue_write_failed(self, error: OSError) -> None:
        # The messages are safe in the log and readable from memory; but no more may come, or memory fills up.
        if self._not_writable is None:
            self._not_writable = NotWritable(f"consume queues cannot be written: {error.strerror}")

    def _write_failed(self, error: WriteFailed) -> None:
        self._drop_group()
        try:
            self.log.take_back()
        except WriteFailed as second:
            refusal = NotWritable(f"writing failed and could not be undone: {second}")
            refusal.__cause__ = second
            self._not_writable = refusal

    def _drop_group(self) -> None:
        for queue in self._touched:
            queue.staged_next = queue.max_offset
            queue.staged.clear()
            queue.staged_tags.clear()
        self._touched.clear()
        self._parts.clear()
        self._pieces.clear()
        self._group_timestamp = 0
        self._position = self._part_begin = self.log.wrote_offset
        self._file_end = self.log.start_of(self._position) + self.log.file_size

    # -- reading -----------------------------------------------------------------------------------------------------

    def get_messages(
        self,
        topic: str,
        queue_id: int,
        offset: int,
        max_num: int,
        *,
        tags: frozenset[int] | None = None,
        max_bytes: int = MAX_PULL_BYTES,
        allow_cold: bool = False,
    ) -> GetResult:
        """Messages of a queue from a logical offset on.

        Args:
            tags: hashes of the tags wanted (signed, 32 bits); None wants all.
            allow_cold: wait for the disk. Then, and only then, it may be called in any thread.

        Raises:
            ColdRead: without `allow_cold`, when a page is not in the page cache: call again, in a thread.
            StoreError: the files cannot be read.
        """
        with _Readers(self, allow_cold) as (queue_reader, log_reader):
            return self._reading.get(
                self.queues.find(topic, queue_id),
                offset,
                max_num,
                tags=tags,
                max_bytes=max_bytes,
                queue_reader=queue_reader,
                log_reader=log_reader,
            )

    def read_record(self, physical_offset: int, size: int | None = None, *, allow_cold: bool = True) -> bytes | None:
        """The record that begins at an offset of the log; None when none does.

        Args:
            size: bytes of it, when the caller knows; a record of another size is None.

        Raises:
            As `get_messages`.
        """
        with _Readers(self, allow_cold) as (_, log_reader):
            return self._reading.record(physical_offset, size, log_reader)

    def min_offset(self, topic: str, queue_id: int) -> int:
        """The first logical offset of a queue whose message is still there; 0 of a queue that does not exist."""
        queue = self.queues.find(topic, queue_id)
        return 0 if queue is None else queue.min_offset

    def max_offset(self, topic: str, queue_id: int) -> int:
        """The logical offset the next message of a queue gets; 0 of a queue that does not exist."""
        queue = self.queues.find(topic, queue_id)
        return 0 if queue is None else queue.max_offset

    def search_offset_by_time(
        self, topic: str, queue_id: int, timestamp_ms: int, boundary: str = "LOWER", *, allow_cold: bool = True
    ) -> int:
        """The first logical offset stored at or after a time (LOWER), or the last at or before it (UPPER).

        Raises:
            As `get_messages`.
        """
        queue = self.queues.find(topic, queue_id)
        if queue is None:
            return 0
        with _Readers(self, allow_cold) as (queue_reader, log_reader):
            return self._reading.search_by_time(queue, timestamp_ms, boundary, queue_reader, log_reader)

    def store_timestamp(self, topic: str, queue_id: int, offset: int, *, allow_cold: bool = True) -> int:
        """When the message of a logical offset was stored; -1 when there is none.

        Raises:
            As `get_messages`.
        """
        queue = self.queues.find(topic, queue_id)
        if queue is None:
            return -1
        with _Readers(self, allow_cold) as (queue_reader, log_reader):
            return self._reading.store_timestamp(queue, offset, queue_reader, log_reader)

    def physical_offset(self, topic: str, queue_id: int, offset: int) -> int:
        """Where in the log the message of a logical offset begins; -1 when there is none.

        Raises:
            StoreError: the files cannot be read.
        """
        queue = self.queues.find(topic, queue_id)
        if queue is None or not queue.min_offset <= offset < queue.max_offset:
            return -1
        try:
            return self.queues.unit(queue, offset)[0]
        except FileNotFoundError:
            return -1

    def queue_ids(self, topic: str) -> list[int]:
        """The queues of a topic that have or had messages, ascending."""
        return self.queues.queue_ids(topic)

    def topics(self) -> list[str]:
        """Topics that have or had messages."""
        return self.queues.topics()

    def destroy_topic(self, topic: str) -> bool:
        """Delete the consume queues of a topic; its records stay in the log until they expire."""
        for queue_id in self.queues.queue_ids(topic):
            self._by_key.pop((topic, queue_id), None)
        return self.queues.remove_topic(topic)

    @property
    def min_physical_offset(self) -> int:
        """The first byte of the log."""
        return self.log.min_offset

    @property
    def max_physical_offset(self) -> int:
        """The end of the log."""
        return self.log.wrote_offset

    @property
    def flushed_offset(self) -> int:
        """The end of what is durable."""
        return self.log.flushed_offset

    def in_memory(self, physical_offset: int) -> bool:
        """Whether an offset is near enough to the log's end to be taken as in memory."""
        return self._reading.in_memory(physical_offset)

    @property
    def not_writable(self) -> NotWritable | None:
        """Why the store takes no messages; None when it does."""
        return self._not_writable

    # -- what the clock drives -----------------------------------------------------------------------------------------

    def flush_plan(self, least_pages: int = 0) -> Callable[[], int] | None:
        """The sync of the log up to here, to be run in a thread; None when nothing is to be done or one is under way.

        Pass what it returns to `flushed`, or what it raises to `flush_failed`.
        """
        return self.log.flush_plan(least_pages)

    def flushed(self, offset: int) -> None:
        """A sync is done."""
        self.log.flushed(offset)

    def flush_failed(self, error: BaseException) -> None:
        """A sync failed. What it was about may be lost, so the store takes no more messages until it is opened anew."""
        self.log.flush_failed()
        refusal = NotWritable(f"a sync of the commit log failed: {error}")
        refusal.__cause__ = error
        self._not_writable = refusal

    def tick_consume_queues(self, limit: int = 256) -> int:
        """Write the queue units that are only in memory, of at most `limit` queues; returns how many still wait."""
        try:
            return self.queues.write_tails(limit)
        except OSError as error:
            self._queue_write_failed(error)
            return len(self.queues.dirty)

    def checkpoint_plan(self) -> Callable[[], Checkpoint] | None:
        """The sync of log and derived files and the new checkpoint, for a thread; None when one is under way.

        Pass what it returns to `checkpointed`, or what it raises to `checkpoint_failed`. Between two checkpoints
        nothing derived is synced; what was written since the last one is what recovery reads again.
        """
        if self._checkpointing or self._not_writable_for_good():
            return None
        log, queues = self.log, self.queues
        self._samples.append((log.wrote_offset, self._last_timestamp))
        complete = queues.complete_offset(log.wrote_offset)
        timestamp = self._checkpoint.physic_msg_timestamp
        while self._samples and self._samples[0][0] <= complete:
            timestamp = self._samples.popleft()[1]
        if complete == self._checkpoint.synced_offset and not queues.unsynced:
            return None
        checkpoint = replace(
            self._checkpoint,
            physic_msg_timestamp=timestamp,
            logics_msg_timestamp=timestamp,
            consume_queue_offset=complete,
            synced_offset=complete,
            index_synced_offset=complete,
        )
        paths = [log.path(start) for start in log.starts if log.start_of(log.flushed_offset) <= start < complete]
        paths.append(log.folder + "/")
        paths += queues.unsynced
        queues.unsynced = {}
        self._checkpointing = True
        return checkpoint_job(self._files, paths, self._checkpoint_path, checkpoint)

    def checkpointed(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is on disk."""
        self._checkpointing = False
        self._checkpoint = checkpoint
        if checkpoint.synced_offset is not None and checkpoint.synced_offset > self.log.flushed_offset:
            self.log.flushed_offset = checkpoint.synced_offset

    def checkpoint_failed(self, error: BaseException) -> None:
        """A sync failed: as `flush_failed`."""
        self._checkpointing = False
        self.flush_failed(error)

    def tick_checkpoint(self) -> None:
        """Write all tails and make a checkpoint now, waiting for the disk: when the store opens and closes.

        Raises:
            OSError, FlushFailed: it could not be made.
        """
        self.queues.write_tails()
        plan = self.checkpoint_plan()
        if plan is not None:
            try:
                self.checkpointed(plan())
            except BaseException as error:
                self.checkpoint_failed(error)
                raise

    def _not_writable_for_good(self) -> bool:
        return self._not_writable is not None and isinstance(self._not_writable.__cause__, (FlushFailed, WriteFailed))


class _Readers:
    """The two readers (queues, log) of one call: the store's own that do not wait, or one of the call's own."""

    __slots__ = ("_cold", "_store")

    def __init__(self, store: MessageStore, allow_cold: bool) -> None:
        self._store = store
        self._cold = ColdReader(store._files) if allow_cold else None

    def __enter__(self) -> tuple[Reader, Reader]:
        cold = self._cold
        return (self._store.queues.hot, self._store._hot_log_reader) if cold is None else (cold, cold)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._cold is not None:
            self._cold.close()
        if isinstance(error, OSError):
            raise StoreError(f"cannot read: {error}", file=getattr(error, "filename", None)) from error
