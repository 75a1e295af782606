"""Consumers that filter by SQL92 expressions, by every client that can, and what is wrong on the wire when they err."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from interop import raw, wire
from interop.api import Api
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster, Kind, Servers
from interop.driver import DriverError, until
from rmqd.protocol.filter import BloomLayout

PULL_MESSAGE = 11
HEART_BEAT = 34
CHECK_CLIENT_CONFIG = 46

SUSPEND, SUBSCRIPTION = 2, 4
PROPERTIES = [{"number": str(number), "colour": "red" if number % 2 else "blue"} for number in range(20)] + [
    {"colour": "green"},
    {"number": "many"},
]


@pytest.fixture(scope="module")
def filtering(tmp_path_factory: pytest.TempPathFactory, kind: Kind, official_version: str) -> Iterator[Cluster]:
    """Servers with enablePropertyFilter."""
    servers = Servers(tmp_path_factory.mktemp("filtering"), kind, official_version)
    yield servers.cluster({"enablePropertyFilter": "true"})
    servers.close()


def numbered(properties: list[dict[str, str]] = PROPERTIES) -> list[dict[str, Any]]:
    return [{"body": f"m{index}", "properties": one} for index, one in enumerate(properties)]


@case(
    "filters/1",
    "a push consumer gets the messages whose properties its expression accepts, stored before and after its start, and no others",
    source="ExpressionMessageFilter, ConsumerFilterManager; ExpressionType.SQL92",
)  # fmt: skip
@pytest.mark.parametrize("version", ["4.2.0", "4.7.0", "5.5.0", "go"])
def test_push(version: str, api: Api, filtering: Cluster, request: pytest.FixtureRequest) -> None:
    if version == "go":
        request.getfixturevalue("go")
    topic = api.fresh("topic")
    api.create_topic(filtering.namesrv, topic, 2)
    producer = api.producer(filtering.namesrv)
    producer.send(topic, numbered())
    consumer = api.consumer(
        filtering.namesrv, topic, version, sql="(number >= 15 AND colour = 'red') OR colour = 'green' OR number IS NULL"
    )
    early = ["m15", "m17", "m19", "m20"]
    consumer.wait_bodies(early)
    producer.send(topic, [{"body": "later", "properties": {"colour": "green", "number": "1"}}, {"body": "not wanted", "properties": {"number": "1"}}])  # fmt: skip
    producer.send(topic, [{"body": "none at all"}])
    got = consumer.wait_bodies([*early, "later", "none at all"])
    time.sleep(1)
    expect_bodies(consumer.received(), [*early, "later", "none at all"])
    expect(got[0]["properties"].get("colour") is not None, True, "properties reach the consumer")


@case("filters/2", "a lite pull consumer filters by an expression", source="DefaultLitePullConsumer; codes 361, 11")
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_lite(version: str, api: Api, filtering: Cluster, kind: Kind, official_version: str) -> None:
    if kind == "official" and official_version < "5" <= version:
        pytest.skip("lite pull consumers of 5.x pull by a code (361) that brokers of 4.x do not know")
    topic = api.fresh("topic")
    api.create_topic(filtering.namesrv, topic, 2)
    api.producer(filtering.namesrv).send(topic, numbered())
    consumer = api.lite_pull(filtering.namesrv, topic, version, sql="number BETWEEN 3 AND 5")
    expect_bodies(consumer.wait_bodies(["m3", "m4", "m5"]), ["m3", "m4", "m5"])


@case(
    "filters/3",
    "a group that starts again with another expression goes on by the new one",
    source="ConsumerFilterManager.FilterDataMapByTopic.register",
)
def test_changed_expression(api: Api, filtering: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(filtering.namesrv, topic, 1)
    producer = api.producer(filtering.namesrv)
    first = api.consumer(filtering.namesrv, topic, group=group, sql="colour = 'red'")
    producer.send(topic, [{"body": "red", "properties": {"colour": "red"}}])
    first.wait_bodies(["red"])
    first.stop()
    producer.send(
        topic, [{"body": "red 2", "properties": {"colour": "red"}}, {"body": "blue", "properties": {"colour": "blue"}}]
    )
    second = api.consumer(filtering.namesrv, topic, group=group, sql="colour = 'blue'")
    expect_bodies(second.wait_bodies(["blue"]), ["blue"])


@case(
    "filters/4",
    "a consumer whose expression does not compile does not start, and is told why",
    source="ClientManageProcessor.checkClientConfig; MQClientInstance.checkClientInBroker; codes 46, 23",
)
@pytest.mark.parametrize("version", ["4.2.0", "4.7.0", "5.5.0"])
def test_wrong_expression(version: str, api: Api, filtering: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(filtering.namesrv, topic, 1)
    with pytest.raises(DriverError) as caught:
        api.consumer(filtering.namesrv, topic, version, sql="number > 'x'")
    told = str(caught.value)
    expect_that("cannot be compared" in told, "an error that quotes the broker", told)


def subscription(topic: str, expression: str | None, version: int, kind: str = "SQL92") -> dict[str, Any]:
    return {
        "topic": topic, "subString": expression, "expressionType": kind, "subVersion": version, "classFilterMode": False,
        "codeSet": [], "tagsSet": [],
    }  # fmt: skip


def check(address: str, expression: str | None, kind: str = "SQL92") -> tuple[int, str | None]:
    data = {"clientId": "c", "group": "CG-check", "subscriptionData": subscription("any", expression, 1, kind)}
    header, _ = raw.request(address, CHECK_CLIENT_CONFIG, None, json.dumps(data).encode())
    return header["code"], header.get("remark")


@case(
    "filters/5",
    "the check of an expression answers 0, or 23 with the compiler's message",
    source="ClientManageProcessor.checkClientConfig; code 46",
)
def test_check(filtering: Cluster) -> None:
    address = filtering.broker.address
    expect(check(address, "a > 5 AND b IN ('x', 'y')"), (0, None))
    expect(check(address, "a >", "TAG"), (0, None), "a tag is not looked at")
    expect(check(address, "a = NULL"), (23, "java.lang.RuntimeException: 'NULL' cannot be compared."))
    code, remark = check(address, "a LIKE 5 #")
    expect((code, remark), (0, None), "what follows an expression is not read")
    code, remark = check(address, "(a #")
    expect(code, 23, "a character that begins nothing")
    expect_that("TokenMgrError: Lexical error at line 1, column 5" in str(remark), "the place of the error", remark)
    code, remark = check(address, "a BETWEEN 1\n  5")
    expect(
        remark,
        'org.apache.rocketmq.filter.parser.ParseException: Encountered " <DECIMAL_LITERAL> "5 "" at line 2, column 3.\n'
        'Was expecting:\n    "AND" ...\n    ',
    )
    expect(check(address, "a > 5", "XPATH")[0], 23, "an unknown type of expression")


@case(
    "filters/6",
    "a broker without enablePropertyFilter refuses expressions at the check and at the pull with code 1",
    source="ClientManageProcessor, PullMessageProcessor; enablePropertyFilter=false",
)
def test_disabled(api: Api, cluster: Cluster) -> None:
    refused = (1, "The broker does not support consumer to filter message by SQL92")
    expect(check(cluster.broker.address, "a > 5"), refused, "check")
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1)
    with pytest.raises(DriverError) as caught:
        api.consumer(cluster.namesrv, topic, sql="a > 5")
    expect_that("does not support" in str(caught.value), "an error that quotes the broker", str(caught.value))
    with Puller(cluster.broker.address, topic, group) as puller:
        puller.beat("a > 5", 1)
        header, _ = puller.pull(0, version=1)
        expect((header["code"], header["remark"]), refused, "pull")


class Puller(raw.Connection):
    """A consumer on the wire."""

    def __init__(self, address: str, topic: str, group: str) -> None:
        super().__init__(address)
        self.topic = topic
        self.group = group

    def beat(self, expression: str, version: int, kind: str = "SQL92") -> None:
        """Send a heartbeat with one subscription."""
        data = {
            "clientID": f"c@{self.group}",
            "producerDataSet": [],
            "consumerDataSet": [
                {
                    "groupName": self.group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
                    "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "unitMode": False,
                    "subscriptionDataSet": [subscription(self.topic, expression, version, kind)],
                }
            ],
        }  # fmt: skip
        header, _ = self.request(HEART_BEAT, None, json.dumps(data).encode())
        expect(header["code"], 0, "heartbeat")

    def pull(self, offset: int, *, version: int = 0, flags: int = 0, **more: str) -> tuple[dict[str, Any], bytes]:
        """Pull from queue 0."""
        fields = {
            "consumerGroup": self.group, "topic": self.topic, "queueId": "0", "queueOffset": str(offset),
            "maxMsgNums": "32", "sysFlag": str(flags), "commitOffset": "0", "suspendTimeoutMillis": "10000",
            "subVersion": str(version), **more,
        }  # fmt: skip
        return self.request(PULL_MESSAGE, fields)


def offsets(body: bytes) -> list[int]:
    """Return the queue offsets of stored records back to back."""
    found, position = [], 0
    while position < len(body):
        size, _, _, _, _, offset = struct.unpack_from(">iiiiiq", body, position)
        found.append(offset)
        position += size
    return found


@case(
    "filters/7",
    "pulls by an expression give the accepted messages, 20 with the place to go on where there are none, 27 when the "
    "expression of the heartbeat does not compile, 25 when it is older than the pull's",
    source="PullMessageProcessor; codes 20, 25, 27",
)
def test_pulls(api: Api, filtering: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(filtering.namesrv, topic, 1)
    api.producer(filtering.namesrv).send(topic, numbered(), queue_id=0)
    with Puller(filtering.broker.address, topic, group) as puller:
        puller.beat("number >", 5)
        header, _ = puller.pull(0, version=5)
        expect(
            (header["code"], header["remark"]),
            (27, "The broker's consumer filter data is not exist!Your expression may be wrong!"),
        )
        puller.beat("number > 12 AND number < 15", 6)
        expect(puller.pull(0, version=7)[0]["code"], 25, "a pull of a newer subscription")
        header, body = puller.pull(0, version=6)
        expect((header["code"], offsets(body)), (0, [13, 14]))
        expect(header["extFields"]["nextBeginOffset"], "22", "next offset after all messages were looked at")
        header, body = puller.pull(15, version=6, flags=SUSPEND)
        expect((header["code"], header["remark"], body), (20, "NO_MATCHED_MESSAGE", b""), "nothing accepted")
        expect(header["extFields"]["nextBeginOffset"], "22", "next offset")
        header, body = puller.pull(0, flags=SUBSCRIPTION, subscription="number IN ('3')", expressionType="SQL92")
        expect((header["code"], offsets(body)), (0, [3]), "an expression of the pull itself")
        header, _ = puller.pull(0, flags=SUBSCRIPTION, expressionType="SQL92")
        expect((header["code"], header["remark"]), (23, "parse the consumer's subscription failed"), "no expression")


@case(
    "filters/8",
    "a pull that waits is not woken by messages that its expression does not accept, and at once by one that it does",
    source="PullRequestHoldService.notifyMessageArriving",
)
def test_waiting(api: Api, filtering: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(filtering.namesrv, topic, 1)
    producer = api.producer(filtering.namesrv)
    producer.send(topic, ["before"], queue_id=0)
    with Puller(filtering.broker.address, topic, group) as puller:
        puller.beat("number = 7", 1)
        answers: list[tuple[dict[str, Any], bytes]] = []
        begin = 1
        deadline = time.monotonic() + 60
        # The hold service looks at all holds every 5 s, and then answers 20; a client asks again from there.
        while not answers and time.monotonic() < deadline:
            puller.send(_waiting_pull(puller, begin))
            producer.send(topic, [{"body": "no", "properties": {"number": "8"}}], queue_id=0)
            puller.socket.settimeout(1.0)
            try:
                early, _ = _answer(puller)
            except TimeoutError:
                puller.socket.settimeout(raw.TIMEOUT_S)
                sent_at = time.monotonic()
                producer.send(topic, [{"body": "yes", "properties": {"number": "7"}}], queue_id=0)
                answers.append(_answer(puller))
            else:
                begin = int(early["extFields"]["nextBeginOffset"])
        expect_that(bool(answers), "a pull that outlasts an unwanted message by a second", begin)
        header, body = answers[0]
        expect((header["code"], offsets(body)), (0, [begin + 1]))
        expect_that(time.monotonic() - sent_at < 2, "the answer at once", time.monotonic() - sent_at)


def _waiting_pull(puller: Puller, offset: int) -> bytes:
    fields = {
        "consumerGroup": puller.group, "topic": puller.topic, "queueId": "0", "queueOffset": str(offset),
        "maxMsgNums": "32", "sysFlag": str(SUSPEND), "commitOffset": "0", "suspendTimeoutMillis": "15000",
        "subVersion": "1",
    }  # fmt: skip
    command = {
        "code": PULL_MESSAGE, "flag": 0, "language": "JAVA", "opaque": 9000 + offset, "version": 353,
        "serializeTypeCurrentRPC": "JSON", "extFields": fields,
    }  # fmt: skip
    return raw.frame(command)


def _answer(puller: Puller) -> tuple[dict[str, Any], bytes]:
    while True:
        header, body = puller.read_frame()
        if header["flag"] & raw.FLAG_RESPONSE:
            return header, body


@case(
    "filters/9",
    "the expressions of groups are in config/consumerFilter.json, in one form, and a broker that starts again has them",
    source="ConsumerFilterManager.encode, decode; ConsumerFilterData",
)
def test_file(api: Api, servers: Servers) -> None:
    cluster = servers.cluster({"enablePropertyFilter": "true"})
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 1)
    with Puller(cluster.broker.address, topic, group) as puller:
        puller.beat("a = 'ü' AND b > 5", 77)
    cluster.broker.stop()
    text = (cluster.broker.store / "config" / "consumerFilter.json").read_text()
    entry = json.loads(text)["filterDataByTopic"][topic]["groupFilterData"][group]
    born, dead = entry.pop("bornTime"), entry.pop("deadTime")
    is_dead = entry.pop("dead")
    expect(is_dead, dead >= born, "dead follows from the two times")
    layout = BloomLayout(20, 32)
    expect(
        entry,
        {
            "bloomFilterData": {"bitNum": layout.bit_num, "bitPos": layout.bit_positions(f"{group}#{topic}")},
            "clientVersion": 77, "consumerGroup": group, "expression": "a = 'ü' AND b > 5", "expressionType": "SQL92",
            "topic": topic,
        },
    )  # fmt: skip
    lines = text.splitlines()
    expect(lines[:4], ["{", '\t"filterDataByTopic":{', f'\t\t"{topic}":{{', '\t\t\t"groupFilterData":{'])
    cluster.broker.start()
    servers.wait_registered(cluster.broker)
    with Puller(cluster.broker.address, topic, group) as puller:
        puller.beat("a = 'ü' AND b > 5", 77)
    cluster.broker.stop()
    again = json.loads((cluster.broker.store / "config" / "consumerFilter.json").read_text())
    entry = again["filterDataByTopic"][topic]["groupFilterData"][group]
    expect((entry["bornTime"], entry["clientVersion"]), (born, 77), "the same entry after the restart")


@case(
    "filters/10",
    "a pull with a class filter of 3.x gets nothing that the filter was not asked about, and is told why by the broker under test",
    source="FilterServerManager, ExpressionMessageFilter; flag 8 of PULL_MESSAGE; docs/deviations.md",
)  # fmt: skip
def test_class_filter(api: Api, cluster: Cluster, kind: Kind) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    wire.make_topic(cluster.broker.address, topic)
    with raw.Connection(cluster.broker.address) as connection:
        expect(wire.send(connection, topic, properties={"TAGS": "A"})["code"], 0, "answer to a send")
        until(lambda: wire.told(wire.pull(connection, group, topic))[4] == 1, 10)
        flags = wire.SUBSCRIPTION | wire.CLASS_FILTER
        header, body = wire.pull(connection, group, topic, flags=flags, expression="com.example.Filter")
    expect(body, b"", "messages")
    if kind == "ours":
        remark = "class filters were removed from RocketMQ in 5.0 and are not supported"
        expect((header["code"], header["remark"]), (23, remark), "code and remark")
