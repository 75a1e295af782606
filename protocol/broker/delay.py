"""Delay levels: which there are, and how a message that has one is put aside.

Such a message goes to `SCHEDULE_TOPIC_XXXX`, queue `level - 1`, with its real topic and queue in its properties.
Source: `ScheduleMessageService.parseDelayLevel`, `HookUtils.transformDelayLevelMessage` (5.5.0).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rmqwire.errors import RequestError, RmqError
from rmqwire.message import encode_properties

from .timer import TIMER_PROPERTIES

if TYPE_CHECKING:
    from .timer import TimerRules

SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX"
DELAY, REAL_TOPIC, REAL_QUEUE_ID = "DELAY", "REAL_TOPIC", "REAL_QID"
PUT_ASIDE = TIMER_PROPERTIES | {DELAY}
"""A message with none of these properties is never put aside."""

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_UNKNOWN_LEVEL_MS = 1000
_INTEGER = re.compile(r"[+-]?[0-9]{1,10}").fullmatch


class BadDelayLevels(RmqError):
    """`messageDelayLevel` cannot be read."""


class DelayLevels:
    """The table of levels.

    Args:
        text: `messageDelayLevel`: durations like `1s`, `10m`, `2h`, `1d` between blanks; the first is level 1.

    Raises:
        BadDelayLevels: A word that is no duration.

    Attributes:
        timers: Judges messages that name a moment instead of a level.
    """

    def __init__(self, text: str) -> None:
        self.timers: TimerRules | None = None
        self.delays_ms: dict[int, int] = {}
        for level, word in enumerate(text.split(), 1):
            number, unit = word[:-1], _UNITS_MS.get(word[-1:])
            if unit is None or not (number.isascii() and number.isdigit()):
                raise BadDelayLevels(f"messageDelayLevel: {word!r} is no duration such as 10s, 5m, 2h or 1d")
            self.delays_ms[level] = int(number) * unit

    @property
    def highest(self) -> int:
        """The last level; what asks for more gets this one."""
        return len(self.delays_ms)

    def deliver_at_ms(self, level: int, stored_at_ms: int) -> int:
        """When a message of a level that was stored then is due, milliseconds since 1970."""
        return stored_at_ms + self.delays_ms.get(level, _UNKNOWN_LEVEL_MS)

    def put_aside(
        self, topic: str, queue_id: int, properties: dict[str, str], text: str
    ) -> tuple[str, int, str] | None:
        """Say where a message goes first, if it asks for a delay.

        Args:
            topic: Where it is to go in the end.
            queue_id: The queue there.
            properties: Its properties.
            text: The property text that would be stored.

        Returns:
            Topic, queue and property text to store it with; None for a message without a delay.

        Raises:
            RequestError: Its level is no number, or it names a moment that the timer does not take.
        """
        level = delay_level(properties)
        if level <= 0:
            if self.timers is None or TIMER_PROPERTIES.isdisjoint(properties):
                return None
            return self.timers.put_aside(topic, queue_id, properties, text)
        real = {REAL_TOPIC: topic, REAL_QUEUE_ID: str(queue_id)}
        capped = min(level, self.highest)
        if capped == level and TIMER_PROPERTIES.isdisjoint(properties) and real.keys().isdisjoint(properties):
            return SCHEDULE_TOPIC, capped - 1, text + encode_properties(real).decode()
        kept = {
            name: value
            for name, value in (piece.split("\x01", 1) for piece in text.split("\x02") if "\x01" in piece)
            if name not in TIMER_PROPERTIES
        }
        kept.update(real)
        kept[DELAY] = str(capped)
        return SCHEDULE_TOPIC, capped - 1, encode_properties(kept).decode()

    def recall_handle(self, put_topic: str, topic: str, text: str, unique_key: str) -> str:
        """The handle by which a message that was put aside can be taken back; "" when it cannot.

        Args:
            put_topic: Where `put_aside` said it goes first.
            topic: Where it is to go in the end.
            text: The property text that `put_aside` gave.
            unique_key: Its UNIQ_KEY.
        """
        if self.timers is None or put_topic == SCHEDULE_TOPIC:
            return ""
        return self.timers.recall_handle(topic, text, unique_key)


def delay_level(properties: dict[str, str]) -> int:
    """The level a message asks for; 0 for none.

    Raises:
        RequestError: It is no number; SYSTEM_ERROR, as in Java, where it is not caught.
    """
    text = properties.get(DELAY)
    if text is None:
        return 0
    if not _INTEGER(text):
        raise RequestError(f"{DELAY} is no delay level: {text!r}")
    return int(text)
