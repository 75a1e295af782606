"""A master and its slaves on a simulated clock: bytes over memory pipes into real small stores."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from protocol.fakes import at_once
from store.stores import crash, make_store, put_many
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from rmqd.protocol.broker.ha_acks import AckRules, ReplicaAcks, when_both
from rmqd.protocol.broker.ha_master import HaService, HaSettings, SlaveLink
from rmqd.protocol.broker.ha_slave import HaClient
from rmqd.store.messagestore import MessageStore
from rmqwire.codes import ResponseCode

MASTER = "10.0.0.1:10912"


class End(StringTransport):
    """One end of a connection, which carries bytes in pieces of any length."""

    def __init__(self, clock: Clock, random: Random) -> None:
        super().__init__()
        self._clock = clock
        self._random = random
        self.protocol: Any = None
        self.other: End
        self.open = True
        self.stuck = False
        self.delay_s = 0.0

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def write(self, data: bytes) -> None:
        at = 0
        while at < len(data) and not self.stuck:
            size = self._random.choice((1, 7, 11, 100, 5000, 70_000))
            self._clock.callLater(self.delay_s, self._deliver, data[at : at + size])
            at += size

    def _deliver(self, data: bytes) -> None:
        if self.other.open:
            self.other.protocol.dataReceived(data)

    def loseConnection(self) -> None:
        self._clock.callLater(0, self.cut, ConnectionDone())

    def abortConnection(self) -> None:
        self._clock.callLater(0, self.cut, ConnectionLost())

    def cut(self, reason: Exception | None = None) -> None:
        for end in (self, self.other):
            if end.open:
                end.open = False
                end.protocol.connectionLost(Failure(reason or ConnectionLost()))


class Slave:
    """A store and its link to whatever master there is."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.store: MessageStore
        self.client: HaClient
        self.problem: str | None = None
        self.begin()

    def begin(self) -> None:
        self.store = make_store(self.folder, slave=True)
        self.store.open()
        self.client = HaClient(
            self.store, self.world.endpoint, self.world.settings, self.world.clock, lambda: 0, self._check
        )
        self.client.set_address(MASTER)
        self.client.start()

    async def _check(self) -> str | None:
        return self.problem

    def end(self, *, killed: bool = False) -> None:
        self.client.stop()
        self.world.run(1)
        if killed:
            crash(self.store)
        else:
            self.store.close()


