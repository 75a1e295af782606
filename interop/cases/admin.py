"""mqadmin, by its official entry point."""

from __future__ import annotations

import re

import pytest

from interop.api import Api, bodies
from interop.case import case, expect, expect_that
from interop.cluster import Cluster
from interop.driver import until

VERSIONS = ["4.7.0", "5.5.0"]


def says(printed: str, *patterns: str) -> None:
    """Fail unless each pattern is in what was printed, and no exception."""
    for pattern in patterns:
        expect_that(re.search(pattern, printed) is not None, f"/{pattern}/ printed", printed)
    expect_that("Exception" not in printed, "no exception", printed)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """The version of mqadmin."""
    return str(request.param)


@case(
    "admin/1",
    "topicList lists the topics of the cluster, with -c also their cluster",
    source="TopicListSubCommand; code 206",
)
def test_topic_list(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, version=version)
    says(api.mqadmin(cluster.namesrv, "topicList", version=version), rf"(?m)^{topic}\s*$")
    says(api.mqadmin(cluster.namesrv, "topicList", "-c", version=version), rf"DefaultCluster\s+{topic}")


@case(
    "admin/2",
    "clusterList shows the broker with its address, version and rates",
    source="ClusterListSubCommand; codes 106, 28",
)
def test_cluster_list(version: str, api: Api, cluster: Cluster) -> None:
    printed = api.mqadmin(cluster.namesrv, "clusterList", version=version)
    # No word on exceptions: 4.7 mqadmin does not find a rate that 5.x brokers spell otherwise (getTransferredTps).
    row = rf"DefaultCluster\s+broker-a\s+0\s+{re.escape(cluster.broker.address)}\s+V\d_\d+_\d+"
    expect_that(re.search(row, printed) is not None, f"/{row}/ printed", printed)


@case("admin/3", "topicRoute prints the broker and the queues of a topic", source="TopicRouteSubCommand; code 105")
def test_topic_route(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 5, version=version)
    says(
        api.mqadmin(cluster.namesrv, "topicRoute", "-t", topic, version=version),
        r'"brokerName":\s*"broker-a"', re.escape(cluster.broker.address), r'"readQueueNums":\s*5', r'"writeQueueNums":\s*5',
    )  # fmt: skip


@case(
    "admin/4",
    "topicStatus prints min and max offset and the last time of every queue",
    source="TopicStatusSubCommand; code 202",
)
def test_topic_status(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2, version=version)
    api.producer(cluster.namesrv).send(topic, bodies(7), queue_id=1)
    says(
        api.mqadmin(cluster.namesrv, "topicStatus", "-t", topic, version=version),
        r"broker-a\s+0\s+0\s+0", r"broker-a\s+1\s+0\s+7\s+\d{4}-\d\d-\d\d",
    )  # fmt: skip


