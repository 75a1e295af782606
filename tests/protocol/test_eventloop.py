"""Real connections on the reactor of our processes: read, written, closed and failing as on Twisted's own."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.python import log
from twisted.python.failure import Failure

from rmqd.protocol import eventloop
from rmqd.protocol.shortwait import ShortWait
from rmqd.protocol.transport import PromptServer, write_promptly

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll")


class Echo(Protocol):
    """Answers with what it got; fails when told to."""

    def __init__(self, ended: list[Any]) -> None:
        self._ended = ended

    def dataReceived(self, data: bytes) -> None:
        if data == b"fail":
            raise RuntimeError("as asked")
        if data == b"close":
            self.transport.loseConnection()  # type: ignore[union-attr]
            return
        self.transport.write(data)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]
        self._ended.append(reason.value)


class EchoOfViews(Echo):
    """Takes what was read where it lies, and says that it brought several requests when told to."""

    takes_views = True
    expects_more = False
    brought_several = False

    def dataReceived(self, data: bytes | memoryview) -> None:
        self.brought_several = data == b"several"
        super().dataReceived(bytes(data))


class PromptReader:
    """Something of our own that is read at once and is no connection."""

    prompt = True

    def __init__(self) -> None:
        self.read, self.write = socket.socketpair()
        self.reads = 0

    def fileno(self) -> int:
        return self.read.fileno()

    def logPrefix(self) -> str:
        return "reader"

    def doRead(self) -> None:
        self.reads += 1
        self.read.recv(10)

    def connectionLost(self, reason: Failure) -> None:
        self.read.close()
        self.write.close()


def served(
    client: Callable[[list[socket.socket]], None],
    connections: int,
    kind: type[Echo] = Echo,
    reader: PromptReader | None = None,
) -> list[Any]:
    """Serve connections on a reactor of its own while `client` runs in a thread; give why each ended, in order."""
    reactor = eventloop.make_reactor()
    ended: list[Any] = []
    factory = ServerFactory()
    factory.buildProtocol = lambda addr: kind(ended)  # type: ignore[method-assign]
    if reader is not None:
        reactor.addReader(reader)
    failed: list[BaseException] = []

    def in_thread(port: int) -> None:
        sockets = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(connections)]
        try:
            client(sockets)
        except BaseException as error:  # noqa: BLE001  raised again in the test
            failed.append(error)
        finally:
            for each in sockets:
                each.close()
            reactor.callFromThread(reactor.callLater, 0.05, reactor.stop)

    def begin() -> None:
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        write_promptly(port)
        reactor.callInThread(in_thread, port.getHost().port)

    reactor.callWhenRunning(begin)
    reactor.callLater(20, reactor.stop)
    reactor.run(installSignalHandlers=False)
    if failed:
        raise failed[0]
    return ended


def test_requests_are_answered_on_many_connections() -> None:
    def client(sockets: list[socket.socket]) -> None:
        for number in range(50):
            for each in sockets:
                each.sendall(b"%d" % number)
            assert [each.recv(10) for each in sockets] == [b"%d" % number] * 5

    ended = served(client, 5)
    assert len(ended) == 5
    assert all(isinstance(reason, ConnectionDone) for reason in ended)


def test_a_large_answer_leaves_while_other_connections_are_served() -> None:
    def client(sockets: list[socket.socket]) -> None:
        slow, other = sockets
        for _ in range(300):
            slow.sendall(bytes(50_000))
            other.sendall(b"x")
            assert other.recv(1) == b"x"
            left = 50_000
            while left:
                left -= len(slow.recv(left))

    assert len(served(client, 2)) == 2


def test_a_failure_ends_its_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []
    monkeypatch.setattr(eventloop._log, "failure", lambda text: noted.append(f"{text}: {sys.exc_info()[1]}"))

    def client(sockets: list[socket.socket]) -> None:
        sockets[0].sendall(b"fail")
        assert sockets[0].recv(1) == b""
        sockets[1].sendall(b"close")
        assert sockets[1].recv(1) == b""
        sockets[2].sendall(b"still here")
        assert sockets[2].recv(20) == b"still here"

    ended = served(client, 3)
    assert [type(reason) for reason in ended] == [RuntimeError, ConnectionDone, ConnectionDone]
    assert noted == ["a connection failed: as asked"]


def test_connections_that_are_read_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    usual = PromptServer.doRead

    def noting(self: PromptServer) -> object:
        reads.append(sys._getframe(1).f_code.co_filename)
        return usual(self)

    monkeypatch.setattr(PromptServer, "doRead", noting)

    def client(sockets: list[socket.socket]) -> None:
        sockets[0].sendall(b"x")
        assert sockets[0].recv(1) == b"x"

    served(client, 1)
    assert reads[0] == eventloop.__file__


def test_who_brought_several_requests_is_not_waited_for_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[None] = []
    monkeypatch.setattr(ShortWait, "not_alone", lambda _: noted.append(None))

    def client(sockets: list[socket.socket]) -> None:
        for text in (b"x", b"several", b"several", b"x"):
            sockets[0].sendall(text)
            assert sockets[0].recv(10) == text

    served(client, 1, EchoOfViews)
    assert len(noted) == 2


def test_what_is_read_and_is_no_connection_takes_the_short_way() -> None:
    errors: list[dict[str, Any]] = []

    def noting(event: dict[str, Any]) -> None:
        if event["isError"]:
            errors.append(event)

    reader = PromptReader()

    def client(sockets: list[socket.socket]) -> None:
        for _ in range(3):
            reader.write.sendall(b"x")
            sockets[0].sendall(b"x")
            assert sockets[0].recv(10) == b"x"

    log.addObserver(noting)
    try:
        served(client, 1, reader=reader)
    finally:
        log.removeObserver(noting)
    assert 1 <= reader.reads <= 3
    assert errors == []


def test_it_is_installed_once_and_only_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[object] = []
    monkeypatch.setattr("twisted.internet.main.installReactor", installed.append)
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", object())
    eventloop.install_reactor()
    monkeypatch.delitem(sys.modules, "twisted.internet.reactor")
    monkeypatch.setattr(sys, "platform", "darwin")
    eventloop.install_reactor()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(eventloop, "_NEEDED", ("_what_twisted_has_not",))
    eventloop.install_reactor()
    assert installed == []
    monkeypatch.undo()
    monkeypatch.setattr("twisted.internet.main.installReactor", installed.append)
    monkeypatch.delitem(sys.modules, "twisted.internet.reactor", raising=False)
    eventloop.install_reactor()
    assert len(installed) == 1
