"""A job that is done in rounds: each begins some while after the one before has ended.

What it must not do: run two rounds at once, or leave one running when `stop` has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

_log = Logger()


class Rounds:
    """The rounds of one job.

    Args:
        clock: For the pauses.
        pause_ms: The pause before the next round, asked each time.
        job: One round. What it raises is logged, and the next round comes all the same.
        name: What a round does, for the log.
    """

    def __init__(
        self,
        clock: IReactorTime,
        pause_ms: Callable[[], int],
        job: Callable[[], Coroutine[Deferred[Any], Any, None]],
        name: str,
    ) -> None:
        self._clock = clock
        self._pause_ms = pause_ms
        self._job = job
        self._name = name
        self._timer: IDelayedCall | None = None
        self._round: Deferred[None] | None = None
        self._on_ended: list[Deferred[None]] = []
        self._stopped = False

    def begin(self) -> None:
        """Pause, then do the first round; also after `stop` has ended."""
        self._stopped = False
        self._pause()

    def _pause(self) -> None:
        self._timer = self._clock.callLater(self._pause_ms() / 1000, self._begin_round)

    def _begin_round(self) -> None:
        self._timer = None
        self._round = Deferred.fromCoroutine(self._job())
        self._round.addErrback(lambda failure: _log.failure("a round of {name} failed", failure, name=self._name))
        self._round.addCallback(self._ended_round)

    def _ended_round(self, _: object) -> None:
        self._round = None
        on_ended, self._on_ended = self._on_ended, []
        for ended in on_ended:
            ended.callback(None)
        if not self._stopped:
            self._pause()

    async def stop(self) -> None:
        """Begin no more rounds, and wait for the end of one that is under way."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._round is not None:
            ended: Deferred[None] = Deferred()
            self._on_ended.append(ended)
            await ended
