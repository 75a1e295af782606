"""Consumer and producer groups as clients see them: who is in, who is told, who is forgotten."""

from __future__ import annotations

from typing import Any

from protocol.wiring import Wire, connected, sent
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from rmqd.protocol.broker.clients import Client, ConsumerRegistry, ProducerRegistry
from rmqd.protocol.dispatch import Dispatcher
from rmqd.protocol.remoting import RemotingConnection
from rmqwire.bodies import SubscriptionData
from rmqwire.codes import RequestCode
from rmqwire.declare import Role


class Registries:
    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.consumers = ConsumerRegistry(self.clock)
        self.producers = ProducerRegistry(self.clock)

    def connect(self) -> tuple[RemotingConnection, Wire]:
        return connected(Dispatcher(Role.BROKER, []), self.clock)

    def join(
        self,
        connection: RemotingConnection,
        group: str = "g",
        client_id: str = "c",
        topics: dict[str, int] | None = None,
        **members: Any,
    ) -> bool:
        members = {
            "consume_type": "CONSUME_PASSIVELY",
            "message_model": "CLUSTERING",
            "consume_from_where": "CONSUME_FROM_FIRST_OFFSET",
            "subscriptions": [
                SubscriptionData(topic=topic, sub_string="*", sub_version=version)
                for topic, version in (topics or {"T": 1}).items()
            ],
            **members,
        }
        return self.consumers.register(group, Client(connection, client_id, "JAVA", 513), **members)


def told(wire: Wire) -> list[str]:
    """The groups whose change was announced on a connection since the last look."""
    commands = sent(wire)
    assert all(command.code == RequestCode.NOTIFY_CONSUMER_IDS_CHANGED for command in commands)
    assert all(command.is_oneway and not command.is_response for command in commands)
    return [command.ext["consumerGroup"] for command in commands]


def lose(connection: RemotingConnection) -> None:
    connection.connectionLost(Failure(ConnectionDone()))


def test_all_members_hear_of_a_new_one_after_its_answer() -> None:
    """A second consumer gets its share at once, not after the 20 seconds of the next rebalance."""
    world = Registries()
    (first, first_wire), (second, second_wire) = world.connect(), world.connect()
    assert world.join(first, client_id="a") is True
    assert told(first_wire) == [], "not before the heartbeat is answered"
    world.clock.advance(0.1)
    assert told(first_wire) == ["g"]
    assert world.join(second, client_id="b") is True
    world.clock.advance(0.1)
    assert (told(first_wire), told(second_wire)) == (["g"], ["g"])
    assert world.join(second, client_id="b") is False
    world.clock.advance(0.1)
    assert (told(first_wire), told(second_wire)) == ([], []), "a heartbeat that changes nothing tells nobody"


def test_broadcasting_groups_and_silent_ones_are_not_told() -> None:
    """Who does not share queues, or does not want to hear, is left in peace."""
    world = Registries()
    connection, wire = world.connect()
    world.join(connection, "broadcast", message_model="BROADCASTING")
    world.join(connection, "silent", notify=False)
    world.clock.advance(1)
    assert told(wire) == []
    world.consumers.notify_enabled = False
    world.join(connection, "g")
    world.clock.advance(1)
    assert told(wire) == []


def test_a_lost_connection_leaves_all_its_groups() -> None:
    """When a consumer's machine dies, the others take its queues over at once."""
    world = Registries()
    (first, first_wire), (second, _) = world.connect(), world.connect()
    for group in ("g", "h"):
        world.join(first, group, "a")
        world.join(second, group, "b")
    world.join(second, "alone", "b")
    world.clock.advance(1)
    told(first_wire)
    lose(second)
    world.clock.advance(1)
    assert sorted(told(first_wire)) == ["g", "h"]
    group = world.consumers.group("g")
    assert group is not None
    assert group.client_ids() == ["a"]
    assert world.consumers.group("alone") is None
    lose(first)
    assert world.consumers.groups == {}


