"""The write path of a read full of usual sends: their records and units are made in one compiled pass.

What it is for: what the same producer sends to one topic, each message to a queue of its own choice. `stage` is the
reference; it serves what this leaves alone, and everything where `rmqwire.speed` is not built. What it must not do:
write; `commit` does, with whatever else was staged.

Source: `CommitLog.asyncPutMessage`, `MessageExtEncoder`, 5.3.4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rmqwire import speed
from rmqwire.message import PROPERTIES_SIZE_MAX_BYTES, SYS_FLAG_BORN_HOST_V6

from .batchwriter import BatchWriter
from .commitlog import BLANK_BYTES
from .errors import StoreError

if TYPE_CHECKING:
    from .consumequeue import ConsumeQueue


class StagedRun(msgspec.Struct, gc=False):
    """Where the first messages of a run go, next to each other in one file of the log."""

    count: int
    """Messages that were staged; the next one is for `stage`."""
    places: bytes
    """Of each: physical offset i64, queue offset i64."""
    size: int
    """Bytes of all records; they end at `end`."""
    end: int


class RunWriter(BatchWriter):
    """A group writer that takes runs of sends as well."""

    def stage_run(
        self, topic: str, queue_count: int, sends: list[speed.Send], first: int, suffix: bytes, born_host: bytes
    ) -> StagedRun | None:
        """Give sends to one topic their places, up to the first that breaks a limit or does not fit the file.

        Args:
            queue_count: queues that may be written to; a send to another one ends the run.
            sends: what `speed.read_sends` gave; from `first` on they are staged.
            suffix: properties that the broker adds to each.

        Returns:
            None when not even the first could be staged, or the store takes no messages.

        Raises:
            Exception: they were staged in part. All of the group is dropped, and the store takes no more.
        """
        if speed.pack_sends is None or self._not_writable is not None:
            return None
        queues = self._queues_of(topic, queue_count)
        send = sends[first]
        if send[2] >= queue_count:
            return None
        if queues[send[2]] is None:
            try:
                queues[send[2]] = self._by_key.get((topic, send[2])) or self._queue_for_put(topic, send[2])
            except (StoreError, OSError):  # `stage` meets it again, and says what it is
                return None
        queue = queues[send[2]]
        assert queue is not None
        if queue.is_schedule:
            return None
        timestamp = self._group_timestamp or self._next_timestamp()
        v4 = len(born_host) == 8
        template = (self._pack_v4 if v4 else self._pack_v6)(
            *(0, queue.magic, 0, 0, 0, 0, 0, self._sys_flag | (0 if v4 else SYS_FLAG_BORN_HOST_V6), 0),
            *(born_host, timestamp, self._store_host, 0, 0, 0),
        )
        position = self._position
        try:
            records, places = speed.pack_sends(
                sends,
                first,
                queues[:queue_count] if len(queues) > queue_count else queues,
                self._touched,
                self._keyed,
                template,
                queue.topic_field,
                suffix,
                timestamp,
                position,
                self._body_max,
                self._record_max,
                PROPERTIES_SIZE_MAX_BYTES,
                self._file_end - position - BLANK_BYTES,
            )
        except Exception as error:  # units without records: nothing of this group may be acknowledged
            self._fail(f"messages were staged in part: {error!r}", error)
            self._drop_group()
            self._tell(error)
            raise
        if not places:
            return None
        self._group_timestamp = timestamp
        self._parts.append(records)
        count = len(places) // 16
        self.put_count += count
        self._position = position + len(records)
        return StagedRun(count, places, len(records), self._position)

    def _queues_of(self, topic: str, count: int) -> list[ConsumeQueue | None]:
        queues = self._by_topic.get(topic)
        if queues is None:
            queues = self._by_topic[topic] = []
        if len(queues) < count:
            queues += [None] * (count - len(queues))
        return queues
