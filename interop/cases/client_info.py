"""What administrators ask of clients that are connected: who they are, how they fare, to consume a message now."""

from __future__ import annotations

import json
import re

import pytest

from interop import raw
from interop.api import JAVA, Api, bodies
from interop.case import case, expect, expect_that
from interop.cluster import Cluster

GET_CONSUMER_CONNECTION_LIST, GET_PRODUCER_CONNECTION_LIST = 203, 204
INVOKE_BROKER_TO_GET_CONSUMER_STATUS, GET_CONSUMER_RUNNING_INFO, CONSUME_MESSAGE_DIRECTLY = 223, 307, 309
SYSTEM_ERROR, CONSUMER_NOT_ONLINE = 1, 206


@case(
    "client_info/1",
    "a broker gives the running info of a consumer of any version: what it subscribes to, its queues, its properties",
    source="AdminBrokerProcessor.getConsumerRunningInfo; ClientRemotingProcessor; code 307",
)
@pytest.mark.parametrize("version", JAVA)
def test_running_info(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 2)
    api.producer(cluster.namesrv, version).send(topic, bodies(4))
    consumer = api.consumer(cluster.namesrv, topic, version, group=group)
    consumer.wait(4)
    fields = {"consumerGroup": group, "clientId": str(consumer.started["client_id"]), "jstackEnable": "true"}
    with raw.Connection(cluster.broker.address) as connection:
        header, body = connection.request(GET_CONSUMER_RUNNING_INFO, fields)
    expect(header["code"], 0, f"answer of the client by the broker: {header}")
    text = body.decode()
    for pattern in (r'"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY"', rf'"topic":"{topic}"', r'"consumeRTDecimal"|"consumeRT"',
                    r'"jstack":"'):  # fmt: skip
        expect_that(re.search(pattern, text) is not None, f"/{pattern}/ in the running info", text)


