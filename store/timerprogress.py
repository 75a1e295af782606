"""How far another broker has delivered what is in this one's timer queue too.

The master that a slave copies, the slave that stood in for this master: both tell the time of their next slot and the
next offset of the queue they take. What it must not do: count a message as delivered that the other had not taken yet.

Source: `TimerMessageStore.checkBrokerRole`, `syncLastReadTimeMs` (5.3.4).
"""

from __future__ import annotations

from typing import NamedTuple


class Delivered(NamedTuple):
    """What one broker has delivered."""

    queue_offset: int = 0
    """It took the messages before this offset of the timer's queue."""
    read_ms: int = 0
    """And delivered those of slots before this time."""

    def has(self, queue_offset: int, slot_ms: int) -> bool:
        """Whether it has delivered a message of the queue that belongs in a slot."""
        return queue_offset < self.queue_offset and slot_ms < self.read_ms


class DeliveredElsewhere:
    """What other brokers have delivered, one after the other; none of them has what lies between two of them.

    Args:
        by: What is known of each.
    """

    def __init__(self, *by: Delivered) -> None:
        self._by = by

    def has(self, queue_offset: int, slot_ms: int) -> bool:
        """Whether one of them has delivered a message."""
        return any(each.has(queue_offset, slot_ms) for each in self._by)

    def joined(self, other: Delivered) -> DeliveredElsewhere:
        """With what one more has delivered, or the same one by now."""
        if any(each.queue_offset >= other.queue_offset and each.read_ms >= other.read_ms for each in self._by):
            return self
        kept = (each for each in self._by if each.queue_offset > other.queue_offset or each.read_ms > other.read_ms)
        return DeliveredElsewhere(*kept, other)

    @property
    def furthest(self) -> Delivered:
        """The one that has taken most of the queue."""
        return max(self._by, default=Delivered())
