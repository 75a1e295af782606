"""Whether to ask for events once more instead of sleeping until they come.

What it is for: a client that sends one request after the other answers an answer within some 0.1 ms. To sleep for
that long and to be woken costs more than half of such a request's time, on a virtual machine also most of its
processor's. So after answers to such a client that were followed at once, the reactor asks again for a moment before it
sleeps. What it must not do: spin where nothing comes, where many clients or threads would keep it awake for good, or
take the processor from somebody who needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

SHORT_S = 200e-6
"""Events within this time were worth waiting for awake."""
DISTURBED_S = 200e-6
"""Asking once takes 2 - 3 us. A thread of the client that is let in between takes some ten, which it would have taken
in any case; where it was this long, somebody else needs the processor."""
TRUSTED = 4
"""Short waits for the same connection, more than others, that it takes."""
TRUST_MAX = 16
OTHER_WAIT = 4
"""What a long wait, or one for somebody else, takes away."""
DISTRUST, DISTRUST_MAX = 32, 65_536
"""Short waits until it is tried again after a disturbance, at first and when each attempt meets another one."""
FORGIVEN_AFTER = 64
"""Waits awake that ended with events halve the distrust."""

WORTH_IT_PROCESSORS = 2

Poll = Callable[[float, int], list[tuple[int, int]]]


def processors(root: Path = Path("/sys/fs/cgroup")) -> float:
    """Return how many processors this process may use: those it may run on, or what its control group is allowed."""
    count = float(len(os.sched_getaffinity(0)))
    for quota_file, period_file in (("cpu.max", "cpu.max"), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota = (root / quota_file).read_text("ascii").split()[0]
            period = (root / period_file).read_text("ascii").split()[-1]
        except (OSError, IndexError):  # no such control, as outside a container
            continue
        if quota.isdigit() and period.isdigit() and int(period):  # "max" and -1: no limit
            count = min(count, int(quota) / int(period))
    return count


class ShortWait:
    """Waits for events, awake as long as that has paid lately.

    Args:
        given: processors that may be used; absent: as found out by `processors`.
    """

    __slots__ = ("_clock", "_distrust", "_give_way", "_good", "_trust", "_whose", "_worth_it")

    def __init__(
        self,
        *,
        given: float | None = None,
        clock: Callable[[], float] = perf_counter,
        give_way: Callable[[], None] = os.sched_yield,
    ) -> None:
        self._clock = clock
        self._give_way = give_way
        self._trust = 0
        self._distrust = DISTRUST
        self._good = 0
        self._whose = -1
        # on one processor who waits awake keeps the client from sending, and where time is rationed it is lost
        self._worth_it = (processors() if given is None else given) >= WORTH_IT_PROCESSORS

    def events(self, poll: Poll, timeout_s: float | None, most: int) -> list[tuple[int, int]]:
        """Return what `poll` has, as soon as it has something, or an empty list after `timeout_s`.

        Args:
            poll: takes seconds (negative: for ever) and how many events at most, as `select.epoll.poll`.
            timeout_s: absent: for ever.

        Raises:
            InterruptedError: as `poll` does.
        """
        if not self._worth_it or (timeout_s is not None and timeout_s <= 0):
            return poll(-1 if timeout_s is None else timeout_s, most)
        clock = self._clock
        begun = clock()
        events: list[tuple[int, int]] = []
        if self._trust >= TRUSTED:
            awake_s = SHORT_S if timeout_s is None else min(SHORT_S, timeout_s)
            events = self._awake(poll, begun, awake_s, most)
            if not events and timeout_s is not None:
                timeout_s = max(timeout_s - (clock() - begun), 0)
        if not events:
            events = poll(-1 if timeout_s is None else timeout_s, most)
        whose = events[0][0] if len(events) == 1 else -1
        if whose >= 0 and whose == self._whose and clock() - begun < SHORT_S:
            self._trust = min(self._trust + 1, TRUST_MAX)
        elif self._trust > 0:
            self._trust = max(self._trust - OTHER_WAIT, 0)
        self._whose = whose
        return events

    def not_alone(self) -> None:
        """Take note that the last events brought requests of several: who asks for much at once is no such client."""
        self._whose = -1

    def _awake(self, poll: Poll, begun: float, awake_s: float, most: int) -> list[tuple[int, int]]:
        clock, give_way = self._clock, self._give_way
        asked = begun
        while not (events := poll(0, most)):
            give_way()
            now = clock()
            if now - asked > DISTURBED_S:
                self._trust = -self._distrust
                self._distrust = min(self._distrust * 2, DISTRUST_MAX)
                return []
            if now - begun >= awake_s:
                return []
            asked = now
        self._good += 1
        if self._good >= FORGIVEN_AFTER:
            self._good = 0
            self._distrust = max(self._distrust // 2, DISTRUST)
        return events
