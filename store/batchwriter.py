"""The write path of batches: many messages of one request, next to each other in one file of the log.

What it is for: what is equal in a batch is done once for it. `BatchRunWriter` has most of them done by the compiled
part; this is the reference, and serves all others. What it must not do: write; `commit` does, with whatever else was
staged.

Source: `CommitLog.asyncPutMessages`, `MessageExtEncoder.encode(MessageExtBatch, ...)`, 5.3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import msgspec

from rmqwire.checksum import crc32
from rmqwire.errors import MalformedMessage
from rmqwire.hashing import tags_code
from rmqwire.message import (
    PROPERTIES_SIZE_MAX_BYTES,
    SYS_FLAG_BORN_HOST_V6,
    SYS_FLAG_TRANSACTION_MASK,
    SYS_FLAG_TRANSACTION_ROLLBACK,
    BatchEntry,
    decode_properties,
    split_batch,
)
from rmqwire.properties import tags_and_keys

from .commitlog import BLANK_BYTES
from .consumequeue import ConsumeQueue
from .dispatch import unit_tags_code
from .groupwriter import PROPERTIES_LENGTH, TRANSACTION_NOT_IN_QUEUE, UNIT_PACK, GroupWriter


class StagedBatch(msgspec.Struct, gc=False):
    """Where the messages of a batch go, next to each other in the queue and in one file."""

    physical_offsets: list[int]
    queue_offset: int
    """Of the first."""
    size: int
    """Bytes of all records; they end at `end`."""
    end: int
    store_timestamp: int


class BatchWriter(GroupWriter):
    """A group writer that takes batches as well."""

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
    ) -> StagedBatch:
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
        sizes = []
        for entry in entries:
            body_length, properties_length = len(entry.body), len(entry.properties)
            size = fixed + body_length + properties_length
            if body_length > self._body_max or properties_length > PROPERTIES_SIZE_MAX_BYTES or size > self._record_max:
                self._refuse(body_length, properties_length, size)
            sizes.append(size)
        total = sum(sizes)
        if self._not_writable is not None or total > self._record_max + fixed * len(entries):
            self._refuse(total, 0, total)
        if self._position + total + BLANK_BYTES > self._file_end:
            self._roll(total)
        timestamp = self._group_timestamp or self._begin_group()
        if queue.is_schedule:
            tags_codes = [
                unit_tags_code(topic, decode_properties(entry.properties), timestamp, self._delivery)
                for entry in entries
            ]
        first = self._position
        offsets = list(accumulate(sizes[:-1], initial=first))
        queue_offset = 0
        in_queue = sys_flag & SYS_FLAG_TRANSACTION_MASK not in TRANSACTION_NOT_IN_QUEUE
        if in_queue:
            queue_offset = self._take_units(queue, offsets, sizes, tags_codes)
        pack = self._pack_v4 if len(born_host) == 8 else self._pack_v6
        flags = sys_flag | self._sys_flag | (0 if len(born_host) == 8 else SYS_FLAG_BORN_HOST_V6)
        magic, store_host, topic_field, parts = queue.magic, self._store_host, queue.topic_field, self._parts
        logical, step = queue_offset, 1 if in_queue else 0
        for entry, offset, size in zip(entries, offsets, sizes, strict=True):
            body, properties = entry.body, entry.properties
            parts += (
                pack(
                    size,
                    magic,
                    crc32(body) & 0x7FFFFFFF,
                    queue_id,
                    entry.flag,
                    logical,
                    offset,
                    flags,
                    born_timestamp,
                    born_host,
                    timestamp,
                    store_host,
                    reconsume_times,
                    0,
                    len(body),
                ),
                body,
                topic_field,
                PROPERTIES_LENGTH(len(properties)),
                properties,
            )
            logical += step
        if sys_flag & SYS_FLAG_TRANSACTION_MASK != SYS_FLAG_TRANSACTION_ROLLBACK:
            hasher = queue.hasher
            self._keyed += [
                (hasher, offset, timestamp, entry_keys)
                for offset, entry_keys in zip(offsets, keys, strict=True)
                if entry_keys
            ]
        self._position = first + total
        self.put_count += len(offsets)
        return StagedBatch(offsets, queue_offset, total, first + total, timestamp)

    def stage_client_batch(
        self,
        topic: str,
        queue_id: int,
        body: bytes,
        *,
        sys_flag: int,
        born_timestamp: int,
        born_host: bytes,
        reconsume_times: int = 0,
    ) -> StagedBatch:
        """Give the messages of a batch their places, from its body as the client made it.

        Raises:
            MalformedMessage: the body cannot be read, or holds nothing.
            As `stage`; none of them was assigned a place.
        """
        entries = split_batch(body)
        if not entries:
            raise MalformedMessage("the batch holds no message")
        found = [tags_and_keys(entry.properties) for entry in entries]
        return self.stage_batch(
            topic,
            queue_id,
            entries,
            tags_codes=[tags_code(tags) for tags, _ in found],
            keys=[keys for _, keys in found],
            sys_flag=sys_flag,
            born_timestamp=born_timestamp,
            born_host=born_host,
            reconsume_times=reconsume_times,
        )

    def _take_units(self, queue: ConsumeQueue, offsets: list[int], sizes: list[int], tags_codes: Sequence[int]) -> int:
        """Stage the units of a batch; give the logical offset of the first."""
        queue_offset = queue.staged_next
        queue.staged_next = queue_offset + len(offsets)
        if not queue.staged:
            self._touched.append(queue)
        queue.staged += b"".join(map(UNIT_PACK, offsets, sizes, tags_codes))
        return queue_offset
