"""What a peer sees of a connection: frames in any pieces, bad bytes, silence, and requests that we send."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rmqd.protocol.dispatch import Dispatcher
from rmqd.protocol.remoting import ConnectionGone, RequestTimeout
from rmqwire.command import RemotingCommand, encode_command
from rmqwire.declare import Role
from rmqwire.requests.heartbeat import NotifyConsumerIdsChanged
from rmqwire.requests.offset import GetMaxOffset

from .test_dispatch import MAX, Offsets
from .wiring import ask, connected, sent


def test_a_request_in_single_bytes_is_served_like_one_in_one_piece() -> None:
    connection, wire = connected(Dispatcher(Role.BROKER, [Offsets()]))
    for byte in ask(MAX, 9, topic="T", queueId="2"):
        connection.dataReceived(bytes([byte]))
    assert [(answer.opaque, answer.ext) for answer in sent(wire)] == [(9, {"offset": "20"})]


def test_an_oversized_length_closes_the_connection_before_anything_is_buffered() -> None:
    connection, wire = connected(Dispatcher(Role.BROKER, [Offsets()]))
    connection.dataReceived(b"\x7f\xff\xff\xff")
    assert wire.disconnecting


def test_our_request_gets_the_answer_with_its_opaque() -> None:
    connection, wire = connected(Dispatcher(Role.BROKER, []))
    first = connection.call(GetMaxOffset(topic="A", queue_id=0))
    second = connection.call(GetMaxOffset(topic="B", queue_id=0))
    asked = sent(wire)
    assert [request.ext["topic"] for request in asked] == ["A", "B"]
    for request in reversed(asked):
        connection.dataReceived(
            encode_command(RemotingCommand(0, flag=1, opaque=request.opaque, remark=request.ext["topic"]))
        )
    remarks: list[str | None] = []
    first.addCallback(lambda answer: remarks.append(answer.remark))
    second.addCallback(lambda answer: remarks.append(answer.remark))
    assert remarks == ["A", "B"]


def test_a_peer_that_does_not_answer_is_a_timeout_and_its_late_answer_is_dropped() -> None:
    clock = Clock()
    connection, wire = connected(Dispatcher(Role.BROKER, []), clock)
    failures: list[Failure] = []
    connection.call(GetMaxOffset(topic="A", queue_id=0), timeout_ms=3000).addErrback(failures.append)
    (request,) = sent(wire)
    clock.advance(3.01)
    assert failures[0].check(RequestTimeout)
    connection.dataReceived(encode_command(RemotingCommand(0, flag=1, opaque=request.opaque)))
    assert not wire.disconnecting


def test_a_lost_connection_fails_what_waits_and_tells_its_followers_once() -> None:
    clock = Clock()
    connection, _ = connected(Dispatcher(Role.BROKER, []), clock)
    failures: list[Failure] = []
    lost: list[object] = []
    connection.on_lost.append(lost.append)
    connection.call(GetMaxOffset(topic="A", queue_id=0)).addErrback(failures.append)
    connection.connectionLost(Failure(ConnectionDone()))
    assert failures[0].check(ConnectionGone)
    assert lost == [connection]
    assert not clock.getDelayedCalls()
    connection.call(GetMaxOffset(topic="A", queue_id=0)).addErrback(failures.append)
    assert failures[1].check(ConnectionGone)


def test_a_notice_is_a_oneway_request() -> None:
    connection, wire = connected(Dispatcher(Role.BROKER, []))
    connection.tell(NotifyConsumerIdsChanged(consumer_group="g"))
    (notice,) = sent(wire)
    assert (notice.code, notice.flag, notice.ext) == (40, 2, {"consumerGroup": "g"})


def test_a_peer_that_does_not_read_its_answers_is_not_read_from() -> None:
    connection, wire = connected(Dispatcher(Role.BROKER, [Offsets()]))
    connection.pauseProducing()
    assert wire.producerState == "paused"
    connection.resumeProducing()
    assert wire.producerState == "producing"
