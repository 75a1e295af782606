"""Topics: created by hand or not at all, refused, read-only, deleted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from interop import raw
from interop.api import JAVA, Api, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster, Servers, route
from interop.driver import DriverError, until

SEND_MESSAGE = 10
PULL_MESSAGE = 11
GET_ROUTEINFO = 105
SYSTEM_ERROR, NO_PERMISSION, TOPIC_NOT_EXIST, INVALID_PARAMETER = 1, 16, 17, 29


def send_fields(topic: str, **more: str) -> dict[str, str]:
    """Return the header fields of SEND_MESSAGE."""
    return {
        "producerGroup": "PG", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4", "queueId": "0",
        "sysFlag": "0", "bornTimestamp": "1", "flag": "0", "properties": "", "reconsumeTimes": "0", "unitMode": "false", **more,
    }  # fmt: skip


def pull_fields(topic: str, **more: str) -> dict[str, str]:
    """Return the header fields of PULL_MESSAGE, which carries its subscription and may not wait."""
    return {
        "consumerGroup": "CG-raw", "topic": topic, "queueId": "0", "queueOffset": "0", "maxMsgNums": "32", "sysFlag": "4",
        "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "1", "expressionType": "TAG", **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def strict_cluster(tmp_path_factory: pytest.TempPathFactory, shared_servers: Servers) -> Iterator[Cluster]:
    """A cluster whose broker creates no topic by itself."""
    servers = Servers(tmp_path_factory.mktemp("strict"), shared_servers.kind, shared_servers.version)
    try:
        yield servers.cluster({"autoCreateTopicEnable": "false"})
    finally:
        servers.close()


@case(
    "topic/1",
    "with autoCreateTopicEnable=false a producer is told that the topic has no route, and the topic is not made",
    source="TopicConfigManager (TBW102), AbstractSendMessageProcessor.msgCheck; code 17",
)
@pytest.mark.parametrize("version", JAVA)
def test_missing_topic(version: str, api: Api, strict_cluster: Cluster) -> None:
    topic = api.fresh("topic")
    producer = api.producer(strict_cluster.namesrv, version)
    with pytest.raises(DriverError) as failure:
        producer.send(topic, ["x"])
    expect(failure.value.error, "MQClientException")
    expect_that("No route info of this topic" in failure.value.message, "`No route info of this topic`", failure.value)
    expect(route(strict_cluster.namesrv, topic), [], "brokers in the route of the topic")


@case(
    "topic/2",
    "a send to a missing topic that may not be made is answered 17",
    source="AbstractSendMessageProcessor.msgCheck",
)
def test_missing_topic_raw(api: Api, strict_cluster: Cluster) -> None:
    # Never on the shared broker: a send that is refused so changes the permission of TBW102 for good.
    topic = api.fresh("absent")
    header, _ = raw.request(strict_cluster.broker.address, SEND_MESSAGE, send_fields(topic), b"x")
    expect(header["code"], TOPIC_NOT_EXIST, f"response code ({header.get('remark')})")
    wanted = f"topic[{topic}] not exist, apply first please!"
    expect_that(header["remark"].startswith(wanted), wanted, header["remark"])
    header, _ = raw.request(strict_cluster.broker.address, PULL_MESSAGE, pull_fields(api.fresh("absent")))
    expect(header["code"], TOPIC_NOT_EXIST, f"response code of a pull ({header.get('remark')})")


@case(
    "topic/3",
    "where no topic is made by itself, one made by mqadmin is sent to and read",
    source="UpdateTopicSubCommand; code 17",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_created(version: str, api: Api, strict_cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(strict_cluster.namesrv, topic, 3, version=version)
    results = api.producer(strict_cluster.namesrv, version).send(topic, bodies(9))
    expect({r["queue_id"] for r in results}, {0, 1, 2}, "queues of a topic made with 3")
    expect_bodies(api.consumer(strict_cluster.namesrv, topic, version).wait(9), bodies(9))


@case(
    "topic/4",
    "a topic name with illegal characters or over 127 characters is refused and not made",
    source="TopicValidator; AbstractSendMessageProcessor.msgCheck",
)
@pytest.mark.parametrize(
    "topic", ["has space", "semi;colon", "naïve", "x" * 128, ""], ids=["space", "mark", "accent", "long", "empty"]
)
def test_illegal_name(topic: str, api: Api, cluster: Cluster) -> None:
    header, _ = raw.request(cluster.broker.address, SEND_MESSAGE, send_fields(topic), b"x")
    codes = {SYSTEM_ERROR, INVALID_PARAMETER}
    expect_that(header["code"] in codes, f"a response code of {codes}", header)
    expect_that(bool(header.get("remark")), "a remark that says why", header)
    expect(route(cluster.namesrv, topic) if topic else [], [], "brokers in the route")


@case(
    "topic/5",
    "a send to a queue that the topic does not have is refused",
    source="AbstractSendMessageProcessor.msgCheck",
)
def test_unknown_queue(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2)
    header, _ = raw.request(cluster.broker.address, SEND_MESSAGE, send_fields(topic, queueId="77"), b"x")
    expect_that(header["code"] in {SYSTEM_ERROR, INVALID_PARAMETER}, "response code 1 or 29", header)
    header, _ = raw.request(cluster.broker.address, PULL_MESSAGE, pull_fields(topic, queueId="77"))
    expect_that(header["code"] in {SYSTEM_ERROR, INVALID_PARAMETER}, "response code 1 or 29 for a pull", header)


@case(
    "topic/6",
    "clients send nothing to a topic that is made read-only, and still read it",
    source="TopicConfig.perm, PermName; MQClientInstance.topicRouteData2TopicPublishInfo",
)
def test_read_only_topic(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    api.producer(cluster.namesrv).send(topic, ["kept"])
    api.mqadmin(cluster.namesrv, "updateTopic", "-c", "DefaultCluster", "-t", topic, "-r", "1", "-w", "1", "-p", "4")
    says_perm(cluster, topic, 4)
    with pytest.raises(DriverError) as failure:
        api.producer(cluster.namesrv).send(topic, ["x"])
    expect(failure.value.error, "MQClientException")
    expect_bodies(api.consumer(cluster.namesrv, topic).wait(1), ["kept"])


def says_perm(cluster: Cluster, topic: str, perm: int) -> None:
    """Fail unless the route of a topic comes to say this permission."""

    def told() -> bytes:
        return raw.request(cluster.namesrv, GET_ROUTEINFO, {"topic": topic}, version=513)[1]

    until(lambda: f'"perm":{perm}'.encode() in told(), 15)
    expect_that(f'"perm":{perm}'.encode() in told(), f"perm {perm} in the route", told().decode())


@case(
    "topic/7",
    "a broker with brokerPermission=4 (read) tells clients so in its routes, and refuses (16) sends to order topics",
    source="BrokerConfig.brokerPermission; AbstractSendMessageProcessor.msgCheck, which looks at order topics alone",
)
def test_read_only_broker(api: Api, servers: Servers) -> None:
    cluster = servers.cluster({"brokerPermission": 4})
    topic = api.fresh("topic")
    api.mqadmin(
        cluster.namesrv, "updateTopic", "-b", cluster.broker.address, "-t", topic, "-r", "1", "-w", "1", "-o", "true"
    )
    says_perm(cluster, topic, 4)
    header, _ = raw.request(cluster.broker.address, SEND_MESSAGE, send_fields(topic), b"x")
    expect(header["code"], NO_PERMISSION, f"response code ({header.get('remark')})")


@case(
    "topic/8",
    "a topic deleted by mqadmin has no route and no messages; made anew, it begins at 0",
    source="DeleteTopicSubCommand; codes 215, 216",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_delete(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv, version)
    producer.send(topic, bodies(5))
    printed = api.mqadmin(cluster.namesrv, "deleteTopic", "-c", "DefaultCluster", "-t", topic, version=version)
    expect_that("success" in printed, "deleteTopic prints success", printed)
    expect(until(lambda: route(cluster.namesrv, topic) == [], 15), True, "the route is gone")
    api.create_topic(cluster.namesrv, topic, 1)
    reader = api.pull_consumer(cluster.namesrv, version)
    expect(reader.offsets(topic, 0)["max"], 0, "max offset of the topic made anew")


@case(
    "topic/9",
    "an automatically created topic has min(4, the client's wish, the broker's default) queues",
    source="TopicConfigManager.createTopicInSendMessageMethod; BrokerConfig.defaultTopicQueueNums (8)",
)
@pytest.mark.parametrize(("wish", "queues"), [(1, 1), (4, 4), (16, 8)])
def test_auto_create_queues(wish: int, queues: int, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.producer(cluster.namesrv, queues=wish).send(topic, ["x"])
    cluster.wait_route(topic)
    reader = api.pull_consumer(cluster.namesrv)
    expect(sorted(q["queue_id"] for q in reader.queues(topic)), list(range(queues)), "queues of the topic")
