"""A real socket that takes all, a part, or nothing of a write."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from twisted.internet import protocol, tcp

from rmqd.protocol.transport import PromptServer, write_promptly


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


def test_only_tcp_ports_are_changed() -> None:
    port = tcp.Port(0, protocol.ServerFactory())
    write_promptly(port)
    assert port.transport is PromptServer
    other = object()
    write_promptly(other)  # type: ignore[arg-type]
