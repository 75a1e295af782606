"""Counters and the rates made of them."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld
from twisted.logger import capturedLogs, formatEvent

from rmqd.protocol.broker.stats import BrokerStats
from rmqd.store.errors import StoreDamaged


class Counted:
    def __init__(self, start_ms: int = 1_795_000_000_000) -> None:
        self.now_ms = start_ms
        self.stats = BrokerStats(
            "C", lambda: self.now_ms, lambda ms: datetime.fromtimestamp(ms / 1000, tz=timezone.utc)
        )

    def pass_seconds(self, seconds: int, puts_per_second: int = 0) -> None:
        for _ in range(seconds):
            if puts_per_second:
                self.stats.put("T", puts_per_second, 100 * puts_per_second)
            self.now_ms += 1000
            self.stats.sample()


def test_rates_need_a_whole_window() -> None:
    """clusterList shows messages per second over 10, 60 and 600 seconds, 0 until so much time has passed."""
    world = Counted()
    world.pass_seconds(11, 50)
    assert world.stats.rates()["putTps"] == "50.0 0.0 0.0"
    world.pass_seconds(60, 20)
    assert world.stats.rates()["putTps"] == "20.0 20.0 0.0"
    world.pass_seconds(600)
    ten, sixty, many = map(float, world.stats.rates()["putTps"].split())
    assert (ten, sixty) == (0.0, 0.0)
    assert many == 0.0
    rates = world.stats.rates()
    assert rates["getTransferredTps"] == rates["getTransferedTps"], "both spellings that tools parse"


def test_gets_count_messages_and_pulls() -> None:
    """Found and missed pulls are told apart from the messages they brought."""
    world = Counted()
    world.pass_seconds(1)
    for _ in range(10):
        world.stats.get("g", "T", 32, 3200)
        world.stats.get_missed()
        world.pass_seconds(1)
    rates = world.stats.rates()
    assert rates["getFoundTps"].split()[0] == "1.0"
    assert rates["getMissTps"].split()[0] == "1.0"
    assert rates["getTotalTps"].split()[0] == "2.0"
    assert rates["getTransferredTps"].split()[0] == "32.0"
    assert world.stats.get_count == 320


def test_a_topic_has_numbers_of_its_own() -> None:
    """A monitor sees the rate of one topic and one group; the first messages count."""
    world = Counted()
    world.pass_seconds(9)
    world.stats.put("T", 60, 6000)
    world.stats.get("g", "T", 30, 3000)
    world.stats.sent_back("g", "T")
    world.pass_seconds(1)
    item = world.stats.item("TOPIC_PUT_NUMS", "T")
    assert item is not None
    assert (item.minute.total, item.minute.tps, item.minute.average) == (60, 6.0, 60.0)
    size = world.stats.item("TOPIC_PUT_SIZE", "T")
    assert size is not None
    assert size.minute.total == 6000
    assert world.stats.topic_put_tps("T") == 6.0
    assert world.stats.group_get_tps("g", "T") == 3.0
    assert world.stats.topic_put_tps("U") == 0.0
    broker = world.stats.item("BROKER_PUT_NUMS", "C")
    assert broker is not None
    assert broker.minute.total == 60
    assert world.stats.item("SNDBCK_PUT_NUMS", "T@g") is not None
    world.pass_seconds(70)
    assert item.minute.total == 0, "a minute later it is over"
    world.pass_seconds(600)
    assert item.hour.total == 60
    world.stats.forget_topic("T")
    assert world.stats.item("TOPIC_PUT_NUMS", "T") is None
    assert world.stats.item("GROUP_GET_NUMS", "T@g") is None
    world.stats.put("T", 1, 1)
    assert world.stats.item("TOPIC_PUT_NUMS", "T") is not None


def test_items_that_are_idle_for_a_day_are_dropped() -> None:
    """Topics of long ago take no memory; those in use stay."""
    world = Counted()
    world.stats.put("Old", 1, 1)
    for _ in range(26 * 3600 // 60):
        world.pass_seconds(60, 1)
    assert world.stats.item("TOPIC_PUT_NUMS", "Old") is None
    assert world.stats.item("TOPIC_PUT_NUMS", "T") is not None
    assert world.stats.item("BROKER_PUT_NUMS", "C") is not None


def test_totals_of_the_days() -> None:
    """brokerStatus shows what came in since midnight and the day before."""
    midnight = int(datetime(2026, 11, 20, tzinfo=timezone.utc).timestamp() * 1000)
    world = Counted(midnight - 10_000)
    world.stats.put("T", 5, 1)
    world.pass_seconds(10)
    assert (world.stats.put_totals.today_morning, world.stats.put_totals.yesterday_morning) == (5, 0)
    world.stats.put("T", 2, 1)
    world.now_ms = midnight + 86_400_000
    world.stats.sample()
    assert (world.stats.put_totals.today_morning, world.stats.put_totals.yesterday_morning) == (7, 5)
    assert world.stats.put_count == 7


def test_latencies_are_told_by_queue_without_counting_messages() -> None:
    """A queue grew by so many messages, each of which took the mean time that writes took."""
    world = Counted()
    ends = {0: 0, 1: 0}
    world.stats.derived.queue_ends = lambda topic: list(ends.items())
    ends.update({0: 3, 1: 2})
    world.stats.put("T", 5, 500, 5)
    world.stats.committed(0.004)
    world.pass_seconds(10)
    item = world.stats.item("TOPIC_PUT_LATENCY", "0@T")
    assert item is not None
    assert (item.value, item.times) == (12, 3)
    ends[1] = 12
    world.stats.put("T", 10, 1000, 10)
    world.stats.committed(0.0)
    world.pass_seconds(10)
    later = world.stats.item("TOPIC_PUT_LATENCY", "1@T")
    assert later is not None
    assert (later.value, later.times) == (8, 12)
    assert (item.value, item.times) == (12, 3)


def test_system_topics_are_left_out_of_what_users_did() -> None:
    """A monitor of the users' traffic is not shown that of the broker, also after its counters were dropped."""
    world = Counted()
    world.stats.put("T", 5, 500)
    world.stats.put("rmq_sys_REVIVE_LOG_C", 3, 300)
    world.stats.get("g", "T", 2, 200, 0)
    world.stats.get("CID_RMQ_SYS_TRANS", "RMQ_SYS_TRANS_HALF_TOPIC", 4, 400)
    world.pass_seconds(10)
    puts = world.stats.item("BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC", "C")
    gets = world.stats.item("BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC", "C")
    assert puts is not None
    assert gets is not None
    assert (puts.value, gets.value) == (5, 2)
    world.stats.forget_topic("rmq_sys_REVIVE_LOG_C")
    world.pass_seconds(10)
    assert (puts.value, gets.value) == (5, 2)


