"""Timer messages as they are read from the log, and as they are put to where they go next.

Source: `TimerMessageStore.convert`, `doPut` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from twisted.logger import Logger

from rmqd.store.errors import MessageIllegal, StoreError
from rmqwire.errors import MalformedMessage
from rmqwire.hashing import tags_code
from rmqwire.message import decode_properties, decode_record, encode_properties, message_keys

from .names import TIMER_TOPIC
from .timer import DELETE_KEY, DEQUEUE_MS, ENQUEUE_MS, OUT_MS, REAL_QUEUE_ID, REAL_TOPIC, ROLL_TIMES, java_long

if TYPE_CHECKING:
    from rmqd.store.messagestore import MessageStore

    from .stats import BrokerStats

_log = Logger()

NEVER_ENQUEUED_MS = 2**63 - 1
"""The enqueue time of a message that was due already when the timer took it."""


class TimerMessage:
    """One message of the timer's queue.

    Args:
        record: Its bytes in the log.

    Raises:
        MalformedMessage: It cannot be read, or says not where it goes or when: not the broker put it there.

    Attributes:
        stored: The record.
        due_ms: The time of its slot.
        topic: The real topic.
        queue_id: The real queue.
        queue_offset: In the timer's queue.
    """

    def __init__(self, record: bytes) -> None:
        self.stored = decode_record(record)
        self.properties = decode_properties(self.stored.properties)
        due_ms = java_long(self.properties.get(OUT_MS))
        topic, queue_id = self.properties.get(REAL_TOPIC), self.properties.get(REAL_QUEUE_ID, "")
        if due_ms is None or not topic or not (queue_id.isascii() and queue_id.isdigit()):
            raise MalformedMessage(f"no timer message: due {due_ms}, for {topic!r}, queue {queue_id!r}")
        self.due_ms = due_ms
        self.topic = topic
        self.queue_id = int(queue_id)
        self.queue_offset = self.stored.queue_offset

    @property
    def delete_key(self) -> str | None:
        """What names the message that this one takes back; None for all others."""
        return self.properties.get(DELETE_KEY)

    @property
    def unique_key(self) -> str:
        """Its own name."""
        return self.properties.get("UNIQ_KEY", "")

    @property
    def counts(self) -> bool:
        """Whether its topic's count has it. One that came too late, and was put on at once, is not counted."""
        return self.properties.get(ENQUEUE_MS) != str(NEVER_ENQUEUED_MS)


class NotPut(Exception):
    """A message can go nowhere now; it is to be tried again."""


Put = tuple[TimerMessage, int, bool]
"""A message, the time when the timer took it, and whether it is not due yet and goes behind the others in the timer's
queue once more."""


class Puts(Protocol):
    """Where timer messages go.

    Attributes:
        log_end: The end of what was stored here.
    """

    log_end: int

    async def put_all(self, puts: list[Put]) -> tuple[int, StoreError | NotPut | None]:
        """Put messages, in order.

        Returns:
            How many are done with, stored or impossible to store, and why the next is not, when it is not.
        """


class TimerPuts:
    """Stores timer messages.

    Args:
        store: Where to.
        stats: Counts puts.
        wall_clock_ms: Stamps them.

    Attributes:
        log_end: The end of what was staged.
    """

    def __init__(self, store: MessageStore, stats: BrokerStats, wall_clock_ms: Callable[[], int]) -> None:
        self._store = store
        self._stats = stats
        self._wall_clock_ms = wall_clock_ms
        self.log_end = 0

    async def put_all(self, puts: list[Put]) -> tuple[int, StoreError | NotPut | None]:
        """Store messages, outside of the dispatcher's turn. When the commit fails none of them is done with."""
        done = 0
        failed: StoreError | None = None
        for message, enqueued_ms, again in puts:
            try:
                self._stage(message, enqueued_ms, again)
            except MessageIllegal as cause:
                _log.error("timer: a message for {topic} is lost: {cause}", topic=message.topic, cause=cause)
            except StoreError as cause:
                failed = cause
                break
            done += 1
        try:
            self._store.commit()
        except StoreError as cause:
            return 0, cause
        return done, failed

    def _stage(self, message: TimerMessage, enqueued_ms: int, again: bool) -> None:
        topic, properties = as_put(message, enqueued_ms, again, self._wall_clock_ms())
        queue_id = 0 if again else message.queue_id
        stored = message.stored
        put = self._store.stage(
            topic,
            queue_id,
            stored.body,
            encode_properties(properties),
            tags_code=tags_code(properties.get("TAGS")),
            keys=message_keys(properties),
            flag=stored.flag,
            sys_flag=stored.sys_flag,
            born_timestamp=stored.born_timestamp,
            born_host=stored.born_host,
            reconsume_times=stored.reconsume_times,
        )
        self.log_end = put.physical_offset + put.size
        self._stats.put(topic, 1, put.size)


def as_put(message: TimerMessage, enqueued_ms: int, again: bool, now_ms: int) -> tuple[str, dict[str, str]]:
    """The topic and the properties that a message is put with."""
    properties = {**message.properties, ENQUEUE_MS: str(enqueued_ms), DEQUEUE_MS: str(now_ms)}
    if not again:
        return message.topic, properties
    times = java_long(properties.get(ROLL_TIMES)) or 0
    properties[ROLL_TIMES] = str(times + 1)
    return TIMER_TOPIC, properties
