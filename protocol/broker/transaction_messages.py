"""Half messages: how a message becomes one, and what is made of it: the committed message, copies, the check.

What it is for: from properties to properties, and from a record to what is stored or sent next. What it must not do:
read, decide when, or keep anything.

A half message is a message of `RMQ_SYS_TRANS_HALF_TOPIC` with its real topic and queue in its properties. Its
transaction flags are cleared, so that it has a place in that topic's queue; the committed message has flag 0x8 and
tells where its half is. Source: `TransactionalMessageBridge`, `TransactionalMessageUtil`, `EndTransactionProcessor`
(5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqwire.errors import MalformedMessage
from rmqwire.hashing import tags_code
from rmqwire.message import (
    SYS_FLAG_TRANSACTION_COMMIT,
    SYS_FLAG_TRANSACTION_MASK,
    StoredMessage,
    decode_properties,
    decode_record,
    encode_properties,
    message_keys,
)

from .delay import REAL_QUEUE_ID, REAL_TOPIC, DelayLevels, delay_level
from .names import TRANS_CHECK_MAX_TIME_TOPIC, TRANS_HALF_TOPIC
from .retold import retold

if TYPE_CHECKING:
    from rmqd.store.messagestore import MessageStore, StagedPut

TRAN_MSG, PRODUCER_GROUP, UNIQ_KEY = "TRAN_MSG", "PGROUP", "UNIQ_KEY"
CHECK_TIMES = "TRANSACTION_CHECK_TIMES"
IMMUNITY_S = "CHECK_IMMUNITY_TIME_IN_SECONDS"
PREPARED_QUEUE_OFFSET = "TRAN_PREPARED_QUEUE_OFFSET"

_TRANSACTION_ID = "__transactionId__"
_QUEUE_ID_MAX = 0x7FFFFFFF


def opens_transaction(properties: dict[str, str], reconsume_times: int) -> bool:
    """Whether a message that is sent begins a transaction.

    A message on its way to a retry still has the property in clients before 4.6.1, and is no half message.
    """
    if properties.get(TRAN_MSG, "").lower() != "true":
        return False
    return not (reconsume_times > 0 and delay_level(properties) > 0)


def half_text(text: str, topic: str, queue_id: int, properties: dict[str, str], unique_key: str) -> str:
    """Write the property text of a half message.

    Args:
        text: The text that would be stored, the broker's additions in it.
        topic: Where the message is to go.
        queue_id: The queue there.
        properties: What the client sent.
        unique_key: Which is the transaction's id too.
    """
    added = {_TRANSACTION_ID: unique_key, REAL_TOPIC: topic, REAL_QUEUE_ID: str(queue_id)}
    if added.keys().isdisjoint(properties):
        return text + encode_properties(added).decode()
    return encode_properties({**decode_properties(text.encode()), **added}).decode()


class HalfMessage:
    """A stored message that has a real topic: a half message, or one that was given up.

    Attributes:
        message: The record.
        properties: Its properties.
        real_topic: Where it goes when it is committed.
        real_queue_id: The queue there.
    """

    __slots__ = ("message", "properties", "real_queue_id", "real_topic")

    def __init__(self, record: bytes) -> None:
        """Read a record.

        Raises:
            MalformedMessage: It is no record, or names no real topic and queue.
        """
        self.message: StoredMessage = decode_record(record)
        self.properties = decode_properties(self.message.properties)
        topic, queue_id = self.properties.get(REAL_TOPIC), self.properties.get(REAL_QUEUE_ID, "")
        if not topic or not (queue_id.isascii() and queue_id.isdigit() and int(queue_id) <= _QUEUE_ID_MAX):
            raise MalformedMessage(f"{self.message.topic} at {self.message.physical_offset}: no real topic and queue")
        self.real_topic = topic
        self.real_queue_id = int(queue_id)

    @property
    def is_half(self) -> bool:
        """Whether it lies where half messages lie."""
        return self.message.topic == TRANS_HALF_TOPIC

    @property
    def producer_group(self) -> str | None:
        """Who can say what became of the transaction."""
        return self.properties.get(PRODUCER_GROUP)

    @property
    def waits(self) -> bool:
        """Whether its producer wants answers to wait for the disk and for slaves; the end of the transaction too."""
        return self.properties.get("WAIT") != "false"

    @property
    def check_times(self) -> int:
        """How often it was checked; text that is no number counts as -1, as in Java."""
        text = self.properties.get(CHECK_TIMES)
        return 0 if text is None else _number(text)

    @property
    def prepared_queue_offset(self) -> int | None:
        """In a copy of a message that is immune: the queue offset that its producer knows."""
        text = self.properties.get(PREPARED_QUEUE_OFFSET)
        return None if text is None else _number(text)

    def immunity_ms(self, timeout_ms: int) -> int | None:
        """How long after its birth a message that asks for it is not checked; None when it does not ask."""
        text = self.properties.get(IMMUNITY_S)
        if text is None:
            return None
        seconds = _number(text)
        return timeout_ms if seconds == -1 else seconds * 1000

    def commit_limit_ms(self, timeout_ms: int) -> int | None:
        """Until when its producer may end a message that asks for immunity without having been checked."""
        text = self.properties.get(IMMUNITY_S)
        return None if not text else max(_number(text) * 1000, timeout_ms)

    def stage_committed(self, store: MessageStore, levels: DelayLevels) -> tuple[str, StagedPut]:
        """Put the message where its consumers find it; the topic it went to, and its place."""
        properties = {name: value for name, value in self.properties.items() if name not in (REAL_TOPIC, REAL_QUEUE_ID)}
        topic, queue_id, text = self.real_topic, self.real_queue_id, encode_properties(properties).decode()
        aside = levels.put_aside(topic, queue_id, properties, text)
        if aside is not None:
            topic, queue_id, text = aside
        sys_flag = self.message.sys_flag & ~SYS_FLAG_TRANSACTION_MASK | SYS_FLAG_TRANSACTION_COMMIT
        put = self._stage(
            store, topic, queue_id, properties, text.encode(), sys_flag, prepared=self.message.physical_offset
        )
        return topic, put

    def stage_checked(self, store: MessageStore) -> StagedPut:
        """Put it behind the others once more, with one more check counted."""
        self.properties[CHECK_TIMES] = str(self.check_times + 1)
        return self._stage_half(store)

    def stage_immune(self, store: MessageStore) -> StagedPut:
        """Put it behind the others once more, unchecked; the copy tells which offset the producer knows.

        Unlike Java, which counts such a copy as a check and so may give a message up that was never checked.
        """
        self.properties.setdefault(PREPARED_QUEUE_OFFSET, str(self.message.queue_offset))
        return self._stage_half(store)

    def stage_resumed(self, store: MessageStore) -> StagedPut:
        """Put it among the half messages, as if it had never been checked."""
        self.properties[CHECK_TIMES] = "0"
        return self._stage_half(store)

    def stage_given_up(self, store: MessageStore) -> StagedPut:
        """Put it, unchanged, where an administrator finds what nobody knows the outcome of."""
        message = self.message
        return self._stage(store, TRANS_CHECK_MAX_TIME_TOPIC, 0, self.properties, message.properties, message.sys_flag)

    def _stage_half(self, store: MessageStore) -> StagedPut:
        queue_id = self.message.queue_id if self.is_half else 0
        properties = encode_properties(self.properties)
        return self._stage(store, TRANS_HALF_TOPIC, queue_id, self.properties, properties, self.message.sys_flag)

    def _stage(
        self,
        store: MessageStore,
        topic: str,
        queue_id: int,
        properties: dict[str, str],
        text: bytes,
        sys_flag: int,
        *,
        prepared: int = 0,
    ) -> StagedPut:
        # Unlike Java, copies keep `flag` and `reconsumeTimes`: what a producer sent is what a consumer gets.
        message = self.message
        return store.stage(
            topic,
            queue_id,
            message.body,
            text,
            tags_code=tags_code(properties.get("TAGS")),
            keys=message_keys(properties),
            flag=message.flag,
            sys_flag=sys_flag,
            born_timestamp=message.born_timestamp,
            born_host=message.born_host,
            reconsume_times=message.reconsume_times,
            prepared_transaction_offset=prepared,
        )

    def check_body(self, put: StagedPut) -> bytes:
        """Write the record that a check (39) carries: the copy's offsets, the real topic and queue."""
        properties = encode_properties(self.properties)
        return retold(
            self.message,
            self.real_topic,
            self.real_queue_id,
            properties,
            queue_offset=put.queue_offset,
            physical_offset=put.physical_offset,
        )


def _number(text: str) -> int:
    """A Java long; -1 for text that is none."""
    try:
        number = int(text)
    except ValueError:
        return -1
    return number if text.isascii() and -(1 << 63) <= number < 1 << 63 and "_" not in text else -1
