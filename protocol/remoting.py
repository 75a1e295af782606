"""One remoting connection, accepted or made by us: frames in, dispatch, bytes out.

Glue between a Twisted transport, `FrameReader` and `Dispatcher`. A connection carries requests in both directions;
`call` and `tell` send ours, with opaque numbers of our own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from zope.interface import implementer

from rmqwire.command import RemotingCommand, encode_command, new_request
from rmqwire.declare import Header, declaration_of
from rmqwire.errors import WireError
from rmqwire.frames import FrameReader

from .hosts import host_bytes
from .peer_errors import ConnectionGone as ConnectionGone
from .peer_errors import PeerError as PeerError
from .peer_errors import RequestTimeout as RequestTimeout
from .sockets import DEFAULT_SOCKETS, SocketSettings

if TYPE_CHECKING:
    from twisted.internet.interfaces import IConsumer, IDelayedCall, IReactorTime, ITCPTransport
    from twisted.python.failure import Failure

    from .dispatch import Dispatcher

    class _Transport(ITCPTransport, IConsumer, IPushProducer):
        """What a Twisted TCP connection offers us."""


_log = Logger()


@implementer(IPushProducer)
class RemotingConnection(Protocol):
    """One peer.

    Args:
        dispatcher: Serves the requests that the peer sends.
        clock: For timeouts of requests sent from here.
        registry: A set that holds this connection while it is open.
        sockets: Sizes of its buffers.

    Attributes:
        peer: `ip:port` of the other side.
        born_host: The same packed as records store it: ip 4 or 16 bytes, port i32.
        last_heard: `clock.seconds()` of the last bytes in either direction.
        request_bytes: Of the requests that the last read completed.
        expects_more: Whether a request has come in part.
        brought_several: Whether the last read completed more than one request.
        on_lost: Called once with this connection when it is gone.
    """

    transport: _Transport  # present while connected

    def __init__(
        self,
        dispatcher: Dispatcher,
        clock: IReactorTime,
        registry: set[RemotingConnection] | None = None,
        sockets: SocketSettings = DEFAULT_SOCKETS,
    ) -> None:
        self._dispatcher = dispatcher
        self._sockets = sockets
        self._clock = clock
        self._registry = registry
        self._reader = FrameReader()
        self._pending: dict[int, tuple[Deferred[RemotingCommand], IDelayedCall]] = {}
        self._opaque = 0
        self.peer = "?"
        self.peer_host: tuple[str, int] = ("0.0.0.0", 0)  # noqa: S104  a placeholder until connected, never bound
        self.born_host = b"\0" * 8
        self.last_heard = 0.0
        self.request_bytes = 0
        self.expects_more = self.brought_several = False
        self.connected_now = False
        self._closing = False
        self.on_lost: list[Callable[[RemotingConnection], None]] = []

    def connectionMade(self) -> None:
        """Note who the peer is, and let the transport tell us when it cannot take more."""
        address = self.transport.getPeer()
        host, port = getattr(address, "host", "127.0.0.1"), getattr(address, "port", 0)
        self.peer_host = (host, port)
        self.peer = f"{host}:{port}"
        self.born_host = host_bytes(host, port)
        self.last_heard = self._clock.seconds()
        self.connected_now = True
        self.transport.registerProducer(self, True)
        self.transport.setTcpNoDelay(True)
        self._sockets.size_buffers(self.transport)
        if self._registry is not None:
            self._registry.add(self)

    takes_views = True
    """Reads need not be bytes; see `PromptServer`."""

    def dataReceived(self, data: bytes | memoryview) -> None:
        """Serve what one read brought; close the connection when it is not the remoting protocol."""
        self.last_heard = self._clock.seconds()
        frames = self._reader.receive(data)
        self.request_bytes, self.expects_more = self._reader.completed_bytes, self._reader.waits
        self.brought_several = len(frames) > 1
        error = self._reader.error
        if frames:
            try:
                self._dispatcher.receive(self, frames)
            except WireError as cause:
                error = cause
        if error is not None:
            _log.warn("closing {peer}: {error}", peer=self.peer, error=error)
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail what still waits for an answer and tell those who follow this connection."""
        self.connected_now = False
        if self._registry is not None:
            self._registry.discard(self)
        pending, self._pending = self._pending, {}
        for answer, timeout in pending.values():
            timeout.cancel()
            answer.errback(ConnectionGone(f"connection to {self.peer} lost: {reason.getErrorMessage()}"))
        callbacks, self.on_lost = self.on_lost, []
        for callback in callbacks:
            callback(self)

    def send(self, data: bytes) -> None:
        """Write one or more whole frames; dropped when the peer has gone."""
        if self.connected_now:
            self.last_heard = self._clock.seconds()
            self.transport.write(data)

    def close(self) -> None:
        """Read no more, and close after what was written has left."""
        if self.connected_now and not self._closing:
            self._closing = True
            self.transport.unregisterProducer()  # a registered one would hold the closing back
            self.transport.loseConnection()

    def abort(self) -> None:
        """Close now, without waiting for the peer to read."""
        if self.connected_now:
            self.transport.abortConnection()

    def call(self, header: Header, body: bytes = b"", *, timeout_ms: int = 3000) -> Deferred[RemotingCommand]:
        """Send a request and wait for its answer, whatever its code.

        Raises:
            RequestTimeout: By the Deferred: no answer in time.
            ConnectionGone: By the Deferred: not connected, or lost meanwhile.
        """
        answer: Deferred[RemotingCommand] = Deferred()
        if not self.connected_now:
            answer.errback(ConnectionGone(f"not connected to {self.peer}"))
            return answer
        opaque = self._next_opaque()
        timeout = self._clock.callLater(timeout_ms / 1000, self._timed_out, opaque, timeout_ms)
        self._pending[opaque] = (answer, timeout)
        self.send(encode_command(new_request(declaration_of(type(header)).code, header, opaque, body=body)))
        return answer

    def tell(self, header: Header, body: bytes = b"") -> None:
        """Send a oneway request."""
        code = declaration_of(type(header)).code
        self.send(encode_command(new_request(code, header, self._next_opaque(), body=body, oneway=True)))

    def answered(self, response: RemotingCommand) -> None:
        """Match an answer with the request it belongs to; late and unknown ones are dropped, as in Java."""
        waiting = self._pending.pop(response.opaque, None)
        if waiting is not None:
            answer, timeout = waiting
            timeout.cancel()
            answer.callback(response)

    def _next_opaque(self) -> int:
        self._opaque = self._opaque + 1 & 0x7FFFFFFF
        return self._opaque

    def _timed_out(self, opaque: int, timeout_ms: int) -> None:
        answer, _ = self._pending.pop(opaque)
        answer.errback(RequestTimeout(f"{self.peer} did not answer within {timeout_ms} ms"))

    # What the transport tells its producer: a peer that does not read its answers is not read from either.

    def pauseProducing(self) -> None:
        """Stop reading requests while the peer does not read answers."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        if self.connected_now:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Nothing to do: connectionLost follows."""
