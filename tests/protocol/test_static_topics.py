"""Two brokers that share static topics: mappings, sends, pulls over stretches on both, offsets, cleaning."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from protocol.fakes import BrokerWorld, ManualThread
from protocol.test_pull import COMMIT, SUBSCRIPTION, SUSPEND
from protocol.test_pull import pull as plain_pull
from protocol.wiring import sent
from twisted.internet.defer import Deferred

from rmqd.protocol.broker.broker_peers import BrokerPeers
from rmqd.protocol.broker.register_body import RegistrationBodies
from rmqd.protocol.broker.slave_sync import take_topics, tree_of
from rmqd.protocol.broker.static_cleaning import leaders_of
from rmqwire.bodies import (
    LogicQueueMappingItem,
    TopicConfig,
    TopicConfigAndQueueMapping,
    TopicQueueMappingDetail,
    TopicQueueMappingInfo,
)
from rmqwire.codes import ResponseCode
from rmqwire.command import RemotingCommand
from rmqwire.declare import Header
from rmqwire.errors import RequestError
from rmqwire.requests import (
    DeleteTopicInBroker,
    GetAllTopicConfig,
    GetConsumeStats,
    GetEarliestMsgStoretime,
    GetMaxOffset,
    GetMinOffset,
    GetTopicConfig,
    PullMessage,
    QueryConsumerOffset,
    SearchOffsetByTimestamp,
    SendMessageV2,
    UpdateAndCreateStaticTopic,
    UpdateConsumerOffset,
)

NOT_LEADER = ResponseCode.NOT_LEADER_FOR_QUEUE


def item(gen: int, broker: str, queue_id: int = 0, logic_offset: int = 0, **more: Any) -> LogicQueueMappingItem:
    return LogicQueueMappingItem(gen=gen, bname=broker, queue_id=queue_id, logic_offset=logic_offset, **more)


class Pair:
    """Broker `broker-a` and broker `broker-b`, which can ask each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.worlds = {name: BrokerWorld(folder / name, brokerName=name) for name in ("broker-a", "broker-b")}
        self.cut: set[str] = set()
        self.epoch = 0

    def call(self, name: str, header: Header) -> Deferred[RemotingCommand]:
        async def answered() -> RemotingCommand:
            if name in self.cut:
                raise RequestError(f"cannot find addr for broker {name}")
            return self.worlds[name].peer("other broker").ask(header)

        return Deferred.fromCoroutine(answered())

    def put(self, broker: str, queues: dict[int, list[LogicQueueMappingItem]], **more: Any) -> RemotingCommand:
        """Give a broker its mapping of topic S, as mqadmin does."""
        self.epoch += 1
        members: dict[str, Any] = {"topic": "S", "bname": broker, "epoch": self.epoch, "total_queues": 1, **more}
        header = UpdateAndCreateStaticTopic(
            topic="S", default_topic="TBW102", read_queue_nums=2, write_queue_nums=2, perm=6,
            topic_filter_type="SINGLE_TAG",
        )  # fmt: skip
        return self.ask(broker, header, TopicQueueMappingDetail(hosted_queues=queues, **members).encode())

    def ask(self, broker: str, header: Header, body: bytes = b"") -> RemotingCommand:
        return self.worlds[broker].peer().ask(header, body)

    def send(self, broker: str, body: str, queue_id: int = 0) -> tuple[int, str, str]:
        header = SendMessageV2(
            producer_group="P", topic="S", default_topic="TBW102", default_topic_queue_nums=4, queue_id=queue_id,
            sys_flag=0, born_timestamp=1, flag=0, properties="",
        )  # fmt: skip
        answer = self.ask(broker, header, body.encode())
        return answer.code, answer.ext.get("queueId", ""), answer.ext.get("queueOffset", "")

    def remapped(self) -> None:
        """Three messages on the first broker, then two on the second."""
        first = item(0, "broker-a")
        assert self.put("broker-a", {0: [first]}).code == 0
        assert self.put("broker-b", {}).code == 0
        for number in range(3):
            assert self.send("broker-a", f"a{number}")[0] == 0
        after = item(1, "broker-b", 1, 10_000)
        for broker in ("broker-b", "broker-a"):
            assert self.put(broker, {0: [first, after]}).code == 0
        for number in range(2):
            assert self.send("broker-b", f"b{number}") == (0, "0", str(10_000 + number))

    def close(self) -> None:
        for world in self.worlds.values():
            world.close()


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    monkeypatch.setattr(BrokerPeers, "call", lambda _, name, header: pair.call(name, header))
    yield pair
    pair.close()


def pull(offset: int, **more: Any) -> PullMessage:
    return plain_pull(offset, topic="S", **more)


