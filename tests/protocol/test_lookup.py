"""Ends of queues, offsets by time, messages by key and by position, by the wire."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import BrokerWorld, ManualThread
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rmqd.protocol.broker.reading import ColdReads
from rmqd.store.errors import ColdRead
from rmqwire.codes import ResponseCode
from rmqwire.message import decode_record, iter_records
from rmqwire.requests import (
    GetEarliestMsgStoretime,
    GetMaxOffset,
    GetMinOffset,
    QueryConsumeQueue,
    QueryMessage,
    SearchOffsetByTimestamp,
    ViewMessageById,
)

waits = SynchronousTestCase()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    yield broker
    broker.close()


def test_both_ends_of_a_queue(world: BrokerWorld) -> None:
    """A consumer that begins at the end or at the beginning learns where that is."""
    world.put("T", 3, b"a", b"b")
    peer = world.peer()
    assert peer.ask(GetMaxOffset(topic="T", queue_id=3)).ext == {"offset": "2"}
    assert peer.ask(GetMinOffset(topic="T", queue_id=3)).ext == {"offset": "0"}
    for unknown in (GetMaxOffset(topic="No", queue_id=0), GetMinOffset(topic="T", queue_id=9)):
        answer = peer.ask(unknown)
        assert (answer.code, answer.ext) == (0, {"offset": "0"})


def test_offsets_by_time(world: BrokerWorld) -> None:
    """A reset to a time finds the first message of it, or with UPPER the last one before it."""
    world.put("T", 0, b"a", b"b")
    stored = world.store.store_timestamp("T", 0, 0)
    peer = world.peer()

    def search(timestamp: int, boundary: str | None = None) -> str:
        header = SearchOffsetByTimestamp(topic="T", queue_id=0, timestamp=timestamp, boundary_type=boundary)
        return peer.ask(header).ext["offset"]

    assert search(stored - 1) == "0"
    assert search(stored + 3_600_000) == "2"
    assert search(stored + 3_600_000, "upper") == "1"
    assert peer.ask(GetEarliestMsgStoretime(topic="T", queue_id=0)).ext == {"timestamp": str(stored)}
    assert peer.ask(GetEarliestMsgStoretime(topic="T", queue_id=9)).ext == {"timestamp": "-1"}


def test_messages_by_key(world: BrokerWorld) -> None:
    """queryMsgByKey finds a message of its topic, and says so when there is none."""
    world.put("T", 0, b"first", b"second", keys=("order-1",))
    world.put("U", 0, b"other", keys=("order-1",))
    peer = world.peer()
    found = peer.ask(QueryMessage(topic="T", key="order-1", max_num=10, begin_timestamp=0, end_timestamp=2**62))
    assert found.code == ResponseCode.SUCCESS
    assert sorted(record.body for record in iter_records(found.body)) == [b"first", b"second"]
    assert set(found.ext) == {"indexLastUpdateTimestamp", "indexLastUpdatePhyoffset"}
    less = peer.ask(QueryMessage(topic="T", key="order-1", max_num=-1, begin_timestamp=0, end_timestamp=2**62))
    assert (less.code, less.remark) == (1, "maxNum is negative: -1")
    none = peer.ask(QueryMessage(topic="T", key="no", max_num=10, begin_timestamp=0, end_timestamp=2**62))
    assert none.code == ResponseCode.QUERY_NOT_FOUND
    assert none.remark == "can not find message, maybe time range not correct"
    assert set(none.ext) == {"indexLastUpdateTimestamp", "indexLastUpdatePhyoffset"}


def test_a_query_by_unique_key_has_a_limit_of_its_own(tmp_path: Path) -> None:
    """Clients ask for one message by its id and must get it even when its key's hash has company."""
    world = BrokerWorld(tmp_path, defaultQueryMaxNum="2")
    world.put("T", 0, b"1", b"2", b"3", keys=("id",))
    header = QueryMessage(topic="T", key="id", max_num=1, begin_timestamp=0, end_timestamp=2**62, unique_key_query=True)
    assert len(list(iter_records(world.peer().ask(header).body))) == 2
    world.close()


def test_a_message_by_its_position(world: BrokerWorld) -> None:
    """viewMessage by an offset id gives the stored record as it is."""
    positions = world.put("T", 0, b"one", b"two")
    peer = world.peer()
    answer = peer.ask(ViewMessageById(offset=positions[1]))
    assert decode_record(answer.body).body == b"two"
    wrong = peer.ask(ViewMessageById(offset=positions[1] + 1))
    assert wrong.code == ResponseCode.SYSTEM_ERROR
    assert wrong.remark == f"can not find message by the offset, {positions[1] + 1}"
    assert peer.ask(ViewMessageById(offset=-5)).code == ResponseCode.SYSTEM_ERROR
    assert peer.ask(ViewMessageById(offset=2**62)).code == ResponseCode.SYSTEM_ERROR


def test_units_of_a_consume_queue(world: BrokerWorld) -> None:
    """queryCq shows where messages lie and whether a group subscribes to them."""
    positions = world.put("T", 0, *[b"m%d" % number for number in range(10)])
    peer = world.peer("a")
    peer.beat("g")

    def query(index: int, count: int, group: str | None = None) -> Any:
        header = QueryConsumeQueue(topic="T", queue_id=0, index=index, count=count, consumer_group=group)
        return json.loads(peer.ask(header).body)

    body = query(8, 5, "g")
    assert [unit["physicOffset"] for unit in body["queueData"]] == positions[8:]
    assert (body["minQueueIndex"], body["maxQueueIndex"]) == (0, 10)
    assert body["subscriptionData"]["topic"] == "T"
    assert query(0, 3, "offline")["filterData"] == "offline@T is not online!"
    assert query(0, 0)["queueData"] == []
    answer = peer.ask(QueryConsumeQueue(topic="T", queue_id=0, index=10, count=5))
    assert (answer.code, answer.body, answer.remark) == (0, b"", "Index 10 of 0@T is not exist!")


class Slow:
    """A reading method whose pages are not in memory."""

    def __init__(self) -> None:
        self.cold_reads: list[bool] = []

    def read(self, number: int, *, allow_cold: bool) -> int:
        self.cold_reads.append(allow_cold)
        if not allow_cold:
            raise ColdRead("not in the page cache")
        return number


def test_cold_pages_are_read_in_a_thread() -> None:
    """A lookup far back in the log does not make other clients wait for the disk."""
    thread, slow = ManualThread(), Slow()

    def run(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        return thread(lambda: call(*args, **kwargs))

    reads = ColdReads(run)
    result = reads.then(reads.read(slow.read, 5), str)
    assert isinstance(result, Deferred)
    waits.assertNoResult(result)
    thread.run_one()
    assert waits.successResultOf(result) == "5"
    assert slow.cold_reads == [False, True]
    assert reads.then(reads.read(lambda allow_cold: 7), str) == "7"
