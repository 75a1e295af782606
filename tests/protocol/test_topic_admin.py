"""Topics as mqadmin makes, changes, deletes and lists them, by the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import BrokerWorld

from rmqwire.bodies import CreateTopicListRequestBody, DataVersion, TopicConfig
from rmqwire.codes import ResponseCode
from rmqwire.requests import (
    DeleteTopicInBroker,
    GetAllTopicConfig,
    GetMaxOffset,
    GetSystemTopicListFromBroker,
    GetTopicConfig,
    UpdateAndCreateTopic,
    UpdateAndCreateTopicList,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    yield broker
    broker.close()


def create(topic: str, **fields: Any) -> UpdateAndCreateTopic:
    fields = {
        "default_topic": "TBW102",
        "read_queue_nums": 4,
        "write_queue_nums": 4,
        "perm": 6,
        "topic_filter_type": "SINGLE_TAG",
        **fields,
    }
    return UpdateAndCreateTopic(topic=topic, **fields)


def test_a_topic_is_made_and_shown(world: BrokerWorld) -> None:
    """updateTopic, then the topic as tools show it."""
    peer = world.peer()
    assert peer.ask(create("T", order=True, topic_sys_flag=1, attributes="+message.type=FIFO")).code == 0
    shown = json.loads(peer.ask(GetTopicConfig(topic="T")).body)
    assert shown == {
        "attributes": {"message.type": "FIFO"},
        "order": True,
        "perm": 6,
        "readQueueNums": 4,
        "topicFilterType": "SINGLE_TAG",
        "topicName": "T",
        "topicSysFlag": 1,
        "writeQueueNums": 4,
    }
    missing = peer.ask(GetTopicConfig(topic="No"))
    assert (missing.code, missing.remark) == (ResponseCode.TOPIC_NOT_EXIST, "No topic in this broker. topic: No")


def test_the_same_request_again_changes_nothing(world: BrokerWorld) -> None:
    """A script that makes its topics at every start causes no new registration."""
    peer = world.peer()
    peer.ask(create("T"))
    version = world.parts.topics.data_version
    assert peer.ask(create("T")).code == 0
    assert world.parts.topics.data_version is version
    assert peer.ask(create("T", perm=4)).code == 0
    assert world.parts.topics.data_version != version


@pytest.mark.parametrize(
    ("header", "code", "words"),
    [
        (create("a b"), ResponseCode.INVALID_PARAMETER, "contains illegal characters"),
        (create(" "), ResponseCode.INVALID_PARAMETER, "The specified topic is blank."),
        (create("TBW102"), ResponseCode.INVALID_PARAMETER, "The topic[TBW102] is conflict with system topic."),
        (create("broker-a"), ResponseCode.INVALID_PARAMETER, "conflict with system topic"),
        (create("T", topic_filter_type="ODD"), ResponseCode.SYSTEM_ERROR, "topicFilterType = [ODD] value invalid"),
        (create("T", attributes="+no.such=1"), ResponseCode.SYSTEM_ERROR, "unsupported key: no.such"),
        (
            create("T", attributes="+message.type=MIXED"),
            ResponseCode.INVALID_PARAMETER,
            "MIXED message type is not supported.",
        ),
    ],
)
def test_a_wrong_topic_is_refused(world: BrokerWorld, header: UpdateAndCreateTopic, code: int, words: str) -> None:
    """An administrator reads what was wrong, and nothing was made."""
    known = set(world.parts.topics.table)
    answer = world.peer().ask(header)
    assert answer.code == code
    assert answer.remark is not None
    assert words in answer.remark
    assert set(world.parts.topics.table) == known


def test_a_list_of_topics_is_made_whole(world: BrokerWorld) -> None:
    """updateTopicList makes all its topics or none; those that are there already do not keep the others away."""
    peer = world.peer()
    peer.ask(create("Old"))

    def ask(*names: str) -> int:
        configs = [TopicConfig(topic_name=name, read_queue_nums=4, write_queue_nums=4) for name in names]
        return peer.ask(UpdateAndCreateTopicList(), CreateTopicListRequestBody(topic_config_list=configs)).code

    assert ask("A", "bad name") == ResponseCode.INVALID_PARAMETER
    assert world.parts.topics.get("A") is None
    assert ask("Old", "A", "B") == 0
    assert world.parts.topics.get("B") is not None
    assert peer.ask(UpdateAndCreateTopicList(), b"{").code == ResponseCode.SYSTEM_ERROR


def test_a_deleted_topic_leaves_nothing(world: BrokerWorld) -> None:
    """A topic that is made again after deleteTopic is empty, and its groups begin anew."""
    peer = world.peer()
    for name in ("T", "%RETRY%g+T", "%RETRY%g_T", "TT"):
        world.parts.topics.update(TopicConfig(topic_name=name))
        world.put(name, 0, b"m")
        world.parts.stats.put(name, 1, 100)
    world.parts.offsets.commit("g", "T", 0, 1)
    world.parts.offsets.commit("g", "TT", 0, 1)
    assert peer.ask(DeleteTopicInBroker(topic="T")).code == 0
    for name in ("T", "%RETRY%g+T", "%RETRY%g_T"):
        assert world.parts.topics.get(name) is None
        assert peer.ask(GetMaxOffset(topic=name, queue_id=0)).ext["offset"] == "0"
        assert world.parts.stats.item("TOPIC_PUT_NUMS", name) is None
    assert world.parts.offsets.topics_of("g") == {"TT"}
    assert peer.ask(GetMaxOffset(topic="TT", queue_id=0)).ext["offset"] == "1"
    assert peer.ask(DeleteTopicInBroker(topic="T")).code == 0, "as the official broker: deleting twice is no error"
    assert peer.ask(DeleteTopicInBroker(topic="SELF_TEST_TOPIC")).code == ResponseCode.INVALID_PARAMETER
    assert peer.ask(DeleteTopicInBroker(topic=" ")).code == ResponseCode.INVALID_PARAMETER


def test_the_whole_table_for_callers_that_know_no_pages(world: BrokerWorld) -> None:
    """A 4.x slave gets everything at once, and no total that would make a newer one ask again."""
    answer = world.peer().ask(GetAllTopicConfig())
    assert answer.ext == {}
    body = json.loads(answer.body)
    assert set(body["topicConfigTable"]) == set(world.parts.topics.table)
    assert {"dataVersion", "mappingDataVersion", "topicQueueMappingDetailMap"} <= set(body)


def test_pages_of_the_table(tmp_path: Path) -> None:
    """A 5.5 slave reads a big table in parts, and begins anew when it changes meanwhile."""
    world = BrokerWorld(tmp_path, splitMetadataSize="10")
    peer = world.peer()
    names: list[str] = []
    version: str | None = None
    for first in range(0, 100, 6):
        answer = peer.ask(GetAllTopicConfig(topic_seq=first, data_version=version, max_topic_num=6))
        assert answer.ext == {"totalTopicNum": str(len(world.parts.topics.table))}
        body = json.loads(answer.body)
        version = json.dumps(body["dataVersion"])
        names += list(body["topicConfigTable"])
        if len(names) >= len(world.parts.topics.table):
            break
    assert names == sorted(world.parts.topics.table)
    world.parts.topics.bump_version()
    again = json.loads(peer.ask(GetAllTopicConfig(topic_seq=6, data_version=version)).body)
    assert list(again["topicConfigTable"]) == names[:10]
    assert DataVersion.of_tree(again["dataVersion"]) == world.parts.topics.data_version
    broken = json.loads(peer.ask(GetAllTopicConfig(topic_seq=6, data_version="{")).body)
    assert list(broken["topicConfigTable"]) == names[:10]
    world.close()


def test_system_topics_are_listed(world: BrokerWorld) -> None:
    """topicList leaves the broker's own topics out by this list."""
    listed = json.loads(world.peer().ask(GetSystemTopicListFromBroker()).body)["topicList"]
    assert {"TBW102", "broker-a", "C", "SCHEDULE_TOPIC_XXXX", "RMQ_SYS_TRACE_TOPIC"} <= set(listed)