def told(answer: RemotingCommand) -> tuple[int, int, int, int]:
    ext = answer.ext
    return answer.code, int(ext["nextBeginOffset"]), int(ext["minOffset"]), int(ext["maxOffset"])


def test_without_static_topics_nobody_stands_before_the_handlers(pair: Pair) -> None:
    """Sends and pulls of ordinary topics cost what they did; the stand-ins go when the last mapping does."""
    world = pair.worlds["broker-a"]
    alone = dict(world.dispatcher._table)
    assert pair.put("broker-a", {0: [item(0, "broker-a")]}).code == 0
    assert {code for code in alone if alone[code] != world.dispatcher._table[code]} == {
        10, 11, 14, 15, 29, 30, 31, 32, 310, 320, 361,
    }  # fmt: skip
    assert world.parts.send_runs is None or "S" in world.parts.send_runs.special
    assert pair.ask("broker-a", DeleteTopicInBroker(topic="S")).code == 0
    assert world.dispatcher._table == alone
    assert world.parts.send_runs is None or "S" not in world.parts.send_runs.special


def test_a_mapping_is_kept_told_and_copied(pair: Pair, tmp_path: Path) -> None:
    """It survives a restart, is in registrations and in what slaves copy, and is shown to whoever says lo=true."""
    queues = {0: [item(0, "broker-a")], 1: [item(0, "broker-b")]}
    assert pair.put("broker-a", queues, total_queues=2).code == 0
    shown = TopicConfigAndQueueMapping.decode(pair.ask("broker-a", GetTopicConfig(topic="S", logical=True)).body)
    assert shown.mapping_detail is not None
    assert shown.mapping_detail.hosted_queues == queues
    assert "mappingDetail" not in json.loads(pair.ask("broker-a", GetTopicConfig(topic="S")).body)
    world = pair.worlds["broker-a"]
    bodies = RegistrationBodies(world.parts.registration.broker, world.parts.topics, broker_permission=lambda: 6)
    bodies.mappings = world.parts.static_topics.table
    changed = bodies.changed_topics(["S"])
    assert changed is not None
    for _, body in (bodies.whole_table()[-1], changed):
        assert b'"topicQueueMappingInfoMap":{"S":{"bname":"broker-a","currIdMap":{0:0},' in body
    slave = BrokerWorld(tmp_path / "slave", brokerName="broker-a", brokerRole="SLAVE", brokerId="1")
    copy = tree_of(pair.ask("broker-a", GetAllTopicConfig()).body)
    take_topics(slave.parts, copy)
    assert slave.parts.static_topics.table.table == world.parts.static_topics.table.table
    assert not slave.parts.static_topics.table.copy_from(copy), "the same version once more"
    slave.close()
    world.close()
    again = pair.worlds["broker-a"] = BrokerWorld(pair.folder / "broker-a", brokerName="broker-a")
    assert again.parts.static_topics.table.table["S"].hosted_queues == queues
    assert pair.send("broker-a", "x") == (0, "0", "0")
    assert pair.ask("broker-a", DeleteTopicInBroker(topic="S")).code == 0
    assert again.parts.static_topics.table.table == {}


def test_mappings_that_are_refused(pair: Pair) -> None:
    """Nothing changes, not even the topic."""
    assert pair.put("broker-a", {0: [item(0, "broker-a")]}).code == 0
    version = pair.worlds["broker-a"].parts.topics.data_version
    for queues, more, words in (
        ({0: [item(0, "broker-a")]}, {"epoch": 0}, "small epoch"),
        ({0: [item(0, "broker-a")]}, {"scope": "other"}, "unmatched scope"),
        ({0: [item(-1, "broker-a")]}, {}, "should not be negative"),
        ({0: [item(0, "broker-a"), item(1, "broker-b")]}, {}, "base logic offset"),
        ({}, {"epoch": 1}, "equal epoch with null data"),
        ({}, {"bname": "broker-b"}, "not of broker-a"),
        ({}, {"topic": "Other"}, "not of S"),
    ):
        answer = pair.put("broker-a", queues, **more)  # type: ignore[arg-type]
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert words in (answer.remark or "")
    assert pair.worlds["broker-a"].parts.topics.data_version is version
    assert pair.put("broker-a", {}).code == 0, "queues that are left out stay"
    assert pair.worlds["broker-a"].parts.static_topics.table.table["S"].hosted_queues.keys() == {0}


def test_a_filter_type_that_does_not_exist_is_refused(pair: Pair) -> None:
    """As with ordinary topics; other brokers and tools could not read the table."""
    header = UpdateAndCreateStaticTopic(
        topic="S", default_topic="TBW102", read_queue_nums=2, write_queue_nums=2, perm=6, topic_filter_type="ODD"
    )
    answer = pair.ask("broker-a", header, TopicQueueMappingDetail(topic="S", bname="broker-a").encode())
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "topicFilterType = [ODD] value invalid")
    assert pair.worlds["broker-a"].parts.topics.get("S") is None


