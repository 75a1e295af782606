"""Connections that we make to others."""

from __future__ import annotations

from typing import Any

import pytest
from protocol.network import Network
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from rmqd.protocol.client import ClientStopped, ConnectFailed, RemotingClient, tcp_endpoints
from rmqd.protocol.dispatch import Dispatcher, Request, handles
from rmqd.protocol.remoting import ConnectionGone, RemotingConnection, RequestTimeout
from rmqd.protocol.replies import Reply
from rmqd.protocol.sockets import SocketSettings
from rmqwire.codes import ResponseCode
from rmqwire.declare import Role
from rmqwire.requests.route import GetAllTopicListFromNameserver, GetBrokerClusterInfo

SERVER = "10.0.0.1:9876"


class Server:
    """Answers one request and swallows another."""

    def __init__(self) -> None:
        self.asked = 0

    @handles(GetBrokerClusterInfo)
    def answer(self, request: Request, header: GetBrokerClusterInfo) -> Reply:
        self.asked += 1
        return Reply(body=b"here")

    @handles(GetAllTopicListFromNameserver)
    def swallow(self, request: Request, header: GetAllTopicListFromNameserver) -> None:
        return None


class World:
    def __init__(self, **sockets: Any) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.server = Server()
        self.network.servers[SERVER] = Dispatcher(Role.NAMESRV, [self.server])
        sockets_given = SocketSettings(**sockets)
        self.client = RemotingClient(self.network.endpoint, Dispatcher(Role.BROKER, ()), self.clock, sockets_given)


@pytest.fixture
def world() -> World:
    return World()


def outcome(of: Deferred[Any]) -> list[Any]:
    """What a Deferred fires with, once it does; errors as themselves."""
    fired: list[Any] = []
    of.addBoth(lambda result: fired.append(result.value if isinstance(result, Failure) else result))
    return fired


def test_one_connection_for_all(world: World) -> None:
    """However much is asked at once, a server sees one connection."""
    first, second = outcome(world.client.connection(SERVER)), outcome(world.client.connection(SERVER))
    answers = [outcome(world.client.call(SERVER, GetBrokerClusterInfo())) for _ in range(3)]
    world.network.run()
    assert first == second
    assert [answer.body for (answer,) in answers] == [b"here"] * 3
    assert world.network.connected == {SERVER: 1}
    assert world.client.addresses == {SERVER}


def test_waiters_share_an_attempt(world: World) -> None:
    """While an attempt is under way others wait for it; one that gives up does not end it for the rest."""
    world.network.silent.add(SERVER)
    attempts: list[Deferred[Any]] = []
    connect = world.network.connect

    def slow(address: str, factory: Any) -> Deferred[Any]:
        connect(address, factory)
        attempts.append(Deferred())
        return attempts[-1]

    world.network.connect = slow  # type: ignore[method-assign]
    one, two = world.client.connection(SERVER), world.client.connection(SERVER)
    got_one, got_two = outcome(one), outcome(two)
    one.cancel()
    assert len(got_one) == 1
    assert world.network.connected == {SERVER: 1}
    world.network.silent.clear()
    connection = RemotingConnection(Dispatcher(Role.BROKER, ()), world.clock)
    connection.connected_now = True
    attempts[0].callback(connection)
    assert got_two == [connection]


@pytest.mark.parametrize("address", ["", "host", "host:", ":9876", "host:0", "host:port", "host:70000", "[::1]"])
def test_bad_address(world: World, address: str) -> None:
    """An address that is none fails with its text, and nothing is connected."""
    (error,) = outcome(world.client.connection(address))
    assert isinstance(error, ConnectFailed)
    assert str(error).startswith(f"{address}: ")
    assert world.network.connected == {}


def test_refused_then_accepted(world: World) -> None:
    """A server that is down fails the request at once; when it is up the next one succeeds."""
    server = world.network.servers.pop(SERVER)
    (error,) = outcome(world.client.call(SERVER, GetBrokerClusterInfo()))
    assert isinstance(error, ConnectFailed)
    assert "10.0.0.1:9876" in str(error)
    world.network.servers[SERVER] = server
    answer = outcome(world.client.call(SERVER, GetBrokerClusterInfo()))
    world.network.run()
    assert answer[0].code == ResponseCode.SUCCESS


def test_connect_timeout(world: World) -> None:
    """An address where nothing answers fails after three seconds, and can be tried again."""
    world.network.silent.add(SERVER)
    fired = outcome(world.client.connection(SERVER))
    world.clock.advance(2.9)
    assert fired == []
    world.clock.advance(0.1)
    assert isinstance(fired[0], ConnectFailed)
    again = outcome(world.client.connection(SERVER))
    assert world.network.connected == {SERVER: 2}
    world.clock.advance(3)
    assert isinstance(again[0], ConnectFailed)


def test_timeout_covers_connecting(world: World) -> None:
    """Whoever asks with half a second to spare does not wait three for the connection."""
    world.network.silent.add(SERVER)
    fired = outcome(world.client.call(SERVER, GetBrokerClusterInfo(), timeout_ms=500))
    world.clock.advance(0.5)
    assert isinstance(fired[0], ConnectFailed)
    assert "0.5 s" in str(fired[0])
    world.clock.advance(3)
    assert len(fired) == 1
    assert world.clock.getDelayedCalls() == []


