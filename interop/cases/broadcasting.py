"""Where a group begins, what it goes on from, and broadcasting groups."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from interop import raw
from interop.api import Api, bodies, steady
from interop.case import case, expect, expect_bodies
from interop.cluster import Cluster, Kind, Servers
from interop.driver import until
from interop.requests import (
    QUERY_CONSUMER_OFFSET,
    QUERY_NOT_FOUND,
    SUBSCRIPTION_GROUP_NOT_EXIST,
    SUCCESS,
    TOPIC_NOT_EXIST,
    UPDATE_CONSUMER_OFFSET,
    Member,
    bounds,
)

CLIENTS = ["3.2.6", "5.5.0", "go"]
LATER = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"
INVALID_PARAMETER = 29
NOT_ZERO = "Not found, do not set to zero, maybe this group boot first"


@pytest.fixture(scope="module")
def small_memory(tmp_path_factory: pytest.TempPathFactory, kind: Kind, official_version: str) -> Iterator[Cluster]:
    """Servers that take nothing for being in memory: every queue is one that has grown old."""
    if kind == "official" and official_version.startswith("5."):
        pytest.skip("5.x asks the kernel what is in memory, and no option makes a queue old")
    servers = Servers(tmp_path_factory.mktemp("begin"), kind, official_version)
    yield servers.cluster({"accessMessageInMemoryMaxRatio": 0})
    servers.close()


@pytest.fixture
def rules_of_5(kind: Kind, official_version: str) -> None:
    """4.x answers 0 for an empty queue, and knows neither setZeroIfNotFound nor refused commits."""
    if kind == "official" and official_version.startswith("4."):
        pytest.skip("the rules are those of 5.x")


def client(version: str, request: pytest.FixtureRequest) -> str:
    if version == "go":
        request.getfixturevalue("go")
    return version


@case(
    "broadcasting/1",
    "each member of a broadcasting group gets every message, also those sent after it began, whatever the others do",
    source="MessageModel.BROADCASTING; LocalFileOffsetStore",
)
@pytest.mark.parametrize("version", ["3.2.6", "5.5.0"])
def test_every_member(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 3)
    producer = api.producer(cluster.namesrv)
    first = api.consumer(cluster.namesrv, topic, version, group=group, broadcasting=True)
    second = api.consumer(cluster.namesrv, topic, version, group=group, broadcasting=True)
    producer.send(topic, bodies(30, "before"))
    for consumer in (first, second):
        expect_bodies(consumer.wait_bodies(bodies(30, "before")), bodies(30, "before"))
    first.stop()
    producer.send(topic, bodies(20, "after"))
    expect_bodies(second.wait_bodies(bodies(20, "after")), [*bodies(30, "before"), *bodies(20, "after")])


@case(
    "broadcasting/2",
    "what a member of a broadcasting group fails on is dropped: no retry, no dead letter",
    source="ConsumeMessageConcurrentlyService.processConsumeResult",
)
def test_no_retry(api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1)
    consumer = api.consumer(cluster.namesrv, topic, group=group, broadcasting=True, fail=9)
    api.producer(cluster.namesrv).send(topic, bodies(3))
    consumer.wait(3)
    expect(steady(lambda: len(consumer.received())), 3, "deliveries")
    expect(bounds(cluster.broker.address, f"%RETRY%{group}", 0)[1], 0, "messages in the retry topic")


@case(
    "broadcasting/3",
    "on a queue that is no longer in memory a new group begins at the first, the last, or a moment, as it asks",
    source="ConsumeFromWhere; RebalancePushImpl.computePullFromWhere; code 22",
)
@pytest.mark.parametrize("version", CLIENTS)
def test_from_where(version: str, api: Api, small_memory: Cluster, request: pytest.FixtureRequest) -> None:
    topic = api.fresh("topic")
    namesrv = small_memory.namesrv
    api.create_topic(namesrv, topic, 1)
    producer = api.producer(namesrv)
    producer.send(topic, bodies(10, "old"))
    if version == "5.5.0":
        # consumeTimestamp counts whole seconds, in the client's time zone.
        time.sleep(2.1)
        moment = time.strftime("%Y%m%d%H%M%S", time.localtime(time.time() - 1))
        producer.send(topic, bodies(10, "new"))
        at = api.consumer(namesrv, topic, version, timestamp=moment, **{"from": "timestamp"})
        at.wait(10)
        steady(lambda: len(at.received()), 1)
        expect_bodies(at.received(), bodies(10, "new"))
        old = bodies(10, "old") + bodies(10, "new")
    else:
        old = bodies(10, "old")
    first = api.consumer(namesrv, topic, client(version, request), **{"from": "first"})
    last = api.consumer(namesrv, topic, version, **{"from": "last"})
    expect_bodies(first.wait(len(old)), old)
    # `last` has nothing to show until something is sent; what is sent before it looked up its beginning is not its.
    wake = [f"wake{n}" for n in range(200)]
    woken = iter(wake)
    expect(
        until(lambda: bool(producer.send(topic, [next(woken)]) and last.received()), 90, 0.5),
        True,
        "`last` gets messages",
    )
    foreign = {m["body"] for m in last.received()} & set(old)
    expect(foreign, set(), "messages from before it began")


@case(
    "broadcasting/4",
    "a group's offset: what it committed; else 0 on a young queue that begins at 0; else 22, and never 0 by accident",
    source="ConsumerManageProcessor.queryConsumerOffset (14), updateConsumerOffset (15)",
)
@pytest.mark.usefixtures("rules_of_5")
def test_query_offset(api: Api, cluster: Cluster) -> None:
    at = cluster
    topic, group = api.fresh("topic"), api.fresh("CG")

    def query(at: Cluster, queue_id: int = 0, **more: str) -> tuple[int, str | None]:
        fields = {"consumerGroup": group, "topic": topic, "queueId": str(queue_id), **more}
        answer, _ = raw.request(at.broker.address, QUERY_CONSUMER_OFFSET, fields)
        return answer["code"], answer["extFields"]["offset"] if answer["code"] == SUCCESS else answer["remark"]

    api.create_topic(at.namesrv, topic, 2)
    api.producer(at.namesrv).send(topic, bodies(3), queue_id=0)
    with Member(at.broker.address, "m") as member:
        member.join(group, topic)
        found = (SUCCESS, "0")
        expect(query(at), found, "a queue that begins at 0 and is in memory")
        expect(query(at, 1), query(at, 7), "a queue that is empty is as one that does not exist")
        expect(query(at, setZeroIfNotFound="true"), found, "setZeroIfNotFound=true")
        expect(query(at, setZeroIfNotFound="false"), (QUERY_NOT_FOUND, NOT_ZERO), "setZeroIfNotFound=false")
        fields = {"consumerGroup": group, "topic": topic, "queueId": "0", "commitOffset": "2"}
        answer, _ = member.request(UPDATE_CONSUMER_OFFSET, fields)
        expect(answer["code"], SUCCESS, "code of a commit")
        expect(query(at), (SUCCESS, "2"), "what was committed")
        expect(query(at, setZeroIfNotFound="false"), (SUCCESS, "2"), "what was committed")
        member.request(UPDATE_CONSUMER_OFFSET, {**fields, "commitOffset": "1"})
        expect(query(at), (SUCCESS, "1"), "a commit may go back")


@case(
    "broadcasting/5",
    "on a queue that nothing was ever written to a new group is told 22, and not 0",
    source="DefaultMessageStore.checkInMemByConsumeOffset",
)
@pytest.mark.usefixtures("rules_of_5")
def test_empty_queue(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    fields = {"consumerGroup": "CG-new", "topic": topic, "queueId": "0"}
    answer, _ = raw.request(cluster.broker.address, QUERY_CONSUMER_OFFSET, fields)
    expect((answer["code"], answer.get("remark")), (QUERY_NOT_FOUND, LATER))


@case(
    "broadcasting/6",
    "offsets of what does not exist, or with fields missing, get the official codes",
    source="ConsumerManageProcessor",
)
@pytest.mark.usefixtures("rules_of_5")
def test_bad_offsets(api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1)
    address = cluster.broker.address
    fields = {"consumerGroup": group, "topic": topic, "queueId": "0", "commitOffset": "1"}
    answer, _ = raw.request(address, UPDATE_CONSUMER_OFFSET, fields)
    expect((answer["code"], answer["remark"]), (SUBSCRIPTION_GROUP_NOT_EXIST, f"Group {group} not exist!"))
    with Member(address, "m") as member:
        member.join(group, topic)
        answer, _ = member.request(UPDATE_CONSUMER_OFFSET, {**fields, "topic": topic + "-none"})
        expect((answer["code"], answer["remark"]), (TOPIC_NOT_EXIST, f"Topic {topic}-none not exist!"))
        for missing in ("queueId", "commitOffset"):
            answer, _ = member.request(UPDATE_CONSUMER_OFFSET, {k: v for k, v in fields.items() if k != missing})
            expect(answer["code"], INVALID_PARAMETER, f"code of 15 without {missing}")


@case(
    "broadcasting/7",
    "a group that restarts goes on where it was on an old queue too, and not at the end that it asked to begin at",
    source="RemoteBrokerOffsetStore",
)
def test_known_group(api: Api, small_memory: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    namesrv = small_memory.namesrv
    api.create_topic(namesrv, topic, 1)
    producer = api.producer(namesrv)
    producer.send(topic, bodies(10, "old"))
    first = api.consumer(namesrv, topic, group=group)
    first.wait(10)
    first.acknowledged(topic, 10)
    first.stop()
    producer.send(topic, bodies(10, "missed"))
    second = api.consumer(namesrv, topic, group=group, **{"from": "last"})
    expect_bodies(second.wait(10), bodies(10, "missed"))
