"""Attributes of topics, as mqadmin changes them."""

from __future__ import annotations

import pytest

from rmqd.protocol.broker.attributes import TOPIC_ATTRIBUTES, alter, parse_changes
from rmqwire.errors import RequestError


def test_a_list_of_changes_is_read() -> None:
    """mqadmin's -a option reaches the broker as one text."""
    assert parse_changes("+message.type=FIFO,-reserve.time") == {"+message.type": "FIFO", "-reserve.time": ""}
    assert parse_changes(None) == {}
    assert parse_changes("") == {}


@pytest.mark.parametrize("text", ["message.type=FIFO", "reserve.time", "+a=1,+a=2", "+a=", "+a=b=c"])
def test_a_wrong_list_is_refused(text: str) -> None:
    """A typing error does not pass silently."""
    with pytest.raises(RequestError):
        parse_changes(text)


def test_attributes_are_stored_without_their_sign() -> None:
    """What was added is shown by its plain name, and can be changed and taken away."""
    made = alter(TOPIC_ATTRIBUTES, None, {"+message.type": "FIFO"})
    assert made == {"message.type": "FIFO"}
    changed = alter(TOPIC_ATTRIBUTES, made, {"+message.type": "DELAY", "+reserve.time": "-1"})
    assert changed == {"message.type": "DELAY", "reserve.time": "-1"}
    assert alter(TOPIC_ATTRIBUTES, changed, {"-reserve.time": ""}) == {"message.type": "DELAY"}
    assert made == {"message.type": "FIFO"}, "the attributes before a change stay as they were"


@pytest.mark.parametrize(
    ("current", "changes", "words"),
    [
        (None, {"+nothing": "x"}, "unsupported key: nothing"),
        (None, {"-message.type": ""}, "only add attribute is supported while creating topic. key: message.type"),
        (None, {"+message.type": "ODD"}, "value is not in set"),
        (None, {"+reserve.time": "soon"}, "value is not in set"),
        ({}, {"-message.type": ""}, "attempt to delete a nonexistent key: message.type"),
        ({}, {"+queue.type": "BatchCQ"}, "attempt to update an unchangeable attribute. key: queue.type"),
        ({}, {"message.type": "FIFO"}, "kv string format wrong|wrong format key"),
    ],
)
def test_a_wrong_change_is_refused(current: dict[str, str] | None, changes: dict[str, str], words: str) -> None:
    """An administrator reads what was wrong."""
    with pytest.raises(RequestError, match=words):
        alter(TOPIC_ATTRIBUTES, current, changes)
