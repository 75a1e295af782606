"""Items of statistics that no message is counted for: worked out of others and of the queues, every ten seconds.

`TOPIC_PUT_LATENCY` by queue: so many messages as the queue grew by, each with the mean time that writes took meanwhile.
`BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC` and its like for gets: all, without those of the system's topics.

Source: `BrokerStatsManager` (5.5.0), which counts them at each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .names import SYSTEM_PREFIX, SYSTEM_TOPICS

if TYPE_CHECKING:
    from .stats import Item

    Items = dict[str, dict[str, Item]]

QueueEnds = Callable[[str], Iterable[tuple[int, int]]]
"""Numbers and ends of a topic's queues."""

PUT_LATENCY = "TOPIC_PUT_LATENCY"


class DerivedStats:
    """Works them out.

    Args:
        items: All items.
        new_item: Makes one.
    """

    def __init__(self, items: Items, new_item: Callable[[], Item]) -> None:
        self._items = items
        self._new_item = new_item
        self._seen: dict[str, int] = {}
        self._ends: dict[str, dict[int, int]] = {}
        self._system_gone: dict[str, int] = {}
        self.queue_ends: QueueEnds = lambda topic: ()

    def latencies(self, topics: dict[str, Item], mean_ms: float) -> None:
        """Bring the latencies of topics with new messages up to date."""
        table = self._items[PUT_LATENCY]
        for topic, nums in topics.items():
            if self._seen.get(topic, 0) == nums.value:
                continue
            before, ends = self._ends.get(topic), dict(self.queue_ends(topic))
            share = -((self._seen.get(topic, 0) - nums.value) // max(1, len(ends)))
            for queue_id, end in ends.items():
                # At first sight nobody knows where the queue was: messages spread evenly, as producers send them.
                grown = end - before.get(queue_id, 0) if before is not None else min(end, share)
                if grown > 0:
                    key = f"{queue_id}@{topic}"
                    item = table.get(key)
                    if item is None:
                        item = table[key] = self._new_item()
                    item.add(round(grown * mean_ms), grown)
            self._seen[topic] = nums.value
            self._ends[topic] = ends

    def without_system(self, name: str, total: int) -> int:
        """Take what `name` says of the system's topics from a total."""
        of_system = sum(item.value for key, item in self._items[name].items() if is_system_topic(key.partition("@")[0]))
        return total - of_system - self._system_gone.get(name, 0)

    def dropped(self, name: str, key: str, item: Item) -> None:
        """An item is forgotten; what it counted of a system topic stays counted."""
        topic = key.partition("@")[0]
        if is_system_topic(topic):
            self._system_gone[name] = self._system_gone.get(name, 0) + item.value
        self._seen.pop(key, None)
        self._ends.pop(key, None)


def is_system_topic(topic: str) -> bool:
    """Whether a topic is one of those that every broker has for itself."""
    return topic in SYSTEM_TOPICS or topic.startswith(SYSTEM_PREFIX)
