"""Deliver delayed messages when their time has come.

One queue of `SCHEDULE_TOPIC_XXXX` per level, in order of time by construction: only the head of each queue has to be
watched, and the time it is due is remembered, so that a waiting queue costs no read. Progress is kept in
`config/delayOffset.json`; what was delivered after the last save is delivered again after a crash, never lost.
Source: `ScheduleMessageService` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from rmqd.store.errors import ColdRead, StoreError
from rmqd.store.reading import GetStatus
from rmqwire.errors import MalformedMessage
from rmqwire.hashing import tags_code
from rmqwire.message import StoredMessage, decode_properties, decode_record, message_keys

from .delay import REAL_QUEUE_ID, REAL_TOPIC, SCHEDULE_TOPIC, DelayLevels

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.store.messagestore import MessageStore
    from rmqd.store.reading import GetResult

    from .delay_offsets import DelayOffsets

_log = Logger()

TICK_S = 0.1
"""How often due messages are looked for; the official broker polls as often."""

_BATCH = 32
_BATCHES_PER_TICK = 32
_RETRY_AFTER_MS = 1000
_HALF_TOPIC = "RMQ_SYS_TRANS_HALF_TOPIC"


class DelayedDelivery:
    """Moves due messages to their real queues.

    Args:
        store: Read from and put to.
        levels: The table of levels.
        offsets: Progress by level.
        wall_clock_ms: What messages are due by.
        run_in_thread: Reads what is not in memory.
    """

    def __init__(
        self,
        store: MessageStore,
        levels: DelayLevels,
        offsets: DelayOffsets,
        wall_clock_ms: Callable[[], int],
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self._store = store
        self._levels = levels
        self._offsets = offsets
        self._wall_clock_ms = wall_clock_ms
        self._run_in_thread = run_in_thread
        self._due_ms: dict[int, int] = {}
        """By level: nothing has to be looked at before this time."""
        self._reading: dict[int, object] = {}
        """By level: the read of pages that are not in memory which is under way."""
        self._stopped = True
        self._staged: list[tuple[str, int]] = []
        self.on_delivered: Callable[[int, str, int], None] = lambda level, topic, size_bytes: None
        """Told level, topic and size of each message that was delivered."""

    def begin(self) -> None:
        """Bring the stored progress into what the queues hold, and deliver; also after `stop`."""
        self._stopped = False
        self._due_ms.clear()
        self._reading.clear()
        for level in self._levels.delays_ms:
            first = self._store.min_offset(SCHEDULE_TOPIC, level - 1)
            end = self._store.max_offset(SCHEDULE_TOPIC, level - 1)
            self._offsets.set(level, min(max(self._offsets.get(level), first), end))

    def stop(self) -> None:
        """Deliver no more."""
        self._stopped = True

    def tick(self) -> None:
        """Deliver what is due."""
        if self._stopped:
            return
        now_ms = self._wall_clock_ms()
        for level in self._levels.delays_ms:
            if self._due_ms.get(level, 0) <= now_ms and level not in self._reading:
                self._deliver_level(level)

    def _deliver_level(self, level: int) -> None:
        for _ in range(_BATCHES_PER_TICK):
            offset = self._offsets.get(level)
            if offset >= self._store.max_offset(SCHEDULE_TOPIC, level - 1):
                return
            try:
                found = self._store.get_messages(SCHEDULE_TOPIC, level - 1, offset, _BATCH)
            except ColdRead:
                self._read_cold(level, offset)
                return
            except StoreError as cause:
                self._failed(level, cause)  # the other levels go on
                return
            if not self._take(level, offset, found):
                return

    def _read_cold(self, level: int, offset: int) -> None:
        mark = self._reading[level] = object()
        read = self._run_in_thread(self._store.get_messages, SCHEDULE_TOPIC, level - 1, offset, _BATCH, allow_cold=True)
        read.addCallback(lambda found: self._is_wanted(level, mark) and self._take(level, offset, found))
        read.addErrback(lambda failure: self._failed(level, failure.value) if self._is_wanted(level, mark) else None)
        read.addCallback(lambda more: self._read(level, more is True) if self._is_wanted(level, mark) else None)
        read.addErrback(
            lambda failure: _log.failure("delivery of level {delay_level} failed", failure, delay_level=level)
        )

    def _is_wanted(self, level: int, mark: object) -> bool:
        return not self._stopped and self._reading.get(level) is mark  # else it is one of a time before `stop`

    def _read(self, level: int, more: bool) -> None:
        """Go on behind what came from disk: the next messages were perhaps read ahead with it."""
        del self._reading[level]
        if more:
            self._deliver_level(level)

    def _failed(self, level: int, cause: BaseException | None) -> None:
        self._due_ms[level] = self._wall_clock_ms() + _RETRY_AFTER_MS
        _log.error("delayed messages of level {delay_level} wait: {cause}", delay_level=level, cause=cause)

    def _take(self, level: int, offset: int, found: GetResult) -> bool:
        """Deliver the due ones of what was read; tell whether there may be more."""
        if found.status is not GetStatus.FOUND:
            self._offsets.set(level, max(found.next_begin_offset, found.min_offset))
            return found.next_begin_offset > offset
        self._staged.clear()
        taken, refused = self._take_due(level, found.records)
        try:
            self._store.commit()
        except StoreError as cause:
            self._failed(level, cause)
            return False
        for topic, size_bytes in self._staged:
            self.on_delivered(level, topic, size_bytes)
        # What is stored is not delivered again, although the one behind it was refused.
        self._offsets.set(level, offset + taken)
        if refused is not None:
            self._failed(level, refused)
        return taken == found.count

    def _take_due(self, level: int, records: list[bytes]) -> tuple[int, StoreError | None]:
        """Stage what is due; give how many were taken, and why the next was not if the store refused it."""
        now_ms = self._wall_clock_ms()
        for taken, record in enumerate(records):
            try:
                message = decode_record(record)
            except MalformedMessage as cause:
                _log.error(
                    "a delayed message of level {delay_level}, left out: {cause}", delay_level=level, cause=cause
                )
                continue
            due_ms = self._levels.deliver_at_ms(level, message.store_timestamp)
            # Due later than any message stored now would be: the clock was set back. As Java: deliver it.
            if now_ms < due_ms <= now_ms + self._levels.delays_ms[level]:
                self._due_ms[level] = due_ms
                return taken, None
            try:
                self._stage(message)
            except StoreError as cause:
                return taken, cause
        return len(records), None

    def _stage(self, message: StoredMessage) -> None:
        properties = decode_properties(message.properties)
        topic, queue_id = properties.get(REAL_TOPIC), properties.get(REAL_QUEUE_ID, "")
        if topic is None or not queue_id.isdigit() or topic == _HALF_TOPIC:
            _log.error("a delayed message at {offset} names no real queue, left out", offset=message.physical_offset)
            return
        put = self._store.stage(
            topic,
            int(queue_id),
            message.body,
            message.properties,
            tags_code=tags_code(properties.get("TAGS")),
            keys=message_keys(properties),
            flag=message.flag,
            sys_flag=message.sys_flag,
            born_timestamp=message.born_timestamp,
            born_host=message.born_host,
            reconsume_times=message.reconsume_times,
        )
        self._staged.append((topic, put.size))
