"""The timer of a slave: it follows that of its master, and delivers in its place when it has to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.test_timer_service import World
from twisted.internet.defer import Deferred, succeed

from rmqd.protocol.broker.slave_sync import take_positions
from rmqd.store import timercheckpoint
from rmqd.store.timerprogress import Delivered, DeliveredElsewhere
from rmqwire.errors import MalformedBody


class Pair:
    """A master, and a slave with a copy of its log. Time passes for both."""

    def __init__(self, folder: Path) -> None:
        for name in ("m", "s"):
            (folder / name).mkdir()
        self.master, self.slave = World(folder / "m"), World(folder / "s")
        self.slave.end()
        self.slave.begin_store()
        self.slave.timer.begin(leads=False)

    def wait(self, seconds: float) -> None:
        self.master.wait(seconds)
        self.slave.wait(seconds)

    def copy(self, *, positions: bool = True) -> None:
        """The log, and how far the master's timer is."""
        at = self.slave.store.received_offset or 0
        if at < self.master.store.max_physical_offset:
            self.slave.store.append_received(at, self.master.store.read_log(at, 1 << 20))
        if positions:
            take_positions(self.slave.timer, self.master.timer.files.current().fields())
        self.slave.tick()

    def slave_leads(self) -> None:
        done = Deferred.fromCoroutine(self.slave.timer.lead())
        assert done.called


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.master.end()
    made.slave.end()


def test_a_slave_fills_its_wheel_and_delivers_nothing(pair: Pair) -> None:
    pair.master.send(b"soon", 2000)
    pair.master.send(b"later", 60_000)
    pair.master.tick()
    pair.copy()
    assert (pair.slave.timer.files.pending, pair.slave.timer.messages_behind) == (2, 0)
    end = pair.slave.store.max_physical_offset
    pair.wait(4)
    assert pair.slave.store.max_physical_offset == end
    assert pair.master.bodies() == [b"soon"]
    pair.copy()
    assert pair.slave.timer.files.pending == 1, "what the master delivered is passed"
    assert pair.slave.counts.count("T") == 0, "counts are copied, not counted"


def test_what_the_master_has_not_taken_waits(pair: Pair) -> None:
    """It may be that the master is about to put it into its real queue at once."""
    pair.master.settings.stop_enqueue = True
    pair.master.send(b"m", 2000)
    pair.copy()
    pair.wait(1)
    assert (pair.slave.timer.files.pending, pair.slave.timer.files.queue_offset) == (0, 0)


@pytest.mark.parametrize("stop", [None, "restart", "crash"])
def test_a_slave_that_becomes_master_delivers_the_rest_once(pair: Pair, stop: str | None) -> None:
    """Also after it was stopped, or killed, before or after."""
    for number in range(5):
        pair.master.send(b"%d" % number, 2000 + 3000 * number)
    pair.wait(1)
    pair.copy()
    pair.wait(5)
    assert pair.master.bodies() == [b"0", b"1"]
    pair.copy()
    pair.slave.timer.flush()
    if stop is not None:
        getattr(pair.slave, stop)(leads=False)
    pair.slave_leads()
    pair.slave.wait(0.5)
    assert pair.slave.bodies() == [b"0", b"1"], "copied"
    if stop is not None:
        pair.slave.timer.flush()
        getattr(pair.slave, stop)()
    pair.slave.wait(20)
    assert pair.slave.bodies() == [b"%d" % number for number in range(5)]


def test_what_the_master_did_not_live_to_deliver_comes_late(pair: Pair) -> None:
    """Its time was while there was no master; one was not even taken."""
    pair.master.send(b"a", 3000)
    pair.master.tick()
    pair.copy()
    pair.master.send(b"b", 3000)
    pair.copy(positions=False)
    pair.slave.wait(10)
    assert pair.slave.bodies() == []
    pair.slave_leads()
    pair.slave.wait(0.5)
    assert sorted(pair.slave.bodies()) == [b"a", b"b"]


def test_a_slave_with_a_store_of_before_takes_the_rest_alone(pair: Pair, tmp_path: Path) -> None:
    """A wheel that was never filled is filled with what the master has not delivered."""
    for number in range(3):
        pair.master.send(b"%d" % number, 2000 + 5000 * number)
    pair.wait(4)
    pair.copy()
    assert pair.slave.timer.files.pending == 2
    pair.slave_leads()
    pair.slave.wait(15)
    assert sorted(pair.slave.bodies()) == [b"0", b"1", b"2"]


def test_a_master_that_comes_back_leaves_out_what_the_slave_delivered(pair: Pair) -> None:
    """And delivers what the slave did not have, however late that is."""
    for number in range(3):
        pair.master.send(b"%d" % number, 3000 + 3000 * number)
    pair.master.tick()
    pair.copy()
    pair.master.send(b"lost", 3000)
    pair.master.tick()
    pair.slave_leads()
    pair.slave.wait(7)
    assert pair.slave.bodies() == [b"0", b"1"]
    pair.master.crash()
    pair.master.now_ms = pair.slave.now_ms
    pair.master.timer.delivered_elsewhere(pair.slave.timer.files.current())
    pair.master.wait(0.5)
    assert pair.master.bodies() == [b"lost"]
    pair.master.wait(5)
    assert pair.master.bodies() == [b"lost", b"2"]


