"""The arithmetic of logical queues, and plans of who leads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqd.protocol.admin.static_plan import Plan, Settings, grown, led_queues, remapped, rounded_up
from rmqd.protocol.static_mapping import (
    MappingFault,
    check_items,
    check_succession,
    info_of,
    item_after,
    item_at,
    last_item,
    logical_broker,
    logical_offset,
    logical_offset_within,
    physical_offset,
)
from rmqwire.bodies import LogicQueueMappingItem, TopicQueueMappingDetail
from rmqwire.errors import MalformedBody

A = LogicQueueMappingItem(gen=0, queue_id=0, bname="a", logic_offset=0)
B = LogicQueueMappingItem(gen=1, queue_id=3, bname="b", logic_offset=10_000)
C = LogicQueueMappingItem(gen=2, queue_id=1, bname="a", logic_offset=-1)
ENDED = LogicQueueMappingItem(gen=0, queue_id=0, bname="a", logic_offset=100, start_offset=0, end_offset=7)
NAMES = ("a", "b", "c", "d")


def test_offsets_go_over_and_back() -> None:
    assert logical_offset(B, 5) == 10_005
    assert physical_offset(B, 10_005) == 5
    assert logical_offset_within(C, 5) == -1
    assert logical_offset_within(ENDED, 9) == 107


@pytest.mark.parametrize(("logical", "item"), [(0, A), (9_999, A), (10_000, B), (50_000, B), (-5, A)])
def test_an_offset_is_in_one_stretch(logical: int, item: LogicQueueMappingItem) -> None:
    """The last stretch is not decided yet: nobody is sent there."""
    assert item_at([A, B, C], logical) is item
    assert last_item([A, B, C]) is B
    assert item_after([A, B, C], A) is B
    assert item_after([A, B, C], B) is None


def test_without_a_decided_stretch_there_is_none() -> None:
    assert item_at([C], 0) is None
    assert last_item([C]) is None
    assert item_after([A], C) is None


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([LogicQueueMappingItem(gen=-1)], "should not be negative"),
        ([C, B], "non-latest item"),
        ([B, A], "gen does not increase"),
        ([A, LogicQueueMappingItem(gen=1, logic_offset=0)], "base logic offset"),
        ([ENDED, LogicQueueMappingItem(gen=1, logic_offset=105)], "max logic offset"),
        ([LogicQueueMappingItem(start_offset=5, end_offset=3)], "endOffset is smaller"),
    ],
)
def test_stretches_follow_each_other(items: list[LogicQueueMappingItem], words: str) -> None:
    with pytest.raises(MappingFault, match=words):
        check_items(items)


def test_what_was_told_stays() -> None:
    """The start of a stretch is decided once; an old one may go; a leader changes with the epoch alone."""
    decided = LogicQueueMappingItem(gen=2, queue_id=1, bname="a", logic_offset=20_000)
    check_succession([A, B, C], [B, decided], same_epoch=True)
    check_succession([A], [A, B], same_epoch=False)
    check_succession([], [A], same_epoch=True)
    for old, new, same_epoch in (
        ([A], [A, B], True),
        ([A], [], False),
        ([B], [LogicQueueMappingItem(gen=1, queue_id=3, bname="b", logic_offset=20_000)], False),
        ([B], [LogicQueueMappingItem(gen=1, queue_id=4, bname="b", logic_offset=10_000)], False),
    ):
        with pytest.raises(MappingFault):
            check_succession(old, new, same_epoch=same_epoch)


def test_a_route_has_the_queues_that_are_led() -> None:
    detail = TopicQueueMappingDetail(topic="T", bname="b", total_queues=2, hosted_queues={0: [A, B], 1: [A]})
    assert info_of(detail).curr_id_map == {0: 3}
    assert logical_broker("__global__") == "__syslo__global__"
    assert logical_broker("other") == "__syslo__other"


@pytest.mark.parametrize(("offset", "begin"), [(0, 10_000), (4_999, 10_000), (5_000, 20_000), (10_000, 20_000)])
def test_a_new_stretch_begins_well_above(offset: int, begin: int) -> None:
    assert rounded_up(offset, 10_000) == begin


def decide(brokers: Settings) -> None:
    """Say where new stretches begin, as a remapping does in the end."""
    for settings in brokers.values():
        assert settings.mapping_detail is not None
        for items in settings.mapping_detail.hosted_queues.values():
            if items[-1].logic_offset < 0:
                items[-1].logic_offset = items[-2].logic_offset + 10_000


@given(st.lists(st.tuples(st.booleans(), st.sets(st.sampled_from(NAMES), min_size=1)), min_size=1, max_size=8))
def test_plans_hold_whatever_is_asked_for(steps: list[tuple[bool, set[str]]]) -> None:
    """After any growing and remapping each queue has one leader, shares are even, and nothing moves without need."""
    brokers: Settings = {}
    total = epoch = 0
    for grows, targets in steps:
        if grows or not brokers:
            total += 3
            plan = grown("T", total, targets, brokers, 1)
        else:
            before = {of.logical_id: of.broker for of in led_queues(brokers).values()}
            plan = remapped("T", targets, brokers, 1)
            now = {of.logical_id: of.broker for of in led_queues(brokers).values()}
            assert set(now.values()) <= targets
            shares = [list(now.values()).count(name) for name in targets]
            assert max(shares) - min(shares) <= 1
            stayed = sum(before[queue] == now[queue] for queue in now)
            had = list(before.values())
            assert stayed >= sum(min(had.count(name), min(shares)) for name in targets)
            assert plan.taking.isdisjoint(plan.leaving), "a broker takes queues or leaves them"
            decide(brokers)
        assert plan.epoch > epoch
        epoch = plan.epoch
        assert sorted(led_queues(brokers)) == list(range(total))
        assert Plan.read(plan.text()) == plan


def test_plans_that_are_refused() -> None:
    brokers: Settings = {}
    grown("T", 2, {"a"}, brokers, 1)
    for queues, words in ((2, "do nothing"), (1, "Cannot decrease the queue num for static topic 1 < 2")):
        with pytest.raises(MappingFault, match=words):
            grown("T", queues, {"a"}, brokers, 1)
    with pytest.raises(MappingFault, match="not match for broker"):
        remapped("Other", {"a"}, brokers, 1)
    brokers["a"].mapping_detail = None
    with pytest.raises(MappingFault, match="Mapping info should not be null in broker a"):
        remapped("T", {"a"}, brokers, 1)
    with pytest.raises(MalformedBody):
        Plan.read(b"[]")
