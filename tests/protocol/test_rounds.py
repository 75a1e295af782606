"""Rounds of a job on a simulated clock."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from rmqd.protocol.broker.rounds import Rounds


class Job:
    def __init__(self) -> None:
        self.clock = Clock()
        self.pause_ms = 2000
        self.began = 0
        self.under_way: Deferred[None] | None = None
        self.rounds = Rounds(self.clock, lambda: self.pause_ms, self.run, "testing")

    async def run(self) -> None:
        self.began += 1
        self.under_way = Deferred()
        await self.under_way

    def end(self) -> None:
        assert self.under_way is not None
        self.under_way.callback(None)


def test_a_round_begins_a_pause_after_the_end_of_the_last() -> None:
    job = Job()
    job.rounds.begin()
    job.clock.advance(1.9)
    assert job.began == 0
    job.clock.advance(0.1)
    assert job.began == 1
    job.clock.advance(60)
    assert job.began == 1, "not while one is under way"
    job.pause_ms = 500
    job.end()
    job.clock.advance(0.5)
    assert job.began == 2


def test_a_round_that_fails_is_logged_and_the_next_one_comes() -> None:
    job, told = Job(), []
    job.rounds.begin()
    job.clock.advance(2)
    globalLogPublisher.addObserver(told.append)
    try:
        assert job.under_way is not None
        job.under_way.errback(ZeroDivisionError("by our own fault"))
    finally:
        globalLogPublisher.removeObserver(told.append)
    assert [event["log_failure"].type for event in told] == [ZeroDivisionError]
    assert told[0]["log_format"].format(**told[0]) == "a round of testing failed"
    job.clock.advance(2)
    assert job.began == 2


def test_stopping_waits_for_the_round_and_there_is_no_other() -> None:
    job = Job()
    job.rounds.begin()
    job.clock.advance(2)
    stopped = Deferred.fromCoroutine(job.rounds.stop())
    assert not stopped.called
    job.end()
    assert stopped.called
    assert job.clock.getDelayedCalls() == []


def test_stopping_between_rounds() -> None:
    job = Job()
    job.rounds.begin()
    assert Deferred.fromCoroutine(job.rounds.stop()).called
    job.clock.advance(60)
    assert job.began == 0
    never = Job()
    assert Deferred.fromCoroutine(never.rounds.stop()).called
