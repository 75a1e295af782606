"""Group commit: when syncs begin, and what those who wait are told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from protocol.fakes import ManualThread
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rmqd.protocol.broker.durability import GATHER_S, GroupCommit
from rmqwire.codes import ResponseCode


class Log:
    """A log of which everything written can be synced; one sync at a time."""

    def __init__(self) -> None:
        self.wrote = self.flushed_offset = 0
        self.flushing = False
        self.lost: BaseException | None = None

    def flush_plan(self, least_pages: int = 0) -> Callable[[], int] | None:
        assert not self.flushing
        if self.wrote <= self.flushed_offset:
            return None
        self.flushing = True
        end = self.wrote
        return lambda: end

    def flushed(self, offset: int) -> None:
        self.flushing = False
        self.flushed_offset = offset

    def flush_failed(self, error: BaseException) -> None:
        self.flushing = False
        self.lost = error


class Turns(Clock):
    """A clock by which what is called in a turn of the reactor for the next one is not called in the same."""

    def turn(self, takes_s: float = 0.0) -> None:
        self.rightNow += takes_s
        for call in [call for call in self.calls if call.getTime() <= self.rightNow]:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.turn()


class World:
    """Senders of one message each."""

    def __init__(self) -> None:
        self.log, self.thread, self.clock = Log(), ManualThread(), Turns()
        self.waiting = 0
        self.told: list[tuple[int, int]] = []
        self.commits = GroupCommit(self.log, self.thread, self.clock, 5000, lambda: self.waiting)  # type: ignore[arg-type]

    def commit(self, messages: int = 1) -> None:
        """So many messages were written together."""
        self.log.wrote += messages
        end = self.log.wrote
        wait = self.commits.when_flushed(end)
        self.waiting += messages

        def answered(code: int) -> None:
            self.waiting -= messages
            self.told.append((end, code))

        wait.addCallback(answered)

    def busy(self, messages: int) -> None:
        """Several messages were served by a sync: the next one gathers."""
        self.commit(messages)
        self.thread.run_one()
        self.told.clear()

    @property
    def syncing(self) -> bool:
        return bool(self.thread.jobs)


def test_a_single_sender_waits_for_nobody() -> None:
    world = World()
    for _ in range(3):
        world.commit()
        assert world.syncing
        world.thread.run_one()
    assert [code for _, code in world.told] == [0, 0, 0]
    assert not world.clock.getDelayedCalls()


def test_who_comes_during_a_sync_is_served_by_the_next() -> None:
    world = World()
    world.commit()
    world.commit()
    world.commit()
    assert len(world.thread.jobs) == 1
    world.thread.run_one()
    assert world.told == [(1, 0)]
    world.clock.turns(3)
    world.thread.run_one()
    assert world.told == [(1, 0), (2, 0), (3, 0)]


def test_where_many_send_a_sync_waits_for_a_part_of_them() -> None:
    world = World()
    world.busy(16)
    for _ in range(3):
        world.commit()
        world.clock.turn()
        assert not world.syncing
    world.commit()
    world.clock.turn()
    assert world.syncing, "four of sixteen"


def test_a_sync_begins_when_nobody_comes_any_more() -> None:
    world = World()
    world.busy(64)
    world.commit()
    world.clock.turn()
    world.commit()
    world.clock.turns(2)
    assert not world.syncing, "what the last turn read is committed by the next"
    world.clock.turn()
    assert world.syncing
    world.thread.run_one()
    assert [end for end, _ in world.told] == [65, 66]


def test_nobody_waits_longer_than_the_limit_for_others() -> None:
    world = World()
    world.busy(1000)
    for _ in range(3):
        world.commit()
        world.clock.turn(GATHER_S / 4)
        assert not world.syncing
    world.commit()
    world.clock.turn(GATHER_S / 4)
    assert world.syncing


def test_a_sync_that_a_timer_began_serves_those_who_gather() -> None:
    world = World()
    world.busy(64)
    world.commit()
    world.commits.flush()
    assert world.syncing
    world.clock.turns(4)
    assert len(world.thread.jobs) == 1
    world.thread.run_one()
    assert world.told == [(65, 0)]
    assert not world.syncing


def test_who_waits_too_long_is_told_so() -> None:
    world = World()
    world.commit()
    world.clock.advance(4)
    world.commit()
    world.clock.advance(1)
    world.commits.expire()
    assert world.told == [(1, ResponseCode.FLUSH_DISK_TIMEOUT)]
    world.thread.run_one()
    world.clock.turns(3)
    world.thread.run_one()
    assert world.told[1:] == [(2, 0)]


def test_after_a_failed_sync_nothing_is_acknowledged() -> None:
    world = World()
    world.busy(64)
    failed: Deferred[int] = Deferred()
    world.thread = None  # type: ignore[assignment]
    world.commits._run_sync = lambda job: failed
    world.commit()
    world.clock.turns(3)
    world.commit()
    failed.errback(OSError("gone"))
    world.commit()
    assert world.told == [(end, ResponseCode.FLUSH_DISK_TIMEOUT) for end in (65, 66, 67)]
    assert isinstance(world.log.lost, OSError)
    world.clock.turns(4)
    assert world.commits.flush() is None


@pytest.mark.parametrize("running", [True, False])
def test_drained_waits_for_the_sync_that_runs(running: bool) -> None:
    world = World()
    if running:
        world.commit()
    ended = Deferred.fromCoroutine(world.commits.drained())
    assert ended.called is not running
    if running:
        world.thread.run_one()
    assert ended.called


def test_drained_waits_for_those_who_come_during_the_sync_too() -> None:
    world = World()
    world.busy(64)
    world.commit()
    world.clock.turns(3)
    world.commit()
    ended = Deferred.fromCoroutine(world.commits.drained())
    world.thread.run_one()
    assert world.told == [(65, 0)]
    assert not ended.called, "the next sync is about to begin"
    world.clock.turns(3)
    assert not ended.called
    world.thread.run_one()
    assert world.told == [(65, 0), (66, 0)]
    assert ended.called
    assert not world.log.flushing


def test_answered_waits_for_those_who_wait_now() -> None:
    world = World()
    assert Deferred.fromCoroutine(world.commits.answered()).called, "nobody"
    world.commit()
    world.commit()
    ended = Deferred.fromCoroutine(world.commits.answered())
    world.thread.run_one()
    world.clock.turns(3)
    assert not ended.called
    world.thread.run_one()
    assert ended.called
    assert [end for end, _ in world.told] == [1, 2]


def test_messages_that_were_cut_off_are_not_acknowledged_for_what_came_in_their_place() -> None:
    world = World()
    world.busy(64)
    world.commit()
    world.commit()
    world.log.wrote = 65
    world.commits.log_was_cut(65)
    assert world.told == [(66, ResponseCode.FLUSH_DISK_TIMEOUT)]
    world.commit(5)
    world.clock.turns(3)
    world.thread.run_one()
    assert world.told[1:] == [(65, 0), (70, 0)]
