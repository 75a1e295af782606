"""The server's side of a TCP connection, which writes at once what the socket takes.

What it is for: Twisted's own transports keep every write for the next turn of the reactor, which costs two changes of
the poll set and one more turn for each answer. Here the rest alone, when the socket is full, takes that way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet import tcp

if TYPE_CHECKING:
    from twisted.internet.interfaces import IListeningPort


class PromptServer(tcp.Server):
    """An accepted connection."""

    prompt = True
    """Called at once by our reactor when it can be read."""

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
