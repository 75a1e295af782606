"""Answers to runs of sends that wait until the messages are on disk, or at slaves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.logger import globalLogPublisher

from rmqd.protocol.broker.safe_runs import SafeRuns

if TYPE_CHECKING:
    from rmqd.protocol.broker.safe_runs import Answers


class Connection:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.got.append(data)


class World:
    """A log, and what is waited for in it."""

    def __init__(self) -> None:
        self.log = SimpleNamespace(wrote_offset=0)
        self.asked: list[int] = []
        self.answer: Deferred[int] | None = None
        self.waiting = 0
        self.runs = SafeRuns(SimpleNamespace(log=self.log), self.when_safe, self.waits)  # type: ignore[arg-type]

    def when_safe(self, position: int) -> Deferred[int] | None:
        self.asked.append(position)
        return self.answer

    def waits(self, count: int) -> None:
        self.waiting += count

    def run(self, connection: Connection, end: int, count: int, name: str) -> bytes | None:
        return self.runs.answer(connection, end, count, named(name))  # type: ignore[arg-type]


def named(name: str) -> Answers:
    return lambda told: f"{name}:{told if isinstance(told, int) else type(told).__name__}".encode()


def test_the_runs_of_a_commit_wait_together_for_its_end() -> None:
    world, one, other = World(), Connection(), Connection()
    world.log.wrote_offset = 300
    wait: Deferred[int] = Deferred()
    world.answer = wait
    assert world.run(one, 100, 3, "a") is None
    assert world.run(other, 200, 1, "b") is None
    assert world.run(one, 300, 2, "c") is None
    assert world.asked == [300]
    assert world.waiting == 6
    assert one.got == other.got == []
    wait.callback(12)
    assert (one.got, other.got) == ([b"a:12", b"c:12"], [b"b:12"])
    assert world.waiting == 0


def test_what_is_committed_later_waits_for_itself() -> None:
    world, peer = World(), Connection()
    waits: list[Deferred[int]] = [Deferred(), Deferred(), Deferred()]
    for number, wait in enumerate(waits, 1):
        world.log.wrote_offset = number * 100
        world.answer = wait
        assert world.run(peer, number * 100, 1, f"run {number}") is None
    assert world.asked == [100, 200, 300]
    waits[0].callback(0)
    assert peer.got == [b"run 1:0"], "and nobody else"
    assert world.run(peer, 300, 1, "joins the last") is None
    waits[2].callback(0)
    assert peer.got[1:] == [b"run 3:0", b"joins the last:0"]
    waits[1].callback(10)
    assert peer.got[-1] == b"run 2:10"
    assert world.waiting == 0


def test_nothing_to_wait_for() -> None:
    world, peer = World(), Connection()
    world.log.wrote_offset = 100
    assert world.run(peer, 50, 1, "a") == b"a:0"
    assert world.run(peer, 100, 1, "b") == b"b:0"
    assert world.asked == [100, 100]
    assert peer.got == []


def test_an_answer_that_is_there_at_once_is_for_one_run() -> None:
    """As when no slave is available: each asks again, since the next may find one."""
    world, peer = World(), Connection()
    world.log.wrote_offset = 100
    for name in "ab":
        world.answer = succeed(11)
        assert world.run(peer, 50, 1, name) is None
    assert peer.got == [b"a:11", b"b:11"]
    assert world.asked == [100, 100]
    assert world.waiting == 0


def test_a_wait_that_fails_answers_everybody() -> None:
    world, one, other = World(), Connection(), Connection()
    world.log.wrote_offset = 100
    wait: Deferred[Any] = Deferred()
    world.answer = wait
    world.run(one, 50, 1, "a")
    world.run(other, 100, 1, "b")
    wait.errback(RuntimeError("gone"))
    assert (one.got, other.got) == ([b"a:RuntimeError"], [b"b:RuntimeError"])
    assert world.waiting == 0


def test_nobody_joins_those_whose_log_was_cut() -> None:
    world, peer = World(), Connection()
    world.log.wrote_offset = 300
    old: Deferred[int] = Deferred()
    world.answer = old
    world.run(peer, 300, 1, "old")
    world.runs.log_was_cut(100)
    world.log.wrote_offset = 200
    new: Deferred[int] = Deferred()
    world.answer = new
    world.run(peer, 200, 1, "new")
    old.callback(10)
    assert peer.got == [b"old:10"]
    new.callback(0)
    assert peer.got == [b"old:10", b"new:0"]
    assert world.asked == [300, 200]


def test_a_run_whose_answers_fail_takes_no_other_with_it() -> None:
    world, peer = World(), Connection()
    world.log.wrote_offset = 100
    wait: Deferred[int] = Deferred()
    world.answer = wait

    def fails(told: object) -> bytes:
        raise MemoryError("no room")

    world.runs.answer(peer, 50, 1, fails)  # type: ignore[arg-type]
    world.run(peer, 100, 1, "b")
    lines: list[dict[str, Any]] = []
    globalLogPublisher.addObserver(lines.append)
    try:
        wait.callback(0)
    finally:
        globalLogPublisher.removeObserver(lines.append)
    assert peer.got == [b"b:0"]
    assert world.waiting == 0
    assert any("answers to a run of sends were lost" in line["log_format"] for line in lines)