def test_a_deletion_is_answered_once_the_mapping_is_gone_from_disk(pair: Pair) -> None:
    """It would come back with the next start."""
    assert pair.put("broker-a", {0: [item(0, "broker-a")]}).code == 0
    world, thread = pair.worlds["broker-a"], ManualThread()
    world.parts.static_topics.table._writer._run_in_thread = thread
    peer = world.peer()
    peer.send(DeleteTopicInBroker(topic="S"))
    assert sent(peer.wire) == []
    thread.run_one()
    (answer,) = sent(peer.wire)
    assert answer.code == 0


def test_who_does_not_lead_a_queue_refuses(pair: Pair) -> None:
    pair.remapped()
    where = {"topic": "S", "queue_id": 0}
    for header in (
        pull(0),
        QueryConsumerOffset(consumer_group="g", **where),
        UpdateConsumerOffset(consumer_group="g", commit_offset=1, **where),
        SearchOffsetByTimestamp(timestamp=0, **where),
        GetMaxOffset(**where),
        GetMinOffset(**where),
        GetEarliestMsgStoretime(**where),
    ):
        answer = pair.ask("broker-a", header)
        assert (answer.code, "S-0" in (answer.remark or "")) == (NOT_LEADER, True), header
    assert pair.send("broker-a", "x")[0] == NOT_LEADER
    assert pair.send("broker-b", "x", 7)[0] == NOT_LEADER
    assert pair.send("broker-b", "x", -1) == (0, "0", "10002")
    physical = msgspec.structs.replace(GetMaxOffset(**where), logical=False)
    assert pair.ask("broker-a", physical).ext == {"offset": "3"}


def test_pulls_go_over_all_stretches(pair: Pair) -> None:
    """From the first message, on the other broker, to the end here."""
    pair.remapped()
    answer = pair.ask("broker-b", pull(0))
    assert told(answer) == (0, 3, 0, 10_000)
    assert answer.ext["offsetDelta"] == "0"
    assert answer.body.count(b"a0") == 1
    assert told(pair.ask("broker-b", pull(3))) == (ResponseCode.PULL_RETRY_IMMEDIATELY, 10_000, 10_000, 10_000)
    answer = pair.ask("broker-b", pull(10_000))
    assert told(answer) == (0, 10_002, 10_000, 10_002)
    assert answer.ext["offsetDelta"] == "10000"
    assert told(pair.ask("broker-b", pull(10_002))) == (ResponseCode.PULL_NOT_FOUND, 10_002, 10_000, 10_002)
    assert told(pair.ask("broker-b", pull(10_009)))[:2] == (ResponseCode.PULL_OFFSET_MOVED, 10_002)
    pair.cut.add("broker-a")
    answer = pair.ask("broker-b", pull(0))
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "cannot find addr for broker broker-a")


def test_as_long_as_nobody_knows_where_it_begins_a_new_stretch_is_not_read(pair: Pair) -> None:
    first = item(0, "broker-a")
    pair.put("broker-a", {0: [first]})
    pair.send("broker-a", "a0")
    undecided = item(1, "broker-b", 1, -1)
    pair.put("broker-b", {0: [first, undecided]})
    assert pair.send("broker-b", "b0") == (0, "0", "-1")
    assert told(pair.ask("broker-b", pull(1)))[:2] == (ResponseCode.PULL_NOT_FOUND, 1)
    assert pair.ask("broker-b", GetMaxOffset(topic="S", queue_id=0)).ext == {"offset": "1"}


def test_a_held_pull_is_woken_by_the_next_message(pair: Pair) -> None:
    """And answered in logical offsets; after a remapping it is told that another broker leads."""
    pair.remapped()
    world = pair.worlds["broker-b"]
    peer = world.peer()
    peer.send(pull(10_002, flags=SUBSCRIPTION | SUSPEND, suspend_ms=15_000))
    assert sent(peer.wire) == []
    pair.send("broker-b", "b2")
    (answer,) = sent(peer.wire)
    assert told(answer) == (0, 10_003, 10_000, 10_003)
    peer.send(pull(10_003, flags=SUBSCRIPTION | SUSPEND, suspend_ms=15_000))
    stretches = [item(0, "broker-a"), item(1, "broker-b", 1, 10_000), item(2, "broker-a", 1, 20_000)]
    assert pair.put("broker-b", {0: stretches}).code == 0
    (answer,) = sent(peer.wire)
    assert answer.code == NOT_LEADER


