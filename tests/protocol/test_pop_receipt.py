"""Receipts of popped messages, and the fields that clients make them from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqd.protocol.broker.pop_receipt import (
    Receipt,
    normal_topic,
    order_count_info,
    read_receipt,
    retry_flag,
    topic_of_flag,
    write_receipt,
)
from rmqwire.errors import RequestError

LONG = st.integers(0, 2**62)


@given(st.builds(Receipt, LONG, LONG, LONG, st.integers(0, 999), st.sampled_from(["broker-a", "b"])))
def test_a_receipt_comes_back(receipt: Receipt) -> None:
    assert read_receipt(write_receipt(receipt, "%RETRY%G_T", 3, 17)) == receipt


@given(st.text(max_size=60))
def test_any_text_is_a_receipt_or_refused(text: str) -> None:
    try:
        read_receipt(text)
    except RequestError as refused:
        assert refused.code == 1  # noqa: PT017


@pytest.mark.parametrize(
    ("text", "broker_first", "remark"),
    [
        ("", True, "getBrokerName fail, extraInfoStrs length 1"),
        ("x y", False, "getReviveQid fail, extraInfoStrs length 2"),
        ("1 2 3 4   ", False, "getBrokerName fail, extraInfoStrs length 4"),
        ("0 1 2 x 0 b 0", True, 'For input string: "x"'),
        ("0 1 2 1_0 0 b 0", True, 'For input string: "1_0"'),
        ("0 1 99999999999999999999 0 0 b 0", True, 'For input string: "99999999999999999999"'),
    ],
)
def test_what_is_missing_is_told(text: str, broker_first: bool, remark: str) -> None:
    with pytest.raises(RequestError, match=remark):
        read_receipt(text, broker_first=broker_first)


def test_flags_name_topics() -> None:
    for flag, topic in (("0", "T"), ("1", "%RETRY%G_T"), ("2", "%RETRY%G+T")):
        assert topic_of_flag(flag, "T", "G") == topic
        assert retry_flag(topic) == flag
        assert normal_topic(topic, "G") == "T"
    with pytest.raises(RequestError, match="getRetry fail"):
        topic_of_flag("3", "T", "G")


def test_counts_of_ordered_pops() -> None:
    assert order_count_info("T", 1, {}, 2) == "0 1 0"
    assert order_count_info("T", 1, {5: 2}, 2) == "0 qo1%5 2;0 1 0"
    assert order_count_info("T", 1, {5: 2, 6: 1}, 2) == "0 qo1%5 2;0 qo1%6 1;0 1 1"
