"""A master and a slave that are killed and lose power: what the slave has is what the master has, or both say no.

Without a network: `append_received` takes what `read_log` gives. What connections do in between is tested elsewhere.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from protocol.fakes import at_once
from twisted.internet.task import Clock

from rmqd.protocol.broker.ha_master import HaService, HaSettings
from rmqd.store.dirlock import DirectoryLock

from .world import Put, World, small_options

ROUNDS = 30


class Slave(World):
    """Put to by its master alone; what it has to have is what the master has."""

    def __init__(self) -> None:
        super().__init__(small_options(root=Path("/slave"), slave=True))

    def check(self, required: list[Put], *, dense: bool = True) -> None:
        """Leave it to the test, which has the master."""


def log_of(world: World, begin: int = 0) -> bytes:
    store, parts, at = world.store, [], begin
    while at < store.max_physical_offset:
        parts.append(store.read_log(at, 1 << 20, allow_cold=True))
        at += len(parts[-1])
    return b"".join(parts)


def feed(master: World, slave: World, chance: random.Random, limit: int) -> None:
    """Send up to so many bytes, in pieces that end anywhere."""
    at = slave.store.received_offset or 0
    while at < master.store.max_physical_offset and limit > 0:
        data = master.store.read_log(at, chance.choice((1, 50, 333, 4000)), allow_cold=True)
        slave.store.append_received(at, data)
        at += len(data)
        limit -= len(data)


def is_prefix(slave: World, master: World) -> bool:
    return log_of(master).startswith(log_of(slave))


def put_some(world: World, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 6)):
        world.stage(chance.choice("AB"), chance.randrange(3), chance.randrange(700))
        if chance.random() < 0.5:
            world.commit()
    world.commit()


def accident(world: World, chance: random.Random) -> None:
    """End in order, be killed, or lose power; and come back."""
    action = chance.randrange(3)
    world.store.forget_incomplete()
    if action == 0:
        world.close()
        world.open()
    elif action == 1:
        world.kill()
    else:
        world.lose_power(chance)


def same_queues(slave: World, master: World) -> None:
    for topic in master.store.topics():
        for queue_id in master.store.queue_ids(topic):
            end = master.store.max_offset(topic, queue_id)
            assert slave.store.max_offset(topic, queue_id) == end
            wanted = master.store.queue_units(topic, queue_id, 0, end)
            got: list[tuple[int, int, int]] = []
            while len(got) < end:
                found = slave.store.queue_units(topic, queue_id, len(got), end)
                assert found
                got += found
            assert got == wanted


@pytest.mark.parametrize("seed", range(12))
def test_a_slave_that_loses_power_gets_the_rest_again(seed: int) -> None:
    DirectoryLock._held.clear()
    chance = random.Random(seed)
    master, slave = World(), Slave()
    master.open()
    slave.open()
    for _ in range(ROUNDS):
        put_some(master, chance)
        feed(master, slave, chance, chance.randrange(5000))
        if chance.random() < 0.3:
            slave.flush()
        if chance.random() < 0.3:
            slave.checkpoint()
        if chance.random() < 0.5:
            accident(slave, chance)
            assert is_prefix(slave, master)
    feed(master, slave, chance, 1 << 30)
    assert log_of(slave) == log_of(master)
    same_queues(slave, master)
    master.close()
    slave.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_master_that_lost_messages_serves_no_slave_that_has_them(seed: int) -> None:
    """The slave may be an official one: the master judges by the position alone."""
    DirectoryLock._held.clear()
    chance = random.Random(seed)
    refusals = 0
    for _ in range(20):
        master, slave = World(), Slave()
        master.open()
        slave.open()
        for _ in range(chance.randrange(1, 8)):
            put_some(master, chance)
            if chance.random() < 0.5:
                master.flush()
        feed(master, slave, chance, chance.randrange(20_000))
        slave.store.forget_incomplete()
        master.lose_power(chance)
        service = HaService(master.store, HaSettings(), Clock(), at_once)
        for _ in range(chance.randrange(8)):
            put_some(master, chance)
        position = slave.store.max_physical_offset
        if position and service.refusal(position, first=True) is not None:
            refusals += 1
            assert not is_prefix(slave, master)
        else:
            assert is_prefix(slave, master)
            feed(master, slave, chance, 1 << 30)
            assert log_of(slave) == log_of(master)
        master.close()
        slave.close()
    assert 0 < refusals < 20, "both happened"


@pytest.mark.parametrize("seed", range(12))
def test_the_last_record_tells_whether_two_logs_are_the_same(seed: int) -> None:
    """What our slave asks before it connects, after any number of accidents on both sides."""
    DirectoryLock._held.clear()
    chance = random.Random(seed)
    master, slave = World(), Slave()
    master.open()
    slave.open()
    for _ in range(ROUNDS):
        put_some(master, chance)
        last = slave.store.last_record_offset()
        allowed = last is None or (
            master.store.max_physical_offset >= slave.store.max_physical_offset
            and master.store.read_record(last) == slave.store.read_record(last)
        )
        assert allowed == is_prefix(slave, master)
        if not allowed:
            slave.close()
            slave = Slave()  # emptied, as the log says
            slave.open()
        feed(master, slave, chance, chance.randrange(8000))
        for world in (master, slave):
            if chance.random() < 0.3:
                world.flush()
            if chance.random() < 0.4:
                accident(world, chance)
    master.close()
    slave.close()
