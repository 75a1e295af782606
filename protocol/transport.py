"""The server's side of a TCP connection, which writes at once what the socket takes, and reads much at once.

What it is for: Twisted's own transports keep every write for the next turn of the reactor, which costs two changes of
the poll set and one more turn for each answer. Here the rest alone, when the socket is full, takes that way. And they
read 64 KiB at most, into new memory each time; here all connections read into the same, and more while a large message
is on its way. What it must not do: keep bytes for a connection that it was not written to, or read many requests at
once from a peer that does not read their answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import main, tcp

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

READ_BYTES = 64 * 1024
"""Of one read. All that it brings is answered before a peer that does not read is noticed."""
LARGE_READ_BYTES = 256 * 1024
"""Of one read while a request has come in part. It is served before others have their turn, and fits a processor's own
cache."""

_large = memoryview(bytearray(LARGE_READ_BYTES))
_usual = _large[:READ_BYTES]


class PromptServer(tcp.Server):
    """An accepted connection.

    A protocol with a true `takes_views` is given each read as a memoryview, which holds until its `dataReceived`
    returns, tells by `expects_more` whether much is to come, and by `brought_several` what the last read completed; any
    other has bytes.
    """

    prompt = True
    """Called at once by our reactor when it can be read."""
    brought_several = False
    """Whether the last read completed more than one request."""

    def doRead(self) -> Any:
        """Read once, and serve it; give the error that ends the connection."""
        protocol: Any = self.protocol
        if not getattr(protocol, "takes_views", False):
            return super().doRead()
        buffer = _large if protocol.expects_more else _usual
        try:
            size = self.socket.recv_into(buffer)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not size:
            return main.CONNECTION_DONE
        protocol.dataReceived(buffer[:size])
        self.brought_several = protocol.brought_several
        return None

    def connectionLost(self, reason: Any) -> None:
        """Drop what was not sent: whoever still knows the connection must not keep it."""
        self.dataBuffer = b""
        self._tempDataBuffer.clear()
        self._tempDataLen = self.offset = 0
        super().connectionLost(reason)

    def write(self, data: bytes) -> None:
        """Write now if nothing waits to be written, and whatever the socket does not take later."""
        if not self.dataBuffer and not self._tempDataBuffer and self.connected and not self.TLS:
            try:
                sent = self.socket.send(data)
            except OSError:  # full, or broken: the usual way finds out
                sent = 0
            if sent == len(data):
                return
            if sent:
                data = data[sent:]
        super().write(data)  # type: ignore[no-untyped-call]


def write_promptly(port: IListeningPort) -> None:
    """Let the connections that a port accepts write at once; ports that are no TCP ports stay as they are."""
    if isinstance(port, tcp.Port):
        port.transport = PromptServer
