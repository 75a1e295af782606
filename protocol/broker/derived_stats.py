"""Items of statistics that no message is counted for: worked out of others and of the queues, every ten seconds.

`TOPIC_PUT_LATENCY` by queue: so many messages as the queue grew by, each with the mean time that writes took meanwhile.
`BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC` and its like for gets: all, without those of the system's topics.

Source: `BrokerStatsManager` (5.5.0), which counts them at each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from twisted.logger import Logger

from .names import SYSTEM_PREFIX, SYSTEM_TOPICS

if TYPE_CHECKING:
    from .stats import Item

    Items = dict[str, dict[str, Item]]

_log = Logger()

QueueEnds = Callable[[str], Iterable[tuple[int, int]]]
"""Numbers and ends of a topic's queues, of those that are known without looking at files."""

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
            new, self._seen[topic] = nums.value - self._seen.get(topic, 0), nums.value
            try:
                ends = dict(self.queue_ends(topic))
            except Exception:  # noqa: BLE001  one topic's trouble is not that of all other numbers
                _log.failure("the put latencies of {topic} cannot be worked out", topic=topic)
                continue
            for queue_id, grown in _growth(self._ends.get(topic, {}), ends, new):
                key = f"{queue_id}@{topic}"
                item = table.get(key)
                if item is None:
                    item = table[key] = self._new_item()
                item.add(round(grown * mean_ms), grown)
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


def _growth(before: dict[int, int], ends: dict[int, int], new: int) -> Iterator[tuple[int, int]]:
    """Give the queues that grew, and by how much, of a topic that got so many new messages."""
    unseen = []
    for queue_id, end in ends.items():
        if queue_id not in before:
            unseen.append((queue_id, end))
        elif end > before[queue_id]:
            new -= end - before[queue_id]
            yield queue_id, end - before[queue_id]
    # At first sight nobody knows where a queue was: messages spread evenly, as producers send them.
    share = -(-new // max(1, len(unseen)))
    for queue_id, end in unseen:
        if min(end, share) > 0:
            yield queue_id, min(end, share)


def is_system_topic(topic: str) -> bool:
    """Whether a topic is one of those that every broker has for itself."""
    return topic in SYSTEM_TOPICS or topic.startswith(SYSTEM_PREFIX)
