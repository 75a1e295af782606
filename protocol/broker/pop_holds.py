"""Pops and notifications that wait for messages.

One queue of waiters for each topic, group and queue id (-1: any queue); an arrival wakes as many as messages came. A
waiter whose time is over is run once more, and answers that there was nothing. Waiters are never run from within an
arrival or an answer, but in the next turn of the reactor: they write to the store.

Source: `PopLongPollingService` (5.5.0).
"""

from __future__ import annotations

import enum
import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from .names import RETRY_PREFIX, pop_retry_topics

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from rmqd.protocol.remoting import RemotingConnection

    from .holds import ReadProperties
    from .pop_offsets import PopQueue
    from .selection import Selection

ANY_QUEUE = -1
_EARLY_MS = 50
"""A waiter's time is over so long before the time that it named."""


class Holding(enum.Enum):
    """What became of the wish to wait."""

    HELD = "held"
    FULL = "full"
    TIMEOUT = "timeout"
    NOT_ASKED = "not asked"


class HoldLimits(msgspec.Struct):
    """The options that holds follow.

    Attributes:
        queue_size: `popPollingSize`.
        whole_size: `maxPopPollingSize`.
        force_interval: `popLongPollingForceNotifyInterval`.
    """

    queue_size: int = 1024
    whole_size: int = 100_000
    force_interval: int = 800


class PopHold:
    """One that waits."""

    __slots__ = ("connection", "deadline_ms", "queue", "run", "selection")

    def __init__(
        self,
        queue: PopQueue,
        connection: RemotingConnection,
        deadline_ms: int,
        selection: Selection | None,
        run: Callable[[], None],
    ) -> None:
        self.queue = queue
        self.connection = connection
        self.deadline_ms = deadline_ms
        self.selection = selection
        self.run = run


