"""Resetting a group to a time or an offset, on the server and by telling its consumers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import BrokerWorld
from protocol.wiring import sent

from rmqwire.bodies import MessageQueue, ResetOffsetBody, TopicConfig
from rmqwire.codes import RequestCode, ResponseCode
from rmqwire.command import RemotingCommand
from rmqwire.requests import InvokeBrokerToResetOffset


def make(folder: Path, **keys: str) -> BrokerWorld:
    world = BrokerWorld(folder, **keys)
    world.parts.topics.update(TopicConfig(topic_name="T", read_queue_nums=2, write_queue_nums=2))
    world.parts.groups.find("g")
    world.put("T", 0, b"a", b"b", b"c")
    for queue_id in (0, 1):
        world.parts.offsets.commit("g", "T", queue_id, 2 - 2 * queue_id)
    return world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = make(tmp_path)
    yield broker
    broker.close()


@pytest.fixture
def old_way(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = make(tmp_path, useServerSideResetOffset="false")
    yield broker
    broker.close()


def ask(world: BrokerWorld, language: str = "JAVA", **fields: Any) -> RemotingCommand:
    header = InvokeBrokerToResetOffset(**{"topic": "T", "group": "g", "timestamp": 0, "is_force": True, **fields})
    return world.peer("admin", language=language).ask(header)


def queue(queue_id: int) -> MessageQueue:
    return MessageQueue(topic="T", broker_name="broker-a", queue_id=queue_id)


def test_a_reset_to_a_time_moves_all_queues(world: BrokerWorld) -> None:
    """resetOffsetByTime answers the new offsets and the next pull follows them."""
    answer = ask(world)
    assert answer.code == ResponseCode.SUCCESS
    assert ResetOffsetBody.decode(answer.body).offset_table == {queue(0): 0, queue(1): 0}
    assert world.parts.offsets.take_reset_offset("g", "T", 0) == 0


def test_a_reset_to_the_end(world: BrokerWorld) -> None:
    """skipAccumulatedMessage lets a group forget its backlog."""
    assert ResetOffsetBody.decode(ask(world, timestamp=-1).body).offset_table == {queue(0): 3, queue(1): 0}
    assert world.parts.offsets.query("g", "T", 0) == 3


def test_a_reset_of_one_queue(world: BrokerWorld) -> None:
    """One stuck queue is moved over one message, and not beyond its ends."""
    answer = ask(world, queue_id=0, offset=1)
    assert ResetOffsetBody.decode(answer.body).offset_table == {queue(0): 1}
    assert not world.parts.offsets.has_reset_offset("g", "T", 1)
    for wrong in (5, -7):
        answer = ask(world, queue_id=0, offset=wrong)
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert answer.remark == f"Target offset {wrong} not in consume queue range [0-3]"
    assert ResetOffsetBody.decode(ask(world, queue_id=0, offset=-1).body).offset_table == {queue(0): 0}


def test_a_reset_of_what_does_not_exist(world: BrokerWorld) -> None:
    """Tools decide by these codes whether to try another way."""
    assert ask(world, topic="No").code == ResponseCode.TOPIC_NOT_EXIST
    assert ask(world, group="no").code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST


def test_consumers_are_told_the_old_way(old_way: BrokerWorld) -> None:
    """With useServerSideResetOffset=false running consumers move themselves; not forced, they only go back."""
    peer = old_way.peer("a")
    peer.beat("g")
    old_way.turn()
    sent(peer.wire)
    answer = ask(old_way, timestamp=-1, is_force=False)
    assert ResetOffsetBody.decode(answer.body).offset_table == {queue(0): 2, queue(1): 0}
    (order,) = sent(peer.wire)
    assert (order.code, order.is_oneway) == (RequestCode.RESET_CONSUMER_CLIENT_OFFSET, True)
    assert (order.ext["topic"], order.ext["group"], order.ext["timestamp"]) == ("T", "g", "-1")
    assert order.body.startswith(b'{"offsetTable":{{"brokerName":"broker-a","queueId":0,"topic":"T"}:2'), (
        "the Go client splits this very text"
    )
    ask(old_way, timestamp=-1)
    (order,) = sent(peer.wire)
    assert ResetOffsetBody.decode(order.body).offset_table == {queue(0): 3, queue(1): 0}
    assert old_way.parts.offsets.query("g", "T", 0) == 2, "consumers commit what they moved to"


def test_tools_for_c_plus_plus_get_a_list(old_way: BrokerWorld) -> None:
    """C++ consumers cannot read maps whose keys are objects."""
    peer = old_way.peer("a", language="CPP")
    peer.beat("g")
    old_way.turn()
    sent(peer.wire)
    ask(old_way, language="CPP")
    (order,) = sent(peer.wire)
    assert json.loads(order.body)["offsetTable"][0] == {
        "brokerName": "broker-a",
        "offset": 0,
        "queueId": 0,
        "topic": "T",
    }


def test_the_old_way_needs_consumers(old_way: BrokerWorld) -> None:
    """mqadmin falls back to writing offsets itself when nobody is online, and only then."""
    offline = ask(old_way)
    assert offline.code == ResponseCode.CONSUMER_NOT_ONLINE
    assert ask(old_way, topic="No").code == ResponseCode.TOPIC_NOT_EXIST
    unknown = ask(old_way, group="no")
    assert (unknown.code, unknown.remark) == (ResponseCode.SYSTEM_ERROR, "THe consumer group <no> not exist")
    old_way.peer("ancient", version=20).beat("g")
    assert ask(old_way).code == ResponseCode.SYSTEM_ERROR
