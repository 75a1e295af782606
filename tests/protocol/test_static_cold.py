"""Pulls of static topics by groups that cold-data flow control slows down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from protocol.fakes import BrokerWorld, Peer, consumer
from protocol.test_static_topics import Pair, pull, told
from protocol.wiring import sent

from rmqd.protocol.broker.broker_peers import BrokerPeers
from rmqwire.bodies import HeartbeatData
from rmqwire.requests import HeartBeat


@pytest.fixture
def slowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """All but the end of the log is cold, and a pull consumer has read too much of it on both brokers."""
    pair = Pair(tmp_path)
    monkeypatch.setattr(BrokerPeers, "call", lambda _, name, header: pair.call(name, header))
    pair.remapped()
    for world in pair.worlds.values():
        puller = consumer("g", ("S",), consume_type="CONSUME_ACTIVELY")
        assert world.peer().ask(HeartBeat(), HeartbeatData(client_id="puller", consumer_data_set=[puller])).code == 0
        settings = world.parts.cold.settings
        settings.enabled, settings.hot_percent, settings.group_limit_bytes = True, 0, 1
    assert told(pair.ask("broker-b", pull(0)))[:2] == (0, 3)
    assert told(pair.ask("broker-b", pull(10_000)))[:2] == (0, 10_002)
    yield pair
    pair.close()


@pytest.mark.parametrize("offset", [0, 10_000], ids=["on the other broker", "here"])
def test_a_cold_pull_is_answered_at_once_with_one_message_and_logical_offsets(slowed: Pair, offset: int) -> None:
    answer = slowed.ask("broker-b", pull(offset))
    assert told(answer)[:2] == (0, offset + 1)
    assert answer.ext["offsetDelta"] == str(offset)


def cold_pull(world: BrokerWorld, *, logical: bool | None) -> Peer:
    """Pull from a broker's physical queue as a consumer or as another broker does."""
    world.parts.static_topics.table.table.clear()
    peer = world.peer()
    peer.send(msgspec.structs.replace(pull(0), logical=logical))
    return peer


def test_a_cold_pull_of_another_broker_is_answered_at_once(slowed: Pair) -> None:
    """Also where no static topic is known any more, and nobody stands before the handlers."""
    peer = cold_pull(slowed.worlds["broker-a"], logical=False)
    (answer,) = sent(peer.wire)
    assert told(answer)[:2] == (0, 1)


def test_a_cold_pull_of_any_other_queue_is_kept_for_a_while(slowed: Pair) -> None:
    world = slowed.worlds["broker-a"]
    peer = cold_pull(world, logical=None)
    assert sent(peer.wire) == []
    for _ in range(4):
        world.reactor.advance(1)
        world.parts.holds.sweep()
    (answer,) = sent(peer.wire)
    assert told(answer)[:2] == (0, 1)
