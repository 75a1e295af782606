"""Counters of what the broker puts and gets, and rates made of samples of them.

Counting is a few additions per message; `sample`, called once a second, does the rest. Totals are kept in memory only.
Source: `StoreStatsService`, `BrokerStats`, `BrokerStatsManager`, `StatsItem` (5.5.0).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime

import msgspec

from . import put_times
from .derived_stats import PUT_LATENCY, DerivedStats
from .names import SCHEDULE_TOPIC
from .put_times import PutTimes

SAMPLES_MAX = 601
"""Ten minutes of samples, one a second."""

WINDOWS_S = (10, 60, 600)

_TOPIC_NUMS, _TOPIC_SIZE = "TOPIC_PUT_NUMS", "TOPIC_PUT_SIZE"
_GROUP_NUMS, _GROUP_SIZE = "GROUP_GET_NUMS", "GROUP_GET_SIZE"
_SENT_BACK, _DEAD = "SNDBCK_PUT_NUMS", "SNDBCK2DLQ_TIMES"
_QUEUE_PUT_NUMS, _QUEUE_PUT_SIZE = "QUEUE_PUT_NUMS", "QUEUE_PUT_SIZE"
_QUEUE_GET_NUMS, _QUEUE_GET_SIZE = "QUEUE_GET_NUMS", "QUEUE_GET_SIZE"
_GET_LATENCY, _ACKS, _CHECK_POINTS = "GROUP_GET_LATENCY", "GROUP_ACK_NUMS", "GROUP_CK_NUMS"
_OF_TOPICS = (
    _TOPIC_NUMS, _TOPIC_SIZE, _GROUP_NUMS, _GROUP_SIZE, _SENT_BACK, _DEAD, _QUEUE_PUT_NUMS, _QUEUE_PUT_SIZE,
    _QUEUE_GET_NUMS, _QUEUE_GET_SIZE, _GET_LATENCY, PUT_LATENCY, _ACKS, _CHECK_POINTS,
)  # fmt: skip
_SCHEDULE_GROUP = "SCHEDULE_CONSUMER"

_MINUTE_EVERY_S, _MINUTE_SAMPLES = 10, 7
_HOUR_EVERY_S, _HOUR_SAMPLES = 600, 7
_DAY_EVERY_S, _DAY_SAMPLES = 3600, 25


class Snapshot(msgspec.Struct, frozen=True):
    """What one item did in a stretch of time.

    Attributes:
        total: What was added.
        tps: Per second.
        average: Per addition.
    """

    total: int
    tps: float
    average: float


_NOTHING = Snapshot(0, 0.0, 0.0)


class Item:
    """One named number, such as the messages put into a topic, with samples for a minute, an hour and a day."""

    __slots__ = ("_day", "_hour", "_minute", "times", "value")

    def __init__(self) -> None:
        self.value = 0
        self.times = 0
        self._minute: deque[tuple[int, int, int]] = deque(maxlen=_MINUTE_SAMPLES)
        self._hour: deque[tuple[int, int, int]] = deque(maxlen=_HOUR_SAMPLES)
        self._day: deque[tuple[int, int, int]] = deque(maxlen=_DAY_SAMPLES)

    def add(self, value: int, times: int = 1) -> None:
        """Count."""
        self.value += value
        self.times += times

    def sample(self, now_ms: int, second: int) -> None:
        """Keep the value where a sample is due."""
        if second % _MINUTE_EVERY_S == 0:
            entry = (now_ms, self.value, self.times)
            _keep(self._minute, entry, _MINUTE_EVERY_S)
            if second % _HOUR_EVERY_S == 0:
                _keep(self._hour, entry, _HOUR_EVERY_S)
                if second % _DAY_EVERY_S == 0:
                    _keep(self._day, entry, _DAY_EVERY_S)

    @property
    def minute(self) -> Snapshot:
        """The last minute."""
        return _between(self._minute)

    @property
    def hour(self) -> Snapshot:
        """The last hour."""
        return _between(self._hour)

    @property
    def day(self) -> Snapshot:
        """The last day."""
        return _between(self._day)

    @property
    def idle(self) -> bool:
        """Whether nothing was counted since the oldest sample of the day."""
        return len(self._day) == _DAY_SAMPLES and self._day[0][1] == self.value


def _keep(samples: deque[tuple[int, int, int]], entry: tuple[int, int, int], every_s: int) -> None:
    if not samples:  # as Java: a new item began with 0 one interval ago, or its first messages would count nowhere
        samples.append((entry[0] - every_s * 1000, 0, 0))
    samples.append(entry)


def _between(samples: deque[tuple[int, int, int]]) -> Snapshot:
    if len(samples) < 2:
        return _NOTHING
    (first_ms, first, first_times), (last_ms, last, last_times) = samples[0], samples[-1]
    total, times = last - first, last_times - first_times
    span_ms = last_ms - first_ms
    return Snapshot(total, total * 1000 / span_ms if span_ms > 0 else 0.0, total / times if times else 0.0)


class Rate:
    """A counter that is sampled once a second."""

    __slots__ = ("_samples", "count")

    def __init__(self) -> None:
        self.count = 0
        self._samples: deque[tuple[int, int]] = deque(maxlen=SAMPLES_MAX)

    def sample(self, now_ms: int) -> None:
        """Keep the count of now."""
        self._samples.append((now_ms, self.count))

    def per_second(self, window_s: int) -> float:
        """Give the rate of the last `window_s` seconds, 0.0 while there are not that many samples, as in Java."""
        samples = self._samples
        if len(samples) <= window_s:
            return 0.0
        (then_ms, then), (now_ms, now) = samples[-1 - window_s], samples[-1]
        return (now - then) * 1000 / (now_ms - then_ms) if now_ms > then_ms else 0.0


class BrokerStats:
    """All counters of a broker.

    Args:
        cluster: Name of the cluster, the key of the broker's own items.
        wall_clock_ms: Stamps samples.
        local_time: Gives local time for a wall clock: the totals of a day begin at midnight.

    Attributes:
        put_size_total: Bytes of all records put.
        put_failed: Puts that the store refused.
        put_times: How long puts took.
        get_time_max_ms: The slowest read that waited for the disk.
        items: `statsName -> statsKey -> Item`, as request 315 asks for them.
    """

    def __init__(
        self,
        cluster: str,
        wall_clock_ms: Callable[[], int],
        local_time: Callable[[int], datetime] = lambda ms: datetime.fromtimestamp(ms / 1000),
    ) -> None:
        self.now_ms = wall_clock_ms
        self._local_time = local_time
        self.booted_at_ms = wall_clock_ms()
        self._puts, self._gets, self._found, self._missed = Rate(), Rate(), Rate(), Rate()
        self.put_size_total = 0
        self.put_failed = 0
        self.put_times = PutTimes()
        self._timed_puts = 0
        self.get_time_max_ms = 0
        self.put_totals = _DayTotals()
        self.get_totals = _DayTotals()
        self._day = local_time(self.booted_at_ms).date()
        self._second = 0
        self.items: dict[str, dict[str, Item]] = {}
        for name in _OF_TOPICS:
            self.items[name] = {}
        self._topics: dict[str, tuple[Item, Item]] = {}
        self._groups: dict[tuple[str, str, int], tuple[Item, Item, Item]] = {}
        self._broker_puts, self._broker_gets, self._broker_acks, self._broker_check_points = (Item() for _ in range(4))
        self._user_puts, self._user_gets = Item(), Item()
        for name, item in (
            ("BROKER_PUT_NUMS", self._broker_puts),
            ("BROKER_GET_NUMS", self._broker_gets),
            ("BROKER_ACK_NUMS", self._broker_acks),
            ("BROKER_CK_NUMS", self._broker_check_points),
            ("BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", self._user_puts),
            ("BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC", self._user_gets),
        ):
            self.items[name] = {cluster: item}
        self.derived = DerivedStats(self.items, Item)
        self._took_ms = 0
        self._took_count = 0

    def put(self, topic: str, count: int, size_bytes: int, times: int = 1) -> None:
        """Count messages that were stored, by so many requests."""
        self._puts.count += count
        self.put_size_total += size_bytes
        items = self._topics.get(topic)
        if items is None:
            items = self._topics[topic] = self._pair(_TOPIC_NUMS, _TOPIC_SIZE, topic)
        nums, sizes = items
        nums.value += count
        nums.times += times
        sizes.value += size_bytes
        sizes.times += times

    def committed(self, took_s: float) -> None:
        """Count how long the messages put since the last call took to be written."""
        count = self._puts.count - self._timed_puts
        if count:
            self._timed_puts += count
            took_ms = int(took_s * 1000)
            self.put_times.add(took_ms, count)
            self._took_ms += took_ms * count
            self._took_count += count

    def read(self, took_s: float) -> None:
        """Note how long a pull read the disk; those that find all in memory wait for nothing."""
        self.get_time_max_ms = max(self.get_time_max_ms, int(took_s * 1000))

    def get(
        self, group: str, topic: str, count: int, size_bytes: int, queue_id: int | None = None, took_ms: int = 0
    ) -> None:
        """Count messages that a pull was answered with; of a queue, after so long, unless it is not told."""
        self._gets.count += count
        self._found.count += 1
        key = (topic, group, -2 if queue_id is None else queue_id)
        items = self._groups.get(key)
        if items is None:
            items = self._groups[key] = self._group_items(group, topic, queue_id)
        nums, sizes, latency = items
        nums.value += count
        nums.times += 1
        sizes.value += size_bytes
        sizes.times += 1
        latency.value += took_ms
        latency.times += 1

    def _group_items(self, group: str, topic: str, queue_id: int | None) -> tuple[Item, Item, Item]:
        nums, sizes = self._pair(_GROUP_NUMS, _GROUP_SIZE, f"{topic}@{group}")
        if queue_id is None:
            return nums, sizes, Item()
        return nums, sizes, self.items[_GET_LATENCY].setdefault(f"{queue_id}@{topic}@{group}", Item())

    def _pair(self, nums: str, sizes: str, key: str) -> tuple[Item, Item]:
        return self.items[nums].setdefault(key, Item()), self.items[sizes].setdefault(key, Item())

    def _add(self, name: str, key: str, value: int) -> None:
        self.items[name].setdefault(key, Item()).add(value)

    def get_missed(self) -> None:
        """Count a pull that found nothing."""
        self._missed.count += 1

    def sent_back(self, group: str, topic: str) -> None:
        """Count a message that a consumer sent back."""
        self._add(_SENT_BACK, f"{topic}@{group}", 1)

    def sent_to_dead_letters(self, group: str, origin_topic: str | None) -> None:
        """Count a message that was sent back once too often; nobody owns it here."""
        self._add(_DEAD, f"null@{origin_topic or 'null'}@{group}@SEND_BACK_TO_DLQ", 1)

    def stored(self, size_bytes: int) -> None:
        """Count a message that no topic's items tell of."""
        self._puts.count += 1
        self.put_size_total += size_bytes

    def put_one(self, topic: str, queue_id: int, size_bytes: int) -> None:
        """Count one message; delayed ones by their queue too, as Java does for these alone."""
        self.put(topic, 1, size_bytes)
        if topic == SCHEDULE_TOPIC:
            key = f"{topic}@{queue_id}"
            self._add(_QUEUE_PUT_NUMS, key, 1)
            self._add(_QUEUE_PUT_SIZE, key, size_bytes)

    def delivered(self, level: int, topic: str, size_bytes: int) -> None:
        """Count a delayed message that was delivered to its topic."""
        key = f"{SCHEDULE_TOPIC}@{level - 1}@{_SCHEDULE_GROUP}"
        self._add(_QUEUE_GET_NUMS, key, 1)
        self._add(_QUEUE_GET_SIZE, key, size_bytes)
        nums, sizes = self._pair(_GROUP_NUMS, _GROUP_SIZE, f"{SCHEDULE_TOPIC}@{_SCHEDULE_GROUP}")
        nums.add(1)
        sizes.add(size_bytes)
        self.put(topic, 1, size_bytes)

    def acknowledged(self, group: str, topic: str, count: int) -> None:
        """Count popped messages that were acknowledged."""
        self._broker_acks.add(count, 0)
        self._add(_ACKS, f"{topic}@{group}", count)

    def check_pointed(self, group: str, topic: str) -> None:
        """Count a pop that has to be acknowledged."""
        self._broker_check_points.add(1, 0)
        self._add(_CHECK_POINTS, f"{topic}@{group}", 1)

    @property
    def put_count(self) -> int:
        """Messages put since the start."""
        return self._puts.count

    @property
    def get_count(self) -> int:
        """Messages got since the start."""
        return self._gets.count

    def sample(self) -> None:
        """Take the samples of this second, and begin a new day after midnight. Call once a second."""
        now_ms = self.now_ms()
        for rate in (self._puts, self._gets, self._found, self._missed):
            rate.sample(now_ms)
        day = self._local_time(now_ms).date()
        if day != self._day:
            self._day = day
            self.put_totals.next_day(self._puts.count)
            self.get_totals.next_day(self._gets.count)
        self._second += 1
        if self._second % put_times.EVERY_S == 0:
            self.put_times.turn()
        if self._second % _MINUTE_EVERY_S == 0:
            self._broker_puts.value = self._broker_puts.times = self._puts.count
            self._broker_gets.value = self._broker_gets.times = self._gets.count
            self._derive()
            for items in self.items.values():
                for item in items.values():
                    item.sample(now_ms, self._second)
        if self._second % _DAY_EVERY_S == 0:
            self._drop_idle()

    def _derive(self) -> None:
        derived = self.derived
        derived.latencies(self.items[_TOPIC_NUMS], self._took_ms / self._took_count if self._took_count else 0.0)
        self._took_ms = self._took_count = 0
        self._user_puts.value = derived.without_system(_TOPIC_NUMS, self._puts.count)
        self._user_gets.value = derived.without_system(_GROUP_NUMS, self._gets.count)

    def _drop_idle(self) -> None:
        for name in _OF_TOPICS:
            self._drop(name, [key for key, item in self.items[name].items() if item.idle])

    def _drop(self, name: str, keys: list[str]) -> None:
        for key in keys:
            self.derived.dropped(name, key, self.items[name].pop(key))
            self._topics.pop(key, None)  # made anew, with both items, at the next message
        if keys:
            self._groups.clear()

    def item(self, name: str, key: str) -> Item | None:
        """Give one item, None when nothing was ever counted for it."""
        return self.items.get(name, {}).get(key)

    def topic_put_tps(self, topic: str) -> float:
        """Messages put into a topic per second, over the last minute."""
        item = self.item(_TOPIC_NUMS, topic)
        return item.minute.tps if item is not None else 0.0

    def group_get_tps(self, group: str, topic: str) -> float:
        """Messages of a topic that a group got per second, over the last minute."""
        item = self.item(_GROUP_NUMS, f"{topic}@{group}")
        return item.minute.tps if item is not None else 0.0

    def forget_topic(self, topic: str) -> None:
        """Drop the items of a deleted topic."""
        for name in _OF_TOPICS:
            place = 1 if name in (_GET_LATENCY, PUT_LATENCY) else 0  # these begin with the queue
            self._drop(name, [key for key in self.items[name] if key.split("@", 2)[place:][:1] == [topic]])

    def rates(self) -> dict[str, str]:
        """Give the rates as request 28 shows them: three numbers each, of 10, 60 and 600 s."""
        put, found = _three(self._puts), _three(self._found)
        transferred = _three(self._gets)
        total = " ".join(str(self._found.per_second(window) + self._missed.per_second(window)) for window in WINDOWS_S)
        return {
            "putTps": put,
            "getFoundTps": found,
            "getMissTps": _three(self._missed),
            "getTotalTps": total,
            "getTransferredTps": transferred,
            "getTransferedTps": transferred,  # sic: the name of 4.x, which older clusterList parses
        }


class _DayTotals:
    """A total at the last two midnights (`BrokerStats` of Java)."""

    __slots__ = ("today_morning", "yesterday_morning")

    def __init__(self) -> None:
        self.yesterday_morning = 0
        self.today_morning = 0

    def next_day(self, now: int) -> None:
        self.yesterday_morning = self.today_morning
        self.today_morning = now


def _three(rate: Rate) -> str:
    return " ".join(str(rate.per_second(window)) for window in WINDOWS_S)
