"""What tells the statistics of things that are not counted where they happen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmqd.store.messagestore import MessageStore

    from .delay_delivery import DelayedDelivery
    from .stats import BrokerStats


def follow_parts(stats: BrokerStats, store: MessageStore, delayed: DelayedDelivery) -> None:
    """Have the statistics look at the queues, and be told of delayed messages that were delivered."""

    def ends(topic: str) -> Iterable[tuple[int, int]]:
        return [(queue_id, store.max_offset(topic, queue_id)) for queue_id in store.queue_ids(topic)]

    stats.derived.queue_ends = ends
    delayed.on_delivered = stats.delivered