def test_leaving_one_group_keeps_the_other() -> None:
    """A process that stops one of two consumers keeps the other running."""
    world = Registries()
    (first, first_wire), (second, _) = world.connect(), world.connect()
    world.join(first, client_id="a")
    world.join(second, client_id="b")
    world.join(second, "h", "b")
    world.clock.advance(1)
    told(first_wire)
    world.consumers.unregister("g", second)
    world.clock.advance(1)
    assert told(first_wire) == ["g"]
    assert world.consumers.group("h") is not None
    world.consumers.unregister("g", second)
    world.consumers.unregister("nobody", second)
    world.clock.advance(1)
    assert told(first_wire) == [], "leaving twice changes nothing"
    lose(second)
    assert world.consumers.group("h") is None, "also after the client had left another group before"


def test_a_connection_that_leaves_and_joins_again_is_followed() -> None:
    """A consumer that restarts in the same process is still taken out when the process dies."""
    world = Registries()
    connection, _ = world.connect()
    world.join(connection)
    world.consumers.unregister("g", connection)
    world.join(connection)
    lose(connection)
    assert world.consumers.group("g") is None


def test_the_newest_subscription_counts() -> None:
    """A consumer that changes its tags while it runs gets messages by the new ones; an older beat cannot undo it."""
    world = Registries()
    connection, wire = world.connect()
    world.join(connection, topics={"T": 5, "U": 5})
    world.clock.advance(1)
    told(wire)
    assert world.join(connection, topics={"T": 7, "U": 4}) is False
    group = world.consumers.group("g")
    assert group is not None
    assert {topic: data.sub_version for topic, data in group.subscriptions.items()} == {"T": 7, "U": 5}
    assert world.join(connection, topics={"T": 7, "V": 1}) is True
    assert set(group.subscriptions) == {"T", "V"}
    world.clock.advance(1)
    assert told(wire) == ["g"], "topics that come and go move queues"
    assert world.consumers.groups_of_topic("V") == {"g"}
    assert world.consumers.subscription("g", "T") is group.subscriptions["T"]
    assert world.consumers.subscription("nobody", "T") is None


def test_a_heartbeat_without_subscriptions_keeps_them() -> None:
    """Heartbeat version 2 leaves them out while they have not changed."""
    world = Registries()
    connection, _ = world.connect()
    world.join(connection, topics={"T": 5})
    assert world.join(connection, subscriptions=None) is False
    assert world.consumers.subscription("g", "T") is not None


def test_an_id_is_listed_once() -> None:
    """A consumer that reconnected while its old connection lingers does not make others skip queues."""
    world = Registries()
    (old, _), (new, _), (other, _) = world.connect(), world.connect(), world.connect()
    world.join(old, client_id="a")
    world.join(other, client_id="b")
    world.join(new, client_id="a")
    group = world.consumers.group("g")
    assert group is not None
    assert sorted(group.client_ids()) == ["a", "b"]
    found = group.find("a")
    assert found is not None
    assert found.connection is new
    lose(old)
    assert sorted(group.client_ids()) == ["a", "b"]
    assert group.find("nobody") is None


def test_another_id_on_the_same_connection_replaces_the_old_one() -> None:
    """The list holds who sends heartbeats now."""
    world = Registries()
    connection, _ = world.connect()
    world.join(connection, client_id="a")
    assert world.join(connection, client_id="b") is False
    group = world.consumers.group("g")
    assert group is not None
    assert group.client_ids() == ["b"]


def test_thousands_of_starts_cost_few_announcements() -> None:
    """A fleet that starts together is told some times a second, not once per member and start."""
    world = Registries()
    peers = [world.connect() for _ in range(400)]
    for number, (connection, _) in enumerate(peers):
        world.join(connection, client_id=str(number))
        world.clock.advance(0.001)
    world.clock.advance(2)
    announcements = sum(len(told(wire)) for _, wire in peers)
    assert announcements < 400 * 10
    for _, wire in peers:
        wire.clear()
    world.join(world.connect()[0], client_id="last")
    world.clock.advance(2)
    assert all(told(wire) == ["g"] for _, wire in peers), "the last change still reaches everyone"


