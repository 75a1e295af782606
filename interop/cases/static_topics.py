"""Static topics: a fixed number of logical queues over two brokers, remapped from one to the other while they are used."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from interop import raw
from interop.api import Api, Consumer, Producer, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Kind, Servers
from interop.driver import DriverError, until
from interop.native import Native
from interop.replicas import LIVELY, wait_caught_up, wait_slave
from interop.server import Broker

SOURCE = "UpdateStaticTopicSubCommand, RemappingStaticTopicSubCommand, TopicQueueMappingManager; 5.5.0"
LOGICAL = "__syslo__global__"
"""What stands for a broker name in the queues of a static topic."""
BLOCK = 10_000
"""A remapped queue goes on at the next multiple of it."""
NOT_LEADER = 501
GET_ROUTE, GET_TOPIC_CONFIG, UPDATE_STATIC = 105, 351, 513
FAST = {"setPollNameServerInterval": 300}
WRITTEN = re.compile(r"The (old|new) mapping data is written to file (\S+)")


@dataclass
class Pair:
    """A name server and two brokers."""

    servers: Servers
    namesrv: str
    brokers: dict[str, Broker]
    native: Native | None = None
    """Runs the commands in the place of the official tool."""

    def address(self, broker: str) -> str:
        """Where a broker is."""
        return self.brokers[broker].address


def pair_of(servers: Servers, kinds: tuple[Kind, Kind]) -> Pair:
    """Start a name server and two brokers."""
    namesrv = servers.name_server().address
    brokers = {
        name: servers.broker(namesrv, {"brokerName": name, **LIVELY}, kind=kind)
        for name, kind in zip(("broker-a", "broker-b"), kinds, strict=True)
    }
    return Pair(servers, namesrv, brokers)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, kind: Kind, official_version: str) -> Iterator[Pair]:
    """Two brokers of the kind under test."""
    servers = Servers(tmp_path_factory.mktemp("static"), kind, official_version)
    try:
        yield pair_of(servers, (kind, kind))
    finally:
        servers.close()


def tool(api: Api, pair: Pair, *words: str) -> str:
    """Run mqadmin, and remove the files that it writes to the folder for temporary ones."""
    if pair.native is None:
        printed = api.mqadmin(pair.namesrv, *words)
    else:
        done = pair.native.run(*words, "-n", pair.namesrv)
        printed = done.out + done.err
    for found in WRITTEN.finditer(printed):
        Path(found[2]).unlink(missing_ok=True)
    return printed


def create(api: Api, pair: Pair, topic: str, queues: int, brokers: str = "broker-a") -> None:
    """Make a static topic, or give it more queues."""
    printed = tool(api, pair, "updateStaticTopic", "-b", brokers, "-t", topic, "-qn", str(queues))
    expect([found[1] for found in WRITTEN.finditer(printed)], ["old", "new"], f"files told of: {printed}")
    expect_told(pair, topic, dict.fromkeys(range(queues)))


def remap(api: Api, pair: Pair, topic: str, broker: str, queues: int) -> None:
    """Have another broker lead all queues of a topic."""
    printed = tool(api, pair, "remappingStaticTopic", "-b", broker, "-t", topic)
    expect([found[1] for found in WRITTEN.finditer(printed)], ["old", "old"], f"files told of: {printed}")
    expect_told(pair, topic, dict.fromkeys(range(queues), broker))


def told(pair: Pair, topic: str) -> dict[int, str]:
    """Ask the name server who leads each logical queue."""
    header, body = raw.request(pair.namesrv, GET_ROUTE, {"topic": topic}, version=513)
    if header["code"] != 0:
        return {}
    mappings = json.loads(body).get("topicQueueMappingByBroker") or {}
    return {int(queue): name for name, of in mappings.items() for queue in of["currIdMap"]}


def expect_told(pair: Pair, topic: str, leaders: dict[int, str | None]) -> None:
    """Wait until the name server tells of these queues, and of these leaders where they are given."""

    def as_wanted() -> bool:
        now = told(pair, topic)
        return now.keys() == leaders.keys() and all(wanted in (None, now[queue]) for queue, wanted in leaders.items())

    until(as_wanted, 20, 0.1)
    expect_that(as_wanted(), f"leaders {leaders}", told(pair, topic))


def mapping(pair: Pair, broker: str, topic: str) -> dict[str, Any]:
    """Ask a broker for its mapping of a topic."""
    header, body = raw.request(pair.address(broker), GET_TOPIC_CONFIG, {"topic": topic, "lo": "true"})
    expect(header["code"], 0, f"response code of {broker} ({header.get('remark')})")
    found: dict[str, Any] = json.loads(re.sub(rb"([{,])(\d+):", rb'\1"\2":', body))["mappingDetail"]
    return found


def send_all(producer: Producer, topic: str, word: str, count: int, queues: int) -> list[dict[str, Any]]:
    """Send messages to one queue after the other; who goes by an old route is refused until it has the new one."""

    def sent(body: str, queue_id: int) -> dict[str, Any] | None:
        try:
            return producer.send(topic, [body], queue_id=queue_id)[0]
        except DriverError as refused:
            expect_that(f"CODE: {NOT_LEADER}" in refused.message, f"a refusal by {NOT_LEADER}", refused.message)
            return None

    results = []
    for number, body in enumerate(bodies(count, word)):
        found: list[dict[str, Any]] = []

        def tried(body: str = body, queue_id: int = number % queues, found: list[dict[str, Any]] = found) -> bool:
            result = sent(body, queue_id)
            found += [] if result is None else [result]
            return result is not None

        expect(until(tried, 20, 0.1), True, f"{body} is sent in the end")
        results += found
    expect({result["status"] for result in results}, {"SEND_OK"}, "sends")
    return results


def offsets_by_queue(results: list[dict[str, Any]]) -> dict[int, list[int]]:
    """Sort the queue offsets that sends were told."""
    table: dict[int, list[int]] = {}
    for result in results:
        table.setdefault(result["queue_id"], []).append(result["queue_offset"])
    return table


def read_logical(api: Api, pair: Pair, topic: str, queue_id: int) -> list[dict[str, Any]]:
    """Pull a logical queue from its first message to its last."""
    reader = api.pull_consumer(pair.namesrv)

    def known() -> bool:  # official brokers look for the addresses of others 10 s after their start
        try:
            reader.offsets(topic, queue_id, broker=LOGICAL)
        except DriverError:
            return False
        return True

    until(known, 30, 0.2)
    bounds = reader.offsets(topic, queue_id, broker=LOGICAL)
    offset, messages = bounds["min"], []
    for _ in range(50):
        if offset >= bounds["max"]:
            break
        pulled = reader.pull(topic, queue_id, offset, broker=LOGICAL)
        messages += pulled["messages"]
        expect_that(pulled["next"] > offset, f"a pull at {offset} that goes on", pulled)
        offset = pulled["next"]
    return messages


def wait_progress(consumer: Consumer, wanted: list[str]) -> None:
    """Wait for messages; a consumer notices by a pull that is refused that its queues are led by another broker."""
    expect_bodies(consumer.wait_bodies(wanted, 90), wanted, once=False)


@case(
    "static_topics/1",
    "updateStaticTopic makes logical queues on one broker: clients see them as queues of no broker, send to all and read all",
    source=SOURCE,
)
def test_made(api: Api, pair: Pair) -> None:
    topic = api.fresh("static")
    create(api, pair, topic, 3)
    expect(told(pair, topic), dict.fromkeys(range(3), "broker-a"), "leaders in the route")
    producer = api.producer(pair.namesrv)
    consumer = api.consumer(pair.namesrv, topic)
    results = send_all(producer, topic, "m", 9, 3)
    expect(offsets_by_queue(results), {q: [0, 1, 2] for q in range(3)}, "queue offsets")
    batch = producer.send(topic, bodies(3, "batch"), "batch", queue_id=1)[0]
    expect((batch["queue_id"], batch["queue_offset"]), (1, 3), "queue and offset of a batch")
    picked = producer.send(topic, bodies(3, "picked"))
    expect({result["status"] for result in picked}, {"SEND_OK"}, "sends to queues that the producer picks")
    expect_bodies(consumer.wait(15), bodies(9) + bodies(3, "batch") + bodies(3, "picked"))
    reader = api.pull_consumer(pair.namesrv)
    queues = sorted((queue["broker"], queue["queue_id"]) for queue in reader.queues(topic))
    expect(queues, [(LOGICAL, 0), (LOGICAL, 1), (LOGICAL, 2)], "queues that a consumer sees")
    ends = [reader.offsets(topic, q, broker=LOGICAL, at_ms=0) for q in range(3)]
    counts = [3, 6, 3]
    for result in picked:
        counts[result["queue_id"]] += 1
    expect([(e["min"], e["max"], e["found"]) for e in ends], [(0, count, 0) for count in counts], "min, max, found")
    expect_that(all(end["earliest_at_ms"] > 0 for end in ends), "times of the oldest messages", ends)
    printed = tool(api, pair, "topicStatus", "-t", topic)
    rows = re.findall(r"^(\S+)\s+(\d+)\s+(\d+)\s+(\d+)", printed, re.M)
    expect(
        rows,
        [(name, str(q), "0", str(counts[q])) for name in (LOGICAL, "broker-a") for q in range(3)],
        "rows of topicStatus",
    )


@case(
    "static_topics/2",
    "remappingStaticTopic to another broker: offsets go on at the next ten thousand, and consumers read on in both",
    source=SOURCE,
)
def test_remapped(api: Api, pair: Pair) -> None:
    topic, group = api.fresh("static"), api.fresh("CG")
    create(api, pair, topic, 2)
    producer = api.producer(pair.namesrv, set=FAST)
    consumer = api.consumer(pair.namesrv, topic, group=group, set=FAST)
    send_all(producer, topic, "before", 6, 2)
    consumer.wait(6)
    between_ms = int(time.time() * 1000)
    remap(api, pair, topic, "broker-b", 2)
    results = send_all(producer, topic, "after", 6, 2)
    expect(
        offsets_by_queue(results),
        {q: [BLOCK, BLOCK + 1, BLOCK + 2] for q in range(2)},
        "queue offsets after the remapping",
    )
    expect({result["broker"] for result in results}, {"broker-b"}, "brokers of the sends")
    everything = bodies(6, "before") + bodies(6, "after")
    wait_progress(consumer, everything)
    consumer.stop()
    for queue_id in range(2):
        reader = api.pull_consumer(pair.namesrv)
        now_ms = int(time.time() * 1000) + 10_000
        ends = [reader.offsets(topic, queue_id, broker=LOGICAL, at_ms=at) for at in (0, between_ms, now_ms)]
        expect([(end["min"], end["max"]) for end in ends], [(0, BLOCK + 3)] * 3, "min and max")
        expect(ends[0]["found"], 0, "offset of the first time of all")
        expect_that(ends[1]["found"] in (3, BLOCK, 0), "offset of a time between the two", ends[1]["found"])
        expect(ends[2]["found"], BLOCK + 3, "offset of a time to come")
        got = read_logical(api, pair, topic, queue_id)
        expect([m["queue_offset"] for m in got], [0, 1, 2, BLOCK, BLOCK + 1, BLOCK + 2], "queue offsets of messages")
    expect_bodies(api.consumer(pair.namesrv, topic).wait(12, 90), everything)
    send_all(producer, topic, "later", 2, 2)
    wait_progress(api.consumer(pair.namesrv, topic, group=group), bodies(2, "later"))


@case(
    "static_topics/3",
    "a topic grows by updateStaticTopic, mapped to both brokers; it does not shrink, and is not made of an ordinary one",
    source=SOURCE,
)
def test_grown(api: Api, pair: Pair) -> None:
    topic = api.fresh("static")
    create(api, pair, topic, 2)
    create(api, pair, topic, 6, "broker-a,broker-b")
    now = told(pair, topic)
    expect(sorted(now.values()).count("broker-b"), 3, f"queues that the second broker leads of {now}")
    expect([now[0], now[1]], ["broker-a"] * 2, "leaders of the old queues")
    producer = api.producer(pair.namesrv)
    consumer = api.consumer(pair.namesrv, topic)
    results = send_all(producer, topic, "m", 12, 6)
    expect(offsets_by_queue(results), {q: [0, 1] for q in range(6)}, "queue offsets")
    expect_bodies(consumer.wait(12), bodies(12))
    for queues, words in (("2", "Cannot decrease the queue num for static topic 2 < 6"), ("6", "is equal the existed")):
        printed = tool(api, pair, "updateStaticTopic", "-b", "broker-a,broker-b", "-t", topic, "-qn", queues)
        expect_that(words in printed, words, printed)
    plain = api.fresh("plain")
    api.create_topic(pair.namesrv, plain, 2)
    for words in (("updateStaticTopic", "-qn", "4"), ("remappingStaticTopic",)):
        printed = tool(api, pair, *words, "-b", "broker-a", "-t", plain)
        expect_that("Mapping info should not be null in broker" in printed, "a refusal of an ordinary topic", printed)


@case(
    "static_topics/4",
    "requests about a queue that another broker leads are refused by 501, those that say lo=false are of physical queues",
    source="buildTopicQueueMappingContext; ResponseCode.NOT_LEADER_FOR_QUEUE",
)
def test_not_leader(api: Api, pair: Pair) -> None:
    topic = api.fresh("static")
    create(api, pair, topic, 1, "broker-b")
    api.producer(pair.namesrv).send(topic, bodies(2))
    base = {"consumerGroup": "CG-raw", "topic": topic, "queueId": "0"}
    pull = {
        "queueOffset": "0", "maxMsgNums": "32", "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "0",
        "subscription": "*", "subVersion": "1",
    }  # fmt: skip
    send = {
        "producerGroup": "PG", "defaultTopic": "TBW102", "defaultTopicQueueNums": "4", "sysFlag": "0",
        "bornTimestamp": "1700000000000", "flag": "0", "properties": "",
    }  # fmt: skip
    asked: list[tuple[int, dict[str, str]]] = [
        (10, send), (11, pull), (14, {}), (15, {"commitOffset": "1"}), (29, {"timestamp": "0"}), (30, {}), (31, {}), (32, {}),
    ]  # fmt: skip
    for broker, queue_id in (("broker-a", "0"), ("broker-b", "7")):
        for code, more in asked:
            header, _ = raw.request(pair.address(broker), code, {**base, **more, "queueId": queue_id}, b"x")
            expect(header["code"], NOT_LEADER, f"{code} for queue {queue_id} at {broker} ({header.get('remark')})")
            expect_that(f"{topic}-{queue_id}" in header["remark"], "a remark with the queue", header["remark"])
    for code, more in asked:
        header, _ = raw.request(pair.address("broker-b"), code, {**base, **more, "lo": "false"}, b"x")
        want = (0, 22) if code == 14 else (0, 24, 26) if code in (14, 15, 11) else (0,)
        expect_that(header["code"] in want, f"a code of {want} for {code} of a physical queue", header)
    header, _ = raw.request(pair.address("broker-b"), 10, {**base, **send, "queueId": "-1"}, b"x")
    expect((header["code"], header["extFields"]["queueId"]), (0, "0"), "a send to any queue")


@case(
    "static_topics/5",
    "a mapping that is older than the one known, or that contradicts itself, is refused; config/topicQueueMapping.json keeps it",
    source="TopicQueueMappingManager.updateTopicQueueMapping",
)
def test_mapping_kept(api: Api, pair: Pair) -> None:
    topic = api.fresh("static")
    create(api, pair, topic, 1)
    known = mapping(pair, "broker-a", topic)
    fields = {
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": "1", "writeQueueNums": "1", "perm": "6",
        "topicFilterType": "SINGLE_TAG", "order": "false",
    }  # fmt: skip

    def put(**members: Any) -> tuple[int, str]:
        body = json.dumps({**known, **members}).encode()
        header, _ = raw.request(pair.address("broker-a"), UPDATE_STATIC, fields, body)
        return header["code"], header.get("remark") or ""

    code, remark = put(epoch=known["epoch"] - 1)
    expect_that(
        code == 1 and "Can't accept data with small epoch" in remark, "a refusal of an older epoch", (code, remark)
    )
    code, remark = put(epoch=known["epoch"] + 1, scope="other")
    expect_that(code == 1 and "unmatched scope" in remark, "a refusal of another scope", (code, remark))
    item = known["hostedQueues"]["0"][0]
    code, remark = put(hostedQueues={"0": [{**item, "gen": -1}]})
    expect_that(code == 1 and "should not be negative" in remark, "a refusal of a negative gen", (code, remark))
    code, remark = put(hostedQueues={"0": [{**item, "gen": 1}]})
    expect_that(code == 1 and "epoch equal" in remark, "a refusal of a new leader without a new epoch", (code, remark))
    expect(put(epoch=known["epoch"] + 1)[0], 0, "code of a newer one")
    text = (pair.brokers["broker-a"].store / "config" / "topicQueueMapping.json").read_text()
    kept = json.loads(re.sub(r"([{,]\s*)(\d+):", r'\1"\2":', text))
    expect(kept["topicQueueMappingInfoMap"][topic], {**known, "epoch": known["epoch"] + 1}, "mapping in the file")
    expect(sorted(kept["dataVersion"]), ["counter", "stateVersion", "timestamp"], "members of the version")


@case(
    "static_topics/6",
    "brokers that start again know their mappings and register them: sends and reads over both stretches go on",
    source="TopicQueueMappingManager.load; BrokerController.registerBrokerAll",
)
def test_started_again(api: Api, servers: Servers, kind: Kind) -> None:
    pair = pair_of(servers, (kind, kind))
    use_both(api, pair)


@case(
    "static_topics/9",
    "the native mqadmin makes and remaps a topic that is used, and shows logical queues as the official one does",
    source=SOURCE,
)
def test_native_tool(api: Api, servers: Servers, kind: Kind) -> None:
    pair = pair_of(servers, (kind, kind))
    with Native() as native:
        pair.native = native
        topic, group = use_both(api, pair, restart=False)
        for words in (("topicStatus", "-t", topic), ("consumerProgress", "-g", group)):

            def shown(words: tuple[str, ...] = words) -> list[list[str]]:
                told = native.run(*words, "-n", pair.namesrv).out, api.mqadmin(pair.namesrv, *words)
                return [[line.rstrip() for line in text.splitlines() if LOGICAL in line] for text in told]

            # Each tool asks for itself, and the consumer may say meanwhile how far it is.
            until(lambda shown=shown: len({str(lines) for lines in shown()}) == 1, 20)  # type: ignore[misc]
            by_native, by_official = shown()
            expect(by_native, by_official, f"logical queues that {words[0]} shows")
            expect(len(by_native), 2, "their number")


@case(
    "static_topics/7",
    "the same where one broker is ours and the other an official one, whichever the queues come from",
    source=SOURCE,
)
@pytest.mark.parametrize("kinds", [("ours", "official"), ("official", "ours")], ids="-to-".join)
@pytest.mark.long
def test_mixed(kinds: tuple[Kind, Kind], api: Api, servers: Servers) -> None:
    use_both(api, pair_of(servers, kinds))


def use_both(api: Api, pair: Pair, *, restart: bool = True) -> tuple[str, str]:
    """Send and read before a remapping, after it, and after both brokers have started again; give topic and group."""
    topic, group = api.fresh("static"), api.fresh("CG")
    create(api, pair, topic, 2)
    producer = api.producer(pair.namesrv, set=FAST)
    send_all(producer, topic, "before", 4, 2)
    remap(api, pair, topic, "broker-b", 2)
    send_all(producer, topic, "after", 4, 2)
    everything = bodies(4, "before") + bodies(4, "after")
    first = api.consumer(pair.namesrv, topic, group=group)
    expect_bodies(first.wait(8, 90), everything)
    first.stop()
    for broker in pair.brokers.values() if restart else ():
        broker.stop()
        broker.start()
        pair.servers.wait_registered(broker)
    expect_told(pair, topic, dict.fromkeys(range(2), "broker-b"))
    again = api.producer(pair.namesrv, set=FAST)
    results = send_all(again, topic, "again", 4, 2)
    expect(offsets_by_queue(results), {q: [BLOCK + 2, BLOCK + 3] for q in range(2)}, "offsets")
    got = [message for queue_id in range(2) for message in read_logical(api, pair, topic, queue_id)]
    expect_bodies(got, everything + bodies(4, "again"))
    second = api.consumer(pair.namesrv, topic, group=group)
    wait_progress(second, bodies(4, "again"))
    return topic, group


@case(
    "static_topics/8",
    "a slave's copy of the topics (21) has the mappings; ours keeps them, so that it can become master",
    source="SlaveSynchronize.syncTopicConfig",
)
def test_slave_copies(api: Api, servers: Servers, kind: Kind) -> None:
    pair = pair_of(servers, (kind, kind))
    slave = servers.broker(pair.namesrv, {"brokerName": "broker-a", "brokerId": 1, "brokerRole": "SLAVE", **LIVELY})
    wait_slave(slave)
    topic = api.fresh("static")
    create(api, pair, topic, 2)
    wait_caught_up(pair.brokers["broker-a"], slave)
    file = slave.store / "config" / "topicQueueMapping.json"
    version = json.loads(
        re.sub(r"([{,]\s*)(\d+):", r'\1"\2":', (pair.brokers["broker-a"].store / "config" / file.name).read_text())
    )["dataVersion"]

    def copied() -> bool:
        return file.exists() and str(version["timestamp"]) in file.read_text()

    expect_that(
        until(copied, 40), f"version {version} in the slave's file", file.read_text() if file.exists() else "none"
    )
    if kind == "ours":
        header, body = raw.request(slave.address, GET_TOPIC_CONFIG, {"topic": topic, "lo": "true"})
        expect_that(header["code"] == 0 and b'"hostedQueues":{0:[' in body, "the mapping at the slave", body.decode())
