"""The counters that VIEW_BROKER_STATS_DATA tells, by name and key, as monitors and dashboards ask for them."""

from __future__ import annotations

import json
from typing import Any

from interop import raw
from interop.api import Api
from interop.case import case, expect, expect_that
from interop.cluster import Servers
from interop.driver import until
from interop.popping import Popper
from interop.requests import CONSUMER_SEND_MSG_BACK, SUCCESS, SYSTEM_ERROR

VIEW_STATS = 315
SCHEDULE = "SCHEDULE_TOPIC_XXXX"
SOURCE = "BrokerStatsManager, StatsItem 5.5.0; code 315"


def minute(broker: str, name: str, key: str) -> dict[str, Any] | None:
    """What a counter says of the last minute; None when there is none."""
    header, body = raw.request(broker, VIEW_STATS, {"statsName": name, "statsKey": key})
    if header["code"] != SUCCESS:
        expect((header["code"], header["remark"]), (SYSTEM_ERROR, f"The stats <{name}> <{key}> not exist"))
        return None
    told = json.loads(body)
    expect(sorted(told), ["statsDay", "statsHour", "statsMinute"], "windows")
    found: dict[str, Any] = told["statsMinute"]
    return found


@case("statistics/1", "what happened is counted under the official names and keys", source=SOURCE)
def test_counters(api: Api, servers: Servers) -> None:
    cluster = servers.cluster()
    topic, group, broker = api.fresh("counted"), api.fresh("CG"), cluster.broker.address
    api.create_topic(cluster.namesrv, topic, 1)
    popper = Popper(broker, topic, group)
    with popper.connection:
        popper.send(*(f"m-{number}" for number in range(6)))
        popper.send("later", DELAY="1")
        messages = popper.pop_all(7)
        expect(len(messages), 7, "messages that were popped, the delayed one among them")
        for message in messages[:3]:
            expect(popper.ack(message)["code"], SUCCESS, "an acknowledgement")
        expect(popper.change(messages[3], 60_000)["code"], SUCCESS, "another time")
    pulled = api.pull_consumer(cluster.namesrv, "5.5.0", group=group).pull(topic, 0, 0, max=1)
    address = int(pulled["messages"][0]["offset_msg_id"][16:], 16)
    fields = {
        "offset": str(address),
        "group": group,
        "delayLevel": "-1",
        "originTopic": topic,
        "maxReconsumeTimes": "3",
    }
    answer, _ = raw.request(broker, CONSUMER_SEND_MSG_BACK, fields)
    expect(answer["code"], SUCCESS, "sending back")

    sums = {
        ("TOPIC_PUT_NUMS", topic): 7,
        ("TOPIC_PUT_NUMS", SCHEDULE): None,
        ("QUEUE_PUT_NUMS", f"{SCHEDULE}@0"): 1,
        ("QUEUE_GET_NUMS", f"{SCHEDULE}@0@SCHEDULE_CONSUMER"): 1,
        ("GROUP_GET_NUMS", f"{SCHEDULE}@SCHEDULE_CONSUMER"): 1,
        ("GROUP_GET_NUMS", f"{topic}@{group}"): 8,
        ("GROUP_ACK_NUMS", f"{topic}@{group}"): 4,
        ("GROUP_CK_NUMS", f"{topic}@{group}"): None,
        ("BROKER_ACK_NUMS", "DefaultCluster"): 4,
        ("SNDBCK_PUT_NUMS", f"{topic}@{group}"): 1,
        ("SNDBCK2DLQ_TIMES", f"null@{topic}@{group}@SEND_BACK_TO_DLQ"): 1,
    }

    def counted() -> dict[tuple[str, str], int | None]:
        told = {row: minute(broker, *row) for row in sums}
        return {row: None if found is None else found["sum"] for row, found in told.items()}

    wanted = {row: value for row, value in sums.items() if value is not None}
    until(lambda: wanted.items() <= counted().items(), 25)
    expect({row: value for row, value in counted().items() if row in wanted}, wanted, "sums of the last minute")
    for row in sums:
        expect_that((counted()[row] or 0) > 0, f"something counted as {row}", counted()[row])
    for name, key in (
        ("TOPIC_PUT_SIZE", topic),
        ("QUEUE_PUT_SIZE", f"{SCHEDULE}@0"),
        ("QUEUE_GET_SIZE", f"{SCHEDULE}@0@SCHEDULE_CONSUMER"),
        ("GROUP_GET_SIZE", f"{topic}@{group}"),
        ("BROKER_PUT_NUMS", "DefaultCluster"),
        ("BROKER_GET_NUMS", "DefaultCluster"),
        ("BROKER_CK_NUMS", "DefaultCluster"),
        ("BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", "DefaultCluster"),
        ("BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC", "DefaultCluster"),
    ):
        expect_that((minute(broker, name, key) or {"sum": 0})["sum"] > 0, f"{name} of {key}", minute(broker, name, key))
    for name, key in (("TOPIC_PUT_LATENCY", f"0@{topic}"), ("GROUP_GET_LATENCY", f"0@{topic}@{group}")):
        expect_that(minute(broker, name, key) is not None, f"{name} of {key}", None)


@case("statistics/2", "what the official broker never counts does not exist", source=SOURCE)
def test_absent(api: Api, cluster: Any) -> None:
    for name in ("DLQ_PUT_NUMS", "GROUP_GET_FALL_SIZE", "GROUP_GET_FALL_TIME", "COMMERCIAL_SEND_TIMES", "ABSENT"):
        expect(minute(cluster.broker.address, name, "DefaultCluster"), None, name)