def test_a_deleted_topic_takes_its_counters_along() -> None:
    """Also those whose keys begin with the queue."""
    world = Counted()
    world.stats.derived.queue_ends = lambda topic: [(0, 5)]
    world.stats.put("T", 5, 500)
    world.stats.get("g", "T", 2, 200, 0, 7)
    world.stats.acknowledged("g", "T", 2)
    world.stats.delivered(1, "T", 100)
    world.pass_seconds(10)
    latency = world.stats.item("GROUP_GET_LATENCY", "0@T@g")
    assert latency is not None
    assert (latency.value, latency.times) == (7, 1)
    world.stats.forget_topic("T")
    left = {name: list(items) for name, items in world.stats.items.items() if items and "BROKER" not in name}
    assert left == {
        "GROUP_GET_NUMS": ["SCHEDULE_TOPIC_XXXX@SCHEDULE_CONSUMER"],
        "GROUP_GET_SIZE": ["SCHEDULE_TOPIC_XXXX@SCHEDULE_CONSUMER"],
        "QUEUE_GET_NUMS": ["SCHEDULE_TOPIC_XXXX@0@SCHEDULE_CONSUMER"],
        "QUEUE_GET_SIZE": ["SCHEDULE_TOPIC_XXXX@0@SCHEDULE_CONSUMER"],
    }
    world.stats.get("g", "T", 1, 100, 0)
    assert world.stats.item("GROUP_GET_NUMS", "T@g") is not None


def test_a_queue_that_is_first_seen_later_counts_what_is_left_of_the_new_messages() -> None:
    """It may have been opened with a million old messages, or made for the first one."""
    world = Counted()
    ends = {0: 7}
    world.stats.derived.queue_ends = lambda topic: list(ends.items())
    world.stats.put("T", 7, 700)
    world.pass_seconds(10)
    ends.update({0: 10, 1: 1_000_000, 2: 1})
    world.stats.put("T", 6, 600)
    world.pass_seconds(10)
    grown = {key: item.times for key, item in world.stats.items["TOPIC_PUT_LATENCY"].items()}
    assert grown == {"0@T": 10, "1@T": 2, "2@T": 1}


def test_a_topic_whose_queues_cannot_be_told_stops_nothing() -> None:
    """All other numbers go on, its own too."""
    world = Counted()

    def ends(topic: str) -> list[tuple[int, int]]:
        if topic == "damaged":
            raise StoreDamaged("cannot read")
        return [(0, 5)]

    world.stats.derived.queue_ends = ends
    for topic in ("damaged", "T"):
        world.stats.put(topic, 5, 500)
    with capturedLogs() as logs:
        world.pass_seconds(20)
    assert list(world.stats.items["TOPIC_PUT_LATENCY"]) == ["0@T"]
    told = [formatEvent(event) for event in logs]
    assert told == ["the put latencies of damaged cannot be worked out"], "not again as long as nothing is new"
    damaged = world.stats.item("TOPIC_PUT_NUMS", "damaged")
    assert damaged is not None
    assert damaged.minute.total == 5


def test_statistics_open_no_queue(tmp_path: Path) -> None:
    """After a start each would be listed and read on the reactor thread, and one with damaged files stop it all."""
    world = BrokerWorld(tmp_path)
    for queue_id in range(2):
        world.put("T", queue_id, b"before")
    world.close()
    world = BrokerWorld(tmp_path)
    try:
        (file,) = (tmp_path / "store" / "consumequeue" / "T" / "1").iterdir()
        os.truncate(file, 1)
        world.put("T", 0, b"after", b"after")
        world.parts.stats.put("T", 2, 200)
        for _ in range(10):
            world.parts.stats.sample()
        assert world.store.queues.loaded_ends("T") == [(0, 3)]
        latencies = world.parts.stats.items["TOPIC_PUT_LATENCY"]
        assert {key: item.times for key, item in latencies.items()} == {"0@T": 2}
        with pytest.raises(StoreDamaged):
            world.store.max_offset("T", 1)
    finally:
        world.close()
