"""Messages with a moment of delivery (5.x timer), and taking them back."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any

import pytest

from interop import raw
from interop.api import Api, bodies, steady
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster, Servers
from interop.driver import DriverError
from interop.server import Broker

MESSAGE_ILLEGAL, NO_PERMISSION, TOPIC_NOT_EXIST, ILLEGAL_OPERATION = 13, 16, 17, 604
GET_TIMER_CHECK_POINT, GET_TIMER_METRICS, RECALL_MESSAGE = 60, 61, 370
MAX_DELAY_S = 259_200
LATE_MS = 6000
"""A slot is a second, but the machine may be busy; tests on a simulated clock show how late exactly."""
RECALLS = {"recallMessageEnable": "true"}

Setter = Callable[[int], dict[str, str]]
SETTERS: dict[str, Setter] = {
    "setDelayTimeSec": lambda ms: {"delay_s": str(ms // 1000)},
    "setDelayTimeMs": lambda ms: {"delay_ms": str(ms)},
    "setDeliverTimeMs": lambda ms: {"deliver_ms": str(now_ms() + ms)},
}


def now_ms() -> int:
    """Return the time of this machine, which all processes share."""
    return time.time_ns() // 1_000_000


def expect_delay(message: dict[str, Any], due_ms: int, earliest_ms: int | None = None) -> None:
    """Check when a message came to its real topic."""
    stored_ms = message["stored_at_ms"]
    expect_that(
        (earliest_ms or due_ms) <= stored_ms <= due_ms + LATE_MS,
        f"delivered not before it is due and at most {LATE_MS} ms later",
        f"{stored_ms - due_ms} ms after it was due",
    )


@case(
    "timers/1",
    "a message with a delay in seconds, in milliseconds or with a moment comes whole, not early and not late",
    source="HookUtils.transformTimerMessage, TimerMessageStore.convert",
)
def test_setters(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 4)
    consumer = api.consumer(cluster.namesrv, topic)
    producer = api.producer(cluster.namesrv)
    message = {"tag": "TagA", "keys": "k1 k2", "flag": 7, "properties": {"colour": "green"}}
    sent: dict[str, tuple[dict[str, Any], int, int]] = {}
    for setter, fields in SETTERS.items():
        began_ms = now_ms()
        (result,) = producer.send(topic, [{"body": setter, **message, **fields(2000)}], queue_id=2)
        sent[setter] = result, began_ms, now_ms()
        expect((result["status"], result["queue_id"]), ("SEND_OK", 2), "the answer tells the real queue")
    for got in consumer.wait_bodies(SETTERS):
        result, began_ms, sent_ms = sent[got["body"]]
        expect_delay(got, sent_ms + 2000, began_ms + 2000)
        expect(
            {key: got[key] for key in ("tag", "keys", "flag", "queue_id", "reconsume_times")},
            {"tag": "TagA", "keys": "k1 k2", "flag": 7, "queue_id": 2, "reconsume_times": 0},
        )
        properties = got["properties"]
        expect(properties.get("colour"), "green")
        expect((properties.get("REAL_TOPIC"), properties.get("REAL_QID")), (topic, "2"), "REAL_TOPIC and REAL_QID")
        out_ms = int(properties["TIMER_OUT_MS"])
        expect(out_ms % 1000, 0, "TIMER_OUT_MS is the time of a slot")
        expect_that(int(properties["TIMER_ENQUEUE_MS"]) <= out_ms, "TIMER_ENQUEUE_MS before TIMER_OUT_MS", properties)
        expect_that(int(properties["TIMER_DEQUEUE_MS"]) > out_ms, "TIMER_DEQUEUE_MS after TIMER_OUT_MS", properties)
        handle = base64.urlsafe_b64decode(result["recall_handle"]).decode()
        expect(handle, f"v1 {topic} broker-a {out_ms + 1} {result['msg_id']}", "recall handle")
    steady(lambda: len(consumer.received()))
    expect_bodies(consumer.received(), list(SETTERS))
    expect_bodies(api.pull_consumer(cluster.namesrv).query(topic, "k1"), list(SETTERS))


@case(
    "timers/2",
    "a message of a Go client with a timer property is delivered at its time",
    source="HookUtils.checkIfTimerMessage",
)
@pytest.mark.parametrize(("name", "value"), [("TIMER_DELAY_SEC", "1"), ("TIMER_DELAY_MS", "1300")])
def test_go(name: str, value: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv, "go")
    began_ms = now_ms()
    producer.send(topic, [{"body": "later", "properties": {name: value}}])
    delay_ms = 1000 if name.endswith("SEC") else 1300
    (got,) = api.consumer(cluster.namesrv, topic).wait(1)
    expect_delay(got, began_ms + delay_ms)


@case(
    "timers/3",
    "a moment that is past, or a delay of nothing or less, delivers at once, as a message without a delay",
    source="HookUtils.transformTimerMessage",
)
@pytest.mark.parametrize("fields", [{"deliver_ms": "1000"}, {"delay_s": "0"}, {"delay_ms": "-5"}], ids=str)
def test_past(fields: dict[str, str], api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    producer = api.producer(cluster.namesrv)
    (result,) = producer.send(topic, [{"body": "now", **fields}])
    expect(result["recall_handle"], None, "recall handle")
    (got,) = api.pull_consumer(cluster.namesrv).read_all(topic)
    expect(got["body"], "now")
    expect({key for key in got["properties"] if key.startswith(("TIMER_", "REAL_"))} - {"TIMER_DELIVER_MS",
           "TIMER_DELAY_SEC", "TIMER_DELAY_MS"}, set(), "properties of a timer")  # fmt: skip


@case(
    "timers/4",
    "a delay beyond timerMaxDelaySec is refused as illegal, and one of exactly that length is taken",
    source="HookUtils.transformTimerMessage, SendMessageProcessor.handlePutMessageResult",
)
def test_too_far(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    producer = api.producer(cluster.namesrv, retries=0)
    for fields in (
        {"delay_s": str(MAX_DELAY_S + 1)},
        {"delay_ms": str((MAX_DELAY_S + 1) * 1000)},
        {"deliver_ms": str(now_ms() + (MAX_DELAY_S + 60) * 1000)},
    ):
        with pytest.raises(DriverError) as refused:
            producer.send(topic, [{"body": "far", **fields}])
        expect(refused.value.code, MESSAGE_ILLEGAL, "response code")
        expect_that(
            "timer message illegal, the delay time should not be bigger than the max delay 259200000ms; or if set del"
            " msg, the delay time should be bigger than the current time" in refused.value.message,
            "the official remark",
            refused.value.message,
        )
    (result,) = producer.send(topic, [{"body": "far", "delay_s": str(MAX_DELAY_S)}])
    expect(result["status"], "SEND_OK")


@case(
    "timers/5",
    "a timer property that is no number is refused as illegal",
    source="HookUtils.transformTimerMessage",
)
@pytest.mark.parametrize("name", ["TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"])
@pytest.mark.parametrize("value", ["soon", "1.5", "99999999999999999999"])
def test_no_number(name: str, value: str, api: Api, cluster: Cluster) -> None:
    header = send(cluster, api.fresh("topic"), f"{name}\x01{value}\x02")
    expect(header["code"], MESSAGE_ILLEGAL, "response code")
    expect_that("timer message illegal" in header["remark"], "the official remark", header["remark"])


@case(
    "timers/6",
    "of several timer properties seconds win over milliseconds and these over the moment; a delay level wins over all",
    source="HookUtils.checkIfTimerMessage, transformTimerMessage",
)
def test_which_wins(api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    day_ms = 86_400_000
    began_ms = now_ms()
    send(cluster, topic, f"TIMER_DELAY_SEC\x011\x02TIMER_DELAY_MS\x01{day_ms}\x02TIMER_DELIVER_MS\x011\x02", b"s")
    send(cluster, topic, f"TIMER_DELAY_MS\x011000\x02TIMER_DELIVER_MS\x01{began_ms + day_ms}\x02", b"ms")
    send(cluster, topic, f"DELAY\x011\x02TIMER_DELAY_SEC\x01{day_ms}\x02", b"level")
    got = api.consumer(cluster.namesrv, topic).wait(3)
    expect_bodies(got, ["s", "ms", "level"])
    for message in got:
        expect_delay(message, began_ms + 1000)
    (level,) = [message for message in got if message["body"] == "level"]
    expect("TIMER_DELAY_SEC" in level["properties"], False, "timer property beside a delay level")


@case(
    "timers/7",
    "messages that wait survive a stop or kill: each is delivered, none early, and those due meanwhile at once",
    source="TimerMessageStore.recover",
)
@pytest.mark.parametrize("crash", [False, True], ids=["stopped", "killed"])
def test_restart(crash: bool, api: Api, servers: Servers) -> None:
    cluster = servers.cluster()
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 4)
    due = send_pending(api, cluster.namesrv, topic)
    time.sleep(1.5)  # an official broker takes what came after its last flush, a second ago, twice
    if crash:
        cluster.broker.kill()
    else:
        cluster.broker.stop()
    cluster.broker.start()
    servers.wait_registered(cluster.broker)
    check_delivered(api, cluster.namesrv, topic, due, crash)


@case(
    "timers/8",
    "a store with waiting timer messages goes from an official broker to the one under test, which delivers them",
    source="timerwheel, timerlog, config/timercheck, config/timermetrics of 5.5.0",
)
@pytest.mark.parametrize(
    "crash",
    [
        pytest.param(False, id="stopped", marks=pytest.mark.long),
        pytest.param(True, id="killed", marks=pytest.mark.long),
    ],
)
def test_from_official(crash: bool, api: Api, servers: Servers) -> None:
    hand_over(api, servers, crash, {"kind": "official", "version": "5.5.0"}, {})


@case(
    "timers/9",
    "a store with waiting timer messages goes from the broker under test to an official one, which delivers them",
    source="timerwheel, timerlog, config/timercheck, config/timermetrics of 5.5.0",
)
def test_to_official(api: Api, servers: Servers) -> None:
    hand_over(api, servers, False, {}, {"kind": "official", "version": "5.5.0"})


@case(
    "timers/10",
    "a producer takes a waiting message back by its handle, and it alone is not delivered",
    source="RecallMessageProcessor, TimerMessageStore.dequeue",
)
def test_recall(api: Api, servers: Servers) -> None:
    cluster = servers.cluster(RECALLS)
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv)
    consumer = api.consumer(cluster.namesrv, topic)
    due_ms = now_ms() + 4000
    results = producer.send(topic, [{"body": body, "deliver_ms": str(due_ms)} for body in bodies(6)])
    for number in (1, 4):
        answer = producer.call("recall", producer=producer.name, topic=topic, handle=results[number]["recall_handle"])
        expect(answer["msg_id"], results[number]["msg_id"], "message id of the answer")
    expect_that(now_ms() < due_ms, "everything was sent before it was due", now_ms() - due_ms)
    left = [body for number, body in enumerate(bodies(6)) if number not in (1, 4)]
    consumer.wait_bodies(left)
    expect(steady(lambda: len(consumer.received())), len(left), "messages that came")
    expect_bodies(consumer.received(), left)
    header, body = raw.request(cluster.broker.address, GET_TIMER_METRICS)
    expect(header["code"], 0)
    expect_that(f'"{topic}":{{"count":0,' in body.decode(), "no message of the topic waits", body.decode())


@case(
    "timers/11",
    "recalls that cannot be are refused: forbidden, unknown topic, no handle, of another topic or broker, too late",
    source="RecallMessageProcessor.processRequest, RecallMessageHandle.decodeHandle",
)
def test_bad_recalls(api: Api, cluster: Cluster, servers: Servers) -> None:
    topic = api.fresh("topic")

    def handle(*items: object) -> str:
        return base64.urlsafe_b64encode(" ".join(map(str, items)).encode()).decode()

    good = handle("v1", topic, "broker-a", now_ms() + 3_600_000, "ID")
    expect(recall(cluster.broker, topic, good), (NO_PERMISSION, "recall failed, operation is forbidden"))
    allowed = servers.cluster(RECALLS)
    expect(recall(allowed.broker, topic, good), (TOPIC_NOT_EXIST, f"recall failed, the topic[{topic}] not exist"))
    api.create_topic(allowed.namesrv, topic, 1)
    invalid = (ILLEGAL_OPERATION, "recall handle is invalid")
    expect(recall(allowed.broker, topic, "%%%"), invalid)
    expect(recall(allowed.broker, topic, handle("v2", topic, "broker-a", now_ms() + 3_600_000, "ID")), invalid)
    expect(recall(allowed.broker, topic, handle("v1", topic, "broker-a", now_ms() + 3_600_000)), invalid)
    expect(
        recall(allowed.broker, topic, handle("v1", topic, "broker-b", now_ms() + 3_600_000, "ID")),
        (ILLEGAL_OPERATION, "recall failed, broker service not available"),
    )
    expect(
        recall(allowed.broker, topic, handle("v1", "other", "broker-a", now_ms() + 3_600_000, "ID")),
        (ILLEGAL_OPERATION, "recall failed, topic not match"),
    )
    for timestamp in (now_ms() - 1, now_ms() + (MAX_DELAY_S + 60) * 1000, "soon"):
        expect(
            recall(allowed.broker, topic, handle("v1", topic, "broker-a", timestamp, "ID")),
            (ILLEGAL_OPERATION, "recall failed, timestamp invalid"),
        )
    expect(recall(allowed.broker, topic, good)[0], 0, "code of a recall")
    expect(recall(allowed.broker, topic, good.rstrip("="))[0], 0, "code of a recall by a handle without padding")


@case(
    "timers/12",
    "a message further off than timerRollWindowSlot is put off more than once, and delivered at its time",
    source="TimerMessageStore.doEnqueue",
)
def test_roll(api: Api, servers: Servers) -> None:
    cluster = servers.cluster({"timerRollWindowSlot": 2})
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    due_ms = now_ms() + 6000
    api.producer(cluster.namesrv).send(topic, [{"body": "far", "deliver_ms": str(due_ms)}])
    (got,) = api.consumer(cluster.namesrv, topic).wait(1)
    expect_delay(got, due_ms)
    expect_that(int(got["properties"]["TIMER_ROLL_TIMES"]) >= 1, "it was put off again", got["properties"])


@case(
    "timers/13",
    "without timerWheelEnable timer messages are refused, and recalls have no timer to go to",
    source="HookUtils.handleScheduleMessage",
)
def test_disabled(api: Api, servers: Servers) -> None:
    cluster = servers.cluster({"timerWheelEnable": "false"})
    header = send(cluster, api.fresh("topic"), "TIMER_DELAY_SEC\x011\x02")
    expect((header["code"], header["remark"]),
           (1, "accurate timer message is not enabled, timerWheelEnable is false"))  # fmt: skip
    header, _ = raw.request(cluster.broker.address, GET_TIMER_CHECK_POINT)
    expect((header["code"], header["remark"]), (1, "The checkpoint is null"))
    header, _ = raw.request(cluster.broker.address, GET_TIMER_METRICS)
    expect((header["code"], header["remark"]), (1, "The timer message store is null"))


@case(
    "timers/14",
    "the checkpoint of the timer is 56 bytes, of a time that is now",
    source="AdminBrokerProcessor.getTimerCheckPoint, TimerCheckpoint.encode",
)
def test_checkpoint(cluster: Cluster) -> None:
    header, body = raw.request(cluster.broker.address, GET_TIMER_CHECK_POINT)
    expect((header["code"], len(body)), (0, 56), "code and length of the body")
    read_ms = int.from_bytes(body[:8], "big")
    expect_that(0 <= now_ms() - read_ms < 10_000, "the time of the next slot", now_ms() - read_ms)


def send(cluster: Cluster, topic: str, properties: str, body: bytes = b"m") -> dict[str, Any]:
    """Send a message with a property text as it is, and return the header of the answer."""
    fields = {
        "producerGroup": "PG", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": 1, "queueId": 0,
        "sysFlag": 0, "bornTimestamp": now_ms(), "flag": 0, "properties": properties, "reconsumeTimes": 0,
        "unitMode": "false", "batch": "false",
    }  # fmt: skip
    header, _ = raw.request(cluster.broker.address, 10, {k: str(v) for k, v in fields.items()}, body)
    return header


def recall(broker: Broker, topic: str, handle: str) -> tuple[int, str | None]:
    """Recall, and return code and remark."""
    fields = {"producerGroup": "PG", "topic": topic, "recallHandle": handle}
    header, _ = raw.request(broker.address, RECALL_MESSAGE, fields)
    return header["code"], header.get("remark")


def send_pending(api: Api, namesrv: str, topic: str) -> dict[str, int]:
    """Send messages that are due in a moment, some seconds and many; return when each is due."""
    producer = api.producer(namesrv)
    base_ms = now_ms()
    due = {f"{word}-{number}": base_ms + delay_ms + number * 100
           for word, delay_ms in (("soon", 3000), ("later", 12_000)) for number in range(20)}  # fmt: skip
    results = producer.send(topic, [{"body": body, "deliver_ms": str(at_ms)} for body, at_ms in due.items()])
    expect({result["status"] for result in results}, {"SEND_OK"})
    producer.stop()
    return due


def check_delivered(api: Api, namesrv: str, topic: str, due: dict[str, int], crash: bool) -> None:
    """Check that everything comes, nothing early, and that what was due after the restart is not late."""
    up_ms = now_ms()
    consumer = api.consumer(namesrv, topic)
    got = consumer.wait_bodies(due)
    for message in got:
        at_ms = due[message["body"]]
        expect_that(message["stored_at_ms"] >= at_ms, "nothing early", message["stored_at_ms"] - at_ms)
        expect_that(message["stored_at_ms"] <= max(at_ms, up_ms) + 2 * LATE_MS, "nothing late",
                    message["stored_at_ms"] - max(at_ms, up_ms))  # fmt: skip
    counts = {body: sum(message["body"] == body for message in got) for body in due}
    # On a busy machine the first may have been delivered just before the crash, and are then delivered once more.
    once = {body for body in due if not crash or body.startswith("later")}
    expect({body: counts[body] for body in once if counts[body] != 1}, {}, "bodies that did not come once")


def hand_over(api: Api, servers: Servers, crash: bool, first: dict[str, str], second: dict[str, str]) -> None:
    """Let a broker take messages and another one deliver them."""
    name_server = servers.name_server()
    old = servers.broker(name_server.address, **first)  # type: ignore[arg-type]
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 4)
    due = send_pending(api, name_server.address, topic)
    time.sleep(1.5)  # so that the files were flushed once
    if crash:
        old.kill()
    else:
        old.stop()
    servers.broker(name_server.address, like=old, **second)  # type: ignore[arg-type]
    check_delivered(api, name_server.address, topic, due, crash)
