"""Batches that are refused, and with what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld

from rmqwire.bodies import TopicConfig
from rmqwire.codes import ResponseCode
from rmqwire.message import BatchEntry, encode_batch
from rmqwire.properties import encode_properties
from rmqwire.requests import SendMessage
from rmqwire.requests.send import SendBatchMessage


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    broker.parts.topics.update(TopicConfig(topic_name="T"))
    yield broker
    broker.close()


def batch(topic: str = "T", **properties: str) -> SendBatchMessage:
    return SendBatchMessage(
        producer_group="p", topic=topic, default_topic="TBW102", default_topic_queue_nums=4, queue_id=0, sys_flag=0,
        born_timestamp=1, flag=0, properties=encode_properties(properties).decode(), batch=True,
    )  # fmt: skip


TWO = encode_batch([BatchEntry(0, b"one", b""), BatchEntry(0, b"two", encode_properties({"DELAY": "3"}))])


def test_a_batch_cannot_be_delayed(world: BrokerWorld) -> None:
    """A level on the whole batch is refused, one on a message inside is not looked at."""
    refused = world.peer().ask(batch(DELAY="3"), TWO)
    assert refused.code == ResponseCode.MESSAGE_ILLEGAL
    assert (refused.remark or "").startswith("the message is illegal, maybe msg body or properties length not matched.")
    assert world.peer().ask(batch(DELAY="0"), TWO).code == 0
    assert world.store.max_offset("T", 0) == 2


def test_a_batch_to_a_retry_topic_is_refused(world: BrokerWorld) -> None:
    """A retry topic's messages are delayed one by one."""
    refused = world.peer().ask(batch("%RETRY%g"), TWO)
    assert refused.code == ResponseCode.MESSAGE_ILLEGAL
    assert refused.remark == "batch request does not support retry group %RETRY%g"


@pytest.mark.parametrize("body", [b"", b"no batch at all, surely", TWO[:-2], TWO + b"x" * (4 << 20)])
def test_what_is_no_batch(world: BrokerWorld, body: bytes) -> None:
    """Nothing of a batch that cannot be read, or is longer than a message may be, is stored."""
    refused = world.peer().ask(batch(), body)
    assert refused.code == ResponseCode.SYSTEM_ERROR
    assert refused.remark
    assert world.store.max_offset("T", 0) == 0


def test_a_message_without_a_body_is_refused(world: BrokerWorld) -> None:
    """As the official broker does, in which it is a null pointer."""
    header = SendMessage(
        producer_group="p", topic="T", default_topic="TBW102", default_topic_queue_nums=4, queue_id=0, sys_flag=0,
        born_timestamp=1, flag=0, properties="",
    )  # fmt: skip
    assert world.peer().ask(header).code == ResponseCode.SYSTEM_ERROR
