"""Listening for remoting connections: one factory per port, all ports of a server sharing one set of connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from .remoting import IDLE_TIMEOUT_S, RemotingConnection

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTCP, IReactorTime

    from .dispatch import Dispatcher

_log = Logger()

BACKLOG = 1024
"""Connections the kernel queues for us (`serverSocketBacklog`)."""


class _Factory(ServerFactory):
    noisy = False

    def __init__(self, server: RemotingServer, dispatcher: Dispatcher) -> None:
        self._server = server
        self._dispatcher = dispatcher

    def buildProtocol(self, addr: IAddress | None) -> RemotingConnection:
        """Make the connection of a new peer."""
        return RemotingConnection(self._dispatcher, self._server.clock, self._server.connections)


class RemotingServer:
    """The ports of one name server or broker.

    Args:
        reactor: Listens.
        clock: Counts idle time.
        bind_address: Interface to listen on.
    """

    def __init__(self, reactor: IReactorTCP, clock: IReactorTime, bind_address: str) -> None:
        self._reactor = reactor
        self.clock = clock
        self._bind_address = bind_address
        self._ports: list[IListeningPort] = []
        self.connections: set[RemotingConnection] = set()

    def listen(self, port: int, dispatcher: Dispatcher) -> int:
        """Serve `dispatcher` on a port; 0 lets the system choose.

        Returns:
            The port listened on.

        Raises:
            twisted.internet.error.CannotListenError: The port is in use or not allowed.
        """
        listening = self._reactor.listenTCP(
            port, _Factory(self, dispatcher), backlog=BACKLOG, interface=self._bind_address
        )
        self._ports.append(listening)
        return int(listening.getHost().port)  # type: ignore[attr-defined]

    async def stop_listening(self) -> None:
        """Accept no more connections; the ones that are open go on."""
        ports, self._ports = self._ports, []
        for port in ports:
            await _settled(port.stopListening())

    def close_idle(self) -> None:
        """Close connections that were silent for `IDLE_TIMEOUT_S`. Called every few seconds."""
        silent_since = self.clock.seconds() - IDLE_TIMEOUT_S
        for connection in [one for one in self.connections if one.last_heard < silent_since]:
            _log.info("closing {peer}: idle for {seconds} s", peer=connection.peer, seconds=IDLE_TIMEOUT_S)
            connection.abort()

    async def close_all(self, grace_s: float = 1.0) -> None:
        """Let written answers leave, then close every connection; those that do not read are cut after `grace_s`."""
        for connection in list(self.connections):
            connection.close()
        waited = 0.0
        while self.connections and waited < grace_s:
            pause: Deferred[None] = Deferred()
            self.clock.callLater(0.02, pause.callback, None)
            await pause
            waited += 0.02
        for connection in list(self.connections):
            connection.abort()


def _settled(result: object) -> Deferred[object]:
    return maybeDeferred(lambda: result)
