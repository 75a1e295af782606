"""DefaultMQPullConsumer and DefaultLitePullConsumer."""

from __future__ import annotations

import threading
import time

import pytest

from interop.api import JAVA, Api, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster
from interop.driver import until


@case(
    "pull/1",
    "a pull is answered FOUND with the messages from its offset on, and the place where to go on",
    source="PullMessageProcessor, PullMessageResponseHeader; code 11",
)
@pytest.mark.parametrize("version", JAVA)
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
@pytest.mark.parametrize("version", JAVA)
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
