"""A real socket that takes all, a part, or nothing of a write."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet import main, protocol, tcp
from twisted.python.failure import Failure

from rmqd.protocol.transport import LARGE_READ_BYTES, READ_BYTES, PromptServer, write_promptly


class _Reactor:
    """Notes what a transport asks the reactor for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> object:
        return lambda *_: self.asked.append(name)


@pytest.fixture
def pair() -> Iterator[tuple[PromptServer, socket.socket, _Reactor]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.settimeout(5)
    noted = _Reactor()
    server = PromptServer(ours, protocol.Protocol(), ("127.0.0.1", 1), None, 0, noted)
    yield server, theirs, noted
    ours.close()
    theirs.close()


def test_what_the_socket_takes_needs_no_reactor(pair: tuple[PromptServer, socket.socket, _Reactor]) -> None:
    server, theirs, noted = pair
    noted.asked.clear()
    server.write(b"answer")
    assert theirs.recv(100) == b"answer"
    assert noted.asked == []


def test_the_rest_follows_in_order(pair: tuple[PromptServer, socket.socket, _Reactor]) -> None:
    server, theirs, noted = pair
    data = bytes(range(256)) * 20_000
    server.write(data)
    server.write(b"and this")
    assert "addWriter" in noted.asked
    got = b""
    while len(got) < len(data) + 8:
        got += theirs.recv(1 << 20)
        server.doWrite()
    assert got == data + b"and this"


def test_a_peer_that_is_gone_is_found_by_the_usual_way(pair: tuple[PromptServer, socket.socket, _Reactor]) -> None:
    server, theirs, noted = pair
    theirs.close()
    server.write(b"answer")
    assert "addWriter" in noted.asked
    assert server.doWrite() is not None


class _Reader(protocol.Protocol):
    """Notes what it is given, and of what type."""

    expects_more = False
    brought_several = False

    def __init__(self, takes_views: bool) -> None:
        self.takes_views = takes_views
        self.got: list[bytes] = []
        self.types: set[type] = set()

    def dataReceived(self, data: bytes | memoryview) -> None:
        self.types.add(type(data))
        self.got.append(bytes(data))


@pytest.mark.parametrize("takes_views", [True, False])
def test_reads(pair: tuple[PromptServer, socket.socket, _Reactor], takes_views: bool) -> None:
    server, theirs, _ = pair
    server.protocol = reader = _Reader(takes_views)
    assert server.doRead() is None, "there was nothing to read"
    data = bytes(range(256)) * 4
    for _ in range(3):
        theirs.sendall(data)
        assert server.doRead() is None
    assert reader.got == [data] * 3
    assert not server.brought_several
    reader.brought_several = True
    theirs.sendall(data)
    server.doRead()
    assert server.brought_several == takes_views
    assert reader.types == {memoryview if takes_views else bytes}


def test_a_read_brings_more_while_a_large_message_is_on_its_way(
    pair: tuple[PromptServer, socket.socket, _Reactor],
) -> None:
    server, theirs, _ = pair
    server.protocol = reader = _Reader(True)
    theirs.setblocking(False)
    sent = theirs.send(bytes(LARGE_READ_BYTES))
    assert sent > READ_BYTES
    assert server.doRead() is None
    assert [len(data) for data in reader.got] == [READ_BYTES]
    reader.expects_more = True
    assert server.doRead() is None
    assert [len(data) for data in reader.got] == [READ_BYTES, sent - READ_BYTES]


def test_what_was_not_sent_goes_with_the_connection(pair: tuple[PromptServer, socket.socket, _Reactor]) -> None:
    server, _, _ = pair
    server.protocol = _Reader(True)
    for _ in range(3):
        server.write(bytes(1 << 20))
    assert server._tempDataBuffer or server.dataBuffer
    server.connectionLost(Failure(main.CONNECTION_LOST))
    assert not server._tempDataBuffer
    assert not server.dataBuffer


@pytest.mark.parametrize("takes_views", [True, False])
def test_a_peer_that_closes(pair: tuple[PromptServer, socket.socket, _Reactor], takes_views: bool) -> None:
    server, theirs, _ = pair
    server.protocol = reader = _Reader(takes_views)
    theirs.close()
    assert server.doRead() is main.CONNECTION_DONE
    assert reader.got == []


@pytest.mark.parametrize("takes_views", [True, False])
def test_a_broken_connection(pair: tuple[PromptServer, socket.socket, _Reactor], takes_views: bool) -> None:
    server, _, _ = pair
    server.protocol = _Reader(takes_views)
    server.socket.close()
    assert server.doRead() is main.CONNECTION_LOST


def test_only_tcp_ports_are_changed() -> None:
    port = tcp.Port(0, protocol.ServerFactory())
    write_promptly(port)
    assert port.transport is PromptServer
    other = object()
    write_promptly(other)  # type: ignore[arg-type]
