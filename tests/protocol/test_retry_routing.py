"""Messages that clients themselves send to a retry topic, on a whole broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import BrokerWorld, Peer

from rmqd.protocol.broker.delay import SCHEDULE_TOPIC
from rmqd.protocol.broker.locks import LOCK_LIFE_S
from rmqwire.bodies import LockBatchRequestBody, MessageQueue, SubscriptionGroupConfig
from rmqwire.codes import ResponseCode, Version
from rmqwire.message import decode_properties, decode_record
from rmqwire.requests import LockBatchMq, SendMessage

RETRY, DEAD = "%RETRY%G", "%DLQ%G"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    world = BrokerWorld(tmp_path)
    yield world
    world.close()


@pytest.fixture
def peer(world: BrokerWorld) -> Peer:
    peer = world.peer()
    peer.beat("G")
    return peer


def send(peer: Peer, *, topic: str = RETRY, properties: str = "DELAY\x012\x02", **more: Any) -> tuple[int, str | None]:
    header = SendMessage(
        producer_group="CLIENT_INNER_PRODUCER",
        topic=topic,
        default_topic="TBW102",
        default_topic_queue_nums=4,
        queue_id=0,
        sys_flag=0,
        born_timestamp=1,
        flag=0,
        properties=properties,
        **more,
    )
    answer = peer.ask(header, b"x")
    return answer.code, answer.remark


def counts(world: BrokerWorld) -> tuple[int, int]:
    """How many are dead, and how many wait at level 2."""
    return world.store.max_offset(DEAD, 0), world.store.max_offset(SCHEDULE_TOPIC, 1)


@pytest.mark.parametrize(
    ("times", "header_max", "version", "dead"),
    [
        (None, None, 353, False),
        (2, None, 353, False),
        (3, None, 353, True),
        (3, 3, 353, False),
        (4, 3, 353, True),
        (1, 0, 353, True),
        (1, 0, Version.V3_4_9 - 1, False),
    ],
)
def test_how_often(times: int | None, header_max: int | None, version: int, dead: bool, world: BrokerWorld) -> None:
    """One try more than with CONSUMER_SEND_MSG_BACK: the client has counted this one already."""
    world.parts.groups.update(SubscriptionGroupConfig(group_name="G", retry_max_times=2))
    peer = world.peer(version=version)
    peer.beat("G")
    assert send(peer, reconsume_times=times, max_reconsume_times=header_max)[0] == 0
    assert counts(world) == (dead, not dead)


def test_a_dead_letter_does_not_wait(world: BrokerWorld, peer: Peer) -> None:
    assert send(peer, reconsume_times=17)[0] == 0
    message = decode_record(world.store.get_messages(DEAD, 0, 0, 1).records[0])
    assert decode_properties(message.properties)["DELAY"] == "-1"
    config = world.parts.topics.get(DEAD)
    assert config is not None
    assert (config.read_queue_nums, config.write_queue_nums, config.perm) == (1, 1, 6)


def test_a_group_that_holds_locks(world: BrokerWorld, peer: Peer) -> None:
    """An orderly consumer gives a message up at once, and again retries 60 s after its last lock."""
    queue = MessageQueue(topic="T", broker_name="broker-a", queue_id=0)
    peer.ask(LockBatchMq(), LockBatchRequestBody(consumer_group="G", client_id="client", mq_set=[queue]))
    assert send(peer, reconsume_times=1)[0] == 0
    assert counts(world) == (1, 0)
    world.reactor.advance(LOCK_LIFE_S + 1)
    assert send(peer, reconsume_times=1)[0] == 0
    assert counts(world) == (1, 1)


def test_no_group(tmp_path: Path) -> None:
    world = BrokerWorld(tmp_path, autoCreateSubscriptionGroup="false")
    world.parts.topics.create_for_send_back(RETRY, 1, 6, 0)
    code, remark = send(world.peer())
    assert code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST
    assert remark is not None
    assert remark.startswith("subscription group not exist, G \nSee https://")
    world.close()
