"""A master, its slave and a bad link under load: what SYNC_MASTER acknowledged is on the slave whatever happens.

The slave's log is looked at where it lies, before the master comes back and could put right what was missing.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rmqwire.bodies import KvTable
from rmqwire.command import new_request
from rmqwire.message import BLANK_MAGIC, decode_record
from rmqwire.requests.stats import GetBrokerRuntimeInfo

from .broker import BrokerProcess, NameServerProcess
from .load import Ledger, Link, Producer
from .relay import Relay

LONG = os.environ.get("RMQD_PROOF") == "soak"
FAULTS = 20
STEADY_S = 2.0 if LONG else 0.25
"""Load before each fault."""
SEED = int(os.environ.get("RMQD_PROOF_SEED", "20261121"))
FILE_BYTES = 4 << 20
CATCH_UP_BYTES = (900 << 20) if LONG else (48 << 20)
CATCH_UP_LEAST = 100e6 if LONG else 1e6
"""Bytes per second; small where the machine may be busy with other tests, which is no measurement."""
GET_RUNTIME_INFO = 28
_SIZE_MAGIC = struct.Struct(">ii")
LIVELY = {"brokerIP2": "127.0.0.1", "haSendHeartbeatInterval": 300, "haHousekeepingInterval": 2500}


class SlaveLog:
    """What lies in a commit log, read on from where the last look ended."""

    def __init__(self, folder: Path, file_bytes: int) -> None:
        self._folder = folder
        self._file_bytes = file_bytes
        self._position = 0
        self.bodies: dict[tuple[str, int, int], bytes] = {}

    def look(self) -> None:
        """Read whole records up to where there are none."""
        while True:
            path = self._folder / f"{self._position - self._position % self._file_bytes:020d}"
            if not path.exists():
                return
            with path.open("rb") as file:
                file.seek(self._position % self._file_bytes)
                data = file.read()
            at = 0
            while at + _SIZE_MAGIC.size <= len(data):
                size, magic = _SIZE_MAGIC.unpack_from(data, at)
                if size <= 0:
                    self._position += at
                    return
                if magic == BLANK_MAGIC:
                    at += size
                    break
                message = decode_record(data[at : at + size], check_crc=True)
                assert message.physical_offset == self._position + at
                self.bodies[message.topic, message.queue_id, message.queue_offset] = message.body
                at += size
            self._position += at
            if self._position % self._file_bytes:
                return

    def expect(self, ledger: Ledger) -> None:
        """Check that everything acknowledged is there, where it was said to be."""
        self.look()
        for topic, book in ledger.acknowledged.items():
            for (queue_id, offset), body in book.items():
                assert self.bodies.get((topic, queue_id, offset)) == body, (
                    f"acknowledged, and not on the slave: {topic} {queue_id} {offset}; its log ends at {self._position}"
                )


def free_port() -> int:
    """A port that is free, as are the one for slaves above it and the VIP port below."""
    for _ in range(100):
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            first = probes.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = int(first.getsockname()[1])
            for beside in (port - 2, port + 1):
                probes.enter_context(socket.create_server(("127.0.0.1", beside)))
            return port
    raise AssertionError("no free ports")


class Pair:
    """A name server, a SYNC_MASTER, a slave, and the link between the two brokers."""

    def __init__(self, folder: Path, **properties: object) -> None:
        port = free_port()  # a master that comes back is where it was
        for name in ("n", "m", "s"):
            (folder / name).mkdir()
        self.name_server = NameServerProcess(folder / "n")
        self.name_server.start()
        self.relay = Relay(port + 1)
        both = {**LIVELY, **properties, "namesrvAddr": f"127.0.0.1:{self.name_server.port}", "fileReservedTime": 720}
        self.master = BrokerProcess(
            folder / "m", brokerRole="SYNC_MASTER", listenPort=port, syncFlushTimeout=800, **both
        )
        self.slave = BrokerProcess(
            folder / "s",
            **{"haMasterAddress": f"127.0.0.1:{self.relay.port}", **both, "brokerRole": "SLAVE", "brokerId": 1},
        )

    def close(self) -> None:
        self.master.close()
        self.slave.close()
        self.relay.close()
        self.name_server.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path, mappedFileSizeCommitLog=FILE_BYTES)
    yield pair
    pair.close()


def log_end(broker: BrokerProcess) -> int:
    """Ask a broker where its log ends."""
    link = Link(broker.port)
    try:
        answer = link.ask(new_request(GET_RUNTIME_INFO, GetBrokerRuntimeInfo(), 1))
        return int(KvTable.decode(answer.body).table["commitLogMaxOffset"])
    finally:
        link.close()


def until(holds: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Load:
    """Four clients that send as long as the master lives."""

    def __init__(self, pair: Pair) -> None:
        self.ledger = Ledger()
        self._pair = pair
        self._life = 0
        self._producers: list[Producer] = []

    def begin(self) -> None:
        self._life += 1
        self._producers = [
            Producer(self._pair.master.port, f"proof{number % 2}", f"p{self._life}x{number}", self.ledger, pause_s=0.2)
            for number in range(4)
        ]
        for producer in self._producers:
            producer.start()

    def grows(self, count: int = 200) -> None:
        """Wait until so many more were acknowledged, which takes a slave."""
        wanted = self.ledger.count + count
        until(lambda: self.ledger.count >= wanted, f"nothing is acknowledged: {self.ledger.refused[-2:]}")

    def end(self) -> None:
        for producer in self._producers:
            producer.ends = True
        self.join()

    def join(self) -> None:
        for producer in self._producers:
            producer.join(60)
            assert not producer.is_alive()


def test_what_is_acknowledged_is_on_the_slave(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(SEED)
    pair.master.start()
    pair.slave.start()
    load = Load(pair)
    load.begin()
    slave_log = SlaveLog(pair.slave.store / "commitlog", FILE_BYTES)

    def master_dies() -> None:
        pair.master.kill()
        load.join()
        slave_log.expect(load.ledger)
        pair.master.start()
        load.begin()

    def both_die() -> None:
        pair.slave.kill()
        master_dies()
        pair.slave.start()

    def slave_dies() -> None:
        pair.slave.kill()
        time.sleep(chance.uniform(0, 0.3))
        pair.slave.start()

    def slave_stops() -> None:
        pair.slave.stop()
        pair.slave.start()

    def slave_stands_still() -> None:
        with pair.slave.frozen():
            time.sleep(chance.uniform(0.1, 1.5))

    def slave_stands_still_as_the_master_dies() -> None:
        with pair.slave.frozen():
            time.sleep(chance.uniform(0, 0.3))
            master_dies()

    def master_stands_still() -> None:
        with pair.master.frozen():
            time.sleep(chance.uniform(0.1, 1.0))

    def link_is_cut() -> None:
        pair.relay.cut()
        time.sleep(chance.uniform(0, 0.5))

    def link_is_cut_as_the_master_dies() -> None:
        pair.relay.cut()
        time.sleep(chance.uniform(0, 0.1))
        master_dies()

    def link_is_slow() -> None:
        pair.relay.delay_s = chance.uniform(0.005, 0.1)
        time.sleep(0.5)
        if chance.random() < 0.5:
            master_dies()

    kinds = [
        master_dies, both_die, slave_dies, slave_stops, slave_stands_still, slave_stands_still_as_the_master_dies,
        master_stands_still, link_is_cut, link_is_cut_as_the_master_dies, link_is_slow,
    ]  # fmt: skip
    faults = kinds * (FAULTS // len(kinds))
    chance.shuffle(faults)
    for fault in faults:
        load.grows()
        time.sleep(chance.uniform(0, STEADY_S))
        fault()
        pair.relay.heal()
    load.grows()
    pair.master.kill()
    load.join()
    slave_log.expect(load.ledger)

    pair.master.start()
    until(lambda: log_end(pair.slave) == log_end(pair.master), "the slave does not catch up")
    end = log_end(pair.master)
    pair.master.stop()
    pair.slave.stop()
    same_bytes(pair, end)
    with capsys.disabled():
        print(
            f"\n{len(faults)} faults, seed {SEED}: {load.ledger.count} acknowledged, 0 lost on the slave;"
            f" {len(load.ledger.refused)} told SLAVE_NOT_AVAILABLE or FLUSH_SLAVE_TIMEOUT; {end} bytes of log equal"
        )
    assert all(refused.startswith(("11 ", "12 ")) for refused in load.ledger.refused)


def same_bytes(pair: Pair, end: int) -> None:
    """Compare the two logs."""
    for begin in range(0, end, FILE_BYTES):
        size = min(FILE_BYTES, end - begin)
        one, other = (
            (broker.store / "commitlog" / f"{begin:020d}").read_bytes()[:size] for broker in (pair.master, pair.slave)
        )
        assert one == other, f"the logs differ in the file from {begin}"


def test_catching_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slave that was away for long is of use again soon."""
    pair = Pair(tmp_path, mappedFileSizeCommitLog=1 << 30)
    try:
        pair.master.start()
        ledger = Ledger()
        producers = [Producer(pair.master.port, "proof", f"c{number}", ledger, 1024) for number in range(4)]
        for producer in producers:
            producer.start()
        until(lambda: log_end(pair.master) >= CATCH_UP_BYTES, "the load does not come", 300)
        for producer in producers:
            producer.ends = True
        for producer in producers:
            producer.join(60)
        end = log_end(pair.master)
        pair.slave.start(haMasterAddress="")  # without the relay
        until(lambda: log_end(pair.slave) > 0, "the slave does not begin")
        begun, first = time.monotonic(), log_end(pair.slave)
        until(lambda: log_end(pair.slave) == end, "the slave does not catch up", 120)
        rate = (end - first) / (time.monotonic() - begun)
        with capsys.disabled():
            print(f"\ncatching up {(end - first) / 1e6:.0f} MB of 1 KiB messages: {rate / 1e6:.0f} MB/s")
        assert rate >= CATCH_UP_LEAST
    finally:
        pair.close()
