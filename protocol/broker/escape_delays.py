"""Delayed messages of a dead master, in the hands of the slave that stands in: they go to other masters when due.

Its progress is what the master fetches when it comes back. Source: `ScheduleMessageService.messageTimeUp` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from rmqd.store.reading import GetStatus
from rmqwire.errors import MalformedMessage
from rmqwire.message import StoredMessage, decode_properties, decode_record

from .delay import DELAY, REAL_TOPIC, SCHEDULE_TOPIC
from .escape_rounds import EscapeRounds
from .names import TRANS_HALF_TOPIC

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from rmqd.store.messagestore import MessageStore

    from .delay import DelayLevels
    from .delay_offsets import DelayOffsets
    from .escape import Escape

_log = Logger()

PAUSE_MS, RETRY_MS = 100, 1000
_BATCH = 32
_CLEARED = (DELAY, "TIMER_DELIVER_MS", "TIMER_DELAY_SEC")


class EscapedDelays(EscapeRounds):
    """Delivers delayed messages of an acting slave.

    Args:
        store: Read.
        levels: The table of levels.
        offsets: Progress by level.
        escape: Takes what is due.
        acting: Whether to deliver now.
        clock: For the rounds.
        wall_clock_ms: What messages are due by.
        run_in_thread: Reads.
    """

    def __init__(
        self,
        store: MessageStore,
        levels: DelayLevels,
        offsets: DelayOffsets,
        escape: Escape,
        acting: Callable[[], bool],
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        super().__init__(acting, clock, lambda: PAUSE_MS if self._problem is None else RETRY_MS, "delayed messages")
        self._store = store
        self._levels = levels
        self._offsets = offsets
        self._escape = escape
        self._wall_clock_ms = wall_clock_ms
        self._run_in_thread = run_in_thread

    async def _send_all(self) -> str | None:
        problem = None
        for level in self._levels.delays_ms:
            problem = await self._deliver(level) or problem
        return problem

    async def _deliver(self, level: int) -> str | None:
        """Send what is due of one level; say why it could not go on."""
        queue_id = level - 1
        while self._acting():
            offset = max(self._offsets.get(level), self._store.min_offset(SCHEDULE_TOPIC, queue_id))
            if offset >= self._store.max_offset(SCHEDULE_TOPIC, queue_id):
                return None
            read = self._store.get_messages
            found = await self._run_in_thread(read, SCHEDULE_TOPIC, queue_id, offset, _BATCH, allow_cold=True)
            if found.status is not GetStatus.FOUND:
                self._offsets.set(level, max(found.next_begin_offset, found.min_offset))
                return None
            for record in found.records:
                if not self._acting():
                    return None
                try:
                    message = decode_record(record)
                except MalformedMessage as cause:
                    _log.error("a delayed message of level {of}, left out: {cause}", of=level, cause=cause)
                    offset += 1
                    self._offsets.set(level, offset)
                    continue
                now_ms, due_ms = self._wall_clock_ms(), self._levels.deliver_at_ms(level, message.store_timestamp)
                if now_ms < due_ms <= now_ms + self._levels.delays_ms[level]:
                    return None
                problem = await self._send(message)
                if problem is not None:
                    return problem
                offset = message.queue_offset + 1
                self._offsets.set(level, offset)
        return None

    async def _send(self, message: StoredMessage) -> str | None:
        properties = decode_properties(message.properties)
        topic = properties.get(REAL_TOPIC)
        if topic is None or topic == TRANS_HALF_TOPIC:
            _log.error("a delayed message at {offset} names no real topic, left out", offset=message.physical_offset)
            return None
        for name in _CLEARED:
            properties.pop(name, None)
        return await self._escape.put(topic, message, properties)
