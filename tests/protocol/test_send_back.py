"""CONSUMER_SEND_MSG_BACK on a whole broker: what is stored where, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import NOW_MS, BrokerWorld, Peer

from rmqd.protocol.broker.delay import SCHEDULE_TOPIC
from rmqd.store.errors import ColdRead
from rmqd.store.reading import GetStatus
from rmqwire.bodies import SubscriptionGroupConfig
from rmqwire.codes import ResponseCode, Version
from rmqwire.hashing import tags_code
from rmqwire.message import (
    StoredMessage,
    decode_properties,
    decode_record,
    encode_host,
    encode_message_id,
    encode_properties,
)
from rmqwire.requests import ConsumerSendMsgBack

RETRY, DEAD = "%RETRY%G", "%DLQ%G"
BORN = encode_host("10.1.2.3", 45)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    world = BrokerWorld(tmp_path)
    yield world
    world.close()


@pytest.fixture
def peer(world: BrokerWorld) -> Peer:
    return world.peer()


def put(world: BrokerWorld, *, times: int = 0, topic: str = "T", **properties: str) -> int:
    staged = world.store.stage(
        topic,
        1,
        b"body",
        encode_properties({"TAGS": "a", "KEYS": "k", "UNIQ_KEY": "U", **properties}),
        tags_code=tags_code("a"),
        keys=("k",),
        flag=5,
        sys_flag=1,
        born_timestamp=NOW_MS,
        born_host=BORN,
        reconsume_times=times,
    )
    world.store.commit()
    return staged.physical_offset


def back(peer: Peer, offset: int, level: int = 0, *, group: str = "G", **more: Any) -> tuple[int, str | None]:
    answer = peer.ask(ConsumerSendMsgBack(offset=offset, group=group, delay_level=level, **more))
    return answer.code, answer.remark


def stored(world: BrokerWorld, topic: str, queue_id: int = 0) -> list[StoredMessage]:
    found = world.store.get_messages(topic, queue_id, 0, 32)
    return [decode_record(record) for record in found.records] if found.status is GetStatus.FOUND else []


@pytest.mark.parametrize(("times", "level"), [(0, 3), (1, 4), (13, 16), (15, 18)])
def test_the_broker_chooses_the_level(times: int, level: int, world: BrokerWorld, peer: Peer) -> None:
    """The more often a message failed, the longer it waits."""
    offset = put(world, times=times)
    assert back(peer, offset) == (0, None)
    [message] = stored(world, SCHEDULE_TOPIC, level - 1)
    properties = decode_properties(message.properties)
    assert properties == {
        "TAGS": "a",
        "KEYS": "k",
        "UNIQ_KEY": "U",
        "RETRY_TOPIC": "T",
        "ORIGIN_MESSAGE_ID": encode_message_id(encode_host("127.0.0.1", 10911), offset),
        "WAIT": "false",
        "DELAY": str(level),
        "REAL_TOPIC": RETRY,
        "REAL_QID": "0",
    }
    assert (message.body, message.flag, message.sys_flag, message.reconsume_times) == (b"body", 5, 1, times + 1)
    assert (message.born_host, message.born_timestamp) == (BORN, NOW_MS)


@pytest.mark.parametrize(("asked", "level"), [(1, 1), (18, 18), (19, 18), (1000, 18)])
def test_the_consumer_chooses_the_level(asked: int, level: int, world: BrokerWorld, peer: Peer) -> None:
    assert back(peer, put(world), asked) == (0, None)
    [message] = stored(world, SCHEDULE_TOPIC, level - 1)
    assert decode_properties(message.properties)["DELAY"] == str(level)


def test_where_it_came_from_stays(world: BrokerWorld, peer: Peer) -> None:
    """At the tenth try a message still tells its first topic and its first id."""
    offset = put(world, times=1, topic=RETRY, RETRY_TOPIC="First", ORIGIN_MESSAGE_ID="ID")
    back(peer, offset, 1)
    properties = decode_properties(stored(world, SCHEDULE_TOPIC)[0].properties)
    assert (properties["RETRY_TOPIC"], properties["ORIGIN_MESSAGE_ID"]) == ("First", "ID")


def test_dead_letter(world: BrokerWorld, peer: Peer) -> None:
    assert back(peer, put(world, times=16)) == (0, None)
    [message] = stored(world, DEAD)
    properties = decode_properties(message.properties)
    assert (properties["DELAY"], properties["RETRY_TOPIC"], message.reconsume_times) == ("0", "T", 17)
    config = world.parts.topics.get(DEAD)
    assert config is not None
    assert (config.read_queue_nums, config.write_queue_nums, config.perm) == (1, 1, 6)
    found = world.store.get_messages(DEAD, 0, 0, 1, tags=frozenset((tags_code("a"),)))
    assert found.count == 1, "a consumer of dead letters can filter by tag"


@pytest.mark.parametrize(
    ("times", "level", "header_max", "version", "dead"),
    [
        (0, 0, None, 353, False),
        (0, -1, None, 353, True),
        (2, 0, None, 353, True),
        (2, 0, 3, 353, False),
        (3, 0, 3, 353, True),
        (0, 0, 0, 353, True),
        (0, 0, -1, 353, True),
        (2, 0, 3, Version.V3_4_9, False),
        (2, 0, 3, Version.V3_4_9 - 1, True),
        (0, 0, 0, Version.V3_4_9 - 1, False),
    ],
)
def test_how_often(
    times: int, level: int, header_max: int | None, version: int, dead: bool, world: BrokerWorld
) -> None:
    """The group allows two tries; a consumer of 3.4.9 or later may say another number."""
    world.parts.groups.update(SubscriptionGroupConfig(group_name="G", retry_max_times=2))
    peer = world.peer(version=version)
    assert back(peer, put(world, times=times), level, max_reconsume_times=header_max) == (0, None)
    assert len(stored(world, DEAD)) == dead
    assert len(stored(world, SCHEDULE_TOPIC, 2 + times)) == (not dead)


def test_the_queues_of_a_retry_topic(world: BrokerWorld, peer: Peer) -> None:
    """A group with more retry queues has its retries spread over them."""
    world.parts.groups.update(SubscriptionGroupConfig(group_name="G", retry_queue_nums=3))
    for _ in range(60):
        back(peer, put(world), 1)
    config = world.parts.topics.get(RETRY)
    assert config is not None
    assert (config.read_queue_nums, config.write_queue_nums, config.perm) == (3, 3, 6)
    found = world.store.get_messages(SCHEDULE_TOPIC, 0, 0, 32)
    queues = {decode_properties(decode_record(record).properties)["REAL_QID"] for record in found.records}
    assert queues == {"0", "1", "2"}


@pytest.mark.parametrize(("unit", "flag"), [(True, 2), (False, 0)])
def test_unit_mode(unit: bool, flag: int, world: BrokerWorld, peer: Peer) -> None:
    back(peer, put(world), 1, unit_mode=unit)
    config = world.parts.topics.get(RETRY)
    assert config is not None
    assert config.topic_sys_flag == flag


def test_no_retry_queues(world: BrokerWorld, peer: Peer) -> None:
    """A group without retry queues wants no retries: the message is given up, as the official broker does."""
    world.parts.groups.update(SubscriptionGroupConfig(group_name="G", retry_queue_nums=0))
    assert back(peer, put(world)) == (0, None)
    assert world.parts.topics.get(RETRY) is None
    assert stored(world, SCHEDULE_TOPIC, 2) == []


@pytest.mark.parametrize("offset", [-1, 1, 1 << 40])
def test_no_message_there(offset: int, world: BrokerWorld, peer: Peer) -> None:
    put(world)
    assert back(peer, offset) == (ResponseCode.SYSTEM_ERROR, f"look message by offset failed, {offset}")


def test_no_group(tmp_path: Path) -> None:
    world = BrokerWorld(tmp_path, autoCreateSubscriptionGroup="false")
    code, remark = back(world.peer(), put(world))
    assert code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST
    assert remark is not None
    assert remark.startswith("subscription group not exist, G \nSee https://")
    world.close()


def test_a_broker_that_may_not_be_written(world: BrokerWorld, peer: Peer) -> None:
    world.parts.send_settings.broker_permission = 4
    assert back(peer, put(world)) == (
        ResponseCode.NO_PERMISSION,
        "the broker[127.0.0.1] sending message is forbidden",
    )


def test_a_retry_topic_that_may_not_be_written(world: BrokerWorld, peer: Peer) -> None:
    offset = put(world)
    back(peer, offset, 1)
    config = world.parts.topics.get(RETRY)
    assert config is not None
    config.perm = 4
    assert back(peer, offset, 1) == (ResponseCode.NO_PERMISSION, f"the topic[{RETRY}] sending message is forbidden")


def test_a_message_that_is_on_disk(world: BrokerWorld, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that is far behind fails on old messages: they are read in a thread, and put back as any other."""
    read = world.store.read_record

    def cold(offset: int, *, allow_cold: bool) -> bytes | None:
        if not allow_cold:
            raise ColdRead("cold")
        return read(offset, allow_cold=True)

    monkeypatch.setattr(world.store, "read_record", cold)
    assert back(peer, put(world), 1) == (0, None)
    assert len(stored(world, SCHEDULE_TOPIC)) == 1
    assert back(peer, 1 << 40) == (ResponseCode.SYSTEM_ERROR, f"look message by offset failed, {1 << 40}")
