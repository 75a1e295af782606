"""A log that is cut while it is open: what is before the cut is there, and nothing behind it ever comes back."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from rmqd.store.dirlock import DirectoryLock

from .simfiles import SimulatedCrash
from .world import World

MESSAGES = 60


def fill(world: World, chance: random.Random, count: int = MESSAGES) -> None:
    for number in range(count):
        world.stage(chance.choice("ABC"), chance.randrange(3), chance.randrange(900))
        if number % 4 == 3:
            world.commit()
        if chance.random() < 0.1:
            world.store.tick_consume_queues(2)
        if chance.random() < 0.05:
            world.flush()
        if chance.random() < 0.05:
            world.checkpoint()
    world.commit()


def some_end(world: World, chance: random.Random) -> int:
    """The end of a message, or the beginning of the log."""
    return chance.choice([0, *(put.end for put in world.acked)])


def cut(world: World, offset: int) -> None:
    assert world.store.cut_log(offset) == offset
    world.acked = [put for put in world.acked if put.end <= offset]


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_log_goes_on_from_there(seed: int) -> None:
    """New messages take the place of old ones, in the log, the queues and the index, also after accidents."""
    DirectoryLock._held.clear()
    chance = random.Random(seed)
    world = World()
    world.open()
    for _ in range(6):
        fill(world, chance)
        cut(world, some_end(world, chance))
        world.check(world.acked)
        if chance.random() < 0.7:
            fill(world, chance, chance.randrange(1, 12))
            world.check(world.acked)
        action = chance.randrange(4)
        if action == 0:
            world.kill()
        elif action == 1:
            world.lose_power(chance)
        elif action == 2:
            world.close()
            world.open()
            world.check(world.acked)
    world.close()


@pytest.mark.parametrize("seed", range(8))
def test_a_file_that_was_cut_away_does_not_come_back_behind_new_messages(seed: int) -> None:
    """Its removal has to be on disk before the file before it is filled again: its records would fit in there."""
    DirectoryLock._held.clear()
    chance = random.Random(seed)
    world = World()
    world.open()
    fill(world, chance, 120)
    size = world.options.mapped_file_size_commit_log
    assert world.store.max_physical_offset > 2 * size
    cut(world, chance.choice([put.end for put in world.acked if put.end < size]))
    while world.store.max_physical_offset <= size:
        world.stage("A", 0, chance.randrange(900))
        world.commit()
    world._forget_process()
    world.files = world.files.after_power_loss(lambda _path, _page: True, 0)
    world.open()
    world.check([])
    world.close()


def test_a_cut_that_no_record_begins_at_goes_back_to_the_one_before() -> None:
    """An official slave's log can end within a record."""
    DirectoryLock._held.clear()
    world = World()
    world.open()
    for _ in range(3):
        world.stage("A", 0, 100)
        world.commit()
    first, second, third = (put.end for put in world.acked)
    assert [world.store.record_before(at) for at in (third, second + 1, second, first)] == [second, second, first, 0]
    assert world.store.record_before(0) is world.store.record_before(third + 1) is None
    assert world.store.cut_log(second - 1) == first
    assert world.store.cut_log(first + 1) == first, "there is nothing behind it"
    world.acked = world.acked[:1]
    world.check(world.acked)
    world.close()


@dataclass
class Prepared:
    """A filled store, and where it is going to be cut."""

    world: World
    offset: int
    chance: random.Random


def prepared(seed: int) -> Prepared:
    DirectoryLock._held.clear()
    chance = random.Random(seed)
    world = World()
    world.open()
    fill(world, chance)
    return Prepared(world, some_end(world, chance) if seed else 0, chance)


def interrupted(seed: int, after: int) -> Prepared | None:
    """The store after so many operations of the cut; None when it had fewer."""
    case = prepared(seed)
    files = case.world.files
    files.crash_at = files.operations + after
    try:
        case.world.store.cut_log(case.offset)
    except SimulatedCrash:
        files.crash_at = None
        return case
    files.crash_at = None
    case.world.close()
    return None


def end_by_accident(case: Prepared, *, power: bool) -> None:
    world, chance = case.world, case.chance
    world._forget_process()
    if power:
        kept = chance.choice((0.0, 0.5, 1.0))
        journal = chance.randint(0, len(world.files.journal))
        world.files = world.files.after_power_loss(lambda _path, _page: chance.random() < kept, journal)
    else:
        world.files = world.files.after_process_crash()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("power", [False, True], ids=["kill", "power"])
def test_a_cut_that_is_interrupted_leaves_some_end_and_can_be_done_again(seed: int, power: bool) -> None:
    after = 1
    while (case := interrupted(seed, after)) is not None:
        world = case.world
        safe = min(case.offset, world.store.flushed_offset) if power else case.offset
        end_by_accident(case, power=power)
        world.open()
        world.check([put for put in world.acked if put.end <= safe])
        if world.store.max_physical_offset > case.offset:
            cut(world, case.offset)
        fill(world, case.chance, 6)
        world.checkpoint()
        world.lose_power(case.chance)
        world.close()
        after += 1
    assert after > 5
