"""Bodies and what goes with them: compression, batches, tags, flags."""

from __future__ import annotations

import struct
import zlib

import pytest

from interop import raw, wire
from interop.api import Api
from interop.case import case, expect, expect_that
from interop.cluster import Cluster
from interop.driver import DriverError, until

SYSTEM_ERROR, MESSAGE_ILLEGAL = 1, 13
COMPRESSED, MULTI_TAGS, COMPRESSION_MASK = 1, 2, 7 << 8
SYS_FLAG_AT = 36
COMPRESSION = {"ZLIB": 3 << 8, "LZ4": 1 << 8, "ZSTD": 2 << 8}


@case(
    "bodies/1",
    "a body over 4 KiB that a client compresses by zlib, lz4 or zstd is kept with its flags and comes back whole",
    source="CompressionType; MessageSysFlag bits 0 and 8 to 10",
)
@pytest.mark.parametrize("compression", COMPRESSION)
def test_compression(compression: str, api: Api, cluster: Cluster) -> None:
    topic, size = api.fresh("topic"), 50_000
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv, set={"setCompressType": compression})
    producer.send(topic, [{"size": size}, {"size": 4000}])
    got = api.consumer(cluster.namesrv, topic).wait(2)
    told = [(m["size"], m["crc"]) for m in sorted(got, key=lambda m: m["queue_offset"])]
    expect(told, [(size, zlib.crc32(b"x" * size)), (4000, zlib.crc32(b"x" * 4000))], "size and checksum")
    flags = []
    with raw.Connection(cluster.broker.address) as connection:
        for offset in (0, 1):
            _, record = wire.pull(connection, topic, topic, 0, offset, max_nums=1)
            flags.append(struct.unpack_from(">i", record, SYS_FLAG_AT)[0])
    expect(flags[0] & (COMPRESSED | COMPRESSION_MASK), COMPRESSED | COMPRESSION[compression], "flags of the large body")
    expect(flags[1] & COMPRESSED, 0, "flags of the small body")


