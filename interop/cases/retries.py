"""Messages that a consumer fails on: sent back, tried again, and given up as dead letters."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interop import raw
from interop.api import Api, Consumer, bodies, steady
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster, Kind, Servers
from interop.driver import Line, until
from interop.requests import (
    CONSUMER_SEND_MSG_BACK,
    NO_PERMISSION,
    PULL_MESSAGE,
    SEND_MESSAGE,
    SUCCESS,
    SYSTEM_ERROR,
    Member,
    bounds,
    send_fields,
    topic_config,
)

CLIENTS = ["3.2.6", "5.5.0", "go"]
SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX"
HIGHEST = 18
PERM_READ = 4
LATE_S = 8
"""A second at most, and what a busy machine takes for the way to the client and back."""


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, kind: Kind, official_version: str) -> Iterator[Cluster]:
    """Servers with short delay levels: 1 s, and 2 s for level 4 and the highest."""
    servers = Servers(tmp_path_factory.mktemp("retries"), kind, official_version)
    yield servers.cluster({"messageDelayLevel": "1s 1s 1s 2s 1s 1s " + "1s " * 11 + "2s"})
    servers.close()


def prepared(cluster: Cluster, topic: str, group: str) -> None:
    """Have a group's retry topic in the route before its consumer starts, which looks for it only every 30 s."""
    with Member(cluster.broker.address, "first") as member:
        member.join(group, topic)
    cluster.wait_route(f"%RETRY%{group}")


def client(version: str, request: pytest.FixtureRequest) -> str:
    if version == "go":
        request.getfixturevalue("go")
    return version


def tries(consumer: Consumer, body: str) -> list[dict[str, Any]]:
    return [message for message in consumer.received() if message["body"] == body]


def dead_letters(api: Api, cluster: Cluster, topic: str) -> list[Line]:
    """Read a dead-letter topic, which brokers of 4.x make without the permission to."""
    cluster.wait_route(topic)
    config = topic_config(cluster.broker.address, topic)
    assert config is not None
    if not config["perm"] & PERM_READ:
        api.mqadmin(cluster.namesrv, "updateTopicPerm", "-b", cluster.broker.address, "-t", topic, "-p", "6")
    letters: list[Line] = api.pull_consumer(cluster.namesrv).pull(topic, 0, 0)["messages"]
    return letters


@case(
    "retries/1",
    "what a listener fails on comes again under its own topic, after the delays of level 3, 4, ..., told how often and its first id",
    source="AbstractSendMessageProcessor.consumerSendMsgBack (code 36)",
)  # fmt: skip
@pytest.mark.parametrize("version", CLIENTS)
def test_retry(version: str, api: Api, quick: Cluster, request: pytest.FixtureRequest) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(quick.namesrv, topic, 2)
    prepared(quick, topic, group)
    consumer = api.consumer(quick.namesrv, topic, client(version, request), group=group, fail=3, expression="TagA")
    sent = api.producer(quick.namesrv).send(topic, [{"body": b, "tag": "TagA", "keys": f"k-{b}"} for b in bodies(3)])
    until(lambda: len(consumer.received()) >= 12, 60)
    for number, body in enumerate(bodies(3)):
        came = tries(consumer, body)
        expect([m["reconsume_times"] for m in came], [0, 1, 2, 3], f"reconsume times of {body}")
        expect({m["topic"] for m in came}, {topic}, "topic")
        expect({(m["tag"], m["keys"]) for m in came}, {("TagA", f"k-{body}")}, "tag and keys")
        again = [m["properties"] for m in came[1:]]
        expect({p["UNIQ_KEY"] for p in again}, {sent[number]["msg_id"]}, "unique id")
        expect({p["RETRY_TOPIC"] for p in again}, {topic}, "RETRY_TOPIC")
        expect({p["ORIGIN_MESSAGE_ID"] for p in again}, {sent[number]["offset_msg_id"]}, "ORIGIN_MESSAGE_ID")
        expect([p.get("DELAY") for p in again], ["3", "4", "5"], "DELAY")
        expect({p["REAL_TOPIC"] for p in again}, {f"%RETRY%{group}"}, "REAL_TOPIC")
        waits = [(after["stored_at_ms"] - before["stored_at_ms"]) / 1000 for before, after in itertools.pairwise(came)]
        expect_that(
            all(delay <= wait < delay + LATE_S for delay, wait in zip((1, 2, 1), waits, strict=True)),
            "stored again after 1, 2 and 1 s, and the way there and back", waits,
        )  # fmt: skip
    retry = topic_config(quick.broker.address, f"%RETRY%{group}")
    assert retry is not None
    expect(
        (retry["readQueueNums"], retry["writeQueueNums"], retry["perm"]),
        (1, 1, 6),
        "queues and perm of the retry topic",
    )


