"""Delayed messages are delivered when they are due, not before, and not lost by a crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import NOW_MS, ManualThread, at_once, state_file

from rmqd.protocol.broker.delay import SCHEDULE_TOPIC, DelayLevels
from rmqd.protocol.broker.delay_delivery import TICK_S, DelayedDelivery
from rmqd.protocol.broker.delay_offsets import DelayOffsets
from rmqd.store.errors import ColdRead, StoreFull
from rmqd.store.messagestore import MessageStore
from rmqd.store.options import StoreOptions
from rmqd.store.reading import GetStatus
from rmqwire.hashing import tags_code
from rmqwire.message import decode_properties, decode_record, encode_host, encode_properties

TICK_MS = int(TICK_S * 1000)
LEVELS = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"


class World:
    """A store, its delayed messages, and a clock that the test moves."""

    def __init__(self, folder: Path, levels: str = LEVELS) -> None:
        self.folder = folder
        self.now_ms = NOW_MS
        self.levels = DelayLevels(levels)
        self.run_in_thread: Any = at_once
        self.begin()

    def begin(self) -> None:
        options = StoreOptions(
            root=self.folder / "store", store_host=encode_host("127.0.0.1", 10911), mapped_file_size_commit_log=1 << 20
        )
        self.store = MessageStore(
            options, wall_clock_ms=lambda: self.now_ms, delivery_time_ms=self.levels.deliver_at_ms
        )
        self.store.open()
        file = state_file(self.folder, "delayOffset.json")
        self.offsets = DelayOffsets(file, lambda: self.now_ms, at_once)
        self.delivery = DelayedDelivery(
            self.store, self.levels, self.offsets, lambda: self.now_ms, lambda *a, **k: self.run_in_thread(*a, **k)
        )
        self.delivery.begin()

    def restart(self, *, saved: bool = True) -> None:
        """Stop and start; without `saved`, as after a crash that lost what was not written yet."""
        if saved:
            self.offsets.tick()
        self.delivery.stop()
        self.store.close()
        self.begin()

    def delay(self, level: int, body: bytes, topic: str = "T", queue_id: int = 0, **properties: str) -> None:
        properties = {"DELAY": str(level), **properties}
        text = encode_properties(properties).decode()
        aside = self.levels.put_aside(topic, queue_id, properties, text)
        assert aside is not None
        self.put(*aside, body)

    def put(self, topic: str, queue_id: int, text: str, body: bytes, **more: Any) -> None:
        given = {"tags_code": 0, "keys": (), "flag": 7, "sys_flag": 0, "reconsume_times": 2, **more}
        host = encode_host("10.0.0.9", 1234)
        self.store.stage(topic, queue_id, body, text.encode(), born_timestamp=NOW_MS - 5, born_host=host, **given)
        self.store.commit()

    def delivered(self, topic: str = "T", queue_id: int = 0) -> list[bytes]:
        bodies: list[bytes] = []
        while (found := self.store.get_messages(topic, queue_id, len(bodies), 32)).status is GetStatus.FOUND:
            bodies += [decode_record(record).body for record in found.records]
        return bodies

    def wait(self, ms: int) -> None:
        """Let time pass, with the ticks that a broker has in it."""
        end = self.now_ms + ms
        while self.now_ms < end:
            self.now_ms = min(end, self.now_ms + TICK_MS)
            self.delivery.tick()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


@pytest.mark.parametrize("level", range(1, 19))
def test_each_level_is_on_time(level: int, world: World) -> None:
    """Not one millisecond early, and not later than the next tick."""
    world.delay(level, b"x")
    due_ms = world.levels.delays_ms[level]
    world.now_ms += due_ms - 1
    world.delivery.tick()
    assert world.delivered() == []
    world.wait(TICK_MS)
    assert world.delivered() == [b"x"]
    world.wait(5 * TICK_MS)
    assert world.delivered() == [b"x"], "and once"
    assert world.offsets.get(level) == 1


def test_what_is_delivered(world: World) -> None:
    """A consumer sees the message as it was sent, in its own topic and queue, tags and all."""
    world.delay(1, b"body", "Real", 3, TAGS="TagA", KEYS="k", UNIQ_KEY="U", own="property")
    world.wait(1000)
    found = world.store.get_messages("Real", 3, 0, 10, tags=frozenset((tags_code("TagA"),)))
    [message] = [decode_record(record) for record in found.records]
    assert (message.topic, message.queue_id, message.body, message.flag, message.reconsume_times) == (
        "Real", 3, b"body", 7, 2,
    )  # fmt: skip
    assert message.born_timestamp == NOW_MS - 5
    assert message.born_host == encode_host("10.0.0.9", 1234)
    assert message.store_timestamp == NOW_MS + 1000
    properties = decode_properties(message.properties)
    assert properties["own"] == "property"
    assert (properties["REAL_TOPIC"], properties["REAL_QID"]) == ("Real", "3")


def test_levels_do_not_wait_for_each_other(world: World) -> None:
    world.delay(3, b"ten")
    world.delay(1, b"one")
    world.delay(2, b"five")
    world.wait(1000)
    assert world.delivered() == [b"one"]
    world.wait(4000)
    assert world.delivered() == [b"one", b"five"]
    world.wait(5000)
    assert world.delivered() == [b"one", b"five", b"ten"]


def test_many_at_once(world: World) -> None:
    """A thousand that are due in one moment come in order, in the same tick."""
    for number in range(1000):
        world.delay(1, b"%d" % number)
    world.now_ms += 1000
    world.delivery.tick()
    assert world.delivered() == [b"%d" % number for number in range(1000)]


def test_a_waiting_level_is_not_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Millions that wait for hours cost nothing while they do."""
    world.delay(18, b"later")
    world.delivery.tick()
    reads = []
    monkeypatch.setattr(world.store, "get_messages", lambda *a, **k: reads.append(a))
    world.wait(10_000)
    assert reads == []