@case(
    "bodies/2",
    "each message of a batch keeps its own properties, tag and keys, and is found by its key",
    source="MessageDecoder.encodeMessages; MessageExtEncoder.encode(MessageExtBatch); code 320",
)
@pytest.mark.parametrize("version", ["4.2.0", "4.7.0", "5.5.0"])
def test_batch_properties(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    messages = [
        {"body": f"b{n}", "tag": "even" if n % 2 == 0 else "odd", "keys": f"{topic}-{n}", "flag": n,
         "properties": {"n": str(n)}}
        for n in range(6)
    ]  # fmt: skip
    api.producer(cluster.namesrv, version).send(topic, messages, "batch")
    reader = api.pull_consumer(cluster.namesrv, version)
    got = reader.read_all(topic, expression="even")
    told = [(m["body"], m["tag"], m["flag"], m["keys"], m["properties"]["n"]) for m in got]
    expect(told, [(f"b{n}", "even", n, f"{topic}-{n}", str(n)) for n in (0, 2, 4)], "the even ones")

    def found() -> list[str]:
        try:
            return [m["body"] for m in reader.query(topic, f"{topic}-3")]
        except DriverError:
            return []

    until(lambda: found() == ["b3"], 15, 0.2)
    expect(found(), ["b3"], "messages of the fourth key")


@case(
    "bodies/3",
    "a batch to a retry topic, a delayed one, one over maxMessageSize and one that is none are refused; nothing is stored",
    source="SendMessageProcessor.sendBatchMessage; CommitLog.asyncPutMessages; MessageExtEncoder",
)
def test_bad_batches(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    wire.make_topic(cluster.broker.address, topic)
    wire.make_group(cluster.broker.address, topic)
    two = wire.batch_body([(b"a", {"TAGS": "A"}), (b"b", {})])
    for what, to, body, properties, code, remark in (
        ("to a retry topic", f"%RETRY%{topic}", two, {}, MESSAGE_ILLEGAL, "batch request does not support retry group"),
        ("with a delay level", topic, two, {"DELAY": "3"}, MESSAGE_ILLEGAL, "the message is illegal"),
        ("to a forbidden topic", "SCHEDULE_TOPIC_XXXX", two, {}, 16, "Sending message to topic"),
        (
            "of 4 MiB",
            topic,
            wire.batch_body([(b"x" * (1 << 20), {})] * 4),
            {},
            SYSTEM_ERROR,
            "message body size exceeded",
        ),
        ("cut off", topic, two[:-3], {}, SYSTEM_ERROR, ""),
        ("that is none", topic, b"this is no batch of messages", {}, SYSTEM_ERROR, ""),
        ("without a body", topic, b"", {}, SYSTEM_ERROR, ""),
    ):
        with raw.Connection(cluster.broker.address) as connection:
            header = wire.send(connection, to, body, properties=properties, batch=True)
        expect(header["code"], code, f"answer to a batch {what}")
        expect_that(remark in header["remark"], f"`{remark}` in the remark of a batch {what}", header)
    with raw.Connection(cluster.broker.address) as connection:
        inner = wire.batch_body([(b"at once", {"DELAY": "18"}), (b"", {"n": "1"})])
        stored = wire.send(connection, topic, inner, batch=True)
        expect((stored["code"], stored["extFields"]["queueOffset"]), (0, "0"), "a batch with a delay inside")
        large = wire.send(connection, topic, wire.batch_body([(b"x", {"k": "v" * 32_600})] * 100), batch=True)
        expect((large["code"], large["extFields"]["queueOffset"]), (0, "2"), "a batch of large properties")
        until(lambda: wire.told(wire.pull(connection, topic, topic))[4] == 102, 10)
        expect(wire.told(wire.pull(connection, topic, topic, max_nums=2))[2:], (2, 0, 102), "next, min and max offset")


@case(
    "bodies/4",
    "a message that does not wait for the disk (waitStoreMsgOK=false) is acknowledged and stored, SYNC_FLUSH or not",
    source="MessageConst.PROPERTY_WAIT_STORE_MSG_OK; CommitLog.handleDiskFlush",
)
def test_wait_store(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    wire.make_topic(cluster.broker.address, topic)
    with raw.Connection(cluster.broker.address) as connection:
        for number, properties in enumerate(({"WAIT": "false"}, {"WAIT": "true"}, {})):
            header = wire.send(connection, topic, properties=properties)
            expect((header["code"], header["extFields"]["queueOffset"]), (0, str(number)), f"answer to {properties}")
    kept = [m["properties"].get("WAIT") for m in api.pull_consumer(cluster.namesrv).read_all(topic)]
    expect(kept, ["false", "true", None], "the property as stored")


@case(
    "bodies/5",
    "a topic of the type MULTI_TAG marks its messages with that flag; its tags are matched whole, as anywhere",
    source="TopicFilterType; MessageSysFlag.MULTI_TAGS_FLAG; MessageExtBrokerInner.tagsString2tagsCode",
)
def test_multi_tags(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    wire.make_topic(cluster.broker.address, topic, kind="MULTI_TAG")
    with raw.Connection(cluster.broker.address) as connection:
        for tag in ("A", "B", "A||B", "C"):
            expect(wire.send(connection, topic, tag.encode(), properties={"TAGS": tag})["code"], 0, f"send of {tag}")
        two = wire.batch_body([(b"A", {"TAGS": "A"}), (b"D", {"TAGS": "D"})])
        expect(wire.send(connection, topic, two, batch=True)["code"], 0, "a batch")
    reader = api.pull_consumer(cluster.namesrv)
    until(lambda: reader.offsets(topic, 0)["max"] == 6, 10)
    all_of_it = reader.read_all(topic)
    expect([m["sys_flag"] & MULTI_TAGS for m in all_of_it], [MULTI_TAGS] * 6, "the flag of each message")
    for expression, wanted in (
        ("A", ["A", "A"]), ("A || C", ["A", "C", "A"]), ("B||D", ["B", "D"]), (" A ||  || B ", ["A", "B", "A"]),
        ("X || Y", []),
    ):  # fmt: skip
        expect([m["body"] for m in reader.read_all(topic, expression=expression)], wanted, f"bodies of {expression}")


@case(
    "bodies/6",
    "flag and system flags of a message come back as they were sent; the property texts of others are not mixed up",
    source="MessageSysFlag; MessageDecoder",
)
def test_flags(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv)
    flags = [0, 1, 0x7FFFFFFF, -1]
    producer.send(topic, [{"body": "b", "flag": flag, "properties": {"ключ": "=;|,ü", "k": "1"}} for flag in flags])
    got = api.pull_consumer(cluster.namesrv).read_all(topic)
    expect([m["flag"] for m in got], flags, "flags")
    told = {(m["properties"]["ключ"], m["properties"]["k"]) for m in got}
    expect(told, {("=;|,ü", "1")}, "properties")
