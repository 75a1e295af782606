"""The write path of batches where the compiled part was built: those of a read are staged in one pass.

What it is for: records, units and hashed keys of batches to one topic, each to a queue of its own choice, are made
together. `BatchWriter` is the reference; it serves what this leaves alone (bad bytes, broken limits, the end of a file,
delayed messages), and everything where nothing is compiled. What it must not do: write; `commit` does.

Source: `CommitLog.asyncPutMessages`, `MessageExtEncoder.encode(MessageExtBatch, ...)`, 5.3.4.
"""

from __future__ import annotations

import struct
import sys

import msgspec

from rmqwire import speed
from rmqwire.message import PROPERTIES_SIZE_MAX_BYTES, SYS_FLAG_TRANSACTION_MASK

from .batchwriter import StagedBatch
from .commitlog import BLANK_BYTES
from .runwriter import RunWriter

_BUILD_AFTER = 2048
"""Messages of batches whose keys wait before these are added to the index: of a batch they wait together."""


class StagedBatches(msgspec.Struct, gc=False):
    """Where the first batches of a run go, next to each other in one file of the log."""

    count: int
    """Batches that were staged; the next one is for `stage_client_batch`."""
    messages: int
    places: bytes
    """Of each batch: how many messages i64, queue offset of the first i64, physical offset of each i64."""
    size: int
    """Bytes of all records; they end at `end`."""
    end: int


class BatchRunWriter(RunWriter):
    """A group writer that takes runs of batches as well."""

    _keys_waiting = 0  # messages of batches since the index was built for them

    def stage_batches(
        self,
        topic: str,
        queue_count: int,
        batches: list[speed.Batch],
        first: int,
        born_host: bytes,
        batch_max: int,
        reconsume_times: int = 0,
    ) -> StagedBatches | None:
        """Give batches to one topic their places, up to the first that breaks a limit or does not fit the file.

        Args:
            queue_count: queues that may be written to; a batch to another one ends the run.
            batches: what `speed.read_batches` gave; from `first` on they are staged.
            batch_max: bytes of the largest batch.

        Returns:
            None when not even the first could be staged, or the store takes no messages.

        Raises:
            Exception: they were staged in part. All of the group is dropped, and the store takes no more.
        """
        if speed.pack_batches is None or self._not_writable is not None:
            return None
        queue_id = batches[first][2]
        if queue_id >= queue_count:
            return None
        queues = self._queues_of(topic, queue_count)
        queue = self._queue_for_run(queues, topic, queue_id)
        if queue is None:
            return None
        timestamp = self._group_timestamp or self._next_timestamp()
        position = self._position
        try:
            records, places, count, messages = speed.pack_batches(
                batches,
                first,
                queues[:queue_count] if len(queues) > queue_count else queues,
                self._touched,
                self._keyed,
                self._run_template(queue.magic, born_host, timestamp, reconsume_times),
                queue.topic_field,
                timestamp,
                position,
                batch_max,
                self._body_max,
                self._record_max,
                PROPERTIES_SIZE_MAX_BYTES,
                self._file_end - position - BLANK_BYTES,
            )
        except Exception as error:
            self._staged_in_part(error)
            raise
        if not count:
            return None
        self._take_records(records, messages, timestamp)
        self._keys_waiting += messages
        return StagedBatches(count, messages, places, len(records), self._position)

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
        """As the reference; a usual one is a run of one batch."""
        if body and not sys_flag & SYS_FLAG_TRANSACTION_MASK:
            batch = (0, topic, queue_id, sys_flag, born_timestamp, body)
            run = self.stage_batches(topic, queue_id + 1, [batch], 0, born_host, sys.maxsize, reconsume_times)
            if run is not None:
                _, queue_offset, *offsets = struct.unpack(f">{run.messages + 2}q", run.places)
                return StagedBatch(offsets, queue_offset, run.size, run.end, self._group_timestamp)
        return super().stage_client_batch(
            topic,
            queue_id,
            body,
            sys_flag=sys_flag,
            born_timestamp=born_timestamp,
            born_host=born_host,
            reconsume_times=reconsume_times,
        )

    def _take_keys(self) -> None:
        super()._take_keys()
        if self._keys_waiting >= _BUILD_AFTER:
            self._keys_waiting = 0
            if self.index is not None:
                try:
                    self.index.build()
                except OSError as error:
                    self._derived_failed(error)
