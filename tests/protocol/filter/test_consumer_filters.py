"""Which expression a group's pulls are filtered by, over heartbeats, absence and restarts."""

from __future__ import annotations

import pytest

from rmqd.protocol.filter import BloomLayout, ConsumerFilters
from rmqd.protocol.filter.consumer_filters import DAY_MS
from rmqwire.bodies import SubscriptionData
from rmqwire.dialect import loads
from rmqwire.errors import MalformedBody


class Table:
    def __init__(self, now_ms: int = 1_000_000) -> None:
        self.now_ms = now_ms
        self.changes = 0
        self.filters = ConsumerFilters(lambda: self.now_ms, BloomLayout(20, 32), on_change=self.changed)

    def changed(self) -> None:
        self.changes += 1

    def beat(self, *subscriptions: SubscriptionData, group: str = "G") -> None:
        self.filters.register(group, subscriptions)

    def loaded(self, now_ms: int) -> Table:
        """Restart."""
        other = Table(now_ms)
        other.filters.load(loads(self.filters.encode()))
        return other


def sql(expression: str | None, version: int = 1, topic: str = "T", kind: str = "SQL92") -> SubscriptionData:
    return SubscriptionData(topic=topic, sub_string=expression, sub_version=version, expression_type=kind)


def expression_of(table: Table, topic: str = "T", group: str = "G") -> str | None:
    found = table.filters.get(topic, group)
    return None if found is None else found.expression


def test_a_heartbeat_brings_its_expressions() -> None:
    table = Table()
    table.beat(sql("a > 5", 7), sql("TagA", 8, topic="T2", kind="TAG"), sql("", topic="T3"), sql(None, topic="T4"))
    found = table.filters.get("T", "G")
    assert found is not None
    assert (found.expression, found.client_version, found.born_at_ms) == ("a > 5", 7, 1_000_000)
    assert found.compiled.matches({"a": "6"})
    assert len(list(table.filters)) == 1
    assert table.filters.get("T", "other") is None
    assert table.changes == 1


def test_the_same_heartbeat_again_changes_nothing() -> None:
    table = Table()
    for _ in range(3):
        table.beat(sql("a > 5"))
    assert table.changes == 1


def test_only_a_newer_version_replaces_an_expression() -> None:
    table = Table()
    table.beat(sql("a > 5", 7))
    table.beat(sql("a > 6", 7))
    table.beat(sql("a > 6", 6))
    assert expression_of(table) == "a > 5"
    table.now_ms += 1000
    table.beat(sql("a > 6", 8))
    found = table.filters.get("T", "G")
    assert found is not None
    assert (found.expression, found.client_version, found.born_at_ms) == ("a > 6", 8, 1_001_000)


def test_a_newer_version_of_the_same_expression_keeps_its_birth() -> None:
    table = Table()
    table.beat(sql("a > 5", 7))
    table.now_ms += 1000
    table.beat(sql("a > 5", 8))
    found = table.filters.get("T", "G")
    assert found is not None
    assert (found.client_version, found.born_at_ms) == (8, 1_000_000)


@pytest.mark.parametrize("wrong", [sql("a >", 8), sql("a > 5", 8, kind="XPATH")])
def test_what_does_not_compile_leaves_no_filter(wrong: SubscriptionData) -> None:
    table = Table()
    table.beat(wrong)
    assert table.filters.get("T", "G") is None
    assert table.changes == 0
    table.beat(sql("a > 5", 7))
    table.beat(wrong)
    assert table.filters.get("T", "G") is None
    assert table.changes == 2


def test_topics_left_out_are_dead_and_come_back() -> None:
    table = Table()
    table.beat(sql("a > 5", 7), sql("b > 5", 7, topic="T2"))
    table.now_ms += 1
    table.beat(sql("a > 5", 7))
    gone = table.filters.get("T2", "G")
    assert gone is not None
    assert gone.is_dead
    assert gone.dead_at_ms == 1_000_001
    table.beat(sql("a > 5", 7), sql("b > 5", 7, topic="T2"))
    assert not gone.is_dead


