"""One name server as a broker sees it: what it knows of us, and what it has still to be told.

A link sends one request at a time. It registers the whole table after it has connected, when `refresh` asks for it
and after anything failed; a change of topics goes alone only where the whole table arrived by the same connection,
since a name server that restarted would take it for all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.logger import Logger

from rmqd.protocol.remoting import RequestTimeout
from rmqwire.codes import ResponseCode, name_of_response
from rmqwire.errors import RmqError
from rmqwire.requests.register import UnregisterBroker

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, Protocol

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from rmqd.protocol.client import RemotingClient
    from rmqd.protocol.remoting import RemotingConnection
    from rmqwire.command import RemotingCommand
    from rmqwire.declare import Header

    class RegistrationRequests(Protocol):
        """What there is to send; the same for all links."""

        def whole_table(self) -> list[tuple[Header, bytes]]: ...

        def changed_topics(self, topics: Iterable[str]) -> tuple[Header, bytes] | None: ...

        def version_probe(self) -> tuple[Header, bytes]: ...

        def says_unchanged(self, answer: RemotingCommand) -> bool: ...


_log = Logger()

RETRY_FIRST_S = 1.0
"""Pause after the first failure; it doubles up to the period of registration."""


class RegistrationRefused(RmqError):
    """A name server answered a registration with an error."""


class NameServerLink:
    """What one name server has been told.

    Args:
        address: `host:port`.
        client: Connects.
        clock: For pauses between attempts.
        requests: Gives what to send.
        timeout_ms: How long an answer may take.
        retry_max_s: The longest pause after failures.
        answered: Called with every answer to a registration.

    Attributes:
        registered: Whether the whole table arrived by the connection that is open now.
        failing: Whether the last attempt failed; None before the first has ended.
    """

    def __init__(
        self,
        address: str,
        client: RemotingClient,
        clock: IReactorTime,
        requests: RegistrationRequests,
        *,
        timeout_ms: int,
        retry_max_s: float,
        answered: Callable[[NameServerLink, RemotingCommand], None],
    ) -> None:
        self.address = address
        self.registered = False
        self.failing: bool | None = None
        self._client = client
        self._clock = clock
        self._requests = requests
        self._timeout_ms = timeout_ms
        self._retry_max_s = retry_max_s
        self._answered = answered
        self._connection: RemotingConnection | None = None
        self._whole = False
        self._probe = False
        self._changed: set[str] = set()
        self._busy = False
        self._stopped = False
        self._pause_s = 0.0
        self._retry: IDelayedCall | None = None
        self._waiting: list[Deferred[None]] = []

    def refresh(self, *, force: bool) -> Deferred[None]:
        """Register the whole table, or without `force` first ask whether that is needed.

        Returns:
            Fires when the name server has answered or the attempt has failed; never fails.
        """
        if force or not self.registered:
            self._whole = True
        else:
            self._probe = True
        return self._go()

    def topics_changed(self, topics: Iterable[str]) -> Deferred[None]:
        """Tell of changed topics. Returns as `refresh`; at once when the name server is not reachable anyway."""
        self._changed.update(topics)
        if self.failing:
            return succeed(None)  # the retry that is due tells the whole table
        return self._go()

    def heartbeat(self, header: Header, body: bytes) -> None:
        """Send a sign of life where it means something."""
        if self.registered and self._connection is not None:
            self._connection.tell(header, body)

    def stop(self, unregister: UnregisterBroker, timeout_ms: int) -> Deferred[None]:
        """Send nothing any more but, where it may be known, that the broker leaves; fires within `timeout_ms`."""
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._connection is None:  # nothing was ever said, or it was forgotten with the connection
            return succeed(None)
        return self._unregister(unregister, timeout_ms)

    @inlineCallbacks
    def _unregister(self, header: UnregisterBroker, timeout_ms: int) -> Generator[Deferred[Any], Any, None]:
        try:
            answer = yield self._client.call(self.address, header, timeout_ms=timeout_ms)
        except RmqError as cause:
            _log.warn("not unregistered at name server {address}: {cause}", address=self.address, cause=cause)
        else:
            _log.info(
                "unregistered at name server {address}: {code}",
                address=self.address,
                code=name_of_response(answer.code),
            )

    def _go(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        if not self._busy and not self._stopped:
            self._run()
        elif self._stopped:
            self._settle()
        return done

    def _run(self) -> None:
        """Send until nothing is left to be told."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._busy = True
        self._send_all().addCallbacks(self._succeeded, self._failed).addErrback(
            lambda failure: _log.failure("registration at {address}", failure, address=self.address)
        )

    @inlineCallbacks
    def _send_all(self) -> Generator[Deferred[Any], Any, None]:
        connection = yield self._client.connection(self.address)
        if connection is not self._connection:
            self._connection = connection
            self.registered = False
            connection.on_lost.append(self._lost)
        while not self._stopped and (self._whole or self._probe or self._changed or not self.registered):
            if self._whole or not self.registered:
                self._whole = self._probe = False
                self._changed.clear()
                for header, body in self._requests.whole_table():
                    yield self._register(connection, header, body)
                self.registered = True
            elif self._changed:
                topics, self._changed = self._changed, set()
                request = self._requests.changed_topics(topics)
                if request is not None:
                    yield self._register(connection, *request)
            else:
                self._probe = False
                header, body = self._requests.version_probe()
                answer = yield self._call(connection, header, body)
                self._whole = not self._requests.says_unchanged(answer)

    @inlineCallbacks
    def _register(
        self, connection: RemotingConnection, header: Header, body: bytes
    ) -> Generator[Deferred[Any], Any, None]:
        answer = yield self._call(connection, header, body)
        if answer.code != ResponseCode.SUCCESS:
            raise RegistrationRefused(f"{name_of_response(answer.code)} {answer.remark or ''}".rstrip())
        self._answered(self, answer)

    @inlineCallbacks
    def _call(
        self, connection: RemotingConnection, header: Header, body: bytes
    ) -> Generator[Deferred[Any], Any, RemotingCommand]:
        try:
            answer: RemotingCommand = yield connection.call(header, body, timeout_ms=self._timeout_ms)
        except RequestTimeout:
            connection.abort()  # the peer may be gone without a trace; the next attempt connects anew
            raise
        return answer

    def _succeeded(self, _: None) -> None:
        self._busy = False
        self._pause_s = 0.0
        if self.failing is not False and not self._stopped:
            _log.info("registered at name server {address}", address=self.address)
        self.failing = False
        self._settle()

    def _failed(self, failure: Any) -> None:
        self._busy = False
        if not isinstance(failure.value, RmqError):
            _log.failure("registration at {address}", failure, address=self.address)
        elif not self.failing and not self._stopped:
            _log.warn(
                "not registered at name server {address}: {error}; trying on",
                address=self.address,
                error=failure.getErrorMessage(),
            )
        self.failing = True
        self._whole = True
        self._try_later()
        self._settle()

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(None)

    def _lost(self, connection: RemotingConnection) -> None:
        """The name server forgets us with the connection: tell it again as soon as it is back."""
        if connection is self._connection:
            self._connection = None
            self.registered = False
            self._whole = True
            if not self._busy:
                self._try_later()

    def _try_later(self) -> None:
        if self._stopped or self._retry is not None:
            return
        self._pause_s = min(self._pause_s * 2 or RETRY_FIRST_S, self._retry_max_s)
        self._retry = self._clock.callLater(self._pause_s, self._retry_now)

    def _retry_now(self) -> None:
        self._retry = None
        if not self._busy and not self._stopped:
            self._run()
