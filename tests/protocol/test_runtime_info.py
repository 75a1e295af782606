"""brokerStatus, clusterList and brokerStats: every key that tools parse, as a number where they expect one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld

from rmqwire.codes import ResponseCode
from rmqwire.requests import GetBrokerRuntimeInfo, ViewBrokerStatsData


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    yield broker
    broker.close()


NUMBERS = (
    "msgPutTotalYesterdayMorning",
    "msgPutTotalTodayMorning",
    "msgPutTotalTodayNow",
    "msgGetTotalYesterdayMorning",
    "msgGetTotalTodayMorning",
    "msgGetTotalTodayNow",
    "commitLogDiskRatio",
    "consumeQueueDiskRatio",
    "commitLogMinOffset",
    "commitLogMaxOffset",
    "earliestMessageTimeStamp",
    "pageCacheLockTimeMills",
    "dispatchBehindBytes",
    "sendThreadPoolQueueSize",
    "sendThreadPoolQueueCapacity",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueSize",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "bootTimestamp",
    "putMessageTimesTotal",
    "putMessageAverageSize",
    "timerReadBehind",
    "timerEnqueueTps",
    "brokerVersion",
)


def test_what_tools_parse_is_there(world: BrokerWorld) -> None:
    """clusterList of any version shows a row for the broker instead of failing on it."""
    world.put("T", 0, b"m")
    world.parts.stats.put("T", 1, 100)
    table = json.loads(world.peer().ask(GetBrokerRuntimeInfo()).body)["table"]
    for key in NUMBERS:
        float(table[key])
    for key in ("putTps", "getFoundTps", "getMissTps", "getTotalTps", "getTransferredTps", "getTransferedTps"):
        assert len([float(rate) for rate in table[key].split(" ")]) == 3
    assert all(isinstance(value, str) for value in table.values())
    assert table["brokerVersionDesc"] == "V5_5_0"
    assert table["msgPutTotalTodayNow"] == "1"
    assert table["commitLogMaxOffset"] == str(world.store.max_physical_offset)
    assert int(table["earliestMessageTimeStamp"]) == world.store.store_timestamp("T", 0, 0)
    assert table["commitLogDirCapacity"].startswith("Total : ")
    assert table["runtime"].startswith("[ 0 days, 0 hours, 0 minutes, ")
    assert table["remainHowManyDataToFlush"].endswith("B")


def test_an_empty_broker_answers_too(world: BrokerWorld) -> None:
    """A broker that holds nothing yet is shown, not refused."""
    table = json.loads(world.peer().ask(GetBrokerRuntimeInfo()).body)["table"]
    assert table["earliestMessageTimeStamp"] == "-1"
    assert table["putMessageTimesTotal"] == "1", "older tools divide by it"


def test_the_progress_of_delay_levels(world: BrokerWorld) -> None:
    """brokerStatus shows how far each delay level was delivered."""
    world.parts.delay_offsets.set(3, 5)
    table = json.loads(world.peer().ask(GetBrokerRuntimeInfo()).body)["table"]
    assert table["scheduleMessageOffset_3"] == "5,0"


def test_one_statistics_item(world: BrokerWorld) -> None:
    """A monitor reads the rate of one topic."""
    world.parts.stats.put("T", 10, 1000)
    for _ in range(10):
        world.parts.stats.sample()
    body = json.loads(world.peer().ask(ViewBrokerStatsData(stats_name="TOPIC_PUT_NUMS", stats_key="T")).body)
    assert body["statsMinute"]["sum"] == 10
    assert set(body) == {"statsMinute", "statsHour", "statsDay"}
    missing = world.peer().ask(ViewBrokerStatsData(stats_name="TOPIC_PUT_NUMS", stats_key="U"))
    assert (missing.code, missing.remark) == (ResponseCode.SYSTEM_ERROR, "The stats <TOPIC_PUT_NUMS> <U> not exist")
