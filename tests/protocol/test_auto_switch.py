"""Replication in controller mode: its bytes as Java's, who counts as in sync, and what a quick restart keeps."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from protocol.fakes import BrokerWorld
from protocol.test_replication import End
from sim.switching import Cluster, Node, address_of
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from rmqd.protocol.broker.auto_switch_frames import master_handshake, read_epochs
from rmqd.store.dirlock import DirectoryLock
from rmqd.store.epochs import Epoch
from rmqd.store.errors import ReplicaRefused
from rmqwire.bodies import EpochEntryCache
from rmqwire.codes import ResponseCode
from rmqwire.requests.ha import GetBrokerEpochCache


class Pair(Cluster):
    """Broker 1 and others, whose roles the test gives."""

    def __init__(self, count: int = 2) -> None:
        super().__init__(random.Random(5), count)
        self.wishes: list[tuple[int, frozenset[int]]] = []
        self.grants = False

    def wished(self, node: Node, wanted: frozenset[int]) -> None:
        self.wishes.append((node.broker_id, wanted))
        if self.grants:
            auto = node.auto
            self.clock.callLater(0, auto.set_sync_state_set, auto.sync_state_set_epoch + 1, wanted)

    def lead(self, broker_id: int, epoch: int = 1, members: set[int] | None = None, version: int = 1) -> None:
        self.done(
            self.nodes[broker_id].auto.become_master(broker_id, epoch, version, frozenset(members or {broker_id}))
        )

    def follow(self, broker_id: int, master: int | None, epoch: int = 1) -> None:
        address = None if master is None else address_of(master)
        self.done(self.nodes[broker_id].auto.become_slave(broker_id, address, epoch))

    def done(self, call: Any) -> None:
        results: list[Any] = []
        Deferred.fromCoroutine(call).addBoth(results.append)
        assert len(results) == 1, "nothing to wait for here"
        if isinstance(results[0], Failure):
            results[0].raiseException()

    def send(self, broker_id: int = 1, count: int = 1) -> Deferred[int] | None:
        """Store messages; what their senders wait for."""
        world = self.nodes[broker_id].world
        for _ in range(count):
            world.stage("A", 0, 100)
        world.commit()
        return self.nodes[broker_id].auto.acks.when_replicated(world.store.max_physical_offset)

    def restart(self, broker_id: int, *, power: bool = False) -> None:
        node = self.nodes[broker_id]
        if power:
            node.lose_power()
        else:
            node.kill()
        node.begin()


@pytest.fixture
def pair() -> Iterator[Pair]:
    DirectoryLock._held.clear()
    yield Pair()
    DirectoryLock._held.clear()


def answers(waiting: Deferred[int] | None) -> list[int]:
    got: list[int] = []
    assert waiting is not None
    waiting.addCallback(got.append)
    return got


# The bytes


def as_slave(pair: Pair, master: int = 1) -> tuple[Any, StringTransport]:
    """A connection to the master whose other end is in the hands of the test."""
    link, wire = pair.nodes[master].auto.service.buildProtocol(None), End(pair.clock, random.Random(1))
    wire.other, wire.protocol = End(pair.clock, random.Random(1)), link
    wire.other.protocol = type("Silent", (), {"dataReceived": lambda *_: None, "connectionLost": lambda *_: None})()
    written: list[bytes] = []
    wire.write = written.append  # type: ignore[method-assign]
    link.makeConnection(wire)
    wire.written = written  # type: ignore[attr-defined]
    return link, wire


def test_a_master_writes_what_java_writes(pair: Pair) -> None:
    """Handshake, then the log by epochs with what is confirmed, then signs of life."""
    pair.lead(1)
    pair.send(count=2)
    first = pair.nodes[1].store.max_physical_offset
    pair.lead(1, epoch=4, version=2)
    pair.send()
    end = pair.nodes[1].store.max_physical_offset
    link, wire = as_slave(pair)
    for byte in pack(">ihhq", 1, 0, 0, 7):
        link.dataReceived(bytes((byte,)))
    assert link.broker_id == 7
    assert wire.written == [pack(">iiqi", 1, 24, end, 4) + pack(">iqiq", 1, 0, 4, first)]
    link.dataReceived(pack(">iq", 2, 0))
    log = pair.nodes[1].log()
    frames = [
        pack(">iiqiqq", 2, first, 0, 1, 0, end) + log[:first],
        pack(">iiqiqq", 2, end - first, first, 4, first, end) + log[first:],
    ]
    assert b"".join(wire.written[1:]) == b"".join(frames)
    del wire.written[:]
    link.dataReceived(pack(">iq", 2, end))
    pair.run(6)
    assert wire.written == [pack(">iiqiqq", 2, 0, end, 4, first, end)]


def test_a_slave_begins_with_the_file_it_asks_for(pair: Pair) -> None:
    """`syncFromLastFile` in the handshake."""
    pair.lead(1)
    pair.send(count=120)
    store = pair.nodes[1].store
    assert store.log.starts[-1] > 0
    for flag, begin in ((0, 0), (1, store.log.starts[-1])):
        link, wire = as_slave(pair)
        link.dataReceived(pack(">ihhqiq", 1, flag, 0, 8, 2, 0))
        assert wire.written[1][:20] == pack(">iiqi", 2, 1024, begin, 1)


@pytest.mark.parametrize(
    "sent",
    [pack(">iq", 2, 0), pack(">iq", 3, 0), pack(">ihhq", 1, 0, 0, -1), pack(">ihhqiq", 1, 0, 0, 7, 2, 1 << 40)],
    ids=["no handshake", "state", "no id", "ahead"],
)
def test_a_slave_that_makes_no_sense_is_parted_with(pair: Pair, sent: bytes) -> None:
    pair.lead(1)
    pair.send()
    link, wire = as_slave(pair)
    link.dataReceived(sent)
    pair.run(0.5)
    assert not wire.open  # type: ignore[attr-defined]


def test_the_epochs_of_a_handshake_are_read_as_written() -> None:
    entries = (Epoch(1, 0), Epoch(5, 1 << 40))
    frame = master_handshake(entries, 1 << 41)
    assert frame[:20] == pack(">iiqi", 1, 24, 1 << 41, 5)
    assert read_epochs(frame[20:]) == entries
    assert master_handshake((), 0) == pack(">iiqi", 1, 0, 0, -1)


def test_a_broker_without_a_role_takes_no_slaves_and_no_messages(pair: Pair) -> None:
    node = pair.nodes[1]
    assert node.auto.service.buildProtocol(None) is None
    assert node.store.not_writable is not None
    pair.lead(1)
    assert node.store.not_writable is None
    pair.follow(1, None, epoch=2)
    assert node.auto.service.buildProtocol(None) is None
    assert node.store.not_writable is not None


def test_a_slave_whose_epoch_was_dropped_while_it_waited_costs_the_others_nothing(pair: Pair) -> None:
    """A read from a slow disk takes its time; meanwhile the part of the log that it is from may be deleted."""
    pair.lead(1)
    pair.send(count=2)
    middle = pair.nodes[1].store.max_physical_offset
    pair.lead(1, epoch=4, version=2)
    pair.send()
    slow, slow_wire = as_slave(pair)
    slow.dataReceived(pack(">ihhq", 1, 0, 0, 7))
    slow._reading = True  # as if it waited for a thread
    slow.dataReceived(pack(">iq", 2, 0))
    link, wire = as_slave(pair)
    end = pair.nodes[1].store.max_physical_offset
    link.dataReceived(pack(">ihhqiq", 1, 0, 0, 8, 2, end))
    del wire.written[:]  # type: ignore[attr-defined]
    pair.nodes[1].auto.epochs.cut_prefix(middle + 1)
    pair.run(6)
    assert not slow_wire.open  # type: ignore[attr-defined]
    assert set(wire.written) == {pack(">iiqiqq", 2, 0, end, 4, middle, end)}  # type: ignore[attr-defined]
    del wire.written[:]  # type: ignore[attr-defined]
    pair.run(6)
    assert wire.written, "signs of life go on"  # type: ignore[attr-defined]


def test_a_slave_whose_tick_fails_costs_the_others_nothing(pair: Pair) -> None:
    pair.lead(1)
    bad, bad_wire = as_slave(pair)
    bad.tick = None  # cannot be called
    link, wire = as_slave(pair)
    link.dataReceived(pack(">ihhqiq", 1, 0, 0, 8, 2, 0))
    pair.run(3)
    assert not bad_wire.open  # type: ignore[attr-defined]
    del wire.written[:]  # type: ignore[attr-defined]
    pair.run(6)
    assert wire.written, "signs of life go on"  # type: ignore[attr-defined]


# Who is in sync


def test_a_slave_that_has_everything_comes_to_the_set(pair: Pair) -> None:
    pair.grants = True
    pair.lead(1)
    pair.send(count=30)
    pair.follow(2, 1)
    pair.run(3)
    assert pair.wishes == [(1, frozenset((1, 2)))]
    assert pair.nodes[1].auto.sync_state_set == {1, 2}
    assert pair.nodes[2].log() == pair.nodes[1].log()
    assert pair.nodes[2].auto.epochs.entries == pair.nodes[1].auto.epochs.entries
    assert pair.nodes[2].auto.connected


def test_a_learner_never_comes_to_the_set(pair: Pair) -> None:
    pair.lead(1)
    pair.nodes[2].auto._client.learns = True
    pair.follow(2, 1)
    pair.send()
    pair.run(3)
    assert pair.nodes[2].log() == pair.nodes[1].log()
    assert not pair.wishes


def test_a_slave_comes_to_the_set_of_a_master_that_never_rests(pair: Pair) -> None:
    """Its reports are always a little behind; they need not meet a pause."""
    pair.grants = True
    pair.lead(1)
    pair.follow(2, 1)
    for _ in range(60):
        pair.send()
        pair.clock.advance(0.03)
        for end in pair.ends_of(pair.nodes[1]):
            end.delay_s = 0.05
        if pair.wishes:
            break
    pair.run(1)
    assert pair.nodes[1].auto.sync_state_set == {1, 2}


def test_a_slave_that_has_not_all_that_is_confirmed_does_not_come(pair: Pair) -> None:
    pair.lead(1)
    pair.send(count=5)
    link, _ = as_slave(pair)
    link.dataReceived(pack(">ihhqiq", 1, 0, 0, 7, 2, 0))
    end = pair.nodes[1].store.max_physical_offset
    link.dataReceived(pack(">iq", 2, end - 1))
    assert not pair.wishes
    link.dataReceived(pack(">iq", 2, end))
    assert pair.wishes == [(1, frozenset((1, 7)))]


def test_a_member_that_is_lost_leaves_the_set(pair: Pair) -> None:
    pair.grants = True
    pair.lead(1)
    pair.follow(2, 1)
    pair.run(2)
    pair.send()
    pair.nodes[2].kill()
    pair.run(1)
    assert pair.wishes[-1] == (1, frozenset((1,)))
    assert pair.nodes[1].auto.sync_state_set == {1}


def test_a_member_that_stays_behind_leaves_the_set(pair: Pair) -> None:
    pair.lead(1, members={1, 7})
    link, _ = as_slave(pair)
    link.dataReceived(pack(">ihhqiq", 1, 0, 0, 7, 2, 0))
    for _ in range(14):
        pair.send()
        link.dataReceived(pack(">iq", 2, 0))
        pair.run(1)
        pair.nodes[1].auto.check_sync_state_set()
    assert not pair.wishes
    pair.run(2)
    pair.nodes[1].auto.check_sync_state_set()
    assert pair.wishes == [(1, frozenset((1,)))]


# What is waited for, and what is seen


def test_a_message_is_answered_and_seen_when_all_in_sync_have_it(pair: Pair) -> None:
    pair.grants = True
    pair.lead(1)
    assert pair.send() is None, "nobody else is in sync"
    pair.follow(2, 1)
    pair.run(2)
    master, slave = pair.nodes[1], pair.nodes[2]
    for end in pair.ends_of(slave):
        end.delay_s = 0.5
    got = answers(pair.send())
    assert master.store.max_offset("A", 0) == 1
    assert master.auto.confirm_offset < master.store.max_physical_offset
    pair.run(0.3)
    assert not got
    assert slave.store.max_offset("A", 0) == 1
    pair.run(1)
    assert got == [ResponseCode.SUCCESS]
    assert master.store.max_offset("A", 0) == 2
    pair.run(1)
    assert slave.store.max_offset("A", 0) == 2, "the slave is told soon"


def test_a_message_that_a_member_never_gets_is_answered_late(pair: Pair) -> None:
    pair.lead(1, members={1, 2})
    got = answers(pair.send())
    pair.run(2.8)
    assert not got
    pair.run(0.4)
    assert got == [ResponseCode.FLUSH_SLAVE_TIMEOUT]
    assert pair.nodes[1].store.max_offset("A", 0) == 0, "nobody saw it"
    pair.nodes[1].auto.set_sync_state_set(2, frozenset((1,)))
    assert pair.nodes[1].store.max_offset("A", 0) == 1


def test_a_wish_that_was_not_answered_still_counts(pair: Pair) -> None:
    """The controller may have granted it: the slave may be elected, so it has to have everything."""
    pair.lead(1)
    pair.follow(2, 1)
    pair.run(2)
    assert pair.wishes
    pair.nodes[2].kill()
    got = answers(pair.send())
    pair.run(2)
    assert not got
    pair.nodes[1].auto.set_sync_state_set(1, frozenset((1,)))
    assert not got, "it may have been said before"
    pair.run(9)
    assert got == [ResponseCode.FLUSH_SLAVE_TIMEOUT]
    pair.nodes[1].auto.set_sync_state_set(1, frozenset((1,)))
    assert pair.send() is None


def test_a_wish_that_was_refused_does_not_count(pair: Pair) -> None:
    """It is wished again soon: the controller may not have known yet that the slave is alive."""
    pair.lead(1)
    pair.follow(2, 1)
    pair.run(2)
    assert len(pair.wishes) == 1
    pair.nodes[1].auto.sync_state_set_refused()
    pair.run(2)
    assert len(pair.wishes) == 2
    pair.nodes[2].kill()
    assert pair.send() is not None
    pair.nodes[1].auto.sync_state_set_refused()
    assert pair.send() is None


def test_what_a_cut_leaves_of_a_group_is_seen_at_once_where_it_is_confirmed(pair: Pair) -> None:
    """The confirmed offset does not grow by the cut, and the next message may be long in coming."""
    pair.lead(1, members={1, 7})
    pair.follow(2, 1)
    pair.send(count=3)
    pair.run(1)
    slave = pair.nodes[2]
    first = slave.store.max_physical_offset // 3
    slave.auto._sync.master_says(first)
    assert slave.store.max_offset("A", 0) == 0, "a group is shown as one"
    assert slave.store.cut_log(first) == first
    for told in slave.auto.on_truncated:
        told(first)
    assert slave.store.max_offset("A", 0) == 1


def test_too_few_in_sync_are_told(pair: Pair) -> None:
    acks = pair.nodes[1].auto.acks
    acks.rules.min_in_sync_replicas = 2
    pair.lead(1)
    assert acks.too_few()
    pair.nodes[1].auto.set_sync_state_set(2, frozenset((1, 2)))
    assert not acks.too_few()


def test_a_number_of_replicas_is_waited_for(pair: Pair) -> None:
    """`inSyncReplicas` without `allAckInSyncStateSet`: whoever they are."""
    acks = pair.nodes[1].auto.acks
    acks.rules.all_in_sync = False
    pair.lead(1, members={1, 2, 3})
    assert pair.send() is None
    acks.rules.in_sync_replicas = 2
    got = answers(pair.send())
    link, _ = as_slave(pair)
    link.dataReceived(pack(">ihhqiq", 1, 0, 0, 9, 2, pair.nodes[1].store.max_physical_offset))
    assert got == [ResponseCode.SUCCESS]


def test_who_waits_is_answered_when_the_master_becomes_a_slave(pair: Pair) -> None:
    pair.lead(1, members={1, 2})
    got = answers(pair.send())
    pair.follow(1, 2, epoch=2)
    assert got == [ResponseCode.FLUSH_SLAVE_TIMEOUT]


# Roles


def test_an_epoch_that_is_over_gives_no_role(pair: Pair) -> None:
    pair.lead(1, epoch=5)
    for call in (
        pair.nodes[1].auto.become_master(1, 4, 1, frozenset((1,))),
        pair.nodes[1].auto.become_slave(1, address_of(2), 4),
    ):
        with pytest.raises(ReplicaRefused):
            pair.done(call)
    assert pair.nodes[1].auto.is_master
    assert pair.nodes[1].store.not_writable is None


def test_what_the_new_master_has_not_is_cut(pair: Pair) -> None:
    """The old master had messages that nobody got an answer for; it comes back as a slave."""
    pair.grants = True
    pair.lead(1)
    pair.follow(2, 1)
    pair.send(count=3)
    pair.run(2)
    common = pair.nodes[1].store.max_physical_offset
    pair.nodes[2].kill()
    pair.send(count=40)
    pair.nodes[1].kill()
    pair.nodes[2].begin()
    pair.lead(2, epoch=2)
    pair.send(2, count=4)
    pair.nodes[1].begin()
    pair.follow(1, 2, epoch=2)
    pair.run(3)
    assert pair.nodes[1].cuts == [common]
    assert pair.nodes[1].log() == pair.nodes[2].log()
    assert pair.nodes[1].auto.epochs.entries == ((1, 0), (2, common))
    assert list(pair.nodes[1].seen()) == list(pair.nodes[2].seen())


def test_a_master_that_wrote_nothing_leaves_its_epoch(pair: Pair) -> None:
    """Else the tail of the one before would be taken for the tail of the one after, and the logs would differ."""
    pair.lead(1)
    pair.follow(2, 1)
    pair.run(2)
    pair.nodes[2].kill()
    pair.send(count=2)
    pair.nodes[1].kill()
    pair.nodes[2].begin()
    pair.lead(2, epoch=2)
    pair.send(2, count=5)
    assert pair.nodes[2].auto.epochs.entries == ((1, 0), (2, 0))
    pair.nodes[1].begin()
    pair.follow(1, 2, epoch=2)
    pair.run(3)
    assert pair.nodes[1].log() == pair.nodes[2].log()


def test_logs_that_have_nothing_in_common_are_left_alone(pair: Pair) -> None:
    pair.lead(1, epoch=1)
    pair.send(count=3)
    pair.lead(2, epoch=2)
    pair.send(2, count=5)
    before = pair.nodes[1].log()
    pair.follow(1, 2, epoch=2)
    pair.run(5)
    assert pair.nodes[1].log() == before
    assert "nothing in common" in pair.nodes[1].auto._client.problem


def test_a_master_that_was_killed_and_is_back_at_once_costs_its_slaves_nothing(pair: Pair) -> None:
    """Nobody else was elected, and nothing that it wrote is missing."""
    pair.grants = True
    pair.lead(1)
    pair.follow(2, 1)
    pair.send(count=20)
    pair.run(2)
    end = pair.nodes[1].store.max_physical_offset
    pair.nodes[2].cuts.clear()
    pair.restart(1)
    pair.lead(1, members={1, 2}, version=5)
    pair.send(count=3)
    pair.run(5)
    assert pair.nodes[1].auto.epochs.entries == ((1, 0),)
    assert pair.nodes[2].cuts == [end]
    assert pair.nodes[2].log() == pair.nodes[1].log()


def test_a_master_whose_machine_went_down_and_is_back_at_once_has_slaves_cut_what_it_may_lack(pair: Pair) -> None:
    """It has written anew where their logs go on: the position alone would not tell."""
    pair.grants = True
    pair.lead(1)
    pair.follow(2, 1)
    node = pair.nodes[1]
    pair.send(count=20)
    node.world.flush()
    pair.send(count=20)
    pair.run(2)
    before = node.store.max_physical_offset
    assert pair.nodes[2].store.max_physical_offset == before
    pair.chance.seed(1)
    pair.restart(1, power=True)
    left = node.store.max_physical_offset
    assert 0 < left < before
    pair.lead(1, members={1, 2}, version=5)
    pair.send(count=30)
    assert node.store.max_physical_offset > before
    pair.run(5)
    assert node.auto.epochs.entries == ((0, 0), (1, 1))
    assert pair.nodes[2].log() == node.log()


def test_a_slave_that_got_no_message_knows_the_epoch_it_was_in_sync_in(pair: Pair) -> None:
    """Found by the simulation, seed 316: elected without it, its log would have nothing in common with the old one."""
    pair.grants = True
    pair.lead(1)
    pair.follow(2, 1)
    pair.run(2)
    assert pair.nodes[1].auto.sync_state_set == {1, 2}
    assert pair.nodes[2].auto.epochs.entries == ((1, 0),)
    pair.nodes[2].kill()
    pair.send(count=40)
    pair.nodes[1].kill()
    pair.nodes[2].begin()
    pair.lead(2, epoch=2)
    pair.send(2, count=3)
    pair.nodes[2].auto.check_sync_state_set()
    pair.nodes[1].begin()
    pair.follow(1, 2, epoch=2)
    pair.run(3)
    assert pair.nodes[1].log() == pair.nodes[2].log()
    assert pair.nodes[1].auto.epochs.entries == ((1, 0), (2, 0))


def test_a_log_from_before_there_was_a_controller_is_sent_whole(pair: Pair) -> None:
    node = pair.nodes[1]
    node.store.set_slave(False)
    node.world.stage("A", 0, 100)
    node.world.commit()
    pair.lead(1)
    assert node.auto.epochs.entries == ((1, 0),)
    pair.follow(2, 1)
    pair.run(2)
    assert pair.nodes[2].log() == node.log()


def test_a_slave_without_an_address_waits_for_one(pair: Pair) -> None:
    pair.lead(1)
    pair.follow(2, None)
    pair.run(1)
    assert not pair.nodes[2].auto.connected
    pair.follow(2, 1)
    pair.run(1)
    assert pair.nodes[2].auto.connected
    assert pair.nodes[2].auto.status().ha_client_runtime_info.master_addr == address_of(1)
    info = pair.nodes[1].auto.status()
    assert (info.master, [one.in_sync for one in info.ha_connection_info]) == (True, [False])


def test_a_whole_broker_has_this_in_controller_mode(tmp_path: Path) -> None:
    """Its options rule it, and it tells its epochs; one without a controller has none to tell."""
    world = BrokerWorld(
        tmp_path / "controlled",
        enableControllerMode="true",
        controllerAddr="10.0.0.9:9878",
        allAckInSyncStateSet="true",
        minInSyncReplicas="2",
        slaveTimeout="700",
    )
    replication = world.parts.replication
    auto = replication.auto_switch
    assert auto is not None
    rules = auto.acks.rules
    assert (rules.all_in_sync, rules.min_in_sync_replicas, rules.timeout_ms) == (True, 2, 700)
    assert replication.too_few_replicas == auto.acks.too_few
    Deferred.fromCoroutine(auto.become_master(3, 7, 1, frozenset((3,))))
    told = EpochEntryCache.decode(world.peer("a").ask(GetBrokerEpochCache()).body)
    assert [(entry.epoch, entry.start_offset) for entry in told.epoch_list or []] == [(7, 0)]
    assert replication.status().master
    plain = BrokerWorld(tmp_path / "plain")
    assert plain.parts.replication.auto_switch is None
    assert plain.peer("a").ask(GetBrokerEpochCache()).code == ResponseCode.SYSTEM_ERROR
    plain.close()
    world.close()


def test_sends_in_runs_go_on_where_one_replica_in_sync_is_enough(tmp_path: Path) -> None:
    world = BrokerWorld(tmp_path, enableControllerMode="true", controllerAddr="10.0.0.9:9878")
    assert world.parts.replication.too_few_replicas is None
    world.close()
