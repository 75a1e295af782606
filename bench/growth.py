"""What growth costs: `make bench-growth`. Ours alone, in CPU time of the broker per message.

The same load each time, 4 connections x 64 in flight, while something grows: queues of the topic, messages that lie in
the store, connections that are open. At last pulls that wait: what they take of memory and of an idle processor.

Beside the cost of a message stand its part in user mode and a control: what the system takes for appending as much, on
the disk and in the memory that this round meets. Of a cost that grows with the control the broker knows nothing.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the checkout, for bench and interop

from bench.builds import CACHE, raw_load  # noqa: E402
from bench.control import append_us  # noqa: E402
from bench.loads import Measured, raw  # noqa: E402
from bench.procfs import cpu_seconds, machine_busy_seconds, resident_mib  # noqa: E402
from bench.servers import Ours  # noqa: E402
from bench.wire import connect, exchange, frame  # noqa: E402

QUEUES = (1, 1_000, 20_000)
CONNECTIONS = (4, 100, 2_000)
BACKLOG = (1_000, 1_000_000, 50_000_000)
TURNS = 6
BACKLOG_BYTES = 330
"""On the disk, for each message: its record in the log, and what the index and the queues hold of it."""
DISK_USED_MAX = 0.7
"""With more than 75 % a broker deletes what is oldest."""
HOLDS = 10_000
HOLDS_PER_CONNECTION = 100
ROUNDS = 3
FAILED_MAX = 0.01
QUEUES_TIMEOUT_S = 180.0
UPDATE_TOPIC, PULL_MESSAGE = 17, 11


def make_topic(port: int, topic: str, queues: int) -> None:
    """Create a topic by the request of an administrator."""
    fields = {"topic": topic, "defaultTopic": "TBW102", "readQueueNums": str(queues), "writeQueueNums": str(queues)}
    fields |= {"perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false"}
    with connect(port) as connection:
        answer = exchange(connection, frame(UPDATE_TOPIC, fields))
    if answer["code"]:
        raise SystemExit(f"growth: {answer}")


@dataclass(frozen=True)
class Cost:
    """Medians of some rounds: CPU microseconds of the broker per message, and messages a second."""

    micros: float
    user_micros: float
    control_micros: float
    per_second: float


class Rounds:
    """Rounds of the load against a broker that stays as it is.

    Args:
        frames: different requests that the load has, at least; many cost itself more, and it is to cost the same.
    """

    def __init__(self, side: Ours, topic: str, queues: int = 4, frames: int = 0) -> None:
        self._side = side
        self._topic = topic
        self._options = {"queues": queues, "frames": frames, "connections": 4, "inflight": 64}
        self._seen: list[Measured] = []
        self._controls: list[float] = []

    def run(self) -> None:
        """One round, with nothing in memory that the disk still waits for: that belongs to what was before.

        Raises:
            SystemExit: too many messages were refused.
        """
        os.sync()
        self._controls.append(append_us(self._side.folder))
        one = raw(self._side, self._topic, warm_s=1.0, measured_s=2.0, **self._options)
        if one.failed:  # on a machine with other work some wait for too long and are refused; those do not count
            print(f"{self._topic}: refused {one.failed}", flush=True)
        if not one.messages or sum(one.failed.values()) > one.messages * FAILED_MAX:
            raise SystemExit(f"growth: {self._topic}: too many were refused")
        self._seen.append(one)

    def micros(self) -> list[float]:
        """Of each round."""
        return [one.broker_cpu_s / one.messages * 1e6 for one in self._seen]

    def cost(self) -> Cost:
        """What they cost."""
        return Cost(
            median(self.micros()),
            median((one.broker_user_s or 0.0) / one.messages * 1e6 for one in self._seen),
            median(self._controls),
            median(one.per_second for one in self._seen),
        )


def cost(side: Ours, topic: str) -> Cost:
    """What a message costs now."""
    rounds = Rounds(side, topic)
    for _ in range(ROUNDS):
        rounds.run()
    return rounds.cost()


@contextmanager
def running(folder: Path) -> Iterator[Ours]:
    """Our servers on an empty store."""
    side = Ours(folder)
    side.start()
    try:
        yield side
    finally:
        side.stop()


@contextmanager
def open_connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections that do nothing."""
    connections = [connect(port) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def say(what: str, amount: int, seen: Cost, ratio: float) -> None:
    """Print a line.

    What is done each second whatever the load, as writing the units of queues, is divided by fewer messages where other
    work takes the processor: ratios of different rates do not compare.
    """
    print(
        f"{what:<12} {amount:>12,}   {seen.micros:6.2f} us/message   {ratio:5.2f} x   "
        f"{seen.user_micros:6.2f} user   {seen.control_micros:6.2f} control   {seen.per_second:>9,.0f}/s",
        flush=True,
    )


def wait_for_queues(side: Ours, topic: str, queues: int) -> None:
    """Wait until each queue has its file: making it costs more than all that comes later."""
    folder = side.folder / "data" / "store" / "consumequeue" / topic
    deadline = time.monotonic() + QUEUES_TIMEOUT_S
    while not folder.is_dir() or len(list(folder.iterdir())) < queues:
        if time.monotonic() > deadline:
            raise SystemExit(f"growth: {folder} has no {queues} queues after {QUEUES_TIMEOUT_S} s")
        time.sleep(0.5)
    time.sleep(3)


def grow_queues(folder: Path) -> None:
    """One topic of more and more queues, each in use; measured in turn, as with a backlog."""
    with ExitStack() as brokers:
        rounds = []
        for queues in QUEUES:
            side = brokers.enter_context(running(folder / f"queues-{queues}"))
            make_topic(side.port, "Growth", queues)
            raw(side, "Growth", count=max(2 * queues, 1000), queues=queues, connections=4, inflight=64)
            wait_for_queues(side, "Growth", queues)
            rounds.append(Rounds(side, "Growth", queues, QUEUES[-1]))
        measure_in_turn("queues", QUEUES, rounds)


def measure_in_turn(what: str, amounts: Sequence[int], rounds: Sequence[Rounds]) -> None:
    """Measure brokers in turn, once up and once down; the ratio is the median of those within each turn."""
    for turn in range(TURNS):
        for each in rounds if turn % 2 == 0 else reversed(rounds):
            each.run()
    for amount, each in zip(amounts, rounds, strict=True):
        ratios = [here / first for here, first in zip(each.micros(), rounds[0].micros(), strict=True)]
        say(what, amount, each.cost(), median(ratios))


def fill(side: Ours, topic: str, messages: int) -> None:
    """Store messages, in batches."""
    took = raw(side, topic, count=messages, mode="batch", connections=1, inflight=8)
    if took.messages < messages * (1 - FAILED_MAX):
        raise SystemExit(f"growth: {took.messages:,} of {messages:,} messages were stored, refused {took.failed}")


def room_for(messages: int) -> bool:
    """Whether so many messages fit on the disk with a broker that leaves them there."""
    disk = shutil.disk_usage(CACHE)
    return disk.used + messages * BACKLOG_BYTES < (disk.used + disk.free) * DISK_USED_MAX


def grow_backlog(folder: Path, largest: int) -> None:
    """More and more messages before those that are sent, each in a store of its own.

    The brokers are measured in turn. One after the other they would meet different machines: a fill takes all free
    memory for its pages, and where a hypervisor takes back what is free, new pages cost several times as much until the
    system begins to use its own again.
    """
    amounts = [amount for amount in BACKLOG if amount < largest]
    if room_for(largest + sum(amounts)):
        amounts.append(largest)
    else:
        print(f"{'backlog':<12} {largest:>12,}   not measured: the disk has no room for it", flush=True)
    with ExitStack() as brokers:
        rounds = []
        for amount in amounts:
            side = brokers.enter_context(running(folder / str(amount)))
            fill(side, "Growth", amount)
            rounds.append(Rounds(side, "Growth"))
        measure_in_turn("backlog", amounts, rounds)


def grow_connections(folder: Path) -> None:
    """Connections that are open and silent."""
    first = 0.0
    with running(folder) as side:
        for count in CONNECTIONS:
            with open_connections(side.port, count - 4):
                seen = cost(side, "Growth")
                first = first or seen.micros
                say("connections", count, seen, seen.micros / first)


def hold_pulls(folder: Path) -> None:
    """Long polls, each by itself, and what they take while nothing comes."""
    with running(folder) as side:
        make_topic(side.port, "Growth", 4)
        before_mib = resident_mib(side.broker_pid)
        with open_connections(side.port, HOLDS // HOLDS_PER_CONNECTION) as connections:
            for number, connection in enumerate(connections):
                connection.sendall(
                    b"".join(
                        frame(
                            PULL_MESSAGE,
                            {
                                "consumerGroup": f"G{number}", "topic": "Growth", "queueId": str(one % 4),
                                "queueOffset": "0", "maxMsgNums": "32", "sysFlag": "6", "commitOffset": "0",
                                "suspendTimeoutMillis": "60000", "subscription": "*", "subVersion": "0",
                            },
                            opaque=one,
                        )
                        for one in range(HOLDS_PER_CONNECTION)
                    )
                )  # fmt: skip
            time.sleep(3)
            for connection in connections:
                connection.setblocking(False)
                try:
                    raise SystemExit(f"growth: a pull was answered: {connection.recv(300)!r}")
                except BlockingIOError:
                    pass
            began, used = time.monotonic(), cpu_seconds(side.broker_pid)
            time.sleep(10)
            share = (cpu_seconds(side.broker_pid) - used) / (time.monotonic() - began)
            grown_mib = resident_mib(side.broker_pid) - before_mib
        print(
            f"{'waiting pulls':<12} {HOLDS:>11,}   +{grown_mib:.0f} MiB, {share:.1%} of a core while idle", flush=True
        )


def main(argv: list[str] | None = None) -> int:
    """Measure; ratios are to the first line of each kind."""
    parser = argparse.ArgumentParser(prog="bench/growth.py", description=__doc__)
    parser.add_argument("--backlog", type=int, default=BACKLOG[-1], help="largest backlog, messages [%(default)s]")
    parser.add_argument("--only", choices=("queues", "backlog", "connections", "pulls"), action="append")
    arguments = parser.parse_args(argv)
    wanted = arguments.only or ["queues", "backlog", "connections", "pulls"]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, most), most))
    raw_load()
    folder = CACHE / f"growth-{time.time_ns()}"
    began, busy = time.monotonic(), machine_busy_seconds()
    try:
        if "queues" in wanted:
            grow_queues(folder)
        if "backlog" in wanted:
            grow_backlog(folder, arguments.backlog)
        if "connections" in wanted:
            grow_connections(folder)
        if "pulls" in wanted:
            hold_pulls(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    cores = (machine_busy_seconds() - busy) / (time.monotonic() - began)
    print(f"machine busy {cores:.2f} cores meanwhile, loads included")
    return 0


if __name__ == "__main__":
    sys.exit(main())
