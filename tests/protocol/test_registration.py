"""A broker and its name servers, on a network in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from protocol.namesrv_wiring import NameServerWorld
from protocol.network import Network
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent

from rmqd.protocol.broker.registration import BrokerAddress, MasterAddresses, Registration
from rmqd.protocol.client import RemotingClient
from rmqd.protocol.dispatch import Dispatcher, Request, handles
from rmqd.protocol.replies import Reply
from rmqwire.bodies import DataVersion, KvTable, RegisterBrokerBody, TopicConfig
from rmqwire.codes import RequestCode, ResponseCode, name_of_request
from rmqwire.declare import Role
from rmqwire.errors import RequestError
from rmqwire.requests.register import (
    BrokerHeartbeat,
    QueryDataVersion,
    RegisterBroker,
    RegisterBrokerReply,
    UnregisterBroker,
)

NS1, NS2, NS3 = "10.1.0.1:9876", "10.1.0.2:9876", "10.1.0.3:9876"
BROKER = BrokerAddress("DefaultCluster", "broker-a", 0, "10.0.0.1:10911", "10.0.0.1:10912")


class Topics:
    """A broker's topic table."""

    def __init__(self, *names: str) -> None:
        self.data_version = DataVersion(counter=1, timestamp=1)
        self.table = {name: TopicConfig(topic_name=name) for name in names}

    def put(self, *configs: TopicConfig) -> list[TopicConfig]:
        """Change topics; gives what the table tells its listeners."""
        self.table.update({config.topic_name or "": config for config in configs})
        counter = self.data_version.counter + 1
        self.data_version = DataVersion(counter=counter, timestamp=counter)
        return list(configs)


