"""Route requests to handlers, and turn what handlers raise into replies.

Handlers are methods marked `@handles(SomeRequest)` with the signature `(self, request, header)`. `request.connection`
is the peer, `request.body` the body. One call of `Dispatcher.receive` serves everything that one socket read brought:
handlers stage what they store, the store commits once (`turn`), then all answers leave in one write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rmqwire.codes import ResponseCode
from rmqwire.command import FLAG_ONEWAY, FLAG_RESPONSE, RemotingCommand, decode_command
from rmqwire.declare import Header, Role, declaration_of, declarations
from rmqwire.errors import RequestError, WireError

from .answering import settle, unexpected
from .replies import Reply, Result, Staged, encode_reply
from .turn import NoBarrier, Turn

if TYPE_CHECKING:
    from rmqwire.frames import Frame

    from .remoting import RemotingConnection
    from .turn import Later, WriteBarrier

H = TypeVar("H", bound=Header)
S = TypeVar("S")

_MARK = "__handles__"
Handler = Callable[["Request", Any], Result]


class Request(RemotingCommand):
    """A command with the connection that it came by."""

    __slots__ = ("connection",)

    connection: RemotingConnection


class RunOfRequests(Request):
    """Requests of one read that are served and answered as one."""

    @classmethod
    def of(cls, connection: RemotingConnection) -> RunOfRequests:
        """Stand for requests that want answers."""
        run = cls.__new__(cls)
        run.connection = connection
        run.code = run.flag = run.opaque = 0
        return run


class Runs(Protocol):
    """Who serves requests in a row at once."""

    def take(self, connection: RemotingConnection, frames: list[Frame], first: int) -> tuple[int, int, Staged | None]:
        """Serve requests from frame `first` on, as many as are usual.

        Returns:
            How many, the frame from which on to ask again, and their answer; those up to there that were not served
            are for their handlers.
        """


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


class Gate(Protocol):
    """Who may refuse requests before they are served.

    Attributes:
        closing: Whether there is anything to refuse; looked at once per read, so that a gate costs nothing else.
    """

    closing: bool

    def refuses(self, request: Request, behind_it: int) -> Reply | None:
        """Give the answer to a request that is not to be served, None to one that is."""


class Dispatcher:
    """The request table of one server.

    Args:
        role: Which declarations apply.
        handlers: Objects whose methods are marked with `handles`.
        barrier: Commits what handlers staged.
        later: `callLater` of the reactor: lets one commit serve all connections that its turn found ready.
        gate: Refuses requests while the server is behind.
        runs: Serves requests in a row before their handlers are asked.

    Raises:
        ValueError: A code is handled twice, or by a role that does not serve it.
    """

    def __init__(
        self,
        role: Role,
        handlers: Iterable[object],
        *,
        barrier: WriteBarrier | None = None,
        later: Later | None = None,
        gate: Gate | None = None,
        runs: Runs | None = None,
    ) -> None:
        self.role = role
        self._runs = runs
        self._gate = gate
        self._turn = Turn(barrier if barrier is not None else NoBarrier(), later)
        self._table: dict[int, tuple[type[Header], Handler]] = {}
        self._originals: dict[int, tuple[type[Header], Handler]] = {}
        """Of codes that others stand before."""
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
        other = Dispatcher(self.role, ())
        other._turn, other._gate, other._runs = self._turn, self._gate, self._runs
        dropped = frozenset(codes)
        other._table = {code: entry for code, entry in self._table.items() if code not in dropped}
        other.handled_by = {code: name for code, name in self.handled_by.items() if code not in dropped}
        return other

    def replace(self, code: int, stand_in: Callable[[Handler], Handler] | None) -> None:
        """Have somebody stand before the handler of a code, given that handler; None lets it stand alone again."""
        header, served_by = self._originals.setdefault(code, self._table[code])
        self._table[code] = header, served_by if stand_in is None else stand_in(served_by)

    def receive(self, connection: RemotingConnection, frames: list[Frame]) -> None:
        """Serve the frames of one read.

        Raises:
            WireError: A header does not parse; what came before it was served.
        """
        out: list[bytes] = []
        staged: list[tuple[Request, Staged]] = []
        error: WireError | None = None
        if self._gate is not None and self._gate.closing:
            frames = self._let_in(frames, self._gate, out)
        runs = self._runs
        place, ask_from = 0, 0 if runs is not None else len(frames)
        while place < len(frames):
            if place >= ask_from:
                count, ask_from, reply = runs.take(connection, frames, place)  # type: ignore[union-attr]
                if reply is not None:
                    staged.append((RunOfRequests.of(connection), reply))
                    place += count
                    continue
            frame = frames[place]
            place += 1
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
                settle(request, result, out)
        if staged:
            self._turn.add(connection, staged, out, len(frames), at_once=error is not None)
        elif out:
            connection.send(b"".join(out))
        if error is not None:
            raise error

    @staticmethod
    def _let_in(frames: list[Frame], gate: Gate, out: list[bytes]) -> list[Frame]:
        """Answer those that are refused; give the others, and all from the first whose header does not parse."""
        let_in: list[Frame] = []
        for place, frame in enumerate(frames):
            try:
                request = _decode(frame)
            except WireError:
                return let_in + frames[place:]
            refused = None if request.flag & FLAG_RESPONSE else gate.refuses(request, len(frames) - place - 1)
            if refused is None:
                let_in.append(frame)
            else:
                out.append(encode_reply(request.opaque, refused))
        return let_in

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
            return unexpected(request, cause)


def _decode(frame: Frame) -> Request:
    return decode_command(frame, Request)
