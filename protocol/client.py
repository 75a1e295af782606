"""Connections that we make: to name servers, and later to other brokers.

One connection per address, made when first asked for, shared by all who ask, made anew after it was lost. Nothing
retries by itself: whoever has a request to send decides when to ask again. Must not read a clock or a reactor of its
own: both are given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .hosts import parse_address
from .peer_errors import ClientStopped as ClientStopped
from .peer_errors import ConnectFailed as ConnectFailed
from .peer_errors import RequestTimeout
from .remoting import RemotingConnection
from .sockets import DEFAULT_SOCKETS, SocketSettings

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime, IStreamClientEndpoint

    from rmqwire.command import RemotingCommand
    from rmqwire.declare import Header

    from .dispatch import Dispatcher
    from .peer_errors import PeerError

_log = Logger()

EndpointFactory: TypeAlias = "Callable[[str, int], IStreamClientEndpoint]"
"""Gives the endpoint that reaches a host and port."""

_IDLE_SCAN_S = 10.0


def tcp_endpoints(reactor: object) -> EndpointFactory:
    """Give endpoints that connect by TCP: addresses at once, names by the reactor's resolver."""

    def endpoint(host: str, port: int) -> IStreamClientEndpoint:
        literal = _literal(host)
        if literal is None:
            return HostnameEndpoint(reactor, host, port)
        kind = TCP4ClientEndpoint if literal.version == 4 else TCP6ClientEndpoint
        return kind(reactor, host, port)

    return endpoint


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    from ipaddress import ip_address

    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


