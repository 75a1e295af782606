"""How long a broker takes to serve again after a kill: with a long log, and with very many queues."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rmqwire.command import new_request
from rmqwire.requests.offset import GetMaxOffset

from .broker import BrokerProcess
from .clients import send_request
from .conftest import Say
from .load import Ledger, Link, Producer, audit
from .sizes import LONG, machine_is_busy, size, stated

LOG_BYTES = size(24 << 20, 1 << 30)
LOG_LIMIT_S = 1.5
QUEUES = size(800, 20_000)
QUEUES_LIMIT_S = 3.0
PER_TOPIC = 8
RESTARTS = size(1, 3)
BODY_BYTES = 16_384


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(tmp_path, fileReservedTime=720)
    yield process
    process.close()


def restarts(broker: BrokerProcess, limit_s: float) -> str:
    """Kill it and start it some times; tells the seconds from the start of the process until it served.

    On a machine that is busy with something else the limit is one of processor time.
    """
    said = []
    for number in range(RESTARTS):
        busy = machine_is_busy() or not LONG
        broker.kill()
        broker.start()
        spent_s = broker.started_with_cpu_s if busy else broker.started_in_s
        said.append(f"{broker.started_in_s:.2f} s ({broker.started_with_cpu_s:.2f} s of CPU)")
        with stated(restart=number):
            assert spent_s <= limit_s, f"{said[-1]}, the limit is {limit_s} s"
    return ", ".join(said) + (", on a busy machine" if machine_is_busy() else "")


def test_a_restart_with_a_long_log(broker: BrokerProcess, say: Say) -> None:
    broker.start()
    ledger = Ledger()
    producers = [Producer(broker.port, "restart", f"p{number}", ledger, size=BODY_BYTES) for number in range(2)]
    for producer in producers:
        producer.start()
    while ledger.count * BODY_BYTES < LOG_BYTES:
        producers[0].join(0.02)
        assert all(producer.is_alive() for producer in producers)
        assert ledger.refused == []
    said = restarts(broker, LOG_LIMIT_S)  # the first kill is under load
    for producer in producers:
        producer.join(60)
    audit(broker.port, ledger)
    say(f"a log of {ledger.count * BODY_BYTES >> 20} MiB: serves {said} after the start that follows a kill")


def test_a_restart_with_many_queues(broker: BrokerProcess, say: Say) -> None:
    broker.start()
    link = Link(broker.port)
    topics = QUEUES // PER_TOPIC
    for turn in range(2):
        for topic in range(topics):
            requests = [
                send_request(queue + 1, f"many{topic}", queue, b"%d" % turn, UNIQ_KEY=f"M{turn}x{topic}x{queue}")
                for queue in range(PER_TOPIC)
            ]
            link.send(*requests)
            answered = 0
            while answered < PER_TOPIC:
                for answer in link.receive():
                    assert answer.code == 0, f"{topic}: {answer.code} {answer.remark}"
                    answered += 1
    link.close()
    said = restarts(broker, QUEUES_LIMIT_S)
    link = Link(broker.port)
    for topic in range(topics):
        for queue in range(PER_TOPIC):
            header = GetMaxOffset(topic=f"many{topic}", queue_id=queue)
            assert int(link.ask(new_request(30, header, 1)).ext["offset"]) == 2, f"many{topic} {queue}"
    link.close()
    say(f"{topics * PER_TOPIC} queues: serves {said} after the start that follows a kill")
