"""What the services of an acting slave have in common: they work as long as it acts, in rounds.

What it must not do: say the same problem in every round, or send when the master is back.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.logger import Logger

from .rounds import Rounds

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

_log = Logger()

LOOK_MS = 500

Acting: TypeAlias = Callable[[], bool]
"""Whether this slave stands in for its master now."""
SendAll: TypeAlias = "Callable[[Acting], Coroutine[Deferred[Any], Any, str | None]]"
"""Sends what is there, as long as its argument says so; says why something could not go on."""
Change: TypeAlias = "Callable[[], Coroutine[Deferred[Any], Any, None]]"


class EscapeRounds:
    """Sends messages on, round after round.

    Args:
        send_all: One round.
        acting: Whether to send now.
        clock: For the pauses.
        pause_ms: Between two rounds; given whether something could not go on.
        what: What is sent on, for the log.
    """

    def __init__(
        self, send_all: SendAll, acting: Acting, clock: IReactorTime, pause_ms: Callable[[bool], int], what: str
    ) -> None:
        self._send_all = send_all
        self._acting = acting
        self._what = what
        self._problem: str | None = None
        self._rounds = Rounds(clock, lambda: pause_ms(self._problem is not None), self._round, f"sending {what} on")

    def begin(self) -> None:
        """Send while this slave acts."""
        self._rounds.begin()

    async def stop(self) -> None:
        """Send no more."""
        self._acting = lambda: False
        await self._rounds.stop()

    async def _round(self) -> None:
        problem = await self._send_all(lambda: self._acting()) if self._acting() else None
        if problem is not None and problem != self._problem:
            _log.warn("{what} wait: {problem}", what=self._what, problem=problem)
        self._problem = problem


class WhileActing:
    """Has a service that a master has too work while the slave acts.

    Args:
        begin_work: Has it work.
        end_work: Has it work no more.
        works: Whether it does.
        acting: Whether it shall.
        clock: For the pauses.
        what: What it sends on, for the log.
    """

    def __init__(
        self,
        begin_work: Change,
        end_work: Change,
        works: Callable[[], bool],
        acting: Acting,
        clock: IReactorTime,
        what: str,
    ) -> None:
        self._begin_work = begin_work
        self._end_work = end_work
        self._works = works
        self._acting = acting
        self._rounds = Rounds(clock, lambda: LOOK_MS, self._look, f"sending {what} on")

    def begin(self) -> None:
        """Look whether this slave acts."""
        self._rounds.begin()

    async def stop(self) -> None:
        """Look no more; the service itself stays as it is."""
        await self._rounds.stop()

    async def _look(self) -> None:
        acting = self._acting()
        if acting != self._works():
            await (self._begin_work() if acting else self._end_work())
