"""Looking at single messages and at the bounds of queues."""

from __future__ import annotations

import time

import pytest

from interop import raw
from interop.api import JAVA, Api, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster, Servers
from interop.driver import DriverError, Line, until
from interop.popping import records
from interop.requests import SEND_MESSAGE, send_fields

NEWER = ["4.2.0", "4.7.0", "5.5.0"]
OLDEST_AND_NEWEST = ["3.2.6", "5.5.0"]


@case(
    "lookup/1",
    "viewMessage by the offset id of a stored message returns that message",
    source="QueryMessageProcessor; code 33",
)
@pytest.mark.parametrize("version", JAVA)
def test_view_by_offset_id(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    results = api.producer(cluster.namesrv, version).send(topic, [{"body": b, "keys": b} for b in bodies(3)])
    result = results[1]
    message = api.pull_consumer(cluster.namesrv, version).view(topic, result["offset_msg_id"] or result["msg_id"])
    expect_that(message is not None, "the message", message)
    told = (message["body"], message["queue_id"], message["queue_offset"], message["topic"], message["keys"])
    expect(told, ("m-1", 0, 1, topic, "m-1"), "body, queue id, queue offset, topic, keys")


@case(
    "lookup/2",
    "queryMessage finds the messages that carry a key, and none of a key that merely hashes alike or of another topic",
    source="QueryMessageProcessor, IndexService; code 12",
)
@pytest.mark.parametrize("version", OLDEST_AND_NEWEST)
def test_query_by_key(version: str, api: Api, cluster: Cluster) -> None:
    topic, other = api.fresh("topic"), api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2)
    api.create_topic(cluster.namesrv, other, 1)
    producer = api.producer(cluster.namesrv, version)
    # "Aa" and "BB" have the same Java hash code.
    producer.send(
        topic, [{"body": "one", "keys": "Aa x"}, {"body": "two", "keys": "BB"}, {"body": "three", "keys": "y Aa"}]
    )
    producer.send(other, [{"body": "other", "keys": "Aa"}])
    consumer = api.pull_consumer(cluster.namesrv, version)

    def found() -> list[Line]:
        try:
            return consumer.query(topic, "Aa", end_ms=int(time.time() * 1000) + 60_000)
        except DriverError:
            return []

    until(lambda: len(found()) >= 2, 15)
    expect_bodies(found(), ["one", "three"])


@case(
    "lookup/3", "a message is found by the unique key that the client gave it", source="MessageConst UNIQ_KEY; code 12"
)
@pytest.mark.parametrize("version", NEWER)
def test_query_by_unique_key(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2)
    results = api.producer(cluster.namesrv, version).send(topic, bodies(5))
    consumer = api.pull_consumer(cluster.namesrv, version)
    wanted = results[3]["msg_id"]

    def found() -> Line | None:
        try:
            return consumer.view(topic, wanted)
        except DriverError:
            return None

    until(lambda: found() is not None, 15)
    message = found()
    expect_that(message is not None, f"the message {wanted}", message)
    assert message is not None
    expect((message["body"], message["properties"].get("UNIQ_KEY")), ("m-3", wanted), "body and unique key")


