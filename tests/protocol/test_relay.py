"""Requests that only a consumer can answer reach it, and its answer comes back as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld, Peer
from protocol.wiring import sent

from rmqwire.bodies import GetConsumerStatusBody, MessageQueue, TopicConfig
from rmqwire.codes import RequestCode, ResponseCode
from rmqwire.command import FLAG_RESPONSE, RemotingCommand, encode_command
from rmqwire.message import decode_record, encode_host, encode_message_id
from rmqwire.requests import (
    ConsumeMessageDirectly,
    GetConsumerRunningInfo,
    InvokeBrokerToGetConsumerStatus,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    yield broker
    broker.close()


def online(world: BrokerWorld, client_id: str, version: int = 513) -> Peer:
    peer = world.peer(client_id, version=version)
    peer.beat("g")
    world.reactor.advance(1)
    sent(peer.wire)
    return peer


def asked(peer: Peer) -> RemotingCommand:
    (request,) = [command for command in sent(peer.wire) if not command.is_response]
    return request


def reply(peer: Peer, request: RemotingCommand, code: int = 0, body: bytes = b"", remark: str | None = None) -> None:
    answer = RemotingCommand(code, opaque=request.opaque, flag=FLAG_RESPONSE, body=body, remark=remark)
    peer.connection.dataReceived(encode_command(answer))


def test_the_state_of_a_consumer_is_passed_on_unread(world: BrokerWorld) -> None:
    """consumerStatus shows what the consumer wrote, in a dialect that the broker need not understand."""
    consumer, admin = online(world, "a"), world.peer("admin")
    admin.send(GetConsumerRunningInfo(consumer_group="g", client_id="a", jstack_enable=True))
    request = asked(consumer)
    assert request.code == RequestCode.GET_CONSUMER_RUNNING_INFO
    assert request.ext["jstackEnable"] == "true"
    assert sent(admin.wire) == [], "not answered before the consumer has"
    reply(consumer, request, body=b'{"mqTable":{{"queueId":0}:1}}')
    (answer,) = sent(admin.wire)
    assert (answer.code, answer.body) == (0, b'{"mqTable":{{"queueId":0}:1}}')


def test_a_consumer_that_cannot_be_asked(world: BrokerWorld) -> None:
    """An administrator learns whether a consumer is offline, too old, silent or gone."""
    admin = world.peer("admin")
    offline = admin.ask(GetConsumerRunningInfo(consumer_group="g", client_id="x"))
    assert (offline.code, offline.remark) == (ResponseCode.SYSTEM_ERROR, "The Consumer <g> <x> not online")
    old = online(world, "old", version=50)
    refused = admin.ask(GetConsumerRunningInfo(consumer_group="g", client_id="old"))
    assert refused.code == ResponseCode.SYSTEM_ERROR
    assert refused.remark is not None
    assert "too low to finish" in refused.remark
    old.leave()
    silent = online(world, "silent")
    admin.send(GetConsumerRunningInfo(consumer_group="g", client_id="silent"))
    world.reactor.advance(10)
    (late,) = sent(admin.wire)
    assert late.code == ResponseCode.CONSUME_MSG_TIMEOUT
    admin.send(GetConsumerRunningInfo(consumer_group="g", client_id="silent"))
    silent.leave()
    (gone,) = sent(admin.wire)
    assert gone.code == ResponseCode.SYSTEM_ERROR
    assert gone.remark is not None
    assert gone.remark.startswith("invoke consumer <g> <silent> Exception: ")


def test_a_message_is_consumed_on_demand(world: BrokerWorld) -> None:
    """An administrator replays one message at one consumer and sees the result."""
    world.parts.topics.update(TopicConfig(topic_name="T", topic_sys_flag=1))
    (position,) = world.put("T", 0, b"again")
    message_id = encode_message_id(encode_host("127.0.0.1", 10911), position)
    consumer, admin = online(world, "a"), world.peer("admin")
    admin.send(ConsumeMessageDirectly(consumer_group="g", client_id="a", msg_id=message_id, topic="T"))
    request = asked(consumer)
    assert decode_record(request.body).body == b"again"
    assert (request.ext["brokerName"], request.ext["topicSysFlag"], request.ext["groupSysFlag"]) == (
        "broker-a",
        "1",
        "0",
    )
    reply(consumer, request, body=b'{"consumeResult":"CR_SUCCESS"}')
    (answer,) = sent(admin.wire)
    assert (answer.code, answer.body) == (0, b'{"consumeResult":"CR_SUCCESS"}')
    for wrong in ("nonsense", None, encode_message_id(encode_host("127.0.0.1", 10911), position + 1)):
        header = ConsumeMessageDirectly(consumer_group="g", client_id="a", msg_id=wrong)
        assert admin.ask(header).code == ResponseCode.SYSTEM_ERROR


def test_the_offsets_that_consumers_have_in_hand(world: BrokerWorld) -> None:
    """getConsumerStatus asks each consumer; one that fails does not hide the others."""
    first, second, admin = online(world, "a"), online(world, "b"), world.peer("admin")
    queue = MessageQueue(topic="T", broker_name="broker-a", queue_id=0)
    sent(first.wire)
    admin.send(InvokeBrokerToGetConsumerStatus(topic="T", group="g"))
    request = asked(first)
    assert request.code == RequestCode.GET_CONSUMER_STATUS_FROM_CLIENT
    reply(first, request, body=GetConsumerStatusBody(message_queue_table={queue: 7}).encode())
    reply(second, asked(second), code=1, remark="no")
    (answer,) = sent(admin.wire)
    assert GetConsumerStatusBody.decode(answer.body).consumer_table == {"a": {queue: 7}}
    admin.send(InvokeBrokerToGetConsumerStatus(topic="T", group="g", client_addr="b"))
    assert sent(first.wire) == []
    second.leave()
    (answer,) = sent(admin.wire)
    assert GetConsumerStatusBody.decode(answer.body).consumer_table == {}
    offline = admin.ask(InvokeBrokerToGetConsumerStatus(topic="T", group="no"))
    assert offline.remark == "No Any Consumer online in the consumer group: [no]"
