"""SYNC_MASTER: answers that wait until slaves have the message.

What the 3.x and 4.x manuals promise is the default: SEND_OK when a slave has it, SLAVE_NOT_AVAILABLE at once when no
slave is near enough, FLUSH_SLAVE_TIMEOUT when its acknowledgement is late; the message is stored in any case. The 5.x
options, where the file sets one of them, rule instead. What it must not do: acknowledge more than slaves reported.

Source: `CommitLog.handleHA`, `HAService.GroupTransferService` (4.7.0); `GroupTransferService` (5.3.4).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from rmqwire.codes import ResponseCode

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from .ha_master import HaService

_log = Logger()

EXPIRE_S = 0.1
_DRAIN_STEP_S = 0.02
LATE_LINE_S = 10.0
"""Late acknowledgements are logged no more often."""

RULING_KEYS = frozenset(
    ("inSyncReplicas", "minInSyncReplicas", "allAckInSyncStateSet", "enableAutoInSyncReplicas", "totalReplicas")
)
"""With any of these in the file the rules of 5.x hold."""

WhenSafe = Callable[[int], "Deferred[int] | None"]


class AckRules(msgspec.Struct):
    """Which slaves have to have a message, and how long that may take."""

    timeout_ms: int = 5_000
    """`syncFlushTimeout`; `slaveTimeout` where the 5.x options rule."""
    ruled: bool = False
    """One of `RULING_KEYS` is in the file."""
    in_sync_replicas: int = 1
    min_in_sync_replicas: int = 1
    auto: bool = False
    """`enableAutoInSyncReplicas`."""
    all_in_sync: bool = False
    """`allAckInSyncStateSet`; without a controller the slaves that are connected and near are the set."""
    refuses: bool = False
    """With `enableSlaveActingMaster`: a message for which there are too few replicas is not stored."""


class ReplicaAcks:
    """Tells when slaves have the log up to a position.

    Args:
        service: The slaves.
        clock: For the timeout.
        rules: What has to be waited for; may be replaced.
    """

    def __init__(self, service: HaService, clock: IReactorTime, rules: AckRules) -> None:
        self._service = service
        self._clock = clock
        self.rules = rules
        self._waiting: deque[tuple[int, int, float, Deferred[int]]] = deque()
        self._acked_max = 0
        self._unavailable: str | None = None
        self._late_line_at = -LATE_LINE_S
        self._expiry = LoopingCall(self.expire)
        self._expiry.clock = clock
        service.on_report = self._reported

    def start(self) -> None:
        """Begin to look for late acknowledgements."""
        self._expiry.start(EXPIRE_S, now=False)

    async def drained(self, grace_s: float = 1.0) -> None:
        """Wait until nobody waits, at most so long: the messages are stored, and slaves usually answer at once."""
        until = self._clock.seconds() + grace_s
        while self._waiting and self._clock.seconds() < until:
            pause: Deferred[None] = Deferred()
            self._clock.callLater(_DRAIN_STEP_S, pause.callback, None)
            await pause

    def stop(self) -> None:
        """Answer all who still wait."""
        if self._expiry.running:
            self._expiry.stop()
        self.give_up()

    def give_up(self) -> None:
        """Answer all who wait: nobody will acknowledge anything any more."""
        waiting, self._waiting = self._waiting, deque()
        for _, _, _, answer in waiting:
            answer.callback(ResponseCode.FLUSH_SLAVE_TIMEOUT)

    def when_replicated(self, position: int) -> Deferred[int] | None:
        """Wait until enough slaves have every byte before `position`.

        Returns:
            The response code, SUCCESS, SLAVE_NOT_AVAILABLE or FLUSH_SLAVE_TIMEOUT; None when nothing is to wait for.
        """
        needed = self._slaves_needed(position)
        if needed is None:
            return succeed(ResponseCode.SLAVE_NOT_AVAILABLE)
        if needed <= 0 or self._acked(needed) >= position:
            return None
        answer: Deferred[int] = Deferred()
        self._waiting.append((position, needed, self._clock.seconds() + self.rules.timeout_ms / 1000, answer))
        return answer

    def too_few(self) -> bool:
        """Whether fewer replicas are near than a message needs: it is refused before it is stored.

        Source: `CommitLog.asyncPutMessage`, `calcNeedAckNums` (5.3.4).
        """
        rules, near = self.rules, self._in_sync(self._service.store.max_physical_offset) + 1
        return self._replicas_needed(near) > near if rules.refuses else False

    def _replicas_needed(self, near: int) -> int:
        rules = self.rules
        if not rules.auto:
            return rules.in_sync_replicas
        return max(min(rules.in_sync_replicas, near), rules.min_in_sync_replicas)

    def why_unavailable(self, position: int) -> str | None:
        """Why no slave is near enough to wait for it; None when one is."""
        links = [link for link in self._service.links if link.ack_offset >= 0]
        if not links:
            return "no slave is connected"
        gap = position - max(self._acked_max, *(link.ack_offset for link in links))
        if gap >= self._service.settings.gap_bytes:
            nearest = max(links, key=lambda link: link.ack_offset)
            return (
                f"slave {nearest.peer} is {position - nearest.ack_offset} bytes behind, "
                f"haSlaveFallbehindMax is {self._service.settings.gap_bytes}"
            )
        return None

    def _slaves_needed(self, position: int) -> int | None:
        """How many slaves to wait for; None when there is none that could be waited for."""
        rules = self.rules
        if not rules.ruled:
            why = self.why_unavailable(position)
            if why != self._unavailable:
                self._unavailable = why
                if why is None:
                    _log.info("a slave is available again: sends wait for it")
                else:
                    _log.warn("sends are answered SLAVE_NOT_AVAILABLE: {why}", why=why)
            return 1 if why is None else None
        if rules.all_in_sync:
            return self._in_sync(position)
        return self._replicas_needed(self._in_sync(position) + 1) - 1  # the master is one of them

    def _in_sync(self, position: int) -> int:
        gap = self._service.settings.gap_bytes
        return sum(1 for link in self._service.links if link.ack_offset >= 0 and position - link.ack_offset < gap)

    def _acked(self, needed: int) -> int:
        """The position that so many slaves have reached."""
        if needed == 1:
            return self._acked_max
        reached = sorted((link.ack_offset for link in self._service.links), reverse=True)
        return reached[needed - 1] if len(reached) >= needed else -1

    def _reported(self, offset: int) -> None:
        self._acked_max = max(self._acked_max, offset)
        waiting = self._waiting
        while waiting and self._acked(waiting[0][1]) >= waiting[0][0]:
            waiting.popleft()[3].callback(ResponseCode.SUCCESS)

    def expire(self) -> None:
        """Answer those who waited too long."""
        now = self._clock.seconds()
        while self._waiting and self._waiting[0][2] <= now:
            position, needed, _, answer = self._waiting.popleft()
            if now - self._late_line_at >= LATE_LINE_S:
                self._late_line_at = now
                _log.warn(
                    "sends are answered FLUSH_SLAVE_TIMEOUT: {needed} of {slaves} should have {position} by now",
                    needed=needed,
                    slaves=", ".join(f"{link.peer} (has {link.ack_offset})" for link in self._service.links) or "none",
                    position=position,
                )
            answer.callback(ResponseCode.FLUSH_SLAVE_TIMEOUT)


def when_both(flushed: WhenSafe, replicated: WhenSafe) -> WhenSafe:
    """Wait for the disk and for slaves; of two failures the slaves' is told, as Java does."""

    def when_safe(position: int) -> Deferred[int] | None:
        waits = [wait for wait in (flushed(position), replicated(position)) if wait is not None]
        if len(waits) < 2:
            return waits[0] if waits else None
        return DeferredList(waits).addCallback(_worst)

    return when_safe


def _worst(results: list[tuple[bool, int]]) -> int:
    codes = [code for _, code in results if code != ResponseCode.SUCCESS]
    return codes[-1] if codes else ResponseCode.SUCCESS