@case(
    "lookup/4", "a key that no message carries gives an error that says so", source="MQAdminImpl.queryMessage; code 22"
)
@pytest.mark.parametrize("version", OLDEST_AND_NEWEST)
def test_query_nothing(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    api.producer(cluster.namesrv, version).send(topic, ["x"])
    with pytest.raises(DriverError) as failure:
        api.pull_consumer(cluster.namesrv, version).query(topic, "absent")
    expect(failure.value.error, "MQClientException")
    expect_that(
        "no message" in failure.value.message, "`query message by key finished, but no message.`", failure.value
    )


@case(
    "lookup/5",
    "min and max offset bound a queue, and searchOffset finds the first message stored at or after a time",
    source="AdminBrokerProcessor; codes 31, 30, 29, 32",
)
@pytest.mark.parametrize("version", OLDEST_AND_NEWEST)
def test_offsets(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2)
    producer = api.producer(cluster.namesrv, version)
    producer.send(topic, bodies(5, "early"), queue_id=0)
    time.sleep(0.05)  # so that the two halves differ in store time
    producer.send(topic, bodies(5, "late"), queue_id=0)
    consumer = api.pull_consumer(cluster.namesrv, version)
    expect(until(lambda: consumer.offsets(topic, 0)["max"] == 10, 10), True, "max offset 10")
    messages = consumer.pull(topic, 0, 0)["messages"]
    bounds = consumer.offsets(topic, 0, at_ms=messages[5]["stored_at_ms"])
    expect(
        (bounds["min"], bounds["max"], bounds["found"], bounds["earliest_at_ms"]),
        (0, 10, 5, messages[0]["stored_at_ms"]),
        "min, max, offset at the time of the sixth message, time of the first",
    )
    expect(consumer.offsets(topic, 0, at_ms=0)["found"], 0, "searchOffset before the first message")
    late = consumer.offsets(topic, 0, at_ms=messages[9]["stored_at_ms"] + 3_600_000)["found"]
    expect_that(late in (9, 10), "searchOffset after the last message at the end of the queue", late)
    empty = consumer.offsets(topic, 1)
    expect((empty["min"], empty["max"]), (0, 0), "bounds of a queue that has no message")


@case(
    "lookup/6",
    "an offset id at which there is no message is answered with an error",
    source="QueryMessageProcessor.viewMessageById",
)
def test_view_nothing(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    (result,) = api.producer(cluster.namesrv, "3.2.6").send(topic, ["x"])
    absent = result["msg_id"][:-16] + f"{1 << 40:016X}"
    with pytest.raises(DriverError) as failure:
        api.pull_consumer(cluster.namesrv, "3.2.6").view(topic, absent)
    expect((failure.value.error, failure.value.code), ("MQBrokerException", 1), str(failure.value))


SMALL_FILES = {
    **{f"{word}FileSize{name}": size for name, size in (("CommitLog", 65_536), ("ConsumeQueue", 2_000))
       for word in ("maped", "mapped")},
    "maxHashSlotNum": 50,
    "maxIndexNum": 100,
    "maxMessageSize": 32_768,
}  # fmt: skip
"""Files of 64 KiB of messages, a hundred queue units and a hundred keys."""


@case(
    "lookup/7",
    "messages are found by key, unique key, offset id and time in every file of the store, and after a restart",
    source="QueryMessageProcessor, IndexService, ConsumeQueue.getOffsetInQueueByTime; codes 12, 33, 29",
)
def test_across_files(servers: Servers, api: Api) -> None:
    cluster = servers.cluster(SMALL_FILES)
    topic, count = api.fresh("topic"), 450
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv, compress_over=1 << 20)
    padding = {"padding": "p" * 900}
    results = producer.send(
        topic, [{"body": f"m-{n}", "keys": f"{topic}-{n}", "properties": padding} for n in range(count)]
    )
    files = len(list((cluster.broker.store / "commitlog").iterdir()))
    expect_that(files >= 6, "at least 6 files of the log", files)
    reader = api.pull_consumer(cluster.namesrv)

    def at(number: int) -> Line:
        message: Line = reader.pull(topic, 0, number, max=1)["messages"][0]
        return message

    def found(number: int) -> tuple[object, ...]:
        try:
            by_key = [m["body"] for m in reader.query(topic, f"{topic}-{number}")]
            by_unique_key = reader.view(topic, results[number]["msg_id"])["body"]
        except DriverError as error:
            return (str(error),)
        by_offset_id = reader.view(topic, results[number]["offset_msg_id"])["body"]
        when = at(number)["stored_at_ms"]
        by_time = reader.offsets(topic, 0, at_ms=when)["found"]
        exact = at(by_time)["stored_at_ms"] == when and (by_time == 0 or at(by_time - 1)["stored_at_ms"] < when)
        return by_key, by_unique_key, by_offset_id, exact

    def check(when: str) -> None:
        for number in (0, 1, 99, 100, 101, 224, 300, count - 1):
            wanted = ([f"m-{number}"], f"m-{number}", f"m-{number}", True)
            until(lambda n=number, w=wanted: found(n) == w, 15, 0.3)  # type: ignore[misc]
            expect(found(number), wanted, f"message {number} by key, unique key, offset id and time {when}")

    check("at first")
    cluster.broker.stop()
    cluster.broker.start()
    servers.wait_registered(cluster.broker)
    reader = api.pull_consumer(cluster.namesrv)
    check("after a restart")


@case(
    "lookup/8",
    "a lookup of index type T gives the messages with these tags, also of batches, and of delayed ones by the topic that they wait in",
    source="IndexService.buildIndex, QueryMessageProcessor 5.5.0; code 12, indexType",
)
def test_query_by_tags(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv, "5.5.0")
    producer.send(topic, [{"body": "one", "tag": "TagA", "keys": "k"}, {"body": "two", "tag": "TagB"}, {"body": "no"}])
    producer.send(topic, [{"body": "b1", "tag": "TagA"}, {"body": "b2", "tag": "TagA", "keys": "k"}], "batch")
    expect(raw_send(cluster, topic, "late", TAGS="TagA", DELAY="1"), 0, "code of a delayed send")

    def found(topic: str, key: str, index_type: str, **more: str) -> list[str]:
        fields = {
            "topic": topic, "key": key, "maxNum": "32", "beginTimestamp": "0", "endTimestamp": str(1 << 62),
            "indexType": index_type, **more,
        }  # fmt: skip
        header, body = raw.request(cluster.broker.address, 12, fields)
        return [message["body"] for message in records(body)] if header["code"] == 0 else []

    until(lambda: len(found(topic, "TagA", "T")) >= 4, 15)
    expect(sorted(found(topic, "TagA", "T")), sorted(["one", "b1", "b2", "late"]))
    expect(sorted(found(topic, "TagB", "T")), sorted(["two"]))
    expect(found("SCHEDULE_TOPIC_XXXX", "TagA", "T").count("late"), 1, "the message while it was delayed")
    expect(found(topic, "TagA", "K"), [], "messages with TagA as a key")
    expect(sorted(found(topic, "k", "K")), sorted(["one", "b2"]))
    expect(sorted(found(topic, "k", "X")), sorted(["one", "b2"]))
    expect(found(topic, "TagA", "T", _UNIQUE_KEY_QUERY="true"), [], "messages with TagA as unique key")


def raw_send(cluster: Cluster, topic: str, body: str, **properties: str) -> int:
    """Send at the wire; give the code of the answer."""
    fields = send_fields(topic, 0, properties)
    code: int = raw.request(cluster.broker.address, SEND_MESSAGE, fields, body.encode())[0]["code"]
    return code