def test_offsets_are_kept_with_the_messages(pair: Pair) -> None:
    """A group that stopped on the first broker is known to the second; what it commits goes where it belongs."""
    pair.remapped()
    for world in pair.worlds.values():
        world.peer().beat("g", topics=("S",))

    def stored(broker: str, queue_id: int) -> int:
        return pair.worlds[broker].parts.offsets.query("g", "S", queue_id)

    query = QueryConsumerOffset(consumer_group="g", topic="S", queue_id=0)
    assert pair.ask("broker-b", query).code == ResponseCode.QUERY_NOT_FOUND
    commit = UpdateConsumerOffset(consumer_group="g", topic="S", queue_id=0, commit_offset=2)
    assert pair.ask("broker-b", commit).code == 0
    assert (stored("broker-a", 0), stored("broker-b", 1)) == (2, -1)
    assert pair.ask("broker-b", query).ext == {"offset": "2"}
    assert pair.ask("broker-b", msgspec.structs.replace(commit, commit_offset=10_001)).code == 0
    assert (stored("broker-a", 0), stored("broker-b", 1)) == (2, 1)
    assert pair.ask("broker-b", query).ext == {"offset": "10001"}
    with_pull = msgspec.structs.replace(pull(10_002, flags=SUBSCRIPTION | COMMIT), commit_offset=10_002)
    pair.ask("broker-b", with_pull)
    assert stored("broker-b", 1) == 2, "what is committed along with a pull too"
    pair.ask("broker-b", msgspec.structs.replace(with_pull, commit_offset=3))
    assert stored("broker-b", 1) == 2, "unless it is of another stretch"
    stats = pair.ask("broker-b", GetConsumeStats(consumer_group="g", topic="S")).body.decode()
    assert '"consumerOffset":-1' in stats, "a queue without an offset of the group"


def test_ends_and_times(pair: Pair) -> None:
    pair.remapped()

    def offset(kind: Any, **more: Any) -> int:
        return int(pair.ask("broker-b", kind(topic="S", queue_id=0, **more)).ext["offset"])

    times = [
        [world.store.store_timestamp("S", queue_id, n) for n in range(count)]
        for world, queue_id, count in ((pair.worlds["broker-a"], 0, 3), (pair.worlds["broker-b"], 1, 2))
    ]
    assert (offset(GetMinOffset), offset(GetMaxOffset)) == (0, 10_002)
    assert offset(SearchOffsetByTimestamp, timestamp=0) == 0
    assert offset(SearchOffsetByTimestamp, timestamp=times[1][-1] + 1) == 10_002
    earliest = pair.ask("broker-b", GetEarliestMsgStoretime(topic="S", queue_id=0))
    assert earliest.ext == {"timestamp": str(times[0][0])}


def test_a_time_within_an_old_stretch(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The offset is of that stretch, though the new one begins after it."""
    pair.remapped()
    found = {"broker-a": 2, "broker-b": 0}
    for name, world in pair.worlds.items():
        monkeypatch.setattr(world.store, "search_offset_by_time", lambda *_, name=name, **__: found[name])
    answer = pair.ask("broker-b", SearchOffsetByTimestamp(topic="S", queue_id=0, timestamp=5))
    assert answer.ext == {"offset": "2"}


def clean(pair: Pair, broker: str) -> None:
    done = Deferred.fromCoroutine(pair.worlds[broker].parts.static_topics.cleaning.clean())
    done.addErrback(lambda failure: pytest.fail(failure.getTraceback()))
    assert done.called


def test_stretches_without_messages_go(pair: Pair) -> None:
    """Once the first broker has no message left; not while it cannot be asked."""
    pair.remapped()
    table = pair.worlds["broker-b"].parts.static_topics.table
    clean(pair, "broker-b")
    assert len(table.table["S"].hosted_queues[0]) == 2
    pair.ask("broker-a", DeleteTopicInBroker(topic="S"))
    pair.worlds["broker-a"].parts.topics.update(TopicConfig(topic_name="S", read_queue_nums=2, write_queue_nums=2))
    pair.cut.add("broker-a")
    clean(pair, "broker-b")
    assert len(table.table["S"].hosted_queues[0]) == 2
    pair.cut.clear()
    clean(pair, "broker-b")
    assert table.table["S"].hosted_queues[0] == [item(1, "broker-b", 1, 10_000)]
    assert pair.ask("broker-b", GetMinOffset(topic="S", queue_id=0)).ext == {"offset": "10000"}


def test_of_two_that_say_so_the_later_leads() -> None:
    old = TopicQueueMappingInfo(bname="a", epoch=1, curr_id_map={0: 0, 1: 1})
    new = TopicQueueMappingInfo(bname="b", epoch=2, curr_id_map={1: 0})
    assert leaders_of([new, old]) == {0: "a", 1: "b"}