class ScriptedNameServer:
    """Records what it is told and answers as the test says."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Any, bytes]] = []
        self.refuses = False
        self.hangs = False
        self.reply = RegisterBrokerReply()
        self.order_topics: dict[str, str] | None = None
        self.known: DataVersion | None = None

    @handles(RegisterBroker)
    def register(self, request: Request, header: RegisterBroker) -> Reply | None:
        self.told.append((request.code, header, request.body))
        if self.hangs:
            return None
        if self.refuses:
            raise RequestError("not today")
        self.known = self.topics_told().data_version
        return Reply(self.reply, body=b"" if self.order_topics is None else KvTable(table=self.order_topics).encode())

    @handles(UnregisterBroker)
    def unregister(self, request: Request, header: UnregisterBroker) -> Reply | None:
        self.told.append((request.code, header, request.body))
        return None if self.hangs else Reply()

    @handles(QueryDataVersion)
    def query(self, request: Request, header: QueryDataVersion) -> Reply:
        self.told.append((request.code, header, request.body))
        if self.refuses:
            return Reply(code=ResponseCode.REQUEST_CODE_NOT_SUPPORTED)
        changed = DataVersion.decode(request.body) != self.known
        return Reply(ext={"changed": str(changed).lower()}, body=self.known.encode() if self.known else b"")

    @handles(BrokerHeartbeat)
    def heartbeat(self, request: Request, header: BrokerHeartbeat) -> Reply:
        self.told.append((request.code, header, request.body))
        return Reply()

    @property
    def codes(self) -> list[str]:
        return [name_of_request(code) for code, _, _ in self.told]

    def topics_told(self, at: int = -1) -> Any:
        body = RegisterBrokerBody.read(self.told[at][2], 513)
        return body.topic_config_serialize_wrapper

    def take(self) -> list[str]:
        codes = self.codes
        self.told.clear()
        return codes


class World:
    def __init__(self, *topics: str, name_servers: str = NS1, **facts: Any) -> None:
        self.clock = MemoryReactorClock()
        self.network = Network(self.clock)
        self.topics = Topics(*(topics or ("TBW102", "orders")))
        self.client = RemotingClient(self.network.endpoint, Dispatcher(Role.BROKER, ()), self.clock)
        self.registration = Registration(BROKER, self.topics, name_servers.split(";"), self.client, self.clock, **facts)

    def scripted(self, address: str = NS1) -> ScriptedNameServer:
        server = ScriptedNameServer()
        self.network.servers[address] = Dispatcher(Role.NAMESRV, [server])
        return server

    def real(self, folder: Path, address: str = NS1) -> NameServerWorld:
        world = NameServerWorld(folder / address.replace(":", "_"), self.clock)
        self.network.servers[address] = world.server.dispatcher
        return world

    def start(self) -> list[None]:
        fired = fires(self.registration.start())
        self.network.run()
        return fired

    def change(self, *configs: TopicConfig) -> list[None]:
        fired = fires(self.registration.topics_changed(self.topics.put(*configs)))
        self.network.run()
        return fired

    def pass_s(self, seconds: float) -> None:
        """Let time pass, with turns of the reactor in between."""
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)
            self.network.run(6)


def fires(of: Deferred[None]) -> list[None]:
    fired: list[None] = []
    of.addCallback(fired.append)
    return fired


class TestStart:
    def test_topics_are_found(self, tmp_path: Path) -> None:
        """Right after a broker's start clients find its topics at all its name servers."""
        world = World(name_servers=f"{NS1}; {NS2};;{NS1}")
        servers = [world.real(tmp_path, of) for of in (NS1, NS2)]
        assert world.start() == [None]
        for server in servers:
            assert server.master_addresses("orders") == ["10.0.0.1:10911"]
        assert world.registration.registered_at == [NS1, NS2]
        assert world.network.connected == {NS1: 1, NS2: 1}

    def test_what_is_said(self) -> None:
        """The registration carries what official name servers read, and a checksum that holds."""
        world = World()
        server = world.scripted()
        world.start()
        ((code, header, _),) = server.told
        assert code == RequestCode.REGISTER_BROKER
        assert (header.broker_name, header.broker_addr) == ("broker-a", "10.0.0.1:10911")
        assert (header.cluster_name, header.broker_id) == ("DefaultCluster", 0)
        assert header.ha_server_addr == "10.0.0.1:10912"
        assert (header.compressed, header.enable_acting_master) == (False, False)
        assert header.heartbeat_timeout_millis is None
        assert header.body_crc32
        assert server.topics_told().data_version == world.topics.data_version
        assert server.topics_told().topic_config_table == world.topics.table

    def test_dead_name_server(self, tmp_path: Path) -> None:
        """One name server that refuses connections and one that vanished hold up neither start nor the third."""
        world = World(name_servers=f"{NS1};{NS2};{NS3}")
        world.network.silent.add(NS2)
        server = world.real(tmp_path, NS3)
        fired = world.start()
        assert server.master_addresses("orders") == ["10.0.0.1:10911"]
        assert fired == []
        world.clock.advance(1)
        assert fired == [None]
        world.pass_s(60)
        assert world.registration.registered_at == [NS3]

    def test_no_name_server(self) -> None:
        """A broker without name servers starts and stops."""
        world = World(name_servers="")
        assert world.start() == [None]
        assert world.change(TopicConfig(topic_name="new")) == [None]
        assert fires(world.registration.stop()) == [None]

    def test_name_server_comes_late(self) -> None:
        """A name server started after the broker knows it within seconds, not at the next period."""
        world = World()
        world.start()
        world.pass_s(2)
        server = world.scripted()
        world.pass_s(4)
        assert server.codes == ["REGISTER_BROKER"]

    def test_attempts_grow_rarer(self) -> None:
        """A name server that stays away is tried ever less often, at most once a period besides the period's own."""
        world = World(period_ms=10_000)
        world.start()
        world.pass_s(20)
        before = world.network.connected[NS1]
        world.pass_s(600)
        assert before <= 8
        assert 60 <= world.network.connected[NS1] - before <= 125

    def test_said_once(self) -> None:
        """A name server that is down for an hour fills no log; its return is one line."""
        world = World()
        with capturedLogs() as events:
            world.start()
            world.pass_s(600)
            world.scripted()
            world.pass_s(60)
            world.pass_s(60)
        lines = [formatEvent(event) for event in events if "name server 10.1.0.1" in formatEvent(event)]
        assert len(lines) == 2
        assert lines[0].startswith(f"not registered at name server {NS1}: cannot connect")
        assert lines[1] == f"registered at name server {NS1}"


