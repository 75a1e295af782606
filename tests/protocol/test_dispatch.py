"""What a client sees of requests that work, fail, wait, or do not exist."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred

from rmqd.protocol.dispatch import Dispatcher, Request, handles
from rmqd.protocol.replies import Reply, Result, Staged
from rmqwire.codes import RequestCode
from rmqwire.declare import Role
from rmqwire.errors import RequestError
from rmqwire.requests.offset import GetMaxOffset, GetMaxOffsetReply, GetMinOffset
from rmqwire.requests.send import SendMessageV2

from .wiring import ask, connected, sent

MAX = RequestCode.GET_MAX_OFFSET
MIN = RequestCode.GET_MIN_OFFSET


class Offsets:
    def __init__(self) -> None:
        self.waiting: list[Deferred[Reply | bytes | None]] = []

    @handles(GetMaxOffset)
    def max_offset(self, request: Request, header: GetMaxOffset) -> Result:
        if header.topic == "refused":
            raise RequestError("no such thing", 17)
        if header.topic == "broken":
            raise ZeroDivisionError("by our own fault")
        if header.topic == "later":
            self.waiting.append(Deferred())
            return self.waiting[-1]
        return Reply(GetMaxOffsetReply(offset=header.queue_id * 10))


class Sends:
    def __init__(self) -> None:
        self.log: list[str] = []

    @handles(SendMessageV2)
    def send(self, request: Request, header: SendMessageV2) -> Result:
        self.log.append("stage")

        def finish(failed: Exception | None) -> Result:
            self.log.append("finish")
            return Reply(remark=None if failed is None else str(failed), code=0 if failed is None else 14)

        return Staged(finish)


class Barrier:
    def __init__(self, log: list[str], failure: Exception | None = None) -> None:
        self.log = log
        self.failure = failure
        self.waiting: list[Callable[[Exception | None], None]] = []

    def when_committed(self, told: Callable[[Exception | None], None]) -> None:
        self.waiting.append(told)

    def commit(self) -> None:
        self.log.append("commit")
        waiting, self.waiting = self.waiting, []
        for told in waiting:
            told(self.failure)
        if self.failure is not None:
            raise self.failure


def send_v2(opaque: int) -> bytes:
    return ask(310, opaque, a="g", b="T", c="TBW102", d="4", e="0", f="0", g="0", h="0")


def test_a_handled_request_is_answered_with_its_opaque_and_the_response_bit() -> None:
    connection, wire = connected(Dispatcher(Role.BROKER, [Offsets()]))
    connection.dataReceived(ask(MAX, 42, topic="T", queueId="3"))
    (answer,) = sent(wire)
    assert (answer.code, answer.opaque, answer.flag, answer.ext) == (0, 42, 1, {"offset": "30"})


def test_an_unknown_code_is_answered_3_with_the_code_named() -> None:
    connection, wire = connected(Dispatcher(Role.BROKER, [Offsets()]))
    connection.dataReceived(ask(4711, 5))
    (answer,) = sent(wire)
    assert (answer.code, answer.remark, answer.opaque) == (3, " request type 4711 not supported", 5)


@pytest.mark.parametrize(
    ("topic", "code", "remark"),
    [("refused", 17, "no such thing"), ("broken", 1, "ZeroDivisionError: by our own fault")],
)
def test_an_error_in_a_handler_becomes_an_answer_and_the_connection_goes_on(topic: str, code: int, remark: str) -> None:
    connection, wire = connected(Dispatcher(Role.BROKER, [Offsets()]))
    connection.dataReceived(ask(MAX, 1, topic=topic, queueId="0") + ask(MAX, 2, topic="T", queueId="1"))
    failed, fine = sent(wire)
    assert (failed.code, failed.remark) == (code, remark)
    assert fine.ext == {"offset": "10"}


def test_a_missing_required_field_is_answered_system_error_and_named() -> None:
    connection, wire = connected(Dispatcher(Role.BROKER, [Offsets()]))
    connection.dataReceived(ask(MAX, 1, topic="T"))
    (answer,) = sent(wire)
    assert answer.code == 1
    assert "queueId" in (answer.remark or "")


@pytest.mark.parametrize("topic", ["T", "refused", "broken"])
def test_a_oneway_request_is_never_answered(topic: str) -> None:
    connection, wire = connected(Dispatcher(Role.BROKER, [Offsets()]))
    connection.dataReceived(ask(MAX, 1, oneway=True, topic=topic, queueId="1") + ask(4711, 2, oneway=True))
    assert sent(wire) == []


def test_an_answer_that_waits_does_not_hold_back_the_others() -> None:
    offsets = Offsets()
    connection, wire = connected(Dispatcher(Role.BROKER, [offsets]))
    connection.dataReceived(ask(MAX, 1, topic="later", queueId="0") + ask(MAX, 2, topic="T", queueId="1"))
    assert [answer.opaque for answer in sent(wire)] == [2]
    offsets.waiting[0].callback(Reply(GetMaxOffsetReply(offset=7)))
    assert [(answer.opaque, answer.ext) for answer in sent(wire)] == [(1, {"offset": "7"})]


def test_a_waiting_answer_that_fails_is_answered_too() -> None:
    offsets = Offsets()
    connection, wire = connected(Dispatcher(Role.BROKER, [offsets]))
    connection.dataReceived(ask(MAX, 1, topic="later", queueId="0") + ask(MAX, 2, topic="later", queueId="0"))
    offsets.waiting[0].errback(RequestError("gone", 22))
    offsets.waiting[1].errback(OSError("disk"))
    assert [(answer.code, answer.remark) for answer in sent(wire)] == [(22, "gone"), (1, "OSError: disk")]


def test_the_sends_of_one_read_are_committed_once_and_before_any_is_answered() -> None:
    sends = Sends()
    connection, wire = connected(Dispatcher(Role.BROKER, [sends], barrier=Barrier(sends.log)))
    connection.dataReceived(send_v2(1) + send_v2(2) + send_v2(3))
    assert sends.log == ["stage"] * 3 + ["commit"] + ["finish"] * 3
    assert [answer.opaque for answer in sent(wire)] == [1, 2, 3]


def test_a_commit_that_fails_acknowledges_nothing() -> None:
    sends = Sends()
    connection, wire = connected(Dispatcher(Role.BROKER, [sends], barrier=Barrier(sends.log, OSError("disk full"))))
    connection.dataReceived(send_v2(1) + send_v2(2))
    assert [(answer.code, answer.remark) for answer in sent(wire)] == [(14, "disk full")] * 2


def test_bytes_after_a_bad_header_are_not_served_but_what_came_before_is() -> None:
    connection, wire = connected(Dispatcher(Role.BROKER, [Offsets()]))
    bad = b"\0\0\0\x07\0\0\0\x03{{{"
    connection.dataReceived(ask(MAX, 1, topic="T", queueId="1") + bad + ask(MAX, 2, topic="T", queueId="1"))
    assert [answer.opaque for answer in sent(wire)] == [1]
    assert wire.disconnecting


def test_a_code_cannot_have_two_handlers_and_a_role_serves_only_its_own() -> None:
    with pytest.raises(ValueError, match="handled twice"):
        Dispatcher(Role.BROKER, [Offsets(), Offsets()])
    with pytest.raises(ValueError, match="not served by"):
        Dispatcher(Role.NAMESRV, [Offsets()])


def test_a_second_port_serves_the_same_table_less_some_codes() -> None:
    class Both(Offsets):
        @handles(GetMinOffset)
        def min_offset(self, request: Request, header: GetMinOffset) -> Result:
            return Reply(GetMaxOffsetReply(offset=0))

    main = Dispatcher(Role.BROKER, [Both()])
    vip = main.without([MAX])
    assert main.codes - vip.codes == {MAX}
    connection, wire = connected(vip)
    connection.dataReceived(ask(MAX, 1, topic="T", queueId="0") + ask(MIN, 2, topic="T", queueId="0"))
    assert [answer.code for answer in sent(wire)] == [3, 0]
