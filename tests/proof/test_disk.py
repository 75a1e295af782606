"""Disks that run full, refuse to write, refuse to sync or are slow: what producers are answered, and how it goes on."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rmqwire.codes import ResponseCode
from rmqwire.command import RemotingCommand, new_request
from rmqwire.requests.send import SendMessageV2

from .broker import BrokerProcess
from .conftest import Say
from .load import QUEUES, Ledger, Link, audit
from .sizes import SEED, size, stated

TIMES = size(2, 20)
TOPIC = "disk"
ACCEPTS_AGAIN_S = 5.0
SYNC_TIMEOUT_MS = 400


class FaultyBroker(BrokerProcess):
    """A broker whose disk can be told to fail."""

    command = (sys.executable, str(Path(__file__).with_name("faulty.py")))

    def fail(self, how: str) -> None:
        """Have the disk fail from now on, or be well again."""
        temporary = self.folder / "fault.new"
        temporary.write_text(how)
        temporary.rename(self.folder / "fault")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[FaultyBroker]:
    process = FaultyBroker(
        tmp_path,
        mappedFileSizeCommitLog=4 << 20,
        fileReservedTime=720,
        syncFlushTimeout=SYNC_TIMEOUT_MS,
    )
    yield process
    process.close()


class Client:
    """Sends one message after the other, and keeps the ledger."""

    def __init__(self, broker: FaultyBroker) -> None:
        self._broker = broker
        self.ledger = Ledger()
        self.number = 0
        self._link: Link | None = None

    def connect(self) -> None:
        """After each start."""
        self.close()
        self._link = Link(self._broker.port)

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def send(self) -> RemotingCommand:
        """Send one message; it is in the ledger when it is acknowledged."""
        assert self._link is not None
        self.number += 1
        queue_id = self.number % QUEUES
        body = f"c-{self.number}-".encode().ljust(200, b"x")
        self.ledger.sent.add(body[:40])
        header = SendMessageV2(
            producer_group="PG",
            topic=TOPIC,
            default_topic="TBW102",
            default_topic_queue_nums=QUEUES,
            queue_id=queue_id,
            sys_flag=0,
            born_timestamp=int(time.time() * 1000),
            flag=0,
            properties=f"UNIQ_KEY\x01c{self.number:08d}\x02WAIT\x01true\x02",
        )
        answer = self._link.ask(new_request(310, header, self.number, body=body))
        if answer.code == ResponseCode.SUCCESS:
            book = self.ledger.acknowledged.setdefault(TOPIC, {})
            book[queue_id, int(answer.ext["queueOffset"])] = body
        return answer

    def accepted_after_s(self) -> float:
        """Send until a message is acknowledged."""
        begun = time.monotonic()
        while (answer := self.send()).code != ResponseCode.SUCCESS:
            waited_s = time.monotonic() - begun
            assert waited_s < ACCEPTS_AGAIN_S, f"after {waited_s:.1f} s: {answer.code} {answer.remark}"
            time.sleep(0.05)
        return time.monotonic() - begun


@pytest.fixture
def client(broker: FaultyBroker) -> Iterator[Client]:
    client = Client(broker)
    yield client
    client.close()


def answers(client: Client, count: int) -> Counter[int]:
    """Send while the disk fails; each refusal names a place in the store."""
    codes: Counter[int] = Counter()
    for _ in range(count):
        answer = client.send()
        codes[answer.code] += 1
        if answer.code not in (ResponseCode.SUCCESS, ResponseCode.FLUSH_DISK_TIMEOUT):
            assert answer.remark is not None
            assert str(client._broker.store) in answer.remark, f"names no folder: {answer.code} {answer.remark}"
    return codes


@pytest.mark.parametrize(
    ("how", "code"), [("full", ResponseCode.SERVICE_NOT_AVAILABLE), ("write", ResponseCode.SYSTEM_ERROR)]
)
def test_a_disk_that_refuses_writes_for_a_while(
    broker: FaultyBroker, client: Client, say: Say, how: str, code: int
) -> None:
    """The answer names the folder, nothing of it is stored, and messages are accepted soon after it is well again."""
    chance = random.Random(f"{SEED} {how}")
    broker.start()
    client.connect()
    slowest_s = 0.0
    for number in range(TIMES):
        with stated(fault=how, number=number):
            client.accepted_after_s()
            time.sleep(chance.uniform(0, 0.3))  # with units and keys in memory or not
            broker.fail(how)
            codes = answers(client, chance.randint(1, 20))
            time.sleep(chance.uniform(0, 0.5))
            codes += answers(client, 2)
            assert set(codes) <= {code, ResponseCode.SERVICE_NOT_AVAILABLE}, codes
            assert codes[code], codes
            broker.fail("")
            slowest_s = max(slowest_s, client.accepted_after_s())
    broker.kill()
    broker.start()
    audit(broker.port, client.ledger)
    say(f"{TIMES} disks of kind {how!r}: {client.ledger.count} acknowledged, 0 lost; accepts after {slowest_s:.2f} s")


def test_a_failed_sync_is_final_until_the_broker_is_restarted(broker: FaultyBroker, client: Client, say: Say) -> None:
    """Whoever waits is told FLUSH_DISK_TIMEOUT, and nothing is acknowledged, though the disk is well again."""
    for number in range(TIMES):
        with stated(fault="sync", number=number):
            broker.start(flushDiskType="SYNC_FLUSH")
            client.connect()
            client.accepted_after_s()
            broker.fail("sync")
            codes = answers(client, 3)
            broker.fail("")
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                codes += answers(client, 1)
                time.sleep(0.05)
            assert set(codes) <= {ResponseCode.FLUSH_DISK_TIMEOUT, ResponseCode.SERVICE_NOT_AVAILABLE}, codes
            assert codes[ResponseCode.SERVICE_NOT_AVAILABLE], codes
            broker.kill()
    broker.start()
    audit(broker.port, client.ledger)
    say(f"{TIMES} failed syncs: {client.ledger.count} acknowledged, 0 lost, none acknowledged after a failure")


def test_a_slow_sync_is_told_and_holds_up_nobody_else(broker: FaultyBroker, client: Client, say: Say) -> None:
    """FLUSH_DISK_TIMEOUT after `syncFlushTimeout`; the message is stored all the same, and other requests go on."""
    broker.start(flushDiskType="SYNC_FLUSH")
    client.connect()
    slowest_s = other_s = 0.0
    for number in range(TIMES):
        with stated(fault="slow", number=number):
            client.accepted_after_s()
            broker.fail("slow 0.7")
            begun = time.monotonic()
            codes = answers(client, 1)
            waited_s = time.monotonic() - begun
            assert codes == {ResponseCode.FLUSH_DISK_TIMEOUT: 1}, codes
            assert SYNC_TIMEOUT_MS / 1000 <= waited_s < SYNC_TIMEOUT_MS / 1000 + 1, waited_s
            other_s = max(other_s, seconds_of(lambda: audit(broker.port, client.ledger)))
            broker.fail("")
            slowest_s = max(slowest_s, client.accepted_after_s())
    broker.kill()
    broker.start()
    counts = audit(broker.port, client.ledger)
    assert sum(counts.values()) == client.number, "a message answered with FLUSH_DISK_TIMEOUT is stored too"
    say(
        f"{TIMES} slow syncs: {client.ledger.count} acknowledged, 0 lost; accepts after {slowest_s:.2f} s,"
        f" reading all took {other_s:.2f} s meanwhile"
    )


def seconds_of(call: Callable[[], object]) -> float:
    begun = time.monotonic()
    call()
    return time.monotonic() - begun


@pytest.mark.parametrize("how", ["full", "write", "sync"])
@pytest.mark.parametrize("flush", ["ASYNC_FLUSH", "SYNC_FLUSH"])
def test_a_broker_that_cannot_write_everything_down_ends_all_the_same(
    broker: FaultyBroker, client: Client, how: str, flush: str
) -> None:
    """SIGTERM: it says in a line what could not be written, and what was acknowledged is there again."""
    broker.start(flushDiskType=flush)
    client.connect()
    for _ in range(20):
        assert client.send().code == ResponseCode.SUCCESS
    broker.fail(how)
    line = broker.stop_failing()
    assert line.startswith("stop failed: "), line
    broker.fail("")
    broker.start()
    audit(broker.port, client.ledger)
