"""Pops from the slave that stands in for its master: check points and acknowledgements go to another master.

That master brings back what was not acknowledged, and reads it from here. What the dead master had popped comes back
from the slave's copy of its revive topic, into retry topics elsewhere. What it must not do: give out a message before
its check point is stored somewhere.

Source: `EscapeBridge.putMessageToSpecificQueue`, `PopReviveService.setShouldRunPopRevive` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from .escape_rounds import EscapeRounds
from .pop_log import Posted

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from .escape import Escape
    from .pop_service import PopService

LOOK_MS = 500


@dataclass(frozen=True, slots=True)
class _Note:
    """A message of a revive topic."""

    body: bytes
    born_timestamp: int
    flag: int = 0
    sys_flag: int = 0
    reconsume_times: int = 0


class EscapedRevives:
    """Sends check points and acknowledgements to another master.

    Args:
        escape: Sends.
        is_acting: Whether this slave stands in.
        wall_clock_ms: Stamps.
    """

    def __init__(self, escape: Escape, is_acting: Callable[[], bool], wall_clock_ms: Callable[[], int]) -> None:
        self._escape = escape
        self._is_acting = is_acting
        self._wall_clock_ms = wall_clock_ms

    @property
    def acting(self) -> bool:
        """Whether this slave stands in."""
        return self._is_acting()

    def post(self, topic: str, queue_id: int, body: bytes, properties: dict[str, str]) -> Posted:
        """Send one."""
        note = _Note(body, self._wall_clock_ms())
        return Posted(Deferred.fromCoroutine(self._escape.put(topic, note, properties, key=queue_id)))


class EscapedPops(EscapeRounds):
    """Has a slave bring popped messages back while it stands in.

    Args:
        pops: The slave's.
        acting: Whether it stands in now.
        clock: For the rounds.
    """

    def __init__(self, pops: PopService, acting: Callable[[], bool], clock: IReactorTime) -> None:
        super().__init__(acting, clock, lambda: LOOK_MS, "popped messages")
        self._pops = pops
        self._reviving = False

    async def _round(self) -> None:
        if self._acting() and not self._reviving:
            self._reviving = True
            self._pops.begin_reviving()
        elif not self._acting() and self._reviving:
            self._reviving = False
            await self._pops.end_reviving()