@case(
    "client_info/2",
    "mqadmin prints the running info of a group's consumers, and of one",
    source="ConsumerStatusSubCommand; codes 203, 307",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_consumer_status(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 2)
    api.producer(cluster.namesrv).send(topic, ["x"])
    consumer = api.consumer(cluster.namesrv, topic, group=group)
    consumer.wait(1)
    client_id = str(consumer.started["client_id"])
    printed = api.mqadmin(cluster.namesrv, "consumerStatus", "-g", group, "-i", client_id, version=version)
    for wanted in ("#Consumer Properties#", "#Consumer Subscription#", topic, "#Consumer Offset#"):
        expect_that(wanted in printed, f"`{wanted}` printed", printed)


@case(
    "client_info/3",
    "a consumer consumes one message on demand and its outcome is told: queryMsgById -g -d",
    source="ConsumeMessageDirectlyResult; code 309",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_consume_directly(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1)
    (result,) = api.producer(cluster.namesrv, version).send(topic, [{"body": "once more", "keys": "k"}])
    consumer = api.consumer(cluster.namesrv, topic, version, group=group)
    consumer.wait(1)
    fields = {
        "consumerGroup": group, "clientId": str(consumer.started["client_id"]), "msgId": result["offset_msg_id"],
        "topic": topic,
    }  # fmt: skip
    with raw.Connection(cluster.broker.address) as connection:
        header, body = connection.request(CONSUME_MESSAGE_DIRECTLY, fields)
    expect(header["code"], 0, f"answer to the demand: {header}")
    told = json.loads(body)
    expect((told["consumeResult"], told["order"]), ("CR_SUCCESS", False), "outcome")
    got = consumer.wait(2)
    expect([m["body"] for m in got], ["once more"] * 2, "what the listener saw")


@case(
    "client_info/4",
    "what is asked of a client or group that is not online is refused with its code and a remark that names it",
    source="AdminBrokerProcessor.callConsumer; Broker2Client.getConsumeStatus; codes 206, 1",
)
def test_not_online(api: Api, cluster: Cluster) -> None:
    group, topic = api.fresh("CG"), api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    with raw.Connection(cluster.broker.address) as connection:
        for code, fields, answer, remark in (
            (GET_CONSUMER_CONNECTION_LIST, {"consumerGroup": group}, CONSUMER_NOT_ONLINE,
             f"the consumer group[{group}] not online"),
            (GET_PRODUCER_CONNECTION_LIST, {"producerGroup": group}, SYSTEM_ERROR,
             f"the producer group[{group}] not exist"),
            (GET_CONSUMER_RUNNING_INFO, {"consumerGroup": group, "clientId": "nobody", "jstackEnable": "false"},
             SYSTEM_ERROR, f"The Consumer <{group}> <nobody> not online"),
        ):  # fmt: skip
            header, _ = connection.request(code, fields)
            expect((header["code"], header["remark"]), (answer, remark), f"answer to {code}")
        header, _ = connection.request(INVOKE_BROKER_TO_GET_CONSUMER_STATUS, {"topic": topic, "group": group})
        expect((header["code"], bool(header["remark"])), (SYSTEM_ERROR, True), "answer to 223")


@case(
    "client_info/5",
    "the connections of producers and consumers are told with client id, address, language and version",
    source="ConsumerConnection, ProducerConnection; codes 203, 204",
)
def test_connections(api: Api, cluster: Cluster) -> None:
    topic, group, producers = api.fresh("topic"), api.fresh("CG"), api.fresh("PG")
    api.create_topic(cluster.namesrv, topic, 1)
    beat = {
        "clientID": f"{group}-client",
        "consumerDataSet": [
            {"consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "consumeType": "CONSUME_ACTIVELY", "groupName": group,
             "messageModel": "BROADCASTING", "unitMode": False, "subscriptionDataSet": [
                 {"classFilterMode": False, "codeSet": [2092, 65], "subString": "A || BB", "subVersion": 7,
                  "tagsSet": ["A", "BB"], "topic": topic}]},
        ],
        "producerDataSet": [{"groupName": producers}],
    }  # fmt: skip
    with raw.Connection(cluster.broker.address) as connection:
        expect(connection.request(34, body=json.dumps(beat).encode())[0]["code"], 0, "answer to the heartbeat")
        peer = ":".join(map(str, connection.socket.getsockname()))
        mine = {"clientId": f"{group}-client", "clientAddr": peer, "language": "JAVA", "version": 353}
        _, body = connection.request(GET_CONSUMER_CONNECTION_LIST, {"consumerGroup": group})
        told = json.loads(body)
        expect(told["connectionSet"], [mine], "connections of consumers")
        expect(
            (told["consumeType"], told["messageModel"], told["consumeFromWhere"]),
            ("CONSUME_ACTIVELY", "BROADCASTING", "CONSUME_FROM_FIRST_OFFSET"),
        )
        subscription = told["subscriptionTable"][topic]
        expect((subscription["subString"], subscription["subVersion"]), ("A || BB", 7), "subscription")
        expect((sorted(subscription["codeSet"]), sorted(subscription["tagsSet"])), ([65, 2092], ["A", "BB"]), "tags")
        _, body = connection.request(GET_PRODUCER_CONNECTION_LIST, {"producerGroup": producers})
        expect(json.loads(body), {"connectionSet": [mine]}, "connections of producers")


@case(
    "client_info/6",
    "the offsets that the consumers of a group have in hand are told by client and queue",
    source="Broker2Client.getConsumeStatus; codes 223, 221",
)
@pytest.mark.parametrize("version", JAVA)
def test_consumer_offsets(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1)
    api.producer(cluster.namesrv, version).send(topic, bodies(7))
    consumer = api.consumer(cluster.namesrv, topic, version, group=group)
    consumer.wait(7)
    consumer.acknowledged(topic, 7)
    client_id = str(consumer.started["client_id"])
    with raw.Connection(cluster.broker.address) as connection:
        fields = {"topic": topic, "group": group, "clientAddr": client_id}
        header, body = connection.request(INVOKE_BROKER_TO_GET_CONSUMER_STATUS, fields)
    expect(header["code"], 0, f"answer to 223: {header}")
    text = re.sub(r"\s", "", body.decode())
    queue = rf'\{{(?=[^}}]*"queueId":0)(?=[^}}]*"topic":"{topic}")(?=[^}}]*"brokerName":"broker-a")[^}}]*\}}:7'
    wanted = rf'"consumerTable":\{{"{re.escape(client_id)}":\{{{queue}'
    expect_that(re.search(wanted, text) is not None, f"/{wanted}/ in the answer", text)
