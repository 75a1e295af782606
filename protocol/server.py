"""Listening for remoting connections: one factory per port, all ports of a server sharing one set of connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from .remoting import RemotingConnection
from .sockets import DEFAULT_SOCKETS, SocketSettings
from .transport import write_promptly

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTCP, IReactorTime

    from .dispatch import Dispatcher

_log = Logger()


class Listening(ServerFactory):
    """One port, and what it serves.

    Attributes:
        dispatcher: Serves new connections; may be set until the first one comes.
        port: The port listened on.
    """

    noisy = False
    dispatcher: Dispatcher
    port: int

    def __init__(self, server: RemotingServer) -> None:
        self._server = server
        self._listening: IListeningPort | None = None

    def buildProtocol(self, addr: IAddress | None) -> RemotingConnection:
        """Make the connection of a new peer."""
        server = self._server
        return RemotingConnection(self.dispatcher, server.clock, server.connections, server.sockets)

    def begin(self, listening: IListeningPort) -> None:
        """Note the port that the system gave."""
        self._listening = listening
        self.port = int(listening.getHost().port)  # type: ignore[attr-defined]

    def stop(self) -> Deferred[object]:
        """Accept no more connections."""
        listening, self._listening = self._listening, None
        return maybeDeferred(listening.stopListening) if listening is not None else succeed(None)


class RemotingServer:
    """The ports of one name server or broker.

    Args:
        reactor: Listens.
        clock: Counts idle time.
        bind_address: Interface to listen on.
        sockets: What ports and connections are like.
    """

    def __init__(
        self,
        reactor: IReactorTCP,
        clock: IReactorTime,
        bind_address: str,
        sockets: SocketSettings = DEFAULT_SOCKETS,
    ) -> None:
        self._reactor = reactor
        self.clock = clock
        self._bind_address = bind_address
        self.sockets = sockets
        self._ports: list[Listening] = []
        self.connections: set[RemotingConnection] = set()

    def listen(self, port: int, dispatcher: Dispatcher | None = None) -> Listening:
        """Take a port; 0 lets the system choose.

        Nothing is accepted before the reactor runs on, so the dispatcher may be set on what is returned.

        Raises:
            twisted.internet.error.CannotListenError: The port is in use or not allowed.
        """
        listening = Listening(self)
        if dispatcher is not None:
            listening.dispatcher = dispatcher
        backlog = self.sockets.backlog
        accepting = self._reactor.listenTCP(port, listening, backlog=backlog, interface=self._bind_address)
        write_promptly(accepting)
        listening.begin(accepting)
        self._ports.append(listening)
        return listening

    async def stop_listening(self) -> None:
        """Accept no more connections; the ones that are open go on."""
        ports, self._ports = self._ports, []
        for port in ports:
            await port.stop()

    def close_idle(self) -> None:
        """Close connections that were silent for too long. Called every few seconds."""
        timeout_s = self.sockets.idle_timeout_s
        if not timeout_s:
            return
        silent_since = self.clock.seconds() - timeout_s
        for connection in [one for one in self.connections if one.last_heard < silent_since]:
            _log.info("closing {peer}: idle for {seconds} s", peer=connection.peer, seconds=timeout_s)
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