def test_a_master_that_is_killed_while_it_catches_up_loses_nothing(pair: Pair) -> None:
    """The checkpoint keeps how far the slave was until all of it is taken."""
    pair.master.settings.stop_enqueue = True
    for number in range(4):
        pair.master.send(b"%d" % number, 2000 + 2000 * number)
    pair.copy(positions=False)
    pair.slave_leads()
    pair.slave.wait(5)
    assert pair.slave.bodies() == [b"0", b"1"]
    pair.master.now_ms = pair.slave.now_ms
    pair.master.timer.delivered_elsewhere(pair.slave.timer.files.current())
    pair.master.timer.files.move_write_time(pair.master.now_ms)
    pair.master.wait(10)
    pair.master.timer.flush()
    pair.master.settings.stop_enqueue = False
    pair.master.crash()
    pair.master.wait(0.5)
    assert pair.master.bodies() == [b"2", b"3"]


def test_a_master_that_becomes_a_slave(pair: Pair) -> None:
    pair.slave_leads()
    pair.slave.send(b"m", 3000)
    pair.slave.tick()
    assert Deferred.fromCoroutine(pair.slave.timer.follow()).called
    pair.slave.wait(5)
    assert pair.slave.bodies() == []
    assert pair.slave.timer.files.pending == 1
    pair.slave_leads()
    pair.slave.wait(0.5)
    assert pair.slave.bodies() == [b"m"]


def test_positions_that_are_none(pair: Pair) -> None:
    with pytest.raises(MalformedBody, match="3 bytes"):
        take_positions(pair.slave.timer, b"abc")


def test_two_brokers_that_delivered_have_not_delivered_what_lies_between(pair: Pair) -> None:
    """A master that crashed at (100, 50) and the slave that stood in, with (80, 60): 90 in slot 55 is nobody's."""
    both = DeliveredElsewhere(Delivered(100, 50)).joined(Delivered(80, 60))
    assert [both.has(*each) for each in ((90, 40), (70, 55), (90, 55))] == [True, True, False]
    assert both.furthest == (100, 50)
    assert both.joined(Delivered(100, 60)).has(90, 55)
    assert both.joined(Delivered(70, 50)) is both


def test_messages_from_behind_a_cut_are_forgotten_and_others_taken(pair: Pair) -> None:
    """Also when the log has grown past the old end before the timer is opened anew."""
    pair.slave_leads()
    pair.slave.send(b"kept", 4000)
    pair.slave.tick()
    end = pair.slave.store.max_physical_offset
    for number in range(3):
        pair.slave.send(b"lost %d" % number, 4000)
    pair.slave.tick()
    pair.slave.timer.flush()
    assert pair.slave.timer.files.pending == 4
    pair.slave.store.cut_log(end)
    pair.slave.timer.log_was_cut()
    for number in range(5):
        pair.slave.send(b"new %d" % number, 4000)
    assert Deferred.fromCoroutine(pair.slave.timer.follow()).called
    assert (pair.slave.timer.files.pending, pair.slave.timer.files.queue_offset) == (1, 1)
    pair.slave_leads()
    pair.slave.wait(5)
    assert sorted(pair.slave.bodies()) == sorted([b"kept", *(b"new %d" % number for number in range(5))])


def test_nothing_waits_for_a_place_that_the_log_has_no_more(pair: Pair) -> None:
    pair.slave_leads()
    pair.slave.send(b"m", 4000)
    pair.slave.tick()
    asked: list[int] = []

    def never(end: int) -> Deferred[int]:
        asked.append(end)
        return succeed(0) if end <= pair.slave.store.max_physical_offset else Deferred()

    pair.slave.timer._when_flushed = never
    pair.slave.timer._taking.log_end = 1 << 40
    assert Deferred.fromCoroutine(pair.slave.timer.follow()).called
    assert asked == [pair.slave.store.max_physical_offset]


def test_jobs_that_end_in_any_order_are_waited_for(pair: Pair) -> None:
    timer, ends = pair.slave.timer, {name: Deferred[None]() for name in ("work", "flush", "clean")}

    async def job(name: str) -> None:
        await ends[name]

    for name in ends:
        timer._start(name, lambda name=name: job(name))  # type: ignore[misc]
    following = Deferred.fromCoroutine(timer.follow())
    for name in ("clean", "flush", "work"):
        assert not following.called
        ends[name].callback(None)
    assert following.called


def test_after_a_failed_sync_there_is_no_checkpoint(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the log: the system may take lost pages for written ones. The next start takes the messages again."""
    pair.slave_leads()
    pair.slave.send(b"m", 30_000)
    pair.slave.tick()
    broken, before = True, pair.slave.timer.files.checkpoint

    def sync(*args: object) -> None:
        if broken:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(timercheckpoint, "sync_path", sync)
    pair.slave.timer.flush()
    broken = False
    pair.slave.timer.flush()
    assert pair.slave.timer.files.checkpoint is before
    pair.slave.crash()
    pair.slave.wait(31)
    assert pair.slave.bodies() == [b"m"]
