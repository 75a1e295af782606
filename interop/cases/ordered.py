"""Messages in order: queue locks, orderly consumers, ordered topics."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from interop import raw
from interop.api import Api, Consumer, Drivers, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import MODERN_VERSION, Cluster, Servers
from interop.driver import Line, until
from interop.requests import LOCK_BATCH_MQ, SYSTEM_ERROR, UNLOCK_BATCH_MQ, Member, topic_config

GET_KV_CONFIG, GET_ROUTEINFO_BY_TOPIC = 101, 105


def disorder(messages: list[Line]) -> list[tuple[int, int]]:
    """Return (queue id, offset) of first deliveries that came after a later message of their queue."""
    highest: dict[int, int] = defaultdict(lambda: -1)
    seen: set[tuple[int, int]] = set()
    wrong = []
    for message in messages:
        place = (message["queue_id"], message["queue_offset"])
        if place not in seen:
            seen.add(place)
            if place[1] < highest[place[0]]:
                wrong.append(place)
            highest[place[0]] = max(highest[place[0]], place[1])
    return wrong


def all_of(*consumers: Consumer) -> list[Line]:
    """Return what all consumers of one driver process received, in the order in which it came."""
    return sorted((m for c in consumers for m in c.received()), key=lambda m: m["arrived"])


@dataclass
class Orphaned:
    """Queues whose consumer was killed, and the consumer that waits for their locks to run out."""

    sent: list[str]
    mortal: Consumer
    heir: Consumer
    heir_began_after_s: list[float]
    """Empty until it has begun."""


@pytest.fixture(scope="module", autouse=True)
def orphaned(drivers: Drivers, shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orphaned]:
    """Kill an orderly consumer at the beginning: the minute of its locks passes while the other cases run."""
    api = Api(drivers)
    topic, group, namesrv = api.fresh("topic"), api.fresh("CG"), shared_cluster.namesrv
    api.create_topic(namesrv, topic, 2)
    producer = api.producer(namesrv)
    sent: list[str] = []
    for queue_id in range(2):
        sent += bodies(40, f"q{queue_id}")
        producer.send(topic, sent[-40:], queue_id=queue_id)
    driver = drivers.start("5.5.0", folder=tmp_path_factory.mktemp("mortal"))
    try:
        mortal = api.consumer(namesrv, topic, driver=driver, group=group, orderly=True, pause_ms=200)
        mortal.wait(10)
    finally:
        driver.kill()
    mortal.running = False
    killed_at = time.monotonic()
    heir = api.consumer(namesrv, topic, "4.7.0", group=group, orderly=True)

    heir_began_after_s: list[float] = []

    def watch() -> None:
        if heir.wait(1, 120):
            heir_began_after_s.append(time.monotonic() - killed_at)

    threading.Thread(target=watch, daemon=True).start()
    yield Orphaned(sent, mortal, heir, heir_began_after_s)
    api.close()


@case(
    "ordered/1",
    "a queue is locked by one client of a group at a time, again by the same, and free when it gives it back",
    source="RebalanceLockManager.tryLockBatch, unlockBatch; codes 41 and 42",
)
def test_locks(api: Api, cluster: Cluster) -> None:
    group, other, topic = api.fresh("CG"), api.fresh("CG"), api.fresh("topic")
    queues = [(topic, number) for number in range(4)]
    with Member(cluster.broker.address, "a") as a, Member(cluster.broker.address, "b") as b:
        expect(a.locked(group, *queues[:2]), [0, 1], "a locks free queues")
        expect(a.locked(group, *queues[:2]), [0, 1], "a keeps them")
        expect(b.locked(group, *queues), [2, 3], "b gets the others")
        expect(b.locked(other, *queues), [0, 1, 2, 3], "another group's locks are its own")
        b.unlock(group, *queues)
        expect(a.locked(group, *queues), [0, 1, 2, 3], "b gave back its own")
        expect(b.locked(group, *queues), [], "and not those of a")
        a.unlock(group, queues[0])
        expect(b.locked(group, *queues), [0], "what a gave back")
        expect(b.locked(group), [], "no queues")
    with Member(cluster.broker.address, "c") as c:
        expect(c.locked(group, *queues), [], "locks outlive the connections of those who took them")


@case(
    "ordered/2",
    "a request for locks that cannot be read gets the official code",
    source="AdminBrokerProcessor.lockBatchMQ; LockBatchRequestBody",
)
@pytest.mark.parametrize("code", [LOCK_BATCH_MQ, UNLOCK_BATCH_MQ])
def test_bad_locks(code: int, cluster: Cluster) -> None:
    for body in (b"", b"no json", b"[1]", b'{"mqSet":'):
        answer, _ = raw.request(cluster.broker.address, code, body=body)
        expect(answer["code"], SYSTEM_ERROR, f"code of {body!r}")


@case(
    "ordered/3",
    "while orderly consumers join, leave and die each queue is consumed in order, and nothing is lost",
    source="ConsumeMessageOrderlyService, RebalanceLockManager",
)
@pytest.mark.parametrize("version", ["3.2.6", "4.7.0", "5.5.0"])
def test_rebalancing(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 4)
    producer = api.producer(cluster.namesrv)
    sent: list[str] = []

    def send(count: int) -> None:
        for queue_id in range(4):
            new = bodies(count, f"q{queue_id}-{len(sent)}")
            producer.send(topic, new, queue_id=queue_id)
            sent.extend(new)

    arguments = {"group": group, "orderly": True, "pause_ms": 10}
    first = api.consumer(cluster.namesrv, topic, version, **arguments)
    send(20)
    first.wait(20)
    second = api.consumer(cluster.namesrv, topic, version, **arguments)

    def both_work() -> bool:
        """Send a little more, and see whether it reaches both: `second` gets queues when `first` gives back their locks."""
        before = [len(c.received()) for c in (first, second)]
        send(3)
        return until(lambda: all(len(c.received()) > n for c, n in zip((first, second), before, strict=True)), 1)

    def everything_came() -> bool:
        return {m["body"] for m in all_of(first, second)} >= set(sent)

    expect(until(both_work, 90), True, "both get messages")
    # A consumer that stops before it gave back the lock of a queue that it has handed over leaves it locked for 60 s.
    until(everything_came, 90)
    send(20)
    first.stop()
    until(everything_came, 90)
    got = all_of(first, second)
    expect_bodies(got, sent, once=False)
    expect(disorder(got), [], "messages that came behind a later one of their queue")


@case(
    "ordered/4",
    "orderly consumers go on in order over a restart of the broker, which forgets its locks",
    source="RebalanceLockManager (in memory); ConsumeMessageOrderlyService.lockMQPeriodically",
)
def test_broker_restart(api: Api, servers: Servers) -> None:
    cluster = servers.cluster()
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 2)
    producer = api.producer(cluster.namesrv)
    sent: list[str] = []
    for queue_id in range(2):
        sent += bodies(60, f"q{queue_id}")
        producer.send(topic, sent[-60:], queue_id=queue_id)
    consumer = api.consumer(cluster.namesrv, topic, "4.7.0", group=group, orderly=True, pause_ms=20)
    consumer.wait(20)
    cluster.broker.stop()
    cluster.broker.start()
    servers.wait_registered(cluster.broker)
    consumer.wait_bodies(sent, 60)
    expect_bodies(consumer.received(), sent, once=False)
    expect(disorder(consumer.received()), [], "messages that came behind a later one of their queue")


@case(
    "ordered/5",
    "a message that an orderly listener fails on is tried again in its place before the one behind it, and then is a dead letter",
    source="ConsumeMessageOrderlyService.checkReconsumeTimes; SendMessageProcessor.handleRetryAndDLQ",
)  # fmt: skip
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_failing(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1)
    api.producer(cluster.namesrv).send(topic, bodies(3), queue_id=0)
    consumer = api.consumer(
        cluster.namesrv, topic, version, group=group, orderly=True, fail=2, suspend_ms=50, max_reconsume=16
    )
    consumer.wait(9)
    told = [(m["body"], m["reconsume_times"]) for m in consumer.received()]
    expect(told, [(body, times) for body in bodies(3) for times in range(3)], "bodies and reconsume times")
    other = api.fresh("CG")
    giving_up = api.consumer(
        cluster.namesrv, topic, version, group=other, orderly=True, fail=99, suspend_ms=50, max_reconsume=1
    )
    dead = f"%DLQ%{other}"
    reader = api.pull_consumer(cluster.namesrv)
    until(lambda: topic_config(cluster.broker.address, dead) is not None, 60)
    cluster.wait_route(dead)
    until(lambda: len(reader.pull(dead, 0, 0)["messages"]) == 3, 60, 0.3)
    letters = reader.pull(dead, 0, 0)["messages"]
    expect([m["body"] for m in letters], bodies(3), "dead letters, in order")
    expect({m["properties"]["RETRY_TOPIC"] for m in letters}, {topic}, "RETRY_TOPIC")
    expect([m["body"] for m in giving_up.received()], [body for body in bodies(3) for _ in range(2)], "two tries each")


@case(
    "ordered/6",
    "updateTopic -o true keeps the order configuration in the name server, not in its routes unless orderMessageEnable is on; deleting the topic leaves it",
    source="UpdateTopicSubCommand; NamesrvUtil.NAMESPACE_ORDER_TOPIC_CONFIG; KVConfigManager",
)  # fmt: skip
def test_order_topics(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    printed = api.mqadmin(
        cluster.namesrv, "updateTopic", "-c", "DefaultCluster", "-t", topic, "-r", "3", "-w", "3", "-o", "true"
    )
    expect_that("set cluster orderConf" in printed, "`set cluster orderConf` printed", printed)
    fields = {"namespace": "ORDER_TOPIC_CONFIG", "key": topic}
    answer, _ = raw.request(cluster.namesrv, GET_KV_CONFIG, fields)
    expect((answer["code"], answer["extFields"]["value"]), (0, "broker-a:3"), "order configuration")
    answer, body = raw.request(cluster.namesrv, GET_ROUTEINFO_BY_TOPIC, {"topic": topic}, version=MODERN_VERSION)
    expect(json.loads(body).get("orderTopicConf"), None, "orderTopicConf of the route: orderMessageEnable is off")
    config = topic_config(cluster.broker.address, topic)
    assert config is not None
    expect(config["order"], True, "order of the topic")
    group = api.fresh("CG")
    consumer = api.consumer(cluster.namesrv, topic, group=group, orderly=True)
    producer = api.producer(cluster.namesrv)
    for queue_id in range(3):
        producer.send(topic, bodies(10, f"q{queue_id}"), queue_id=queue_id)
    got = consumer.wait(30)
    expect_bodies(got, [b for q in range(3) for b in bodies(10, f"q{q}")])
    expect(disorder(got), [], "messages that came behind a later one of their queue")
    retry = topic_config(cluster.broker.address, f"%RETRY%{group}")
    assert retry is not None
    consumer.stop()
    producer.stop()
    printed = api.mqadmin(cluster.namesrv, "deleteTopic", "-c", "DefaultCluster", "-t", topic)
    expect_that("success" in printed, "deleteTopic succeeds", printed)
    answer, _ = raw.request(cluster.namesrv, GET_KV_CONFIG, fields)
    expect(answer["code"], 0, "code of the order configuration of a deleted topic, which stays")


@case(
    "ordered/7",
    "the queues of an orderly consumer that is killed go to another within the life of its locks, in order",
    source="RebalanceLockManager.REBALANCE_LOCK_MAX_LIVE_TIME (60 s)",
)
@pytest.mark.long
def test_killed(orphaned: Orphaned) -> None:
    expect(until(lambda: bool(orphaned.heir_began_after_s), 120), True, "the heir gets messages")
    took_s = orphaned.heir_began_after_s[0]
    last = {m["body"] for m in orphaned.mortal.received()}
    orphaned.heir.wait_bodies(set(orphaned.sent) - last, 60)
    expect_bodies([*orphaned.mortal.received(), *orphaned.heir.received()], orphaned.sent, once=False)
    expect(disorder(orphaned.heir.received()), [], "messages that came behind a later one of their queue")
    # 60 s after the last lock, which was renewed every 4 s, and the heir tries every 4 s.
    expect_that(50 < took_s < 90, "not before the dead one's locks ran out, and soon after", took_s)
