"""Which consumer groups filter which topics by which expression, and the text of `config/consumerFilter.json`.

Heartbeats bring expressions, pulls use them. A group that is gone keeps its expressions for a day, so that one that
comes back finds them as they were. Must not do I/O: whoever owns this reads and writes the file.

Source: `ConsumerFilterManager`, `ConsumerFilterData` (5.5.0).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.logger import Logger

from rmqwire.bodies import Body
from rmqwire.bodies.base import new_dict, written
from rmqwire.dialect import pretty
from rmqwire.fields import i32, i64

from .bloom import BloomLayout
from .errors import FilterError
from .expression import SQL92, TAG_TYPES, Filter, compile_expression

if TYPE_CHECKING:
    from rmqwire.bodies import SubscriptionData

_log = Logger()

DAY_MS = 24 * 3600 * 1000
_BITS = re.compile(rb'"bitPos":\[[^\]]*\]')
"""A text cannot look like it: its quotes are escaped."""

LOADED_DEAD_FOR_MS = 30_000
"""Nobody is connected to a broker that starts: the groups of its file count as gone for so long."""


class BloomFilterData(Body):
    """The bits of a consumer: how many there are in all, and which are its own."""

    bit_num: i32 = written(0)
    bit_pos: list[i32] | None = None


class ConsumerFilterData(Body):
    """One group's filter of one topic, as the file has it."""

    bloom_filter_data: BloomFilterData | None = None
    born_time: i64 = written(0)
    client_version: i64 = written(0)
    consumer_group: str | None = None
    dead: bool = written(False)
    """Derived from the two times; written by Java because it has a getter, not read."""
    dead_time: i64 = written(0)
    expression: str | None = None
    expression_type: str | None = None
    topic: str | None = None


class _TopicFilters(Body):
    group_filter_data: dict[str, ConsumerFilterData] = msgspec.field(default_factory=new_dict)
    topic: str | None = None


class _Document(Body):
    filter_data_by_topic: dict[str, _TopicFilters] = msgspec.field(default_factory=new_dict)


class FilterData:
    """One group's filter of one topic.

    Attributes:
        expression: As the consumer gave it.
        client_version: The version of the subscription (`subVersion`) that brought it or confirmed it last.
        compiled: The expression, ready for use.
        born_at_ms: When the expression came.
        dead_at_ms: When the group went, 0 while it is there.
        bits: Its bits of the bloom filter.
    """

    __slots__ = ("bits", "born_at_ms", "client_version", "compiled", "dead_at_ms", "expression", "group", "topic")

    def __init__(
        self, topic: str, group: str, expression: str, client_version: int, born_at_ms: int, bits: list[int]
    ) -> None:
        self.compiled: Filter = compile_expression(expression)
        self.topic = topic
        self.group = group
        self.expression = expression
        self.client_version = client_version
        self.born_at_ms = born_at_ms
        self.dead_at_ms = 0
        self.bits = bits

    def __repr__(self) -> str:
        return f"<FilterData {self.group} {self.topic} {self.client_version}: {self.expression}>"

    @property
    def is_dead(self) -> bool:
        return self.dead_at_ms >= self.born_at_ms


