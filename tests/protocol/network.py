"""A network in memory: servers listen at addresses, clients connect to them, bytes arrive in the next turn."""

from __future__ import annotations

from typing import Any

from protocol.wiring import Wire
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rmqd.protocol.dispatch import Dispatcher
from rmqd.protocol.remoting import RemotingConnection


class Pipe(Wire):
    """One end of a connection."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.protocol: RemotingConnection
        self.other: Pipe
        self.open = True
        self.stuck = False
        """Nothing written here arrives any more, and nobody notices."""
        self.latency_s = 0.0

    def write(self, data: bytes) -> None:
        assert data.__class__ is bytes
        if not self.stuck:
            self._clock.callLater(self.latency_s, self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        if self.other.open:
            self.other.protocol.dataReceived(data)

    def loseConnection(self) -> None:
        self._clock.callLater(0, self.cut, ConnectionDone())

    def abortConnection(self) -> None:
        self.aborted = True
        self._clock.callLater(0, self.cut, ConnectionLost())

    def cut(self, reason: Exception | None = None) -> None:
        """Both ends are told that the connection is gone."""
        for end in (self, self.other):
            if end.open:
                end.open = False
                end.protocol.connectionLost(Failure(reason or ConnectionLost()))


class Network:
    """All addresses.

    Attributes:
        servers: What listens, by `host:port`.
        silent: Addresses where packets vanish.
        connected: How often each address was connected to.
        pipes: The client's ends, by address, in order.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.servers: dict[str, Dispatcher] = {}
        self.silent: set[str] = set()
        self.connected: dict[str, int] = {}
        self.pipes: dict[str, list[Pipe]] = {}

    def endpoint(self, host: str, port: int) -> _Endpoint:
        return _Endpoint(self, f"{host}:{port}")

    def connect(self, address: str, factory: Any) -> Deferred[RemotingConnection]:
        self.connected[address] = self.connected.get(address, 0) + 1
        if address in self.silent:
            return Deferred()
        dispatcher = self.servers.get(address)
        if dispatcher is None:
            return fail(ConnectionRefusedError())
        client, server = Pipe(self._clock), Pipe(self._clock)
        client.other, server.other = server, client
        client.protocol = factory.buildProtocol(None)
        server.protocol = RemotingConnection(dispatcher, self._clock)
        server.protocol.makeConnection(server)
        client.protocol.makeConnection(client)
        self.pipes.setdefault(address, []).append(client)
        return succeed(client.protocol)

    def shut(self, address: str) -> None:
        """A server stops: its connections break and nobody listens any more."""
        del self.servers[address]
        for pipe in self.pipes.get(address, []):
            pipe.cut()

    def run(self, turns: int = 30) -> None:
        """Let everything that is under way arrive."""
        for _ in range(turns):
            self._clock.advance(0)


class _Endpoint:
    def __init__(self, network: Network, address: str) -> None:
        self._network = network
        self._address = address

    def connect(self, factory: Any) -> Deferred[RemotingConnection]:
        return self._network.connect(self._address, factory)
