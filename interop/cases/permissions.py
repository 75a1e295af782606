"""Who may send and read: permissions of brokers, topics and groups, names, sizes."""

from __future__ import annotations

import re

import pytest

from interop import raw, wire
from interop.api import Api
from interop.case import case, expect, expect_that
from interop.cluster import Cluster, Servers
from interop.driver import DriverError, until
from interop.requests import Member

MESSAGE_ILLEGAL, NO_PERMISSION, TOPIC_NOT_EXIST, INVALID_PARAMETER = 13, 16, 17, 29


@case(
    "permissions/1",
    "a topic of permission 4 is read and not in the route of producers; one of 2 is written, and its pulls are refused",
    source="TopicPublishInfo; PullMessageProcessor; PermName",
)
def test_topic_permission(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    api.producer(cluster.namesrv, "4.7.0").send(topic, ["before"])
    wire.make_topic(cluster.broker.address, topic, perm=4)
    with pytest.raises(DriverError) as failure:
        until(lambda: not api.producer(cluster.namesrv, "4.7.0", retries=0).send(topic, ["more"]), 5, 0.5)
    expect(failure.value.error, "MQClientException", "what a producer gets")
    expect(len(api.pull_consumer(cluster.namesrv).read_all(topic)) >= 1, True, "messages read")
    wire.make_topic(cluster.broker.address, topic, perm=2)
    with raw.Connection(cluster.broker.address) as connection:
        expect(wire.send(connection, topic)["code"], 0, "answer to a send")
        header, _ = wire.pull(connection, api.fresh("CG"), topic)
        expect((header["code"], header["extFields"].get("forbiddenType")), (NO_PERMISSION, "3"), "answer to a pull")


@case(
    "permissions/2",
    "brokerPermission 4 refuses sends to ordered topics alone, 2 refuses every pull; both act at once",
    source="AbstractSendMessageProcessor.msgCheck; PullMessageProcessor; BrokerConfig.brokerPermission",
)
def test_broker_permission(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    wire.make_topic(cluster.broker.address, topic)
    with raw.Connection(cluster.broker.address) as connection:
        with wire.option(api, cluster, "brokerPermission", "4", "6"):
            expect(wire.send(connection, topic)["code"], 0, "answer to a send of a broker that is read only")
            expect(wire.pull(connection, api.fresh("CG"), topic)[0]["code"] in (0, 19), True, "it serves pulls")
        with wire.option(api, cluster, "brokerPermission", "2", "6"):
            header, _ = wire.pull(connection, api.fresh("CG"), topic)
            expect((header["code"], header["extFields"].get("forbiddenType")), (NO_PERMISSION, "1"), "answer to a pull")
            expect(header["remark"], "the broker[127.0.0.1] pulling message is forbidden")
            expect(wire.send(connection, topic)["code"], 0, "answer to a send of a broker that is write only")
    expect_that(
        until(lambda: '"perm":6' in re.sub(r"\s", "", api.mqadmin(cluster.namesrv, "topicRoute", "-t", topic)), 10),
        "a route with permission 6",
        "another",
    )


@case(
    "permissions/3",
    "names of 127 characters are taken; longer ones, blank ones, illegal characters and system topics are refused",
    source="TopicValidator; codes 29, 16",
)
@pytest.mark.parametrize(
    ("topic", "code", "remark"),
    [
        ("l" * 127, 0, ""),
        ("l" * 128, INVALID_PARAMETER, f"The specified topic: {'l' * 128}, is longer than topic max length: 127"),
        ("%|aZ09_-", 0, ""),
        ("a b", INVALID_PARAMETER, r"The specified topic: a b, contains illegal characters, allowing only \^\[%\|a-zA-Z0-9_-\]\+\$"),
        ("grün", INVALID_PARAMETER, "The specified topic: grün, contains illegal characters"),
        ("a.b", INVALID_PARAMETER, "The specified topic: a.b, contains illegal characters"),
        ("", INVALID_PARAMETER, r"The specified topic is blank\.?$"),
        ("  ", INVALID_PARAMETER, r"The specified topic is blank\.?$"),
        ("SCHEDULE_TOPIC_XXXX", NO_PERMISSION, r"Sending message to topic\[SCHEDULE_TOPIC_XXXX\] is forbidden\.$"),
        ("RMQ_SYS_TRANS_HALF_TOPIC", NO_PERMISSION, "Sending message to topic"),
        ("RMQ_SYS_TRANS_OP_HALF_TOPIC", NO_PERMISSION, "Sending message to topic"),
        ("SELF_TEST_TOPIC", NO_PERMISSION, "Sending message to topic"),
        ("OFFSET_MOVED_EVENT", NO_PERMISSION, "Sending message to topic"),
    ],
    ids=lambda value: (value[:12] or "empty") if isinstance(value, str) else None,
)  # fmt: skip
def test_names(topic: str, code: int, remark: str, cluster: Cluster) -> None:
    with raw.Connection(cluster.broker.address) as connection:
        header = wire.send(connection, topic)
    expect(header["code"], code, f"answer to a send to {topic}")
    expect_that(re.match(remark, header.get("remark") or "") is not None, f"the remark /{remark}/", header)


@case(
    "permissions/4",
    "a send to a queue that the topic does not have is refused, one to no queue in particular is stored in any",
    source="AbstractSendMessageProcessor.msgCheck; code 29",
)
def test_places(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    wire.make_topic(cluster.broker.address, topic, 2)
    with raw.Connection(cluster.broker.address) as connection:
        header = wire.send(connection, topic, queue_id=2)
        expect(header["code"], INVALID_PARAMETER, "answer to a send to queue 2 of 2")
        wanted = rf"request queueId\[2\] is illegal, TopicConfig \[topicName={topic}, readQueueNums=2, writeQueueNums=2"
        expect_that(re.match(wanted, header["remark"]) is not None, wanted, header["remark"])
        picked = wire.send(connection, topic, queue_id=-1)
        expect((picked["code"], picked["extFields"]["queueId"] in ("0", "1")), (0, True), "a send to any queue")


@case(
    "permissions/5",
    "a group with consumeEnable=false is refused, one with consumeBroadcastEnable=false where it broadcasts",
    source="SubscriptionGroupConfig; PullMessageProcessor; code 16",
)
def test_groups(api: Api, cluster: Cluster) -> None:
    topic, off, calm = api.fresh("topic"), api.fresh("CG"), api.fresh("CG")
    wire.make_topic(cluster.broker.address, topic)
    wire.make_group(cluster.broker.address, off, consumeEnable=False)
    wire.make_group(cluster.broker.address, calm, consumeBroadcastEnable=False)
    with Member(cluster.broker.address, f"{off}-client") as member:
        header, _ = wire.pull(member, off, topic)
        expect((header["code"], header["extFields"].get("forbiddenType")), (NO_PERMISSION, "2"), "consumeEnable=false")
        expect(header["remark"], f"subscription group no permission, {off}")
        member.join(calm, topic, model="BROADCASTING")
        header, _ = wire.pull(member, calm, topic, flags=0, subVersion="1")
        expect((header["code"], header["extFields"].get("forbiddenType")), (NO_PERMISSION, "4"), "broadcasting")
        expect(header["remark"], f"the consumer group[{calm}] can not consume by broadcast way")
    wire.make_group(cluster.broker.address, off)
    api.producer(cluster.namesrv).send(topic, ["now"])
    expect([m["body"] for m in api.consumer(cluster.namesrv, topic, group=off).wait(1)], ["now"], "once it is enabled")


@case(
    "permissions/6",
    "rejectTransactionMessage refuses half messages with 16 and takes others",
    source="SendMessageProcessor; BrokerConfig.rejectTransactionMessage",
)
def test_reject_transactions(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    wire.make_topic(cluster.broker.address, topic)
    half = {"TRAN_MSG": "true", "PGROUP": "PG"}
    with (
        wire.option(api, cluster, "rejectTransactionMessage", "true", "false"),
        raw.Connection(cluster.broker.address) as connection,
    ):
        header = wire.send(connection, topic, properties=half, sys_flag=4)
        expect(
            (header["code"], header["remark"]),
            (NO_PERMISSION, "the broker[127.0.0.1] sending transaction message is forbidden"),
        )
        expect(wire.send(connection, topic)["code"], 0, "an ordinary message")


@case(
    "permissions/7",
    "a body over maxMessageSize and properties over 32767 bytes are refused with 13; a message without a body with 1",
    source="DefaultMessageStore.checkMessage; MessageExtEncoder",
)
def test_sizes(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    wire.make_topic(cluster.broker.address, topic)
    with raw.Connection(cluster.broker.address) as connection:
        for what, answer in (
            ("4 MiB and one byte", wire.send(connection, topic, b"x" * ((4 << 20) + 1))),
            ("properties of 32766 bytes and the broker's", wire.send(connection, topic, properties={"k": "v" * 32763})),
        ):
            expect(answer["code"], MESSAGE_ILLEGAL, what)
            wanted = "the message is illegal, maybe msg body or properties length not matched"
            expect_that(wanted in answer["remark"], wanted, answer["remark"])
            expect(
                (answer["extFields"]["MSG_REGION"], answer["extFields"]["TRACE_ON"]), ("DefaultRegion", "true"), what
            )
        expect(wire.send(connection, topic, b"x" * (4 << 20))["code"], 0, "4 MiB")
        expect(wire.send(connection, topic, properties={"k": "v" * 32000})["code"], 0, "properties of 32003 bytes")


@case(
    "permissions/8",
    "with disableConsumeIfConsumerReadSlowly a group that is too far behind loses its permission, until an administrator gives it back",
    source="BrokerController.protectBroker; consumerFallbehindThreshold",
)  # fmt: skip
@pytest.mark.long  # it is looked at every three minutes
def test_slow_group(api: Api, servers: Servers) -> None:
    slowly = {"disableConsumeIfConsumerReadSlowly": "true", "consumerFallbehindThreshold": 100_000}
    cluster = servers.cluster(slowly)
    address, topic, slow, quick = cluster.broker.address, api.fresh("topic"), api.fresh("CG"), api.fresh("CG")
    wire.make_topic(address, topic)
    for group in (slow, quick):
        wire.make_group(address, group)
    with raw.Connection(address) as connection:
        for _ in range(10):
            expect(wire.send(connection, topic, b"x" * 50_000)["code"], 0, "answer to a send")
        until(lambda: wire.told(wire.pull(connection, quick, topic, 0, 9))[4] == 10, 10)

        def stopped() -> bool:
            expect(wire.pull(connection, quick, topic, 0, 9)[0]["code"], 0, "answer to the group that is at the end")
            return bool(wire.pull(connection, slow, topic, 0, 0, max_nums=1)[0]["code"] == NO_PERMISSION)

        expect(until(stopped, 400, 1.0), True, "the slow group is stopped")
        header, _ = wire.pull(connection, slow, topic, 0, 0)
        expect((header["code"], header["remark"]), (NO_PERMISSION, f"subscription group no permission, {slow}"))
        wire.make_group(address, slow)
        expect(wire.pull(connection, slow, topic, 0, 0)[0]["code"], 0, "answer when it may consume again")