def test_who_falls_silent_is_forgotten() -> None:
    """A consumer whose machine hangs gives its queues back after two minutes, and its connection is closed."""
    world = Registries()
    (first, first_wire), (second, second_wire) = world.connect(), world.connect()
    world.join(first, client_id="a")
    world.join(second, client_id="b")
    world.producers.register("p", Client(second, "b", "JAVA", 513))
    for _ in range(4):
        world.clock.advance(30)
        world.join(first, client_id="a")
        world.consumers.scan()
        world.producers.scan()
    told(first_wire)
    assert len(world.consumers.groups["g"].connections) == 2
    world.clock.advance(5)
    world.consumers.scan()
    world.producers.scan()
    world.clock.advance(1)
    assert world.consumers.groups["g"].client_ids() == ["a"]
    assert world.producers.groups == {}
    assert second_wire.aborted
    assert not first_wire.aborted
    assert told(first_wire) == ["g"]


def test_the_time_until_a_consumer_is_forgotten_is_configured_and_that_of_a_producer_is_not() -> None:
    """channelExpiredTimeout=10000: a silent consumer loses its queues after ten seconds."""
    world = Registries()
    world.consumers = ConsumerRegistry(world.clock, expiry_ms=10_000)
    (connection, wire), (producing, producing_wire) = world.connect(), world.connect()
    world.join(connection)
    world.producers.register("p", Client(producing, "c", "JAVA", 513))
    world.clock.advance(10)
    world.consumers.scan()
    assert world.consumers.group("g") is not None
    world.clock.advance(1)
    world.consumers.scan()
    world.producers.scan()
    assert world.consumers.group("g") is None
    assert wire.aborted
    assert not producing_wire.aborted


def test_changes_are_told_in_rounds_where_that_is_configured() -> None:
    """realTimeNotifyConsumerChange=false: however many come, the members hear of it once in 15 seconds."""
    world = Registries()
    world.consumers.real_time = False
    (first, first_wire), (second, _) = world.connect(), world.connect()
    world.join(first, client_id="a")
    world.join(second, client_id="b")
    world.clock.advance(4)  # the rounds are those of the clock: 1005, 1020
    assert told(first_wire) == []
    world.clock.advance(1.01)
    assert told(first_wire) == ["g"]
    world.clock.advance(60)
    assert told(first_wire) == []


def test_new_producers_are_not_noted_where_nobody_needs_them() -> None:
    """Known ones stay until they leave; of others nothing is kept, not even a group."""
    world = Registries()
    (known, _), (new, _) = world.connect(), world.connect()
    world.producers.register("p", Client(known, "a", "JAVA", 513))
    world.producers.takes_new = False
    world.producers.register("p", Client(new, "b", "JAVA", 513))
    world.producers.register("q", Client(new, "b", "JAVA", 513))
    assert set(world.producers.groups) == {"p"}
    assert set(world.producers.groups["p"]) == {known}
    world.clock.advance(100)
    world.producers.register("p", Client(known, "a", "JAVA", 513))
    world.clock.advance(100)
    world.producers.scan()
    assert set(world.producers.groups["p"]) == {known}, "its heartbeats count"


def test_producers_are_found_by_id_and_by_group() -> None:
    """Replies to requesters and transaction checks reach a producer that is connected."""
    world = Registries()
    (first, _), (second, _) = world.connect(), world.connect()
    world.producers.register("p", Client(first, "a", "JAVA", 513))
    world.producers.register("p", Client(second, "b", "JAVA", 513))
    world.producers.register("q", Client(second, "b", "JAVA", 513))
    assert world.producers.connection_of("a") is first
    assert {world.producers.any_connection("p") for _ in range(4)} == {first, second}
    world.producers.unregister("p", first)
    assert world.producers.connection_of("a") is None
    assert world.producers.any_connection("p") is second
    lose(second)
    assert world.producers.groups == {}
    assert world.producers.any_connection("p") is None
    assert world.producers.connection_of("b") is None