class World:
    """A clock, a master, and a network between them."""

    def __init__(self, folder: Path, seed: int = 1, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.random = Random(seed)
        self.folder = folder
        self.settings = HaSettings(**settings)
        self.ends: list[End] = []
        self.service: HaService | None = None
        self.master: MessageStore
        self.slaves: list[Slave] = []
        self.begin()

    def begin(self) -> None:
        self.master = make_store(self.folder / "m")
        self.master.open()
        self.service = HaService(self.master, self.settings, self.clock, at_once)
        self.service.start()

    def end(self, *, killed: bool = False) -> None:
        service, self.service = self.service, None
        assert service is not None
        service.stop()
        self.run(1)
        for end in self.ends:
            end.cut()
        if killed:
            crash(self.master)
        else:
            self.master.close()

    def slave(self, name: str = "s") -> Slave:
        self.slaves.append(Slave(self, self.folder / name))
        return self.slaves[-1]

    def endpoint(self, host: str, port: int) -> World:
        assert f"{host}:{port}" == MASTER
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        if self.service is None:
            return fail(ConnectionRefusedError())
        ours, theirs = End(self.clock, self.random), End(self.clock, self.random)
        ours.other, theirs.other = theirs, ours
        theirs.protocol = self.service.buildProtocol(None)
        ours.protocol = factory.buildProtocol(None)
        theirs.protocol.makeConnection(theirs)
        ours.protocol.makeConnection(ours)
        self.ends += (ours, theirs)
        return succeed(ours.protocol)

    def run(self, seconds: float, step: float = 0.1) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            for _ in range(3):
                self.clock.advance(0)

    def links(self) -> list[SlaveLink]:
        assert self.service is not None
        return self.service.links


def log_of(store: MessageStore, begin: int = 0) -> bytes:
    parts, at = [], begin
    while at < store.max_physical_offset:
        parts.append(store.read_log(at, 1 << 20, allow_cold=True))
        at += len(parts[-1])
    return b"".join(parts)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for slave in made.slaves:
        slave.client.stop()
        slave.store.close()
    made.master.close()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    told: list[str] = []

    def note(event: Any) -> None:
        if event.get("log_format"):
            told.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(note)
    yield told
    globalLogPublisher.removeObserver(note)


def test_a_slave_gets_what_was_there_and_what_comes(world: World) -> None:
    put_many(world.master, 30)
    slave = world.slave()
    world.run(1)
    assert log_of(slave.store) == log_of(world.master)
    put_many(world.master, 200, first=30)
    world.run(1)
    assert log_of(slave.store) == log_of(world.master)
    assert slave.store.max_offset("T", 0) == 230
    assert [link.ack_offset for link in world.links()] == [world.master.max_physical_offset]
    assert slave.client.problem == ""


def test_an_empty_slave_of_a_long_log_begins_with_the_last_file(world: World) -> None:
    put_many(world.master, 200)
    start = world.master.log.starts[-1]
    assert start > 0
    slave = world.slave()
    world.run(1)
    assert slave.store.min_physical_offset == start
    assert log_of(slave.store, start) == log_of(world.master, start)


def test_a_slave_goes_on_after_its_own_end_and_its_masters(world: World) -> None:
    slave = world.slave()
    for number in range(4):
        put_many(world.master, 25, first=25 * number)
        world.run(0.3)
        slave.end(killed=bool(number % 2))
        put_many(world.master, 5, first=1000)
        slave.begin()
        world.run(6)
        assert log_of(slave.store) == log_of(world.master)
        world.end(killed=bool(number % 2))
        world.run(3)
        assert slave.client.problem
        world.begin()
        world.run(8)
        assert log_of(slave.store) == log_of(world.master)
        assert slave.client.problem == ""


@pytest.mark.parametrize("seed", range(8))
def test_logs_are_equal_after_links_were_cut_stuck_and_slow(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    world = World(tmp_path, seed)
    slaves = [world.slave("s1"), world.slave("s2")]
    total = 0
    for _ in range(25):
        total += (count := random.randrange(1, 30))
        put_many(world.master, count, first=total)
        action = random.randrange(6)
        live = [end for end in world.ends if end.open]
        if action == 0 and live:
            random.choice(live).cut()
        elif action == 1 and live:
            random.choice(live).stuck = True
        elif action == 2 and live:
            random.choice(live).delay_s = random.random()
        elif action == 3:
            slave = random.choice(slaves)
            slave.end(killed=random.random() < 0.5)
            slave.begin()
        elif action == 4:
            world.end(killed=random.random() < 0.5)
            world.run(random.random())
            world.begin()
        world.run(random.choice((0.1, 1.0, 7.0)))
        end = world.master.max_physical_offset
        for slave in slaves:
            assert (
                log_of(slave.store, slave.store.min_physical_offset)
                == log_of(world.master, slave.store.min_physical_offset)[
                    : slave.store.max_physical_offset - slave.store.min_physical_offset
                ]
            )
        assert all(link.ack_offset <= end for link in world.links())
    world.run(60)
    for slave in slaves:
        begin = slave.store.min_physical_offset
        assert slave.store.max_physical_offset == world.master.max_physical_offset
        assert log_of(slave.store, begin) == log_of(world.master, begin)
        slave.client.stop()
        slave.store.close()
    world.master.close()


def test_both_sides_give_signs_of_life_and_part_with_one_that_gives_none(world: World) -> None:
    slave = world.slave()
    world.run(60)
    assert len(world.ends) == 2, "one connection"
    world.ends[1].stuck = True  # the master's end: nothing arrives at the slave any more
    world.run(24)
    assert not world.ends[0].open
    world.run(10)
    assert slave.client.connected
    world.ends[2].stuck = True  # the slave's end
    world.run(24)
    assert not world.ends[3].open


def test_frames_are_as_java_writes_them(world: World) -> None:
    put_many(world.master, 3)
    assert world.service is not None
    link, wire = world.service.buildProtocol(None), End(world.clock, world.random)
    sent = bytearray()
    wire.write = sent.extend  # type: ignore[method-assign]
    link.makeConnection(wire)
    world.run(6)
    assert not sent, "nothing before the first report"
    link.dataReceived(struct.pack(">q", 0)[:5])
    link.dataReceived(struct.pack(">q", 0)[5:])
    end = world.master.max_physical_offset
    assert bytes(sent) == struct.pack(">qi", 0, end) + log_of(world.master)
    sent.clear()
    link.dataReceived(struct.pack(">q", end))
    world.run(5.5)
    assert bytes(sent) == struct.pack(">qi", end, 0)


def test_frames_are_no_longer_than_the_option_says(tmp_path: Path) -> None:
    world = World(tmp_path, batch_bytes=100)
    put_many(world.master, 120)
    world.end()
    world.begin()
    assert world.service is not None
    link, wire = world.service.buildProtocol(None), End(world.clock, world.random)
    sent = bytearray()
    wire.write = sent.extend  # type: ignore[method-assign]
    link.makeConnection(wire)
    link.dataReceived(struct.pack(">q", 1))  # as Java, whatever position a slave names is served from there
    world.run(1)
    at, expected = 0, 1
    while at < len(sent):
        offset, size = struct.unpack_from(">qi", sent, at)
        assert offset == expected
        assert 0 < size <= 100
        assert offset // 8192 == (offset + size - 1) // 8192
        at, expected = at + 12 + size, expected + size
    assert expected == world.master.max_physical_offset
    world.master.close()


def test_a_slave_that_is_ahead_is_not_served_and_the_log_says_why(world: World, lines: list[str]) -> None:
    put_many(world.master, 5)
    slave = world.slave()
    world.run(1)
    # The machine of the master loses what was not synced: its log is that of before the last three messages.
    world.end(killed=True)
    shorter = make_store(world.folder / "m")
    shorter.open()
    cut = shorter.max_physical_offset
    shorter.log.set_end(cut - 150)
    shorter.close()
    world.begin()
    assert world.master.max_physical_offset < slave.store.max_physical_offset
    before = log_of(slave.store)
    world.run(12)
    assert log_of(slave.store) == before
    told = [line for line in lines if "is not served" in line]
    assert len(told) == 1
    assert "exist on the slave alone" in told[0]
    # New messages take the log beyond the slave's: it is still not served, for the two differ.
    put_many(world.master, 10, first=100)
    assert world.master.max_physical_offset > slave.store.max_physical_offset
    world.run(12)
    assert log_of(slave.store) == before
    assert [line for line in lines if "was never sent to a slave: the two logs differ" in line]


def test_a_slave_does_not_connect_while_the_logs_differ(world: World, lines: list[str]) -> None:
    put_many(world.master, 5)
    slave = world.slave()
    slave.problem = "the logs differ"
    world.run(1)
    assert slave.client.link is not None, "asked before the problem was there"
    world.ends[-1].cut()
    world.run(20)
    assert slave.client.link is None
    assert [line for line in lines if "differ" in line] == ["not replicating: the logs differ"]
    slave.problem = None
    world.run(6)
    assert slave.client.link is not None


def test_what_is_sent_is_limited_by_the_second(tmp_path: Path) -> None:
    world = World(tmp_path, bytes_per_second=2000)
    put_many(world.master, 60)
    slave = world.slave()
    world.run(2)
    assert 2000 <= slave.store.max_physical_offset <= 6000 < world.master.max_physical_offset
    world.run(10)
    assert slave.store.max_physical_offset == world.master.max_physical_offset
    slave.client.stop()
    slave.store.close()
    world.master.close()


# SYNC_MASTER


def acks(world: World, **rules: Any) -> ReplicaAcks:
    assert world.service is not None
    made = ReplicaAcks(world.service, world.clock, AckRules(**rules))
    made.start()
    return made


def result(wait: Deferred[int] | None) -> int | None:
    """The code that has come; None while it is waited for."""
    codes: list[int] = [0] if wait is None else []
    if wait is not None:
        wait.addCallback(codes.append)
    return codes[0] if codes else None


def test_without_a_slave_there_is_no_waiting(world: World, lines: list[str]) -> None:
    sync = acks(world)
    put_many(world.master, 1)
    assert result(sync.when_replicated(world.master.max_physical_offset)) == ResponseCode.SLAVE_NOT_AVAILABLE
    assert result(sync.when_replicated(world.master.max_physical_offset)) == ResponseCode.SLAVE_NOT_AVAILABLE
    assert [line for line in lines if "SLAVE_NOT_AVAILABLE" in line] == [
        "sends are answered SLAVE_NOT_AVAILABLE: no slave is connected"
    ]


def test_an_answer_waits_until_the_slave_has_it(world: World) -> None:
    slave = world.slave()
    world.run(1)
    sync = acks(world)
    put_many(world.master, 1)
    codes: list[int] = []
    wait = sync.when_replicated(world.master.max_physical_offset)
    assert wait is not None
    wait.addCallback(codes.append)
    assert codes == []
    world.run(0.3)
    assert codes == [ResponseCode.SUCCESS]
    assert slave.store.max_physical_offset == world.master.max_physical_offset
    assert sync.when_replicated(world.master.max_physical_offset) is None


def test_a_broker_that_stops_lets_acknowledgements_come_in(world: World) -> None:
    world.slave()
    world.run(1)
    sync = acks(world)
    put_many(world.master, 1)
    codes: list[int] = []
    wait = sync.when_replicated(world.master.max_physical_offset)
    assert wait is not None
    wait.addCallback(codes.append)
    ended: list[None] = []
    Deferred.fromCoroutine(sync.drained()).addCallback(ended.append)
    assert not ended
    world.run(0.3)
    assert (codes, ended) == ([ResponseCode.SUCCESS], [None])
    world.ends[0].stuck = True
    put_many(world.master, 1)
    wait = sync.when_replicated(world.master.max_physical_offset)
    assert wait is not None
    wait.addCallback(codes.append)
    Deferred.fromCoroutine(sync.drained()).addCallback(ended.append)
    world.run(1.5)
    assert len(ended) == 2
    sync.stop()
    assert codes == [ResponseCode.SUCCESS, ResponseCode.FLUSH_SLAVE_TIMEOUT]


def test_a_late_acknowledgement_is_told(world: World, lines: list[str]) -> None:
    world.slave()
    world.run(1)
    sync = acks(world)
    world.ends[0].stuck = True
    put_many(world.master, 1)
    codes: list[int] = []
    wait = sync.when_replicated(world.master.max_physical_offset)
    assert wait is not None
    wait.addCallback(codes.append)
    world.run(4.5)
    assert codes == []
    world.run(1)
    assert codes == [ResponseCode.FLUSH_SLAVE_TIMEOUT]
    assert len([line for line in lines if "FLUSH_SLAVE_TIMEOUT" in line]) == 1


def test_a_slave_too_far_behind_is_not_waited_for(tmp_path: Path, lines: list[str]) -> None:
    world = World(tmp_path, gap_bytes=300)
    slave = world.slave()
    world.run(1)
    sync = acks(world)
    world.ends[0].stuck = True
    put_many(world.master, 5)
    assert result(sync.when_replicated(world.master.max_physical_offset)) == ResponseCode.SLAVE_NOT_AVAILABLE
    assert [line for line in lines if "bytes behind, haSlaveFallbehindMax is 300" in line]
    slave.client.stop()
    slave.store.close()
    world.master.close()


def test_the_options_of_5_rule_when_they_are_set(world: World) -> None:
    put_many(world.master, 1)
    end = world.master.max_physical_offset
    assert acks(world, ruled=True).when_replicated(end) is None, "inSyncReplicas 1: the master alone is enough"
    two = acks(world, ruled=True, in_sync_replicas=2, timeout_ms=3000)
    wait = two.when_replicated(end)
    assert wait is not None
    codes: list[int] = []
    wait.addCallback(codes.append)
    world.run(3.2)
    assert codes == [ResponseCode.FLUSH_SLAVE_TIMEOUT], "5.x knows no SLAVE_NOT_AVAILABLE"
    auto = acks(world, ruled=True, in_sync_replicas=2, auto=True)
    assert auto.when_replicated(end) is None, "fewer are enough while slaves are gone"
    world.slave("s1")
    world.slave("s2")
    three = acks(world, ruled=True, in_sync_replicas=3)
    wait = three.when_replicated(end)
    assert wait is not None
    wait.addCallback(codes.append)
    world.run(1)
    assert codes[1:] == [ResponseCode.SUCCESS]
    put_many(world.master, 1)
    everyone = acks(world, ruled=True, all_in_sync=True)
    wait = everyone.when_replicated(world.master.max_physical_offset)
    assert wait is not None
    wait.addCallback(codes.append)
    world.run(1)
    assert codes[2:] == [ResponseCode.SUCCESS]


def test_of_disk_and_slaves_both_are_waited_for() -> None:
    disk: Deferred[int] = Deferred()
    slaves: Deferred[int] = Deferred()
    codes: list[int] = []
    wait = when_both(lambda _: disk, lambda _: slaves)(1)
    assert wait is not None
    wait.addCallback(codes.append)
    slaves.callback(ResponseCode.FLUSH_SLAVE_TIMEOUT)
    assert codes == []
    disk.callback(ResponseCode.FLUSH_DISK_TIMEOUT)
    assert codes == [ResponseCode.FLUSH_SLAVE_TIMEOUT]
    assert when_both(lambda _: None, lambda _: None)(1) is None
