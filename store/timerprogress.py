"""How far another broker has delivered what is in this one's timer queue too.

The master that a slave copies, the slave that stood in for this master: both tell the time of their next slot and the
next offset of the queue they take. What it must not do: count a message as delivered that the other had not taken yet.

Source: `TimerMessageStore.checkBrokerRole`, `syncLastReadTimeMs` (5.3.4).
"""

from __future__ import annotations

from typing import NamedTuple


class DeliveredElsewhere(NamedTuple):
    """What another broker has delivered."""

    queue_offset: int = 0
    """It took the messages before this offset of the timer's queue."""
    read_ms: int = 0
    """And delivered those of slots before this time."""

    def has(self, queue_offset: int, slot_ms: int) -> bool:
        """Whether it has delivered a message of the queue that belongs in a slot."""
        return queue_offset < self.queue_offset and slot_ms < self.read_ms

    def joined(self, other: DeliveredElsewhere) -> DeliveredElsewhere:
        """The further of two, as neither falls back."""
        return DeliveredElsewhere(max(self.queue_offset, other.queue_offset), max(self.read_ms, other.read_ms))
