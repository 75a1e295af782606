"""A broker that is behind says so at once, and one that keeps up never does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from rmqd.protocol.broker.flow_control import FlowControl, FlowSettings
from rmqd.protocol.dispatch import Dispatcher
from rmqd.store.errors import ColdRead
from rmqwire.codes import RequestCode, ResponseCode
from rmqwire.command import RemotingCommand
from rmqwire.declare import Role
from rmqwire.errors import RequestError

from .fakes import BrokerWorld, ManualThread
from .wiring import Wire, ask, connected, sent

BUSY = ResponseCode.SYSTEM_BUSY
PULL = {
    "consumerGroup": "G", "topic": "T", "queueId": "0", "queueOffset": "0", "maxMsgNums": "32", "sysFlag": "4",
    "commitOffset": "0", "suspendTimeoutMillis": "0", "subscription": "*", "subVersion": "1",
}  # fmt: skip


class Passes:
    """Calls for the next turn of a reactor, which a `Clock` would make in the same one."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def later(self, delay_s: float, call: Callable[..., None], *args: object) -> None:
        """As `callLater`, with 0."""
        assert delay_s == 0
        self.calls.append(lambda: call(*args))

    def turn(self) -> None:
        """End a pass."""
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class World(BrokerWorld):
    """A broker whose next commits take a while."""

    def __init__(self, folder: Path, **keys: str) -> None:
        super().__init__(folder, autoCreateTopicEnable="true", **keys)
        self.takes_s: list[float] = []
        self.passes = Passes()
        self.parts.flow._later = self.passes.later
        commit = self.store.commit

        def slow() -> None:
            commit()
            if self.takes_s:
                self.reactor.rightNow += self.takes_s.pop(0)  # nothing else happens meanwhile

        self.store.commit = slow  # type: ignore[method-assign]
        self.one, self.other, self.third = (connected(self.dispatcher, self.reactor) for _ in range(3))
        assert self.send(self.one).code == 0  # the topic is there

    def send(self, peer: tuple[object, Wire], count: int = 1, **how: bool) -> RemotingCommand:
        """Send, and give the last answer."""
        return self.sends(peer, count, **how)[-1]

    def sends(self, peer: tuple[object, Wire], count: int = 1, *, oneway: bool = False) -> list[RemotingCommand]:
        frames = (
            ask(
                310, number, oneway=oneway, body=b"b", a="P", b="T", c="TBW102", d="4", e="0", f="0", g="1", h="0", i=""
            )
            for number in range(count)
        )
        peer[0].dataReceived(b"".join(frames))  # type: ignore[attr-defined]
        return sent(peer[1])

    def ask(self, peer: tuple[object, Wire], code: int, **ext: str) -> RemotingCommand:
        peer[0].dataReceived(ask(code, 7, **ext))  # type: ignore[attr-defined]
        (answer,) = sent(peer[1])
        return answer


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., World]:
    return lambda **keys: World(tmp_path, **keys)


def test_a_commit_that_takes_long_refuses_the_sends_that_waited_for_it(make: Callable[..., World]) -> None:
    world = make()
    world.takes_s = [0.25]
    assert world.send(world.one).code == 0, "what was stored is acknowledged, however long it took"
    answers = world.sends(world.other, 2)
    begins = "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: 250ms, size of queue:"
    assert [(a.opaque, a.code, a.remark) for a in answers] == [
        (0, BUSY, f"{begins} 1"),
        (1, BUSY, f"{begins} 0"),
    ]
    assert world.store.max_offset("T", 0) == 2, "nothing that was refused is stored"
    assert world.ask(world.third, RequestCode.GET_MAX_OFFSET, topic="T", queueId="0").code == 0, "it may wait 5 s"
    assert world.ask(world.third, RequestCode.PULL_MESSAGE, **PULL).code == 0
    world.passes.turn()
    assert world.send(world.other).code == 0, "what is read now may have come a moment ago"
    assert not world.parts.flow.closing


def test_the_waits_of_several_commits_add_up(make: Callable[..., World]) -> None:
    world = make()
    world.takes_s = [0.11, 0.11]
    assert [world.send(peer).code for peer in (world.one, world.other, world.third)] == [0, 0, BUSY]


def test_a_commit_within_the_limit_refuses_nothing(make: Callable[..., World]) -> None:
    world = make()
    world.takes_s = [0.19]
    assert [world.send(peer).code for peer in (world.one, world.other)] == [0, 0]
    world.passes.turn()
    world.takes_s = [0.019, 0.019]
    assert [world.send(peer).code for peer in (world.one, world.other)] == [0, 0]


