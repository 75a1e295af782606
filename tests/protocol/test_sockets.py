"""The socket options of the configuration, as a peer or the system sees them."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from protocol.namesrv_wiring import NameServerWorld
from protocol.wiring import Wire
from twisted.internet.testing import MemoryReactorClock

from rmqd.conf import load_broker_options, load_namesrv_options
from rmqd.protocol.broker.service import Broker
from rmqd.protocol.sockets import SocketSettings, client_sockets, server_sockets


class SocketWire(Wire):
    """A transport over a real socket, of which only the options are used."""

    def __init__(self) -> None:
        super().__init__()
        self.socket = socket.socket()

    def getHandle(self) -> socket.socket:
        return self.socket

    def buffers(self) -> tuple[int, int]:
        return (
            self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
            self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
        )


def accepted(reactor: MemoryReactorClock, wire: Wire) -> Wire:
    _, factory, _, _ = reactor.tcpServers[0]
    factory.buildProtocol(None).makeConnection(wire)
    return wire


def test_the_defaults_are_the_official_ones() -> None:
    """Whether the parts are given options or not, they behave alike."""
    options = load_namesrv_options(None, {}, {})
    assert server_sockets(options.server) == SocketSettings()
    assert client_sockets(options.client) == SocketSettings()


@pytest.mark.parametrize("role", ["namesrv", "broker"])
def test_each_key_reaches_the_servers_and_their_clients(role: str) -> None:
    keys = {
        "serverSocketBacklog": "7",
        "serverSocketSndBufSize": "65536",
        "serverSocketRcvBufSize": "32768",
        "serverChannelMaxIdleTimeSeconds": "5",
        "clientSocketSndBufSize": "16384",
        "clientSocketRcvBufSize": "8192",
        "clientChannelMaxIdleTimeSeconds": "6",
        "connectTimeoutMillis": "700",
        "clientCloseSocketIfTimeout": "false",
    }
    options: Any = load_broker_options(None, keys, {}) if role == "broker" else load_namesrv_options(None, keys, {})
    assert options.notices == []
    assert server_sockets(options.server) == SocketSettings(
        backlog=7, send_buffer_bytes=65536, receive_buffer_bytes=32768, idle_timeout_s=5
    )
    assert client_sockets(options.client) == SocketSettings(
        send_buffer_bytes=16384,
        receive_buffer_bytes=8192,
        idle_timeout_s=6,
        connect_timeout_ms=700,
        close_if_timeout=False,
    )


def test_a_broker_takes_them() -> None:
    reactor = MemoryReactorClock()
    broker = Broker(load_broker_options(None, {"serverSocketBacklog": "7"}, {}), reactor)
    assert broker._server.sockets.backlog == 7
    broker._server.listen(10911)
    assert reactor.tcpServers[0][2] == 7


def test_buffers_of_accepted_connections(tmp_path: Path) -> None:
    """The kernel is asked for what the file says (and takes twice as much, for its own needs)."""
    world = NameServerWorld(tmp_path, serverSocketSndBufSize="65536", serverSocketRcvBufSize="32768")
    world.server.start()
    wire = SocketWire()
    try:
        accepted(world.reactor, wire)
        assert wire.buffers() == (2 * 65536, 2 * 32768)
    finally:
        wire.socket.close()


@pytest.mark.parametrize("key", ["serverSocketSndBufSize", "serverSocketRcvBufSize"])
def test_a_buffer_that_is_not_set_is_left_to_the_system(tmp_path: Path, key: str) -> None:
    world = NameServerWorld(tmp_path, **{key: "40000"})
    world.server.start()
    wire = SocketWire()
    untouched = wire.buffers()
    try:
        accepted(world.reactor, wire)
        given = wire.buffers()
    finally:
        wire.socket.close()
    set_here = 0 if key == "serverSocketSndBufSize" else 1
    assert given[set_here] == 2 * 40000 != untouched[set_here]
    assert given[1 - set_here] == untouched[1 - set_here]


@pytest.mark.parametrize(("seconds", "closed"), [("10", True), ("0", False)])
def test_the_silence_that_is_borne_is_configured(tmp_path: Path, seconds: str, closed: bool) -> None:
    """serverChannelMaxIdleTimeSeconds; 0 never closes a connection."""
    world = NameServerWorld(tmp_path, serverChannelMaxIdleTimeSeconds=seconds)
    world.server.start()
    wire = accepted(world.reactor, Wire())
    world.reactor.pump([5.0] * 2)
    assert not wire.aborted
    world.reactor.pump([5.0] * 100)
    assert wire.aborted is closed
