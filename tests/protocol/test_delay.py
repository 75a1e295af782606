"""Delay levels: the table, and how a message is put aside."""

from __future__ import annotations

import pytest

from rmqd.conf import load_broker_options
from rmqd.protocol.broker.delay import (
    DELAY,
    REAL_QUEUE_ID,
    REAL_TOPIC,
    SCHEDULE_TOPIC,
    BadDelayLevels,
    DelayLevels,
    delay_level,
)
from rmqwire.errors import RequestError
from rmqwire.message import decode_properties, encode_properties

SECONDS = [1, 5, 10, 30, *(60 * minutes for minutes in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30)), 3600, 7200]


def aside(levels: DelayLevels, **properties: str) -> tuple[str, int, dict[str, str]] | None:
    text = encode_properties(properties).decode()
    found = levels.put_aside("T", 3, properties, text)
    return None if found is None else (found[0], found[1], decode_properties(found[2].encode()))


def test_the_eighteen_official_levels() -> None:
    """Without a configuration there are the 18 levels that every RocketMQ manual lists."""
    levels = DelayLevels(load_broker_options(None, {}, {"HOME": "/"}).store.message_delay_level)
    assert [levels.delays_ms[level] for level in range(1, 19)] == [1000 * seconds for seconds in SECONDS]
    assert levels.highest == 18


def test_configured_levels() -> None:
    levels = DelayLevels("0s 2s 3m 4h 5d")
    assert levels.delays_ms == {1: 0, 2: 2000, 3: 180_000, 4: 14_400_000, 5: 432_000_000}
    assert levels.deliver_at_ms(2, 10) == 2010
    assert levels.deliver_at_ms(77, 10) == 1010, "as Java: a second for a level that is not in the table"


@pytest.mark.parametrize("text", ["1s 5", "1s x", "1s -5s", "1s 5S", "s", "1.5s"])
def test_words_that_are_no_durations(text: str) -> None:
    with pytest.raises(BadDelayLevels, match="is no duration"):
        DelayLevels(text)


@pytest.mark.parametrize("level", ["0", "-1", "+0"])
def test_no_delay(level: str) -> None:
    assert aside(DelayLevels("1s 2s"), DELAY=level) is None
    assert delay_level({}) == 0


@pytest.mark.parametrize("level", ["", "many", "1.5", " 1", "1_0", "\u0661"])
def test_a_level_that_is_no_number_is_refused(level: str) -> None:
    with pytest.raises(RequestError, match="is no delay level"):
        aside(DelayLevels("1s 2s"), DELAY=level)


def test_put_aside() -> None:
    assert aside(DelayLevels("1s 2s"), DELAY="2", TAGS="a") == (
        SCHEDULE_TOPIC,
        1,
        {DELAY: "2", "TAGS": "a", REAL_TOPIC: "T", REAL_QUEUE_ID: "3"},
    )


def test_a_level_above_the_highest_is_the_highest() -> None:
    """A client that was made for more levels still gets its message, after the longest delay there is."""
    found = aside(DelayLevels("1s 2s"), DELAY="19", TAGS="a")
    assert found == (SCHEDULE_TOPIC, 1, {DELAY: "2", "TAGS": "a", REAL_TOPIC: "T", REAL_QUEUE_ID: "3"})


def test_stale_properties_give_way() -> None:
    """A message that was delayed before is put aside for where it goes now; a timer's wishes do not outlive a level."""
    found = aside(DelayLevels("1s"), DELAY="1", REAL_TOPIC="old", REAL_QID="9", TIMER_DELAY_SEC="5", KEYS="k")
    assert found is not None
    assert found[2] == {DELAY: "1", REAL_TOPIC: "T", REAL_QUEUE_ID: "3", "KEYS": "k"}
