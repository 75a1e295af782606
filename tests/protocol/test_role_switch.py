"""A broker whose role changes while it runs: what it takes, what it serves, what it tells others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import BrokerWorld
from protocol.namesrv_wiring import NameServerWorld
from protocol.network import Network
from twisted.internet.defer import Deferred

from rmqd.conf import BrokerRole
from rmqd.protocol.broker.auto_switch import AutoSwitch
from rmqd.protocol.broker.leading import Leading
from rmqd.protocol.broker.registration import broker_registration
from rmqd.protocol.broker.role_switch import RoleSwitch
from rmqd.protocol.broker.slave_sync import slave_sync
from rmqd.protocol.client import RemotingClient
from rmqd.protocol.dispatch import Dispatcher, Request, handles
from rmqd.protocol.replies import Reply
from rmqd.store.errors import NotWritable, StoreError
from rmqwire.codes import ResponseCode
from rmqwire.declare import Role
from rmqwire.requests.ha import ExchangeBrokerHaInfo, ExchangeBrokerHaInfoReply
from rmqwire.requests.pull import PullMessage
from rmqwire.requests.send import SendMessage

NAME_SERVER, OTHER, THIRD = "10.0.0.9:9876", "10.0.0.2:10911", "10.0.0.3:10911"
CONTROLLED = {"enableControllerMode": "true", "controllerAddr": "10.0.0.8:9878", "namesrvAddr": NAME_SERVER}


class Auto:
    """Replication, with a note of what it is told; without its connections."""

    def __init__(self, real: AutoSwitch) -> None:
        self._real = real
        self.done: list[tuple[Any, ...]] = []
        self.fails: StoreError | None = None
        self.connected = False
        self.on_truncated: list[Callable[[int], None]] = []

    async def become_master(self, broker_id: int, epoch: int, set_epoch: int, members: frozenset[int]) -> None:
        if self.fails is not None:
            raise self.fails
        self.done.append(("master", broker_id, epoch, set_epoch, members))
        await self._real.become_master(broker_id, epoch, set_epoch, members)

    async def become_slave(self, broker_id: int, ha_address: str | None, epoch: int) -> None:
        self.done.append(("slave", broker_id, ha_address, epoch))
        self.connected = ha_address is not None
        await self._real.become_slave(broker_id, None, epoch)


class Master:
    """Another broker that a controller elected, or is about to."""

    def __init__(self) -> None:
        self.ha_address: str | None = None
        self.asked = 0

    @handles(ExchangeBrokerHaInfo)
    def exchange(self, request: Request, header: ExchangeBrokerHaInfo) -> Reply:
        assert header.master_ha_address is None
        self.asked += 1
        return Reply(ExchangeBrokerHaInfoReply(master_ha_address=self.ha_address))


class World(BrokerWorld):
    """A broker in controller mode, a name server, and other brokers."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, **CONTROLLED)
        self.network = Network(self.reactor)
        self.names = NameServerWorld(folder, self.reactor)
        self.network.servers[NAME_SERVER] = self.names.server.dispatcher
        self.others = {address: Master() for address in (OTHER, THIRD)}
        for address, master in self.others.items():
            self.network.servers[address] = Dispatcher(Role.BROKER, [master])
        parts = self.parts
        parts.client = RemotingClient(self.network.endpoint, Dispatcher(Role.CLIENT, ()), self.reactor)
        address = parts.registration.broker.address
        parts.registration = broker_registration(self.options, parts.topics, parts.client, self.reactor, address)
        parts.replication.sync = slave_sync(parts)
        parts.members._broker = parts.registration.broker  # which it would be, had the client been this one at once
        assert parts.replication.auto_switch is not None
        self.auto = Auto(parts.replication.auto_switch)
        self.leading = Leading(parts)
        self.switch = RoleSwitch(parts, self.auto, self.leading)  # type: ignore[arg-type]
        if parts.timers is not None:
            parts.timers.begin(leads=False)

    def master(self, epoch: int) -> None:
        self._change(self.switch.become_master(1, epoch, epoch, frozenset((1,))))

    def slave(self, master: str, epoch: int) -> None:
        self._change(self.switch.become_slave(1, master, epoch))

    def _change(self, change: Any) -> None:
        failures: list[Any] = []
        done = Deferred.fromCoroutine(change)
        done.addErrback(failures.append)
        self.pass_s(2)
        assert done.called
        if failures:
            failures[0].raiseException()

    def pass_s(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.reactor.advance(0.25)
            self.network.run()

    def send(self) -> int:
        header = SendMessage(
            producer_group="PG", topic="T", default_topic="TBW102", default_topic_queue_nums=4, queue_id=0,
            sys_flag=0, born_timestamp=1, flag=0, properties="",
        )  # fmt: skip
        return self.peer().ask(header, b"x").code

    def pull(self) -> int:
        header = PullMessage(
            consumer_group="CG", topic="T", queue_id=0, queue_offset=0, max_msg_nums=32, sys_flag=4,
            commit_offset=0, suspend_timeout_millis=0, subscription="*", sub_version=0,
        )  # fmt: skip
        return self.peer().ask(header).code

    def shown(self) -> dict[int, str]:
        """The brokers of the group as the name server knows them."""
        data = self.names.server.tables.brokers.get("broker-a")
        return dict(data.addresses) if data is not None else {}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.switch.stop()
    world.close()


def test_before_its_first_role_a_broker_takes_and_hands_out_nothing(world: World) -> None:
    assert world.send() == ResponseCode.SYSTEM_BUSY
    assert world.pull() == ResponseCode.SYSTEM_BUSY
    with pytest.raises(NotWritable):
        world.put("T", 0, b"x")
    answer = world.peer().ask(ExchangeBrokerHaInfo()).header(ExchangeBrokerHaInfoReply)
    assert answer.master_ha_address is None, "it is nobody's master"


def test_a_master_takes_messages_and_registers_as_number_0(world: World) -> None:
    world.master(3)
    assert world.auto.done == [("master", 1, 3, 3, {1})]
    assert world.send() == ResponseCode.SUCCESS
    assert world.pull() == ResponseCode.SUCCESS
    assert world.leading.running
    assert world.parts.timers is None or not world.parts.timers.follows
    assert world.shown() == {0: "127.0.0.1:10911"}
    assert world.parts.topics.data_version.state_version == 3
    assert (world.options.store.broker_role, world.options.broker.broker_id) == (BrokerRole.SYNC_MASTER, 0)
    answer = world.peer().ask(ExchangeBrokerHaInfo()).header(ExchangeBrokerHaInfoReply)
    assert answer.master_ha_address == world.parts.registration.broker.ha_server_address


def test_a_master_that_cannot_begin_its_epoch_takes_nothing(world: World) -> None:
    world.auto.fails = StoreError("no room")
    with pytest.raises(StoreError, match="no room"):
        world.master(3)
    assert world.send() == ResponseCode.SYSTEM_BUSY
    assert not world.leading.running
    assert world.shown() == {}


def test_a_slave_asks_its_master_where_it_serves_slaves(world: World) -> None:
    world.slave(OTHER, 3)
    assert world.auto.done == [("slave", 1, None, 3)]
    assert world.others[OTHER].asked >= 3, "it does not know yet that it is master"
    world.others[OTHER].ha_address = "10.0.0.2:10912"
    world.pass_s(1)
    assert world.auto.done == [("slave", 1, None, 3), ("slave", 1, "10.0.0.2:10912", 3)]
    asked = world.others[OTHER].asked
    world.pass_s(5)
    assert world.others[OTHER].asked == asked
    assert world.shown() == {1: "127.0.0.1:10911"}
    assert world.parts.replication.master == OTHER


def test_a_master_that_came_back_with_another_port_is_asked_again(world: World) -> None:
    world.others[OTHER].ha_address = "10.0.0.2:10912"
    world.slave(OTHER, 3)
    asked = world.others[OTHER].asked
    world.pass_s(20)
    assert world.others[OTHER].asked == asked, "it is connected"
    world.auto.connected = False
    world.pass_s(5)
    assert world.others[OTHER].asked > asked
    assert world.auto.done[-1] == ("slave", 1, "10.0.0.2:10912", 3), "a new connection to the same one is not his"
    changes = len(world.auto.done)
    world.others[OTHER].ha_address = "10.0.0.2:20912"
    world.pass_s(5)
    assert world.auto.done[changes:] == [("slave", 1, "10.0.0.2:20912", 3)]


def test_a_master_becomes_a_slave_and_a_master_again(world: World) -> None:
    world.master(1)
    assert world.send() == ResponseCode.SUCCESS
    world.others[OTHER].ha_address = "10.0.0.2:10912"
    world.slave(OTHER, 2)
    assert world.send() == ResponseCode.SYSTEM_BUSY
    assert world.pull() == ResponseCode.SUCCESS, "a slave serves reads"
    assert not world.leading.running
    assert world.parts.timers is None or world.parts.timers.follows
    assert world.shown() == {1: "127.0.0.1:10911"}
    world.master(3)
    assert world.send() == ResponseCode.SUCCESS
    assert world.leading.running
    assert world.shown() == {0: "127.0.0.1:10911"}
    assert world.parts.replication.master is None


def test_the_same_master_in_a_newer_epoch_keeps_its_address(world: World) -> None:
    world.others[OTHER].ha_address = "10.0.0.2:10912"
    world.slave(OTHER, 2)
    world.slave(OTHER, 3)
    assert world.auto.done[-1] == ("slave", 1, "10.0.0.2:10912", 3)
    assert ("slave", 1, None, 3) not in world.auto.done
    world.slave(THIRD, 4)
    assert world.auto.done[-1] == ("slave", 1, None, 4), "it is another one's"


def test_who_becomes_master_asks_no_longer(world: World) -> None:
    world.slave(OTHER, 2)
    world.master(3)
    world.others[OTHER].ha_address = "10.0.0.2:10912"
    asked = world.others[OTHER].asked
    world.pass_s(5)
    assert world.others[OTHER].asked == asked
    assert world.auto.done[-1][0] == "master"


def test_the_timer_of_a_log_that_was_cut_is_opened_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    timers = world.parts.timers
    assert timers is not None
    followed: list[bool] = []

    async def follow() -> None:
        followed.append(True)

    world.slave(OTHER, 2)
    monkeypatch.setattr(timers, "follow", follow)
    world.auto.on_truncated[0](100)
    assert followed == [True]
    monkeypatch.undo()
    world.master(3)
    monkeypatch.setattr(timers, "follow", follow)
    world.auto.on_truncated[0](100)
    assert followed == [True], "a master's log is not cut"


def test_a_file_that_says_that_slaves_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    CONTROLLED["slaveReadEnable"] = "false"
    try:
        world = World(tmp_path / "w")
    finally:
        del CONTROLLED["slaveReadEnable"]
    world.master(1)
    assert world.send() == ResponseCode.SUCCESS
    assert world.pull() == ResponseCode.SUCCESS
    world.slave(OTHER, 2)
    assert world.pull() == ResponseCode.SYSTEM_BUSY
    world.switch.stop()
    world.close()
