"""Route requests to handlers, and turn what handlers raise into replies.

Handlers are methods marked `@handles(SomeRequest)` with the signature `(self, request, header)`. `request.connection`
is the peer, `request.body` the body. One call of `Dispatcher.receive` serves everything that one socket read brought:
handlers stage what they store, the store commits once, then all answers leave in one write.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqwire.codes import ResponseCode, name_of_request
from rmqwire.command import FLAG_ONEWAY, FLAG_RESPONSE, RemotingCommand, decode_command
from rmqwire.declare import Header, Role, declaration_of, declarations
from rmqwire.errors import RequestError, WireError

from .replies import Reply, Result, Staged, encode_reply

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from rmqwire.frames import Frame

    from .remoting import RemotingConnection

_log = Logger()
H = TypeVar("H", bound=Header)
S = TypeVar("S")

_MARK = "__handles__"
Handler = Callable[["Request", Any], Result]


class Request(RemotingCommand):
    """A command with the connection that it came by."""

    __slots__ = ("connection",)

    connection: RemotingConnection


class WriteBarrier(Protocol):
    """What makes staged writes stand, once for all requests of a read."""

    def commit(self) -> None:
        """Write what was staged.

        Raises:
            Exception: Nothing of it may be acknowledged.
        """


class NoBarrier:
    """For servers that store nothing per request."""

    def commit(self) -> None:
        return None


def handles(
    first: type[H], *others: type[Header]
) -> Callable[[Callable[[S, Request, H], Result]], Callable[[S, Request, H], Result]]:
    """Mark a method as the handler of one declared request, or of several that have the same attributes."""

    def mark(method: Callable[[S, Request, H], Result]) -> Callable[[S, Request, H], Result]:
        setattr(method, _MARK, (first, *others))
        return method

    return mark


def marked(kind: type) -> Iterator[tuple[str, tuple[type[Header], ...]]]:
    """Give the methods of a class that are marked with `handles`, and what they handle."""
    for base in kind.__mro__:
        for name, value in vars(base).items():
            headers = getattr(value, _MARK, None) if callable(value) else None
            if headers:
                yield name, headers


class Dispatcher:
    """The request table of one server.

    Args:
        role: Which declarations apply.
        handlers: Objects whose methods are marked with `handles`.
        barrier: Commits what handlers staged.
        refused: Codes that this port does not serve although a handler exists (the VIP port).

    Raises:
        ValueError: A code is handled twice, or by a role that does not serve it.
    """

    def __init__(
        self,
        role: Role,
        handlers: Iterable[object],
        *,
        barrier: WriteBarrier | None = None,
    ) -> None:
        self.role = role
        self.barrier: WriteBarrier = barrier if barrier is not None else NoBarrier()
        self._table: dict[int, tuple[type[Header], Handler]] = {}
        self.handled_by: dict[int, str] = {}
        declared = declarations(role)
        for instance in handlers:
            for name, headers in marked(type(instance)):
                for header in headers:
                    code = declaration_of(header).code
                    if code not in declared or declared[code].header is not header:
                        raise ValueError(f"{type(instance).__name__}.{name} handles {code}, not served by {role}")
                    if code in self._table:
                        raise ValueError(f"request code {code} is handled twice")
                    self._table[code] = (header, getattr(instance, name))
                    self.handled_by[code] = f"{type(instance).__name__}.{name}"

    @property
    def codes(self) -> frozenset[int]:
        """The request codes that have a handler."""
        return frozenset(self._table)

    def without(self, codes: Iterable[int]) -> Dispatcher:
        """Give the same table less some codes, as a second port serves it."""
        other = Dispatcher(self.role, (), barrier=self.barrier)
        dropped = frozenset(codes)
        other._table = {code: entry for code, entry in self._table.items() if code not in dropped}
        other.handled_by = {code: name for code, name in self.handled_by.items() if code not in dropped}
        return other

    def receive(self, connection: RemotingConnection, frames: list[Frame]) -> None:
        """Serve the frames of one read.

        Raises:
            WireError: A header does not parse; what came before it was served.
        """
        out: list[bytes] = []
        staged: list[tuple[Request, Staged]] = []
        error: WireError | None = None
        for frame in frames:
            try:
                request = _decode(frame)
                request.connection = connection
                if request.flag & FLAG_RESPONSE:
                    connection.answered(request)
                    continue
                result = self._call(request)
            except WireError as cause:
                error = cause
                break
            if result.__class__ is bytes:
                if not request.flag & FLAG_ONEWAY:
                    out.append(result)
            elif result.__class__ is Staged:
                staged.append((request, result))
            elif result is not None:
                self._settle(request, result, out)
        if staged:
            self._commit(staged, out)
        if out:
            connection.send(b"".join(out))
        if error is not None:
            raise error

    def _call(self, request: Request) -> Result:
        entry = self._table.get(request.code)
        if entry is None:
            return Reply(
                code=ResponseCode.REQUEST_CODE_NOT_SUPPORTED,
                remark=f" request type {request.code} not supported",  # the leading blank: as Java
            )
        try:
            return entry[1](request, request.header(entry[0]))
        except RequestError as refused:
            return Reply(code=refused.code, remark=refused.remark)
        except WireError:
            raise
        except Exception as cause:  # noqa: BLE001  one request must not take the connection or the server with it
            return self._unexpected(request, cause)

    def _commit(self, staged: list[tuple[Request, Staged]], out: list[bytes]) -> None:
        failed: Exception | None = None
        try:
            self.barrier.commit()
        except Exception as cause:  # noqa: BLE001  every staged request has to be answered
            failed = cause
            _log.failure("the store could not write {count} requests", count=len(staged))
        for request, reply in staged:
            try:
                result = reply.finish(failed)
            except Exception as cause:  # noqa: BLE001
                result = self._unexpected(request, cause)
            if result.__class__ is bytes and not request.flag & FLAG_ONEWAY:
                out.append(result)
            elif result is not None:
                self._settle(request, result, out)

    def _settle(self, request: Request, result: Result, out: list[bytes]) -> None:
        if isinstance(result, Deferred):
            result.addErrback(self._failed, request)
            result.addCallback(self._late, request)
            result.addErrback(lambda failure: _log.failure("a late answer was lost", failure))
        elif not request.flag & FLAG_ONEWAY:
            if isinstance(result, Reply):
                out.append(encode_reply(request.opaque, result))
            elif isinstance(result, bytes):
                out.append(result)

    def _late(self, result: Reply | bytes | None, request: Request) -> None:
        if result is not None and not request.flag & FLAG_ONEWAY:
            request.connection.send(result if isinstance(result, bytes) else encode_reply(request.opaque, result))

    def _failed(self, failure: Failure, request: Request) -> Reply:
        cause = failure.value
        if isinstance(cause, RequestError):
            return Reply(code=cause.code, remark=cause.remark)
        return self._unexpected(request, failure.value)

    @staticmethod
    def _unexpected(request: Request, cause: BaseException | None) -> Reply:
        trace = "".join(traceback.format_exception(cause)) if cause is not None else ""
        _log.error("request {name} failed: {trace}", name=name_of_request(request.code), trace=trace)
        return Reply(code=ResponseCode.SYSTEM_ERROR, remark=f"{type(cause).__name__}: {cause}"[:1024])


def _decode(frame: Frame) -> Request:
    return decode_command(frame, Request)
