"""A broker's link to controllers on a simulated network and clock: numbers, roles, sets, what is lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.controller_world import FakeController
from protocol.fakes import at_once
from protocol.network import Network
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.task import Clock

from rmqd.protocol.broker import controllers
from rmqd.protocol.broker.controller_link import JOIN_PAUSE_S, ControllerLink, LinkSettings
from rmqd.protocol.broker.controllers import Controllers
from rmqd.protocol.broker.group_requests import GroupRequests, Told
from rmqd.protocol.broker.registration import BrokerAddress
from rmqd.protocol.client import RemotingClient
from rmqd.protocol.dispatch import Dispatcher
from rmqd.store.errors import StoreDamaged, StoreError
from rmqwire.declare import Role
from rmqwire.requests.controller import ControllerAlterSyncStateSet, ControllerApplyBrokerId

FIRST, SECOND = "10.0.0.8:9878", "10.0.0.9:9878"
ME, OTHER = "10.0.0.1:10911", "10.0.0.2:10911"
NOW_MS = 1_795_000_000_000


class Auto:
    """Replication, as the link sees it."""

    def __init__(self) -> None:
        self.on_sync_state_set: list[Callable[[frozenset[int]], None]] = []
        self.sync_state_set: frozenset[int] = frozenset()
        self.sync_state_set_epoch = 0
        self.last_epoch = -1
        self.confirm_offset = 70
        self.checks = self.refusals = 0

    def set_sync_state_set(self, epoch: int, members: frozenset[int]) -> None:
        self.sync_state_set_epoch, self.sync_state_set = epoch, members

    def sync_state_set_refused(self) -> None:
        self.refusals += 1

    def check_sync_state_set(self) -> None:
        self.checks += 1


class Switch:
    """Changes of the role, noted."""

    def __init__(self, auto: Auto) -> None:
        self.lock = DeferredLock()
        self.auto = auto
        self.done: list[tuple[Any, ...]] = []
        self.fails: Exception | None = None
        self.waits: Deferred[None] | None = None

    async def _change(self, *what: Any) -> None:
        if self.waits is not None:
            await self.waits
        if self.fails is not None:
            raise self.fails
        self.done.append(what)

    async def become_master(self, broker_id: int, epoch: int, set_epoch: int, members: frozenset[int]) -> None:
        await self._change("master", broker_id, epoch)
        self.auto.set_sync_state_set(set_epoch, members)

    async def become_slave(self, broker_id: int, master_address: str, epoch: int) -> None:
        await self._change("slave", broker_id, master_address, epoch)

    def stop(self) -> None:
        pass


class World:
    """One broker and one controller, or two."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.network = Network(self.clock)
        self.controller = FakeController(self.network, FIRST)
        self.addresses = f"{FIRST};{SECOND}"
        self.path = folder / "brokerIdentity"
        self.begin()

    def begin(self) -> None:
        self.auto = Auto()
        self.switch = Switch(self.auto)
        client = RemotingClient(self.network.endpoint, Dispatcher(Role.CLIENT, ()), self.clock)
        controllers = Controllers(lambda: self.addresses, lambda: False, client, at_once)
        broker = BrokerAddress("C", "broker-a", -1, ME, "10.0.0.1:10912")
        self.requests = GroupRequests(broker, controllers, str(self.path), lambda: NOW_MS, at_once)
        self.requests.load()
        self.link = ControllerLink(
            broker, LinkSettings(), controllers, self.requests, self.auto, self.switch, lambda: 100, self.clock
        )  # type: ignore[arg-type]

    def start(self) -> Deferred[None]:
        started = self.link.start()
        self.network.run()
        return started

    def stop(self) -> None:
        Deferred.fromCoroutine(self.link.stop())
        self.network.run()

    def pass_s(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.clock.advance(0.25)
            self.network.run()

    def other(self, number: int = 2) -> None:
        """Another broker of the group is there."""
        self.controller.ids[number] = (OTHER, "code")
        self.controller.alive.add(number)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.stop()


def test_the_first_broker_gets_a_number_and_is_elected(world: World) -> None:
    assert world.start().called
    assert world.switch.done == [("master", 1, 1)]
    assert world.path.read_bytes() == b"C#broker-a#1"
    assert not Path(f"{world.path}-temp").exists()
    assert world.auto.sync_state_set == {1}
    beat = world.controller.beats[0]
    assert (beat.broker_id, beat.broker_addr, beat.epoch, beat.max_offset, beat.confirm_offset) == (1, ME, -1, 100, 70)
    assert (beat.heartbeat_timeout_mills, beat.election_priority) == (10_000, 2**31 - 1)


def test_the_next_one_is_a_slave(world: World) -> None:
    world.other(1)
    world.controller.make_master(1)
    world.start()
    assert world.switch.done == [("slave", 2, OTHER, 1)]
    assert world.path.read_bytes() == b"C#broker-a#2"


def test_a_known_broker_asks_for_no_number(world: World) -> None:
    world.path.write_text("C#broker-a#5")
    world.controller.ids[5] = ("10.0.0.1:1", "code")
    world.begin()
    world.start()
    assert world.switch.done == [("master", 5, 1)]
    assert "GetNextBrokerId" not in world.controller.asked
    assert world.controller.ids[5][0] == ME, "the address is told"


def test_a_claim_is_made_again_as_it_was(world: World) -> None:
    """The answer is lost, or the broker is killed before it comes: the number is its own all the same."""
    world.controller.lost_answers.add(ControllerApplyBrokerId)
    world.start()
    assert Path(f"{world.path}-temp").read_bytes() == f"C#broker-a#1#{ME};{NOW_MS}".encode()
    world.stop()
    world.begin()
    world.start()
    assert world.switch.done == [("master", 1, 1)]
    assert list(world.controller.ids) == [1]


def test_of_two_that_want_a_number_one_takes_the_next(world: World) -> None:
    stale = Path(f"{world.path}-temp")
    stale.write_text(f"C#broker-a#1#{ME};1")
    world.other(1)
    world.begin()
    world.start()
    assert not stale.exists()
    world.pass_s(JOIN_PAUSE_S)
    assert world.path.read_bytes() == b"C#broker-a#2"


def test_a_store_of_another_broker_is_refused(world: World) -> None:
    world.path.write_text("C#broker-b#1")
    with pytest.raises(StoreDamaged, match=r"broker-b of cluster C.*brokerIdentity"):
        world.begin()


def test_a_number_that_the_controller_does_not_know_is_not_replaced(world: World) -> None:
    world.path.write_text("C#broker-a#5")
    world.begin()
    world.start()
    world.pass_s(5)
    assert not world.switch.done
    assert not world.controller.ids
    assert world.path.read_bytes() == b"C#broker-a#5"


def test_joining_waits_for_a_controller(world: World) -> None:
    del world.network.servers[FIRST]
    started = world.start()
    world.pass_s(4)
    assert not started.called
    world.pass_s(2)
    assert started.called, "the broker's start waits no longer"
    assert not world.switch.done
    world.network.servers[FIRST] = world.controller.dispatcher
    world.pass_s(2)
    assert world.switch.done == [("master", 1, 1)]


def test_the_leader_is_asked_and_another_one_when_it_leads(world: World) -> None:
    second = FakeController(world.network, SECOND)
    world.controller.leader = SECOND
    world.start()
    assert world.switch.done == [("master", 1, 1)]
    assert set(world.controller.asked) == {"GetMetadataInfo"}
    assert world.controller.beats, "all are given signs of life"
    world.controller.ids, world.controller.master = second.ids, 1
    world.controller.epoch, world.controller.members = 1, second.members
    world.controller.leader = second.leader = FIRST
    world.controller.died(1)
    world.controller.alive.add(1)
    world.pass_s(20)
    assert world.switch.done[-1] == ("master", 1, 3)


def test_a_notice_changes_the_role_at_once(world: World) -> None:
    world.start()
    world.other()
    world.controller.make_master(2)
    header, _ = world.controller.notice()
    world.link.notified(Told(2, OTHER, header.master_epoch or 0, 2, frozenset((2,))))
    assert world.switch.done[-1] == ("slave", 1, OTHER, 2)
    world.link.notified(Told(1, ME, 1, 1, frozenset((1,))))
    assert world.switch.done[-1] == ("slave", 1, OTHER, 2), "an older notice changes nothing"


def test_a_master_that_came_back_in_its_epoch_at_another_address_is_followed(world: World) -> None:
    world.other(1)
    world.controller.make_master(1)
    world.start()
    assert world.switch.done == [("slave", 2, OTHER, 1)]
    world.controller.ids[1] = ("10.0.0.7:10911", "code")
    world.pass_s(10)
    assert world.switch.done == [("slave", 2, OTHER, 1), ("slave", 2, "10.0.0.7:10911", 1)], "once"


def test_without_a_notice_the_next_look_finds_out(world: World) -> None:
    world.start()
    world.other()
    world.controller.make_master(2)
    world.pass_s(5)
    assert world.switch.done[-1] == ("slave", 1, OTHER, 2)
    world.auto.check_sync_state_set()
    world.controller.members = frozenset((1, 2))
    world.controller.died(2)
    world.pass_s(5)
    assert world.switch.done[-1] == ("master", 1, 3)


def test_without_a_master_an_election_is_asked_for(world: World) -> None:
    world.start()
    world.controller.died(1)
    assert world.controller.master is None
    world.pass_s(10)
    assert world.switch.done[-1] == ("master", 1, 3)


def test_a_role_that_cannot_be_taken_is_tried_again(world: World) -> None:
    world.switch.fails = StoreError("no room")
    world.start()
    assert world.link.epoch == 0
    world.switch.fails = None
    world.pass_s(JOIN_PAUSE_S)
    assert world.switch.done == [("master", 1, 1)]
    assert world.link.epoch == 1


def test_joining_goes_on_whatever_happened(world: World) -> None:
    world.switch.fails = RuntimeError("nobody thought of this")
    started = world.start()
    world.pass_s(3)
    assert not started.called
    world.switch.fails = None
    world.pass_s(JOIN_PAUSE_S)
    assert world.switch.done == [("master", 1, 1)]
    assert started.called


def test_a_broker_that_stops_while_it_joins_joins_no_more(world: World) -> None:
    world.switch.fails = RuntimeError("nobody thought of this")
    world.start()
    world.stop()
    asked = len(world.controller.asked)
    world.pass_s(5)
    assert len(world.controller.asked) == asked
    assert not world.link._jobs


def test_one_role_is_taken_at_a_time(world: World) -> None:
    world.start()
    world.other()
    world.switch.waits = Deferred()
    world.link.notified(Told(2, OTHER, 2, 2, frozenset((2,))))
    world.link.notified(Told(1, ME, 3, 3, frozenset((1,))))
    assert world.switch.done == [("master", 1, 1)]
    waits, world.switch.waits = world.switch.waits, None
    waits.callback(None)
    assert world.switch.done[1:] == [("slave", 1, OTHER, 2), ("master", 1, 3)]


def test_a_wish_for_another_set_is_told(world: World) -> None:
    world.start()
    world.other()
    for wished in world.auto.on_sync_state_set:
        wished(frozenset((1, 2)))
    world.network.run()
    assert world.controller.members == {1, 2}
    assert (world.auto.sync_state_set, world.auto.sync_state_set_epoch) == ({1, 2}, 2)


def test_a_wish_that_is_refused_leads_to_a_look(world: World) -> None:
    world.start()
    world.other()
    world.controller.members, world.controller.set_epoch = frozenset((1, 2)), 7
    world.auto.on_sync_state_set[0](frozenset((1,)))
    world.network.run()
    assert (world.auto.sync_state_set, world.auto.sync_state_set_epoch) == ({1, 2}, 7)
    assert world.controller.members == {1, 2}
    assert world.auto.refusals == 1, "it was answered"


def test_a_wish_that_controllers_failed_over_still_counts(world: World) -> None:
    """What their leader had written may be agreed upon later, by the next one."""
    world.start()
    world.other()
    world.controller.unsure.add(ControllerAlterSyncStateSet)
    world.auto.on_sync_state_set[0](frozenset((1, 2)))
    world.network.run()
    assert world.controller.asked[-1] == "GetReplicaInfo"
    assert world.auto.refusals == 0


def test_one_wish_is_under_way_at_a_time_and_the_last_one_counts(world: World) -> None:
    world.start()
    world.other()
    world.other(3)
    for members in ((1, 2), (1, 3), (1, 2, 3)):
        world.auto.on_sync_state_set[0](frozenset(members))
    world.network.run()
    assert world.controller.members == {1, 2, 3}
    assert world.controller.asked.count("AlterSyncStateSet") == 2


def test_a_master_that_is_one_no_more_finds_out_by_its_wish(world: World) -> None:
    world.start()
    world.other()
    world.controller.make_master(2)
    world.auto.on_sync_state_set[0](frozenset((1,)))
    world.network.run()
    assert world.switch.done[-1] == ("slave", 1, OTHER, 2)


def test_sets_are_looked_at_regularly(world: World) -> None:
    world.start()
    world.pass_s(15)
    assert world.auto.checks == 3
    world.controller.members, world.controller.set_epoch = frozenset((1, 2)), 5
    world.pass_s(5)
    assert world.auto.sync_state_set == {1, 2}


def test_signs_of_life_go_on(world: World) -> None:
    world.start()
    before = len(world.controller.beats)
    world.pass_s(10)
    assert len(world.controller.beats) == before + 10
    world.stop()
    world.pass_s(5)
    assert len(world.controller.beats) == before + 10


def test_controllers_that_are_away_change_nothing(world: World) -> None:
    world.start()
    world.network.shut(FIRST)
    world.pass_s(60)
    assert world.switch.done == [("master", 1, 1)]
    world.network.servers[FIRST] = world.controller.dispatcher
    world.pass_s(5)
    assert world.link.epoch == world.controller.epoch == 1


def test_controllers_behind_one_name(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fetchControllerAddrByDnsLookup`: the name stands for all; while it is unknown, for those it stood for before."""
    found = {"controllers.example": ["10.0.0.7", "10.0.0.9", "fd00::1"]}

    def look_up(host: str) -> list[str]:
        if host not in found:
            raise OSError("no such name")
        return found[host]

    monkeypatch.setattr(controllers, "all_addresses", look_up)
    client = RemotingClient(world.network.endpoint, Dispatcher(Role.CLIENT, ()), world.clock)
    by_name = Controllers(lambda: "controllers.example:9878", lambda: True, client, at_once)
    FakeController(world.network, SECOND)
    told: list[str] = []
    for _ in range(2):
        Deferred.fromCoroutine(by_name.find()).addCallback(told.append)
        world.network.run()
        assert by_name.addresses == ["10.0.0.7:9878", SECOND, "[fd00::1]:9878"]
        found.clear()
    assert told == [SECOND, SECOND]
