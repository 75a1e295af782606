"""Pulls: every status with where to go on, who is refused, long and short polling, and what is counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld, Peer
from protocol.wiring import sent

from rmqwire.bodies import SubscriptionGroupConfig, TopicConfig
from rmqwire.codes import ResponseCode
from rmqwire.command import RemotingCommand
from rmqwire.requests.pull import LitePullMessage, PullMessage

COMMIT, SUSPEND, SUBSCRIPTION, CLASS_FILTER = 1, 2, 4, 8


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    broker.parts.topics.update(TopicConfig(topic_name="T", read_queue_nums=2, write_queue_nums=2))
    yield broker
    broker.close()


def pull(
    offset: int = 0,
    *,
    topic: str = "T",
    queue_id: int = 0,
    group: str = "g",
    flags: int = SUBSCRIPTION,
    expression: str = "*",
    suspend_ms: int = 0,
    max_nums: int = 32,
    max_bytes: int | None = None,
) -> PullMessage:
    return PullMessage(
        consumer_group=group,
        topic=topic,
        queue_id=queue_id,
        queue_offset=offset,
        max_msg_nums=max_nums,
        sys_flag=flags,
        commit_offset=0,
        suspend_timeout_millis=suspend_ms,
        sub_version=0,
        subscription=expression,
        expression_type="TAG",
        max_msg_bytes=max_bytes,
    )


def told(answer: RemotingCommand) -> tuple[int, str | None, str]:
    return answer.code, answer.remark, answer.ext["nextBeginOffset"]


@pytest.mark.parametrize(
    ("offset", "queue_id", "expected"),
    [
        (0, 0, (ResponseCode.SUCCESS, "FOUND", "3")),
        (3, 0, (ResponseCode.PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE", "3")),
        (4, 0, (ResponseCode.PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY", "3")),
        (-1, 0, (ResponseCode.PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL", "0")),
        (0, 1, (ResponseCode.PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", "0")),
        (7, 1, (ResponseCode.PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", "0")),
        (-1, 1, (ResponseCode.PULL_OFFSET_MOVED, "NO_MESSAGE_IN_QUEUE", "0")),
    ],
)
def test_each_place_has_its_answer(
    world: BrokerWorld, offset: int, queue_id: int, expected: tuple[int, str, str]
) -> None:
    """A consumer at a wrong offset is sent to the one that the official broker would send it to."""
    world.put("T", 0, b"a", b"b", b"c")
    assert told(world.peer().ask(pull(offset, queue_id=queue_id))) == expected


def test_a_limit_of_bytes_is_not_looked_at(world: BrokerWorld) -> None:
    """5.x clients name one in every pull; the official broker has limits of its own alone."""
    world.put("T", 0, b"a", b"b")
    assert told(world.peer().ask(pull(max_bytes=1))) == (ResponseCode.SUCCESS, "FOUND", "2")


def refused(answer: RemotingCommand) -> tuple[int, dict[str, str]]:
    assert answer.remark
    return answer.code, answer.ext


def test_refusals_tell_who_forbade(world: BrokerWorld) -> None:
    """An administrator sees in the client's log whether broker, group, topic or model forbids to read."""
    peer, topics = world.peer(), world.parts.topics
    topics.update(TopicConfig(topic_name="W", perm=2))
    world.parts.groups.update(SubscriptionGroupConfig(group_name="off", consume_enable=False))
    world.parts.groups.update(SubscriptionGroupConfig(group_name="calm", consume_broadcast_enable=False))
    denied = ResponseCode.NO_PERMISSION
    assert refused(peer.ask(pull(topic="W"))) == (denied, {"forbiddenType": "3"})
    assert refused(peer.ask(pull(group="off"))) == (denied, {"forbiddenType": "2"})
    assert refused(peer.ask(pull(group="a$b"))) == (ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, {})
    assert refused(peer.ask(pull(topic="absent"))) == (ResponseCode.TOPIC_NOT_EXIST, {})
    assert refused(peer.ask(pull(queue_id=2))) == (ResponseCode.INVALID_PARAMETER, {})
    assert refused(peer.ask(pull(expression="||"))) == (ResponseCode.SUBSCRIPTION_PARSE_FAILED, {})
    assert refused(peer.ask(pull(flags=0, group="stranger"))) == (ResponseCode.SUBSCRIPTION_NOT_EXIST, {})
    world.parts.pull_checks.broker_permission = 2
    assert refused(peer.ask(pull())) == (denied, {"forbiddenType": "1"})


