"""Sends of timer messages, recalls, checkpoint and counts, as clients see them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import BrokerWorld
from protocol.test_first_message import message

from rmqd.protocol.clocks import wall_clock_ms
from rmqwire.codes import ResponseCode
from rmqwire.message import decode_properties, decode_record, encode_properties
from rmqwire.requests import GetTimerCheckPoint, GetTimerMetrics, RecallMessage, SwitchTimerEngine

TIMER_TOPIC = "rmq_sys_wheel_timer"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path, recallMessageEnable="true")
    yield broker
    broker.close()


def send(world: BrokerWorld, topic: str = "New", **properties: str) -> Any:
    header = message(topic)
    header.properties = encode_properties(properties).decode()
    return world.peer().ask(header, b"body")


def stored(world: BrokerWorld) -> list[dict[str, str]]:
    found = world.store.get_messages(TIMER_TOPIC, 0, 0, 32, allow_cold=True)
    return [decode_properties(decode_record(record).properties) for record in found.records]


def test_a_send_is_put_aside_and_answers_a_handle_that_recalls(world: BrokerWorld) -> None:
    """The recall is a message to the same slot, which names the first."""
    answer = send(world, TIMER_DELAY_SEC="60", UNIQ_KEY="ID")
    assert (answer.code, answer.ext["queueId"], answer.ext["transactionId"]) == (0, "0", "ID")
    recalled = world.peer().ask(
        RecallMessage(topic="New", recall_handle=answer.ext["recallHandle"], producer_group="PG")
    )
    assert (recalled.code, recalled.ext["msgId"], recalled.ext["MSG_REGION"]) == (0, "ID", "DefaultRegion")
    first, second = stored(world)
    assert first["TIMER_OUT_MS"] == second["TIMER_OUT_MS"]
    assert (second["TIMER_DEL_UNIQKEY"], second["TAGS"], second["PGROUP"]) == ("ID", "_RECALL_TAG_", "PG")
    assert second["REAL_TOPIC"] == "New"


def test_a_plain_send_has_no_handle(world: BrokerWorld) -> None:
    """Clients look for the field."""
    assert "recallHandle" not in send(world, TIMER_DELAY_SEC="0").ext
    assert "recallHandle" not in send(world, DELAY="1").ext
    assert stored(world) == []


def test_a_delay_that_is_too_long_is_refused_with_the_fields_of_a_send(world: BrokerWorld) -> None:
    """Java producers read MSG_REGION of every answer."""
    answer = send(world, TIMER_DELAY_SEC="300000")
    assert (answer.code, answer.ext["MSG_REGION"]) == (ResponseCode.MESSAGE_ILLEGAL, "DefaultRegion")
    assert "259200000ms" in answer.remark


def test_recalls_follow_the_configuration(tmp_path: Path) -> None:
    """recallMessageEnable is false unless set."""
    world = BrokerWorld(tmp_path)
    answer = world.peer().ask(RecallMessage(topic="New", recall_handle="x"))
    assert (answer.code, answer.remark) == (ResponseCode.NO_PERMISSION, "recall failed, operation is forbidden")
    world.close()


def test_a_recall_of_a_topic_that_is_not_there(world: BrokerWorld) -> None:
    """It is told before the handle is read."""
    answer = world.peer().ask(RecallMessage(topic="None", recall_handle="x"))
    assert answer.code == ResponseCode.TOPIC_NOT_EXIST
    send(world)
    assert world.peer().ask(RecallMessage(topic="New", recall_handle="x")).code == ResponseCode.ILLEGAL_OPERATION


def test_a_read_only_broker_may_still_recall(world: BrokerWorld) -> None:
    """allowRecallWhenBrokerNotWriteable."""
    handle = send(world, TIMER_DELAY_SEC="60", UNIQ_KEY="ID").ext["recallHandle"]
    world.parts.send_settings.broker_permission = 4
    ask = RecallMessage(topic="New", recall_handle=handle)
    assert world.peer().ask(ask).code == 0
    world.parts.timer_settings.recall_when_not_writable = False
    assert world.peer().ask(ask).code == ResponseCode.SERVICE_NOT_AVAILABLE


def test_checkpoint_and_counts(world: BrokerWorld) -> None:
    """What a slave asks for."""
    timers = world.parts.timers
    assert timers is not None
    timers.begin()
    send(world, TIMER_DELAY_SEC="60")
    timers.tick()
    body = world.peer().ask(GetTimerCheckPoint()).body
    assert len(body) == 56
    assert 0 <= wall_clock_ms() - int.from_bytes(body[:8], "big") < 10_000
    assert int.from_bytes(body[16:24], "big") == int.from_bytes(body[24:32], "big") == 1
    counts = json.loads(world.peer().ask(GetTimerMetrics()).body)
    assert counts["timingCount"]["New"]["count"] == 1
    assert counts["dataVersion"]["counter"] == 1


@pytest.mark.parametrize(
    ("engine", "code"), [("F", ResponseCode.SUCCESS), ("R", 1), ("X", ResponseCode.INVALID_PARAMETER)]
)
def test_delayed_messages_wait_in_the_files_of_the_wheel(world: BrokerWorld, engine: str, code: int) -> None:
    assert world.peer().ask(SwitchTimerEngine(engine_type=engine)).code == code


def test_without_a_timer(tmp_path: Path) -> None:
    """timerWheelEnable = false: everything is refused with the official remarks."""
    world = BrokerWorld(tmp_path, timerWheelEnable="false")
    assert send(world, TIMER_DELAY_SEC="60").remark == (
        "accurate timer message is not enabled, timerWheelEnable is false"
    )
    for header, remark in (
        (GetTimerCheckPoint(), "The checkpoint is null"),
        (GetTimerMetrics(), "The timer message store is null"),
        (SwitchTimerEngine(engine_type="F"), "timerWheelEnable is false: set it, and start the broker again"),
    ):
        answer = world.peer().ask(header)
        assert (answer.code, answer.remark) == (1, remark)
    world.close()
