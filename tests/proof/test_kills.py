"""kill -9 and SIGTERM under load: what was acknowledged is there, where it was said to be, in order, once."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .broker import BrokerProcess
from .load import Ledger, Producer, audit

LONG = os.environ.get("RMQD_PROOF") == "soak"
KILLS = 150 if LONG else 12
STOPS = 50 if LONG else 5
AUDIT_EVERY = 10
SEED = int(os.environ.get("RMQD_PROOF_SEED", "20260607"))
FILE_BYTES = 4 << 20
"""Small, so that files end under load."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(tmp_path, mappedFileSizeCommitLog=FILE_BYTES, fileReservedTime=720)
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


def test_kills_lose_nothing_acknowledged(broker: BrokerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(SEED)
    ledger = Ledger()
    slowest_s = 0.0
    for life in range(KILLS):
        broker.start(flushDiskType="SYNC_FLUSH" if life % 2 else "ASYNC_FLUSH")
        slowest_s = max(slowest_s, broker.started_in_s)
        if life % AUDIT_EVERY == AUDIT_EVERY - 1:
            audit(broker.port, ledger)
        producers = produce(broker, ledger, life, topics=2)
        wait_for(ledger, ledger.count + chance.randint(10, 3000))
        broker.kill()
        join(producers)
    broker.start()
    counts = audit(broker.port, ledger)
    assert ledger.refused == []
    with capsys.disabled():
        print(
            f"\n{KILLS} kills, seed {SEED}: {ledger.count} acknowledged, {sum(counts.values())} stored, 0 lost;"
            f" slowest start {slowest_s:.2f} s"
        )


def test_stops_under_load(broker: BrokerProcess, capsys: pytest.CaptureFixture[str]) -> None:
    """A client is answered or cut off, the broker ends well, and nothing is lost."""
    chance = random.Random(SEED)
    ledger = Ledger()
    slowest_s = 0.0
    for life in range(STOPS):
        broker.start()
        producers = produce(broker, ledger, life, topics=1)
        wait_for(ledger, ledger.count + chance.randint(10, 1000))
        slowest_s = max(slowest_s, broker.stop())
        join(producers)
    broker.start()
    counts = audit(broker.port, ledger)
    with capsys.disabled():
        print(
            f"\n{STOPS} stops, seed {SEED}: {ledger.count} acknowledged, {sum(counts.values())} stored, 0 lost;"
            f" slowest stop {slowest_s:.2f} s"
        )