@case(
    "retries/2",
    "a listener chooses the delay level of the next try; one above the highest is the highest",
    source="ConsumeConcurrentlyContext.delayLevelWhenNextConsume; HookUtils.transformDelayLevelMessage",
)
@pytest.mark.parametrize(("asked", "told"), [(2, "2"), (4, "4"), (99, "18")])
def test_explicit_level(asked: int, told: str, api: Api, quick: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(quick.namesrv, topic, 1)
    prepared(quick, topic, group)
    consumer = api.consumer(quick.namesrv, topic, "4.7.0", group=group, fail=2, delay_level=asked)
    api.producer(quick.namesrv).send(topic, ["x"])
    came = consumer.wait(3)
    expect([m["reconsume_times"] for m in came], [0, 1, 2])
    expect([m["properties"].get("DELAY") for m in came[1:]], [told, told], "DELAY")


@case(
    "retries/3",
    "after the tries that the consumer allows, or the group, or at once by level -1, a message is a dead letter, and comes no more",
    source="AbstractSendMessageProcessor.consumerSendMsgBack; SubscriptionGroupConfig.retryMaxTimes",
)  # fmt: skip
@pytest.mark.parametrize(
    ("version", "how"),
    [("3.2.6", "group"), ("3.2.6", "level"), ("4.7.0", "group"), ("5.5.0", "client"), ("5.5.0", "level"), ("go", "client")],
)  # fmt: skip
def test_dead_letter(version: str, how: str, api: Api, quick: Cluster, request: pytest.FixtureRequest) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(quick.namesrv, topic, 1)
    allowed = 0 if how == "level" else 1
    more: dict[str, Any] = {"client": {"max_reconsume": 1}, "level": {"delay_level": -1}, "group": {}}[how]
    if how == "group":
        printed = api.mqadmin(
            quick.namesrv, "updateSubGroup", "-b", quick.broker.address, "-g", group, "-r", "1", "-q", "2"
        )
        expect_that("success" in printed, "updateSubGroup succeeds", printed)
        if version != "3.2.6":
            more = {"max_reconsume": 1}  # 4.x consumers always say a number of their own, 16 unless set
    prepared(quick, topic, group)
    consumer = api.consumer(quick.namesrv, topic, client(version, request), group=group, fail=99, **more)
    sent = api.producer(quick.namesrv).send(topic, [{"body": "x", "tag": "T", "keys": "k", "properties": {"p": "v"}}])
    dead = f"%DLQ%{group}"
    address = quick.broker.address
    until(lambda: topic_config(address, dead) is not None and bounds(address, dead, 0)[1] > 0, 60)
    steady(lambda: len(consumer.received()), 1.5)
    expect([m["reconsume_times"] for m in consumer.received()], list(range(allowed + 1)), "reconsume times")
    config = topic_config(address, dead)
    assert config is not None, "no dead-letter topic"
    expect(
        (config["readQueueNums"], config["writeQueueNums"], config["perm"]),
        (1, 1, 6),
        "queues and perm of the dead letters",
    )
    if how == "group":
        retry = topic_config(address, f"%RETRY%{group}")
        assert retry is not None
        expect((retry["readQueueNums"], retry["writeQueueNums"]), (2, 2), "queues of the retry topic (-q 2)")
    letters = dead_letters(api, quick, dead)
    expect([(m["body"], m["tag"], m["keys"], m["reconsume_times"]) for m in letters], [("x", "T", "k", allowed + 1)])
    told = letters[0]["properties"]
    expect((told["RETRY_TOPIC"], told["ORIGIN_MESSAGE_ID"]), (topic, sent[0]["offset_msg_id"]), "origin")
    expect((told["UNIQ_KEY"], told["p"]), (sent[0]["msg_id"], "v"), "unique id and property")


def stored(api: Api, cluster: Cluster, topic: str) -> int:
    """Store a message and return its physical offset, which its offset id ends with."""
    api.create_topic(cluster.namesrv, topic, 1)
    result = api.producer(cluster.namesrv).send(topic, ["x"])[0]
    return int(result["offset_msg_id"][16:], 16)


def back(cluster: Cluster, group: str, offset: int, *, version: int = 353, **fields: str) -> tuple[int, str | None]:
    """CONSUMER_SEND_MSG_BACK; code and remark of the answer."""
    named = {"group": group, "offset": str(offset), **fields}
    answer, _ = raw.request(cluster.broker.address, CONSUMER_SEND_MSG_BACK, named, version=version)
    return answer["code"], answer.get("remark")


FORMS = {
    "3.2.6, without maxReconsumeTimes": ({"delayLevel": "0", "originMsgId": "ID", "originTopic": "T", "unitMode": "false"}, 79),
    "4.x, with maxReconsumeTimes": (
        {"delayLevel": "0", "originMsgId": "ID", "originTopic": "T", "unitMode": "false", "maxReconsumeTimes": "16"}, 353,
    ),
    "nothing but what is required": ({"delayLevel": "0"}, 353),
    "5.x, with the broker's name": (
        {"delayLevel": "0", "originMsgId": "ID", "originTopic": "T", "unitMode": "false", "maxReconsumeTimes": "16",
         "brokerName": "broker-a", "bname": "broker-a", "batch": "false"}, 477,
    ),
    "batch": ({"delayLevel": "0", "batch": "true", "maxReconsumeTimes": "-1"}, 99),
}  # fmt: skip


@case(
    "retries/4",
    "each form of header that clients ever wrote puts a message back; maxReconsumeTimes counts from clients of 3.4.9 on",
    source="ConsumerSendMsgBackRequestHeader; MQVersion.V3_4_9",
)
@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str, api: Api, quick: Cluster) -> None:
    fields, version = FORMS[form]
    group, topic = api.fresh("CG"), api.fresh("topic")
    offset = stored(api, quick, topic)
    with Member(quick.broker.address, "m") as member:
        member.join(group, topic)
        expect(back(quick, group, offset, version=version, **fields), (SUCCESS, None), "code and remark")
    retry = f"%RETRY%{group}"
    until(lambda: bounds(quick.broker.address, retry, 0)[1] > 0)
    quick.wait_route(retry)
    came = api.pull_consumer(quick.namesrv).pull(retry, 0, 0)["messages"]
    expect([(m["body"], m["reconsume_times"]) for m in came], [("x", 1)], "in the retry topic")
    # Old clients write no number of tries: what they write under its name is not read.
    old = api.fresh("CG")
    with Member(quick.broker.address, "m") as member:
        member.join(old, topic)
        back(quick, old, offset, version=79, delayLevel="1", originTopic=topic, maxReconsumeTimes="0")
        back(quick, old, offset, version=353, delayLevel="1", originTopic=topic, maxReconsumeTimes="0")
    until(lambda: bounds(quick.broker.address, f"%RETRY%{old}", 0)[1] > 0)
    expect(bounds(quick.broker.address, f"%RETRY%{old}", 0)[1], 1, "of version 79: tried again")
    dead = f"%DLQ%{old}"
    expect(until(lambda: bounds(quick.broker.address, dead, 0)[1] == 1), True, "of version 353: dead at once")