def test_a_group_that_is_gone_is_forgotten_after_a_day() -> None:
    table = Table()
    table.beat(sql("a > 5"))
    table.beat(sql("a > 5"), group="H")
    table.filters.unregister("G")
    table.filters.unregister("nobody")
    table.now_ms += DAY_MS - 1
    table.filters.clean()
    assert expression_of(table) == "a > 5"
    table.now_ms += 1
    table.filters.clean()
    assert expression_of(table) is None
    assert expression_of(table, group="H") == "a > 5"
    assert table.changes == 4


def test_a_group_that_comes_back_in_time_stays() -> None:
    table = Table()
    table.beat(sql("a > 5"))
    table.filters.unregister("G")
    table.beat(sql("a > 5"))
    table.now_ms += 2 * DAY_MS
    table.filters.clean()
    assert expression_of(table) == "a > 5"


OFFICIAL = b"""{
\t"filterDataByTopic":{
\t\t"topicA":{
\t\t\t"groupFilterData":{
\t\t\t\t"g0":{
\t\t\t\t\t"bloomFilterData":{
\t\t\t\t\t\t"bitNum":112,
\t\t\t\t\t\t"bitPos":[1,2,3]
\t\t\t\t\t},
\t\t\t\t\t"bornTime":1795264340165,
\t\t\t\t\t"clientVersion":1,
\t\t\t\t\t"consumerGroup":"g0",
\t\t\t\t\t"dead":true,
\t\t\t\t\t"deadTime":1795264340168,
\t\t\t\t\t"expression":"a IS NULL",
\t\t\t\t\t"expressionType":"SQL92",
\t\t\t\t\t"topic":"topicA"
\t\t\t\t}
\t\t\t},
\t\t\t"topic":"topicA"
\t\t}
\t}
}"""
"""As 5.5.0 writes it, but for the bits, which are for the default layout."""


def test_the_file_is_the_official_one() -> None:
    table = Table(1795264340170)
    table.filters.load(loads(OFFICIAL))
    found = table.filters.get("topicA", "g0")
    assert found is not None
    assert found.bits == [1, 2, 3]
    assert table.filters.encode() == OFFICIAL
    assert Table().filters.encode() == b'{\n\t"filterDataByTopic":{}\n}'


def test_after_a_restart_all_groups_count_as_gone() -> None:
    table = Table(1_000_000)
    table.beat(sql("a > 5"), sql("b > 5", topic="T2"))
    table.beat(sql("c = 'ü'"), group="H")
    table.filters.unregister("H")
    other = table.loaded(2_000_000)
    assert {(each.topic, each.group): each.dead_at_ms for each in other.filters} == {
        ("T", "G"): 1_970_000,
        ("T2", "G"): 1_970_000,
        ("T", "H"): 1_000_000,
    }
    assert expression_of(other, group="H") == "c = 'ü'"
    assert [each.dead_at_ms for each in table.loaded(1_000_010).filters] == [1_000_000] * 3
    other.beat(sql("a > 5"))
    assert [each.topic for each in other.filters if not each.is_dead] == ["T"]


def test_a_file_of_another_layout_is_not_taken() -> None:
    table = Table()
    table.filters.load(loads(OFFICIAL.replace(b"112", b"120")))
    table.filters.load(loads(OFFICIAL.replace(b"[1,2,3]", b"[1,2]")))
    table.filters.load(loads(OFFICIAL.replace(b"[1,2,3]", b"null")))
    assert not list(table.filters)


def test_stored_expressions_that_do_not_compile_are_left_out() -> None:
    table = Table()
    table.filters.load(loads(OFFICIAL.replace(b"a IS NULL", b"a IS").replace(b"g0", b"g1")))
    table.filters.load(loads(OFFICIAL.replace(b"SQL92", b"XPATH")))
    assert not list(table.filters)


def test_a_damaged_file_is_told() -> None:
    with pytest.raises(MalformedBody):
        Table().filters.load({"filterDataByTopic": [5]})