def test_while_a_write_hangs_every_send_is_refused_also_those_that_came_meanwhile(make: Callable[..., World]) -> None:
    world = make()
    world.takes_s = [1.5]
    world.send(world.one)
    remark = (
        "[PCBUSY_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: 1500ms, size of queue: 0"
    )
    assert world.send(world.other).remark == remark
    world.passes.turn()
    assert world.send(world.third).remark == remark, "it came while the broker was writing"
    back = {"offset": "0", "group": "G", "delayLevel": "0", "originMsgId": "", "originTopic": "T", "unitMode": "false"}
    assert world.ask(world.other, RequestCode.CONSUMER_SEND_MSG_BACK, **back).remark == remark
    assert world.ask(world.other, RequestCode.PULL_MESSAGE, **PULL).code == 0
    world.passes.turn()
    assert [world.send(peer).code for peer in (world.one, world.other, world.third)] == [0, 0, 0]


def test_a_second_slow_commit_prolongs_it(make: Callable[..., World]) -> None:
    world = make(waitTimeMillsInSendQueue="60000")
    world.takes_s = [1.5]
    world.send(world.one)
    world.passes.turn()
    world.takes_s = [1.1]
    world.store.commit()  # of a delivery
    world.takes_s = [1.2]
    world.parts.flow.commit()
    world.passes.turn()
    assert world.send(world.other).code == BUSY
    world.passes.turn()
    assert world.send(world.other).code == 0


@pytest.mark.parametrize(
    ("code", "ext", "key"),
    [
        (RequestCode.PULL_MESSAGE, PULL, "waitTimeMillsInPullQueue"),
        (RequestCode.LITE_PULL_MESSAGE, PULL, "waitTimeMillsInLitePullQueue"),
        (RequestCode.GET_MAX_OFFSET, {"topic": "T", "queueId": "0"}, "waitTimeMillsInAdminBrokerQueue"),
        (RequestCode.HEART_BEAT, {}, "waitTimeMillsInHeartbeatQueue"),
        (RequestCode.END_TRANSACTION, {}, "waitTimeMillsInTransactionQueue"),
        (RequestCode.ACK_MESSAGE, {}, "waitTimeMillsInAckQueue"),
    ],
)
def test_other_requests_have_limits_of_their_own(
    make: Callable[..., World], code: int, ext: dict[str, str], key: str
) -> None:
    world = make(**{key: "100"})
    world.takes_s = [0.15]
    world.send(world.one)
    answer = world.ask(world.other, code, **ext)
    assert (answer.code, str(answer.remark)[:21]) == (BUSY, "[TIMEOUT_CLEAN_QUEUE]")
    assert world.send(world.third).code == 0


def test_requests_about_clients_and_offsets_are_never_refused(make: Callable[..., World]) -> None:
    world = make(waitTimeMillsInAdminBrokerQueue="100")
    world.takes_s = [0.15]
    world.send(world.one)
    answer = world.ask(world.other, RequestCode.QUERY_CONSUMER_OFFSET, consumerGroup="G", topic="T", queueId="0")
    assert answer.code == 0


def test_oneway_sends_are_stored(make: Callable[..., World]) -> None:
    world = make()
    world.takes_s = [1.5]
    world.send(world.one)
    assert world.sends(world.other, oneway=True) == []
    assert world.store.max_offset("T", 0) == 3


def test_it_can_be_switched_off_while_the_broker_runs(make: Callable[..., World]) -> None:
    world = make()
    connection, wire = world.third
    connection.dataReceived(ask(RequestCode.UPDATE_BROKER_CONFIG, body=b"brokerFastFailureEnable=false\n"))
    assert sent(wire)[0].code == 0
    world.takes_s = [1.5]
    assert [world.send(peer).code for peer in (world.one, world.other)] == [0, 0]


def test_a_header_that_does_not_parse_is_found_behind_a_refused_one(make: Callable[..., World]) -> None:
    world = make()
    world.takes_s = [1.5]
    world.send(world.one)
    connection, wire = world.other
    refused = ask(310, 5, a="P", b="T", c="TBW102", d="4", e="0", f="0", g="1", h="0", i="")
    connection.dataReceived(refused + b"\x00\x00\x00\x09\x00\x00\x00\x01{    ")
    assert [answer.opaque for answer in sent(wire)] == [5]
    assert wire.disconnecting


def test_a_clock_that_is_set_is_no_slow_commit(make: Callable[..., World]) -> None:
    world = make()
    world.takes_s = [20_000]
    assert [world.send(peer).code for peer in (world.one, world.other)] == [0, 0]


