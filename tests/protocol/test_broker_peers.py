"""Requests to other brokers by name: who waits for name servers, and how often they are asked."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rmqd.protocol.broker.broker_peers import BELIEVED_S, BrokerPeers
from rmqd.protocol.peer_errors import RequestTimeout
from rmqwire.bodies import BrokerData, ClusterInfo
from rmqwire.command import RemotingCommand
from rmqwire.declare import Header
from rmqwire.errors import RequestError
from rmqwire.requests import GetMaxOffset
from rmqwire.requests.route import GetBrokerClusterInfo

NAME_SERVERS = ("n1:9876", "n2:9876")
ASKED = GetMaxOffset(topic="T", queue_id=0)


class Client:
    """Connections whose answers the test gives: those of brokers at once, those of name servers when it says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[RemotingCommand]]] = []
        self.called: list[str] = []
        self.down: set[str] = set()

    def call(self, address: str, header: Header, *, timeout_ms: int) -> Deferred[RemotingCommand]:
        assert timeout_ms == 3000
        answer: Deferred[RemotingCommand] = Deferred()
        if isinstance(header, GetBrokerClusterInfo):
            self.asked.append((address, answer))
            return answer
        self.called.append(address)
        if address in self.down:
            answer.errback(RequestTimeout("no answer"))
        else:
            answer.callback(RemotingCommand(0, remark=address))
        return answer

    def tell(self, address: str) -> None:
        """Have the name server that is asked say where broker b is."""
        table = {"b": BrokerData(broker_addrs={0: address})}
        self.asked.pop(0)[1].callback(RemotingCommand(0, body=ClusterInfo(broker_addr_table=table).encode()))

    def fail(self) -> str:
        """Have it not answer; give its address."""
        address, answer = self.asked.pop(0)
        answer.errback(RequestTimeout("no answer"))
        return address


class World:
    def __init__(self) -> None:
        self.clock, self.client = Clock(), Client()
        client: Any = self.client
        self.peers = BrokerPeers(client, lambda: NAME_SERVERS, self.clock, lambda: 3000)

    def call(self, name: str = "b") -> list[object]:
        """Call a broker; give the list that its answer or failure comes to."""
        came: list[object] = []
        done = Deferred.fromCoroutine(self.peers.call(name, ASKED))
        done.addCallbacks(lambda answer: came.append(answer.remark), lambda failure: came.append(failure.value))
        return came


@pytest.fixture
def world() -> World:
    """Where broker b is known to be at `old`."""
    world = World()
    first = world.call()
    assert first == []
    world.client.tell("old")
    assert first == ["old"]
    return world


def test_who_asks_for_a_known_name_does_not_wait(world: World) -> None:
    """Not even while name servers are silent; what they say counts from then on."""
    world.clock.advance(BELIEVED_S)
    assert world.call() == ["old"]
    assert world.call() == ["old"]
    assert [address for address, _ in world.client.asked] == ["n1:9876"], "one question for both"
    assert world.client.fail() == "n1:9876"
    world.client.tell("new")
    assert world.call() == ["new"]
    assert world.client.asked == []


def test_after_an_attempt_that_failed_the_next_one_waits_its_time(world: World) -> None:
    world.clock.advance(BELIEVED_S)
    assert world.call() == ["old"]
    assert [world.client.fail(), world.client.fail()] == list(NAME_SERVERS)
    world.clock.advance(BELIEVED_S - 1)
    assert world.call() == ["old"]
    assert world.client.asked == []
    world.clock.advance(1)
    assert world.call() == ["old"]
    assert len(world.client.asked) == 1


def test_all_who_ask_for_an_unknown_name_wait_for_the_same_answer() -> None:
    world = World()
    calls = [world.call(), world.call(), world.call("c")]
    assert len(world.client.asked) == 1
    world.client.tell("here")
    assert calls[:2] == [["here"], ["here"]]
    (failure,) = calls[2]
    assert isinstance(failure, RequestError)
    assert failure.remark == "cannot find addr for broker c"


def test_a_broker_that_does_not_answer_is_asked_for_again(world: World) -> None:
    """Unless its new address was told while it did not."""
    world.client.down.add("old")
    (failure,) = world.call()
    assert isinstance(failure, RequestError)
    assert failure.remark == "b at old: no answer"
    again = world.call()
    assert again == []
    world.client.tell("new")
    assert again == ["new"]