class PopHolds:
    """All that wait.

    Args:
        clock: For deadlines.
        wall_clock_ms: What deadlines are told in.
        limits: How many may wait.
        read_properties: As for `PullHolds`.
        run_all: Runs waiters and commits what they stage.
        last_first: Wake the one with the latest deadline first.
    """

    def __init__(
        self,
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        limits: HoldLimits,
        read_properties: ReadProperties,
        *,
        last_first: bool = False,
    ) -> None:
        self._clock = clock
        self._wall_clock_ms = wall_clock_ms
        self._limits = limits
        self._read_properties = read_properties
        self._last_first = last_first
        self._queues: dict[PopQueue, dict[PopHold, None]] = {}
        self.topics: dict[str, dict[str, set[PopQueue]]] = {}
        """By topic, its retry topics too: by group, what is waited for."""
        self._connections: dict[RemotingConnection, set[PopHold]] = {}
        self._deadlines: list[tuple[int, int, PopHold]] = []
        self._numbers = itertools.count()
        self._size = 0
        self._timer: IDelayedCall | None = None
        self._timer_ms = 0
        self._woken: list[PopHold] = []
        self._stopped = False

    def __len__(self) -> int:
        return self._size

    def count(self, queue: PopQueue) -> int:
        """How many wait for a queue."""
        return len(self._queues.get(queue, ()))

    def hold(
        self,
        queue: PopQueue,
        connection: RemotingConnection,
        *,
        born_ms: int,
        poll_ms: int,
        selection: Selection | None,
        run: Callable[[], None],
    ) -> Holding:
        """Let a request wait.

        Args:
            queue: What it waits for.
            connection: When it is lost, the waiter is forgotten.
            born_ms: When the client sent it, by its clock.
            poll_ms: How long it may wait from then on.
            selection: Which messages wake it; None for all.
            run: Runs the request once more.
        """
        if poll_ms <= 0 or self._stopped:
            return Holding.NOT_ASKED
        now_ms = self._wall_clock_ms()
        deadline_ms = min(born_ms, now_ms) + poll_ms - _EARLY_MS
        if self._size >= self._limits.whole_size:
            return Holding.FULL
        if now_ms > deadline_ms:
            return Holding.TIMEOUT
        waiting = self._queues.get(queue)
        if waiting is not None and len(waiting) > self._limits.queue_size:
            return Holding.FULL
        if waiting is None:
            waiting = self._queues[queue] = {}
            for topic in (queue.topic, *pop_retry_topics(queue.topic, queue.group)):
                self.topics.setdefault(topic, {}).setdefault(queue.group, set()).add(queue)
        hold = PopHold(queue, connection, deadline_ms, selection, run)
        waiting[hold] = None
        self._size += 1
        mine = self._connections.get(connection)
        if mine is None:
            mine = self._connections[connection] = set()
            connection.on_lost.append(self._lost)
        mine.add(hold)
        heapq.heappush(self._deadlines, (deadline_ms, next(self._numbers), hold))
        self._set_timer()
        return Holding.HELD

    def arrived(self, topic: str, queue_id: int, next_offset: int, tags_codes: Sequence[int]) -> None:
        """Wake those whom what arrived concerns; arguments as for `PullHolds.arrived`.

        Without tags codes it is not known what came, nor how much: it wakes all, whatever they wait for.
        """
        groups = self.topics.get(topic)
        if groups is None:
            return
        count = len(tags_codes)
        interval = self._limits.force_interval
        force = not count or (interval > 0 and (next_offset - count) // interval != next_offset // interval)
        retry = topic.startswith(RETRY_PREFIX)
        arrived: list[Sequence[Mapping[str, str]] | None] = []

        def properties() -> Sequence[Mapping[str, str]] | None:
            if not arrived:
                arrived.append(self._read_properties(topic, queue_id, next_offset - count, count))
            return arrived[0]

        for queues in list(groups.values()):
            for queue in list(queues):
                if retry or queue.queue_id in (ANY_QUEUE, queue_id):
                    self._wake(queue, count, tags_codes, None if force else properties)

    def notify(self, queue: PopQueue) -> bool:
        """Wake one that waits for exactly this; say whether there was one."""
        return self._wake(queue, 1, (), None) > 0

    def notify_group(self, queue: PopQueue) -> bool:
        """Wake one that waits for any queue, or failing that, one that waits for this one."""
        return self.notify(queue._replace(queue_id=ANY_QUEUE)) or self.notify(queue)

    def release_all(self) -> None:
        """Run every waiter, so that no client waits for a broker that goes down; from now on nobody waits."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        everyone = [hold for waiting in self._queues.values() for hold in waiting]
        for hold in everyone:
            self._forget(hold)
        for hold in (*self._woken, *everyone):
            hold.run()
        self._woken.clear()

    def _wake(
        self,
        queue: PopQueue,
        count: int,
        tags_codes: Sequence[int],
        properties: Callable[[], Sequence[Mapping[str, str]] | None] | None,
    ) -> int:
        waiting = self._queues.get(queue)
        if not waiting:
            return 0
        chosen = []
        for hold in reversed(waiting) if self._last_first else waiting:
            if properties is None or _wanted(hold.selection, tags_codes, properties):
                chosen.append(hold)
                if len(chosen) == count:
                    break
        for hold in chosen:
            self._forget(hold)
        self._run_soon(chosen)
        return len(chosen)

    def _run_soon(self, holds: list[PopHold]) -> None:
        if not holds:
            return
        if not self._woken:
            self._clock.callLater(0, self._run_woken)
        self._woken += holds

    def _run_woken(self) -> None:
        woken, self._woken = self._woken, []
        for hold in woken:
            hold.run()

    def _set_timer(self) -> None:
        while self._deadlines and self._deadlines[0][2] not in self._queues.get(self._deadlines[0][2].queue, ()):
            heapq.heappop(self._deadlines)  # was woken or is gone
        if not self._deadlines:
            return
        deadline_ms = self._deadlines[0][0]
        if self._timer is not None:
            if self._timer_ms <= deadline_ms:
                return
            self._timer.cancel()
        self._timer_ms = deadline_ms
        delay_ms = max(0, deadline_ms + 1 - self._wall_clock_ms())
        self._timer = self._clock.callLater(delay_ms / 1000, self._time_is_over)

    def _time_is_over(self) -> None:
        self._timer = None
        now_ms = self._wall_clock_ms()
        due = []
        while self._deadlines and self._deadlines[0][0] < now_ms:
            hold = heapq.heappop(self._deadlines)[2]
            if hold in self._queues.get(hold.queue, ()):
                due.append(hold)
                self._forget(hold)
        for hold in due:
            hold.run()
        self._set_timer()

    def _forget(self, hold: PopHold) -> None:
        queue = hold.queue
        waiting = self._queues.get(queue)
        if waiting is None or hold not in waiting:
            return
        del waiting[hold]
        self._size -= 1
        mine = self._connections.get(hold.connection)
        if mine is not None:
            mine.discard(hold)
        if len(self._deadlines) > 2 * self._size + 1024:
            self._deadlines = [entry for entry in self._deadlines if entry[2] in self._queues.get(entry[2].queue, ())]
            heapq.heapify(self._deadlines)
        if waiting:
            return
        del self._queues[queue]
        for topic in (queue.topic, *pop_retry_topics(queue.topic, queue.group)):
            groups = self.topics[topic]
            groups[queue.group].discard(queue)
            if not groups[queue.group]:
                del groups[queue.group]
                if not groups:
                    del self.topics[topic]

    def _lost(self, connection: RemotingConnection) -> None:
        for hold in list(self._connections.pop(connection, ())):
            self._forget(hold)


def _wanted(
    selection: Selection | None,
    tags_codes: Sequence[int],
    properties: Callable[[], Sequence[Mapping[str, str]] | None],
) -> bool:
    if selection is None:
        return True
    if selection.accepts is not None:
        arrived = properties()
        return arrived is None or any(map(selection.accepts, arrived))
    tags = selection.tags
    return tags is None or any(((code & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000 in tags for code in tags_codes)
