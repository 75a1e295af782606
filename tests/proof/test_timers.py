"""Messages with a moment of delivery, over kills of the broker and of those who send: none early, none lost."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from rmqwire.message import StoredMessage

from .broker import BrokerProcess
from .clients import cut, send_request, stored_messages
from .conftest import Say
from .load import QUEUES, Link
from .sizes import SEED, size, stated

KILLS = size(2, 10)
MESSAGES = size(200, 7000)
"""Sent; some of them are not acknowledged before the kill."""
LONGEST_S = size(4, 20)
LATEST_S = 30.0
"""How long after it was due a message is waited for: the broker is down for a while with each kill."""
TOPIC = "timers"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    process = BrokerProcess(tmp_path, mappedFileSizeCommitLog=4 << 20, fileReservedTime=720)
    yield process
    process.close()


class Sender(threading.Thread):
    """Sends messages that are due later, until it is through or the connection breaks."""

    def __init__(self, port: int, numbers: range, due_ms: dict[int, int], acknowledged: set[int], seed: str) -> None:
        super().__init__(daemon=True)
        self.link = Link(port)
        self._numbers = numbers
        self._due_ms = due_ms
        self._acknowledged = acknowledged
        self._chance = random.Random(seed)

    def run(self) -> None:
        try:
            for number in self._numbers:
                due_ms = int((time.time() + self._chance.uniform(0.2, LONGEST_S)) * 1000)
                self._due_ms[number] = due_ms
                body = b"%d" % number
                answer = self.link.ask(
                    send_request(
                        number, TOPIC, number % QUEUES, body, TIMER_DELIVER_MS=due_ms, UNIQ_KEY=f"T{number:08d}"
                    )
                )
                assert answer.code == 0, f"{answer.code} {answer.remark}"
                self._acknowledged.add(number)
                time.sleep(self._chance.choice((0.0, 0.0, 0.005)))
        except OSError:
            pass  # one of the two was ended: the message may be stored or not
        finally:
            self.link.close()


def check(messages: list[StoredMessage], due_ms: dict[int, int]) -> Counter[int]:
    """How often each message was delivered; none before it was due."""
    times: Counter[int] = Counter()
    for message in messages:
        number = int(message.body)
        early_ms = due_ms[number] - message.store_timestamp
        assert early_ms <= 0, f"message {number} was delivered {early_ms} ms early"
        times[number] += 1
    return times


def test_timers_over_kills_of_broker_and_sender(broker: BrokerProcess, say: Say) -> None:
    chance = random.Random(f"{SEED} timers")
    due_ms: dict[int, int] = {}
    acknowledged: set[int] = set()
    lives = KILLS * 2
    for life in range(lives):
        with stated(life=life):
            if life % 2 == 0:
                broker.start()
            numbers = range(life * MESSAGES // lives, (life + 1) * MESSAGES // lives)
            sender = Sender(broker.port, numbers, due_ms, acknowledged, f"{SEED} sender {life}")
            sender.start()
            sender.join(chance.uniform(0.3, 1.5))
            if life % 2:
                broker.kill()  # while it sends, or delivers
            else:
                cut(sender.link)
            sender.join(30)
            assert not sender.is_alive()
    broker.start()
    deadline = max(due_ms.values()) / 1000 + LATEST_S
    while missing := acknowledged - set(times := check(list(stored_messages(broker.port, TOPIC)), due_ms)):
        assert time.time() < deadline, f"seed {SEED}: {len(missing)} of {len(acknowledged)} lost, as {min(missing)}"
        time.sleep(0.5)
    twice = sum(count > 1 for count in times.values())
    say(
        f"{len(acknowledged)} timers, {KILLS} kills of the broker and {KILLS} of senders: 0 lost, 0 early,"
        f" {twice} delivered more than once"
    )