class TestPeriod:
    def test_whole_table_every_period(self) -> None:
        """By default the whole table is sent every period: a name server that lost it has it again."""
        world = World()
        server = world.scripted()
        world.start()
        world.pass_s(90)
        assert server.codes == ["REGISTER_BROKER"] * 4
        bodies = {body for _, _, body in server.told}
        assert len(bodies) == 1

    @pytest.mark.parametrize(("asked_ms", "taken_s"), [(1, 10), (30_000, 30), (3_600_000, 60)])
    def test_period_is_bounded(self, asked_ms: int, taken_s: int) -> None:
        """registerNameServerPeriod is kept between 10 and 60 s, as in Java."""
        world = World(period_ms=asked_ms)
        server = world.scripted()
        world.start()
        server.take()
        world.pass_s(taken_s - 1)
        assert server.take() == []
        world.pass_s(2)
        assert server.take() == ["REGISTER_BROKER"]

    def test_probe_first(self) -> None:
        """With forceRegister=false a name server that knows the table is only asked."""
        world = World(force_register=False)
        server = world.scripted()
        world.start()
        world.pass_s(31)
        assert server.take() == ["REGISTER_BROKER", "QUERY_DATA_VERSION"]
        server.known = DataVersion()
        world.pass_s(30)
        assert server.take() == ["QUERY_DATA_VERSION", "REGISTER_BROKER"]
        server.refuses = True  # an old name server that does not know the question
        world.pass_s(30)
        assert server.take()[:2] == ["QUERY_DATA_VERSION", "REGISTER_BROKER"]

    def test_body_is_made_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The table of tens of thousands of topics is not written anew for each name server and period."""
        world = World(name_servers=f"{NS1};{NS2}")
        world.scripted(NS1), world.scripted(NS2)
        bodies = world.registration._bodies
        made: list[int] = []
        request = bodies._request
        monkeypatch.setattr(bodies, "_request", lambda *args: made.append(1) or request(*args))
        world.start()
        world.pass_s(120)
        assert len(made) == 1

    def test_split(self) -> None:
        """With enableSplitRegistration no request holds more topics than splitRegistrationSize."""
        world = World("a", "b", "c", "d", "e", split_size=2)
        server = world.scripted()
        world.start()
        assert [sorted(server.topics_told(at).topic_config_table) for at in range(3)] == [["a", "b"], ["c", "d"], ["e"]]
        assert len(server.told) == 3

    def test_compressed(self) -> None:
        """compressedRegister sends the compressed form and says so."""
        world = World(compressed=True)
        server = world.scripted()
        world.start()
        assert server.told[0][1].compressed is True
        assert server.told[0][2][:1] == b"\x78"
        assert server.topics_told().topic_config_table == world.topics.table

    def test_permission(self) -> None:
        """A broker made read-only registers its topics so, once it refreshes."""
        permission = 6
        world = World(broker_permission=lambda: permission)
        server = world.scripted()
        world.start()
        permission = 4
        assert fires(world.registration.refresh()) == []
        world.network.run()
        assert {of.perm for of in server.topics_told().topic_config_table.values()} == {4}
        assert {of.perm for of in world.topics.table.values()} == {6}
        assert len(server.told) == 2


class TestChanges:
    def test_only_what_changed(self, tmp_path: Path) -> None:
        """A new topic is found at once, and only it is sent."""
        world = World()
        server = world.scripted()
        world.start()
        assert world.change(TopicConfig(topic_name="new")) == [None]
        assert list(server.topics_told().topic_config_table) == ["new"]
        assert server.topics_told().data_version == world.topics.data_version
        assert server.codes == ["REGISTER_BROKER"] * 2

    def test_real_name_server(self, tmp_path: Path) -> None:
        """After the change clients find old and new topics; after the next period still."""
        world = World()
        server = world.real(tmp_path)
        world.start()
        world.change(TopicConfig(topic_name="new"))
        for seconds in (0, 40):
            world.pass_s(seconds)
            assert server.master_addresses("new") == server.master_addresses("orders") == ["10.0.0.1:10911"]

    def test_changes_go_together(self) -> None:
        """A thousand topics created at once are one request."""
        world = World()
        server = world.scripted()
        world.start()
        server.take()
        fired = [
            fires(world.registration.topics_changed(world.topics.put(TopicConfig(topic_name=f"t{number}"))))
            for number in range(1000)
        ]
        world.network.run()
        assert fired == [[None]] * 1000
        assert len(server.told) == 1
        assert len(server.topics_told().topic_config_table) == 1000

    def test_changes_while_one_is_under_way(self) -> None:
        """What changes while a request is under way goes with the next one."""
        world = World()
        server = world.scripted()
        world.start()
        server.take()
        world.network.pipes[NS1][0].latency_s = 0.1
        first = fires(world.registration.topics_changed(world.topics.put(TopicConfig(topic_name="one"))))
        world.clock.advance(0)  # on its way, not answered
        second = fires(world.registration.topics_changed(world.topics.put(TopicConfig(topic_name="two"))))
        world.clock.advance(0)
        assert first == second == []
        world.pass_s(1)
        assert first == second == [None]
        assert [list(server.topics_told(at).topic_config_table) for at in (0, 1)] == [["one"], ["two"]]

    def test_deleted_meanwhile(self) -> None:
        """A topic deleted before it was told is not told; nobody changed is nobody told."""
        world = World()
        server = world.scripted()
        world.start()
        server.take()
        told = world.registration.topics_changed(world.topics.put(TopicConfig(topic_name="new")))
        del world.topics.table["new"]
        world.network.run()
        assert fires(told) == [None]
        assert fires(world.registration.topics_changed([])) == [None]
        assert server.take() == []

    def test_restarted_name_server_gets_the_table_first(self, tmp_path: Path) -> None:
        """A name server that restarted does not take a changed topic for all there is."""
        world = World()
        world.real(tmp_path / "before")
        world.start()
        world.network.shut(NS1)
        server = world.real(tmp_path / "after")
        world.change(TopicConfig(topic_name="new"), TopicConfig(topic_name="other"))
        assert server.master_addresses("orders") == ["10.0.0.1:10911"]
        assert server.master_addresses("new") == ["10.0.0.1:10911"]

    def test_dead_name_server_holds_nobody_up(self) -> None:
        """Whoever creates a topic waits neither for a dead name server nor long for one that hangs."""
        world = World(name_servers=f"{NS1};{NS2};{NS3}")
        world.network.silent.add(NS2)
        hanging = world.scripted(NS3)
        world.scripted(NS1)
        world.start()
        world.pass_s(4)
        hanging.hangs = True
        fired = world.change(TopicConfig(topic_name="new"))
        assert fired == []
        world.pass_s(3)
        assert fired == [None]

    def test_before_start_and_after_stop(self) -> None:
        """Topics created while the broker loads are part of the first table; after stop nothing is sent."""
        world = World()
        server = world.scripted()
        assert world.change(TopicConfig(topic_name="early")) == [None]
        assert server.told == []
        world.start()
        assert "early" in server.topics_told().topic_config_table
        stopped = fires(world.registration.stop())
        world.network.run()
        assert stopped == [None]
        server.take()
        assert world.change(TopicConfig(topic_name="late")) == [None]
        assert fires(world.registration.refresh()) == [None]
        world.pass_s(120)
        assert server.take() == []


class TestFailures:
    def test_name_server_restarts(self, tmp_path: Path) -> None:
        """A name server that restarted, and lost all it knew, knows the broker again within two seconds."""
        world = World()
        world.real(tmp_path / "before")
        world.start()
        world.network.shut(NS1)
        assert world.registration.registered_at == []
        world.pass_s(0.5)
        server = world.real(tmp_path / "after")
        world.pass_s(2)
        assert server.master_addresses("orders") == ["10.0.0.1:10911"]

    def test_refused(self) -> None:
        """A registration that is answered with an error is tried again, whole."""
        world = World()
        server = world.scripted()
        server.refuses = True
        world.start()
        assert world.registration.registered_at == []
        server.refuses = False
        world.pass_s(2)
        assert world.registration.registered_at == [NS1]
        assert sorted(server.topics_told().topic_config_table) == ["TBW102", "orders"]

    def test_hanging(self) -> None:
        """A name server that does not answer is left after registerBrokerTimeoutMills and connected to anew."""
        world = World(timeout_ms=6_000)
        server = world.scripted()
        server.hangs = True
        world.start()
        world.pass_s(5)
        assert world.network.connected[NS1] == 1
        server.hangs = False
        world.pass_s(3)
        assert world.network.connected[NS1] == 2
        assert world.registration.registered_at == [NS1]

    def test_change_that_failed_is_not_lost(self, tmp_path: Path) -> None:
        """A topic whose announcement was lost with the connection is announced by the next one."""
        world = World()
        server = world.scripted()
        world.start()
        server.hangs = True
        world.change(TopicConfig(topic_name="new"))
        world.network.pipes[NS1][0].cut()
        server.hangs = False
        server.take()
        world.pass_s(2)
        assert "new" in server.topics_told().topic_config_table
        assert "orders" in server.topics_told().topic_config_table


class TestAnswers:
    def test_master_and_order(self) -> None:
        """A slave is told its master when that changes, and the ordered topics with each answer."""
        world = World(name_servers=f"{NS1};{NS2}")
        masters: list[MasterAddresses | None] = []
        orders: list[dict[str, str]] = []
        world.registration.on_master = masters.append
        world.registration.on_order_topics = orders.append
        first, second = world.scripted(NS1), world.scripted(NS2)
        second.reply = RegisterBrokerReply(master_addr="10.0.0.9:10911", ha_server_addr="10.0.0.9:10912")
        world.start()
        assert masters == [MasterAddresses("10.0.0.9:10911", "10.0.0.9:10912")]  # the first does not know it yet
        first.reply = second.reply
        first.order_topics = {"orders": "broker-a:4"}
        world.pass_s(31)
        assert len(masters) == 1
        assert orders[-1] == {"orders": "broker-a:4"}
        first.reply = second.reply = RegisterBrokerReply()
        first.order_topics = {}
        world.pass_s(30)
        assert masters[1:] == [None]
        assert orders[-1] == {}

    def test_malformed_order(self) -> None:
        """An order configuration that is none is no reason not to be registered."""
        world = World()
        server = world.scripted()
        world.registration.on_order_topics = lambda _: pytest.fail("told of nonsense")
        server.order_topics = {}
        encode = KvTable.encode
        try:
            KvTable.encode = lambda self: b'{"table":7}'  # type: ignore[method-assign,assignment]
            world.start()
        finally:
            KvTable.encode = encode  # type: ignore[method-assign]
        assert world.registration.registered_at == [NS1]


class TestHeartbeats:
    @pytest.mark.parametrize(("old", "name"), [(True, "QUERY_DATA_VERSION"), (False, "BROKER_HEARTBEAT")])
    def test_heartbeats(self, old: bool, name: str) -> None:
        """Where slaves act as master a broker gives a sign of life every second, in a form old servers know."""
        world = World(acting_master=True, not_active_timeout_ms=10_000, old_name_servers=old)
        server = world.scripted()
        world.start()
        header = server.told[0][1]
        assert (header.enable_acting_master, header.heartbeat_timeout_millis) == (True, 10_000)
        server.take()
        world.pass_s(5)
        assert server.take() == [name] * 5
        assert len(world.client.addresses) == 1

    def test_none_by_default(self) -> None:
        """Else registrations are the only sign of life."""
        world = World()
        server = world.scripted()
        world.start()
        server.take()
        world.pass_s(20)
        assert server.take() == []


class TestStop:
    def test_leaves_everywhere(self, tmp_path: Path) -> None:
        """A broker that stops is out of all routes before its connections close."""
        world = World(name_servers=f"{NS1};{NS2}")
        servers = [world.real(tmp_path, of) for of in (NS1, NS2)]
        world.start()
        stopped = fires(world.registration.stop())
        world.network.run()
        assert stopped == [None]
        for server in servers:
            assert server.route("orders") is None
        world.pass_s(120)
        assert [server.route("orders") for server in servers] == [None, None]

    def test_bounded(self) -> None:
        """A name server that hangs or vanished does not hold the shutdown up."""
        world = World(name_servers=f"{NS1};{NS2}")
        server = world.scripted(NS1)
        world.network.silent.add(NS2)
        world.start()
        server.hangs = True
        stopped = fires(world.registration.stop(timeout_ms=2_000))
        world.network.run()
        assert stopped == []
        world.pass_s(2)
        assert stopped == [None]

    def test_name_server_already_gone(self) -> None:
        """Nobody is connected to only to say good-bye."""
        world = World()
        world.scripted()
        world.start()
        world.network.shut(NS1)
        world.pass_s(3)
        attempts = world.network.connected[NS1]
        assert fires(world.registration.stop()) == [None]
        assert world.network.connected[NS1] == attempts

    def test_list_replaced(self) -> None:
        """When the list of name servers changes, new ones are told of the broker and old ones that it left."""
        world = World(name_servers=f"{NS1};{NS2}")
        servers = {of: world.scripted(of) for of in (NS1, NS2, NS3)}
        world.start()
        world.registration.set_name_servers([NS2, NS3])
        world.network.run()
        assert servers[NS1].codes == ["REGISTER_BROKER", "UNREGISTER_BROKER"]
        assert servers[NS2].codes == ["REGISTER_BROKER"]
        assert servers[NS3].codes == ["REGISTER_BROKER"]
        assert world.registration.registered_at == [NS2, NS3]
        world.pass_s(31)
        assert len(servers[NS1].told) == 2
