"""Assignments by the broker: strategies, modes, routes, and the file of modes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import BrokerWorld, ManualThread, at_once, state_file
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from rmqd.protocol.broker.assignment import averagely, by_circle, for_pop
from rmqd.protocol.broker.pop_modes import RequestModes
from rmqd.protocol.broker.topic_queues import TopicQueues
from rmqd.protocol.remoting import PeerError
from rmqwire.bodies import (
    MessageQueue,
    QueryAssignmentRequestBody,
    QueueData,
    SetMessageRequestModeRequestBody,
    TopicRouteData,
)
from rmqwire.codes import ResponseCode
from rmqwire.command import RemotingCommand
from rmqwire.requests.lock import GetAllMessageRequestMode, QueryAssignment, SetMessageRequestMode
from rmqwire.requests.route import GetRouteInfoByTopic

QUEUES = [MessageQueue(topic="T", broker_name="a", queue_id=number) for number in range(8)]


def ids(queues: list[MessageQueue]) -> list[int]:
    return [queue.queue_id for queue in queues]


@pytest.mark.parametrize(
    ("consumers", "shares", "circles"),
    [
        (1, [[0, 1, 2, 3, 4, 5, 6, 7]], [[0, 1, 2, 3, 4, 5, 6, 7]]),
        (3, [[0, 1, 2], [3, 4, 5], [6, 7]], [[0, 3, 6], [1, 4, 7], [2, 5]]),
        (9, [[0], [1], [2], [3], [4], [5], [6], [7], []], [[0], [1], [2], [3], [4], [5], [6], [7], []]),
    ],
)
def test_every_queue_has_one_consumer(consumers: int, shares: list[list[int]], circles: list[list[int]]) -> None:
    assert [ids(averagely(index, QUEUES, consumers)) for index in range(consumers)] == shares
    assert [ids(by_circle(index, QUEUES, consumers)) for index in range(consumers)] == circles


def test_pop_consumers_share_queues() -> None:
    assert ids(for_pop(averagely, 1, QUEUES, 4, 0)) == [-1]
    assert ids(for_pop(averagely, 1, QUEUES, 4, 3)) == [-1]
    assert ids(for_pop(averagely, 3, QUEUES, 4, 1)) == [6, 7, 0, 1]
    assert ids(for_pop(averagely, 9, QUEUES, 12, 1)) == [1]
    assert for_pop(averagely, -1, QUEUES, 12, 1) == []
    two = [*QUEUES, MessageQueue(topic="T", broker_name="b", queue_id=0)]
    assert [(queue.broker_name, queue.queue_id) for queue in for_pop(averagely, 0, two, 1, -1)] == [
        ("a", -1),
        ("b", -1),
    ]


class FakeClient:
    """A client of name servers whose answers the test gives."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[Deferred[RemotingCommand]] = []

    def call(self, address: str, header: GetRouteInfoByTopic) -> Deferred[RemotingCommand]:
        self.asked.append(f"{address} {header.topic}")
        return self.answers.pop(0)


def route(read_queues: int) -> Deferred[RemotingCommand]:
    data = TopicRouteData(
        queue_datas=[
            QueueData(broker_name="b", read_queue_nums=read_queues, perm=6),
            QueueData(broker_name="a", read_queue_nums=1, perm=4),
            QueueData(broker_name="c", read_queue_nums=1, perm=2),
        ]
    )
    return succeed(RemotingCommand(0, body=data.encode()))


def test_routes_are_asked_for_once_in_a_while() -> None:
    client, clock = FakeClient(), Clock()
    queues = TopicQueues(client, lambda: ["one", "two"], clock, 30_000)  # type: ignore[arg-type]

    def told() -> Any:
        found: list[Any] = []
        queues.get("T").addCallback(found.append)
        return found[0] and [f"{queue.broker_name}{queue.queue_id}" for queue in found[0]]

    client.answers = [fail(PeerError("gone")), route(2)]
    assert told() == ["a0", "b0", "b1"]
    assert client.asked == ["one T", "two T"]
    assert told() == ["a0", "b0", "b1"]
    clock.advance(31)
    slow: Deferred[RemotingCommand] = Deferred()
    client.answers = [slow]
    assert told() == ["a0", "b0", "b1"]  # the old one, meanwhile
    route(3).addCallback(slow.callback)
    assert told() == ["a0", "b0", "b1", "b2"]
    assert len(client.asked) == 3
    clock.advance(31)
    client.answers = [succeed(RemotingCommand(ResponseCode.TOPIC_NOT_EXIST))]
    told()
    client.answers = [succeed(RemotingCommand(ResponseCode.TOPIC_NOT_EXIST))]
    assert told() is None


