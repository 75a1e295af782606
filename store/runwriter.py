"""The write path of a read full of usual sends: their records and units are made in one compiled pass.

What it is for: what the same producer sends to one topic, each message to a queue of its own choice, its half messages
among them, and what the ends of transactions make of those. `stage` is the reference; it serves what this leaves alone,
and everything where `rmqwire.speed` is not built. What it must not do: write; `commit` does, with whatever else was
staged.

Source: `CommitLog.asyncPutMessage`, `MessageExtEncoder`, 5.3.4.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from rmqwire import speed
from rmqwire.errors import MalformedMessage
from rmqwire.message import PROPERTIES_SIZE_MAX_BYTES, SYS_FLAG_BORN_HOST_V6, topic_field

from .batchwriter import BatchWriter
from .commitlog import BLANK_BYTES
from .errors import StoreError

if TYPE_CHECKING:
    from .consumequeue import ConsumeQueue


_field = lru_cache(maxsize=256)(topic_field)


class StagedRun(msgspec.Struct, gc=False):
    """Where the first puts of a run go, next to each other in one file of the log."""

    count: int
    """Puts that were dealt with; the next one is for `stage`."""
    places: bytes
    """Of each send and half message: physical offset i64, queue offset i64."""
    size: int
    """Bytes of all records; they end at `end`."""
    end: int
    stored: int
    """Messages stored: a rollback stores none."""
    halves: int
    """Half messages among them, and bytes of their records."""
    half_bytes: int


class RunWriter(BatchWriter):
    """A group writer that takes runs of sends as well."""

    def stage_run(
        self,
        topic: str,
        queue_count: int,
        puts: list[speed.Put],
        first: int,
        suffix: bytes,
        born_host: bytes,
        half_topic: str,
    ) -> StagedRun | None:
        """Give puts to one topic their places, up to the first that breaks a limit or does not fit the file.

        Args:
            queue_count: queues that may be written to; a put to another one ends the run.
            puts: what `speed.read_sends` and `speed.read_halves` gave; from `first` on they are staged.
            suffix: properties that the broker adds to each.
            half_topic: where half messages go, to queue 0.

        Returns:
            None when not even the first could be staged, or the store takes no messages.

        Raises:
            Exception: they were staged in part. All of the group is dropped, and the store takes no more.
        """
        if speed.pack_sends is None or self._not_writable is not None:
            return None
        queues = self._queues_of(topic, queue_count)
        halves = self._queues_of(half_topic, 1)
        put = puts[first]
        queue_id, kind = put[speed.PUT_QUEUE], put[speed.PUT_KIND]
        if queue_id >= queue_count:
            return None
        if kind == speed.KIND_HALF:
            if self._queue_for_run(halves, half_topic, 0) is None:
                return None
        elif kind != speed.KIND_ROLLBACK and self._queue_for_run(queues, topic, queue_id) is None:
            return None
        try:
            field, magic = _field(topic)
        except MalformedMessage:  # `stage` meets it again, and says what it is
            return None
        timestamp = self._group_timestamp or self._next_timestamp()
        position = self._position
        try:
            records, places, count, stored, half_count, half_bytes = speed.pack_sends(
                puts,
                first,
                queues[:queue_count] if len(queues) > queue_count else queues,
                halves[0],
                self._touched,
                self._keyed,
                self._run_template(magic, born_host, timestamp),
                field,
                _field(half_topic)[0],
                suffix,
                timestamp,
                position,
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
        if stored:
            self._take_records(records, stored, timestamp)
        return StagedRun(count, places, len(records), self._position, stored, half_count, half_bytes)

    def _queues_of(self, topic: str, count: int) -> list[ConsumeQueue | None]:
        """The queues of a topic by their ids, at least so many; None for one that no run has opened."""
        queues = self._by_topic.get(topic)
        if queues is None:
            queues = self._by_topic[topic] = []
        if len(queues) < count:
            queues += [None] * (count - len(queues))
        return queues

    def _queue_for_run(self, queues: list[ConsumeQueue | None], topic: str, queue_id: int) -> ConsumeQueue | None:
        """Open the queue that a run begins with; None when the run is for the reference."""
        queue = queues[queue_id]
        if queue is None:
            try:
                queue = self._by_key.get((topic, queue_id)) or self._queue_for_put(topic, queue_id)
            except (StoreError, OSError, MalformedMessage):  # the reference meets it again, and says what it is
                return None
            queues[queue_id] = queue
        return None if queue.is_schedule else queue

    def _run_template(self, magic: int, born_host: bytes, timestamp: int, reconsume_times: int = 0) -> bytes:
        """A record up to the length of its body, with all that is equal in a run."""
        v4 = len(born_host) == 8
        return (self._pack_v4 if v4 else self._pack_v6)(
            *(0, magic, 0, 0, 0, 0, 0, self._sys_flag | (0 if v4 else SYS_FLAG_BORN_HOST_V6), 0),
            *(born_host, timestamp, self._store_host, reconsume_times, 0, 0),
        )

    def _take_records(self, records: bytes, count: int, timestamp: int) -> None:
        """Add the records of a run, whose units are staged, to the group."""
        self._group_timestamp = timestamp
        self._parts.append(records)
        self.put_count += count
        self._position += len(records)

    def _staged_in_part(self, error: Exception) -> None:
        """Drop the group: it has units without records, so nothing of it may be acknowledged."""
        self._fail(f"messages were staged in part: {error!r}", error)
        self._drop_group()
        self._tell(error)
