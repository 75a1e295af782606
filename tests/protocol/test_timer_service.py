"""The timer of a broker on a simulated clock: taking, delivering, taking back, rolling, restarts, full disks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import NOW_MS, ManualThread, at_once, state_file
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from rmqd.protocol.broker.names import TIMER_TOPIC
from rmqd.protocol.broker.stats import BrokerStats
from rmqd.protocol.broker.timer import TimerRules, TimerSettings
from rmqd.protocol.broker.timer_service import TICK_S, TimerService
from rmqd.protocol.broker.topic_counts import TopicCounts
from rmqd.store.errors import ColdRead, StoreFull
from rmqd.store.messagestore import MessageStore
from rmqd.store.options import StoreOptions
from rmqd.store.reading import GetStatus
from rmqd.store.timerstore import TimerStore
from rmqwire.message import StoredMessage, decode_properties, decode_record, encode_host, encode_properties

HOST = encode_host("10.0.0.9", 1234)


class World:
    """A store, its timer, and a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_ms = NOW_MS
        self.clock = Clock()
        self.settings = TimerSettings()
        self.run_in_thread: Callable[..., Deferred[Any]] = at_once
        self.window = 1000
        self.begin()

    def begin(self, *, leads: bool = True) -> None:
        self.begin_store()
        self.timer.begin(leads=leads)

    def begin_store(self) -> None:
        """Everything but the timer."""
        options = StoreOptions(
            root=self.folder / "store", store_host=encode_host("127.0.0.1", 10911), mapped_file_size_commit_log=1 << 20
        )
        self.store = MessageStore(options, wall_clock_ms=lambda: self.now_ms)
        self.store.open()
        files = TimerStore(
            str(self.folder / "store"), precision_ms=1000, log_file_size=5200, roll_window_slots=self.window
        )
        self.counts = TopicCounts(state_file(self.folder, "timermetrics"), "timingCount", lambda: self.now_ms, at_once)
        self.timer = TimerService(
            self.store,
            files,
            self.settings,
            self.counts,
            BrokerStats("C", lambda: self.now_ms),
            self.clock,
            lambda: self.now_ms,
            lambda *a, **k: self.run_in_thread(*a, **k),
            lambda _: succeed(0),
        )
        self.rules = TimerRules(self.settings, "broker-a", lambda: self.now_ms, files.wheel.count)

    def end(self) -> None:
        done = Deferred.fromCoroutine(self.timer.stop())
        assert done.called
        done.addErrback(lambda failure: failure.raiseException())
        self.store.close()

    def restart(self, *, leads: bool = True) -> None:
        """An orderly one."""
        self.end()
        self.begin(leads=leads)

    def crash(self, *, leads: bool = True) -> None:
        """The process dies: what was not flushed by the timer is as it is."""
        self.store.close()
        self.begin(leads=leads)

    def send(self, body: bytes, delay_ms: int = 5000, topic: str = "T", **properties: str) -> None:
        properties = {"TIMER_DELAY_MS": str(delay_ms), "UNIQ_KEY": body.decode(), "TAGS": "tag", **properties}
        aside = self.rules.put_aside(topic, 3, properties, encode_properties(properties).decode())
        assert aside is not None
        self.put(*aside, body)

    def recall(self, key: str, at_ms: int) -> None:
        properties = {"TIMER_DELIVER_MS": str(at_ms), "TIMER_DEL_UNIQKEY": key, "UNIQ_KEY": key}
        aside = self.rules.put_aside("T", 0, properties, encode_properties(properties).decode())
        assert aside is not None
        self.put(*aside, b"0")

    def put(self, topic: str, queue_id: int, text: str, body: bytes) -> None:
        self.store.stage(
            topic, queue_id, body, text.encode(), tags_code=0, keys=(), flag=7, sys_flag=0,
            born_timestamp=NOW_MS - 5, born_host=HOST, reconsume_times=2,
        )  # fmt: skip
        self.store.commit()

    def tick(self) -> None:
        """Let the timer look, and do all it finds."""
        self.timer.tick()
        for _ in range(100):
            self.clock.advance(0)

    def wait(self, seconds: float) -> None:
        """Let time pass as it does for a broker."""
        for _ in range(round(seconds / TICK_S)):
            self.now_ms += round(TICK_S * 1000)
            self.clock.advance(TICK_S)
            self.tick()

    def delivered(self, topic: str = "T", queue_id: int = 3) -> list[StoredMessage]:
        found = self.store.get_messages(topic, queue_id, 0, 32, allow_cold=True)
        return [decode_record(record) for record in found.records] if found.status is GetStatus.FOUND else []

    def bodies(self) -> list[bytes]:
        return [message.body for message in self.delivered()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.end()


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Lines of the log."""
    lines: list[str] = []

    def observe(event: Any) -> None:
        lines.append((event["log_format"] or "").format(**event) if "log_format" in event else "")

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def test_a_message_comes_at_its_time_and_whole(world: World) -> None:
    """With what the official broker adds to its properties; the counts and the checkpoint tell the rest."""
    world.send(b"m", 5300, colour="green")
    world.tick()
    assert (world.counts.count("T"), world.timer.files.pending) == (1, 1)
    world.wait(5.2)
    assert world.delivered() == []
    world.wait(1.0)
    (message,) = world.delivered()
    assert (message.body, message.topic, message.queue_id, message.flag) == (b"m", "T", 3, 7)
    assert (message.born_host, message.born_timestamp, message.reconsume_times) == (HOST, NOW_MS - 5, 2)
    properties = decode_properties(message.properties)
    assert properties == {
        "TIMER_DELAY_MS": "5300",
        "UNIQ_KEY": "m",
        "TAGS": "tag",
        "colour": "green",
        "TIMER_OUT_MS": str(NOW_MS + 5000),
        "REAL_TOPIC": "T",
        "REAL_QID": "3",
        "TIMER_ENQUEUE_MS": str(NOW_MS),
        "TIMER_DEQUEUE_MS": str(NOW_MS + 6000),
    }
    assert (world.counts.count("T"), world.timer.files.pending) == (0, 0)


def test_more_than_a_batch_in_one_slot_comes_in_order(world: World) -> None:
    """200 messages of the same second, and of several files of the log."""
    bodies = [b"%d" % number for number in range(200)]
    for body in bodies:
        world.send(body)
    world.wait(5.1)
    found = [world.store.get_messages("T", 3, at, 32, allow_cold=True) for at in range(0, 200, 32)]
    assert [decode_record(record).body for each in found for record in each.records] == bodies


def test_a_message_that_is_taken_late_comes_at_once(world: World) -> None:
    """The timer was stopped while it became due: TIMER_ENQUEUE_MS says that it never waited."""
    world.settings.stop_enqueue = True
    world.send(b"late", 2000)
    world.wait(5)
    assert (world.delivered(), world.timer.messages_behind) == ([], 1)
    world.settings.stop_enqueue = False
    world.tick()
    (message,) = world.delivered()
    assert decode_properties(message.properties)["TIMER_ENQUEUE_MS"] == str(2**63 - 1)
    assert world.counts.count("T") == 0


def test_a_message_that_is_taken_back_does_not_come_and_others_do(world: World) -> None:
    """Whether the key has the topic before it or not."""
    for body in (b"a", b"b", b"c"):
        world.send(body, 5300)
    world.recall("b", NOW_MS + 5001)
    world.recall("T+c", NOW_MS + 5001)
    world.recall("nobody", NOW_MS + 5001)
    world.wait(7)
    assert world.bodies() == [b"a"]
    assert (world.counts.count("T"), world.timer.files.pending) == (0, 0)
    assert world.delivered("T", 0) == []


def test_a_far_message_is_put_off_again(tmp_path: Path) -> None:
    """TIMER_ROLL_TIMES counts how often."""
    world = World(tmp_path)
    world.end()
    world.window = 4
    world.begin()
    world.send(b"far", 11_500)
    world.wait(11.4)
    assert world.bodies() == []
    world.wait(1)
    (message,) = world.delivered()
    assert int(decode_properties(message.properties)["TIMER_ROLL_TIMES"]) >= 2
    assert world.counts.count("T") == 0
    world.end()


def test_a_taken_back_message_that_rolls_is_taken_back_in_the_end(tmp_path: Path) -> None:
    """Both are put off, and meet in the last slot."""
    world = World(tmp_path)
    world.end()
    world.window = 4
    world.begin()
    world.send(b"far", 11_500)
    world.send(b"stays", 11_500)
    world.wait(1)
    world.recall("far", NOW_MS + 11_001)
    world.wait(14)
    assert world.bodies() == [b"stays"]
    world.end()


@pytest.mark.parametrize("stop", ["restart", "crash"])
def test_a_restart_delivers_the_rest(world: World, stop: str) -> None:
    """What waited waits on; what became due meanwhile comes at once."""
    world.send(b"first", 3000)
    world.send(b"second", 20_000)
    world.wait(1)
    world.timer.flush()
    world.send(b"third", 30_000)
    world.wait(1)
    getattr(world, stop)()
    world.now_ms += 10_000
    world.wait(0.2)
    assert world.bodies() == [b"first"]
    world.wait(30)
    assert world.bodies() == [b"first", b"second", b"third"]


def test_cold_pages_are_read_in_a_thread(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reactor does not wait for the disk."""
    units = world.store.queue_units

    def cold(*args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("allow_cold", True):
            raise ColdRead("not in memory")
        return units(*args, **kwargs)

    monkeypatch.setattr(world.store, "queue_units", cold)
    threads: list[str] = []
    thread = ManualThread()

    def run(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        threads.append(call.__name__)
        return thread(lambda: call(*args, **kwargs))

    world.run_in_thread = run
    world.send(b"m", 2000)
    world.tick()
    world.tick()
    assert (threads, world.counts.count("T")) == (["_read"], 0)
    thread.run_one()
    assert world.counts.count("T") == 1
    world.run_in_thread = at_once
    world.wait(2.1)
    assert world.bodies() == [b"m"]


def test_a_full_disk_delays_and_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch, logged: list[str]) -> None:
    """Each comes once when there is room again."""
    for body in (b"a", b"b"):
        world.send(body, 2000)
    world.wait(1)
    commit = world.store.commit
    full = True

    def commit_unless_full() -> Any:
        if full:
            world.store._drop_group()
            raise StoreFull("no space left")
        return commit()

    monkeypatch.setattr(world.store, "commit", commit_unless_full)
    world.wait(3)
    assert world.bodies() == []
    assert any("no space left" in line for line in logged)
    full = False
    world.wait(3)
    assert world.bodies() == [b"a", b"b"]


def test_what_is_no_timer_message_is_left_out(world: World, logged: list[str]) -> None:
    """A client can send to the timer's topic; it does not stop the timer, as it would an official broker."""
    world.put(TIMER_TOPIC, 0, "", b"foreign")
    world.put(TIMER_TOPIC, 0, encode_properties({"TIMER_OUT_MS": "x", "REAL_TOPIC": "T"}).decode(), b"foreign")
    world.send(b"m", 2000)
    world.put(TIMER_TOPIC, 0, encode_properties({"TIMER_OUT_MS": "5"}).decode(), b"foreign")
    world.wait(3)
    assert world.bodies() == [b"m"]
    assert sum("left out" in line for line in logged) == 3
    assert world.timer.messages_behind == 0


def test_runtime_info_is_numbers(world: World) -> None:
    """As brokerStatus prints them."""
    world.send(b"m")
    assert world.timer.runtime_info()["timerOffsetBehind"] == "1"
    world.wait(1.2)
    world.timer.flush()
    info = world.timer.runtime_info()
    assert (info["timerOffsetBehind"], info["timerCongestNum"], info["timerReadBehind"]) == ("0", "1", "0")
    assert float(info["timerEnqueueTps"]) > 0