class ConsumerFilters:
    """All filters of all groups.

    Args:
        wall_clock_ms: Stamps filters.
        bloom: Layout of bits; the file of a broker with another layout is not taken.
        kept_ms: How long the filters of a group that is gone are kept (`filterDataCleanTimeSpan`).
        on_change: Called after every change, which the file has to follow.
    """

    def __init__(
        self,
        wall_clock_ms: Callable[[], int],
        bloom: BloomLayout,
        kept_ms: int = DAY_MS,
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        self._wall_clock_ms = wall_clock_ms
        self._bloom = bloom
        self._kept_ms = kept_ms
        self._on_change = on_change
        self._by_group: dict[str, dict[str, FilterData]] = {}

    def __iter__(self) -> Iterator[FilterData]:
        for filters in self._by_group.values():
            yield from filters.values()

    def get(self, topic: str, group: str) -> FilterData | None:
        """Give the filter that a group has for a topic."""
        filters = self._by_group.get(group)
        return None if filters is None else filters.get(topic)

    def described(self, topic: str, group: str) -> str:
        """Write as JSON what `get` gives, `null` for nothing, as administrators are shown it."""
        found = self.get(topic, group)
        return "null" if found is None else _on_one_line(pretty(self._stored(found))).decode()

    def register(self, group: str, subscriptions: Iterable[SubscriptionData]) -> None:
        """Take over the expressions of a heartbeat; filters of topics that it does not name are as of a group gone.

        An expression that does not compile leaves no filter, and removes the one before: pulls are then answered
        that there is none.
        """
        topics = set()
        changed = False
        for subscription in subscriptions:
            topics.add(subscription.topic)
            if subscription.expression_type not in TAG_TYPES and subscription.sub_string and subscription.topic:
                changed |= self._take(group, subscription.topic, subscription)
        filters = self._by_group.get(group)
        if filters:
            now_ms = self._wall_clock_ms()
            for filter_data in filters.values():
                if filter_data.topic not in topics and not filter_data.is_dead:
                    filter_data.dead_at_ms = now_ms
                    changed = True
        if changed:
            self._on_change()

    def _take(self, group: str, topic: str, subscription: SubscriptionData) -> bool:
        """Take over one expression; say whether anything changed."""
        expression, version = subscription.sub_string or "", subscription.sub_version
        filters = self._by_group.setdefault(group, {})
        old = filters.get(topic)
        if old is not None:
            if version < old.client_version or (version == old.client_version and not old.is_dead):
                return False
            if version == old.client_version or (
                expression == old.expression and subscription.expression_type == SQL92
            ):
                old.client_version = version
                if old.is_dead:
                    old.dead_at_ms = 0
                return True
        bits = self._bloom.bit_positions(f"{group}#{topic}")
        try:
            if subscription.expression_type != SQL92:
                raise FilterError("unknown expression type", str(subscription.expression_type))
            filters[topic] = FilterData(topic, group, expression, version, self._wall_clock_ms(), bits)
        except FilterError as error:
            _log.warn(
                "filter of {group} for {topic} does not compile: {expression}: {error}",
                group=group,
                topic=topic,
                expression=expression,
                error=error.remark,
            )
            filters.pop(topic, None)
            if not filters:
                del self._by_group[group]
            return old is not None
        _log.info("new filter {filter}, before: {old}", filter=filters[topic], old=old)
        return True

    def unregister(self, group: str) -> None:
        """Note that nobody of a group is connected any more."""
        changed = False
        now_ms = self._wall_clock_ms()
        for filter_data in self._by_group.get(group, {}).values():
            if not filter_data.is_dead:
                filter_data.dead_at_ms = now_ms
                changed = True
        if changed:
            self._on_change()

    def clean(self) -> None:
        """Forget what has been dead for long."""
        oldest_ms = self._wall_clock_ms() - self._kept_ms
        dead = [each for each in self if each.is_dead and each.dead_at_ms <= oldest_ms]
        for each in dead:
            filters = self._by_group[each.group]
            del filters[each.topic]
            if not filters:
                del self._by_group[each.group]
        if dead:
            self._on_change()

    def encode(self) -> bytes:
        """Write the text of `consumerFilter.json`."""
        topics: dict[str, _TopicFilters] = {}
        for each in self:
            of_topic = topics.get(each.topic)
            if of_topic is None:
                of_topic = topics[each.topic] = _TopicFilters(topic=each.topic)
            of_topic.group_filter_data[each.group] = self._stored(each)
        return _on_one_line(pretty(_Document(filter_data_by_topic=topics)))

    def _stored(self, each: FilterData) -> ConsumerFilterData:
        return ConsumerFilterData(
            bloom_filter_data=BloomFilterData(bit_num=self._bloom.bit_num, bit_pos=each.bits),
            born_time=each.born_at_ms,
            client_version=each.client_version,
            consumer_group=each.group,
            dead=each.is_dead,
            dead_time=each.dead_at_ms,
            expression=each.expression,
            expression_type=SQL92,
            topic=each.topic,
        )

    def load(self, tree: dict[str, Any]) -> None:
        """Take over the content of `consumerFilter.json`.

        All of it or, when it is of another bloom layout, nothing (as Java); an expression that does not compile here
        is left out.

        Raises:
            MalformedBody: It is of another form.
        """
        found: dict[str, dict[str, FilterData]] = {}
        now_ms = self._wall_clock_ms()
        for topic, of_topic in _Document.of_tree(tree).filter_data_by_topic.items():
            for group, stored in of_topic.group_filter_data.items():
                bits = self._valid_bits(stored)
                if bits is None:
                    _log.warn("filters of another bloom layout are not taken, such as {stored}", stored=stored)
                    return
                loaded = self._loaded(topic, group, stored, bits, now_ms)
                if loaded is not None:
                    found.setdefault(group, {})[topic] = loaded
        self._by_group = found

    def _valid_bits(self, stored: ConsumerFilterData) -> list[int] | None:
        given = stored.bloom_filter_data
        if given is None or given.bit_num != self._bloom.bit_num or given.bit_pos is None:
            return None
        return given.bit_pos if len(given.bit_pos) == self._bloom.positions else None

    @staticmethod
    def _loaded(topic: str, group: str, stored: ConsumerFilterData, bits: list[int], now_ms: int) -> FilterData | None:
        try:
            if stored.expression_type != SQL92:
                raise FilterError("unknown expression type", str(stored.expression_type))
            loaded = FilterData(topic, group, stored.expression or "", stored.client_version, stored.born_time, bits)
        except FilterError as error:
            _log.warn("stored filter {stored} does not compile: {error}", stored=stored, error=error.remark)
            return None
        loaded.dead_at_ms = stored.dead_time or max(now_ms - LOADED_DEAD_FOR_MS, stored.born_time)
        return loaded


def _on_one_line(text: bytes) -> bytes:
    """Join the lines of the bit positions, as Java does with an array of numbers."""
    return _BITS.sub(lambda bits: b"".join(bits.group().split()), text)
