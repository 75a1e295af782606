"""DefaultMQPullConsumer and DefaultLitePullConsumer."""

from __future__ import annotations

import json
import re
import threading
import time

import pytest

from interop import raw, wire
from interop.api import Api, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster, Kind, Servers
from interop.driver import until
from interop.requests import Member


@case(
    "pull/1",
    "a pull is answered FOUND with the messages from its offset on, and the place where to go on",
    source="PullMessageProcessor, PullMessageResponseHeader; code 11",
)
@pytest.mark.parametrize("version", ["3.2.6", "4.7.0", "5.5.0"])
def test_found(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2)
    api.producer(cluster.namesrv, version).send(topic, bodies(10), queue_id=1)
    consumer = api.pull_consumer(cluster.namesrv, version)
    expect(sorted(q["queue_id"] for q in consumer.queues(topic)), [0, 1], "queues of the topic")
    pulled = consumer.pull(topic, 1, 4, max=3)
    told = {key: pulled[key] for key in ("status", "next", "min", "max")}
    expect(told, {"status": "FOUND", "next": 7, "min": 0, "max": 10})
    expect([m["body"] for m in pulled["messages"]], bodies(10)[4:7])


@case(
    "pull/2",
    "a pull at the end is NO_NEW_MSG, one that a tag leaves empty NO_MATCHED_MSG, one outside OFFSET_ILLEGAL; "
    "each with the offset to go on at",
    source="PullMessageProcessor; codes 19, 20, 21; DefaultMessageStore.getMessage",
)
@pytest.mark.parametrize("version", ["3.2.6", "4.7.0", "5.5.0"])
def test_statuses(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    api.producer(cluster.namesrv, version).send(topic, [{"body": b, "tag": "A"} for b in bodies(10)])
    consumer = api.pull_consumer(cluster.namesrv, version)
    end = consumer.pull(topic, 0, 10)
    expect((end["status"], end["next"]), ("NO_NEW_MSG", 10), "pull at the end")
    unmatched = consumer.pull(topic, 0, 2, expression="B")
    expect((unmatched["status"], unmatched["next"]), ("NO_MATCHED_MSG", 10), "pull of a tag that is not there")
    beyond = consumer.pull(topic, 0, 50)
    expect((beyond["status"], beyond["next"]), ("OFFSET_ILLEGAL", 10), "pull beyond the end")
    empty = consumer.pull(topic, 0, 0, max=1)
    expect((empty["status"], len(empty["messages"])), ("FOUND", 1), "a pull afterwards")


@case("pull/3", "a committed offset is what is fetched afterwards, also by a new client", source="codes 15, 14")
@pytest.mark.parametrize("version", ["3.2.6", "4.7.0", "5.5.0"])
def test_commit(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1)
    api.producer(cluster.namesrv, version).send(topic, bodies(10))
    one = api.pull_consumer(cluster.namesrv, version, group=group)
    place = {"topic": topic, "broker": "broker-a", "queue_id": 0}
    # The pull makes the broker know the client's subscription to the topic; 5.x brokers refuse unknown groups.
    one.pull(topic, 0, 0)
    one.call("commit", consumer=one.name, offset=7, **place)
    two = api.pull_consumer(cluster.namesrv, version, group=group)
    found = until(lambda: two.call("committed", consumer=two.name, **place)["offset"] == 7, 15)
    expect_that(found, "committed offset 7", two.call("committed", consumer=two.name, **place))


@case(
    "pull/4",
    "a pull that may wait is answered when a message arrives",
    source="PullRequestHoldService; PullSysFlag bit 1",
)
@pytest.mark.parametrize("version", ["4.2.0", "5.5.0"])
def test_blocking(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv, version)
    producer.send(topic, ["before"])
    consumer = api.pull_consumer(cluster.namesrv, version)
    answers: list[tuple[float, dict[str, object]]] = []

    def pull() -> None:
        pulled = consumer.pull(topic, 0, 1, block=True)
        answers.append((time.monotonic(), pulled))

    waiting = threading.Thread(target=pull)
    waiting.start()
    waiting.join(1.5)
    expect(answers, [], "answers before there is a message")
    sent_at = time.monotonic()
    producer.send(topic, ["arrived"])
    waiting.join(40)
    expect_that(bool(answers), "an answer", answers)
    at, pulled = answers[0]
    expect(pulled["status"], "FOUND")
    expect([m["body"] for m in pulled["messages"]], ["arrived"])  # type: ignore[attr-defined]
    expect_that(at - sent_at < 5, "the answer within 5 s of the message", at - sent_at)


@case(
    "pull/5",
    "a lite pull consumer gets every message of its topic, once",
    source="DefaultLitePullConsumer; codes 361, 11",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_lite(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 4)
    sent = bodies(60)
    api.producer(cluster.namesrv, version).send(topic, sent)
    consumer = api.lite_pull(cluster.namesrv, topic, version)
    expect_bodies(consumer.wait_bodies(sent), sent)


@case("pull/6", "every message of a topic is read by pulling queue by queue, with binary headers too", source="code 11")
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
def test_read_all(binary: bool, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 4)
    sent = bodies(500)
    api.producer(cluster.namesrv, binary=binary).send(topic, sent, "async")
    expect_bodies(api.pull_consumer(cluster.namesrv, binary=binary).read_all(topic), sent)


FOUND, PULL_NOT_FOUND, PULL_RETRY_IMMEDIATELY, PULL_OFFSET_MOVED = 0, 19, 20, 21
QUERY_NOT_FOUND = 22


@case(
    "pull/7",
    "each place that a pull may ask for has its code and status, and the offsets to go on at and to expect",
    source="PullMessageProcessor.composeResponseHeader; DefaultMessageStore.getMessage; codes 0, 19, 20, 21",
)
def test_exact_statuses(api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    wire.make_topic(cluster.broker.address, topic, 2)
    with raw.Connection(cluster.broker.address) as connection:
        for _ in range(5):
            expect(wire.send(connection, topic, properties={"TAGS": "A"})["code"], 0, "answer to a send")
        until(lambda: wire.told(wire.pull(connection, group, topic, 0, 0))[4] == 5, 10)
        for queue_id, offset, expression, expected in (
            (0, 0, "*", (FOUND, "FOUND", 5, 0, 5)),
            (0, 3, "A || B", (FOUND, "FOUND", 5, 0, 5)),
            (0, 5, "*", (PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", 5, 0, 5)),
            (0, 6, "*", (PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", 5, 0, 5)),
            (0, 1 << 40, "*", (PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", 5, 0, 5)),
            (0, -1, "*", (PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", 0, 0, 5)),
            (0, 1, "B", (PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE", 5, 0, 5)),
            (1, 0, "*", (PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", 0, 0, 0)),
            (1, 7, "*", (PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", 0, 0, 0)),
            (1, -1, "*", (PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", 0, 0, 0)),
        ):
            answer = wire.told(wire.pull(connection, group, topic, queue_id, offset, expression=expression))
            expect(answer, expected, f"a pull of {expression} from queue {queue_id} at {offset}")
        for most, after in ((0, 1), (-1, 1), (2, 2), (100, 5)):
            expect(
                wire.told(wire.pull(connection, group, topic, 0, 0, max_nums=most))[2], after, f"after {most} at most"
            )
        small = wire.pull(connection, group, topic, 0, 0, maxMsgBytes="10")
        expect(wire.told(small)[2], 5, "after a pull of at most 10 bytes, which is not looked at")


@case(
    "pull/8",
    "a pull that is refused is told so by its code and a remark: 16, 17, 23, 24, 25, 26, 29",
    source="PullMessageProcessor.processRequest",
)
def test_refusals(api: Api, cluster: Cluster, kind: Kind, official_version: str) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    wire.make_topic(cluster.broker.address, topic, 2)
    wire.make_topic(cluster.broker.address, f"{topic}-w", perm=2)
    wire.make_group(cluster.broker.address, f"{group}-off", consumeEnable=False)
    with Member(cluster.broker.address, f"{group}-client") as member:
        expect(member.join(group, topic)["code"], 0, "answer to the heartbeat")
        faq = "See https?://\\S+ for further details"
        for fields, code, remark in (
            (wire.pull_fields(group, f"{topic}-w"), 16, rf"the topic\[{topic}-w\] pulling message is forbidden$"),
            (wire.pull_fields(f"{group}-off", topic), 16, f"subscription group no permission, {group}-off$"),
            (
                wire.pull_fields(group, f"{topic}-no"),
                17,
                rf"topic\[{topic}-no\] not exist, apply first please! \n?{faq}",
            ),
            (wire.pull_fields(group, topic, expression="||"), 23, "parse the consumer's subscription failed$"),
            (wire.pull_fields(f"{group}-x", topic, flags=0), 24, f"the consumer's group info not exist\n{faq}"),
            (wire.pull_fields(group, "TBW102", flags=0), 24, f"the consumer's subscription not exist\n{faq}"),
            (wire.pull_fields(group, topic, flags=0, subVersion="9"), 25, "the consumer's subscription not latest$"),
            (wire.pull_fields("a$b", topic), 26, rf"subscription group \[a\$b\] does not exist, \n?{faq}"),
            (
                wire.pull_fields(group, topic, 2),
                29 if _modern(kind, official_version) else 1,
                r"queueId\[2\] is illegal",
            ),
            (
                wire.pull_fields(group, topic, -1),
                29 if _modern(kind, official_version) else 1,
                r"queueId\[-1\] is illegal",
            ),
        ):
            if code == 26 and not _modern(kind, official_version):
                continue  # before 5.0 a group of any name came to be
            header, _ = member.request(wire.PULL_MESSAGE, fields)
            expect(header["code"], code, f"code of the answer to {fields}")
            expect_that(re.match(remark, header.get("remark") or "") is not None, f"/{remark}/ as remark", header)
            if _modern(kind, official_version):
                expect(set(header.get("extFields") or {}) <= {"forbiddenType"}, True, "no offsets in the answer")
        served, _ = wire.pull(member, group, topic, flags=0, subVersion="1")
        expect(served["code"], PULL_NOT_FOUND, "a pull by the subscription of the heartbeat")


def _modern(kind: Kind, official_version: str) -> bool:
    return kind == "ours" or official_version.startswith("5")


@case(
    "pull/9",
    "MQPullConsumerScheduleService shares the queues of a topic among the group and each message is pulled once",
    source="MQPullConsumerScheduleService; codes 14, 11, 15",
)
@pytest.mark.parametrize("version", ["3.2.6", "5.5.0"])
def test_schedule_service(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 4)
    consumer = api.schedule_pull(cluster.namesrv, topic, version)
    sent = bodies(80)
    api.producer(cluster.namesrv, version).send(topic, sent)
    expect_bodies(consumer.wait_bodies(sent), sent)


@case(
    "pull/10",
    "a lite pull consumer of assigned queues seeks to an offset, to the begin and to the end, and commits when told",
    source="DefaultLitePullConsumer.assign, seek, commitSync, offsetForTimestamp",
)
def test_lite_assign(api: Api, cluster: Cluster) -> None:
    # 5.5.0 alone: a seek of 4.7.0 waits until the pull in hand is over, 20 s, and its commitSync commits nothing of
    # assigned queues, on either server.
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2)
    producer = api.producer(cluster.namesrv)
    producer.send(topic, bodies(10), queue_id=1)
    producer.send(topic, ["other"], queue_id=0)
    consumer = api.lite_assign(cluster.namesrv, topic, [1])
    place = {"consumer": consumer.name, "topic": topic, "broker": "broker-a", "queue_id": 1}

    def seek(count: int, **to: object) -> list[str]:
        before = len(consumer.received())
        consumer.call("lite_seek", **place, **to)
        return [m["body"] for m in consumer.wait(before + count)][before:]

    until(lambda: len(consumer.received()) >= 10, 3)  # it may begin at the end: a new group's default
    expect(seek(10, to="begin")[-10:], bodies(10), "bodies after seekToBegin")
    expect(seek(4, offset=6)[-4:], bodies(10)[6:], "bodies after seek to 6")
    consumer.call("lite_seek", **place, to="end")
    before = len(consumer.received())
    producer.send(topic, ["last"], queue_id=1)
    expect([m["body"] for m in consumer.wait(before + 1)][before:], ["last"], "bodies after seekToEnd")
    consumer.call("lite_commit", consumer=consumer.name)
    until(lambda: consumer.call("lite_offsets", **place)["committed"] == 11, 10)
    offsets = consumer.call("lite_offsets", **place, at_ms=1)
    expect((offsets["committed"], offsets["at"]), (11, 0), "committed offset, offset of the first millisecond")


@case(
    "pull/11",
    "with longPollingEnable=false a pull that finds nothing waits shortPollingTimeMills, whatever the client says",
    source="PullMessageProcessor; BrokerConfig.longPollingEnable",
)
def test_short_polling(api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    wire.make_topic(cluster.broker.address, topic)
    fields = wire.pull_fields(group, topic, flags=wire.SUBSCRIPTION | wire.SUSPEND, suspend_ms=60_000)
    with wire.option(api, cluster, "longPollingEnable", "false", "true"), raw.Connection(cluster.broker.address) as one:
        began = time.monotonic()
        header, _ = one.request(wire.PULL_MESSAGE, fields)
        took = time.monotonic() - began
    expect(header["code"], PULL_NOT_FOUND, "code of the answer")
    expect_that(0.5 < took < 10, "an answer after shortPollingTimeMills (1 s) and the next look (within 5 s)", took)


@case(
    "pull/12",
    "ten thousand pulls wait on twenty connections, and a message wakes those of its queue, each once",
    source="PullRequestHoldService",
)
def test_many_holds(api: Api, cluster: Cluster) -> None:
    topic, group, queues, each = api.fresh("topic"), api.fresh("CG"), 50, 500
    wire.make_topic(cluster.broker.address, topic, queues)
    connections = [raw.Connection(cluster.broker.address) for _ in range(20)]
    try:
        for connection in connections:
            frames = []
            for number in range(each):
                fields = wire.pull_fields(
                    group, topic, number % queues, flags=wire.SUBSCRIPTION | wire.SUSPEND, suspend_ms=120_000
                )
                header = {"code": wire.PULL_MESSAGE, "flag": 0, "language": "JAVA", "opaque": number, "version": 353}
                frames.append(raw.frame({**header, "extFields": fields}))
            connection.send(b"".join(frames))
        with raw.Connection(cluster.broker.address) as other:
            expect(wire.pull(other, group, topic, 49)[0]["code"], PULL_NOT_FOUND, "a pull that does not wait")
            expect(wire.send(other, topic, b"wakes", queue_id=7)["code"], 0, "answer to a send")
        for connection in connections:
            woken = [connection.read_frame() for _ in range(each // queues)]
            expect({header["opaque"] % queues for header, _ in woken}, {7}, "queues of the pulls that are answered")
            expect(len({header["opaque"] for header, _ in woken}), each // queues, "pulls that are answered")
            expect({header["code"] for header, _ in woken}, {FOUND}, "codes of the answers")
        connections[0].socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connections[0].read_frame()
    finally:
        for connection in connections:
            connection.socket.close()


@case(
    "pull/13",
    "a consumer that reads old files does not keep others waiting",
    source="DefaultMessageStore.getMessage; the reading of cold pages",
)
def test_far_behind(api: Api, cluster: Cluster) -> None:
    old, new, group = api.fresh("topic"), api.fresh("topic"), api.fresh("CG")
    for topic in (old, new):
        wire.make_topic(cluster.broker.address, topic)
    body = b"o" * 1000
    with raw.Connection(cluster.broker.address) as writer:
        for _ in range(60):
            batch = wire.batch_body([(body, {})] * 500)
            expect(wire.send(writer, old, batch, batch=True)["code"], 0, "answer to a batch")
        until(lambda: wire.told(wire.pull(writer, group, old, 0, 0))[4] == 30_000, 30)
    read: list[int] = []

    def behind() -> None:
        offset = 0
        with raw.Connection(cluster.broker.address) as reader:
            while offset < 30_000:
                offset = wire.told(wire.pull(reader, group, old, 0, offset, max_nums=256))[2]
                read.append(offset)

    slow = threading.Thread(target=behind)
    slow.start()
    longest = 0.0
    with raw.Connection(cluster.broker.address) as one:
        for number in range(200):
            began = time.monotonic()
            expect(wire.send(one, new, b"n")["code"], 0, "answer to a send")
            until(lambda n=number: wire.told(wire.pull(one, group, new, 0, n))[0] == FOUND, 10, 0.002)  # type: ignore[misc]
            longest = max(longest, time.monotonic() - began)
    slow.join(120)
    expect(read[-1:], [30_000], "where the slow consumer has come to")
    expect_that(longest < 5, "each new message read within 5 s", longest)


@case(
    "pull/14",
    "pulls that find nothing are counted as misses, those that find something as hits",
    source="StoreStatsService; code 28: getMissTps, getFoundTps",
)
def test_misses(api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    wire.make_topic(cluster.broker.address, topic)
    with raw.Connection(cluster.broker.address) as connection:

        def rate(name: str) -> float:
            table = json.loads(connection.request(28)[1])["table"]
            return float(table[name].split()[0])

        def missed() -> bool:
            for _ in range(20):
                wire.pull(connection, group, topic, 0, 0)
            return rate("getMissTps") > 5

        expect(until(missed, 40, 0.2), True, "getMissTps over 5 while pulls find nothing")


@case(
    "pull/15",
    "a Go pull consumer gets each message once, and another of its group goes on where it stopped",
    source="rocketmq-client-go v2 consumer/pull_consumer.go; codes 11, 15, 14",
)
def test_go(go: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 4)
    producer = api.producer(cluster.namesrv, go)
    producer.send(topic, bodies(20))
    first = api.lite_pull(cluster.namesrv, topic, go, group=group)
    expect_bodies(first.wait_bodies(bodies(20)), bodies(20))
    first.stop()
    producer.send(topic, bodies(8, "later"))
    second = api.lite_pull(cluster.namesrv, topic, go, group=group)
    expect_bodies(second.wait_bodies(bodies(8, "later")), bodies(8, "later"))


def fill(connection: raw.Connection, topic: str, messages: int) -> None:
    """Write messages of 100 kB."""
    for number in range(messages):
        expect(wire.send(connection, topic, b"%06d" % number + b"x" * 100_000)["code"], 0, "answer to a send")


def first_kept(connection: raw.Connection, group: str, topic: str) -> int:
    return wire.told(wire.pull(connection, group, topic, 0, 0, max_nums=1))[3]


@case(
    "pull/16",
    "where old files are gone a pull is told OFFSET_TOO_SMALL and the first offset that is left, and consumers go on there",
    source="DefaultMessageStore.getMessage; ConsumeQueue.correctMinOffset; code 21",
)  # fmt: skip
@pytest.mark.parametrize("how", ["before a start", pytest.param("by hand", marks=pytest.mark.long)])
def test_files_gone(how: str, api: Api, servers: Servers) -> None:
    size = 1 << 20
    sizes = {f"{word}FileSizeCommitLog": size for word in ("maped", "mapped")}
    cluster = servers.cluster({**sizes, "fileReservedTime": 72 if how == "before a start" else 0})
    broker, topic, count = cluster.broker, api.fresh("topic"), 60
    groups = [api.fresh("CG") for _ in range(3)]
    wire.make_topic(broker.address, topic)
    with raw.Connection(broker.address) as connection:
        fill(connection, topic, count)
        until(lambda: wire.told(wire.pull(connection, groups[0], topic, 0, 0))[4] == count, 10)
        for group, offset in zip(groups, (0, 2, count - 1), strict=True):
            wire.make_group(broker.address, group)
            fields = {"consumerGroup": group, "topic": topic, "queueId": "0", "commitOffset": str(offset)}
            expect(connection.request(wire.UPDATE_CONSUMER_OFFSET, fields)[0]["code"], 0, "answer to a commit")
        if how == "by hand":
            api.mqadmin(cluster.namesrv, "deleteExpiredCommitLog", "-b", broker.address)
            expect(until(lambda: first_kept(connection, groups[0], topic) > 0, 120), True, "old files deleted")
    if how == "before a start":
        broker.stop()
        for begin in (0, size, 2 * size):
            (broker.store / "commitlog" / f"{begin:020}").unlink()
        broker.start()
        servers.wait_registered(broker)
    with raw.Connection(broker.address) as connection:
        until(lambda: wire.told(wire.pull(connection, groups[0], topic, 0, 0))[4] == count, 20)
        first = first_kept(connection, groups[0], topic)
        expect_that(20 < first < count, "the first files are gone", first)
        for offset in (0, first - 1):
            answer = wire.told(wire.pull(connection, groups[0], topic, 0, offset))
            expect(answer, (PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", first, first, count), f"a pull at {offset}")
        found = wire.told(wire.pull(connection, groups[0], topic, 0, first, max_nums=1))
        expect(found, (FOUND, "FOUND", first + 1, first, count), "a pull of the first that is left")
        new = api.fresh("CG")
        fields = {"consumerGroup": new, "topic": topic, "queueId": "0"}
        header, _ = connection.request(wire.QUERY_CONSUMER_OFFSET, fields)
        expect(
            header["code"], QUERY_NOT_FOUND, "code for the offset of a group that has none: the queue has lost messages"
        )
    cluster.wait_route(topic)
    for group, version, begin in (
        (groups[0], "5.5.0", first),
        (groups[1], "4.7.0", first),
        (groups[2], "3.2.6", count - 1),
    ):
        consumer = api.consumer(cluster.namesrv, topic, version, group=group)
        came = consumer.wait(count - begin)
        expect(sorted(m["body"][:6] for m in came), [f"{n:06}" for n in range(begin, count)], f"messages of {version}")