def test_restart_with_messages_pending(world: World) -> None:
    """Whatever was due while the broker was down comes when it is back; what is not due yet waits on."""
    world.delay(1, b"one")
    world.delay(2, b"five")
    world.delay(3, b"ten")
    world.wait(1000)
    world.restart()
    world.now_ms += 5000
    world.delivery.tick()
    assert world.delivered() == [b"one", b"five"]
    world.wait(4000)
    assert world.delivered() == [b"one", b"five", b"ten"]


def test_a_crash_delivers_again_but_loses_nothing(world: World) -> None:
    world.delay(1, b"one")
    world.wait(1000)
    world.delay(1, b"two")
    world.restart(saved=False)
    world.wait(1000)
    assert world.delivered() == [b"one", b"one", b"two"]


def test_progress_that_does_not_fit_the_queue(world: World) -> None:
    """A `delayOffset.json` that is ahead of its queue, or behind what was deleted, does not stop a level."""
    world.delay(1, b"one")
    world.offsets.set(1, 99)
    world.offsets.set(2, 5)
    world.restart()
    assert (world.offsets.get(1), world.offsets.get(2)) == (1, 0)
    world.delay(1, b"two")
    world.wait(1000)
    assert world.delivered() == [b"two"]


def test_a_clock_that_was_set_back(world: World) -> None:
    """A message that would be due later than one stored now is delivered, as the official broker does."""
    world.delay(2, b"x")
    world.now_ms -= 3_600_000
    world.delivery.tick()
    assert world.delivered() == [b"x"]


def test_a_clock_that_was_set_back_while_it_waits(world: World) -> None:
    world.delay(2, b"x")
    world.delivery.tick()
    world.now_ms -= 2000
    world.wait(2000)
    assert world.delivered() == [], "not early by the clock that it was stored by"
    world.wait(5000)
    assert world.delivered() == [b"x"]


@pytest.mark.parametrize(
    "text",
    [
        "DELAY\x011\x02",
        "REAL_TOPIC\x01T\x02REAL_QID\x01x\x02",
        "REAL_TOPIC\x01RMQ_SYS_TRANS_HALF_TOPIC\x02REAL_QID\x010\x02",
    ],
)
def test_a_message_that_names_no_real_queue_is_left_out(text: str, world: World) -> None:
    world.put(SCHEDULE_TOPIC, 0, text, b"bad")
    world.delay(1, b"good")
    world.wait(1000)
    assert world.delivered() == [b"good"]
    assert world.store.max_offset("RMQ_SYS_TRANS_HALF_TOPIC", 0) == 0


def test_a_full_store_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is stored already is not stored again when the one behind it was refused, and nothing is left out."""
    for number in range(3):
        world.delay(1, b"%d" % number)
    stage, calls = world.store.stage, []

    def full_at_the_third(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise StoreFull("no space")
        return stage(*args, **kwargs)

    monkeypatch.setattr(world.store, "stage", full_at_the_third)
    world.wait(1000)
    assert world.delivered() == [b"0", b"1"]
    world.wait(1000)
    assert world.delivered() == [b"0", b"1", b"2"]


def test_cold_messages_are_read_in_a_thread(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog that is not in memory holds up neither the reactor nor the other levels."""
    for number in range(40):
        world.delay(2, b"%d" % number)
    world.delay(1, b"hot")
    get = world.store.get_messages

    def cold(topic: str, queue_id: int, *args: Any, allow_cold: bool = False, **kwargs: Any) -> Any:
        if topic == SCHEDULE_TOPIC and queue_id == 1 and not allow_cold:
            raise ColdRead("cold")
        return get(topic, queue_id, *args, **kwargs)

    monkeypatch.setattr(world.store, "get_messages", cold)
    thread = ManualThread()
    world.run_in_thread = lambda call, *a, **k: thread(lambda: call(*a, **k))
    world.now_ms += 5000
    for _ in range(3):
        world.delivery.tick()
    assert world.delivered() == [b"hot"]
    assert len(thread.jobs) == 1, "one read at a time"
    thread.run_one()
    assert len(world.delivered()) == 33
    assert len(thread.jobs) == 1, "the next read follows without a tick"
    thread.run_one()
    assert world.delivered() == [b"hot", *(b"%d" % number for number in range(40))]


def test_a_read_that_fails_in_the_thread(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.delay(1, b"x")
    get, failures = world.store.get_messages, [StoreFull("disk error"), ColdRead("cold")]

    def failing(topic: str, *args: Any, **kwargs: Any) -> Any:
        if failures and topic == SCHEDULE_TOPIC:
            raise failures.pop()
        return get(topic, *args, **kwargs)

    world.now_ms += 1000
    monkeypatch.setattr(world.store, "get_messages", failing)
    world.delivery.tick()
    assert world.delivered() == []
    world.wait(1000)
    assert world.delivered() == [b"x"]


def test_stopped(world: World) -> None:
    world.delay(1, b"x")
    world.delivery.stop()
    world.wait(2000)
    assert world.delivered() == []