@case(
    "retries/5",
    "a message that cannot be put back is answered with the official code and remark, and nothing is stored",
    source="AbstractSendMessageProcessor.consumerSendMsgBack",
)
def test_refused(api: Api, quick: Cluster) -> None:
    group, topic = api.fresh("CG"), api.fresh("topic")
    offset = stored(api, quick, topic)
    before = [bounds(quick.broker.address, SCHEDULE_TOPIC, q)[1] for q in range(HIGHEST)]
    expect(
        back(quick, group, 1 << 40, delayLevel="0"),
        (SYSTEM_ERROR, f"look message by offset failed, {1 << 40}"),
        "offset behind the log",
    )
    expect(
        back(quick, group, -1, delayLevel="0"), (SYSTEM_ERROR, "look message by offset failed, -1"), "negative offset"
    )
    code, remark = back(quick, "bad group", offset, delayLevel="0")
    expect(
        (code, remark and remark.split(" \nSee")[0]), (26, "subscription group not exist, bad group"), "illegal group"
    )
    code, _ = back(quick, group, offset)
    expect(code, SYSTEM_ERROR, "code without a delay level")
    none = api.fresh("CG")
    api.mqadmin(quick.namesrv, "updateSubGroup", "-b", quick.broker.address, "-g", none, "-q", "0")
    expect(back(quick, none, offset, delayLevel="0"), (SUCCESS, None), "a group without retry queues: dropped")
    closed = api.fresh("CG")
    with Member(quick.broker.address, "m") as member:
        member.join(closed, topic)
    api.mqadmin(
        quick.namesrv,
        "updateTopic",
        "-b",
        quick.broker.address,
        "-t",
        f"%RETRY%{closed}",
        "-p",
        "4",
        "-r",
        "1",
        "-w",
        "1",
    )
    expect(
        back(quick, closed, offset, delayLevel="0"),
        (NO_PERMISSION, f"the topic[%RETRY%{closed}] sending message is forbidden"), "a retry topic that is read-only",
    )  # fmt: skip
    expect([bounds(quick.broker.address, SCHEDULE_TOPIC, q)[1] for q in range(HIGHEST)], before, "delayed messages")


