"""What tells the statistics of things that are not counted where they happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmqd.store.messagestore import MessageStore

    from .delay_delivery import DelayedDelivery
    from .stats import BrokerStats


def follow_parts(stats: BrokerStats, store: MessageStore, delayed: DelayedDelivery) -> None:
    """Have the statistics look at the queues, and be told of delayed messages that were delivered.

    Queues that nobody has used are not looked at: each would be opened, and the disk waited for, every few seconds.
    """
    stats.derived.queue_ends = store.queues.loaded_ends
    delayed.on_delivered = stats.delivered
