"""Timer messages of a dead master, in the hands of the slave that stands in for it: they go to other masters when due.

The slave's own wheel tells what is due, as it would after its election. How far it came is what the master fetches when
it comes back. What it must not do: deliver while the master does; write the log of its master.

Source: `TimerMessageStore.setShouldRunningDequeue`, `EscapeBridge.putMessage` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rmqd.store.errors import StoreError

from .escape_rounds import WhileActing
from .names import REVIVE_TOPIC_PREFIX
from .timer_messages import NotPut, as_put

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from .escape import Escape
    from .escape_rounds import Acting
    from .timer_messages import Put
    from .timer_service import TimerService


class EscapedTimerPuts:
    """Sends what the timer delivers to other masters.

    Args:
        escape: Sends.
        wall_clock_ms: Stamps.
    """

    log_end = 0

    def __init__(self, escape: Escape, wall_clock_ms: Callable[[], int]) -> None:
        self._escape = escape
        self._wall_clock_ms = wall_clock_ms

    async def put_all(self, puts: list[Put]) -> tuple[int, StoreError | NotPut | None]:
        """Send messages, one after the other."""
        for done, (message, enqueued_ms, again) in enumerate(puts):
            topic, properties = as_put(message, enqueued_ms, again, self._wall_clock_ms())
            # Check points and their acknowledgements have to meet in one queue.
            key = message.queue_id if topic.startswith(REVIVE_TOPIC_PREFIX) else None
            problem = await self._escape.put(topic, message.stored, properties, key=key)
            if problem is not None:
                return done, NotPut(problem)
        return len(puts), None


def escaped_timers(timers: TimerService, puts: EscapedTimerPuts, acting: Acting, clock: IReactorTime) -> WhileActing:
    """Have the timer of a slave deliver while the slave stands in.

    Args:
        timers: The slave's.
        puts: Where to.
        acting: Whether it stands in now.
        clock: For the rounds.
    """
    return WhileActing(
        lambda: timers.lead(puts), timers.follow, lambda: not timers.follows, acting, clock, "timer messages"
    )
