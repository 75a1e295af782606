"""Pop consumption (5.x): messages that are hidden until they are acknowledged or their time ends."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from interop.api import Api
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster, Kind, Servers
from interop.driver import until
from interop.popping import (
    BATCH_ACK,
    COMES_BACK_S,
    FOUND,
    NOTIFICATION,
    PEEK,
    POLLING_INFO,
    Popped,
    Popper,
    now_ms,
    records,
)
from interop.requests import Member

ASSIGNMENT, SET_MODE, RESET_OFFSET = 400, 401, 222
NOTHING, POLLING_TIMEOUT, NO_MESSAGE, ILLEGAL, INVALID, NO_TOPIC = 19, 210, 208, 13, 29, 17

pytestmark = pytest.mark.usefixtures("pops_exist")


@pytest.fixture
def pops_exist(kind: Kind, official_version: str) -> None:
    """Pops came with version 5."""
    if kind == "official" and official_version[0] < "5":
        pytest.skip("before 5 there are no pops")


NewPopper = Callable[[str, str, str], Popper]


@pytest.fixture
def new_popper() -> Iterator[NewPopper]:
    """Makes clients of a broker, topic and group, whose connections are closed when the case ends."""
    with ExitStack() as opened:

        def make(broker: str, topic: str, group: str) -> Popper:
            popper = Popper(broker, topic, group)
            opened.enter_context(popper.connection)
            return popper

        yield make


@pytest.fixture
def popper(api: Api, cluster: Cluster, new_popper: NewPopper) -> Popper:
    """A group on a topic of its own with two queues."""
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 2)
    return new_popper(cluster.broker.address, topic, api.fresh("CG"))


@case(
    "pop/1",
    "popped messages are hidden; those acknowledged never come back, the others do after their invisible time, from the"
    " retry topic under their own topic, with their receipt and one more try counted",
    source="PopMessageProcessor, AckMessageProcessor, PopReviveService",
)
def test_pop_and_ack(popper: Popper) -> None:
    popper.send("a", "b", "c", TAGS="T", own="x")
    first = popper.pop(3000)
    expect((first.code, first.remark, first.bodies), (FOUND, "FOUND", ["a", "b", "c"]), "first pop")
    expect(first.ext["startOffsetInfo"], "0 0 0", "startOffsetInfo")
    expect(first.ext["msgOffsetInfo"], "0 0 0,1,2", "msgOffsetInfo")
    expect((first.ext["restNum"], first.ext["invisibleTime"]), ("0", "3000"), "restNum, invisibleTime")
    second = popper.pop(3000)
    expect((second.code, second.remark), (POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE"), "a pop while all is hidden")
    expect(popper.ack(first.messages[1])["code"], 0, "code of an acknowledgement")
    back = popper.pop_all(2, 3000)
    expect_that(now_ms() >= int(first.ext["popTime"]) + 3000, "messages back not before their time", back)
    expect_bodies(back, ["a", "c"])
    for message in back:
        expect((message["topic"], message["reconsume"], message["flag"]), (popper.topic, 1, "1"), "topic, tries, flag")
        expect(message["properties"]["1ST_POP_TIME"], first.ext["popTime"], "1ST_POP_TIME")
        expect(message["properties"]["own"], "x", "a property of the producer")
        expect(popper.ack(message)["code"], 0, "code of an acknowledgement by POP_CK")
    popper.quiet(7)


@case(
    "pop/2",
    "an acknowledgement or change with a bad queue, offset or receipt is refused with code and remark",
    source="AckMessageProcessor, ChangeInvisibleTimeProcessor, ExtraInfoUtil",
)
def test_bad_receipts(popper: Popper) -> None:
    popper.send("a")
    message = popper.pop().messages[0]

    def refused(header: dict[str, Any], code: int, remark: str | None) -> None:
        expect(header["code"], code, "code")
        if remark is not None:
            expect_that(remark in header.get("remark", ""), f"a remark with {remark!r}", header.get("remark"))

    illegal = f"queueId[7] is illegal, topic:[{popper.topic}] topicConfig.readQueueNums:[2] consumer:[/"
    for call in (popper.ack, lambda message, **more: popper.change(message, 1000, **more)):
        refused(call(message, topic="nowhere"), NO_TOPIC, "topic[nowhere] not exist, apply first please! ")
        refused(call(message, queueId=7), ILLEGAL, illegal)
        refused(call(message, queueId=-1), ILLEGAL, "queueId[-1] is illegal")
        refused(call(message, extraInfo="0 1 2 x 0 broker-a 0 0"), 1, 'For input string: "x"')
        refused(call(message, extraInfo="0 1 2 3"), 1, "getBrokerName fail, extraInfoStrs length 4")
    far = f"offset is illegal, key:{popper.topic}@0, commit:77, store:0~1"
    refused(popper.ack(message, offset=77), NO_MESSAGE, far)
    refused(popper.ack(message, extraInfo=""), 1, "getBrokerName fail, extraInfoStrs length 1")
    refused(popper.change(message, 1000, offset=1), NO_MESSAGE, None)
    refused(popper.change(message, 1000, extraInfo="x y"), 1, "getReviveQid fail, extraInfoStrs length 2")
    expect(popper.ack(message, extraInfo="0 1 2 99 0 broker-a 0 0")["code"], 0, "code of a receipt of another pop")
    expect(popper.ack(message)["code"], 0, "code of the right acknowledgement")


@case(
    "pop/3",
    "a batch acknowledgement names messages of a pop by a bit set; the others come back",
    source="AckMessageProcessor BATCH_ACK_MESSAGE, BatchAck",
)
def test_batch_ack(popper: Popper) -> None:
    popper.send("a", "b", "c", "d")
    popped = popper.pop(3000)
    ext = popped.ext
    entry = {
        "c": popper.group, "t": popper.topic, "r": "0", "so": 0, "q": 0, "rq": int(ext["reviveQid"]),
        "pt": int(ext["popTime"]), "it": 3000, "b": base64.b64encode(bytes([0b1011])).decode(),
    }  # fmt: skip
    for body in (b"", b'{"acks":[],"brokerName":"broker-a"}'):
        expect(popper.ask(BATCH_ACK, body)[0]["code"], NO_MESSAGE, "code of a batch of nothing")
    body = json.dumps({"acks": [entry], "brokerName": "broker-a"}).encode()
    expect(popper.ask(BATCH_ACK, body)[0]["code"], 0, "code of a batch acknowledgement")
    back = popper.pop_all(1)
    expect_bodies(back, ["c"])
    entry = {**entry, "r": "1", "so": 0, "rq": int(back[0]["receipt"].split()[3]), "b": "AQ==",
             "pt": int(back[0]["receipt"].split()[1]), "it": 60_000}  # fmt: skip
    body = json.dumps({"acks": [entry], "brokerName": "broker-a"}).encode()
    expect(popper.ask(BATCH_ACK, body)[0]["code"], 0, "code of a batch acknowledgement of the retry topic")


@case(
    "pop/4",
    "a changed invisible time counts from now on, by a new receipt; one that is acknowledged by it stays away",
    source="ChangeInvisibleTimeProcessor",
)
def test_change_invisible_time(popper: Popper) -> None:
    popper.send("soon", "late", "done")
    messages = {message["body"]: message for message in popper.pop(4000).messages}
    began = time.monotonic()
    expect(popper.change(messages["soon"], 1000)["code"], 0, "code of a change")
    changed = popper.change(messages["late"], 9000)
    expect(changed["extFields"]["invisibleTime"], "9000", "invisibleTime of a change")
    expect(popper.change(messages["done"], 2000)["code"], 0, "code of a change")
    expect(popper.ack(messages["done"])["code"], 0, "code of an acknowledgement by the new receipt")
    back = popper.pop_all(2, timeout_s=9 + COMES_BACK_S)
    expect([message["body"] for message in back], ["soon", "late"], "what came back")
    expect_that(time.monotonic() - began > 9, "`late` not before its time", time.monotonic() - began)


@case(
    "pop/5",
    "an ordered pop closes its queue until all of it is acknowledged; the same attempt gets the same messages again, and"
    " after their time they come again in order with their count",
    source="ConsumerOrderInfoManager, PopMessageProcessor",
)
def test_ordered(popper: Popper) -> None:
    popper.send("a", "b", "c")
    ordered: dict[str, object] = {"order": "true", "queueId": 0}

    def pop(attempt: str, invisible_ms: int = 6000) -> Popped:
        return popper.pop(invisible_ms, count=2, attemptId=attempt, **ordered)

    first = pop("one")
    expect((first.bodies, first.ext["reviveQid"]), (["a", "b"], "999"), "bodies, reviveQid")
    expect(first.ext["orderCountInfo"], "0 0 0", "orderCountInfo of a first pop")
    expect(pop("two").code, POLLING_TIMEOUT, "code while the queue is closed")
    again = pop("one")
    expect((again.bodies, again.ext["orderCountInfo"]), (["a", "b"], "0 0 0"), "the same attempt once more")
    first_ack = popper.ack(again.messages[0])
    expect(first_ack["code"], 0, "code of the first acknowledgement")
    expect(pop("two").code, POLLING_TIMEOUT, "code while one is out")
    beyond = popper.ack(again.messages[0], offset=2)
    expect((beyond["code"], "offset is illegal, key:" in beyond["remark"]), (ILLEGAL, True), "one that is not out")
    expect(popper.ack(again.messages[0])["code"], 0, "code of an acknowledgement of what is behind")
    second = Popped({"code": -1}, b"")

    def opens() -> bool:
        nonlocal second
        second = pop("three")
        return second.code == FOUND

    expect_that(until(opens, 15), "the queue opens when the time is over", second.code)
    expect((second.bodies, second.ext["orderCountInfo"]), (["b", "c"], "0 qo0%1 1;0 0 0"), "after the time")
    changed = popper.change(second.messages[1], 9000)
    expect((changed["code"], changed["extFields"]["popTime"]), (0, second.ext["popTime"]), "change in order")
    for message in second.messages:
        message["receipt"] = message["receipt"].replace(changed["extFields"]["invisibleTime"], "6000")
        expect(popper.ack(message)["code"], 0, "code of an acknowledgement in order")
    popper.send("d")
    expect(pop("four").bodies, ["d"], "the next one, at once")


@case(
    "pop/6",
    "a pop takes the messages that its tags or its SQL92 expression wants, and passes the others by for good",
    source="PopMessageProcessor, ExpressionMessageFilter",
)
def test_filters(popper: Popper, api: Api) -> None:
    for body, tag, a in (("x1", "X", "1"), ("y2", "Y", "2"), ("x3", "X", "3")):
        popper.send(body, TAGS=tag, a=a)
    expect(popper.pop(exp="Y||Z", expType="TAG").bodies, ["y2"], "bodies of tag Y or Z")
    expect(popper.pop().bodies, [], "what was passed by")
    popper.group = api.fresh("CG")
    expect(popper.pop(exp="a > 1 AND TAGS = 'X'", expType="SQL92").bodies, ["x3"], "bodies by SQL92")
    popper.group = api.fresh("CG")
    for kind, expression in (("SQL92", "a >"), ("TAG", "||")):
        popped = popper.pop(exp=expression, expType=kind)
        expect((popped.code, popped.remark), (23, "parse the consumer's subscription failed"), f"pop by {expression!r}")
    expect(len(popper.pop().bodies), 3, "messages of a pop without an expression")


@case(
    "pop/7",
    "a pop that finds nothing waits, is counted, is woken by a message that it wants, and answers 210 when its time is"
    " over; a notification waits likewise",
    source="PopLongPollingService, NotificationProcessor, PollingInfoProcessor",
)
def test_waiting(popper: Popper, cluster: Cluster, new_popper: NewPopper) -> None:
    other = new_popper(cluster.broker.address, popper.topic, popper.group)

    def meanwhile(ask: Callable[[], Any], then: Callable[[], object]) -> tuple[Any, float]:
        answers: list[Any] = []
        began = time.monotonic()
        thread = threading.Thread(target=lambda: answers.append(ask()))
        thread.start()
        try:
            time.sleep(0.5)
            then()
        finally:
            thread.join()
        return answers[0], time.monotonic() - began

    def waiting() -> str:
        return other.ask(POLLING_INFO, queueId=-1)[0]["extFields"]["pollingNum"]

    popped, took_s = meanwhile(lambda: popper.pop(poll_ms=1500), lambda: expect(waiting(), "1", "pollingNum"))
    expect((popped.code, popped.remark), (POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE"), "a pop that waits in vain")
    expect_that(1.2 < took_s < 3, "1.5 s of waiting", took_s)
    popped, took_s = meanwhile(lambda: popper.pop(poll_ms=8000), lambda: other.send("a", queue_id=1))
    expect((popped.bodies, took_s < 4), (["a"], True), "a pop that is woken")
    popped, took_s = meanwhile(
        lambda: popper.pop(poll_ms=8000, exp="B", expType="TAG"),
        lambda: (other.send("no", TAGS="A"), other.send("b", TAGS="B")),
    )
    expect((popped.bodies, took_s < 4), (["b"], True), "a pop with tags that is woken")

    def notification(poll_ms: int) -> str:
        header, _ = popper.ask(NOTIFICATION, queueId=-1, pollTime=poll_ms, bornTime=now_ms())
        return str(header["extFields"]["hasMsg"])

    told, took_s = meanwhile(lambda: notification(1500), lambda: None)
    expect((told, 1.2 < took_s < 3), ("false", True), "a notification in vain")
    told, took_s = meanwhile(lambda: notification(8000), lambda: other.send("c"))
    expect((told, took_s < 4), ("true", True), "a notification of a message")
    expect(notification(8000), "true", "a notification of what is there")


@case(
    "pop/8",
    "pops and peeks that ask for the impossible are refused with code and remark; a peek hides nothing",
    source="PopMessageProcessor, PeekMessageProcessor, NotificationProcessor",
)
def test_refusals(popper: Popper) -> None:
    popper.send("a", "b")

    def refused(popped: Popped, code: int, remark: str) -> None:
        expect(popped.code, code, "code")
        expect_that(remark in popped.remark, f"a remark with {remark!r}", popped.remark)

    refused(popper.pop(count=33), INVALID, "the broker[127.0.0.1] pop message's num is greater than 32")
    refused(popper.pop(queueId=2), INVALID, f"queueId[2] is illegal, topic:[{popper.topic}]")
    refused(popper.pop(topic="nowhere"), NO_TOPIC, "topic[nowhere] not exist, apply first please! ")
    refused(
        popper.pop(bornTime=now_ms() - 2000), POLLING_TIMEOUT, "the broker[127.0.0.1] pop message is timeout too much"
    )
    peeked = popper.ask(PEEK, queueId=-1, maxMsgNums=5)
    expect((peeked[0]["code"], peeked[0]["extFields"]["restNum"]), (0, "2"), "code and restNum of a peek")
    expect([message["body"] for message in records(peeked[1])], ["a", "b"], "bodies of a peek")
    expect(popper.ask(PEEK, queueId=1, maxMsgNums=5)[0]["code"], NOTHING, "code of a peek at an empty queue")
    expect(
        popper.ask(NOTIFICATION, queueId=9, pollTime=0, bornTime=now_ms())[0]["code"],
        INVALID,
        "a notification of queue 9",
    )
    expect(popper.pop(initMode=1).bodies, ["a", "b"], "a new group that begins at the end of a topic that is in memory")


@case(
    "pop/9",
    "a broker that is killed loses neither what is out nor what was acknowledged: the one comes back, the other does not",
    source="PopReviveService, PopBufferMergeService",
)
def test_kill_9(api: Api, servers: Servers, new_popper: NewPopper) -> None:
    cluster = servers.cluster()
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    popper = new_popper(cluster.broker.address, topic, api.fresh("CG"))
    popper.send("a", "b", "c")
    popped = popper.pop(4000)
    expect(popper.ack(popped.messages[1])["code"], 0, "code of an acknowledgement")
    # Until the offset of the group is written: without it its messages are popped again at once.
    offsets = cluster.broker.store / "config" / "consumerOffset.json"
    written = re.compile(rf'"{topic}@{popper.group}":\s*{{\s*"?0"?:\s*3')
    expect(
        until(lambda: offsets.exists() and written.search(offsets.read_text()) is not None, 30), True, "offset written"
    )
    popper.send("d", "e")
    later = popper.pop(6000)
    expect(popper.ack(next(m for m in later.messages if m["body"] == "d"))["code"], 0, "code of an acknowledgement")
    cluster.broker.kill()
    cluster.broker.start()
    servers.wait_registered(cluster.broker)
    popper = new_popper(cluster.broker.address, topic, popper.group)
    found: set[str] = set()

    def all_back() -> bool:
        for message in popper.pop(60_000).messages:
            found.add(message["body"])
            popper.ack(message)
        return found >= {"a", "c", "e"}

    expect_that(until(all_back, 6 + 2 * COMES_BACK_S), "a, c and e come back after the kill", sorted(found))
    expect("b" in found, False, "whether b came back, which was acknowledged")


@case(
    "pop/10",
    "a push consumer is switched to pops by `mqadmin setConsumeMode`; it gets every message, and what it fails again",
    source="QueryAssignmentProcessor, SetConsumeModeSubCommand, ConsumeMessagePopConcurrentlyService",
)
def test_push_consumer(api: Api, cluster: Cluster) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 4)
    api.mqadmin(cluster.namesrv, "updateSubGroup", "-c", "DefaultCluster", "-g", group)
    printed = api.mqadmin(
        cluster.namesrv, "setConsumeMode", "-c", "DefaultCluster", "-t", topic, "-g", group, "-m", "POP", "-q", "0"
    )
    expect_that("success" in printed, "setConsumeMode prints success", printed)
    consumers = [api.consumer(cluster.namesrv, topic, group=group, set={"setClientRebalance": False}) for _ in range(2)]
    sent = [f"m{number}" for number in range(40)]
    producer = api.producer(cluster.namesrv)
    producer.send(topic, sent)

    def received() -> list[dict[str, Any]]:
        return [message for consumer in consumers for message in consumer.received()]

    until(lambda: {message["body"] for message in received()} >= set(sent), 30)
    expect_bodies(received(), sent)
    for consumer in consumers:
        consumer.stop()
    late = api.consumer(cluster.namesrv, topic, group=group, set={"setClientRebalance": False}, fail=1)
    producer.send(topic, ["again"])
    tries = late.wait(2, 45)
    expect([(message["body"], message["reconsume_times"]) for message in tries], [("again", 0), ("again", 1)], "tries")


@case(
    "pop/11",
    "with `enableRetryTopicV2` messages come back by the retry topic of the second form, and one of the first is read too",
    source="KeyBuilder, PopReviveService, PopMessageProcessor",
)
def test_retry_v2(api: Api, servers: Servers, new_popper: NewPopper) -> None:
    cluster = servers.cluster()
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    popper = new_popper(cluster.broker.address, topic, api.fresh("CG"))
    popper.send("first")
    popper.pop(1000)
    expect([message["flag"] for message in popper.pop_all(1, 1000)], ["1"], "flag of what came back")
    cluster.broker.kill()
    cluster.broker.properties["enableRetryTopicV2"] = "true"
    cluster.broker.start()
    servers.wait_registered(cluster.broker)
    popper = new_popper(cluster.broker.address, topic, popper.group)
    popper.send("second")
    flags: dict[str, set[str]] = {"first": set(), "second": set()}

    def both() -> bool:
        for message in popper.pop(1000).messages:
            flags[message["body"]].add(message["flag"])
        return "1" in flags["first"] and "2" in flags["second"]

    expect_that(until(both, 2 * COMES_BACK_S), "first with flag 1, second with flag 2", flags)


@case(
    "pop/12",
    "what a broker of one kind has popped comes back from a broker of the other kind that takes its store over",
    source="PopCheckPoint, AckMsg, consumerOrderInfo.json, messageRequestMode.json",
)
@pytest.mark.parametrize("turn", ["to the official one", "from the official one"])
def test_exchange(turn: str, api: Api, servers: Servers, kind: Kind, new_popper: NewPopper) -> None:
    kinds: list[Kind] = [kind, "official"]
    first, second = kinds if turn.startswith("to") else reversed(kinds)
    name_server = servers.name_server()
    broker = servers.broker(name_server.address, kind=first)
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(name_server.address, topic, 1)
    popper = new_popper(broker.address, topic, group)
    popper.send("a", "b", "c")
    popped = popper.pop(9000)
    expect(popper.ack(popped.messages[1])["code"], 0, "code of an acknowledgement")
    ordered = new_popper(broker.address, topic, api.fresh("CG"))
    out = ordered.pop(600_000, count=2, order="true", attemptId="one", queueId=0)
    expect(out.bodies, ["a", "b"], "bodies of an ordered pop")
    mode = {"topic": topic, "consumerGroup": group, "mode": "POP", "popShareQueueNum": 0}
    expect(popper.ask(SET_MODE, json.dumps(mode).encode())[0]["code"], 0, "code of a mode")
    broker.stop()
    other = servers.broker(name_server.address, kind=second, like=broker)
    heir = new_popper(other.address, topic, ordered.group)
    closed = heir.pop(60_000, count=2, order="true", attemptId="two", queueId=0)
    expect(closed.code, POLLING_TIMEOUT, "code of an ordered pop while messages are out")
    for message in out.messages:
        expect(heir.ack(message)["code"], 0, "code of an acknowledgement to the other broker")
    expect(heir.pop(60_000, order="true", attemptId="two", queueId=0).bodies, ["c"], "what is next in order")
    back = new_popper(other.address, topic, group).pop_all(2, timeout_s=9 + 2 * COMES_BACK_S)
    expect_bodies(back, ["a", "c"])
    modes = json.loads((other.store / "config" / "messageRequestMode.json").read_text())
    expect(modes["messageRequestModeMap"][topic][group]["mode"], "POP", "mode in the file")


@case(
    "pop/13",
    "an assignment follows the mode of the group: queues are shared out, or all of a broker by queue -1, or those of a"
    " few neighbours",
    source="QueryAssignmentProcessor",
)
def test_assignment(popper: Popper, cluster: Cluster, api: Api) -> None:
    popper.topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, popper.topic, 8)
    with ExitStack() as opened:
        members = [opened.enter_context(Member(cluster.broker.address, f"client{n}")) for n in range(4)]
        check_assignments(popper, members)


def check_assignments(popper: Popper, members: list[Member]) -> None:
    """Ask for assignments in each mode."""
    topic, group = popper.topic, popper.group
    for member in members:
        expect(member.join(group, topic)["code"], 0, "code of a heartbeat")

    def assigned(client_id: str, strategy: str = "AVG", model: str = "CLUSTERING") -> list[tuple[int, str]] | None:
        asked = {
            "topic": topic,
            "consumerGroup": group,
            "clientId": client_id,
            "strategyName": strategy,
            "messageModel": model,
        }
        header, body = popper.ask(ASSIGNMENT, json.dumps(asked).encode())
        expect(header["code"], 0, "code of an assignment")
        told = json.loads(body).get("messageQueueAssignments")
        return None if told is None else sorted((each["messageQueue"]["queueId"], each["mode"]) for each in told)

    def mode(name: str, share: int) -> None:
        body = json.dumps({"topic": topic, "consumerGroup": group, "mode": name, "popShareQueueNum": share}).encode()
        expect(popper.ask(SET_MODE, body)[0]["code"], 0, "code of a mode")

    expect(assigned("client1"), [(2, "PULL"), (3, "PULL")], "AVG")
    expect(assigned("client1", "AVG_BY_CIRCLE"), [(1, "PULL"), (5, "PULL")], "AVG_BY_CIRCLE")
    expect(assigned("nobody"), [], "a client that is not there")
    expect(assigned("client1", "NONE"), None, "an unknown strategy")
    expect(assigned("client1", model="BROADCASTING"), [(number, "PULL") for number in range(8)], "broadcasting")
    mode("POP", 0)
    expect(assigned("client1"), [(-1, "POP")], "all queues for everybody")
    mode("POP", 1)
    expect(assigned("client3"), [(0, "POP"), (1, "POP"), (6, "POP"), (7, "POP")], "those of one neighbour too")
    retry = json.dumps({"topic": f"%RETRY%{group}", "consumerGroup": group, "mode": "POP", "popShareQueueNum": 0})
    refused = popper.ask(SET_MODE, retry.encode())[0]
    expect(
        (refused["code"], refused["remark"]), (16, "retry topic is not allowed to set mode"), "mode of a retry topic"
    )
    nowhere = json.dumps({"topic": "nowhere", "consumerGroup": group, "mode": "POP", "popShareQueueNum": 0})
    refused = popper.ask(SET_MODE, nowhere.encode())[0]
    expect(
        (refused["code"], refused["remark"]),
        (NO_TOPIC, "topic[nowhere] not exist"),
        "mode of a topic that is not there",
    )


@case(
    "pop/14",
    "after an administrator has reset the group's offset, pops begin there, and what is out still comes back",
    source="ConsumerOffsetManager.queryThenEraseResetOffset, AdminBrokerProcessor.resetOffset (222)",
)
def test_reset_offset(popper: Popper) -> None:
    popper.send("a", "b", "c")
    expect(popper.pop().bodies, ["a", "b", "c"], "bodies before the reset")
    fields = {"group": popper.group, "timestamp": 0, "isForce": "true", "queueId": 0, "offset": 1}
    expect(popper.ask(RESET_OFFSET, **fields)[0]["code"], 0, "code of a reset")
    again = popper.pop(2000)
    expect(again.bodies, ["b", "c"], "bodies after the reset")
    expect(popper.ack(again.messages[0])["code"], 0, "code of an acknowledgement after the reset")
    expect_bodies(popper.pop_all(1), ["c"])


@case(
    "pop/15",
    "a group that only pops is administered as any: consumerConnection, consumerProgress, resetOffsetByTime, skipAccumulatedMessage",
    source="AdminBrokerProcessor: codes 203, 208, 222; ConsumerOffsetManager",
)  # fmt: skip
def test_administration(popper: Popper, api: Api, cluster: Cluster) -> None:
    topic, group = popper.topic, popper.group
    popper.send(*"abcdef")
    popped = popper.pop(count=4)
    expect(popped.bodies, [*"abcd"], "bodies of a pop")
    for message in popped.messages[:2]:
        expect(popper.ack(message)["code"], 0, "code of an acknowledgement")

    def progress() -> list[str]:
        printed = api.mqadmin(cluster.namesrv, "consumerProgress", "-g", group)
        return next(
            (line.split()[2:7] for line in printed.splitlines() if line.split()[:3] == [topic, "broker-a", "0"]), []
        )

    with Member(cluster.broker.address, "member") as member:  # whose heartbeat makes the retry topic, which tools go by
        member.join(group, topic)
        cluster.wait_route(f"%RETRY%{group}")
        printed = api.mqadmin(cluster.namesrv, "consumerConnection", "-g", group)
        expect_that("member" in printed and topic in printed, "the client and what it subscribes to", printed)
        expect(
            progress(),
            ["0", "6", "4", "2", "0"],
            "queue, its end, offset of the group, what is left, what is in flight",
        )
        reset = api.mqadmin(cluster.namesrv, "resetOffsetByTime", "-g", group, "-t", topic, "-s", "1")
        expect_that(re.search(r"broker-a\s+0\s+0\s", reset) is not None, "queue 0 reset to 0", reset)
        expect(popper.pop().bodies, [*"abcdef"], "bodies after the reset")
        popper.send("g")
        skipped = api.mqadmin(cluster.namesrv, "skipAccumulatedMessage", "-g", group, "-t", topic)
        expect_that(re.search(r"broker-a\s+0\s+7\s", skipped) is not None, "queue 0 skipped to 7", skipped)
        popper.send("new")
        expect(popper.pop().bodies, ["new"], "bodies after what was there is skipped")
        expect(progress()[:4], ["0", "8", "8", "0"], "queue, its end, offset of the group, what is left")
