"""The server's side of a TCP connection, which writes at once what the socket takes, and reads much at once.

What it is for: Twisted's own transports keep every write for the next turn of the reactor, which costs two changes of
the poll set and one more turn for each answer. Here the rest alone, when the socket is full, takes that way. And they
read 64 KiB at most, into new memory each time; here all connections read into the same, which is larger. What it must
not do: keep bytes for a connection that it was not written to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet import main, tcp

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort

READ_SIZE_MAX_BYTES = 256 * 1024
"""Of one read. What it brings is served before others have their turn, and fits a processor's own cache."""

_read_buffer = memoryview(bytearray(READ_SIZE_MAX_BYTES))


class PromptServer(tcp.Server):
    """An accepted connection.

    A protocol with a true `takes_views` is given each read as a memoryview, which holds until its `dataReceived`
    returns; any other has bytes.
    """

    prompt = True
    """Called at once by our reactor when it can be read."""

    def doRead(self) -> Any:
        """Read once, and serve it; give the error that ends the connection."""
        if not getattr(self.protocol, "takes_views", False):
            return super().doRead()
        try:
            size = self.socket.recv_into(_read_buffer)
        except BlockingIOError:
            return None
        except OSError:
            return main.CONNECTION_LOST
        if not size:
            return main.CONNECTION_DONE
        self.protocol.dataReceived(_read_buffer[:size])  # type: ignore[arg-type]
        return None

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
