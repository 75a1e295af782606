"""Cold-data flow control: groups that read far behind the end of the log are slowed down."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from interop import raw
from interop.api import Api
from interop.case import case, expect, expect_that
from interop.cluster import Cluster, Servers
from interop.driver import until
from interop.requests import PULL_MESSAGE, SEND_MESSAGE, SUCCESS, Member, send_fields

SYSTEM_BUSY, INVALID_PARAMETER = 2, 29
UPDATE_LIMIT, REMOVE_LIMIT, GET_INFO, SET_READ_MODE = 2001, 2002, 2003, 2004
VERSION = "5.5.0"
COUNT = 12
SOURCE = "ColdDataCgCtrService, PullMessageProcessor 5.5.0"


@pytest.fixture(scope="module")
def cold(shared_servers: Servers) -> Cluster:
    """A broker to which every message is cold."""
    return shared_servers.cluster({"coldDataFlowControlEnable": "true", "accessMessageInMemoryHotRatio": 0})


def prepared(api: Api, cold: Cluster) -> tuple[str, str]:
    """A topic with messages, and a new group."""
    topic = api.fresh("cold")
    api.create_topic(cold.namesrv, topic, 1)
    with raw.Connection(cold.broker.address) as connection:
        for _ in range(COUNT):
            answer, _ = connection.request(SEND_MESSAGE, send_fields(topic), b"x" * 200)
            expect(answer["code"], SUCCESS, "a send")
    return topic, api.fresh("CG")


def pull(member: Member, group: str, topic: str, offset: int = 0) -> tuple[dict[str, Any], int]:
    """Pull once; give the header, and how many messages came."""
    fields = {
        "consumerGroup": group, "topic": topic, "queueId": "0", "queueOffset": str(offset), "maxMsgNums": "32",
        "sysFlag": "4", "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "1",
        "expressionType": "TAG",
    }  # fmt: skip
    header, _ = member.request(PULL_MESSAGE, fields)
    return header, int((header.get("extFields") or {}).get("nextBeginOffset", offset)) - offset


def limit(cold: Cluster, group: str, threshold: int) -> None:
    header, _ = raw.request(cold.broker.address, UPDATE_LIMIT, body=f"{group}={threshold}\n".encode())
    expect((header["code"], header.get("remark")), (SUCCESS, None), "the answer to a limit")


def info(cold: Cluster) -> dict[str, Any]:
    header, body = raw.request(cold.broker.address, GET_INFO)
    expect(header["code"], SUCCESS, "the answer to what is known")
    told: dict[str, Any] = json.loads(body)
    return told


@case("cold_data/1", "a push group above its limit is answered SYSTEM_BUSY until the next round", source=SOURCE)
def test_push(api: Api, cold: Cluster) -> None:
    topic, group = prepared(api, cold)
    limit(cold, group, 100)
    expect(info(cold)["configTable"].get(group), 100, "the limit of the group")
    with Member(cold.broker.address, "c1") as member:
        expect(member.join(group, topic)["code"], SUCCESS, "a heartbeat")
        expect(pull(member, group, topic)[0]["code"], SUCCESS, "the first pull")

        header: dict[str, Any] = {}

        def refused() -> bool:  # not always the second pull: a round may end before it
            nonlocal header
            header, _ = pull(member, group, topic)
            return header["code"] != SUCCESS

        until(refused, 15)
        remark = "This consumer group is reading cold data. It has been flow control"
        expect((header["code"], header.get("remark")), (SYSTEM_BUSY, remark), "a pull above the limit")
        told = info(cold)
        expect(sorted(told), ["cgColdReadThreshold", "configTable", "globalAcc", "globalColdReadThreshold",
                              "runtimeTable"], "what is told")  # fmt: skip
        account = told["runtimeTable"].get(group)
        expect_that(account is not None, "an account of the group", told)
        expect(sorted(account), ["coldAcc", "createTimeMills", "lastColdReadTimeMills"])
        expect(pull(member, group, topic, COUNT - 1)[0]["code"], SYSTEM_BUSY, "also a pull of the last message")
        expect_that(until(lambda: not refused(), 20), "a pull is served again in the next round", header)


@case("cold_data/2", "a pull group above its limit waits, and then gets one message", source=SOURCE)
def test_pull(api: Api, cold: Cluster) -> None:
    topic, group = prepared(api, cold)
    limit(cold, group, 100)
    with Member(cold.broker.address, "c1") as member:
        member.join(group, topic, consumeType="CONSUME_ACTIVELY")
        expect(pull(member, group, topic)[1], COUNT, "messages of the first pull")

        took_s, count = 0.0, 0

        def slowed() -> bool:
            nonlocal took_s, count
            begun = time.monotonic()
            _, count = pull(member, group, topic)
            took_s = time.monotonic() - begun
            return took_s > 2

        until(slowed, 20)
        expect_that(3 <= took_s < 15, "an answer after 3 to 10 s", took_s)
        expect_that(count in (1, COUNT), "one message, or all of them when a round ended meanwhile", count)


@case("cold_data/3", "a group without a limit of its own has the general one", source=SOURCE)
def test_removed(api: Api, cold: Cluster) -> None:
    topic, group = prepared(api, cold)
    limit(cold, group, 100)
    header, _ = raw.request(cold.broker.address, REMOVE_LIMIT, body=group.encode())
    expect(header["code"], SUCCESS, "removing the limit")
    expect_that(group not in info(cold)["configTable"], "no limit of the group", info(cold))
    with Member(cold.broker.address, "c1") as member:
        member.join(group, topic)
        expect([pull(member, group, topic)[0]["code"] for _ in range(5)], [SUCCESS] * 5, "five pulls")


@case("cold_data/4", "the log is read ahead or not, other modes are refused", source="AdminBrokerProcessor; code 2004")
def test_read_mode(api: Api, cold: Cluster) -> None:
    def ask(fields: dict[str, str] | None) -> tuple[int, str]:
        header, _ = raw.request(cold.broker.address, SET_READ_MODE, fields)
        return header["code"], header["remark"]

    said = "set commitlog readahead mode "
    for mode, shown in (("1", "false"), ("0", "true")):
        expect(ask({"READ_AHEAD_MODE": mode}), (SUCCESS, f"{said}success, mode: {mode}"))
        config = api.mqadmin(cold.namesrv, "getBrokerConfig", "-b", cold.broker.address, version=VERSION)
        line = next(line for line in config.splitlines() if "dataReadAheadEnable" in line)
        expect(line.split()[-1], shown, f"dataReadAheadEnable with mode {mode}")
    expect(ask({"READ_AHEAD_MODE": "2"})[1], f"{said}param value error")
    expect(ask({"READ_AHEAD_MODE": "2"})[0], INVALID_PARAMETER)
    expect(ask({"other": "1"}), (1, f"{said}failed"))
    expect(ask({"READ_AHEAD_MODE": "x"}), (1, f"{said}failed"))
    expect(ask(None), (1, f"{said}param error"))
