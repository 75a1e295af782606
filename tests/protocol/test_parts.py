"""What the configuration and the name servers say reaches the parts of a broker, at the start and when it changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld
from protocol.wiring import ask, connected, sent

from rmqd.protocol.broker.clients import Client
from rmqwire.bodies import TopicConfig
from rmqwire.codes import RequestCode, ResponseCode


class World(BrokerWorld):
    def change(self, **keys: str) -> None:
        connection, wire = connected(self.dispatcher, self.reactor)
        body = "".join(f"{key}={value}\n" for key, value in keys.items()).encode()
        connection.dataReceived(ask(RequestCode.UPDATE_BROKER_CONFIG, body=body))
        (answer,) = sent(wire)
        assert answer.code == ResponseCode.SUCCESS, answer.remark


@pytest.fixture
def made() -> Iterator[list[World]]:
    """The worlds of a test, closed at its end."""
    worlds: list[World] = []
    yield worlds
    for world in worlds:
        world.close()


def test_ordered_topics_of_the_name_server_are_marked(tmp_path: Path, made: list[World]) -> None:
    """A topic may be made after the configuration of orders: each registration marks what is there by then."""
    made.append(world := World(tmp_path))
    world.parts.registration.on_order_topics({"T": "broker-a:4"})
    world.parts.topics.update(TopicConfig(topic_name="T"))
    before = world.parts.topics.get("T")
    assert before is not None
    assert not before.order
    world.parts.registration.on_order_topics({"T": "broker-a:4", "Unknown": "broker-a:4"})
    after = world.parts.topics.get("T")
    assert after is not None
    assert after.order
    assert world.parts.topics.get("Unknown") is None


def test_silent_consumers_are_forgotten_as_configured(tmp_path: Path, made: list[World]) -> None:
    made.append(world := World(tmp_path, channelExpiredTimeout="5000"))
    connection, wire = connected(world.dispatcher, world.reactor)
    world.parts.consumers.register(
        "g",
        Client(connection, "c", "JAVA", 513),
        consume_type="CONSUME_PASSIVELY",
        message_model="CLUSTERING",
        consume_from_where=None,
        subscriptions=[],
    )
    world.reactor.advance(6)
    world.parts.consumers.scan()
    assert world.parts.consumers.group("g") is None
    assert wire.aborted


def test_changes_act_at_once(tmp_path: Path, made: list[World]) -> None:
    """As official brokers: producers go unnoted only where transactions are refused as well."""
    made.append(world := World(tmp_path))
    assert world.parts.consumers.real_time
    world.change(realTimeNotifyConsumerChange="false", enableRegisterProducer="false")
    assert not world.parts.consumers.real_time
    assert world.parts.producers.takes_new
    world.change(rejectTransactionMessage="true")
    assert not world.parts.producers.takes_new
    world.change(enableRegisterProducer="true")
    assert world.parts.producers.takes_new
