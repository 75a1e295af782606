"""Masters that change: nothing acknowledged is lost, nothing seen vanishes, and all logs become the same."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from twisted.logger import globalLogPublisher

from rmqd.store.dirlock import DirectoryLock
from rmqd.store.epochs import Epoch, EpochFile

from .simfiles import SimulatedCrash
from .switching import Cluster

STEPS = 40


def written(epochs: EpochFile) -> list[Epoch]:
    """The epochs in which something was written, and the last one: one need not have heard of others."""
    entries = epochs.entries
    return [one for one, after in zip(entries, (*entries[1:], None), strict=True) if after is None or one[1] < after[1]]


def same_logs(cluster: Cluster) -> None:
    assert len(cluster.controller.members) == cluster.count, cluster.controller
    master = cluster.master
    assert master is not None
    whole = master.log()
    for node in cluster.nodes.values():
        assert node.store.max_physical_offset == master.store.max_physical_offset
        begin = node.store.min_physical_offset - master.store.min_physical_offset
        assert node.log() == whole[begin:]
        assert written(node.auto.epochs) == written(master.auto.epochs)[-len(written(node.auto.epochs)) :]
        assert set(node.seen()) == set(master.seen())


def accident(cluster: Cluster, chance: random.Random, *, power: bool) -> None:
    node = chance.choice(list(cluster.nodes.values()))
    if cluster.master is not None and chance.random() < 0.3:
        node = cluster.master
    action = chance.randrange(8)
    others_in_sync = cluster.controller.members & cluster.reachable() - {node.broker_id}
    if not node.alive:
        if chance.random() < 0.7:
            node.begin()
    elif action == 0:
        node.kill()
    elif action == 1 and power and others_in_sync:
        node.lose_power()
        # The master sees the connection close, long before the machine is up again.
        cluster.controller.members -= {node.broker_id}
        cluster.controller.members_epoch += 1
        if cluster.controller.master == node.broker_id:
            cluster.elect()
    elif action == 2:
        node.world.files.crash_at = node.world.files.operations + chance.randrange(1, 40)
    elif action == 3:
        cluster.cut_off = {node.broker_id}
    elif action == 4:
        cluster.cut_off = set()
    elif action == 5:
        for end in cluster.ends_of(node):
            end.cut()
    elif action == 6:
        for end in cluster.ends_of(node):
            end.delay_s = chance.random() * 2
    else:
        with suppress(SimulatedCrash):
            node.world.flush()
            node.world.checkpoint()


@pytest.fixture(autouse=True)
def _no_locks() -> None:
    DirectoryLock._held.clear()


@pytest.mark.parametrize("power", [False, True], ids=["kill", "power"])
@pytest.mark.parametrize("seed", range(12))
def test_masters_change_under_load(seed: int, power: bool) -> None:
    chance = random.Random(seed * 2 + power)
    cluster = Cluster(chance)
    cluster.poll()
    cluster.run(2)
    for _ in range(STEPS):
        for _ in range(chance.randrange(1, 8)):
            for node in cluster.nodes.values():
                cluster.put(node, chance.randrange(3))
            cluster.run(chance.choice((0.05, 0.1, 0.3)), step=0.05)
        if chance.random() < 0.5:
            accident(cluster, chance, power=power)
        if chance.random() < 0.6:
            cluster.poll()
        cluster.run(chance.choice((0.1, 0.3, 1.0, 3.0)))
        cluster.check_acked()
        cluster.look()
    cluster.settle()
    cluster.put(cluster.master, 3)  # type: ignore[arg-type]
    cluster.run(7)
    same_logs(cluster)
    cluster.check_acked()
    cluster.look()
    assert cluster.acked <= cluster.seen
    assert len(cluster.acked) > STEPS // 4
    assert cluster.elections > 0


def test_something_happens(caplog: pytest.LogCaptureFixture) -> None:
    """The runs above elect masters, cut logs and acknowledge messages."""
    elections = cuts = acked = 0
    for seed in range(4):
        DirectoryLock._held.clear()
        chance = random.Random(seed)
        cluster = Cluster(chance)
        lines: list[str] = []

        def note(event: dict[str, object], lines: list[str] = lines) -> None:
            lines.append(str(event.get("log_format")))

        globalLogPublisher.addObserver(note)
        cluster.poll()
        cluster.run(2)
        for _ in range(STEPS):
            for node in cluster.nodes.values():
                cluster.put(node, chance.randrange(4))
            accident(cluster, chance, power=False)
            cluster.poll()
            cluster.run(chance.choice((0.1, 0.3, 1.0, 3.0)))
        globalLogPublisher.removeObserver(note)
        elections += cluster.elections
        acked += len(cluster.acked)
        cuts += sum("the log is cut" in line for line in lines)
    assert elections > 8
    assert acked > 20
    assert cuts > 2


def parted(seed: int) -> Cluster:
    """Broker 1 was the master and died with a tail; broker 2 is it now and has gone on; 1 is back without a role."""
    DirectoryLock._held.clear()
    cluster = Cluster(random.Random(seed), count=2)
    controller, (one, two) = cluster.controller, cluster.nodes.values()
    controller.master, controller.epoch = 1, 1
    controller.members, controller.members_epoch = frozenset((1,)), 1
    for _ in range(10):
        cluster.poll()
        cluster.run(1)
    assert controller.members == {1, 2}
    cluster.put(one, 10)
    cluster.run(3)
    two.kill()
    for _ in range(20):
        cluster.put(one, 3)
    one.world.flush()
    one.world.checkpoint()
    cluster.put(one, 5)
    one.kill()
    two.begin()
    controller.master, controller.epoch = 2, 2
    controller.members, controller.members_epoch = frozenset((2,)), 9
    cluster.poll()
    for _ in range(12):
        cluster.put(two, 3)
    one.begin()
    return cluster


@pytest.mark.parametrize("power", [False, True], ids=["kill", "power"])
@pytest.mark.parametrize("seed", range(2))
def test_a_return_that_is_interrupted_at_any_operation_ends_with_the_masters_log(seed: int, power: bool) -> None:
    """Agreeing, cutting, and taking the new epoch: whatever of it was done, the next start goes on from there."""
    after, interrupted = 1, True
    while interrupted:
        cluster = parted(seed)
        one = cluster.nodes[1]
        one.world.files.crash_at = one.world.files.operations + after
        cluster.poll()
        for _ in range(20):
            with suppress(SimulatedCrash):
                cluster.clock.advance(0.1)
            if one.crashed:
                break
        interrupted = one.crashed
        if interrupted:
            if power:
                one.lose_power()
            else:
                one.kill()
        else:
            one.world.files.crash_at = None
        cluster.settle()
        cluster.put(cluster.nodes[2], 3)
        cluster.run(3)
        same_logs(cluster)
        after += 2
    assert after > 25


def test_an_election_that_is_interrupted_at_any_operation_can_be_had_again() -> None:
    """The epoch is in its file or not; messages are taken only when it is."""
    after, interrupted = 1, True
    while interrupted:
        cluster = parted(after)
        one, controller = cluster.nodes[1], cluster.controller
        controller.master, controller.epoch, controller.members = 1, 3, frozenset((1,))
        one.world.files.crash_at = one.world.files.operations + after
        cluster.poll()
        interrupted = one.crashed
        if interrupted:
            assert not one.auto.is_master
            assert one.store.not_writable is not None
            one.kill()
        else:
            one.world.files.crash_at = None
            assert one.auto.is_master
        cluster.nodes[2].kill()
        cluster.settle()
        cluster.put(one, 3)
        cluster.run(3)
        same_logs(cluster)
        assert one.auto.last_epoch >= 3
        after += 1
    assert after > 3


@pytest.mark.parametrize("seed", range(12))
def test_a_master_back_in_its_epoch_after_a_power_loss_keeps_no_tail_of_an_older_one(seed: int) -> None:
    """What is left of its epoch must not pass for what the master before wrote there."""
    cluster = parted(seed)
    one, two = cluster.nodes.values()
    cluster.cut_off = {1}
    two.world.flush()
    for _ in range(cluster.chance.randrange(10)):
        cluster.put(two, 1)
    start = two.auto.epochs.entries[-1].start
    two.lose_power()
    two.begin()
    assert two.store.max_physical_offset > start
    cluster.poll()
    assert two.auto.is_master
    assert two.auto.last_epoch == 2
    cluster.put(two, cluster.chance.randrange(3))
    cluster.settle()
    cluster.put(two, 3)
    cluster.run(3)
    same_logs(cluster)
    assert one.log() == two.log()


def shortened(seed: int, *, first: int) -> tuple[Cluster, int]:
    """Broker 1 lost bytes of its epoch to a power loss, and leads in it again; broker 2, away, has them.

    Returns:
        The cluster; the bytes of the epoch that are left.
    """
    DirectoryLock._held.clear()
    cluster = Cluster(random.Random(seed), count=2)
    controller, (one, two) = cluster.controller, cluster.nodes.values()
    controller.master, controller.epoch = 1, 1
    controller.members, controller.members_epoch = frozenset((1,)), 1
    cluster.poll()
    if first:
        cluster.put(one, first)
        cluster.run(3)
    one.world.flush()
    one.world.checkpoint()
    controller.epoch = 2
    cluster.poll()
    start = one.store.max_physical_offset
    assert one.auto.epochs.entries[-1] == (2, start)
    for _ in range(5):
        cluster.put(one, 2)
        cluster.run(0.5)
    cluster.run(2)
    assert two.store.max_physical_offset == one.store.max_physical_offset > start
    two.kill()
    one.lose_power()
    one.begin()
    if seed % 3 == 0:
        one.kill()
        one.begin()  # which knows nothing of the power any more
    left = one.store.max_physical_offset - start
    cluster.poll()
    assert one.auto.last_epoch == 2
    return cluster, left


def test_a_slave_keeps_nothing_of_an_epoch_that_began_anew() -> None:
    """Also where nothing of the epoch is left, so that it ends where it began."""
    nothing_left = 0
    for seed in range(16):
        cluster, left = shortened(seed, first=seed % 5 + 1)
        nothing_left += left <= 0
        one = cluster.nodes[1]
        cluster.put(one, cluster.chance.randrange(1, 12))
        if seed % 2:
            one.lose_power()
            one.begin()
            cluster.poll()
            cluster.put(one, cluster.chance.randrange(1, 12))
        cluster.settle()
        cluster.put(one, 3)
        cluster.run(3)
        same_logs(cluster)
    assert nothing_left > 2
