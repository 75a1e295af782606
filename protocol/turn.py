"""One commit for all that a turn of the reactor brought.

What it is for: a read of many requests is committed at once and answered. Where many connections bring one request
each, the first ones wait until the turn has read from all of them: one write to the log then serves them together.
What it must not do: acknowledge what the store has not committed, whoever called the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from twisted.logger import Logger

from rmqwire.command import FLAG_ONEWAY

from .answering import settle, unexpected

if TYPE_CHECKING:
    from .dispatch import Request
    from .remoting import RemotingConnection
    from .replies import Result, Staged

_log = Logger()

Later = Callable[..., Any]
"""`(delay in s, function)`, as `IReactorTime.callLater`."""

_SAME_TURN_S = 0.0001
"""Reads of two connections so near to each other are of one turn: nothing waited in between."""
_STAGED_MAX = 2048
"""Requests that wait for one commit at most."""
_READ_MAX_BYTES = 4 * 1024 * 1024
"""Of the requests that wait for one commit at most: until then all of them are in memory, and their records too."""


class WriteBarrier(Protocol):
    """What makes staged writes stand, once for all requests of a turn."""

    def commit(self) -> None:
        """Write what was staged.

        Raises:
            Exception: Nothing of it may be acknowledged.
        """

    def when_committed(self, told: Callable[[Exception | None], None]) -> None:
        """Tell, once, how the next commit ended: with None or with its error."""


class NoBarrier:
    """For servers that store nothing per request."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[Exception | None], None]] = []

    def commit(self) -> None:
        """Tell that all is well."""
        waiting, self._waiting = self._waiting, []
        for told in waiting:
            told(None)

    def when_committed(self, told: Callable[[Exception | None], None]) -> None:
        """Tell at the next commit."""
        self._waiting.append(told)


class Turn:
    """Requests that wait for the commit of this turn.

    Args:
        barrier: What they wait for.
        later: The reactor's `callLater`; None commits after every read.
    """

    def __init__(self, barrier: WriteBarrier, later: Later | None = None) -> None:
        self._barrier = barrier
        self._later = later
        self._entries: list[tuple[RemotingConnection, list[tuple[Request, Staged]], list[bytes]]] = []
        self._count = 0
        self._bytes = 0
        self._ends_later = False
        self._crowded = False
        self._last = 0  # which connection, not itself: it may be gone, with all that it did not send
        self._last_at = -1.0

    def add(
        self,
        connection: RemotingConnection,
        staged: list[tuple[Request, Staged]],
        out: list[bytes],
        count: int,
        *,
        at_once: bool = False,
    ) -> None:
        """Answer the requests of one read when what they staged stands.

        Args:
            connection: Whose read it was.
            staged: The requests that have staged something.
            out: Answers of the same read that are ready; they leave together with the others.
            count: Requests of the read.
            at_once: Commit before this returns.
        """
        if not self._entries:
            self._barrier.when_committed(self._finish)
        self._entries.append((connection, staged, out))
        self._count += count
        if self._later is not None and not at_once and self._count < _STAGED_MAX and self._has_room(connection):
            if self._ends_later:
                return
            now = connection.last_heard
            crowded = self._crowded or (id(connection) != self._last and now - self._last_at < _SAME_TURN_S)
            self._last, self._last_at = id(connection), now
            if crowded:
                self._ends_later = True
                self._later(0, self._end)
                return
        self._commit()

    def _has_room(self, connection: RemotingConnection) -> bool:
        self._bytes += connection.request_bytes
        return self._bytes < _READ_MAX_BYTES

    def _end(self) -> None:
        self._ends_later = False
        self._crowded = len(self._entries) > 1
        if self._entries:
            self._commit()

    def _commit(self) -> None:
        try:
            self._barrier.commit()
        except Exception as cause:  # noqa: BLE001  every staged request has to be answered
            _log.failure("the store could not write {count} requests", count=self._count)
            self._finish(cause)

    def _finish(self, failed: Exception | None) -> None:
        """Answer everybody; whoever committed, and be it a delivery of delayed messages, tells by this."""
        entries, self._entries = self._entries, []
        self._count = self._bytes = 0
        for connection, staged, out in entries:
            for request, reply in staged:
                result: Result
                try:
                    result = reply.finish(failed)
                except Exception as cause:  # noqa: BLE001  one request must not take others with it
                    result = unexpected(request, cause)
                if result.__class__ is bytes and not request.flag & FLAG_ONEWAY:
                    out.append(result)
                elif result is not None:
                    settle(request, result, out)
            if out:
                connection.send(b"".join(out))