def test_consumers_that_pull_by_hand_can_be_refused(world: BrokerWorld) -> None:
    """With rejectPullConsumerEnable only push consumers and the system's own are served."""
    world.parts.pull_checks.reject_pull_consumers = True
    peer = world.peer()
    assert refused(peer.ask(pull())) == (ResponseCode.SUBSCRIPTION_NOT_EXIST, {})
    assert peer.ask(pull(group="CID_RMQ_SYS_x")).code == ResponseCode.PULL_NOT_FOUND
    peer.beat("g")
    assert peer.ask(pull()).code == ResponseCode.PULL_NOT_FOUND


def test_lite_pulls_can_be_switched_off(world: BrokerWorld) -> None:
    """`litePullMessageEnable=false` refuses 361 and leaves 11 alone."""
    world.parts.pull_settings.lite_pull_message_enable = False
    header = LitePullMessage(**{name: getattr(pull(), name) for name in PullMessage.__struct_fields__})
    assert refused(world.peer().ask(header)) == (ResponseCode.NO_PERMISSION, {"forbiddenType": "1"})
    assert world.peer().ask(pull()).code == ResponseCode.PULL_NOT_FOUND


def held(world: BrokerWorld, peer: Peer, suspend_ms: int) -> None:
    peer.send(pull(flags=SUBSCRIPTION | SUSPEND, suspend_ms=suspend_ms))
    assert sent(peer.wire) == []
    assert len(world.parts.holds) == 1


def after(world: BrokerWorld, seconds: int, peer: Peer) -> list[RemotingCommand]:
    for _ in range(seconds):
        world.reactor.advance(1)
        world.parts.holds.sweep()
    return sent(peer.wire)


def test_a_pull_that_may_wait_waits_as_long_as_it_says(world: BrokerWorld) -> None:
    """Long polling: the answer comes with the first message, or NOT_FOUND when the client's time is over."""
    peer = world.peer()
    held(world, peer, 15_000)
    assert after(world, 14, peer) == []
    (answer,) = after(world, 2, peer)
    assert told(answer) == (ResponseCode.PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE", "0")
    held(world, peer, 15_000)
    world.put("T", 0, b"m")
    (answer,) = sent(peer.wire)
    assert told(answer) == (ResponseCode.SUCCESS, "FOUND", "1")


def test_short_polling_waits_a_second(world: BrokerWorld) -> None:
    """`longPollingEnable=false`: the broker's shortPollingTimeMills stands for the client's time."""
    world.parts.pull_settings.long_polling_enable = False
    peer = world.peer()
    held(world, peer, 15_000)
    (answer,) = after(world, 2, peer)
    assert answer.code == ResponseCode.PULL_NOT_FOUND


def test_pulls_that_find_nothing_are_counted(world: BrokerWorld) -> None:
    """brokerStatus shows hits and misses; a consumer that an administrator moved is neither."""
    peer, stats = world.peer(), world.parts.stats
    peer.ask(pull())
    peer.ask(pull(9))
    world.put("T", 0, b"m")
    peer.ask(pull())
    world.parts.offsets.assign_reset_offset("g", "T", 0, 0)
    assert told(peer.ask(pull()))[1] == "OFFSET_RESET"
    assert (stats._missed.count, stats._found.count) == (2, 1)


def test_ten_thousand_waiting_pulls_cost_one_object_each(world: BrokerWorld) -> None:
    """An arrival touches those who wait for its queue, and a sweep those whose time it is."""
    peers = [world.peer(f"c{number}") for number in range(20)]
    for number in range(50):
        world.parts.topics.update(TopicConfig(topic_name=f"T{number}"))
    for peer in peers:
        for number in range(500):
            peer.send(
                pull(topic=f"T{number % 50}", flags=SUBSCRIPTION | SUSPEND, suspend_ms=60_000, group=f"g{number}")
            )
    assert len(world.parts.holds) == 10_000
    world.put("T7", 0, b"m")
    assert len(world.parts.holds) == 9_800
    peers[0].leave()
    assert len(world.parts.holds) == 9_800 * 19 // 20
    for _ in range(62):
        world.reactor.advance(1)
        world.parts.holds.sweep()
    assert len(world.parts.holds) == 0
