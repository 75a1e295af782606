"""Offsets of groups as administrators change them: reset while consumers run, cloned, and stored by hand."""

from __future__ import annotations

import json
import re

import pytest

from interop import raw, wire
from interop.api import Api, bodies
from interop.case import case, expect, expect_that
from interop.cluster import Cluster, Kind
from interop.driver import until
from interop.requests import Member

INVOKE_BROKER_TO_RESET_OFFSET, RESET_CONSUMER_CLIENT_OFFSET, CLONE_GROUP_OFFSET = 222, 220, 314


@pytest.fixture(autouse=True)
def modern(kind: Kind, official_version: str) -> None:
    """What brokers of 5.x answer."""
    if kind == "official" and not official_version.startswith("5"):
        pytest.skip("the answers of 5.x brokers")


def place(topic: str, queue_id: int = 0) -> dict[str, object]:
    return {"topic": topic, "broker": "broker-a", "queue_id": queue_id}


@case(
    "offsets/1",
    "a commit that lacks a number, or names a group or topic that is not there, is refused and changes nothing",
    source="ConsumerManageProcessor.updateConsumerOffset; codes 29, 26, 17",
)
def test_bad_commits(api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    wire.make_topic(cluster.broker.address, topic)
    wire.make_group(cluster.broker.address, group)
    good = {"consumerGroup": group, "topic": topic, "queueId": "0", "commitOffset": "3"}
    with raw.Connection(cluster.broker.address) as connection:
        for change, code, remark in (
            ({"commitOffset": None}, 29, f"Offset is null, topic is {topic}"),
            ({"queueId": None}, 29, f"QueueId is null, topic is {topic}"),
            ({"consumerGroup": f"{group}-no"}, 26, f"Group {group}-no not exist!"),
            ({"topic": f"{topic}-no"}, 17, f"Topic {topic}-no not exist!"),
        ):
            fields = {key: value for key, value in {**good, **change}.items() if value is not None}
            header, _ = connection.request(wire.UPDATE_CONSUMER_OFFSET, fields)
            expect((header["code"], header["remark"]), (code, remark), f"answer to a commit with {change}")
        expect(connection.request(wire.UPDATE_CONSUMER_OFFSET, good)[0]["code"], 0, "answer to a good one")
        header, _ = connection.request(wire.QUERY_CONSUMER_OFFSET, {key: good[key] for key in list(good)[:3]})
        expect(header["extFields"]["offset"], "3", "the offset afterwards")


@case(
    "offsets/2",
    "a group is given the offsets that another has of a topic: by the broker's request, and by mqadmin",
    source="AdminBrokerProcessor.cloneGroupOffset, CloneGroupOffsetCommand; code 314",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_clone(version: str, api: Api, cluster: Cluster) -> None:
    topic, source, target = api.fresh("topic"), api.fresh("CG"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1)
    api.producer(cluster.namesrv).send(topic, bodies(9))
    for group in (source, target):
        wire.make_group(cluster.broker.address, group)
    fields = {"consumerGroup": source, "topic": topic, "queueId": "0", "commitOffset": "6"}
    with raw.Connection(cluster.broker.address) as connection:
        expect(connection.request(wire.UPDATE_CONSUMER_OFFSET, fields)[0]["code"], 0, "answer to the commit")
        # The route of the retry topic, by which the command finds the brokers, comes with the group's first consumer.
        with Member(cluster.broker.address, f"{source}-client") as member:
            member.join(source, topic)
            until(lambda: "broker-a" in api.mqadmin(cluster.namesrv, "topicRoute", "-t", f"%RETRY%{source}"), 20, 0.5)
            printed = api.mqadmin(
                cluster.namesrv, "cloneGroupOffset", "-s", source, "-d", target, "-t", topic, version=version
            )
        expect_that("clone group offset success" in printed, "`clone group offset success` printed", printed)
        asked = {"consumerGroup": target, "topic": topic, "queueId": "0"}
        header, _ = connection.request(wire.QUERY_CONSUMER_OFFSET, asked)
        # The command of 4.x writes the queue's end, that of 5.x what the group has consumed.
        wanted = "9" if version == "4.7.0" else "6"
        expect((header["code"], header["extFields"].get("offset")), (0, wanted), "offset of the other group")
        clone = {"srcGroup": source, "destGroup": f"{target}-2", "topic": topic, "offline": "true"}
        expect(connection.request(CLONE_GROUP_OFFSET, clone)[0]["code"], 0, "answer to 314")
        header, _ = connection.request(wire.QUERY_CONSUMER_OFFSET, {**asked, "consumerGroup": f"{target}-2"})
    expect((header["code"], header["extFields"].get("offset")), (0, "6"), "offset of a third group")


@case(
    "offsets/3",
    "resetOffsetByTime moves a group whose consumers run: they get the messages again, by the answer to their pull",
    source="ConsumerOffsetManager.assignResetOffset; PullMessageProcessor (OFFSET_RESET); code 222",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_reset_online(version: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1)
    api.producer(cluster.namesrv).send(topic, bodies(5))
    consumer = api.consumer(cluster.namesrv, topic, version, group=group)
    consumer.wait(5)
    consumer.acknowledged(topic, 5)
    printed = api.mqadmin(cluster.namesrv, "resetOffsetByTime", "-g", group, "-t", topic, "-s", "0", version=version)
    expect_that(re.search(r"broker-a\s+0\s+0", printed) is not None, "broker-a, queue 0, offset 0 printed", printed)
    api.producer(cluster.namesrv).send(topic, ["wakes"])
    again = consumer.wait(11, 60)
    expect(sorted({m["body"] for m in again[5:]}), sorted([*bodies(5), "wakes"]), "bodies after the reset")


@case(
    "offsets/4",
    "with useServerSideResetOffset=false the consumers are told the new offsets: as a map, to tools in C++ as a list",
    source="Broker2Client.resetOffset; ResetOffsetBody, ResetOffsetBodyForC; codes 222, 220",
)
@pytest.mark.parametrize("language", ["JAVA", "CPP"])
def test_reset_by_consumers(language: str, api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    wire.make_topic(cluster.broker.address, topic)
    address = cluster.broker.address
    with (
        wire.option(api, cluster, "useServerSideResetOffset", "false", "true"),
        raw.Connection(address) as tool,
        Member(address, f"{group}-client") as member,
    ):
        for _ in range(4):
            wire.send(tool, topic)
        until(lambda: wire.told(wire.pull(tool, group, topic))[4] == 4, 10)
        fields = {"topic": topic, "group": group, "timestamp": "0", "isForce": "true"}
        header, _ = tool.request(INVOKE_BROKER_TO_RESET_OFFSET, fields, language=language)
        expect((header["code"], header["remark"]), (1, f"THe consumer group <{group}> not exist"), "without an offset")
        commit = {"consumerGroup": group, "topic": topic, "queueId": "0", "commitOffset": "4"}
        expect(tool.request(wire.UPDATE_CONSUMER_OFFSET, commit)[0]["code"], 0, "answer to a commit")
        header, _ = tool.request(INVOKE_BROKER_TO_RESET_OFFSET, fields, language=language)
        expect(header["code"], 206, "answer while no consumer is online")
        member.join(group, topic)
        header, _ = tool.request(INVOKE_BROKER_TO_RESET_OFFSET, fields, language=language)
        expect(header["code"], 0, f"answer while one is: {header}")
        order, body = member.read_frame()
        while order["code"] != RESET_CONSUMER_CLIENT_OFFSET:  # 40, the group's own change
            order, body = member.read_frame()
    expect((order["extFields"]["topic"], order["extFields"]["group"]), (topic, group), "header of 220")
    if language == "JAVA":
        table = re.sub(r"\s", "", body.decode())
        wanted = rf'"offsetTable":\{{\{{(?=[^}}]*"queueId":0)(?=[^}}]*"topic":"{topic}")[^}}]*\}}:0\}}'
        expect_that(re.search(wanted, table) is not None, f"/{wanted}/ in 220", table)
    else:
        (queue,) = json.loads(body)["offsetTable"]
        told = {key: queue[key] for key in ("topic", "brokerName", "queueId", "offset")}
        expect(told, {"topic": topic, "brokerName": "broker-a", "queueId": 0, "offset": 0}, "220 for C++")
