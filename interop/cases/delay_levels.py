"""Messages with a delay level: when they come, and that no restart loses them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from interop import raw
from interop.api import Api
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster, Kind, Servers
from interop.driver import Line, until
from interop.requests import SEND_MESSAGE, SUCCESS, bounds, send_fields
from interop.server import Broker

CLIENTS = ["3.2.6", "5.5.0", "go"]
SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX"
LEVELS_S = [1, 2, 1, 3, *[1, 2] * 7]
LEVELS = " ".join(f"{seconds}s" for seconds in LEVELS_S)
LATE_MS = 1000
BUSY_MS = 3000
"""For the way to the broker, and what a busy machine adds; the unit tests hold the second exactly, on a simulated clock."""


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory, kind: Kind, official_version: str) -> Iterator[Cluster]:
    """Servers with eighteen short delay levels."""
    servers = Servers(tmp_path_factory.mktemp("delays"), kind, official_version)
    yield servers.cluster({"messageDelayLevel": LEVELS})
    servers.close()


def delayed(*levels: int) -> list[dict[str, Any]]:
    """Return a message of each level, whose body tells it."""
    return [{"body": f"level {level}", "delay_level": level, "tag": "T", "keys": f"k{level}"} for level in levels]


def delay_ms(message: Line) -> int:
    """How long after it was made a message was stored in its own topic."""
    return int(message["stored_at_ms"] - message["born_at_ms"])


def expect_on_time(messages: list[Line], wanted_ms: dict[str, int]) -> None:
    """Fail unless each was delivered not early and at most a second late, on a machine that is not busy."""
    delays = {message["body"]: delay_ms(message) for message in messages}
    wrong = {body: delay for body, delay in delays.items() if not 0 <= delay - wanted_ms[body] <= LATE_MS + BUSY_MS}
    expect(wrong, {}, "bodies, with the delay in ms, of what came early or late")


@case(
    "delay_levels/1",
    "a message of each of the eighteen levels comes when it is due, not early and at most 1 s late, as it was sent",
    source="ScheduleMessageService; messageDelayLevel",
)
@pytest.mark.parametrize("version", CLIENTS)
def test_all_levels(version: str, api: Api, quick: Cluster, request: pytest.FixtureRequest) -> None:
    if version == "go":
        request.getfixturevalue("go")
    topic = api.fresh("topic")
    api.create_topic(quick.namesrv, topic, 2)
    consumer = api.consumer(quick.namesrv, topic, version, expression="T")
    sent = api.producer(quick.namesrv, version).send(topic, delayed(*range(1, 19)))
    expect({r["status"] for r in sent}, {"SEND_OK"}, "status")
    came = consumer.wait(18)
    expect_bodies(came, [f"level {level}" for level in range(1, 19)])
    expect_on_time(came, {f"level {level}": 1000 * seconds for level, seconds in enumerate(LEVELS_S, 1)})
    by_body = {m["body"]: m for m in came}
    for level, result in enumerate(sent, 1):
        message = by_body[f"level {level}"]
        properties = message["properties"]
        expect((message["tag"], message["keys"], message["topic"]), ("T", f"k{level}", topic), "tag, keys, topic")
        if version != "3.2.6":  # which gives its messages no unique id; the broker does
            expect(properties["UNIQ_KEY"], result["msg_id"], "unique id")
        expect((properties["DELAY"], properties["REAL_TOPIC"]), (str(level), topic), "properties of a delayed message")
        expect(properties["REAL_QID"], str(message["queue_id"]), "REAL_QID")


@case(
    "delay_levels/2",
    "a level above the highest is the highest; zero, a negative one and text that is no number are none",
    source="HookUtils.transformDelayLevelMessage; Message.getDelayTimeLevel",
)
def test_level_out_of_range(api: Api, quick: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(quick.namesrv, topic, 1)
    for body, level in (("above", "99"), ("zero", "0"), ("negative", "-3")):
        properties = {"DELAY": level, "UNIQ_KEY": f"U{body}"}
        answer, _ = raw.request(quick.broker.address, SEND_MESSAGE, send_fields(topic, 0, properties), body.encode())
        expect(answer["code"], SUCCESS, f"code for DELAY={level}")
    consumer = api.consumer(quick.namesrv, topic)
    came = consumer.wait_bodies(["above", "zero", "negative"])
    expect_on_time(came, {"above": 1000 * LEVELS_S[-1], "zero": 0, "negative": 0})
    told = {m["body"]: m["properties"] for m in came}
    expect(told["above"]["DELAY"], "18", "DELAY of the one above")


@case(
    "delay_levels/3",
    "delayed messages lie in SCHEDULE_TOPIC_XXXX, queue level - 1, and 200 that are due together come together",
    source="ScheduleMessageService.delayLevel2QueueId",
)
def test_where_they_lie(api: Api, quick: Cluster) -> None:
    topic = api.fresh("topic")
    api.create_topic(quick.namesrv, topic, 4)
    before = [bounds(quick.broker.address, SCHEDULE_TOPIC, q)[1] for q in range(18)]
    producer = api.producer(quick.namesrv)
    consumer = api.consumer(quick.namesrv, topic)
    sent = [{"body": f"m{n}", "delay_level": 4} for n in range(200)]
    producer.send(topic, sent, "async")
    expect(until(lambda: bounds(quick.broker.address, SCHEDULE_TOPIC, 3)[1] == before[3] + 200), True, "200 in queue 3")
    came = consumer.wait(200)
    expect_bodies(came, [m["body"] for m in sent])
    expect_on_time(came, {m["body"]: 3000 for m in sent})
    after = [bounds(quick.broker.address, SCHEDULE_TOPIC, q)[1] for q in range(18)]
    expect(
        [a - b for a, b in zip(after, before, strict=True)],
        [200 if q == 3 else 0 for q in range(18)],
        "messages by queue",
    )


@case(
    "delay_levels/4",
    "messages that wait while the broker is stopped, or killed, come when it is back, each at its time or at once if that is over",
    source="ScheduleMessageService.load; delayOffset.json",
)  # fmt: skip
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_restart(how: str, api: Api, servers: Servers) -> None:
    cluster = servers.cluster({"messageDelayLevel": "1s 30s 8s"})
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    producer = api.producer(cluster.namesrv)
    producer.send(topic, [{"body": "early", "delay_level": 1}])
    reader = api.pull_consumer(cluster.namesrv)
    expect(until(lambda: reader.offsets(topic, 0)["max"] == 1, 60), True, "the first is delivered")
    producer.send(topic, [{"body": f"m{n}", "delay_level": 1 if n % 2 else 3} for n in range(40)])
    sent_at = time.monotonic()
    cluster.broker.stop() if how == "stopped" else cluster.broker.kill()
    if how == "stopped":
        table = json.loads(delay_offsets(cluster.broker))["offsetTable"]
        expect(table["1"] >= 1, True, f"delayOffset.json tells that level 1 is beyond 0: {table}")
    time.sleep(1)
    cluster.broker.start()
    servers.wait_registered(cluster.broker)
    back_s = time.monotonic() - sent_at
    consumer = api.consumer(cluster.namesrv, topic)
    wanted = ["early", *(f"m{n}" for n in range(40))]
    came = consumer.wait_bodies(wanted)
    expect_bodies(came, wanted, once=how == "stopped")
    late = [delay_ms(m) for m in came if m["body"] not in ("early",) and int(m["body"][1:]) % 2 == 0]
    expect_that(
        all(8000 <= delay <= max(8000, back_s * 1000) + LATE_MS + BUSY_MS for delay in late),
        "level 3 after 8 s, or at the broker's return", sorted(late),
    )  # fmt: skip


def delay_offsets(broker: Broker) -> str:
    """Return delayOffset.json with its keys quoted."""
    return re.sub(r"([{,]\s*)(\d+)\s*:", r'\1"\2":', (broker.store / "config" / "delayOffset.json").read_text())


@case(
    "delay_levels/5",
    "what waits in a store is delivered by the broker of the other kind that takes it over: the bytes are the same",
    source="SCHEDULE_TOPIC_XXXX, delayOffset.json of 4.7.0 and 5.5.0",
)
@pytest.mark.parametrize(
    ("version", "first", "second", "how"),
    [
        pytest.param(*("4.7.0", "official", "tested", "killed"), marks=pytest.mark.long),
        pytest.param(*("5.5.0", "official", "tested", "stopped"), marks=pytest.mark.long),
        ("4.7.0", "tested", "official", "stopped"),
        pytest.param(*("5.5.0", "tested", "official", "killed"), marks=pytest.mark.long),
    ],
)
def test_exchange(version: str, first: str, second: str, how: str, api: Api, servers: Servers) -> None:
    kinds: dict[str, Kind] = {"official": "official", "tested": servers.kind}
    crash = how == "killed"
    name_server = servers.name_server()
    properties = {"messageDelayLevel": "1s 4s 6s"}
    old = servers.broker(name_server.address, properties, kind=kinds[first], version=version)
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(name_server.address, topic, 2)
    producer = api.producer(name_server.address)
    reader = api.pull_consumer(name_server.address)
    producer.send(topic, [{"body": "early", "delay_level": 1}])

    def count() -> int:
        return sum(int(reader.offsets(topic, q)["max"]) for q in range(2))

    expect(until(lambda: count() == 1, 60), True, "the first is delivered")
    sent = [
        {"body": f"m{n}", "delay_level": 2 + n % 2, "tag": "T", "keys": f"k{n}", "properties": {"n": str(n)}}
        for n in range(24)
    ]
    producer.send(topic, sent)
    producer.stop()
    old.kill() if crash else old.stop()
    servers.broker(name_server.address, properties, kind=kinds[second], version=version, like=old)
    consumer = api.consumer(name_server.address, topic, group=group)
    wanted = ["early", *(m["body"] for m in sent)]
    came = consumer.wait_bodies(wanted)
    # The official 4.7.0 broker writes delayOffset.json every 10 s, and not when it stops.
    expect_bodies(came, wanted, once=not crash and not (kinds[first] == "official" and version == "4.7.0"))
    told = {m["body"]: m for m in came}
    for message in sent:
        got = told[message["body"]]
        expect(
            (got["tag"], got["keys"], got["properties"]["n"], got["properties"]["DELAY"]),
            ("T", message["keys"], message["properties"]["n"], str(message["delay_level"])), "tag, keys, property, DELAY",
        )  # fmt: skip
        least_ms = 4000 if message["delay_level"] == 2 else 6000
        expect_that(delay_ms(got) >= least_ms, f"delivered after {least_ms} ms or more", delay_ms(got))
