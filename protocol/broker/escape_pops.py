"""Pops from the slave that stands in for its master: check points and acknowledgements go to another master.

That master brings back what was not acknowledged, and reads it from here. What the dead master had popped comes back
from the slave's copy of its revive topic, into retry topics elsewhere. What it must not do: give out a message before
its check point is stored somewhere.

Source: `EscapeBridge.putMessageToSpecificQueue`, `PopReviveService.setShouldRunPopRevive` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import Deferred

from .escape_rounds import WhileActing
from .pop_log import Posted

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from .escape import Escape
    from .escape_rounds import Acting
    from .pop_service import PopService


class _Note(msgspec.Struct, frozen=True):
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

    def __init__(self, escape: Escape, is_acting: Acting, wall_clock_ms: Callable[[], int]) -> None:
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


def escaped_pops(pops: PopService, acting: Acting, clock: IReactorTime) -> WhileActing:
    """Have a slave bring popped messages back while it stands in.

    Args:
        pops: The slave's.
        acting: Whether it stands in now.
        clock: For the rounds.
    """

    async def begin() -> None:
        pops.begin_reviving()

    return WhileActing(begin, pops.end_reviving, lambda: pops.reviving, acting, clock, "popped messages")
