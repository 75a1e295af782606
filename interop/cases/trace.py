"""Message trace: what clients with a trace dispatcher write about what they send and consume."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interop.api import Api, bodies
from interop.case import case, expect, expect_that
from interop.cluster import Cluster, Kind, Servers, route
from interop.driver import Line, until

TRACE_TOPIC = "RMQ_SYS_TRACE_TOPIC"
VERSIONS = ["4.7.0", "5.5.0"]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory, kind: Kind, official_version: str) -> Iterator[Cluster]:
    """A cluster whose broker has the trace topic."""
    servers = Servers(tmp_path_factory.mktemp("traced"), kind, official_version)
    yield servers.cluster({"traceTopicEnable": "true"})
    servers.close()


def records(api: Api, cluster: Cluster, topic: str, group: str, kinds: set[str]) -> list[list[str]]:
    """Wait for traces of all `kinds` that name `group`, and return the fields of each trace record of it."""
    reader = api.pull_consumer(cluster.namesrv)
    found: list[list[str]] = []

    def complete() -> bool:
        messages: list[Line] = reader.read_all(topic)
        texts = [text for message in messages for text in message["body"].split("\x02") if text]
        found[:] = [text.split("\x01") for text in texts if group in text.split("\x01")]
        return kinds <= {record[0] for record in found}

    until(complete, 40, 0.5)
    return found


@case(
    "trace/1",
    "with traceTopicEnable the trace topic is there from the start, with one queue",
    source="TopicConfigManager.init; BrokerConfig.traceTopicEnable, msgTraceTopicName",
)
def test_topic(traced: Cluster, api: Api) -> None:
    until(lambda: route(traced.namesrv, TRACE_TOPIC) != [], 20)
    expect(route(traced.namesrv, TRACE_TOPIC), ["broker-a"], "route of the trace topic")
    printed = "".join(api.mqadmin(traced.namesrv, "topicRoute", "-t", TRACE_TOPIC).split())
    expect_that('"readQueueNums":1' in printed and '"writeQueueNums":1' in printed, "one queue", printed)


@case(
    "trace/2",
    "a traced producer writes a Pub record of each send, a traced consumer SubBefore and SubAfter",
    source="AsyncTraceDispatcher, TraceDataEncoder",
)
@pytest.mark.parametrize("version", VERSIONS)
def test_trace(version: str, traced: Cluster, api: Api) -> None:
    topic, sending, reading = api.fresh("topic"), api.fresh("PG"), api.fresh("CG")
    api.create_topic(traced.namesrv, topic, 1)
    consumer = api.consumer(traced.namesrv, topic, version, group=reading, trace=True)
    (result,) = api.producer(traced.namesrv, version, group=sending, trace=True).send(
        topic, [{"body": "b", "keys": "k"}]
    )
    consumer.wait(1)
    published = records(api, traced, TRACE_TOPIC, sending, {"Pub"})
    expect([record[0] for record in published], ["Pub"], "records of the producer")
    expect_that({topic, result["msg_id"], "k"} <= set(published[0]), "topic, message id and key", published)
    consumed = records(api, traced, TRACE_TOPIC, reading, {"SubBefore"})
    expect({record[0] for record in consumed} >= {"SubBefore"}, True, "records of the consumer")
    expect_that(any(result["msg_id"] in record for record in consumed), "the message id", consumed)


@case(
    "trace/3",
    "a trace topic of the client's own is made and written like any other; the messages are found by the traced id",
    source="AsyncTraceDispatcher; DefaultMQProducer(group, enableMsgTrace, customizedTraceTopic)",
)
@pytest.mark.parametrize("version", VERSIONS)
def test_custom_topic(version: str, traced: Cluster, api: Api) -> None:
    topic, own, group = api.fresh("topic"), api.fresh("trace"), api.fresh("PG")
    api.create_topic(traced.namesrv, topic, 1)
    api.create_topic(traced.namesrv, own, 1)
    producer = api.producer(traced.namesrv, version, group=group, trace=True, trace_topic=own)
    results = producer.send(topic, bodies(3))
    wanted = {result["msg_id"] for result in results}
    reader = api.pull_consumer(traced.namesrv)

    def ids() -> set[str]:
        return {field for message in reader.read_all(own) for field in message["body"].split("\x01")} & wanted

    until(lambda: any(message["body"] for message in reader.read_all(own)), 30, 0.5)
    expect_that(bool(until(lambda: bool(ids()), 10, 0.5)), f"one of {wanted} in the trace", reader.read_all(own))
    found = reader.query(own, sorted(wanted)[0])
    expect_that(len(found) >= 1, "a trace message by the key of a message id", found)
