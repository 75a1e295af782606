"""Request-reply: a producer that asks, a consumer that answers, and what each is told when the other is not there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from interop import raw
from interop.api import Api
from interop.case import case, expect, expect_that
from interop.cluster import Cluster, Kind
from interop.driver import DriverError

SEND_REPLY_MESSAGE = 324
HEART_BEAT = 34
PUSH_REPLY_MESSAGE_TO_CLIENT = 326

REPLY_TOPIC = "DefaultCluster_REPLY_TOPIC"
REQUEST_TIMEOUT = 10006
"""ClientErrorCode.REQUEST_TIMEOUT_EXCEPTION: the client's own, no broker's."""


@case(
    "request_reply/1",
    "each request gets its own reply, between clients of any two versions",
    source="DefaultMQProducer.request, ReplyMessageProcessor; codes 324, 325, 326",
)
@pytest.mark.parametrize(("asking", "answering"), [("4.7.0", "5.5.0"), ("5.5.0", "4.7.0")])
def test_reply(asking: str, answering: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2)
    responder = api.responder(cluster.namesrv, topic, answering)
    producer = api.producer(cluster.namesrv, asking)
    asked = [{"body": f"q{number}"} for number in range(5)] + [{"body": "large", "properties": {"pad": "x" * 6000}}]
    replies = producer.request(topic, asked, wait_ms=60_000)
    expect([reply["body"] for reply in replies], [f"reply to {one['body']}" for one in asked], "replies in order")
    for reply in replies:
        expect(
            {key: reply["properties"].get(key) for key in ("CORRELATION_ID", "MSG_TYPE")},
            {"CORRELATION_ID": reply["asked"]["CORRELATION_ID"], "MSG_TYPE": "reply"},
            "properties of a reply",
        )
        expect_that("PUSH_REPLY_TIME" in reply["properties"], "PUSH_REPLY_TIME among them", reply["properties"])
    got = responder.wait(len(asked))
    expect([message["sent"]["status"] for message in got], ["SEND_OK"] * len(asked), "what responders are told")
    expect({message["sent"]["msg_id"] is not None for message in got}, {True}, "ids of replies")


@case(
    "request_reply/2",
    "a request that nobody answers times out at the client, and its message is stored all the same",
    source="RequestFutureHolder; ClientErrorCode.REQUEST_TIMEOUT_EXCEPTION",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_timeout(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv, version)
    with pytest.raises(DriverError) as caught:
        producer.request(topic, [{"body": "anyone?"}], wait_ms=1500)
    expect((caught.value.error, caught.value.code), ("RequestTimeoutException", REQUEST_TIMEOUT))
    got = api.consumer(cluster.namesrv, topic).wait(1)
    expect([message["body"] for message in got], ["anyone?"])
    told = {key: got[0]["properties"].get(key) for key in ("TTL", "REPLY_TO_CLIENT")}
    expect((told["TTL"], told["REPLY_TO_CLIENT"] is not None), ("1500", True), "properties of a request")


@case(
    "request_reply/3",
    "a reply to a requester that is gone is answered with code 1 and a remark that names it",
    source="ReplyMessageProcessor.pushReplyMessage; code 1",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_requester_gone(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv, version)
    with pytest.raises(DriverError):
        producer.request(topic, [{"body": "late"}], wait_ms=1000)
    producer.stop()
    [message] = api.responder(cluster.namesrv, topic, version).wait(1)
    client = message["properties"]["REPLY_TO_CLIENT"]
    sent = message["sent"]
    expect(sent.get("code"), 1, "what the responder is told")
    remark = f"push reply message fail, channel of <{client}> not found."
    expect_that(remark in " ".join([sent["message"], *sent["causes"]]), remark, sent)


def reply_fields(properties: dict[str, str]) -> dict[str, str]:
    return {
        "producerGroup": "PG-replies", "topic": REPLY_TOPIC, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
        "queueId": "0", "sysFlag": "0", "bornTimestamp": "1700000000000", "flag": "7", "reconsumeTimes": "0",
        "unitMode": "false", "properties": "".join(f"{key}\x01{value}\x02" for key, value in properties.items()),
    }  # fmt: skip


@case(
    "request_reply/4",
    "the push of a reply carries its body, flag and properties; a reply that names no requester is answered with code 1",
    source="PushReplyMessageRequestHeader (326), ReplyMessageProcessor",
)
def test_wire(api: Api, cluster: Cluster, kind: Kind, official_version: str) -> None:
    address = cluster.broker.address
    client, group = api.fresh("client"), api.fresh("PG")
    header, _ = raw.request(address, SEND_REPLY_MESSAGE, reply_fields({"CORRELATION_ID": "1"}), b"nobody's")
    expect((header["code"], header["remark"]), (1, "reply message properties[REPLY_TO_CLIENT] is null"))
    with raw.Connection(address) as asker, raw.Connection(address) as responder:
        beat: dict[str, Any] = {"clientID": client, "producerDataSet": [{"groupName": group}], "consumerDataSet": []}
        expect(asker.request(HEART_BEAT, None, json.dumps(beat).encode())[0]["code"], 0, "heartbeat")
        fields = reply_fields({"REPLY_TO_CLIENT": client, "CORRELATION_ID": "42", "MSG_TYPE": "reply"})
        command = {
            "code": SEND_REPLY_MESSAGE, "flag": 0, "language": "JAVA", "opaque": 99, "version": 353,
            "serializeTypeCurrentRPC": "JSON", "extFields": fields,
        }  # fmt: skip
        responder.send(raw.frame(command, b"the reply"))
        while True:
            push, body = asker.read_frame()
            if push["code"] == PUSH_REPLY_MESSAGE_TO_CLIENT:
                break
        told = push["extFields"]
        expect((body, told["topic"], told["flag"], told["sysFlag"], told["producerGroup"], told["bornTimestamp"]),
               (b"the reply", REPLY_TOPIC, "7", "0", "PG-replies", "1700000000000"), "the push")  # fmt: skip
        properties = dict(pair.split("\x01") for pair in told["properties"].split("\x02") if pair)
        expect_that(properties.pop("PUSH_REPLY_TIME", "").isdigit(), "PUSH_REPLY_TIME", told["properties"])
        wanted = {"REPLY_TO_CLIENT": client, "CORRELATION_ID": "42", "MSG_TYPE": "reply"}
        if kind == "ours" or official_version >= "5":
            wanted |= {"MSG_REGION": "DefaultRegion", "TRACE_ON": "true"}
        expect(properties, wanted, "properties")
        host = told["bornHost"].rsplit(":", 1)[0].lstrip("/")
        expect((host, told["storeHost"].rsplit(":", 1)[0].lstrip("/")), ("127.0.0.1", "127.0.0.1"), "hosts")
        answer = {"code": 0, "flag": raw.FLAG_RESPONSE, "language": "JAVA", "opaque": push["opaque"], "version": 353,
                  "serializeTypeCurrentRPC": "JSON"}  # fmt: skip
        asker.send(raw.frame(answer))
        header, _ = responder.read_frame()
        expect((header["code"], header["extFields"]["queueId"]), (0, "0"), "what the responder is told")
        responder.send(raw.frame({**command, "opaque": 100}, b"again"))
        while True:
            push, _ = asker.read_frame()
            if push["code"] == PUSH_REPLY_MESSAGE_TO_CLIENT:
                break
        asker.send(raw.frame({**answer, "opaque": push["opaque"], "code": 1, "remark": "process reply message fail"}))
        header, _ = responder.read_frame()
        expect(header["code"], 1, "what the responder is told when the requester refuses")
        expect(header["remark"], f"push reply message to {client}fail.", "and why")
