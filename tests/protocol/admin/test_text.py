"""Text as the official tool writes it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from rmqd.protocol.admin import text
from rmqd.protocol.admin.errors import BadUsage
from rmqwire.bodies.base import MessageQueue
from rmqwire.bodies.group import ExponentialRetryPolicy, GroupRetryPolicy, SubscriptionGroupConfig
from rmqwire.bodies.topic import TopicConfig
from rmqwire.hashing import hash_order


@pytest.fixture(autouse=True)
def _in_shanghai(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_times_are_local() -> None:
    at_ms = 1_700_000_000_123
    assert text.human_time(at_ms) == "2023-11-15 06:13:20,123"
    assert text.date_time(at_ms) == "2023-11-15 06:13:20"
    assert text.digits_time(at_ms) == "20231115061320123"


def test_times_out_of_range_are_shown_all_the_same() -> None:
    assert text.date_time(-(1 << 63)).startswith("0001-")
    assert text.date_time((1 << 63) - 1).startswith("9999-")


@pytest.mark.parametrize(
    ("given", "expected"),
    [("1700000000123", 1_700_000_000_123), ("-1", -1), ("2023-11-15#06:13:20:123", 1_700_000_000_123)],
)
def test_reads_times(given: str, expected: int) -> None:
    assert text.parse_time(given) == expected


def test_now_is_a_time_where_it_is_asked_for() -> None:
    assert text.parse_time("now", 5) == 5
    with pytest.raises(BadUsage):
        text.parse_time("now")


@pytest.mark.parametrize(
    "wrong", ["", "yesterday", "2023-11-15", "2023-13-15#06:13:20:123", "2023-11-15#06:13:20:1234"]
)
def test_refuses_what_is_no_time(wrong: str) -> None:
    with pytest.raises(BadUsage, match="is no time"):
        text.parse_time(wrong)


@pytest.mark.parametrize(("perm", "expected"), [(6, "RW-"), (4, "R--"), (2, "-W-"), (7, "RWX"), (0, "---")])
def test_permissions(perm: int, expected: str) -> None:
    assert text.perm_text(perm) == expected


def test_queues_of_a_hash_set() -> None:
    # allocateMQ of 5.5.0, which shares the queues out as a HashSet gives them, had the second queue first
    queues = [MessageQueue(topic="seen-854-855", broker_name="broker-a", queue_id=number) for number in (0, 1)]
    assert [queue.queue_id for queue in hash_order(queues, text.queue_hash)] == [1, 0]


def test_topics_and_queues() -> None:
    topic = TopicConfig(topic_name="t", read_queue_nums=1, write_queue_nums=2, attributes={"+a": "b"})
    assert text.topic_text(topic) == (
        "TopicConfig [topicName=t, readQueueNums=1, writeQueueNums=2, perm=RW-, topicFilterType=SINGLE_TAG, "
        "topicSysFlag=0, order=false, attributes={+a=b}]"
    )
    queue = MessageQueue(topic="t", broker_name="b", queue_id=3)
    assert text.queue_text(queue) == "MessageQueue [topic=t, brokerName=b, queueId=3]"


def test_retry_policies() -> None:
    policy = GroupRetryPolicy(type="EXPONENTIAL", exponential_retry_policy=ExponentialRetryPolicy())
    shown = text.group_text(SubscriptionGroupConfig(group_name="g", group_retry_policy=policy))
    assert "exponentialRetryPolicy=ExponentialRetryPolicy{initial=5000, max=7200000, multiplier=2}" in shown
    assert "subscriptionDataSet=null, attributes={}}" in shown


def test_attributes() -> None:
    read = text.parse_attributes("+a=b,-c")
    assert read == {"+a": "b", "-c": ""}
    assert text.attributes_header(read) == "+a=b,-c"


@pytest.mark.parametrize("wrong", ["a=b", "+a", "-", "+a=", "+a=1,+a=2"])
def test_refuses_what_is_no_attribute(wrong: str) -> None:
    with pytest.raises(BadUsage):
        text.parse_attributes(wrong)
