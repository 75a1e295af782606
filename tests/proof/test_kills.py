"""kill -9 and SIGTERM under load: what was acknowledged is there, where it was said to be, in order, once."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rmqwire.codes import RequestCode
from rmqwire.command import new_request
from rmqwire.requests.offset import GetMaxOffset, QueryConsumerOffset, UpdateConsumerOffset

from .broker import BrokerProcess
from .conftest import Say
from .load import QUEUES, Ledger, Link, Producer, audit
from .sizes import SEED, machine_is_busy, size, stated

KILLS = size(12, 150)
STOPS = size(5, 50)
ACKNOWLEDGED_LEAST = size(1_000, 150_000)
AUDIT_EVERY = 10
STOP_LIMIT_S = 2.0
GROUP = "proof"
FILE_BYTES = 4 << 20
"""Small, so that files end under load."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(
        tmp_path, mappedFileSizeCommitLog=FILE_BYTES, fileReservedTime=720, flushConsumerOffsetInterval=200
    )
    yield process
    process.close()


def produce(broker: BrokerProcess, ledger: Ledger, life: int, topics: int) -> list[Producer]:
    producers = [Producer(broker.port, f"proof{number % topics}", f"p{life}x{number}", ledger) for number in range(4)]
    for producer in producers:
        producer.start()
    return producers


def wait_for(ledger: Ledger, count: int) -> None:
    """Wait until so many messages are acknowledged; on a slow machine a few will do."""
    deadline = time.monotonic() + 5
    least = ledger.count + 10
    while ledger.count < count and (time.monotonic() < deadline or ledger.count < least):
        time.sleep(0.002)
        assert time.monotonic() < deadline + 60, "no message is acknowledged"


def join(producers: list[Producer]) -> None:
    for producer in producers:
        producer.join(60)
        assert not producer.is_alive()


class Offsets:
    """Consumer offsets that a group commits, and the ends of queues: neither may fall back."""

    def __init__(self) -> None:
        self._committed: dict[tuple[str, int], int] = {}
        self._seen: dict[tuple[str, int], int] = {}

    def commit(self, port: int, ledger: Ledger) -> None:
        """Consume up to what is acknowledged, as the group says."""
        link = Link(port)
        group = b'{"groupName":"%s"}' % GROUP.encode()
        link.ask(new_request(RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, None, 1, body=group))
        for topic, book in list(ledger.acknowledged.items()):
            for queue_id, offset in list(book):
                key = topic, queue_id
                self._committed[key] = max(self._committed.get(key, 0), offset + 1)
        for (topic, queue_id), offset in self._committed.items():
            header = UpdateConsumerOffset(consumer_group=GROUP, topic=topic, queue_id=queue_id, commit_offset=offset)
            answer = link.ask(new_request(15, header, 1))
            assert answer.code == 0, f"{answer.code} {answer.remark}"
        link.close()

    def check(self, port: int, ledger: Ledger, *, kept: bool) -> None:
        """Look after a start.

        Args:
            kept: the broker was stopped in order: what was committed is there to the last. After a kill it may be
                some `flushConsumerOffsetInterval` old, but never older than what a start before has shown.
        """
        link = Link(port)
        for topic, book in ledger.acknowledged.items():
            for queue_id in range(QUEUES):
                key = topic, queue_id
                acknowledged = max((offset + 1 for queue, offset in book if queue == queue_id), default=0)
                end = int(link.ask(new_request(30, GetMaxOffset(topic=topic, queue_id=queue_id), 1)).ext["offset"])
                assert end >= acknowledged, f"{topic} {queue_id} ends at {end}, acknowledged were {acknowledged}"
                header = QueryConsumerOffset(consumer_group=GROUP, topic=topic, queue_id=queue_id)
                answer = link.ask(new_request(14, header, 2))
                offset = int(answer.ext["offset"]) if answer.code == 0 else 0
                least = self._committed.get(key, 0) if kept else self._seen.get(key, 0)
                assert offset >= least, f"{topic} {queue_id}: the group is at {offset}, and was at {least}"
                self._seen[key] = offset
        link.close()


def test_kills_lose_nothing_acknowledged(broker: BrokerProcess, say: Say) -> None:
    chance = random.Random(SEED)
    ledger, offsets = Ledger(), Offsets()
    slowest_s = 0.0
    for life in range(KILLS):
        flush = "SYNC_FLUSH" if life % 2 else "ASYNC_FLUSH"
        with stated(life=life, flush=flush):
            broker.start(flushDiskType=flush)
            slowest_s = max(slowest_s, broker.started_in_s)
            offsets.check(broker.port, ledger, kept=False)
            if life % AUDIT_EVERY == AUDIT_EVERY - 1:
                audit(broker.port, ledger)
            offsets.commit(broker.port, ledger)
            producers = produce(broker, ledger, life, topics=2)
            wait_for(ledger, ledger.count + chance.randint(10, 3000))
            broker.kill()
            join(producers)
    with stated(life=KILLS):
        broker.start()
        offsets.check(broker.port, ledger, kept=False)
        counts = audit(broker.port, ledger)
    assert ledger.refused == []
    assert ledger.count >= ACKNOWLEDGED_LEAST
    say(
        f"{KILLS} kills: {ledger.count} acknowledged, {sum(counts.values())} stored, 0 lost, no offset fell back;"
        f" slowest start {slowest_s:.2f} s"
    )


def test_stops_under_load(broker: BrokerProcess, say: Say) -> None:
    """A client is answered or cut off, the broker ends well, and nothing is lost."""
    chance = random.Random(SEED)
    ledger, offsets = Ledger(), Offsets()
    slowest_s = 0.0
    for life in range(STOPS):
        with stated(life=life):
            broker.start()
            offsets.check(broker.port, ledger, kept=True)
            producers = produce(broker, ledger, life, topics=1)
            wait_for(ledger, ledger.count + chance.randint(10, 1000))
            offsets.commit(broker.port, ledger)
            busy = machine_is_busy()
            spent_s = broker.stop()
            slowest_s = max(slowest_s, spent_s)
            assert busy or spent_s < STOP_LIMIT_S, f"stopped after {spent_s:.2f} s"
            join(producers)
    with stated(life=STOPS):
        broker.start()
        offsets.check(broker.port, ledger, kept=True)
        counts = audit(broker.port, ledger)
    say(
        f"{STOPS} stops: {ledger.count} acknowledged, {sum(counts.values())} stored, 0 lost, no offset moved back;"
        f" slowest stop {slowest_s:.2f} s"
    )
