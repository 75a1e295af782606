"""What can be asked of an open store, as calls by topic and queue id.

What it is for: finding the queue, choosing readers that wait or do not, and turning errors of the system into ours.
What it must not do: change anything but what is looked at for the first time.
"""

from __future__ import annotations

import struct
import threading

import msgspec

from rmqwire.message import BLANK_MAGIC

from .acceptance import Accepts
from .commitlog import BLANK_BYTES, CommitLog
from .consumequeue import UNIT, ConsumeQueue
from .errors import StoreError
from .fdpool import ColdReader, HotReader, Reader
from .files import Files
from .keyindex import KeyIndex
from .options import StoreOptions
from .queuetable import ConsumeQueues
from .reading import MAX_PULL_BYTES, GetResult, QueueReading

_SIZE_MAGIC = struct.Struct(">ii")


class QueryResult(msgspec.Struct):
    """Messages found by key; hashes can coincide, so the reader compares the keys."""

    records: list[bytes]
    index_last_update_timestamp: int
    index_last_update_phyoffset: int


class StoreReads:
    """The reading half of a store."""

    log: CommitLog
    queues: ConsumeQueues
    index: KeyIndex | None
    options: StoreOptions
    read_ahead: bool = True
    """Whether the system reads more than is asked for where a read waits for the disk; changed at run time."""
    _files: Files
    _reading: QueueReading
    _hot_log_reader: HotReader
    _owner: int

    def _queue(self, topic: str, queue_id: int, reader: Reader) -> ConsumeQueue | None:
        """A queue: in the store's own thread looked at for good, in another one for this call."""
        if threading.get_ident() == self._owner:
            return self.queues.find(topic, queue_id)
        return self.queues.view(topic, queue_id, reader)

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
        accepts: Accepts | None = None,
    ) -> GetResult:
        """Messages of a queue from a logical offset on.

        Args:
            tags: hashes of the tags wanted (signed, 32 bits); None wants all.
            accepts: asked about the properties of each message, maybe in another thread; None wants all.
            allow_cold: wait for the disk. Then, and only then, it may be called in any thread.

        Raises:
            ColdRead: without `allow_cold`, when a page is not in the page cache: call again, in a thread.
            StoreError: the files cannot be read.
        """
        with _Readers(self, allow_cold) as (queue_reader, log_reader):
            return self._reading.get(
                self._queue(topic, queue_id, queue_reader),
                offset,
                max_num,
                tags=tags,
                max_bytes=max_bytes,
                queue_reader=queue_reader,
                log_reader=log_reader,
                accepts=accepts,
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

    def read_log(self, physical_offset: int, size: int, *, allow_cold: bool = False) -> bytes:
        """Bytes of the log from an offset on: at most `size`, none behind its end, none of the next file.

        Raises:
            As `get_messages`.
        """
        log = self.log
        if physical_offset < log.min_offset:
            return b""
        file_end = log.start_of(physical_offset) + log.file_size
        size = min(size, log.wrote_offset - physical_offset, file_end - physical_offset)
        if size <= 0:
            return b""
        with _Readers(self, allow_cold) as (_, log_reader):
            return log.read(log_reader, physical_offset, size)

    def last_record_offset(self) -> int | None:
        """Where the last record of the log begins; None when it has none. Reads and may wait: for a thread.

        Raises:
            StoreError: the files cannot be read.
        """
        log, end = self.log, self.log.wrote_offset
        starts = [start for start in log.starts if start < end]
        known = self.index.last_update()[1] if self.index is not None else 0
        with _Readers(self, allow_cold=True) as (_, reader):
            for start in reversed(starts):
                at = known if start <= known < end and known % log.file_size else start
                found = None
                while at + BLANK_BYTES <= min(end, start + log.file_size):
                    size, magic = _SIZE_MAGIC.unpack(log.read(reader, at, BLANK_BYTES))
                    if size <= 0 or magic == BLANK_MAGIC:
                        break
                    found, at = at, at + size
                if found is not None:
                    return found
        return None

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
        with _Readers(self, allow_cold) as (queue_reader, log_reader):
            queue = self._queue(topic, queue_id, queue_reader)
            if queue is None:
                return 0
            return self._reading.search_by_time(queue, timestamp_ms, boundary, queue_reader, log_reader)

    def store_timestamp(self, topic: str, queue_id: int, offset: int, *, allow_cold: bool = True) -> int:
        """When the message of a logical offset was stored; -1 when there is none.

        Raises:
            As `get_messages`.
        """
        with _Readers(self, allow_cold) as (queue_reader, log_reader):
            queue = self._queue(topic, queue_id, queue_reader)
            if queue is None:
                return -1
            return self._reading.store_timestamp(queue, offset, queue_reader, log_reader)

    def queue_units(
        self, topic: str, queue_id: int, offset: int, count: int, *, allow_cold: bool = True
    ) -> list[tuple[int, int, int]] | None:
        """Units of a consume queue as `(physical offset, size, tags code)`, at most `count`; None from where none is.

        Raises:
            As `get_messages`.
        """
        with _Readers(self, allow_cold) as (queue_reader, _):
            queue = self._queue(topic, queue_id, queue_reader)
            if queue is None or not queue.min_offset <= offset < queue.max_offset:
                return None
            found: list[tuple[int, int, int]] = []
            end = min(queue.max_offset, offset + count)
            while offset + len(found) < end:
                at = offset + len(found)
                data = self.queues.units(queue, at, end - at, queue_reader)
                if not data:
                    break
                found += UNIT.iter_unpack(data)
            return found

    def record_timestamp(self, physical_offset: int, *, allow_cold: bool = True) -> int:
        """When the record that begins at an offset of the log was stored; -1 when none does.

        Raises:
            As `get_messages`.
        """
        with _Readers(self, allow_cold) as (_, log_reader):
            return self._reading.record_timestamp(physical_offset, log_reader)

    def physical_offset(self, topic: str, queue_id: int, offset: int) -> int:
        """Where in the log the message of a logical offset begins; -1 when there is none.

        Raises:
            StoreError: the files cannot be read.
        """
        with _Readers(self, allow_cold=True) as (queue_reader, _):
            queue = self._queue(topic, queue_id, queue_reader)
            if queue is None or not queue.min_offset <= offset < queue.max_offset:
                return -1
            try:
                return self.queues.unit(queue, offset, queue_reader)[0]
            except FileNotFoundError:
                return -1

    def query(
        self, topic: str, key: str, max_num: int, begin_ms: int, end_ms: int, *, allow_cold: bool = True
    ) -> QueryResult:
        """Messages of a topic that carry a key, by the index, stored between two times, oldest first.

        Raises:
            As `get_messages`.

        Source: `DefaultMessageStore.queryMessage`.
        """
        index = self.index
        if index is None:
            return QueryResult([], 0, 0)
        self._build_index()
        max_num = min(max_num, self.options.max_msgs_num_batch)
        records: list[bytes] = []
        with _Readers(self, allow_cold) as (_, log_reader):
            index_reader = index.hot if isinstance(log_reader, HotReader) else log_reader
            for _ in range(3):
                offsets = sorted(set(index.select(topic, key, max_num, begin_ms, end_ms, index_reader)))
                if not offsets:
                    break
                for offset in offsets:
                    record = self._reading.record(offset, None, log_reader)
                    if record is not None:
                        records.append(record)
                # As Java: when all that was found is gone from the log, look once more before the oldest of it.
                end_ms = self._reading.record_timestamp(offsets[0], log_reader)
                if records or end_ms < begin_ms:
                    break
        return QueryResult(records, *index.last_update())

    def _build_index(self) -> None:
        """Let a lookup see the newest keys; the store says what a failure means."""
        raise NotImplementedError

    def queue_ids(self, topic: str) -> list[int]:
        """The queues of a topic that have or had messages, ascending."""
        return self.queues.queue_ids(topic)

    def topics(self) -> list[str]:
        """Topics that have or had messages."""
        return self.queues.topics()

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


class _Readers:
    """The two readers (queues, log) of one call: the store's own that do not wait, or one of the call's own."""

    __slots__ = ("_cold", "_store")

    def __init__(self, store: StoreReads, allow_cold: bool) -> None:
        self._store = store
        self._cold = ColdReader(store._files, store.read_ahead) if allow_cold else None

    def __enter__(self) -> tuple[Reader, Reader]:
        cold = self._cold
        return (self._store.queues.hot, self._store._hot_log_reader) if cold is None else (cold, cold)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._cold is not None:
            self._cold.close()
        if isinstance(error, OSError):
            raise StoreError(f"cannot read: {error}", file=getattr(error, "filename", None)) from error
