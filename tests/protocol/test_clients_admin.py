"""Who is connected and who consumes what, as mqadmin shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import BrokerWorld

from rmqwire.codes import ResponseCode
from rmqwire.declare import Header
from rmqwire.requests import (
    GetAllProducerInfo,
    GetConsumerConnectionList,
    GetProducerConnectionList,
    QuerySubscriptionByConsumer,
    QueryTopicConsumeByWho,
    QueryTopicsByConsumer,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    yield broker
    broker.close()


def body(world: BrokerWorld, header: Header) -> Any:
    answer = world.peer("admin").ask(header)
    assert answer.code == ResponseCode.SUCCESS, answer.remark
    return json.loads(answer.body)


def test_the_members_of_a_consumer_group(world: BrokerWorld) -> None:
    """consumerConnection shows each client with its language and version, and what the group subscribes to."""
    old, new = world.peer("old", version=79), world.peer("new", language="GO", version=317)
    old.beat("g", topics=("T", "U"))
    new.beat("g", topics=("T", "U"))
    shown = body(world, GetConsumerConnectionList(consumer_group="g"))
    assert [(each["clientId"], each["language"], each["version"]) for each in shown["connectionSet"]] == [
        ("old", "JAVA", 79),
        ("new", "GO", 317),
    ]
    assert shown["connectionSet"][0]["clientAddr"] == old.connection.peer
    assert set(shown["subscriptionTable"]) == {"T", "U"}
    assert (shown["consumeType"], shown["messageModel"]) == ("CONSUME_PASSIVELY", "CLUSTERING")
    assert shown["consumeFromWhere"] == "CONSUME_FROM_LAST_OFFSET"
    offline = world.peer().ask(GetConsumerConnectionList(consumer_group="no"))
    assert (offline.code, offline.remark) == (
        ResponseCode.CONSUMER_NOT_ONLINE,
        "the consumer group[no] not online",
    )


def test_the_members_of_producer_groups(world: BrokerWorld) -> None:
    """producerConnection and producer show who sends."""
    peer = world.peer("p1")
    peer.beat(producers=("p",))
    shown = body(world, GetProducerConnectionList(producer_group="p"))
    assert [each["clientId"] for each in shown["connectionSet"]] == ["p1"]
    data = body(world, GetAllProducerInfo())["data"]
    assert data["p"][0]["remoteIP"] == f"/{peer.connection.peer}"
    assert data["p"][0]["lastUpdateTimestamp"] > 0
    missing = world.peer().ask(GetProducerConnectionList(producer_group="no"))
    assert (missing.code, missing.remark) == (ResponseCode.SYSTEM_ERROR, "the producer group[no] not exist")


def test_who_consumes_a_topic(world: BrokerWorld) -> None:
    """Groups that are online and groups that once were are both shown."""
    world.peer("a").beat("online", topics=("T",))
    world.parts.offsets.commit("offline", "T", 0, 5)
    world.parts.offsets.commit("offline", "U", 0, 5)
    assert body(world, QueryTopicConsumeByWho(topic="T")) == {"groupList": ["offline", "online"]}
    assert body(world, QueryTopicsByConsumer(group="offline")) == {
        "brokerAddr": "127.0.0.1:10911",
        "topicList": ["T", "U"],
    }


def test_one_subscription(world: BrokerWorld) -> None:
    """A tool sees by which expression a group reads a topic."""
    world.peer("a").beat("g", topics=("T",), version=7)
    shown = body(world, QuerySubscriptionByConsumer(group="g", topic="T"))
    assert (shown["subscriptionData"]["subString"], shown["subscriptionData"]["subVersion"]) == ("*", 7)
    assert body(world, QuerySubscriptionByConsumer(group="g", topic="U")) == {"group": "g", "topic": "U"}
