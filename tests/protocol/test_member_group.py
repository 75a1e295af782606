"""Slaves that stand in for their master, on a simulated network: what they learn, and what a master fetches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld
from protocol.namesrv_wiring import NameServerWorld
from protocol.network import Network
from protocol.wiring import Wire
from twisted.internet.defer import Deferred

from rmqd.protocol.broker.ha_master import REPORT
from rmqd.protocol.broker.member_group import FETCH_S, LINK_S, member_group
from rmqd.protocol.broker.registration import MasterAddresses
from rmqd.protocol.client import RemotingClient
from rmqd.protocol.dispatch import Dispatcher
from rmqwire.bodies import DataVersion
from rmqwire.declare import Role
from rmqwire.dialect import loads
from rmqwire.requests.ha import ExchangeBrokerHaInfo, ExchangeBrokerHaInfoReply, NotifyMinBrokerIdChange

NAME_SERVER, MASTER, SLAVE = "10.0.0.9:9876", "127.0.0.1:10911", "10.0.0.2:10911"
ACTING = {"enableSlaveActingMaster": "true", "namesrvAddr": NAME_SERVER, "totalReplicas": "2"}
MEMBERS = "rmq_sys_SYNC_BROKER_MEMBER_broker-a"


class Member(BrokerWorld):
    """A broker whose clients reach the network, with a name server on it."""

    def __init__(self, folder: Path, **keys: str) -> None:
        folder.mkdir()
        super().__init__(folder, **{**ACTING, **keys})
        self.network = Network(self.reactor)
        self.names = NameServerWorld(folder, self.reactor, supportActingMaster="true")
        self.network.servers[NAME_SERVER] = self.names.server.dispatcher
        self.parts.client = RemotingClient(self.network.endpoint, Dispatcher(Role.CLIENT, ()), self.reactor)
        self.group = member_group(self.parts)

    def registered(self, broker_id: int, address: str) -> None:
        """A broker of the name registers."""
        self.names.peer().register(
            MEMBERS, "T", cluster="C", broker_id=broker_id, address=address, enableActingMaster="true"
        )

    def pass_s(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.reactor.advance(0.25)
            self.network.run()


@pytest.fixture
def slave(tmp_path: Path) -> Iterator[Member]:
    member = Member(tmp_path / "s", brokerRole="SLAVE", brokerId="1")
    yield member
    member.group.stop()
    member.close()


@pytest.fixture
def master(tmp_path: Path) -> Iterator[Member]:
    member = Member(tmp_path / "m")
    yield member
    member.close()


@pytest.mark.parametrize("old", ["true", "false"])
def test_a_slave_stands_in_when_its_master_is_gone(tmp_path: Path, old: str) -> None:
    """It finds out by itself, from name servers of any version, and gives way when the master is back."""
    slave = Member(tmp_path / "s", brokerRole="SLAVE", brokerId="1", compatibleWithOldNameSrv=old)
    slave.registered(0, MASTER)
    slave.registered(1, SLAVE)
    slave.parts.replication.master_changed(MasterAddresses(MASTER, "127.0.0.1:10912"))
    slave.group.start()
    slave.pass_s(3)
    assert not slave.group.acting
    slave.names.server.tables.unregister("C", "broker-a", MASTER)
    slave.pass_s(3)
    assert slave.group.acting
    assert slave.parts.replication.master is None, "nothing is copied from where it was"
    slave.registered(0, MASTER)
    slave.pass_s(3)
    assert not slave.group.acting
    assert slave.parts.replication.master == MASTER
    slave.group.stop()
    slave.close()


def test_a_name_server_tells_sooner(slave: Member) -> None:
    slave.parts.replication.master_changed(MasterAddresses(MASTER, "127.0.0.1:10912"))
    peer = slave.peer()
    peer.send(NotifyMinBrokerIdChange(min_broker_id=1, min_broker_addr=SLAVE, offline_broker_addr=MASTER), flag=2)
    told = slave.parts.members
    assert told.acting
    assert slave.parts.replication.master is None
    peer.send(
        NotifyMinBrokerIdChange(min_broker_id=0, min_broker_addr=MASTER, ha_broker_addr="127.0.0.1:10999"), flag=2
    )
    assert not told.acting
    client = slave.parts.replication.client
    assert client is not None
    assert (slave.parts.replication.master, client.address) == (MASTER, "127.0.0.1:10999")


def test_a_slave_that_does_not_hear_of_the_group_stays_as_it_is(slave: Member) -> None:
    """Name servers that are gone say nothing about the master."""
    slave.registered(0, MASTER)
    slave.registered(1, SLAVE)
    slave.group.start()
    slave.pass_s(2)
    slave.network.shut(NAME_SERVER)
    slave.pass_s(5)
    assert not slave.group.acting


def test_without_the_option_nobody_stands_in(tmp_path: Path) -> None:
    slave = Member(tmp_path / "s", brokerRole="SLAVE", brokerId="1", enableSlaveActingMaster="false")
    slave.peer().send(NotifyMinBrokerIdChange(min_broker_id=1, min_broker_addr=SLAVE), flag=2)
    assert not slave.parts.members.acting
    slave.close()


def test_the_two_ways_to_exchange_addresses(master: Member, slave: Member) -> None:
    """A slave asks a master; a master that is not registered yet tells a slave."""
    asked = master.peer().ask(ExchangeBrokerHaInfo()).header(ExchangeBrokerHaInfoReply)
    assert (asked.master_address, asked.master_flush_offset) == (MASTER, master.store.flushed_offset)
    assert asked.master_ha_address is not None
    assert slave.peer().ask(ExchangeBrokerHaInfo()).header(ExchangeBrokerHaInfoReply).master_address is None
    told = ExchangeBrokerHaInfo(master_ha_address="127.0.0.1:10912", master_flush_offset=0, master_address=MASTER)
    assert slave.peer().ask(told).code == 0
    client = slave.parts.replication.client
    assert client is not None
    assert (slave.parts.replication.master, client.address) == (MASTER, "127.0.0.1:10912")


class TestFetching:
    """What a master that comes back does before it registers."""

    @pytest.fixture
    def other(self, master: Member, tmp_path: Path) -> Iterator[BrokerWorld]:
        """The slave that stood in, of which the name server knows."""
        slave = BrokerWorld(tmp_path / "other", brokerRole="SLAVE", brokerId="1", **ACTING)
        master.network.servers[SLAVE] = slave.dispatcher
        master.registered(1, SLAVE)
        yield slave
        slave.close()

    @staticmethod
    def fetched(master: Member) -> list[None]:
        done: list[None] = []
        Deferred.fromCoroutine(master.group.fetch()).addCallback(done.append)
        master.network.run()
        return done

    @staticmethod
    def link(master: Member) -> None:
        """The slave asks for the log."""
        link = master.parts.replication.service.buildProtocol(None)
        link.makeConnection(Wire())
        link.peer = "10.0.0.2:4711"
        link.dataReceived(REPORT.pack(0))

    def test_offsets_of_the_slave(self, master: Member, other: BrokerWorld) -> None:
        """Whoever consumed from the slave reads nothing twice; the further offset counts."""
        other.parts.offsets.commit("G", "T", 0, 40)
        other.parts.offsets.commit("G", "T", 1, 7)
        other.parts.delay_offsets.set(2, 5)
        master.parts.offsets.commit("G", "T", 1, 9)
        master.parts.offsets.commit("Own", "T", 1, 3)
        done = self.fetched(master)
        assert not done, "it waits for the slave to ask for the log"
        self.link(master)
        master.pass_s(1)
        assert done == [None]
        offsets = master.parts.offsets
        assert [offsets.query("G", "T", queue) for queue in (0, 1)] == [40, 9]
        assert offsets.query("Own", "T", 1) == 3
        assert master.parts.delay_offsets.get(2) == 5
        assert other.parts.replication.master == MASTER

    def test_progress_of_the_timer(self, master: Member, other: BrokerWorld) -> None:
        """What the slave delivered is not delivered again."""
        timers, of_slave = master.parts.timers, other.parts.timers
        assert timers is not None
        assert of_slave is not None
        of_slave.begin()
        of_slave.files.queue_offset, read_ms = 5, of_slave.files.read_ms
        timers.begin()
        self.link(master)
        assert self.fetched(master) == [None]
        assert timers.files.elsewhere.furthest == (5, read_ms)
        for each in (timers, of_slave):
            each.files.close()

    def test_the_first_commit_at_the_slave_sets_no_other_offset_back(self, master: Member, other: BrokerWorld) -> None:
        """It raises the version; what was committed at the master since the last copy the slave does not know."""
        for queue in (0, 1):
            master.parts.offsets.commit("G", "T", queue, 5)
        other.parts.offsets.copy_from(loads(master.parts.offsets.body()))
        master.parts.offsets.commit("G", "T", 1, 100)
        other.parts.offsets.commit("G", "T", 0, 6)
        self.link(master)
        assert self.fetched(master) == [None]
        assert [master.parts.offsets.query("G", "T", queue) for queue in (0, 1)] == [6, 100]

    def test_a_slave_that_was_told_something_else(self, master: Member, other: BrokerWorld) -> None:
        """Of two versions the later counts, even where an offset was set back; the earlier does not."""
        master.parts.offsets.commit("G", "T", 0, 50)
        other.parts.offsets.commit("G", "T", 0, 40)
        other.parts.offsets.data_version = DataVersion(counter=3, timestamp=1)
        other.parts.delay_offsets.set(2, 5)
        master.parts.delay_offsets._version = DataVersion(counter=1, timestamp=1)
        self.link(master)
        assert self.fetched(master) == [None]
        assert master.parts.offsets.query("G", "T", 0) == 40
        assert master.parts.delay_offsets.get(2) == 0

    def test_a_slave_that_does_not_ask_for_the_log_is_not_waited_for(self, master: Member, other: BrokerWorld) -> None:
        other.parts.offsets.commit("G", "T", 0, 40)
        done = self.fetched(master)
        master.pass_s(LINK_S + 1)
        assert done == [None]
        assert master.parts.offsets.query("G", "T", 0) == 40

    def test_a_slave_that_is_gone_is_not_waited_for_long(self, master: Member, other: BrokerWorld) -> None:
        """The name server forgets it in time; if not, somebody has to take messages."""
        master.network.shut(SLAVE) if SLAVE in master.network.pipes else master.network.servers.pop(SLAVE)
        done = self.fetched(master)
        master.pass_s(3)
        assert not done
        master.names.server.tables.unregister("C", "broker-a", SLAVE)
        master.pass_s(2)
        assert done == [None]
        master.registered(1, SLAVE)
        done = self.fetched(master)
        master.pass_s(FETCH_S + 2)
        assert done == [None]

    def test_a_group_of_one_waits_for_nobody(self, master: Member) -> None:
        assert self.fetched(master) == [None]

    @pytest.mark.parametrize("keys", [{"skipPreOnline": "true"}, {"totalReplicas": "1"}])
    def test_who_does_not_fetch(self, tmp_path: Path, keys: dict[str, str]) -> None:
        member = Member(tmp_path / "x", **keys)
        member.registered(1, SLAVE)
        assert self.fetched(member) == [None]
        member.close()
