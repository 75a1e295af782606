"""A remoting connection on a string transport, driven by a simulated clock."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from rmqd.protocol.dispatch import Dispatcher
from rmqd.protocol.remoting import RemotingConnection
from rmqwire.command import RemotingCommand, decode_command, encode_command
from rmqwire.frames import FrameReader


class Wire(StringTransport):
    """A string transport with what a TCP transport has besides."""

    def __init__(self) -> None:
        super().__init__()
        self.no_delay = False
        self.aborted = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


def connected(dispatcher: Dispatcher, clock: Clock | None = None) -> tuple[RemotingConnection, Wire]:
    """Make a connection that is open."""
    connection = RemotingConnection(dispatcher, clock or Clock())
    wire = Wire()
    connection.makeConnection(wire)
    return connection, wire


def sent(wire: Wire) -> list[RemotingCommand]:
    """Take what was written so far, decoded."""
    commands = [decode_command(frame) for frame in FrameReader().receive(wire.value())]
    wire.clear()
    return commands


def ask(code: int, opaque: int = 1, *, oneway: bool = False, body: bytes = b"", **ext: str) -> bytes:
    """A request as a client writes it."""
    return encode_command(RemotingCommand(code, opaque=opaque, flag=2 if oneway else 0, ext=ext, body=body))
