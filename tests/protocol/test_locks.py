"""Locks of queues: an orderly consumer has a queue to itself, and not for ever."""

from __future__ import annotations

from twisted.internet.task import Clock

from rmqd.protocol.broker.locks import QueueLocks
from rmqwire.bodies import MessageQueue


def queue(number: int) -> MessageQueue:
    return MessageQueue(topic="T", broker_name="b", queue_id=number)


def test_a_queue_has_one_holder_in_a_group() -> None:
    """Two orderly consumers never read the same queue at once; another group has locks of its own."""
    locks = QueueLocks(Clock())
    assert locks.lock("g", [queue(0), queue(1)], "a") == [queue(0), queue(1)]
    assert locks.lock("g", [queue(0), queue(1), queue(2)], "b") == [queue(2)]
    assert locks.lock("h", [queue(0)], "b") == [queue(0)]
    assert locks.lock("g", [queue(0)], "a") == [queue(0)], "asking again is granted again"
    assert locks.holder("g", queue(2)) == "b"


def test_only_the_holder_gives_a_queue_back() -> None:
    """A late message of a consumer that lost a queue does not take it from its new holder."""
    locks = QueueLocks(Clock())
    locks.lock("g", [queue(0)], "a")
    locks.unlock("g", [queue(0), queue(5)], "b")
    locks.unlock("nobody", [queue(0)], "a")
    assert locks.holder("g", queue(0)) == "a"
    locks.unlock("g", [queue(0)], "a")
    assert locks.holder("g", queue(0)) is None
    assert locks.lock("g", [queue(0)], "b") == [queue(0)]


def test_a_lock_runs_out_unless_it_is_renewed() -> None:
    """The queues of a consumer that died are free after a minute; those of one that lives are not."""
    clock = Clock()
    locks = QueueLocks(clock)
    locks.lock("g", [queue(0), queue(1)], "a")
    clock.advance(40)
    locks.lock("g", [queue(0)], "a")
    clock.advance(20.5)
    assert locks.holder("g", queue(1)) is None
    assert locks.lock("g", [queue(0), queue(1)], "b") == [queue(1)]


def test_forgotten_locks_take_no_memory() -> None:
    """A broker that ran for a year does not remember groups of long ago."""
    clock = Clock()
    locks = QueueLocks(clock)
    locks.lock("old", [queue(0)], "a")
    clock.advance(100)
    locks.lock("new", [queue(0)], "a")
    clock.advance(30)
    locks.scan()
    assert list(locks._groups) == ["new"]
