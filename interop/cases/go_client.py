"""The official Go client."""

from __future__ import annotations

import pytest

from interop.api import Api, bodies, steady
from interop.case import case, expect, expect_bodies
from interop.cluster import Cluster
from interop.driver import until


@case(
    "go_client/1",
    "the Go producer's messages (sync, async, one way, batch) are stored, and the Go push consumer gets each of them",
    source="rocketmq-client-go v2 producer, consumer; codes 10, 320, 11",
)
@pytest.mark.parametrize("mode", ["sync", "async", "oneway", "batch"])
def test_modes(mode: str, go: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic)
    sent = bodies(40)
    results = api.producer(cluster.namesrv, go).send(topic, sent, mode)
    expect({r["status"] for r in results} - {"SEND_OK"}, set(), "send results")
    expect_bodies(api.consumer(cluster.namesrv, topic, go).wait_bodies(sent), sent)


@case("go_client/2", "the first Go message to a new topic creates it", source="rocketmq-client-go v2 internal/route.go")
def test_auto_create(go: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    producer = api.producer(cluster.namesrv, go)
    producer.send(topic, ["first"])
    cluster.wait_route(topic)
    expect_bodies(api.consumer(cluster.namesrv, topic, go).wait(1), ["first"])


@case(
    "go_client/3", "a Go consumer with a tag expression gets these tags only", source="rocketmq-client-go v2 consumer"
)
def test_tags(go: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic)
    messages = [{"body": f"{tag}{n}", "tag": tag} for n in range(20) for tag in ("TagA", "TagB")]
    api.producer(cluster.namesrv, go).send(topic, messages)
    wanted = [f"TagA{n}" for n in range(20)]
    consumer = api.consumer(cluster.namesrv, topic, go, expression="TagA")
    consumer.wait_bodies(wanted)
    steady(lambda: len(consumer.received()), 0.5)
    expect_bodies(consumer.received(), wanted)


@case(
    "go_client/4",
    "Go and Java read each other's messages and properties",
    source="MessageDecoder, primitive.DecodeMessage",
)
def test_with_java(go: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic)
    message = {"tag": "T", "keys": "key", "properties": {"p": "ü"}}
    api.producer(cluster.namesrv, go).send(topic, [{**message, "body": "go"}])
    api.producer(cluster.namesrv).send(topic, [{**message, "body": "java"}])
    for version in (go, "4.7.0", "5.5.0"):
        got = api.consumer(cluster.namesrv, topic, version).wait(2)
        expect_bodies(got, ["go", "java"])
        expect({(m["tag"], m["keys"].strip(), m["properties"].get("p")) for m in got}, {("T", "key", "ü")}, version)


@case(
    "go_client/5",
    "two Go consumers of a group share the queues; nothing is lost when one stops",
    source="rocketmq-client-go v2",
)
def test_one_leaves(go: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 8)
    producer = api.producer(cluster.namesrv, go)
    producer.send(topic, bodies(40, "before"))
    first = api.consumer(cluster.namesrv, topic, go, group=group)
    second = api.consumer(cluster.namesrv, topic, go, group=group)
    everything = set(bodies(40, "before"))
    until(lambda: {m["body"] for c in (first, second) for m in c.received()} >= everything, 60)
    first.stop()
    producer.send(topic, bodies(80, "after"))
    second.wait_bodies(bodies(80, "after"), 60)
    got = [*first.received(), *second.received()]
    expect_bodies(got, bodies(40, "before") + bodies(80, "after"), once=False)
