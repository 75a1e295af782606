"""What a consumer sees of long polling: woken by its messages, answered in time, dropped with its connection."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rmqd.protocol.broker.holds import PullHolds
from rmqd.protocol.dispatch import Dispatcher
from rmqd.protocol.remoting import RemotingConnection
from rmqwire.declare import Role

from .wiring import connected


class Table:
    def __init__(self) -> None:
        self.clock = Clock()
        self.holds = PullHolds(self.clock)
        self.ran: list[str] = []

    def connection(self) -> RemotingConnection:
        return connected(Dispatcher(Role.BROKER, []), self.clock)[0]

    def hold(
        self,
        name: str,
        connection: RemotingConnection,
        *,
        queue: int = 0,
        offset: int = 5,
        tags: frozenset[int] | None = None,
        timeout_ms: int = 15_000,
    ) -> None:
        self.holds.add(("T", queue), connection, offset, tags, timeout_ms, lambda: self.ran.append(name))

    def pass_seconds(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            self.holds.sweep()


def test_a_message_wakes_those_who_wait_at_its_queue_and_only_once() -> None:
    table = Table()
    connection = table.connection()
    table.hold("here", connection)
    table.hold("elsewhere", connection, queue=1)
    table.holds.arrived("T", 0, 6, [0])
    table.holds.arrived("T", 0, 7, [0])
    assert table.ran == ["here"]
    assert len(table.holds) == 1


def test_a_message_of_another_tag_does_not_wake_but_the_queue_is_looked_at_within_five_seconds() -> None:
    table = Table()
    table.hold("a", table.connection(), tags=frozenset([-7]))
    table.holds.arrived("T", 0, 6, [8])
    assert table.ran == []
    table.pass_seconds(5)
    assert table.ran == ["a"]


def test_a_negative_tag_hash_matches_its_sign_extended_code() -> None:
    table = Table()
    table.hold("a", table.connection(), tags=frozenset([-7]))
    table.holds.arrived("T", 0, 6, [8, -7])
    assert table.ran == ["a"]


def test_an_arrival_below_the_wanted_offset_does_not_wake() -> None:
    table = Table()
    table.hold("a", table.connection(), offset=9)
    table.holds.arrived("T", 0, 9, [0])
    assert table.ran == []
    table.holds.arrived("T", 0, 10, [0])
    assert table.ran == ["a"]


def test_a_pull_that_nothing_comes_for_is_answered_when_its_time_is_over_not_before() -> None:
    table = Table()
    table.hold("a", table.connection(), timeout_ms=15_000)
    table.pass_seconds(14)
    assert table.ran == []
    table.pass_seconds(2)
    assert table.ran == ["a"]
    assert len(table.holds) == 0


def test_a_wait_of_no_time_still_ends() -> None:
    table = Table()
    table.hold("a", table.connection(), timeout_ms=0)
    table.pass_seconds(1)
    assert table.ran == ["a"]


def test_the_pulls_of_a_lost_connection_are_forgotten() -> None:
    table = Table()
    gone, stays = table.connection(), table.connection()
    table.hold("gone", gone)
    table.hold("stays", stays)
    gone.connectionLost(Failure(ConnectionDone()))
    table.holds.arrived("T", 0, 6, [0])
    table.pass_seconds(20)
    assert table.ran == ["stays"]


def test_those_of_one_topic_are_answered_when_its_queues_move() -> None:
    table = Table()
    connection = table.connection()
    table.hold("a", connection)
    table.hold("b", connection, queue=1)
    table.holds.add(("Other", 0), connection, 5, None, 5000, lambda: table.ran.append("other"))
    table.holds.release("T")
    assert sorted(table.ran) == ["a", "b"]
    assert table.holds.topics == {"Other": 1}
    table.holds.release("T")
    table.pass_seconds(6)
    assert sorted(table.ran) == ["a", "b", "other"]


def test_shutdown_answers_everybody() -> None:
    table = Table()
    connection = table.connection()
    for queue in range(3):
        table.hold(str(queue), connection, queue=queue)
    table.holds.release_all()
    assert sorted(table.ran) == ["0", "1", "2"]
    assert len(table.holds) == 0


def test_ten_thousand_waiting_pulls_cost_nothing_while_they_wait() -> None:
    table = Table()
    connection = table.connection()
    for queue in range(10_000):
        table.hold("x", connection, queue=queue)
    table.pass_seconds(10)
    assert table.ran == []
    table.pass_seconds(6)
    assert len(table.ran) == 10_000


def test_topics_are_those_with_someone_waiting() -> None:
    table = Table()
    one, other = table.connection(), table.connection()
    table.hold("a", one)
    table.hold("b", other)
    table.hold("c", one, queue=1)
    assert table.holds.topics == {"T": 2}
    table.holds.arrived("T", 0, 6, [0])
    assert table.holds.topics == {"T": 1}
    one.connectionLost(Failure(ConnectionDone()))
    assert table.holds.topics == {}
    table.hold("d", other, timeout_ms=1000)
    assert table.holds.topics == {"T": 1}
    table.pass_seconds(2)
    assert table.holds.topics == {}
    table.hold("e", other)
    table.holds.release_all()
    assert table.holds.topics == {}
