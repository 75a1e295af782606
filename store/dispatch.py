"""From a record of the log to the files derived from it, for records that are read back: recovery and replication.

A message that is put does not come this way: what the queue unit and the index entry need is known when it is staged.

Source: `DefaultMessageStore.doDispatch`, `CommitLog.checkMessageAndReturnSize`, 5.3.4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rmqwire.hashing import tags_code
from rmqwire.message import (
    PROPERTY_DELAY,
    PROPERTY_TAGS,
    SYS_FLAG_TRANSACTION_COMMIT,
    SYS_FLAG_TRANSACTION_MASK,
    SYS_FLAG_TRANSACTION_NOT,
    SYS_FLAG_TRANSACTION_ROLLBACK,
    StoredMessage,
    decode_properties,
    message_keys,
)

from .consumequeue import FILLER, SCHEDULE_TOPIC, UNIT, UNIT_BYTES, ConsumeQueue
from .errors import StoreDamaged
from .queuetable import TAIL_WRITE_BYTES, ConsumeQueues

DeliveryTime = Callable[[int, int], int]
"""(delay level, store time) -> time of delivery, milliseconds."""


class KeyIndexPort(Protocol):
    """What dispatching needs of the index."""

    def add(self, queue: ConsumeQueue, physical_offset: int, store_timestamp: int, keys: Sequence[str]) -> None:
        """Index one message."""
        ...

    def holds(self, physical_offset: int) -> bool:
        """Whether the message of an offset was indexed before."""
        ...


class GapFound(StoreDamaged):
    """A record's logical offset is ahead of its queue: units are missing that are not built by this pass."""


def unit_tags_code(topic: str, properties: dict[str, str], store_timestamp: int, delivery: DeliveryTime | None) -> int:
    """The number a unit carries: the hash of the tags, or the time of delivery of a delayed message.

    Source: `CommitLog.checkMessageAndReturnSize`.
    """
    if topic == SCHEDULE_TOPIC and delivery is not None:
        level = properties.get(PROPERTY_DELAY, "")
        if level.isascii() and level.isdigit() and int(level) > 0:
            return delivery(int(level), store_timestamp)
    return tags_code(properties.get(PROPERTY_TAGS))


class Dispatcher:
    """Builds queue units and index entries from records.

    Args:
        from_log_begin: all of the log is dispatched, so units that are missing cannot be had: a new queue begins where
            its first record says, and filler takes the place of a gap. Otherwise a gap raises `GapFound`.
    """

    def __init__(
        self,
        queues: ConsumeQueues,
        index: KeyIndexPort | None,
        delivery: DeliveryTime | None,
        *,
        from_log_begin: bool = False,
    ) -> None:
        self._queues = queues
        self._index = index
        self._delivery = delivery
        self._from_log_begin = from_log_begin
        self.gaps: list[str] = []
        """One line for each gap that was filled."""

    def dispatch(self, record: StoredMessage) -> ConsumeQueue:
        """Derive what a record asks for; doing it again changes nothing.

        Raises:
            GapFound: units of its queue are missing.
            OSError: a tail that grew large could not be written.
        """
        queue = self._queues.find_or_make(record.topic, record.queue_id)
        transaction = record.sys_flag & SYS_FLAG_TRANSACTION_MASK
        properties = decode_properties(record.properties)
        if transaction in (SYS_FLAG_TRANSACTION_NOT, SYS_FLAG_TRANSACTION_COMMIT):
            self._to_queue(queue, record, properties)
        index = self._index
        if (
            index is not None
            and transaction != SYS_FLAG_TRANSACTION_ROLLBACK
            and not index.holds(record.physical_offset)
        ):
            keys = message_keys(properties)
            if keys:
                index.add(queue, record.physical_offset, record.store_timestamp, keys)
        return queue

    def make_room(self, queue: ConsumeQueue, record: StoredMessage) -> bool:
        """Bring the end of a queue to where the unit of a record belongs; False when the unit is there already.

        Raises:
            As `dispatch`.
        """
        ahead = record.queue_offset - queue.end_offset
        if ahead < 0:
            if self._is_built(queue, record):
                return False
            # The topic was deleted and made anew: the log has its offsets twice, and the later ones count.
            self._queues.cut(queue, max(record.queue_offset, 0))
            if record.queue_offset < queue.min_offset:
                queue.min_offset = record.queue_offset
        elif ahead > 0:
            self._gap(queue, record, ahead)
        return True

    def _to_queue(self, queue: ConsumeQueue, record: StoredMessage, properties: dict[str, str]) -> None:
        if not self.make_room(queue, record):
            return
        code = unit_tags_code(record.topic, properties, record.store_timestamp, self._delivery)
        self._queues.append(queue, UNIT.pack(record.physical_offset, record.size, code))
        if len(queue.memory[1]) >= TAIL_WRITE_BYTES:
            self._queues.write_tail(queue)

    def _is_built(self, queue: ConsumeQueue, record: StoredMessage) -> bool:
        end = queue.end_offset
        if end <= queue.min_offset:
            return True
        last, size, _ = self._queues.unit(queue, end - 1, self._queues.waiting)
        return record.physical_offset < last + size

    def _gap(self, queue: ConsumeQueue, record: StoredMessage, ahead: int) -> None:
        empty = not queue.starts and not queue.memory[1]
        if not self._from_log_begin:
            raise GapFound(
                f"{record.topic} queue {record.queue_id} has units up to {queue.end_offset}, "
                f"but the log continues with {record.queue_offset}"
            )
        if not empty:
            self.gaps.append(
                f"{record.topic} queue {record.queue_id}: the log has no messages "
                f"{queue.end_offset} to {record.queue_offset - 1}"
            )
            if ahead * UNIT_BYTES <= self._queues.file_size:
                self._queues.append(queue, FILLER * ahead)
                queue.min_offset = record.queue_offset
                return
            self._queues.discard(queue)
        queue.begin_at(record.queue_offset)