def test_sends_that_wait_for_the_disk_are_limited(tmp_path: Path) -> None:
    world = BrokerWorld(tmp_path)
    settings = FlowSettings(sends_max=3)
    flow = FlowControl(world.store, settings, world.reactor.callLater, world.reactor.seconds)
    waits: list[Deferred[int]] = []

    def when_safe(position: int) -> Deferred[int] | None:
        if not position:
            return None
        waits.append(Deferred())
        return waits[-1]

    counted = flow.counted(when_safe)
    assert counted is not None
    assert counted(0) is None
    for position in (1, 2):
        counted(position)
    assert not flow.closing
    counted(3)
    assert flow.closing
    assert flow.runtime_info()["sendThreadPoolQueueSize"] == "3"
    dispatcher = Dispatcher(Role.BROKER, world.parts.handlers, barrier=flow, gate=flow)
    connection, wire = connected(dispatcher, world.reactor)
    send = ask(310, 1, body=b"b", a="P", b="T", c="TBW102", d="4", e="0", f="0", g="1", h="0", i="")
    connection.dataReceived(send)
    (answer,) = sent(wire)
    assert (answer.code, answer.remark) == (BUSY, "[OVERLOAD]system busy, start flow control for a while")
    waits[0].callback(0)
    assert not flow.closing
    connection.dataReceived(send)
    assert sent(wire)[0].code != BUSY
    world.close()


def test_a_commit_from_a_timer_says_nothing_about_what_is_read_next(tmp_path: Path) -> None:
    """The sockets were looked at after it: what they had may have come a moment ago."""
    world = BrokerWorld(tmp_path)
    passes = Passes()
    flow = FlowControl(world.store, world.parts.flow_settings, passes.later, world.reactor.seconds)
    takes_s = [0.5, 1.5]
    world.store.commit = lambda: setattr(world.reactor, "rightNow", world.reactor.rightNow + takes_s.pop(0))  # type: ignore[method-assign]
    flow.later(0, flow.commit)
    passes.turn()
    assert not flow.closing
    flow.later(0, flow.commit)
    passes.turn()
    assert flow.closing, "but while it hung for so long whatever came is refused"
    passes.turn()
    assert not flow.closing
    world.close()


def test_pulls_that_wait_for_a_thread(tmp_path: Path) -> None:
    world, threads = BrokerWorld(tmp_path), ManualThread()
    world.parts.topics.create_for_send("T", "TBW102", 4, 0, "")
    world.put("T", 0, b"old")
    world.parts._run_in_thread = threads
    read = world.store.get_messages

    def cold(*args: object, allow_cold: bool, **kwargs: object) -> object:
        if not allow_cold:
            raise ColdRead("not in memory")
        return read(*args, allow_cold=True, **kwargs)  # type: ignore[arg-type]

    world.store.get_messages = cold  # type: ignore[method-assign, assignment]
    dispatcher = Dispatcher(Role.BROKER, world.parts._handlers("127.0.0.1:1"))
    world.parts.flow_settings.pulls_max = 2
    connection, wire = connected(dispatcher, world.reactor)
    for opaque in (1, 2, 3):
        connection.dataReceived(ask(RequestCode.PULL_MESSAGE, opaque, **PULL))
        world.reactor.advance(1.5)
    answers = sent(wire)
    (answer,) = answers
    assert (answer.opaque, answer.code, answer.remark) == (
        3, BUSY, "[OVERLOAD]system busy, start flow control for a while"
    )  # fmt: skip
    table = world.parts.flow.runtime_info()
    assert (table["pullThreadPoolQueueSize"], table["pullThreadPoolQueueHeadWaitTimeMills"]) == ("2", "4500")
    threads.run_one()
    assert [(answer.opaque, answer.code) for answer in sent(wire)] == [(1, 0)]
    world.reactor.advance(4)
    threads.run_one()
    (late,) = sent(wire)
    assert (late.opaque, late.code) == (2, BUSY)
    assert str(late.remark).startswith(
        "[TIMEOUT_CLEAN_QUEUE]broker busy, start flow control for a while, period in queue: 7000ms"
    )
    assert world.parts.flow.runtime_info()["pullThreadPoolQueueSize"] == "0"
    with pytest.raises(RequestError):
        world.parts.flow_settings.lite_pulls_max = 0
        world.parts.flow.in_thread(threads, RequestCode.LITE_PULL_MESSAGE, read)
    world.close()
