"""What only a master does begins when a broker becomes one, ends when it is one no more, and begins anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld
from twisted.internet.defer import Deferred

from rmqd.protocol.broker.leading import Leading
from rmqwire.codes import ResponseCode
from rmqwire.requests.send import SendMessage


class World(BrokerWorld):
    """A broker whose messages of delay level 1 are due at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, messageDelayLevel="0s 1h")
        self.leading = Leading(self.parts)
        self.rounds: list[str] = []

    def begin(self) -> None:
        self.leading.begin()

    def end(self) -> None:
        done = Deferred.fromCoroutine(self.leading.end())
        self.reactor.advance(0)
        assert done.called

    def send_delayed(self) -> None:
        header = SendMessage(
            producer_group="PG", topic="T", default_topic="TBW102", default_topic_queue_nums=4, queue_id=0,
            sys_flag=0, born_timestamp=1, flag=0, properties="DELAY\x011\x02",
        )  # fmt: skip
        assert self.peer().ask(header, b"x").code == ResponseCode.SUCCESS

    def delivered(self) -> int:
        self.parts.delayed.tick()
        return self.store.max_offset("T", 0)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_delayed_messages_are_delivered_by_a_master(world: World) -> None:
    world.send_delayed()
    assert world.delivered() == 0
    world.begin()
    assert world.delivered() == 1
    world.end()
    world.send_delayed()
    assert world.delivered() == 1
    world.begin()
    assert world.delivered() == 2


def test_a_new_master_goes_on_where_the_copied_progress_is(world: World) -> None:
    world.begin()
    world.send_delayed()
    world.send_delayed()
    assert world.delivered() == 2
    world.end()
    world.parts.delay_offsets.set(1, 1)  # another master had delivered one of the two when this was copied
    world.begin()
    assert world.delivered() == 3


def test_rounds_run_while_it_leads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transaction checks and the return of popped messages."""

    async def check(queue_id: int) -> None:
        world.rounds.append("check")

    monkeypatch.setattr(world.parts.transactions._check, "check", check)
    interval_s = world.parts.transaction_settings.check_interval_ms / 1000
    half = world.parts.topics.get("RMQ_SYS_TRANS_HALF_TOPIC")
    assert half is not None
    each = half.read_queue_nums
    world.begin()
    world.reactor.advance(interval_s)
    assert len(world.rounds) == each
    world.end()
    world.reactor.advance(interval_s * 3)
    assert len(world.rounds) == each
    assert not world.leading.running
    world.begin()
    world.begin()
    world.reactor.advance(interval_s)
    assert len(world.rounds) == 2 * each, "begun twice is begun once"


def test_what_was_read_of_popped_messages_is_read_anew(world: World) -> None:
    world.begin()
    before = world.parts.pops._queues
    world.end()
    world.begin()
    assert all(queue not in before for queue in world.parts.pops._queues)
    assert all(queue.stopped for queue in before)
    world.end()
