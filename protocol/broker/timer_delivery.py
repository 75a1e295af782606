"""From the wheel to the real queues: slot after slot, in small batches, when its time has come.

A slot is read in a thread, first the positions of its messages (eight bytes each, for this one slot only), then the
messages batch by batch. Messages that others take back are left out. A slot counts as delivered when all of it is in
the log; until then it is tried again. Source: `TimerMessageStore.dequeue`, `TimerDequeueGetMessageService`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.logger import Logger

from rmqwire.errors import MalformedMessage

from .timer_messages import TimerMessage

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.store.messagestore import MessageStore
    from rmqd.store.timerlog import Unit
    from rmqd.store.timerstore import SlotContent, TimerStore
    from rmqd.store.timerwheel import Slot

    from .timer_messages import Put, Puts
    from .topic_counts import TopicCounts

_log = Logger()

BATCH = 64
_BATCH_BYTES = 1 << 20
Batch = list[tuple["Unit | None", "bytes | None"]]


class _DueSlot(msgspec.Struct):
    """The slot that is being delivered."""

    slot: Slot
    content: SlotContent
    takes_back: dict[str, str]
    """By the key of a message that is taken back: its topic."""
    batch: Batch
    """Read, and not delivered yet."""
    used: set[str] = msgspec.field(default_factory=set)
    """Keys that took something back."""


class TimerDelivery:
    """Delivers slots.

    Args:
        store: Read from.
        files: The wheel.
        puts: Where to.
        counts: Of waiting messages.
        run_in_thread: Reads.

    Attributes:
        puts: Where messages go.
        delivered: How many messages left the wheel, since the start.
    """

    def __init__(
        self,
        store: MessageStore,
        files: TimerStore,
        puts: Puts,
        counts: TopicCounts,
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self._store = store
        self._files = files
        self.puts = puts
        self._counts = counts
        self._run_in_thread = run_in_thread
        self._due: _DueSlot | None = None
        self.delivered = 0

    async def some(self) -> bool:
        """Deliver a batch; tell whether there may be more that is due.

        Raises:
            StoreError: What was not delivered is to be tried again.
        """
        due = self._due
        if due is None:
            slot = self._files.next_slot()
            if slot is None:
                return self._files.read_ms < self._files.write_ms
            due = self._due = await self._run_in_thread(self._open, slot)
        elif not due.batch:
            due.batch = await self._run_in_thread(self._next_batch, due.content)
        await self._deliver(due)
        if not due.content.positions:
            self._end(due)
        return self._files.read_ms < self._files.write_ms

    def let_go(self) -> None:
        """Forget the slot that is being delivered; another broker goes on with it."""
        self._due = None

    def _open(self, slot: Slot) -> _DueSlot:
        """Find out what is in a slot, and read the first batch. In a thread."""
        reader = self._files.new_reader()
        try:
            content = self._files.content(slot, reader)
        finally:
            reader.close()
        takes_back: dict[str, str] = {}
        for unit in content.deletes:
            record = self._store.read_record(unit.physical_offset, unit.size)
            message = _message(unit, record)
            if message is not None and message.delete_key is not None:
                takes_back[message.delete_key] = message.topic
        return _DueSlot(slot, content, takes_back, self._next_batch(content))

    def _next_batch(self, content: SlotContent) -> Batch:
        """Read the next messages, the oldest first. In a thread."""
        reader = self._files.new_reader()
        try:
            units = self._files.units(reversed(content.positions[-BATCH:]), reader)
        finally:
            reader.close()
        batch: Batch = []
        total = 0
        for unit in units:
            total += 0 if unit is None else unit.size
            if batch and total > _BATCH_BYTES:
                break
            record = None if unit is None else self._store.read_record(unit.physical_offset, unit.size)
            batch.append((unit, record))
        return batch

    async def _deliver(self, due: _DueSlot) -> None:
        puts: list[Put] = []
        ends: list[int] = []
        """By put: how many of the batch are done with it."""
        for number, (unit, record) in enumerate(due.batch, 1):
            message = _message(unit, record)
            if unit is None or message is None:
                continue
            if self._files.is_delivered(message.queue_offset, due.slot.time_ms):
                continue
            if not unit.rolls and due.takes_back and self._taken_back(due, message):
                continue
            puts.append((message, unit.write_ms, unit.rolls))
            ends.append(number)
        done, failed = await self.puts.put_all(puts)
        for message, _, _ in puts[:done]:
            if message.counts:
                self._counts.add(message.topic, -1)
        count = len(due.batch)
        if failed is not None:
            count = ends[done - 1] if done else 0
        self.delivered += done
        del due.content.positions[len(due.content.positions) - count :]
        del due.batch[:count]
        if failed is not None:
            raise failed

    @staticmethod
    def _taken_back(due: _DueSlot, message: TimerMessage) -> bool:
        # As configured now or before: a key is the unique key, or has the topic before it.
        for key in (message.unique_key, f"{message.topic}+{message.unique_key}"):
            if key in due.takes_back:
                due.used.add(key)
                return True
        return False

    def _end(self, due: _DueSlot) -> None:
        for key, topic in due.takes_back.items():
            if key not in due.used:
                self._counts.add(topic, 1)  # it was counted as taken back, and there was nothing
        self._files.passed(due.slot)
        self._due = None


def _message(unit: Unit | None, record: bytes | None) -> TimerMessage | None:
    if unit is None or record is None:
        _log.error("timer: there is no message at {offset} any more", offset=unit and unit.physical_offset)
        return None
    try:
        return TimerMessage(record)
    except MalformedMessage as cause:
        _log.error("timer: left out at {offset}: {cause}", offset=unit.physical_offset, cause=cause)
        return None
