"""What the services of an acting slave have in common: they send on in rounds, as long as it acts.

What it must not do: say the same problem in every round, or send when the master is back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from .rounds import Rounds

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

_log = Logger()


class EscapeRounds:
    """Rounds of one service.

    Args:
        acting: Whether to send now.
        clock: For the pauses.
        pause_ms: Between two rounds.
        what: What is sent on, for the log.
    """

    def __init__(self, acting: Callable[[], bool], clock: IReactorTime, pause_ms: Callable[[], int], what: str) -> None:
        self._acting = acting
        self._what = what
        self._problem: str | None = None
        self._rounds = Rounds(clock, pause_ms, self._round, f"sending {what} on")

    def begin(self) -> None:
        """Send while this slave acts."""
        self._rounds.begin()

    async def stop(self) -> None:
        """Send no more."""
        self._acting = lambda: False
        await self._rounds.stop()

    async def _round(self) -> None:
        problem = await self._send_all() if self._acting() else None
        if problem is not None and problem != self._problem:
            _log.warn("{what} wait: {problem}", what=self._what, problem=problem)
        self._problem = problem

    async def _send_all(self) -> str | None:
        """Send what is there; say why something could not go on."""
        raise NotImplementedError