@case("admin/5", "updateTopic makes and changes a topic; deleteTopic removes it", source="codes 17, 215, 216")
def test_update_topic(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    for queues in ("3", "6"):
        printed = api.mqadmin(
            cluster.namesrv,
            "updateTopic",
            "-b",
            cluster.broker.address,
            "-t",
            topic,
            "-r",
            queues,
            "-w",
            queues,
            version=version,
        )
        says(printed, "success")
        says(api.mqadmin(cluster.namesrv, "topicRoute", "-t", topic, version=version), rf'"readQueueNums":\s*{queues}')
    says(api.mqadmin(cluster.namesrv, "deleteTopic", "-c", "DefaultCluster", "-t", topic, version=version), "success")
    gone = until(lambda: topic not in api.mqadmin(cluster.namesrv, "topicList", version=version), 15)
    expect(gone, True, "the topic is not listed any more")


@case(
    "admin/6",
    "consumerProgress shows a group's offset, the broker's and the difference",
    source="ConsumerProgressSubCommand; code 208",
)
def test_consumer_progress(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1, version=version)
    producer = api.producer(cluster.namesrv)
    producer.send(topic, bodies(10))
    consumer = api.consumer(cluster.namesrv, topic, group=group)
    consumer.wait(10)
    consumer.acknowledged(topic, 10)
    consumer.stop()
    producer.send(topic, bodies(4))

    def progress() -> str:
        return api.mqadmin(cluster.namesrv, "consumerProgress", "-g", group, version=version)

    # The offsets of a stopping client travel one way: they may arrive after the stop.
    until(lambda: re.search(rf"{topic}\s+broker-a\s+0\s+14\s+10\s", progress()) is not None, 15)
    printed = progress()
    says(printed, rf"{topic}\s+broker-a\s+0\s+14\s+10\s", r"Diff Total: 4")


@case("admin/7", "consumerConnection and producerConnection show the clients of a group", source="codes 203, 204")
def test_connections(version: str, api: Api, cluster: Cluster) -> None:
    topic, group, producers = api.fresh("topic"), api.fresh("CG"), api.fresh("PG")
    api.create_topic(cluster.namesrv, topic, 1, version=version)
    # A producer's first heartbeat with a known route would be 30 s away.
    producer = api.producer(cluster.namesrv, group=producers, set={"setHeartbeatBrokerInterval": 1000})
    producer.send(topic, ["x"])
    consumer = api.consumer(cluster.namesrv, topic, group=group, expression="A || B")
    consumer.driver.call("offsets", client=consumer.name, topic=topic, broker="broker-a", queue_id=0)

    def consumers() -> str:
        return api.mqadmin(cluster.namesrv, "consumerConnection", "-g", group, version=version)

    until(lambda: str(consumer.started["client_id"]) in consumers(), 40)
    says(
        consumers(), re.escape(str(consumer.started["client_id"])), "CONSUME_PASSIVELY", "CLUSTERING", re.escape(topic)
    )

    def found() -> str:
        return api.mqadmin(cluster.namesrv, "producerConnection", "-g", producers, "-t", topic, version=version)

    until(lambda: str(producer.started["client_id"]) in found(), 60, 0.5)
    says(found(), re.escape(str(producer.started["client_id"])), "JAVA")


@case("admin/8", "queryMsgById, queryMsgByKey and queryMsgByUniqueKey find a message", source="codes 33, 12")
def test_query_messages(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2, version=version)
    (result,) = api.producer(cluster.namesrv).send(topic, [{"body": "wanted", "keys": "the-key", "tag": "TagQ"}])
    reader = api.pull_consumer(cluster.namesrv)
    place = re.escape(str(result["queue_offset"]))

    def by_key() -> str:
        return api.mqadmin(cluster.namesrv, "queryMsgByKey", "-t", topic, "-k", "the-key", version=version)

    until(lambda: result["msg_id"] in by_key(), 20)
    says(by_key(), rf"{result['msg_id']}\s+{result['queue_id']}\s+{place}")
    for subcommand, msg_id in (("queryMsgById", result["offset_msg_id"]), ("queryMsgByUniqueKey", result["msg_id"])):
        topical = [] if (subcommand, version) == ("queryMsgById", "4.7.0") else ["-t", topic]
        printed = api.mqadmin(cluster.namesrv, subcommand, "-i", msg_id, *topical, version=version)
        says(printed.replace("Exception", ""), rf"Topic:\s+{topic}", r"Tags:\s+\[TagQ\]", r"Keys:\s+\[the-key\]")
    expect(reader.view(topic, result["msg_id"])["body"], "wanted")


@case("admin/9", "updateSubGroup makes a group, and deleteSubGroup removes it", source="codes 200, 207")
def test_groups(version: str, api: Api, cluster: Cluster) -> None:
    group = api.fresh("CG")
    says(
        api.mqadmin(cluster.namesrv, "updateSubGroup", "-c", "DefaultCluster", "-g", group, version=version),
        "success",
        re.escape(group),
    )
    says(
        api.mqadmin(cluster.namesrv, "deleteSubGroup", "-c", "DefaultCluster", "-g", group, version=version), "success"
    )


@case(
    "admin/10",
    "getBrokerConfig, brokerStatus and getNamesrvConfig print what the servers run with",
    source="codes 26, 28, 319",
)
def test_configuration(version: str, api: Api, cluster: Cluster) -> None:
    says(
        api.mqadmin(cluster.namesrv, "getBrokerConfig", "-b", cluster.broker.address, version=version),
        r"brokerName\s+=\s+broker-a", rf"listenPort\s+=\s+{cluster.broker.port}", r"fileReservedTime\s+=\s+72",
    )  # fmt: skip
    says(
        api.mqadmin(cluster.namesrv, "brokerStatus", "-b", cluster.broker.address, version=version),
        r"putTps\s+:",
        r"bootTimestamp\s+:\s+\d+",
    )
    says(
        api.mqadmin(cluster.namesrv, "getNamesrvConfig", version=version),
        rf"listenPort\s+=\s+{cluster.name_server.port}",
    )


@case("admin/11", "a KV configuration that is put is there, and is gone when deleted", source="codes 100, 101, 102")
def test_kv(version: str, api: Api, cluster: Cluster) -> None:
    key = api.fresh("key")
    says(
        api.mqadmin(cluster.namesrv, "updateKvConfig", "-s", "space", "-k", key, "-v", "value", version=version),
        "success",
    )
    says(api.mqadmin(cluster.namesrv, "deleteKvConfig", "-s", "space", "-k", key, version=version), "success")


@case(
    "admin/12",
    "wipeWritePerm takes a broker out of publishing, and addWritePerm (5.x) puts it back",
    source="codes 205, 327",
)
def test_write_permission(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    try:
        says(api.mqadmin(cluster.namesrv, "wipeWritePerm", "-b", "broker-a"), "wipe write perm of broker", r"\d+")
        says(api.mqadmin(cluster.namesrv, "topicRoute", "-t", topic), r'"perm":\s*4')
    finally:
        printed = api.mqadmin(cluster.namesrv, "addWritePerm", "-b", "broker-a")
    says(printed, "add write perm of broker")
    says(api.mqadmin(cluster.namesrv, "topicRoute", "-t", topic), r'"perm":\s*6')


@case(
    "admin/13", "resetOffsetByTime takes an offline group back to a time", source="ResetOffsetByTimeCommand; code 222"
)
def test_reset_offset(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1, version=version)
    api.producer(cluster.namesrv).send(topic, bodies(10))
    consumer = api.consumer(cluster.namesrv, topic, group=group)
    consumer.wait(10)
    consumer.acknowledged(topic, 10)
    consumer.stop()
    place = {"topic": topic, "broker": "broker-a", "queue_id": 0}
    reader = api.pull_consumer(cluster.namesrv, group=group)
    until(lambda: reader.call("committed", consumer=reader.name, **place)["offset"] == 10, 15)
    reader.stop()
    # a group that is still known as online is told to reset itself, by a client that has gone
    gone = until(lambda: "not online" in api.mqadmin(cluster.namesrv, "consumerConnection", "-g", group), 15)
    expect_that(gone, f"{group} is offline", gone)
    printed = api.mqadmin(
        cluster.namesrv, "resetOffsetByTime", "-g", group, "-t", topic, "-s", "0", "-f", "true", version=version
    )
    says(printed, r"broker-a")
    again = api.consumer(cluster.namesrv, topic, group=group)
    got = again.wait(10)
    expect(sorted(m["body"] for m in got), sorted(bodies(10)), "messages consumed again")
