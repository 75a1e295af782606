"""Answers to runs of sends that leave once their messages are safe: on disk, at slaves, or both.

What it is for: a commit serves runs of many connections, and what one of them waits for all wait for. They wait
together, for the end of what was committed, and are answered in one go: a wait of its own for each would cost as much
as the whole send. What it must not do: answer a message before the setting's promise holds for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from rmqd.protocol.remoting import RemotingConnection
    from rmqd.store.messagestore import MessageStore

    Answers = Callable[[int | BaseException], bytes]
    """Writes the answers of a run, given the code of messages that are stored, or why nobody can tell."""

_log = Logger()


class _Together:
    """Runs that wait for the same position of the log."""

    __slots__ = ("count", "position", "runs")

    def __init__(self, position: int) -> None:
        self.position = position
        self.runs: list[tuple[RemotingConnection, Answers]] = []
        self.count = 0


class SafeRuns:
    """Answers runs when they are safe.

    Args:
        store: Has committed what is waited for.
        when_safe: Gives a Deferred of the response code for a position of the log; None when nothing is to wait for.
        waits: Told how many messages more wait, less than none when some wait no longer.
    """

    def __init__(
        self,
        store: MessageStore,
        when_safe: Callable[[int], Deferred[int] | None],
        waits: Callable[[int], None],
    ) -> None:
        self._store = store
        self._when_safe = when_safe
        self._waits = waits
        self._open: _Together | None = None

    def answer(self, connection: RemotingConnection, end: int, count: int, answers: Answers) -> bytes | None:
        """Answer a committed run of `count` messages, the last of which ends at `end`.

        Returns:
            The answers, when nothing is to wait for; else None: they are sent to the connection in time.
        """
        if self._open is not None and end <= self._open.position:
            self._join(self._open, connection, count, answers)
            return None
        together = _Together(self._store.log.wrote_offset)
        wait = self._when_safe(together.position)
        if wait is None:
            return answers(0)
        self._open = together
        self._join(together, connection, count, answers)
        wait.addBoth(self._end, together)
        return None

    def want(self) -> None:
        """Have made safe what was committed, though nobody waits for it."""
        wait = self._when_safe(self._store.log.wrote_offset)
        if wait is not None:
            wait.addErrback(lambda _: None)  # the group commit has logged why, and told those who wait for the same

    def log_was_cut(self, end: int) -> None:
        """Let nobody join those who wait any more: what is written from here on waits for itself."""
        self._open = None

    def _join(self, together: _Together, connection: RemotingConnection, count: int, answers: Answers) -> None:
        together.runs.append((connection, answers))
        together.count += count
        self._waits(count)

    def _end(self, result: int | Failure, together: _Together) -> None:
        if together is self._open:
            self._open = None
        self._waits(-together.count)
        told = result if isinstance(result, int) else result.value
        assert told is not None
        for connection, answers in together.runs:
            try:
                connection.send(answers(told))
            except Exception:  # noqa: BLE001  one run must not take the answers of others with it
                _log.failure("the answers to a run of sends were lost")
