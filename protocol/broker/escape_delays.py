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
from .names import TRANS_HALF_TOPIC

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.store.messagestore import MessageStore

    from .delay import DelayLevels
    from .delay_offsets import DelayOffsets
    from .escape import Escape
    from .escape_rounds import Acting

_log = Logger()

PAUSE_MS, RETRY_MS = 100, 1000
_BATCH = 32
_CLEARED = (DELAY, "TIMER_DELIVER_MS", "TIMER_DELAY_SEC")


def pause_ms(waits: bool) -> int:
    """How long to pause between two rounds; longer where something could not go on."""
    return RETRY_MS if waits else PAUSE_MS


class EscapedDelays:
    """Delivers delayed messages of an acting slave.

    Args:
        store: Read.
        levels: The table of levels.
        offsets: Progress by level.
        escape: Takes what is due.
        wall_clock_ms: What messages are due by.
        run_in_thread: Reads.
    """

    def __init__(
        self,
        store: MessageStore,
        levels: DelayLevels,
        offsets: DelayOffsets,
        escape: Escape,
        wall_clock_ms: Callable[[], int],
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self._store = store
        self._levels = levels
        self._offsets = offsets
        self._escape = escape
        self._wall_clock_ms = wall_clock_ms
        self._run_in_thread = run_in_thread

    async def send_all(self, acting: Acting) -> str | None:
        """Send what is due; say why something could not go on."""
        problem = None
        for level in self._levels.delays_ms:
            problem = await self._deliver(level, acting) or problem
        return problem

    async def _deliver(self, level: int, acting: Acting) -> str | None:
        """Send what is due of one level; say why it could not go on."""
        queue_id = level - 1
        while acting():
            offset = max(self._offsets.get(level), self._store.min_offset(SCHEDULE_TOPIC, queue_id))
            if offset >= self._store.max_offset(SCHEDULE_TOPIC, queue_id):
                return None
            read = self._store.get_messages
            found = await self._run_in_thread(read, SCHEDULE_TOPIC, queue_id, offset, _BATCH, allow_cold=True)
            if found.status is not GetStatus.FOUND:
                self._offsets.set(level, max(found.next_begin_offset, found.min_offset))
                return None
            for record in found.records:
                if not acting():
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
