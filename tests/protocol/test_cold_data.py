"""Cold-data flow control: accounts of what groups read far behind, their limits, and how those adapt."""

from __future__ import annotations

from typing import Any

import pytest

from rmqd.protocol.broker.cold_data import ColdData, ColdSettings
from rmqd.store.errors import ColdRead
from rmqd.store.reading import GetResult, GetStatus

MEMORY = 10_000


class Store:
    """A log of a million bytes whose queue has one message each hundred bytes."""

    max_physical_offset = 1_000_000
    queue_in_memory = True

    def queue_units(
        self, topic: str, queue_id: int, offset: int, count: int, *, allow_cold: bool
    ) -> list[tuple[int, int, int]] | None:
        if not self.queue_in_memory:
            raise ColdRead("not in the page cache")
        return [(offset * 100, 100, 0)] if 0 <= offset < 10_000 else None


class World:
    def __init__(self, **settings: Any) -> None:
        self.now_ms = 1_000
        self.store: Any = Store()
        self.settings = ColdSettings(enabled=True, hot_percent=50, group_limit_bytes=1000, **settings)
        self.cold = ColdData(self.store, self.settings, MEMORY, lambda: self.now_ms)

    def read(self, group: str, first: int, count: int, waited: bool = False) -> None:
        body = b"".join((number * 100).to_bytes(8, "big").rjust(36, b"\0").ljust(100, b"\0") for number in
                        range(first, first + count))  # fmt: skip
        found = GetResult(GetStatus.FOUND, first + count, 0, 10_000, body, [100] * count)
        self.cold.note(group, found, waited)

    def account(self, group: str) -> int | None:
        told = self.cold.info()["runtimeTable"].get(group)
        return None if told is None else told["coldAcc"]


def test_only_what_lies_further_back_than_the_hot_part_of_memory_counts() -> None:
    world = World()
    world.read("g", 9940, 20)  # 5,000 bytes from the end are hot: 10 of these are not
    assert world.account("g") == 1000
    world.read("h", 9990, 5)
    assert world.account("h") is None


def test_a_group_above_its_limit_is_slowed_where_it_would_go_on_with_cold_messages() -> None:
    world = World()
    assert not world.cold.slows("g", "T", 0, 0)
    world.read("g", 0, 10)
    assert world.cold.slows("g", "T", 0, 10)
    assert not world.cold.slows("g", "T", 0, 9995)
    assert not world.cold.slows("g", "T", 0, 10_000)
    assert not world.cold.slows("other", "T", 0, 10)
    world.store.queue_in_memory = False
    assert world.cold.slows("g", "T", 0, 9995)
    world.cold.limits["g"] = 1001
    assert not world.cold.slows("g", "T", 0, 10)
    world.cold.limits["g"] = 1
    world.settings.enabled = False
    assert not world.cold.slows("g", "T", 0, 10)


def test_all_groups_together_have_a_limit() -> None:
    world = World(total_limit_bytes=1500)
    world.read("g", 0, 9)
    assert not world.cold.slows("g", "T", 0, 10)
    world.read("h", 0, 6)
    assert world.cold.slows("g", "T", 0, 10)
    assert not world.cold.over_total  # it is only just reached


def test_a_round_begins_at_nothing_and_quiet_groups_are_forgotten() -> None:
    world = World()
    world.read("g", 0, 10)
    world.now_ms += 5_000
    world.cold.tick()
    assert (world.account("g"), world.cold.info()["globalAcc"]) == (0, 0)
    world.now_ms += 56_000
    world.cold.tick()
    assert world.account("g") is None


@pytest.mark.parametrize("group", ["CID_RMQ_SYS_TRANS", "TOOLS_CONSUMER", "__MONITOR_CONSUMER"])
def test_the_system_s_own_groups_are_free(group: str) -> None:
    world = World()
    world.read(group, 0, 100)
    assert world.account(group) is None


def test_with_the_scan_only_reads_that_waited_count() -> None:
    world = World(only_waited=True)
    world.read("g", 0, 10)
    assert world.account("g") is None
    world.read("g", 0, 10, waited=True)
    assert world.account("g") == 1000


def test_the_simple_strategy_raises_by_half_and_lowers_by_a_fifth() -> None:
    world = World(adapts=True, by_pid=False, total_limit_bytes=100_000)
    world.read("g", 0, 10)
    world.cold.tick()
    assert world.cold.limits == {"g||adaptive": 1500}
    assert world.cold.limit_of("g") == 1500
    world.read("g", 0, 1001)
    world.cold.tick()
    assert world.cold.limits == {"g||adaptive": 1200}
    for _ in range(3):
        world.read("g", 0, 1001)
        world.cold.tick()
    assert world.cold.limits == {"g||adaptive": 1000}
    world.cold.limits["g"] = 7
    world.read("g", 0, 10)
    world.cold.tick()
    assert world.cold.limits == {"g": 7, "g||adaptive": 1000}
    world.settings.adapts = False
    world.cold.tick()
    assert world.cold.limits == {"g": 7}


def test_the_other_strategy_waits_for_ten_rounds() -> None:
    world = World(adapts=True, total_limit_bytes=100_000)
    for number in range(10):
        assert world.cold.limits == {}, number
        world.read("g", 0, 10)
        world.cold.tick()
    assert world.cold.limits == {"g||adaptive": 1500}
