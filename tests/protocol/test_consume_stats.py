"""How far topics and groups are, as mqadmin and monitors show it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld

from rmqwire.bodies import (
    ConsumeStats,
    ConsumeStatsList,
    MessageQueue,
    OffsetWrapper,
    QueryConsumeTimeSpanBody,
    TopicConfig,
    TopicStatsTable,
)
from rmqwire.codes import ResponseCode
from rmqwire.requests import GetBrokerConsumeStats, GetConsumeStats, GetTopicStatsInfo, QueryConsumeTimeSpan


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    for topic in ("T", "U"):
        broker.parts.topics.update(TopicConfig(topic_name=topic, read_queue_nums=2, write_queue_nums=2))
        broker.put(topic, 0, b"a", b"b", b"c")
    broker.parts.offsets.commit("g", "T", 0, 2)
    yield broker
    broker.close()


def queue(topic: str, queue_id: int) -> MessageQueue:
    return MessageQueue(topic=topic, broker_name="broker-a", queue_id=queue_id)


def consume_stats(world: BrokerWorld, **fields: str) -> dict[MessageQueue, OffsetWrapper]:
    answer = world.peer().ask(GetConsumeStats(**{"consumer_group": "g", **fields}))
    assert answer.code == ResponseCode.SUCCESS, answer.remark
    return ConsumeStats.decode(answer.body).offset_table


def test_the_ends_of_a_topic(world: BrokerWorld) -> None:
    """topicStatus shows how many messages each queue holds and when the last one came."""
    answer = world.peer().ask(GetTopicStatsInfo(topic="T"))
    table = TopicStatsTable.decode(answer.body).offset_table
    assert (table[queue("T", 0)].min_offset, table[queue("T", 0)].max_offset) == (0, 3)
    assert table[queue("T", 0)].last_update_timestamp == world.store.store_timestamp("T", 0, 2)
    assert table[queue("T", 1)].max_offset == 0
    assert table[queue("T", 1)].last_update_timestamp == 0
    missing = world.peer().ask(GetTopicStatsInfo(topic="No"))
    assert (missing.code, missing.remark) == (ResponseCode.TOPIC_NOT_EXIST, "topic[No] not exist")


def test_the_lag_of_a_group(world: BrokerWorld) -> None:
    """consumerProgress shows how far a group is behind."""
    world.parts.offsets.commit_pull_offset("g", "T", 0, 3)
    table = consume_stats(world)
    assert set(table) == {queue("T", 0), queue("T", 1)}
    found = table[queue("T", 0)]
    assert (found.broker_offset, found.consumer_offset, found.pull_offset) == (3, 2, 3)
    assert found.last_timestamp == world.store.store_timestamp("T", 0, 1)
    assert table[queue("T", 1)] == OffsetWrapper()
    assert consume_stats(world, consumer_group="unknown") == {}


def test_only_topics_that_are_read_count(world: BrokerWorld) -> None:
    """A topic that a running group no longer subscribes to does not look like a backlog, unless it is asked for."""
    world.parts.offsets.commit("g", "U", 0, 1)
    assert {each.topic for each in consume_stats(world)} == {"T", "U"}
    world.peer("a").beat("g", topics=("U",))
    assert {each.topic for each in consume_stats(world)} == {"U"}
    assert consume_stats(world, topic="T") == {}
    assert {each.topic for each in consume_stats(world, topic_list="T;U")} == {"T", "U"}
    assert {each.topic for each in consume_stats(world, topic="U")} == {"U"}
    world.parts.topics.delete("U")
    assert consume_stats(world) == {}


def test_the_lag_of_all_groups(world: BrokerWorld) -> None:
    """brokerConsumeStats sums up what is behind."""
    world.parts.groups.find("g")
    world.parts.offsets.commit_pull_offset("g", "T", 0, 3)
    stats = ConsumeStatsList.decode(world.peer().ask(GetBrokerConsumeStats(is_order=False)).body)
    assert (stats.broker_addr, stats.total_diff, stats.total_inflight_diff) == ("127.0.0.1:10911", 1, 1)
    by_group = {name: parts for entry in stats.consume_stats_list for name, parts in entry.items()}
    assert len(by_group["g"]) == 1
    assert by_group["TOOLS_CONSUMER"] == []
    ordered = ConsumeStatsList.decode(world.peer().ask(GetBrokerConsumeStats(is_order=True)).body)
    assert ordered.total_diff == 0


def test_the_times_a_group_stands_at(world: BrokerWorld) -> None:
    """A tool shows by how much time a group is late."""
    answer = world.peer().ask(QueryConsumeTimeSpan(topic="T", group="g"))
    spans = QueryConsumeTimeSpanBody.decode(answer.body).consume_time_span_set
    assert [span.message_queue for span in spans] == [queue("T", 0), queue("T", 1)]
    first = spans[0]
    assert first.min_time_stamp == world.store.store_timestamp("T", 0, 0)
    assert first.max_time_stamp == world.store.store_timestamp("T", 0, 2)
    assert first.consume_time_stamp == world.store.store_timestamp("T", 0, 1)
    assert first.delay_time >= 0
    assert first.min_time_stamp_str is not None
    assert first.min_time_stamp_str[10] == "#"
    assert spans[1].delay_time == 0, "an empty queue is not late"
    assert world.peer().ask(QueryConsumeTimeSpan(topic="No", group="g")).code == ResponseCode.TOPIC_NOT_EXIST