def test_two_that_ask_wait_for_one_answer() -> None:
    client = FakeClient()
    slow: Deferred[RemotingCommand] = Deferred()
    client.answers = [slow]
    queues = TopicQueues(client, lambda: ["one"], Clock(), 30_000)  # type: ignore[arg-type]
    found: list[Any] = []
    for _ in range(2):
        queues.get("T").addCallback(found.append)
    assert found == []
    route(1).addCallback(slow.callback)
    assert [len(each) for each in found] == [2, 2]
    assert client.asked == ["one T"]


@pytest.fixture
def world(tmp_path: Path) -> Any:
    world = BrokerWorld(tmp_path)
    yield world
    world.close()


def answer_of(world: BrokerWorld, **members: str) -> dict[str, Any]:
    asked = {"topic": "T", "consumer_group": "G", "client_id": "one", "strategy_name": "AVG", **members}
    asked.setdefault("message_model", "CLUSTERING")
    answer = world.peer().ask(QueryAssignment(), QueryAssignmentRequestBody(**asked))
    assert answer.code == 0, answer.remark
    told: dict[str, Any] = json.loads(answer.body)
    return told


def known_route(world: BrokerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    get: Callable[..., Any] = lambda self, topic: succeed(QUEUES if topic == "T" else None)  # noqa: E731
    monkeypatch.setattr(TopicQueues, "get", get)
    world.put("T", 0, b"")


def test_modes_decide_what_consumers_are_told(world: BrokerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    known_route(world, monkeypatch)
    assert answer_of(world) == {}
    world.peer("one").beat("G")
    world.peer("two").beat("G")
    told = answer_of(world)["messageQueueAssignments"]
    assert [(each["mode"], each["messageQueue"]["queueId"]) for each in told] == [
        ("PULL", number) for number in range(4)
    ]
    assert answer_of(world, client_id="nobody") == {"messageQueueAssignments": []}
    assert answer_of(world, strategy_name="NONE") == {}
    assert answer_of(world, topic="U") == {}
    assert len(answer_of(world, message_model="BROADCASTING")["messageQueueAssignments"]) == 8
    mode = SetMessageRequestModeRequestBody(topic="T", consumer_group="G", mode="POP")
    assert world.peer().ask(SetMessageRequestMode(), mode).code == ResponseCode.TOPIC_NOT_EXIST
    world.parts.topics.create_for_send_back("T", 8, 6, 0)
    assert world.peer().ask(SetMessageRequestMode(), mode).code == 0
    told = answer_of(world)["messageQueueAssignments"]
    assert [(each["mode"], each["messageQueue"]["queueId"]) for each in told] == [("POP", -1)]
    everything = json.loads(world.peer().ask(GetAllMessageRequestMode()).body)
    assert everything["messageRequestModeMap"]["T"]["G"]["mode"] == "POP"
    world.options.broker.server_load_balancer_enable = False
    assert len(answer_of(world)["messageQueueAssignments"]) == 8
    mode.topic = "%RETRY%G"
    answer = world.peer().ask(SetMessageRequestMode(), mode)
    assert (answer.code, answer.remark) == (ResponseCode.NO_PERMISSION, "retry topic is not allowed to set mode")
    assert world.peer().ask(QueryAssignment(), b"junk").code == ResponseCode.SYSTEM_ERROR
    assert world.peer().ask(QueryAssignment(), b"{}").code == ResponseCode.SYSTEM_ERROR


def test_a_mode_is_on_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    thread = ManualThread()
    modes = RequestModes(state_file(tmp_path, "messageRequestMode.json"), thread)
    done: list[None] = []
    modes.set(SetMessageRequestModeRequestBody(topic="T", consumer_group="G", mode="POP")).addCallback(done.append)
    assert done == []
    thread.run_one()
    assert done == [None]
    again = RequestModes(state_file(tmp_path, "messageRequestMode.json"), at_once)
    assert (again.get("T", "G").mode, again.get("T", "H").mode) == ("POP", "PULL")
    again.default_mode, again.default_share = "POP", 4
    assert (again.get("T", "H").mode, again.get("T", "H").pop_share_queue_num) == ("POP", 4)
    assert again.get("%RETRY%H", "H").mode == "PULL"
