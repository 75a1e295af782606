"""Push consumers: filters, groups, broadcasting, order, and where a new group begins."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path

import pytest

from interop.api import Api, Consumer, bodies, steady
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster
from interop.driver import Line, until


@case(
    "consume/1",
    "a consumer that subscribes to tags gets the messages of these tags and no other",
    source="ExpressionMessageFilter, ConsumeQueue tags code; SubscriptionData",
)
@pytest.mark.parametrize("version", ["3.2.6", "5.5.0"])
def test_tags(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2)
    tags = ["TagA", "TagB", "TagC", "TagD", ""]
    messages = [{"body": f"{tags[i % 5]}-{i}", "tag": tags[i % 5]} for i in range(100)]
    api.producer(cluster.namesrv, version).send(topic, messages)
    wanted = [m["body"] for m in messages if m["tag"] in ("TagA", "TagC")]
    consumer = api.consumer(cluster.namesrv, topic, version, expression="TagA || TagC")
    consumer.wait_bodies(wanted)
    steady(lambda: len(consumer.received()), 0.5)
    expect_bodies(consumer.received(), wanted)


@case(
    "consume/2",
    "two consumers of a group share the queues, and when one shuts down the other takes over; nothing is lost",
    source="RebalanceImpl, ConsumerManager, NOTIFY_CONSUMER_IDS_CHANGED (40)",
)
@pytest.mark.parametrize("version", ["4.2.0", "5.5.0"])
def test_one_leaves(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 8)
    first = api.consumer(cluster.namesrv, topic, version, group=group)
    second = api.consumer(cluster.namesrv, topic, version, group=group)
    producer = api.producer(cluster.namesrv, version)
    sent = share(producer.send, topic, first, second)
    first.stop()
    after = bodies(200, "after")
    producer.send(topic, after)
    second.wait_bodies(after)
    expect_bodies([*first.received(), *second.received()], [*sent, *after], once=False)


def share(send: object, topic: str, *consumers: Consumer) -> list[str]:
    """Send in rounds until a round reached every consumer; return all bodies, when each was received."""
    assert callable(send)
    sent: list[str] = []

    def a_round() -> bool:
        before = [len(c.received()) for c in consumers]
        sent.extend(bodies(40, f"round{len(sent)}"))
        send(topic, sent[-40:])
        return until(lambda: all(len(c.received()) > n for c, n in zip(consumers, before, strict=True)), 3)

    expect_that(until(a_round, 90), "each consumer of the group gets messages", [len(c.received()) for c in consumers])
    until(lambda: {m["body"] for c in consumers for m in c.received()} >= set(sent), 90)
    return sent


@case(
    "consume/3",
    "when the process of one of two consumers is killed, the other gets its queues at once and nothing is lost",
    source="ClientHousekeepingService.onChannelClose, ConsumerManager.doChannelCloseEvent",
)
def test_one_dies(api: Api, cluster: Cluster, tmp_path: Path) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 8)
    driver = api.drivers.start("4.7.0", folder=tmp_path / "mortal")
    try:
        mortal = api.consumer(cluster.namesrv, topic, "4.7.0", driver=driver, group=group)
        heir = api.consumer(cluster.namesrv, topic, "4.7.0", group=group)
        producer = api.producer(cluster.namesrv)
        sent = share(producer.send, topic, mortal, heir)
    finally:
        driver.kill()
    mortal.running = False
    after = bodies(200, "after")
    producer.send(topic, after)
    heir.wait_bodies(after, 90)
    expect_bodies([*mortal.received(), *heir.received()], [*sent, *after], once=False)


@case("consume/4", "each consumer of a broadcasting group gets every message", source="MessageModel.BROADCASTING")
@pytest.mark.parametrize("version", ["5.5.0"])
def test_broadcasting(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 4)
    sent = bodies(60)
    api.producer(cluster.namesrv, version).send(topic, sent)
    consumers = [
        api.consumer(cluster.namesrv, topic, version, group=group, broadcasting=True, **{"from": "first"})
        for _ in range(2)
    ]
    for consumer in consumers:
        expect_bodies(consumer.wait_bodies(sent), sent, once=False)


@case(
    "consume/5",
    "orderly consumers get each queue's messages in order, also when a queue goes from one consumer to another",
    source="ConsumeMessageOrderlyService, RebalanceLockManager; LOCK_BATCH_MQ (41), UNLOCK_BATCH_MQ (42)",
)
@pytest.mark.parametrize("version", ["4.7.0"])
def test_orderly(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 4)
    producer = api.producer(cluster.namesrv, version)
    sent = []
    for queue_id in range(4):
        sent += bodies(100, f"q{queue_id}")
        producer.send(topic, sent[-100:], queue_id=queue_id)
    first = api.consumer(cluster.namesrv, topic, version, group=group, orderly=True, pause_ms=10)
    first.wait(40)
    second = api.consumer(cluster.namesrv, topic, version, group=group, orderly=True, pause_ms=10)
    until(lambda: {m["body"] for c in (first, second) for m in c.received()} >= set(sent), 60)
    got = [*first.received(), *second.received()]
    expect_bodies(got, sent, once=False)
    expect(disorder(got), [], "messages that came behind a later one of their queue")


def disorder(messages: list[Line]) -> list[tuple[int, int]]:
    """Return (queue id, offset) of first deliveries that came after a later message of the same queue."""
    highest: dict[int, int] = defaultdict(lambda: -1)
    seen: set[tuple[int, int]] = set()
    wrong = []
    for message in sorted(messages, key=lambda m: m["arrived"]):
        place = (message["queue_id"], message["queue_offset"])
        if place not in seen:
            seen.add(place)
            if place[1] < highest[place[0]]:
                wrong.append(place)
            highest[place[0]] = max(highest[place[0]], place[1])
    return wrong


@case(
    "consume/6",
    "a new group begins at the first message of a queue that begins at 0 and is in memory, even when it asks for `last`",
    source="ConsumerManageProcessor.queryConsumerOffset (code 14)",
)
@pytest.mark.parametrize("start", ["first", "last"])
def test_from_where_in_memory(start: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2)
    api.producer(cluster.namesrv).send(topic, bodies(20))
    consumer = api.consumer(cluster.namesrv, topic, **{"from": start})
    expect_bodies(consumer.wait(20), bodies(20))


@case(
    "consume/7",
    "a group goes on where it stopped: what a consumer has acknowledged before its shutdown, the next does not get",
    source="RemoteBrokerOffsetStore.persistAll; codes 15, 14",
)
@pytest.mark.parametrize("version", ["3.2.6", "5.5.0"])
def test_resume(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 4)
    producer = api.producer(cluster.namesrv, version)
    producer.send(topic, bodies(40, "before"))
    first = api.consumer(cluster.namesrv, topic, version, group=group)
    expect_bodies(first.wait(40), bodies(40, "before"))
    first.acknowledged(topic, 40)
    first.stop()
    producer.send(topic, bodies(40, "behind"))
    second = api.consumer(cluster.namesrv, topic, version, group=group)
    second.wait_bodies(bodies(40, "behind"))
    expect_bodies(second.received(), bodies(40, "behind"))


@case(
    "consume/8",
    "a waiting consumer gets a message when it arrives, and not when its hold of 15 s is over",
    source="PullRequestHoldService, NotifyMessageArrivingListener",
)
@pytest.mark.parametrize("version", ["3.2.6", "5.5.0"])
def test_long_polling(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv, version)
    consumer = api.consumer(cluster.namesrv, topic, version)
    producer.send(topic, ["wake"])
    consumer.wait(1)
    delays = []
    for number in range(5):
        began = time.monotonic()
        producer.send(topic, [f"m{number}"])
        consumer.wait(number + 2)
        delays.append(time.monotonic() - began)
    expect_bodies(consumer.received(), ["wake", *(f"m{n}" for n in range(5))])
    expect_that(max(delays) < 5, "each message within 5 s", delays)


@case(
    "consume/9",
    "messages written by each client version are read by each other version, as JSON headers or binary ones carry them",
    source="MessageDecoder; PullMessageProcessor",
)
def test_versions_mixed(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 4)
    versions = ("3.2.6", "4.2.0", "4.7.0", "5.5.0")
    sent = []
    for version in versions:
        message = {"body": f"by {version}", "tag": "T", "keys": f"k{version}", "properties": {"by": version}}
        api.producer(cluster.namesrv, version).send(topic, [message])
        sent.append(message["body"])
    for version in versions:
        got = api.consumer(cluster.namesrv, topic, version).wait(len(sent))
        expect_bodies(got, sent)
        expect(sorted(m["properties"].get("by", "") for m in got), sorted(versions), f"property read by {version}")
