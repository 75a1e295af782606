"""Names of topics and groups: what is refused, and in which words."""

from __future__ import annotations

import pytest

from rmqd.protocol.broker.names import group_fault, pop_retry_topics, retry_topic, topic_fault


@pytest.mark.parametrize("name", ["TopicTest", "%RETRY%g", "a|b-c_9", "x" * 127, "%DLQ%" + "g" * 250])
def test_a_legal_topic_is_accepted(name: str) -> None:
    """A user may use letters, digits and %|-_ and the lengths that records can carry."""
    assert topic_fault(name) == ""


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "The specified topic is blank."),
        ("  ", "The specified topic is blank."),
        ("a b", "The specified topic: a b, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"),
        ("täst", "The specified topic: täst, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"),
        ("a\n", "The specified topic: a\n, contains illegal characters, allowing only ^[%|a-zA-Z0-9_-]+$"),
        ("x" * 128, f"The specified topic: {'x' * 128}, is longer than topic max length: 127"),
        (
            "%RETRY%" + "g" * 249,
            f"The specified topic is DLQ or Retry topic: %RETRY%{'g' * 249},"
            " and it's longer than topic max length: 255",
        ),
    ],
)
def test_an_illegal_topic_is_refused_in_javas_words(name: str, fault: str) -> None:
    """A user reads the same text as from the official broker."""
    assert topic_fault(name) == fault


def test_a_group_is_shorter_than_a_topic() -> None:
    """A group's name has to leave room for the prefix of its retry topic."""
    assert group_fault("g" * 120) == ""
    assert group_fault("g" * 121) == f"The specified group: {'g' * 121}, is longer than group max length: 120"
    assert group_fault("a.b").startswith("The specified group: a.b, contains illegal characters")
    assert group_fault(None) == "The specified group is blank."


def test_names_made_of_others() -> None:
    """Failed messages wait where the official broker puts them."""
    assert retry_topic("g") == "%RETRY%g"
    assert pop_retry_topics("T", "g") == ("%RETRY%g+T", "%RETRY%g_T")
