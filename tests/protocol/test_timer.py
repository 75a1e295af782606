"""What messages ask the timer for, and the handles that producers get."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from protocol.fakes import NOW_MS

from rmqd.protocol.broker.delay import DelayLevels
from rmqd.protocol.broker.names import TIMER_TOPIC
from rmqd.protocol.broker.timer import RecallHandle, TimerRules, TimerSettings, java_long
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.message import decode_properties, encode_properties

DAY_S = 86_400


def rules(count: int = 0, **settings: Any) -> TimerRules:
    return TimerRules(TimerSettings(**settings), "broker-a", lambda: NOW_MS, lambda _: count)


def put_aside(given: TimerRules, properties: dict[str, str], topic: str = "T") -> dict[str, str] | None:
    aside = given.put_aside(topic, 3, properties, encode_properties(properties).decode())
    if aside is None:
        return None
    assert aside[:2] == (TIMER_TOPIC, 0)
    return decode_properties(aside[2].encode())


@pytest.mark.parametrize(
    ("properties", "slot_ms"),
    [
        ({"TIMER_DELAY_SEC": "5"}, 4000),  # exactly between two slots: the one before, so that it comes at 5 s
        ({"TIMER_DELAY_MS": "5001"}, 5000),
        ({"TIMER_DELAY_MS": "5999"}, 5000),
        ({"TIMER_DELIVER_MS": str(NOW_MS + 1)}, 0),
        ({"TIMER_DELAY_SEC": "+2", "TIMER_DELAY_MS": "9000", "TIMER_DELIVER_MS": "1"}, 1000),
        ({"TIMER_DELAY_MS": "9000", "TIMER_DELIVER_MS": "1"}, 8000),
        ({"TIMER_DELAY_SEC": str(3 * DAY_S)}, 3 * DAY_S * 1000 - 1000),
    ],
)
def test_the_slot_of_a_message(properties: dict[str, str], slot_ms: int) -> None:
    """It is delivered when the slot is over: not before it is due, and at most a slot later."""
    aside = put_aside(rules(), properties)
    assert aside == {**properties, "TIMER_OUT_MS": str(NOW_MS + slot_ms), "REAL_TOPIC": "T", "REAL_QID": "3"}


def test_a_finer_precision() -> None:
    """timerPrecisionMs = 100."""
    aside = put_aside(rules(precision_ms=100), {"TIMER_DELAY_MS": "5250"})
    assert aside is not None
    assert aside["TIMER_OUT_MS"] == str(NOW_MS + 5200)


def test_properties_of_the_broker_cannot_be_smuggled_in() -> None:
    """REAL_TOPIC of the sender does not say where the message goes."""
    aside = put_aside(rules(), {"REAL_TOPIC": "other", "a": "b", "TIMER_DELAY_SEC": "5", "REAL_QID": "77"})
    assert aside is not None
    assert (aside["REAL_TOPIC"], aside["REAL_QID"], aside["a"]) == ("T", "3", "b")


@pytest.mark.parametrize("properties", [{"TIMER_DELAY_SEC": "0"}, {"TIMER_DELAY_MS": "-1"}, {"TIMER_DELIVER_MS": "1"}])
def test_what_is_due_is_no_timer_message(properties: dict[str, str]) -> None:
    """It is stored where it goes, and cannot take another back."""
    assert put_aside(rules(), properties) is None
    with pytest.raises(RequestError) as refused:
        put_aside(rules(), {**properties, "TIMER_DEL_UNIQKEY": "ID"})
    assert refused.value.code == ResponseCode.MESSAGE_ILLEGAL


def test_what_the_timer_has_delivered_is_not_taken_again() -> None:
    """TIMER_OUT_MS tells."""
    assert put_aside(rules(), {"TIMER_DELAY_SEC": "5", "TIMER_OUT_MS": "1"}) is None
    assert put_aside(rules(), {"TIMER_DELAY_SEC": "5"}, TIMER_TOPIC) is None


@pytest.mark.parametrize(
    "properties",
    [
        {"TIMER_DELAY_SEC": str(3 * DAY_S + 1)},
        {"TIMER_DELAY_SEC": "soon"},
        {"TIMER_DELAY_MS": ""},
        {"TIMER_DELAY_SEC": " 5"},
        {"TIMER_DELIVER_MS": str(2**63)},
        {"TIMER_DELIVER_MS": "٣"},
    ],
)
def test_what_is_too_far_or_no_number_is_illegal(properties: dict[str, str]) -> None:
    """With the remark that tells the longest delay."""
    with pytest.raises(RequestError, match=r"bigger than the max delay 259200000ms") as refused:
        put_aside(rules(), properties)
    assert refused.value.code == ResponseCode.MESSAGE_ILLEGAL


def test_a_full_slot_refuses() -> None:
    """At twice the limit always, up to it never."""
    properties = {"TIMER_DELAY_SEC": "5"}
    assert put_aside(rules(10, congest_num_each_slot=10), properties) is not None
    with pytest.raises(RequestError, match="flow control, max num limit is 20") as refused:
        put_aside(rules(20, congest_num_each_slot=10), properties)
    assert refused.value.code == ResponseCode.SYSTEM_ERROR


def test_a_delay_level_wins_and_level_zero_does_not() -> None:
    """As `HookUtils.checkIfTimerMessage`."""
    levels = DelayLevels("1s 5s")
    levels.timers = rules()
    properties = {"DELAY": "2", "TIMER_DELAY_SEC": "5"}
    aside = levels.put_aside("T", 0, properties, encode_properties(properties).decode())
    assert aside is not None
    assert aside[:2] == ("SCHEDULE_TOPIC_XXXX", 1)
    assert "TIMER_DELAY_SEC" not in decode_properties(aside[2].encode())
    properties["DELAY"] = "0"
    aside = levels.put_aside("T", 0, properties, encode_properties(properties).decode())
    assert aside is not None
    assert aside[0] == TIMER_TOPIC


def test_a_timer_that_is_off_refuses() -> None:
    """With the official remark."""
    with pytest.raises(RequestError, match="accurate timer message is not enabled, timerWheelEnable is false"):
        put_aside(rules(enabled=False), {"TIMER_DELAY_SEC": "5"})


def test_the_handle_of_a_message() -> None:
    """It names version, topic, broker, a moment in the slot, and the message."""
    given = rules()
    properties = {"TIMER_DELAY_SEC": "5", "UNIQ_KEY": "ID", "x": "TIMER_OUT_MS"}
    aside = given.put_aside("T", 0, properties, encode_properties(properties).decode())
    assert aside is not None
    handle = given.recall_handle("T", aside[2], "ID")
    assert base64.urlsafe_b64decode(handle).decode() == f"v1 T broker-a {NOW_MS + 4001} ID"
    assert RecallHandle.decode(handle) == ("T", "broker-a", str(NOW_MS + 4001), "ID")
    assert RecallHandle.decode(handle.rstrip("=")) == RecallHandle.decode(handle)
    assert given.recall_handle("%RETRY%G", aside[2], "ID") == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%%%",
        "é",
        "a",
        "a+b/",
        *(base64.urlsafe_b64encode(each).decode() for each in (b"v1 a b c", b"v2 a b c d", b"")),
    ],
)
def test_what_is_no_handle(text: str) -> None:
    """Answered 604, not an error of the broker."""
    with pytest.raises(RequestError, match="recall handle is invalid") as refused:
        RecallHandle.decode(text)
    assert refused.value.code == ResponseCode.ILLEGAL_OPERATION


def test_numbers_as_java_reads_them() -> None:
    """`Long.parseLong`."""
    assert [java_long(text) for text in ("+5", "-7", "0012", str(2**63 - 1))] == [5, -7, 12, 2**63 - 1]
    assert [java_long(text) for text in (None, "", "+", "1 ", "1_0", "1.0", str(2**63))] == [None] * 7
