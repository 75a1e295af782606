"""Sends of many connections that share a commit."""

from __future__ import annotations

from collections.abc import Callable
from gc import collect
from weakref import ref

from twisted.internet.task import Clock

from rmqd.protocol.dispatch import Dispatcher
from rmqd.protocol.remoting import RemotingConnection
from rmqwire.declare import Role
from rmqwire.frames import FrameReader, encode_frame

from .test_dispatch import Barrier, Sends, send_v2
from .wiring import Wire, connected, sent

Peer = tuple[RemotingConnection, Wire]


def crowd(count: int, failure: Exception | None = None) -> tuple[Sends, Barrier, Clock, list[Peer]]:
    sends, clock = Sends(), Clock()
    barrier = Barrier(sends.log, failure)
    dispatcher = Dispatcher(Role.BROKER, [sends], barrier=barrier, later=clock.callLater)
    return sends, barrier, clock, [connected(dispatcher, clock) for _ in range(count)]


def opaques(wire: Wire) -> list[int]:
    return [answer.opaque for answer in sent(wire)]


def test_one_connection_never_waits() -> None:
    sends, _, clock, [(connection, wire)] = crowd(1)
    for number in range(3):
        connection.dataReceived(send_v2(number))
        assert opaques(wire) == [number]
        clock.advance(0.00001)
    assert sends.log == ["stage", "commit", "finish"] * 3


def test_connections_of_one_turn_share_a_commit() -> None:
    sends, _, clock, peers = crowd(5)
    for connection, _ in peers:
        connection.dataReceived(send_v2(1) + send_v2(2))
    assert sends.log[:5] == ["stage", "stage", "commit", "finish", "finish"], "nobody else was there yet"
    assert sends.log[5:] == ["stage"] * 8
    assert [opaques(wire) for _, wire in peers] == [[1, 2], [], [], [], []]
    clock.advance(0)
    assert sends.log[13:] == ["commit"] + ["finish"] * 8
    assert [opaques(wire) for _, wire in peers] == [[], [1, 2], [1, 2], [1, 2], [1, 2]]
    # Known to be many: in the next turn the first one waits as well.
    sends.log.clear()
    for connection, _ in peers:
        connection.dataReceived(send_v2(3))
    assert sends.log == ["stage"] * 5
    clock.advance(0)
    assert sends.log[5:] == ["commit"] + ["finish"] * 5


def test_a_connection_that_is_alone_again_soon_does_not_wait() -> None:
    _, _, clock, peers = crowd(2)
    for connection, _ in peers:
        connection.dataReceived(send_v2(1))
    clock.advance(0)
    for connection, wire in peers[:1]:
        wire.clear()
        clock.advance(1)
        connection.dataReceived(send_v2(2))
        clock.advance(0)
        clock.advance(1)
        wire.clear()
        connection.dataReceived(send_v2(3))
        assert opaques(wire) == [3]


def test_a_failed_commit_is_told_to_each() -> None:
    _, _, clock, peers = crowd(3, OSError("disk full"))
    for connection, _ in peers:
        connection.dataReceived(send_v2(1))
    clock.advance(0)
    assert [[(answer.code, answer.remark) for answer in sent(wire)] for _, wire in peers] == [[(14, "disk full")]] * 3


def test_a_commit_of_somebody_else_decides() -> None:
    """A delivery of delayed messages commits what sends have staged: its failure is theirs."""
    sends, barrier, clock, peers = crowd(3)
    for connection, _ in peers:
        connection.dataReceived(send_v2(1))
    told: list[Callable[[Exception | None], None]] = barrier.waiting
    barrier.waiting = []
    for one in told:
        one(OSError("disk full"))
    assert [sent(wire)[0].code for _, wire in peers] == [0, 14, 14]
    sends.log.clear()
    clock.advance(0)
    assert sends.log == []


def test_broken_bytes_after_sends_do_not_leave_them_waiting() -> None:
    _, _, _, peers = crowd(2)
    for connection, _ in peers:
        connection.dataReceived(send_v2(1) + b"\x00\x00\x00\x09\x00\x00\x00\x01{    ")
    assert [opaques(wire) for _, wire in peers] == [[1], [1]]
    assert [wire.disconnecting for _, wire in peers] == [True, True]


def test_a_turn_holds_a_bounded_number_of_requests() -> None:
    _, _, _, peers = crowd(2)
    for connection, _ in peers:
        connection.dataReceived(b"".join(map(send_v2, range(3000))))
    assert [len(opaques(wire)) for _, wire in peers] == [3000, 3000]


def test_a_turn_holds_a_bounded_number_of_bytes() -> None:
    """What was read is in memory until the commit."""
    sends, _, clock, peers = crowd(12)
    ((serialization, header, _),) = FrameReader().receive(send_v2(1))
    megabyte = encode_frame(serialization, header, bytes(1 << 20))
    for connection, _ in peers:  # in parts: what came before the last one counts as well
        connection.dataReceived(megabyte[:-100])
    assert sends.log.count("commit") == 0
    for connection, _ in peers:
        connection.dataReceived(megabyte[-100:])
    assert [bool(opaques(wire)) for _, wire in peers] == [True] * 9 + [False] * 3
    assert sends.log.count("commit") == 3
    clock.advance(0)
    assert all(opaques(wire) for _, wire in peers[9:])
    assert sends.log.count("commit") == 4


def test_a_connection_that_is_gone_is_not_kept() -> None:
    """With it, its transport would keep all that a peer has not read."""
    _, _, _, [(connection, wire)] = crowd(1)
    connection.dataReceived(send_v2(1))
    assert opaques(wire) == [1]
    gone = ref(connection)
    connection.connectionLost()
    del connection, wire
    collect()
    assert gone() is None
