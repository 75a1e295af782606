"""Sending in every mode, by every client version, and reading back what was stored."""

from __future__ import annotations

import zlib
from collections import Counter

import pytest

from interop import raw
from interop.api import JAVA, NEWEST, Api, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster
from interop.driver import DriverError, until

SEND_MESSAGE_V2 = 310
MESSAGE_ILLEGAL = 13


@case(
    "send/1",
    "a message of any client version to a topic that it creates is stored, and a consumer of it gets it whole",
    source="SendMessageProcessor, PullMessageProcessor; codes 310, 11",
)
@pytest.mark.parametrize("version", JAVA)
def test_send_and_consume(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    producer = api.producer(cluster.namesrv, version)
    message = {"body": "grüße-世界", "tag": "TagA", "keys": "k1 k2", "flag": 7, "properties": {"colour": "green"}}
    (result,) = producer.send(topic, [message])
    expect(result["status"], "SEND_OK")
    expect(result["queue_offset"], 0, "queue offset of the first message of a queue")
    expect(result["broker"], "broker-a")
    cluster.wait_route(topic)
    got, *more = api.consumer(cluster.namesrv, topic, version).wait(1) or [{}]
    expect(more, [], "further messages")
    told = {key: got.get(key) for key in ("body", "tag", "keys", "flag", "queue_id", "queue_offset", "reconsume_times")}
    expect(
        told,
        {"body": "grüße-世界", "tag": "TagA", "keys": "k1 k2", "flag": 7, "queue_id": result["queue_id"],
         "queue_offset": 0, "reconsume_times": 0},
    )  # fmt: skip
    expect(got["properties"].get("colour"), "green", "user property")
    expect(got["store_host"], cluster.broker.address, "store host")
    expect_that(0 <= got["stored_at_ms"] - got["born_at_ms"] < 60_000, "store time at or after birth time", got)


MODES = {version: ["sync", "async", "oneway", *(["batch"] if version != "3.2.6" else [])] for version in JAVA}


@case(
    "send/2",
    "messages sent synchronously, asynchronously, one way or as a batch are each stored once",
    source="DefaultMQProducerImpl; codes 310, 320",
)
@pytest.mark.parametrize("version", JAVA)
def test_modes(version: str, api: Api, cluster: Cluster) -> None:
    send_and_count(api, cluster, version, binary=False)


@case(
    "send/3",
    "a client that writes binary (ROCKETMQ) headers is served as one that writes JSON",
    source="RocketMQSerializable; -Drocketmq.serialize.type=ROCKETMQ",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_binary_header(version: str, api: Api, cluster: Cluster) -> None:
    send_and_count(api, cluster, version, binary=True)


def send_and_count(api: Api, cluster: Cluster, version: str, *, binary: bool, count: int = 40) -> None:
    """Send so many messages in each mode and consume them with the same client."""
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic)
    producer = api.producer(cluster.namesrv, version, binary=binary)
    ids = set()
    for mode in MODES[version]:
        results = producer.send(topic, bodies(count, mode), mode)
        if mode == "oneway":
            continue
        expect({result.get("status") for result in results}, {"SEND_OK"}, f"results, {mode}")
        expect(len(results), 1 if mode == "batch" else count, f"results, {mode}")
        if mode != "batch":
            ids |= {result["msg_id"] for result in results}
    sent = [body for mode in MODES[version] for body in bodies(count, mode)]
    got = api.consumer(cluster.namesrv, topic, version, binary=binary).wait_bodies(sent)
    expect_bodies(got, sent)
    if version != "3.2.6":
        told = {message["msg_id"] for message in got if message["body"].split("-")[0] in ("sync", "async")}
        expect(told, ids, "message ids")
    places = {(m["queue_id"], m["queue_offset"]) for m in got}
    expect(len(places), len(sent), "distinct places (queue id, queue offset)")


@case(
    "send/4",
    "the messages of a batch lie behind one another in one queue, from the queue offset that the answer names",
    source="CommitLog.doAppend (MessageExtBatch); code 320",
)
@pytest.mark.parametrize("version", ["4.2.0", "5.5.0"])
def test_batch_offsets(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv, version)
    producer.send(topic, ["before"])
    (result,) = producer.send(topic, bodies(10), "batch")
    expect(result["queue_offset"], 1, "queue offset of the batch")
    expect(len(result["msg_id"].split(",")), 10, "message ids in the answer")
    expect(len(result["offset_msg_id"].split(",")), 10, "offset ids in the answer")
    pulled = api.pull_consumer(cluster.namesrv, version).pull(topic, 0, 0)
    expect([m["body"] for m in pulled["messages"]], ["before", *bodies(10)], "bodies in queue order")
    expect([m["queue_offset"] for m in pulled["messages"]], list(range(11)), "queue offsets")
    expect(
        [m["offset_msg_id"] for m in pulled["messages"]][1:],
        result["offset_msg_id"].split(","),
        "offset ids of the batch",
    )


@case(
    "send/5",
    "a body that the client compresses comes back as it was, whatever version reads it",
    source="DefaultMQProducerImpl.tryToCompressMessage; MessageDecoder; system flag bit 0",
)
@pytest.mark.parametrize("version", JAVA)
def test_compressed(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    size = 100_000
    api.producer(cluster.namesrv, version).send(topic, [{"size": size}])
    cluster.wait_route(topic)
    for reader in dict.fromkeys((version, NEWEST)):
        got = api.consumer(cluster.namesrv, topic, reader).wait(1)
        told = [(m["size"], m["crc"]) for m in got]
        expect(told, [(size, zlib.crc32(b"x" * size))], f"size and checksum read by {reader}")


@case(
    "send/6",
    "a body over maxMessageSize is refused with code 13 (MESSAGE_ILLEGAL) and the producer's next message is stored",
    source="DefaultMessageStore.checkMessage; SendMessageProcessor",
)
def test_too_large(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv, max_message_size=16 << 20, compress_over=32 << 20, retries=0)
    with pytest.raises(DriverError) as failure:
        producer.send(topic, [{"size": (4 << 20) + 1}])
    expect(failure.value.code, MESSAGE_ILLEGAL, f"response code of `{failure.value}`")
    (result,) = producer.send(topic, ["small"])
    expect((result["status"], result["queue_offset"]), ("SEND_OK", 0), "the next message")


@case(
    "send/7",
    "a 1 MiB and a nearly 4 MiB body are stored and read back",
    source="MessageStoreConfig.maxMessageSize (4 MiB)",
)
def test_large(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    sizes = [1 << 20, (4 << 20) - 1000, 10]
    producer = api.producer(cluster.namesrv, compress_over=32 << 20)
    results = producer.send(topic, [{"size": size} for size in sizes])
    expect([r["status"] for r in results], ["SEND_OK"] * 3)
    got = api.consumer(cluster.namesrv, topic).wait(3)
    expect(sorted((m["size"], m["crc"]) for m in got), sorted((s, zlib.crc32(b"x" * s)) for s in sizes))


@case(
    "send/8",
    "a client on the VIP channel (4.2.0 by default) sends to the port two below listenPort and is served there",
    source="MixAll.brokerVIPChannel; BrokerController.fastRemotingServer",
)
def test_vip_channel(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    old = api.producer(cluster.namesrv, "4.2.0")
    expect(old.started["vip"], True, "VIP channel of the 4.2.0 producer")
    expect(old.send(topic, ["old"])[0]["status"], "SEND_OK")
    new = api.producer(cluster.namesrv, "4.7.0", vip=True)
    expect(new.send(topic, ["new"])[0]["status"], "SEND_OK")
    fields = {"a": "PG", "b": topic, "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "1", "h": "0", "i": "", "j": "0"}
    header, _ = raw.request(f"127.0.0.1:{cluster.broker.port - 2}", SEND_MESSAGE_V2, {**fields, "k": "false"}, b"raw")
    expect(header["code"], 0, "answer on the VIP port")
    expect_bodies(api.consumer(cluster.namesrv, topic).wait(3), ["old", "new", "raw"])


@case(
    "send/9",
    "a producer without a queue of its own spreads its messages over all write queues of a created topic",
    source="TopicPublishInfo.selectOneMessageQueue; TopicConfig.writeQueueNums",
)
def test_queues(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 6)
    results = api.producer(cluster.namesrv).send(topic, bodies(60))
    expect(Counter(r["queue_id"] for r in results), dict.fromkeys(range(6), 10), "messages by queue")


@case(
    "send/10",
    "many messages from several producers of several versions at once are each stored once, at dense queue offsets",
    source="ConsumeQueue; DefaultMessageStore.putMessage",
)
def test_many(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic)
    sent: list[str] = []
    for version in ("4.2.0", "4.7.0", "5.5.0"):
        mine = bodies(1500, version)
        sent += mine
        results = api.producer(cluster.namesrv, version).send(topic, mine, "async")
        expect({r.get("status") for r in results}, {"SEND_OK"}, f"results of {version}")
    reader = api.pull_consumer(cluster.namesrv)
    got = reader.read_all(topic)
    expect_bodies(got, sent)
    for queue_id in range(4):
        offsets = [m["queue_offset"] for m in got if m["queue_id"] == queue_id]
        expect(offsets, list(range(len(offsets))), f"queue offsets of queue {queue_id}")


@case(
    "send/11",
    "one way messages of a client are stored without an answer being needed",
    source="RemotingCommand flag bit 1",
)
def test_raw_oneway(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    fields = {"a": "PG", "b": topic, "c": "TBW102", "d": "4", "e": "0", "f": "0", "g": "1", "h": "0", "i": "", "j": "0"}
    with raw.Connection(cluster.broker.address) as connection:
        header = {"code": SEND_MESSAGE_V2, "flag": raw.FLAG_ONEWAY, "opaque": 5, "version": 353, "extFields": fields}
        connection.send(raw.frame({**header, "language": "JAVA"}, b"quiet"))
        answer, _ = connection.request(SEND_MESSAGE_V2, fields, b"loud")
        expect(answer["opaque"] != 5, True, "the oneway request got no answer before the next one")
    reader = api.pull_consumer(cluster.namesrv)
    expect_that(until(lambda: reader.offsets(topic, 0)["max"] == 2), "two messages", reader.offsets(topic, 0))
    expect_bodies(reader.read_all(topic), ["quiet", "loud"])