class _ConnectionFactory(Factory):
    """Makes the protocol that an endpoint connects."""

    noisy = False

    def __init__(self, build: Callable[[], RemotingConnection]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> RemotingConnection:
        return self._build()  # as Factory's docstring asks; its annotation wants a `factory` attribute


class RemotingClient:
    """Pooled connections to other servers.

    Args:
        endpoint: Gives the endpoint of a host and port; `tcp_endpoints(reactor)` outside tests.
        dispatcher: Serves what the peers send on these connections.
        clock: For timeouts and the idle scan.
        sockets: What its connections are like, and how long one attempt to connect may take.
    """

    def __init__(
        self,
        endpoint: EndpointFactory,
        dispatcher: Dispatcher,
        clock: IReactorTime,
        sockets: SocketSettings = DEFAULT_SOCKETS,
    ) -> None:
        self._endpoint = endpoint
        self._dispatcher = dispatcher
        self._clock = clock
        self._sockets = sockets
        self._open: dict[str, RemotingConnection] = {}
        self._waiting: dict[str, list[Deferred[RemotingConnection]]] = {}
        self._attempts: dict[str, Deferred[IProtocol]] = {}
        self._closing: set[RemotingConnection] = set()
        self._stopped: Deferred[None] | None = None
        self._idle_scan = LoopingCall(self._close_idle)
        self._idle_scan.clock = clock

    @property
    def addresses(self) -> frozenset[str]:
        """The addresses that a connection is open to."""
        return frozenset(self._open)

    def connection(self, address: str) -> Deferred[RemotingConnection]:
        """Give the connection to `host:port`, connecting if there is none.

        Raises:
            ConnectFailed: By the Deferred: bad address, refused, or not accepted in time.
            ClientStopped: By the Deferred: after `stop`.
        """
        if self._stopped is not None:
            return fail(ClientStopped(f"no connection to {address}: shutting down"))
        current = self._open.get(address)
        if current is not None:
            return succeed(current)
        wanted: Deferred[RemotingConnection] = Deferred(partial(self._forget, address))
        others = self._waiting.get(address)
        if others is not None:
            others.append(wanted)
        else:
            self._waiting[address] = [wanted]
            self._connect(address)
        return wanted

    def call(
        self, address: str, header: Header, body: bytes = b"", *, timeout_ms: int = 3000
    ) -> Deferred[RemotingCommand]:
        """Send a request and wait for its answer, connecting first when needed; both within `timeout_ms`.

        A connection whose peer does not answer in time is closed, as official 5.x clients do: the peer may be gone
        without a trace, and the next request then finds out.

        Raises:
            PeerError: By the Deferred: not connected, lost, or not answered in time.
        """
        began = self._clock.seconds()

        def ready(connection: RemotingConnection) -> Deferred[RemotingCommand]:
            left_ms = max(1, timeout_ms - round((self._clock.seconds() - began) * 1000))
            answer = connection.call(header, body, timeout_ms=left_ms)
            return answer.addErrback(given_up, connection)

        def given_up(failure: Failure, connection: RemotingConnection) -> Failure:
            if self._sockets.close_if_timeout and isinstance(failure.value, RequestTimeout):
                self._close(address, connection, at_once=True)
            return failure

        connection = self.connection(address)
        connection.addTimeout(timeout_ms / 1000, self._clock, partial(_not_connected_in_time, address))
        return connection.addCallback(ready)

    def tell(self, address: str, header: Header, body: bytes = b"") -> Deferred[None]:
        """Send a oneway request, connecting first when needed.

        Raises:
            PeerError: By the Deferred: not connected. Whether it arrived is never known.
        """
        return self.connection(address).addCallback(lambda connection: connection.tell(header, body))

    def stop(self, timeout_ms: int = 3000) -> Deferred[None]:
        """Make no new connections and close those there are.

        Returns:
            Fires when all are closed; those that linger for `timeout_ms` are cut off.
        """
        if self._stopped is not None:
            done: Deferred[None] = Deferred()
            self._stopped.chainDeferred(done)
            return done
        self._stopped = Deferred()
        for attempt in list(self._attempts.values()):
            attempt.cancel()
        for address, connection in list(self._open.items()):
            self._close(address, connection)
        if self._closing:
            late = self._clock.callLater(timeout_ms / 1000, self._cut_off)
            self._stopped.addBoth(lambda _: late.cancel() if late.active() else None)
        return self._settle_stop()

    # Connecting

    def _connect(self, address: str) -> None:
        try:
            host, port = parse_address(address, 0)
            if not host or not port:
                raise ValueError("expected host:port")
            endpoint = self._endpoint(host, port)
        except ValueError as cause:
            self._refuse(address, ConnectFailed(f"{address}: {cause}"))
            return
        factory = _ConnectionFactory(lambda: RemotingConnection(self._dispatcher, self._clock, None, self._sockets))
        attempt = endpoint.connect(factory)
        self._attempts[address] = attempt
        attempt.addTimeout(self._sockets.connect_timeout_ms / 1000, self._clock)
        attempt.addCallbacks(self._connected, self._failed, callbackArgs=(address,), errbackArgs=(address,))
        attempt.addErrback(lambda failure: _log.failure("connecting to {address}", failure, address=address))

    def _connected(self, connection: object, address: str) -> None:
        assert isinstance(connection, RemotingConnection)
        self._attempts.pop(address, None)
        if not connection.connected_now:
            self._refuse(address, ConnectFailed(f"{address}: closed at once"))
            return
        self._open[address] = connection
        connection.on_lost.append(partial(self._lost, address))
        if not self._idle_scan.running:
            self._idle_scan.start(_IDLE_SCAN_S, now=False)
        for wanted in self._waiting.pop(address, []):
            wanted.callback(connection)
        if self._stopped is not None:
            self._close(address, connection)

    def _failed(self, failure: Failure, address: str) -> None:
        self._attempts.pop(address, None)
        if self._stopped is not None:
            self._refuse(address, ClientStopped(f"no connection to {address}: shutting down"))
            return
        reason = failure.getErrorMessage() or type(failure.value).__name__
        self._refuse(address, ConnectFailed(f"cannot connect to {address}: {reason}"))

    def _refuse(self, address: str, error: PeerError) -> None:
        self._attempts.pop(address, None)
        for wanted in self._waiting.pop(address, []):
            wanted.errback(error)

    def _forget(self, address: str, wanted: Deferred[RemotingConnection]) -> None:
        """Whoever waited gave up; the attempt goes on for the others and for the next to ask."""
        waiting = self._waiting.get(address)
        if waiting is not None and wanted in waiting:
            waiting.remove(wanted)

    # Closing

    def _lost(self, address: str, connection: RemotingConnection) -> None:
        if self._open.get(address) is connection:
            del self._open[address]
        self._closing.discard(connection)
        if not self._open and self._idle_scan.running:
            self._idle_scan.stop()
        if self._stopped is not None:
            self._settle_stop()

    def _close(self, address: str, connection: RemotingConnection, *, at_once: bool = False) -> None:
        if self._open.get(address) is connection:
            del self._open[address]
        if connection.connected_now:
            self._closing.add(connection)
            if at_once:
                connection.abort()
            else:
                connection.close()

    def _close_idle(self) -> None:
        timeout_s = self._sockets.idle_timeout_s
        if not timeout_s:
            return
        now = self._clock.seconds()
        for address, connection in list(self._open.items()):
            if now - connection.last_heard >= timeout_s:
                self._close(address, connection)

    def _cut_off(self) -> None:
        for connection in list(self._closing):
            connection.abort()

    def _settle_stop(self) -> Deferred[None]:
        assert self._stopped is not None
        if not self._closing and not self._open and not self._stopped.called:
            if self._idle_scan.running:
                self._idle_scan.stop()
            self._stopped.callback(None)
        done: Deferred[None] = Deferred()
        self._stopped.chainDeferred(done)
        return done


def _not_connected_in_time(address: str, result: object, timeout_s: float) -> None:
    raise ConnectFailed(f"not connected to {address} within {timeout_s} s")