@case(
    "retries/6",
    "a message of unit mode makes a retry topic that says so; one that is there stays as it is",
    source="TopicSysFlag.buildSysFlag(false, true)",
)
def test_unit_mode(api: Api, quick: Cluster) -> None:
    topic = api.fresh("topic")
    offset = stored(api, quick, topic)
    for unit, flag in (("true", 2), ("false", 0)):
        group = api.fresh("CG")
        expect(back(quick, group, offset, delayLevel="1", unitMode=unit)[0], SUCCESS)
        expect(back(quick, group, offset, delayLevel="1", unitMode="true")[0], SUCCESS)
        config = topic_config(quick.broker.address, f"%RETRY%{group}")
        assert config is not None
        expect(config["topicSysFlag"], flag, f"topicSysFlag with unitMode={unit}")
    consumer = api.consumer(quick.namesrv, topic, unit_mode=True, group=(group := api.fresh("CG")))
    consumer.wait(1)
    config = topic_config(quick.broker.address, f"%RETRY%{group}")
    assert config is not None
    expect(config["topicSysFlag"], 2, "topicSysFlag by the heartbeat of a consumer in unit mode")


@case(
    "retries/7",
    "a suspended group is refused its pulls with a remark, and goes on where it was when it may again",
    source="SubscriptionGroupConfig.consumeEnable; PullMessageProcessor",
)
def test_suspended(api: Api, quick: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(quick.namesrv, topic, 1)
    api.mqadmin(quick.namesrv, "updateSubGroup", "-b", quick.broker.address, "-g", group, "-s", "false")
    fields = {
        "consumerGroup": group, "topic": topic, "queueId": "0", "queueOffset": "0", "maxMsgNums": "32", "sysFlag": "4",
        "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "1", "expressionType": "TAG",
    }  # fmt: skip
    answer, _ = raw.request(quick.broker.address, PULL_MESSAGE, fields)
    expect((answer["code"], answer["remark"]), (NO_PERMISSION, f"subscription group no permission, {group}"))
    consumer = api.consumer(quick.namesrv, topic, group=group)
    api.producer(quick.namesrv).send(topic, bodies(4))
    time.sleep(1.5)
    expect(consumer.received(), [], "messages while the group is suspended")
    api.mqadmin(quick.namesrv, "updateSubGroup", "-b", quick.broker.address, "-g", group, "-s", "true")
    expect_bodies(consumer.wait(4), bodies(4))


@case(
    "retries/8",
    "messages whose consumer is killed while it works on them come to another, as first tries, and none is lost",
    source="ConsumerManager.doChannelCloseEvent; ProcessQueue",
)
def test_crash(api: Api, quick: Cluster, tmp_path: Path) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(quick.namesrv, topic, 2)
    driver = api.drivers.start("5.5.0", folder=tmp_path / "mortal")
    try:
        mortal = api.consumer(quick.namesrv, topic, "5.5.0", driver=driver, group=group, pause_ms=60_000)
        api.producer(quick.namesrv).send(topic, bodies(30))
        mortal.wait(4)
    finally:
        driver.kill()
        mortal.running = False
    begun = {m["body"] for m in mortal.received()}
    expect_that(0 < len(begun) < 30, "some messages in work", sorted(begun))
    heir = api.consumer(quick.namesrv, topic, "4.7.0", group=group)
    came = heir.wait_bodies(bodies(30), 90)
    expect_bodies(came, bodies(30))
    expect({m["reconsume_times"] for m in came}, {0}, "reconsume times")


@case(
    "retries/9",
    "what a client itself sends to a retry topic waits as its level says, and is a dead letter beyond the tries or when the group holds locks",
    source="SendMessageProcessor.handleRetryAndDLQ",
)  # fmt: skip
def test_client_side_retry(api: Api, quick: Cluster) -> None:
    address = quick.broker.address
    group, topic = api.fresh("CG"), api.fresh("topic")
    retry, dead = f"%RETRY%{group}", f"%DLQ%{group}"
    with Member(address, "m") as member:
        member.join(group, topic)
        properties = {"RETRY_TOPIC": topic, "DELAY": "1"}

        def send(body: str, **more: str) -> dict[str, Any]:
            answer, _ = member.request(SEND_MESSAGE, send_fields(retry, properties=properties, **more), body.encode())
            return answer

        expect(send("again", reconsumeTimes="2", maxReconsumeTimes="2")["code"], SUCCESS)
        expect(send("dead", reconsumeTimes="3", maxReconsumeTimes="2")["code"], SUCCESS)
        expect(send("dead by the group", reconsumeTimes="17")["code"], SUCCESS)
        expect(until(lambda: bounds(address, retry, 0)[1] == 1), True, "one message in the retry topic")
        expect(until(lambda: bounds(address, dead, 0)[1] == 2), True, "dead letters")
        expect(member.locked(group, (topic, 0)), [0], "locked queues")
        expect(send("in order", reconsumeTimes="1", maxReconsumeTimes="16")["code"], SUCCESS)
        expect(until(lambda: bounds(address, dead, 0)[1] == 3), True, "a dead letter of a group that holds a lock")
        answer, _ = member.request(SEND_MESSAGE, send_fields("%RETRY%bad group", reconsumeTimes="1"), b"x")
        expect_that(answer["code"] != SUCCESS, "no success for an illegal group", answer)
    letters = dead_letters(api, quick, dead)
    expect([m["body"] for m in letters], ["dead", "dead by the group", "in order"])


@case(
    "retries/10",
    "inside a client's namespace a message is tried again and becomes a dead letter under the namespace's own topics",
    source="NamespaceUtil.wrapNamespace, withoutNamespace; DefaultMQPushConsumerImpl.sendMessageBack",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_namespace(version: str, api: Api, quick: Cluster) -> None:
    topic, group, space = api.fresh("topic"), api.fresh("CG"), api.fresh("NS")
    whole, retry, dead = f"{space}%{topic}", f"%RETRY%{space}%{group}", f"%DLQ%{space}%{group}"
    address = quick.broker.address
    api.create_topic(quick.namesrv, whole, 1)
    prepared(quick, whole, f"{space}%{group}")
    consumer = api.consumer(
        quick.namesrv, topic, version, group=group, set={"setNamespace": space}, fail=99, max_reconsume=2
    )
    producer = api.producer(quick.namesrv, version, set={"setNamespace": space})
    sent = producer.send(topic, [{"body": "x", "tag": "T", "keys": "k"}])
    expect(until(lambda: topic_config(address, dead) is not None and bounds(address, dead, 0)[1] == 1, 60), True, dead)
    steady(lambda: len(consumer.received()), 1.5)
    came = consumer.received()
    expect([m["reconsume_times"] for m in came], [0, 1, 2], "reconsume times")
    expect({m["topic"] for m in came}, {topic}, "topic as the listener sees it")
    expect({m["properties"]["RETRY_TOPIC"] for m in came[1:]}, {whole}, "RETRY_TOPIC")
    expect({m["properties"]["REAL_TOPIC"] for m in came[1:]}, {retry}, "REAL_TOPIC")
    expect(
        [topic_config(address, f"{word}{group}") for word in ("%RETRY%", "%DLQ%")], [None, None], "of the short name"
    )
    letters = dead_letters(api, quick, dead)
    expect([(m["body"], m["tag"], m["keys"], m["reconsume_times"]) for m in letters], [("x", "T", "k", 3)])
    told = letters[0]["properties"]
    expect((told["RETRY_TOPIC"], told["UNIQ_KEY"]), (whole, sent[0]["msg_id"]), "origin and unique id")
