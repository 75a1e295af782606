"""The name server as a whole: its port, its timers, its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from protocol.namesrv_wiring import NameServerWorld
from protocol.wiring import Wire, ask, sent
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError

import rmqwire.requests  # noqa: F401
from rmqd.protocol.remoting import RemotingConnection
from rmqwire.codes import RequestCode, ResponseCode
from rmqwire.declare import Role, declarations


def fires(of: Deferred[None]) -> list[Any]:
    fired: list[Any] = []
    of.addCallbacks(fired.append, lambda failure: fired.append(failure.value))
    return fired


def accepted(world: NameServerWorld) -> tuple[RemotingConnection, Wire]:
    """A connection by the port that the server listens on."""
    _, factory, _, _ = world.reactor.tcpServers[0]
    connection = factory.buildProtocol(None)
    wire = Wire()
    connection.makeConnection(wire)
    return connection, wire


def test_serves_every_request_of_its_role(tmp_path: Path) -> None:
    """Each request that clients, brokers and tools up to 5.5.0 send to a name server is served."""
    assert NameServerWorld(tmp_path).server.dispatcher.codes == set(declarations(Role.NAMESRV))


def test_listens(tmp_path: Path) -> None:
    """It listens where the options say, and tells the port."""
    world = NameServerWorld(tmp_path, bindAddress="127.0.0.1", listenPort="19876")
    assert fires(world.server.start()) == [None]
    port, _, _, interface = world.reactor.tcpServers[0]
    assert (port, interface) == (19876, "127.0.0.1")
    assert world.server.port == 19876
    connection, wire = accepted(world)
    connection.dataReceived(ask(RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER))
    (answer,) = sent(wire)
    assert answer.code == ResponseCode.SUCCESS


def test_port_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that is taken fails the start with the port named."""
    world = NameServerWorld(tmp_path, listenPort="19876")

    def taken(port: int, *args: object, interface: str, **kwargs: object) -> None:
        raise CannotListenError(interface, port, OSError(98, "Address already in use"))

    monkeypatch.setattr(world.reactor, "listenTCP", taken)
    (error,) = fires(world.server.start())
    assert isinstance(error, CannotListenError)
    assert "19876" in str(error)


def test_idle_connection_is_closed(tmp_path: Path) -> None:
    """A client that says nothing for two minutes is disconnected; one that asks now and then is not."""
    world = NameServerWorld(tmp_path)
    world.server.start()
    (_, silent_wire), (asking, asking_wire) = accepted(world), accepted(world)
    for _ in range(5):
        world.reactor.pump([6.0] * 5)
        asking.dataReceived(ask(RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER))
    assert silent_wire.aborted
    assert not asking_wire.aborted


def test_scan_period_can_be_changed(tmp_path: Path) -> None:
    """An update of scanNotActiveBrokerInterval acts without a restart."""
    world = NameServerWorld(tmp_path, scanNotActiveBrokerInterval="600000")
    world.server.start()
    world.reactor.pump([1.0] * 6)
    peer = world.peer()
    peer.register("orders", "TBW102", heartbeatTimeoutMillis="3000")
    world.reactor.pump([1.0] * 10)
    assert world.route("orders") is not None
    peer.ask(RequestCode.UPDATE_NAMESRV_CONFIG, b"scanNotActiveBrokerInterval=1000")
    world.reactor.pump([1.0] * 2)
    assert world.route("orders") is None


def test_stop(tmp_path: Path) -> None:
    """It stops listening, closes its connections and leaves no timer behind; a second server can start."""
    world = NameServerWorld(tmp_path)
    world.server.start()
    connection, wire = accepted(world)
    wire.loseConnection = lambda: connection.connectionLost()  # type: ignore[method-assign]
    connection.dataReceived(ask(RequestCode.PUT_KV_CONFIG, namespace="n", key="k", value="v"))
    stopped = fires(world.server.stop())
    world.reactor.pump([0.02] * 100)
    assert stopped == [None]
    assert world.reactor.getDelayedCalls() == []
    assert not connection.connected_now
    again = NameServerWorld(tmp_path)
    again.server.start()
    assert again.server.kv.get("n", "k") == "v"


def test_stop_before_start(tmp_path: Path) -> None:
    """A server whose start failed can be stopped."""
    world = NameServerWorld(tmp_path)
    assert fires(world.server.stop()) == [None]


def test_any_bytes(tmp_path: Path) -> None:
    """What is not the protocol closes that connection, and no other."""
    world = NameServerWorld(tmp_path)
    world.server.start()
    (bad, bad_wire), (good, good_wire) = accepted(world), accepted(world)
    bad.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    assert bad_wire.disconnecting
    good.dataReceived(ask(RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER))
    assert len(sent(good_wire)) == 1