def test_reconnects_after_loss(world: World) -> None:
    """A broken connection fails what waits on it; the next request makes another."""
    waiting = outcome(world.client.call(SERVER, GetAllTopicListFromNameserver()))
    world.network.run()
    assert waiting == []
    world.network.pipes[SERVER][0].cut()
    assert isinstance(waiting[0], ConnectionGone)
    assert world.client.addresses == frozenset()
    answer = outcome(world.client.call(SERVER, GetBrokerClusterInfo()))
    world.network.run()
    assert answer[0].body == b"here"
    assert world.network.connected == {SERVER: 2}


def test_silent_server_is_left(world: World) -> None:
    """A server that does not answer in time is connected to anew: it may be gone without a trace."""
    fired = outcome(world.client.call(SERVER, GetAllTopicListFromNameserver(), timeout_ms=500))
    world.network.run()
    world.clock.advance(0.5)
    assert isinstance(fired[0], RequestTimeout)
    world.network.run()
    assert world.network.pipes[SERVER][0].aborted
    outcome(world.client.call(SERVER, GetBrokerClusterInfo()))
    assert world.network.connected == {SERVER: 2}


def test_idle_connection_is_closed(world: World) -> None:
    """A connection nobody uses for two minutes is closed; one in use stays."""
    outcome(world.client.connection(SERVER))
    for _ in range(13):
        world.clock.advance(9)
        outcome(world.client.call(SERVER, GetBrokerClusterInfo()))
        world.network.run()
    assert world.client.addresses == {SERVER}
    world.clock.pump([10.0] * 13)
    world.network.run()
    assert world.client.addresses == frozenset()
    assert world.clock.getDelayedCalls() == []  # nothing is scanned while nothing is open


def test_connect_timeout_is_configured() -> None:
    """connectTimeoutMillis=700."""
    world = World(connect_timeout_ms=700)
    world.network.silent.add(SERVER)
    fired = outcome(world.client.connection(SERVER))
    world.clock.advance(0.6)
    assert fired == []
    world.clock.advance(0.1)
    assert isinstance(fired[0], ConnectFailed)


def test_silent_server_is_kept_where_that_is_configured() -> None:
    """clientCloseSocketIfTimeout=false: a slow answer does not cost the connection."""
    world = World(close_if_timeout=False)
    fired = outcome(world.client.call(SERVER, GetAllTopicListFromNameserver(), timeout_ms=500))
    world.network.run()
    world.clock.advance(0.5)
    assert isinstance(fired[0], RequestTimeout)
    world.network.run()
    assert world.client.addresses == {SERVER}
    assert not world.network.pipes[SERVER][0].aborted


@pytest.mark.parametrize(("idle_timeout_s", "left"), [(30, frozenset()), (0, {SERVER})])
def test_idle_time_is_configured(idle_timeout_s: int, left: set[str]) -> None:
    """clientChannelMaxIdleTimeSeconds; 0 keeps connections for ever."""
    world = World(idle_timeout_s=idle_timeout_s)
    outcome(world.client.connection(SERVER))
    world.clock.pump([10.0] * 2)
    assert world.client.addresses == {SERVER}
    world.clock.pump([10.0] * 50)
    world.network.run()
    assert world.client.addresses == left


def test_oneway(world: World) -> None:
    """A oneway request arrives, and nobody waits for an answer."""
    assert outcome(world.client.tell(SERVER, GetBrokerClusterInfo())) == [None]
    world.network.run()
    assert world.server.asked == 1
    del world.network.servers[SERVER]
    world.network.pipes[SERVER][0].cut()
    assert isinstance(outcome(world.client.tell(SERVER, GetBrokerClusterInfo()))[0], ConnectFailed)


def test_stop(world: World) -> None:
    """After stop everything is closed, attempts are given up and no new connection is made."""
    silent = "10.0.0.9:1"
    world.network.silent.add(silent)
    outcome(world.client.connection(SERVER))
    attempt = outcome(world.client.connection(silent))
    stopped = outcome(world.client.stop())
    again = outcome(world.client.stop())
    assert isinstance(attempt[0], ClientStopped)
    assert stopped == []
    world.network.run()
    assert stopped == again == [None]
    assert not world.network.pipes[SERVER][0].open
    assert isinstance(outcome(world.client.connection(SERVER))[0], ClientStopped)
    assert outcome(world.client.stop()) == [None]
    assert world.clock.getDelayedCalls() == []


def test_stop_without_connections(world: World) -> None:
    """There is nothing to wait for."""
    assert outcome(world.client.stop()) == [None]


def test_stop_cuts_off_a_stuck_connection(world: World) -> None:
    """A peer that takes no more bytes does not hold the shutdown up."""
    outcome(world.client.connection(SERVER))
    pipe = world.network.pipes[SERVER][0]
    pipe.loseConnection = lambda: None  # type: ignore[method-assign]  # what was written cannot leave
    stopped = outcome(world.client.stop(timeout_ms=1000))
    world.network.run()
    assert stopped == []
    world.clock.advance(1)
    world.network.run()
    assert stopped == [None]


def test_endpoints() -> None:
    """Addresses are connected to at once; only names are looked up."""
    endpoint = tcp_endpoints(MemoryReactorClock())
    assert isinstance(endpoint("127.0.0.1", 1), TCP4ClientEndpoint)
    assert isinstance(endpoint("::1", 1), TCP6ClientEndpoint)
    assert isinstance(endpoint("name.example", 1), HostnameEndpoint)
