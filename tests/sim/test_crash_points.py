"""One fixed life of a store, ended at every one of its operations, by a kill and by a power loss."""

from __future__ import annotations

import random

import pytest

from rmqd.store import manysync

from .simfiles import SimulatedCrash
from .world import World, scenario


def operations() -> int:
    world = World()
    scenario(world)
    return world.files.operations


TOTAL = operations()
STEP = 4
PARTS = [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, STEP))]
"""Every fourth operation in each run, the others with the slow ones."""


def run_until(world: World, point: int) -> bool:
    world.files.crash_at = point
    try:
        scenario(world)
    except SimulatedCrash:
        world.files.crash_at = None
        return True
    return False


@pytest.mark.parametrize("first", PARTS)
def test_a_kill_at_any_operation_loses_nothing_acknowledged(first: int) -> None:
    for point in range(1 + first, TOTAL + 1, STEP):
        world = World()
        assert run_until(world, point), point
        world.kill()
        world.stage("A", 0, 100)
        world.commit()
        world.close()
        world.open()
        world.check(world.acked)
        world.close()


@pytest.mark.parametrize("first", PARTS)
def test_a_power_loss_at_any_operation_loses_nothing_flushed(first: int) -> None:
    for point in range(1 + first, TOTAL + 1, STEP):
        world = World()
        assert run_until(world, point), point
        world.lose_power(random.Random(point))
        for number in range(5):
            world.stage("A", number % 3, 200 + number)
        world.commit()
        world.checkpoint()
        world.kill()
        world.close()


@pytest.mark.parametrize("first", PARTS)
def test_a_power_loss_where_all_of_the_file_system_is_synced_at_once(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manysync, "ONE_BY_ONE_MAX", 0)
    point = 1 + first
    while True:
        world = World()
        world.files.syncs_whole = True
        if not run_until(world, point):
            break
        world.lose_power(random.Random(point))
        for number in range(5):
            world.stage("A", number % 3, 200 + number)
        world.commit()
        world.checkpoint()
        world.kill()
        world.close()
        point += STEP
    assert point > TOTAL // 2
