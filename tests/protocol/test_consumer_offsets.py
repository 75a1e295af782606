"""Offsets of consumer groups by the wire: where a consumer begins and what it may store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld

from rmqwire.bodies import TopicConfig
from rmqwire.codes import ResponseCode
from rmqwire.command import FLAG_ONEWAY
from rmqwire.dialect import loads
from rmqwire.fields import I64_MAX
from rmqwire.requests import (
    CloneGroupOffset,
    GetAllConsumerOffset,
    GetAllDelayOffset,
    QueryConsumerOffset,
    QueryCorrectionOffset,
    UpdateConsumerOffset,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    broker.parts.topics.update(TopicConfig(topic_name="T"))
    broker.parts.groups.find("g")
    yield broker
    broker.close()


def query(world: BrokerWorld, group: str, queue_id: int = 0, **fields: bool) -> tuple[int, str | None, str | None]:
    answer = world.peer().ask(QueryConsumerOffset(consumer_group=group, topic="T", queue_id=queue_id, **fields))
    return answer.code, answer.ext.get("offset"), answer.remark


def update(world: BrokerWorld, group: str, topic: str, offset: int) -> tuple[int, str | None]:
    answer = world.peer().ask(UpdateConsumerOffset(consumer_group=group, topic=topic, queue_id=0, commit_offset=offset))
    return answer.code, answer.remark


def test_a_stored_offset_is_given(world: BrokerWorld) -> None:
    """A consumer that takes a queue over goes on where the group was."""
    assert update(world, "g", "T", 42) == (0, None)
    assert query(world, "g") == (0, "42", None)


def test_a_commit_needs_no_answer(world: BrokerWorld) -> None:
    """Consumers commit oneway every five seconds."""
    peer = world.peer()
    header = UpdateConsumerOffset(consumer_group="g", topic="T", queue_id=0, commit_offset=7)
    peer.send(header, flag=FLAG_ONEWAY)
    assert peer.wire.value() == b""
    assert query(world, "g") == (0, "7", None)


def test_a_new_group_begins_at_0_of_a_young_queue(world: BrokerWorld) -> None:
    """The first consumer of a topic misses nothing of what was sent before it came, whatever it is set to."""
    world.put("T", 0, b"m")
    assert query(world, "new") == (0, "0", None)


def test_a_new_group_decides_itself_elsewhere(world: BrokerWorld) -> None:
    """Where the broker cannot say, the consumer's own setting counts; any other code would stop it."""
    remark = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"
    assert query(world, "new") == (ResponseCode.QUERY_NOT_FOUND, None, remark), "an empty queue"
    world.put("T", 0, b"m")
    assert query(world, "new", 99) == (ResponseCode.QUERY_NOT_FOUND, None, remark), "a queue that does not exist"
    code, offset, remark_of_pop = query(world, "new", set_zero_if_not_found=False)
    assert (code, offset) == (ResponseCode.QUERY_NOT_FOUND, None)
    assert remark_of_pop == "Not found, do not set to zero, maybe this group boot first"


def test_only_known_groups_and_topics_are_stored(world: BrokerWorld) -> None:
    """A typing error in a tool makes no entry that stays for ever."""
    assert update(world, "no", "T", 1) == (ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "Group no not exist!")
    assert update(world, "g", "No", 1) == (ResponseCode.TOPIC_NOT_EXIST, "Topic No not exist!")
    assert world.parts.offsets.table == {}
    assert not world.parts.groups.contains("no")


def test_a_commit_does_not_undo_a_reset(world: BrokerWorld) -> None:
    """The consumer that is still at the old place does not win over the administrator."""
    world.parts.offsets.assign_reset_offset("g", "T", 0, 3)
    assert update(world, "g", "T", 50) == (0, "Offset has been previously reset")
    assert query(world, "g") == (0, "3", None)
    world.parts.offsets.take_reset_offset("g", "T", 0)
    assert update(world, "g", "T", 4) == (0, None)
    assert query(world, "g") == (0, "4", None)


def test_a_slave_copies_the_tables(world: BrokerWorld) -> None:
    """A slave that takes over knows where the groups were."""
    update(world, "g", "T", 42)
    world.parts.offsets.commit_pull_offset("g", "T", 0, 43)
    body = loads(world.peer().ask(GetAllConsumerOffset()).body)
    assert body["offsetTable"] == {"T@g": {"0": 42}}
    assert set(body["dataVersion"]) == {"counter", "stateVersion", "timestamp"}
    assert "pullOffsetTable" not in body, "5.5.0 reads no answer with it"
    assert set(loads(world.peer().ask(GetAllDelayOffset()).body)) == {"dataVersion", "offsetTable"}


def test_offsets_are_cloned(world: BrokerWorld) -> None:
    """cloneGroupOffset of all topics leaves out those that the group no longer reads."""
    world.parts.topics.update(TopicConfig(topic_name="U"))
    for topic in ("T", "U", "Deleted"):
        world.parts.offsets.commit("g", topic, 0, 5)
    world.peer("a").beat("g", topics=("T",))
    peer = world.peer()
    assert peer.ask(CloneGroupOffset(src_group="g", dest_group="online")).code == 0
    assert world.parts.offsets.topics_of("online") == {"T"}
    assert peer.ask(CloneGroupOffset(src_group="g", dest_group="offline", offline=True)).code == 0
    assert world.parts.offsets.topics_of("offline") == {"T", "U"}
    assert peer.ask(CloneGroupOffset(src_group="g", dest_group="one", topic="U", offline=True)).code == 0
    assert world.parts.offsets.topics_of("one") == {"U"}


def test_the_smallest_offsets_of_others(world: BrokerWorld) -> None:
    """A tool sees how far the slowest other group is, and nothing is lost by asking."""
    for group, offset in (("a", 5), ("b", 3), ("c", 1)):
        world.parts.offsets.commit(group, "T", 0, offset)
    world.parts.offsets.commit("b", "T", 1, 9)
    header = QueryCorrectionOffset(compare_group="x", topic="T", filter_groups="c,d")
    assert loads(world.peer().ask(header).body) == {"correctionOffsets": {"0": 3, "1": 9}}
    header = QueryCorrectionOffset(compare_group="c", topic="T", filter_groups="c")
    assert loads(world.peer().ask(header).body) == {"correctionOffsets": {"0": I64_MAX, "1": 9}}
    assert world.parts.offsets.query("c", "T", 0) == 1


def test_a_commit_that_lacks_a_number(world: BrokerWorld) -> None:
    """29 with the field's name, where other requests without a field are a system error."""
    peer = world.peer()
    world.parts.groups.find("g")
    answer = peer.ask(UpdateConsumerOffset(consumer_group="g", topic="T", queue_id=0))
    assert (answer.code, answer.remark) == (29, "Offset is null, topic is T")
    answer = peer.ask(UpdateConsumerOffset(consumer_group="g", topic="T", commit_offset=3))
    assert (answer.code, answer.remark) == (29, "QueueId is null, topic is T")
    assert world.parts.offsets.query("g", "T", 0) == -1
