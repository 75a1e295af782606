"""Delay levels: which there are, and how a message that has one is put aside.

Such a message goes to `SCHEDULE_TOPIC_XXXX`, queue `level - 1`, with its real topic and queue in its properties.
Source: `ScheduleMessageService.parseDelayLevel`, `HookUtils.transformDelayLevelMessage` (5.5.0).
"""

from __future__ import annotations

from rmqwire.errors import RmqError
from rmqwire.message import encode_properties

SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX"
DELAY, REAL_TOPIC, REAL_QUEUE_ID = "DELAY", "REAL_TOPIC", "REAL_QID"

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_TIMER_PROPERTIES = frozenset(("TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"))
_UNKNOWN_LEVEL_MS = 1000


class BadDelayLevels(RmqError):
    """`messageDelayLevel` cannot be read."""


class DelayLevels:
    """The table of levels.

    Args:
        text: `messageDelayLevel`: durations like `1s`, `10m`, `2h`, `1d` between blanks; the first is level 1.

    Raises:
        BadDelayLevels: A word that is no duration.
    """

    def __init__(self, text: str) -> None:
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
        """
        level = delay_level(properties)
        if level <= 0:
            return None
        real = {REAL_TOPIC: topic, REAL_QUEUE_ID: str(queue_id)}
        capped = min(level, self.highest)
        if capped == level and _TIMER_PROPERTIES.isdisjoint(properties) and real.keys().isdisjoint(properties):
            return SCHEDULE_TOPIC, capped - 1, text + encode_properties(real).decode()
        kept = {
            name: value
            for name, value in (piece.split("\x01", 1) for piece in text.split("\x02") if "\x01" in piece)
            if name not in _TIMER_PROPERTIES
        }
        kept.update(real)
        kept[DELAY] = str(capped)
        return SCHEDULE_TOPIC, capped - 1, encode_properties(kept).decode()


def delay_level(properties: dict[str, str]) -> int:
    """The level a message asks for; 0 for none, or for text that is no number, as in Java."""
    text = properties.get(DELAY)
    if text is None:
        return 0
    try:
        return int(text)
    except ValueError:
        return 0
