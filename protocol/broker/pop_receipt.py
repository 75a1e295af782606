"""What a popped message is acknowledged by: its receipt (property POP_CK), and the reply fields that it is made from.

Source: `ExtraInfoUtil`, `KeyBuilder` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError

from .names import RETRY_PREFIX, pop_retry_topics

POP_CK = "POP_CK"
ORDERED_REVIVE_QUEUE_ID = 999
"""Stands in receipts of ordered pops, which have no check point."""

NORMAL, RETRY_V1, RETRY_V2 = "0", "1", "2"


class Receipt(NamedTuple):
    """A receipt.

    Attributes:
        start_offset: Where the pop began in its queue.
        pop_time: When it was, milliseconds since 1970.
        invisible_time_ms: How long its messages are hidden.
        revive_queue_id: Where its check point is.
        broker_name: Whose it is.
    """

    start_offset: int
    pop_time: int
    invisible_time_ms: int
    revive_queue_id: int
    broker_name: str

    @property
    def ordered(self) -> bool:
        """Whether it comes from an ordered pop."""
        return self.revive_queue_id == ORDERED_REVIVE_QUEUE_ID

    @property
    def revive_time(self) -> int:
        """When its messages come back."""
        return self.pop_time + self.invisible_time_ms


def read_receipt(text: str, *, broker_first: bool = False) -> Receipt:
    """Read a receipt: `startOffset popTime invisibleTime reviveQueueId retryFlag brokerName queueId [queueOffset]`.

    Args:
        text: The receipt.
        broker_first: Miss the broker's name first when there is too little, as Java does for acknowledgements.

    Raises:
        RequestError: It is none; answered SYSTEM_ERROR, as Java does.
    """
    words = text.split(" ")
    while len(words) > 1 and not words[-1]:  # as Java's split
        words.pop()
    if len(words) < 4 and not broker_first:
        raise _illegal(f"getReviveQid fail, extraInfoStrs length {len(words)}")
    if len(words) < 6:
        raise _illegal(f"getBrokerName fail, extraInfoStrs length {len(words)}")
    revive_queue_id = _number(words[3])
    start_offset, pop_time, invisible_time_ms = (_number(word) for word in words[:3])
    return Receipt(start_offset, pop_time, invisible_time_ms, revive_queue_id, words[5])


def write_receipt(receipt: Receipt, topic: str, queue_id: int, queue_offset: int) -> str:
    """Write the receipt of one message; `topic` is the one it was popped from."""
    return (
        f"{receipt.start_offset} {receipt.pop_time} {receipt.invisible_time_ms} {receipt.revive_queue_id}"
        f" {retry_flag(topic)} {receipt.broker_name} {queue_id} {queue_offset}"
    )


def _illegal(what: str) -> RequestError:
    return RequestError(f"java.lang.IllegalArgumentException: {what}", ResponseCode.SYSTEM_ERROR)


def _number(word: str) -> int:
    digits = word[1:] if word[:1] in ("-", "+") else word
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
        raise RequestError(f'java.lang.NumberFormatException: For input string: "{word}"', ResponseCode.SYSTEM_ERROR)
    return int(word)


def retry_flag(topic: str) -> str:
    """Tell a popped topic's kind: itself, its retry topic of version 1, or that of version 2."""
    if not topic.startswith(RETRY_PREFIX):
        return NORMAL
    return RETRY_V2 if "+" in topic else RETRY_V1


def topic_of_flag(flag: str | None, topic: str, group: str) -> str:
    """Name the topic that a flag means.

    Raises:
        RequestError: There is no such flag.
    """
    second, first = pop_retry_topics(topic, group)
    if flag == NORMAL:
        return topic
    if flag == RETRY_V1:
        return first
    if flag == RETRY_V2:
        return second
    raise _illegal("getRetry fail, format is wrong")


def normal_topic(topic: str, group: str) -> str:
    """Name the topic whose retry topic this is; a topic that is none stays."""
    for separator in "+_":
        prefix = f"{RETRY_PREFIX}{group}{separator}"
        if topic.startswith(prefix):
            return topic[len(prefix) :]
    return topic


def start_offset_info(topic: str, queue_id: int, start_offset: int) -> str:
    """One part of `startOffsetInfo`."""
    return f"{retry_flag(topic)} {queue_id} {start_offset}"


def message_offset_info(topic: str, queue_id: int, offsets: Iterable[int]) -> str:
    """One part of `msgOffsetInfo`."""
    return f"{retry_flag(topic)} {queue_id} {','.join(map(str, offsets))}"


def order_count_info(topic: str, queue_id: int, counts: dict[int, int], message_count: int) -> str:
    """One queue's parts of `orderCountInfo`: of each message taken before, and the least count of all.

    Args:
        counts: By queue offset, how often a message was taken before.
        message_count: How many messages were taken now; those that are not in `counts` count 0.
    """
    flag = retry_flag(topic)
    least = min(counts.values()) if counts and len(counts) == message_count else 0
    parts = [f"{flag} qo{queue_id}%{offset} {count}" for offset, count in counts.items()]
    parts.append(f"{flag} {queue_id} {least}")
    return ";".join(parts)
