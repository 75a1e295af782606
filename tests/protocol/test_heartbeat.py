"""Heartbeats, leaving and member lists, by the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld, consumer
from protocol.wiring import sent

from rmqwire.bodies import CheckClientRequestBody, HeartbeatData, ProducerData, SubscriptionData
from rmqwire.codes import OUR_VERSION, RequestCode, ResponseCode
from rmqwire.requests import CheckClientConfig, GetConsumerListByGroup, HeartBeat, UnregisterClient

NO_GROUP = b'{"clientID":"x","consumerDataSet":[{}]}'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    yield broker
    broker.close()


def members(world: BrokerWorld, group: str) -> list[str]:
    answer = world.peer("looker").ask(GetConsumerListByGroup(consumer_group=group))
    assert answer.code == ResponseCode.SUCCESS, answer.remark
    return sorted(json.loads(answer.body)["consumerIdList"])


def test_a_consumer_is_listed_when_its_heartbeat_is_answered(world: BrokerWorld) -> None:
    """A consumer that starts finds itself in the list and takes queues at once."""
    peer = world.peer("a")
    answer = peer.beat("g")
    assert answer.code == ResponseCode.SUCCESS
    assert answer.version == OUR_VERSION, "consumers with SQL filters look at the broker's version"
    assert answer.ext == {"IS_SUPPORT_HEART_BEAT_V2": "true", "IS_SUB_CHANGE": "true"}
    assert members(world, "g") == ["a"]
    assert peer.told() == []
    world.turn()
    assert peer.told() == [RequestCode.NOTIFY_CONSUMER_IDS_CHANGED]


def test_the_answer_comes_before_the_announcement(world: BrokerWorld) -> None:
    """A client is not told to share queues before it knows that it is registered."""
    peer = world.peer("a")
    peer.send(HeartBeat(), HeartbeatData(client_id="a", consumer_data_set=[consumer("g")]).encode())
    world.turn()
    assert [command.code for command in sent(peer.wire)] == [0, RequestCode.NOTIFY_CONSUMER_IDS_CHANGED]


def test_the_retry_topic_is_made_with_the_group(world: BrokerWorld) -> None:
    """Administration tools find a group by the route of its retry topic."""
    world.peer("a").beat("g")
    topic = world.parts.topics.get("%RETRY%g")
    assert topic is not None
    assert (topic.read_queue_nums, topic.perm, topic.topic_sys_flag) == (1, 6, 0)
    unit = HeartbeatData(client_id="u", consumer_data_set=[consumer("u", unit_mode=True)])
    world.peer("u").ask(HeartBeat(), unit)
    topic = world.parts.topics.get("%RETRY%u")
    assert topic is not None
    assert topic.topic_sys_flag == 2


def test_a_group_that_must_not_be_made_is_skipped(tmp_path: Path) -> None:
    """The heartbeat of a process with one wrong group still registers its other groups."""
    world = BrokerWorld(tmp_path, autoCreateSubscriptionGroup="false")
    peer = world.peer("a")
    assert peer.beat("unknown", "TOOLS_CONSUMER", "bad name", producers=("p",)).code == ResponseCode.SUCCESS
    assert set(world.parts.consumers.groups) == {"TOOLS_CONSUMER"}
    assert world.parts.topics.get("%RETRY%unknown") is None
    assert set(world.parts.producers.groups) == {"p"}
    world.close()


def test_pull_consumers_can_be_refused(tmp_path: Path) -> None:
    """rejectPullConsumerEnable keeps consumers out that pull by hand, and no others."""
    world = BrokerWorld(tmp_path, rejectPullConsumerEnable="true")
    data = HeartbeatData(
        client_id="a", consumer_data_set=[consumer("pull", consume_type="CONSUME_ACTIVELY"), consumer("push")]
    )
    world.peer("a").ask(HeartBeat(), data)
    assert set(world.parts.consumers.groups) == {"push"}
    world.close()


def test_heartbeat_version_2(world: BrokerWorld) -> None:
    """A client that leaves its subscriptions out keeps them, and hears when somebody changed them."""
    peer, other = world.peer("a"), world.peer("b")
    assert peer.beat("g", heartbeat_fingerprint=11).ext["IS_SUB_CHANGE"] == "false"
    without = HeartbeatData(
        client_id="a",
        consumer_data_set=[consumer("g", ())],
        heartbeat_fingerprint=11,
        without_sub=True,
    )
    assert peer.ask(HeartBeat(), without).ext["IS_SUB_CHANGE"] == "false"
    assert world.parts.consumers.subscription("g", "T") is not None
    assert other.beat("g", topics=("U",), heartbeat_fingerprint=22).ext["IS_SUB_CHANGE"] == "true"
    assert peer.ask(HeartBeat(), without).ext["IS_SUB_CHANGE"] == "true"


@pytest.mark.parametrize("body", [b"", b"{", b'{"consumerDataSet":7}', b"[]", b"{}", NO_GROUP])
def test_a_broken_heartbeat_is_refused_and_the_connection_goes_on(world: BrokerWorld, body: bytes) -> None:
    """One faulty client sees an error instead of losing its connection again and again."""
    peer = world.peer("a")
    assert peer.ask(HeartBeat(), body).code == ResponseCode.SYSTEM_ERROR
    assert peer.beat("g").code == ResponseCode.SUCCESS


def test_a_stopped_client_is_gone(world: BrokerWorld) -> None:
    """A consumer that stops properly leaves its queues to the others at once."""
    first, second = world.peer("a"), world.peer("b")
    first.beat("g")
    second.beat("g", producers=("p",))
    world.reactor.advance(1)
    first.told()
    assert second.ask(UnregisterClient(client_id="b", consumer_group="g")).code == ResponseCode.SUCCESS
    assert second.ask(UnregisterClient(client_id="b", producer_group="p")).code == ResponseCode.SUCCESS
    assert members(world, "g") == ["a"]
    assert world.parts.producers.groups == {}
    world.reactor.advance(1)
    assert first.told() == [RequestCode.NOTIFY_CONSUMER_IDS_CHANGED]


def test_a_closed_connection_is_gone(world: BrokerWorld) -> None:
    """The Go client says nothing when it stops: its connection just closes."""
    first, second = world.peer("a"), world.peer("b")
    first.beat("g")
    second.beat("g")
    assert members(world, "g") == ["a", "b"]
    second.leave()
    assert members(world, "g") == ["a"]
    first.leave()
    answer = world.peer().ask(GetConsumerListByGroup(consumer_group="g"))
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "no consumer for this group, g")


def test_producers_are_registered(world: BrokerWorld) -> None:
    """A producer can be asked about its transactions."""
    data = HeartbeatData(client_id="a", producer_data_set=[ProducerData(group_name="p"), ProducerData()])
    peer = world.peer("a")
    assert peer.ask(HeartBeat(), data).code == ResponseCode.SUCCESS
    assert world.parts.producers.any_connection("p") is peer.connection


@pytest.mark.parametrize(
    ("subscription", "code"),
    [
        (None, ResponseCode.SUCCESS),
        (SubscriptionData(topic="T", sub_string="a || b"), ResponseCode.SUCCESS),
        (SubscriptionData(topic="T", expression_type="SQL92", sub_string="a > 1"), ResponseCode.SYSTEM_ERROR),
    ],
)
def test_a_filter_is_checked_before_a_consumer_starts(
    world: BrokerWorld, subscription: SubscriptionData | None, code: int
) -> None:
    """A consumer whose filter the broker does not have fails at its start and not silently later."""
    body = CheckClientRequestBody(client_id="a", group="g", subscription_data=subscription)
    answer = world.peer("a").ask(CheckClientConfig(), body)
    assert answer.code == code
    if code:
        assert answer.remark == "The broker does not support consumer to filter message by SQL92"
