"""Where pops go on: the offsets of groups, those of pops that are not stored yet, and how much is out with consumers.

A pop's check point and the offset behind it must not come apart: the offset counts for the next pop at once, and
becomes the group's when the store has committed the check point.

Source: `PopMessageProcessor.getPopOffset`, `PopBufferMergeService` without its buffer, `QueueLockManager`,
`PopInflightMessageCounter` (5.5.0).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .offsets import ConsumerOffsets


class PopQueue(NamedTuple):
    """One queue as one group pops it."""

    topic: str
    group: str
    queue_id: int

    def __str__(self) -> str:
        return f"{self.topic}@{self.group}@{self.queue_id}"


class PopOffsets:
    """The offsets.

    Args:
        offsets: Those of all groups.

    Attributes:
        locked: Queues that a pop reads right now in a thread; others pass them by.
    """

    def __init__(self, offsets: ConsumerOffsets) -> None:
        self._offsets = offsets
        self._pending: dict[PopQueue, int] = {}
        self.locked: set[PopQueue] = set()

    def query(self, queue: PopQueue) -> int:
        """Give the offset that the next pop begins at; -1 when the group has none."""
        committed = self._offsets.query(queue.group, queue.topic, queue.queue_id)
        pending = self._pending.get(queue)
        return committed if pending is None else max(committed, pending)

    def advance(self, queue: PopQueue, offset: int) -> None:
        """Count an offset for the next pop, until `committed` or `failed`."""
        self._pending[queue] = offset

    def committed(self, queue: PopQueue, offset: int) -> None:
        """What leads to an offset is stored."""
        if self._pending.get(queue) == offset:
            del self._pending[queue]
        if offset != self._offsets.query(queue.group, queue.topic, queue.queue_id):
            self.commit(queue, offset)

    def failed(self, queue: PopQueue) -> None:
        """What leads to the offset was not stored: the next pop begins where this one began."""
        self._pending.pop(queue, None)

    def commit(self, queue: PopQueue, offset: int) -> None:
        """Set the group's offset."""
        self._offsets.commit(queue.group, queue.topic, queue.queue_id, offset, "pop")

    def take_reset(self, queue: PopQueue) -> int | None:
        """Give the offset that an administrator chose, and go there; None when none did."""
        offset = self._offsets.take_reset_offset(queue.group, queue.topic, queue.queue_id)
        if offset is not None:
            self._pending.pop(queue, None)
            self.commit(queue, offset)
        return offset

    def has_reset(self, queue: PopQueue) -> bool:
        """Whether an administrator chose an offset that no pop has gone to yet."""
        return self._offsets.has_reset_offset(queue.group, queue.topic, queue.queue_id)


class PopsOut:
    """How many messages of each queue are out with consumers, since the broker was started or became master."""

    def __init__(self, started_at_ms: int) -> None:
        self._started_at_ms = started_at_ms
        self._counts: defaultdict[PopQueue, int] = defaultdict(int)

    def begin(self, started_at_ms: int) -> None:
        """Count anew, only what is popped from now on."""
        self._started_at_ms = started_at_ms
        self._counts.clear()

    def add(self, queue: PopQueue, count: int) -> None:
        """Messages were popped."""
        if count:
            self._counts[queue] += count

    def remove(self, queue: PopQueue, pop_time: int, count: int = 1) -> None:
        """Messages of a pop were acknowledged or came back."""
        if pop_time < self._started_at_ms or queue not in self._counts:
            return
        self._counts[queue] -= count
        if self._counts[queue] <= 0:
            del self._counts[queue]

    def clear(self, queue: PopQueue) -> None:
        """Begin anew."""
        self._counts.pop(queue, None)

    def count(self, queue: PopQueue) -> int:
        """How many are out."""
        return self._counts.get(queue, 0)
