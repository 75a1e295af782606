"""The rows of the table: what each measures and what is to be reached. A row takes a running side and gives values."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.clusters import OfficialSyncMaster, OursSeveral, OursSyncMaster, OursTwo, beside
from bench.loads import JavaLoad, LoadFailed, Measured, official_class, raw
from bench.procfs import cpu_seconds
from bench.servers import Official, Side
from bench.syncing import THREADS, syncs_per_second, with_sync_flush

LATENCY_PAUSE_MS = 5


@dataclass(frozen=True)
class Durations:
    """How long rows run; `backlog` and `many` (before memory is looked at) in messages.

    Attributes:
        settle_s: Between rows: what one left behind (dispatch, write-back) should not count for the next.
        probe_s: How long the disk's own syncs are counted, twice.
    """

    client_warm_s: float
    server_warm_s: float
    warm_s: float
    measured_s: float
    backlog: int
    many: int
    settle_s: float
    probe_s: float


FULL = Durations(
    client_warm_s=15.0, server_warm_s=25.0, warm_s=4.0, measured_s=6.0, backlog=1_000_000, many=5_000_000, settle_s=0.5,
    probe_s=2.0,
)  # fmt: skip
QUICK = Durations(
    client_warm_s=3.0, server_warm_s=4.0, warm_s=1.0, measured_s=1.5, backlog=150_000, many=500_000, settle_s=0.2,
    probe_s=0.5,
)  # fmt: skip


@dataclass
class Bench:
    """What rows share in a run: durations, the folder for clients and their JVM."""

    durations: Durations
    folder: Path
    _java: JavaLoad | None = None

    def java(self) -> JavaLoad:
        """Return the load by the official client with JSON headers, starting it the first time."""
        if self._java is None:
            self._java = JavaLoad(self.folder / "java", "JSON")
        return self._java

    @property
    def java_pid(self) -> int | None:
        """The client's JVM, when it runs."""
        return None if self._java is None else self._java.pid

    def forget_java(self) -> None:
        """End the JVM; a row that needs it starts another."""
        if self._java is not None:
            self._java.close()
            self._java = None


@dataclass(frozen=True)
class Value:
    """One number that a row gives, and the bound that is to be reached.

    Attributes:
        unit: As printed.
        more_is_better: Direction.
        ratio_goal: Ours by official, at least (or at most, when less is better); None: shown without a goal.
        ours_goal: An absolute bound for ours.
    """

    unit: str
    more_is_better: bool
    ratio_goal: float | None = None
    ours_goal: float | None = None


Values = dict[str, Value]
Measure = Callable[[Bench, Side], dict[str, float]]


@dataclass(frozen=True)
class Row:
    """A row family: its values by name, and how they are measured.

    `failed` among the measured values is the number of requests that were not answered with success.
    """

    name: str
    says: str
    values: Values
    measure: Measure
    at_start: bool = False
    """Measured before the server is warm."""
    quick: bool = True
    """Whether quick runs have it."""
    sides: tuple[str, ...] = ("official", "ours")


def _goals(**ratios: float) -> Values:
    """Name the values of a load, with the ratio to be reached for some of them (`p999` is p99.9)."""
    values = {"rate": Value("msg/s", True, ratios.get("rate"))}
    values |= {name: Value("ms", False, ratios.get(name)) for name in ("p50", "p99", "p999")}
    values["cpu"] = Value("CPU s/M msg", False, ratios.get("cpu"))
    return values


def _given(seen: Measured) -> dict[str, float]:
    if not seen.messages:
        raise LoadFailed(f"no message succeeded: {seen.failed}")
    values = {"rate": seen.per_second, "failed": float(sum(seen.failed.values()))}
    if seen.cpu_s_per_million is not None:
        values["cpu"] = seen.cpu_s_per_million
    for name, micros in (("p50", seen.p50_us), ("p99", seen.p99_us), ("p999", seen.p999_us)):
        if micros is not None:
            values[name] = micros / 1000
    return values


def _start(bench: Bench, side: Side) -> dict[str, float]:
    return {"time": side.start_s}


def _idle_memory(bench: Bench, side: Side) -> dict[str, float]:
    time.sleep(3)
    return {"rss": side.resident_mib()}


def _memory(bench: Bench, side: Side) -> dict[str, float]:
    raw(side, "BenchMany", count=bench.durations.many, mode="batch", connections=1, inflight=8)
    time.sleep(bench.durations.settle_s)
    return {"rss": side.resident_mib()}


def _official(name: str, *arguments: str) -> Measure:
    def measure(bench: Bench, side: Side) -> dict[str, float]:
        limits, folder = bench.durations, bench.folder / "official-class"
        timing = {"warm_s": limits.warm_s * 2, "measured_s": limits.measured_s}
        return _given(official_class(side, folder, name, list(arguments), f"Bench{name}", **timing))

    return measure


def _java(topic: str, **options: int) -> Measure:
    def measure(bench: Bench, side: Side) -> dict[str, float]:
        timing = {"warm_s": bench.durations.warm_s, "measured_s": bench.durations.measured_s}
        return _given(bench.java().send(side, topic, **options, **timing))  # type: ignore[arg-type]

    return measure


def _raw(topic: str, **options: Any) -> Measure:
    def measure(bench: Bench, side: Side) -> dict[str, float]:
        limits = bench.durations
        return _given(raw(side, topic, warm_s=limits.warm_s / 2, measured_s=limits.measured_s, **options))

    return measure


def _write_backlog(bench: Bench, side: Side) -> str:
    topic = "BenchBacklog"
    raw(side, topic, count=bench.durations.backlog, mode="batch", connections=1, inflight=8)
    time.sleep(bench.durations.settle_s)
    return topic


def _backlog(bench: Bench, side: Side) -> dict[str, float]:
    topic = _write_backlog(bench, side)
    # A little less than was written: the last batches may still be on their way to the consume queue.
    return _given(bench.java().backlog(side, topic, count=bench.durations.backlog * 95 // 100, timeout_s=120))


def _raw_pull(bench: Bench, side: Side) -> dict[str, float]:
    topic = _write_backlog(bench, side)
    limits = bench.durations
    warm_s, measured_s = limits.warm_s / 2, limits.measured_s
    return _given(raw(side, topic, warm_s=warm_s, measured_s=measured_s, mode="pull", connections=4, inflight=4))


def _sync_flush(bench: Bench, side: Side) -> dict[str, float]:
    """The same load with and without SYNC_FLUSH, and the disk's own syncs before and after."""
    limits = bench.durations
    load: dict[str, Any] = {"warm_s": limits.warm_s / 2, "measured_s": limits.measured_s, "connections": THREADS}
    free = raw(side, "BenchSyncFlush", inflight=1, **load)
    twin = with_sync_flush(side)
    try:
        twin.start()
        before = syncs_per_second(twin.folder, limits.probe_s)
        values = _given(raw(twin, "BenchSyncFlush", inflight=1, **load))
        syncs = (before + syncs_per_second(twin.folder, limits.probe_s)) / 2
    finally:
        twin.stop()
    # All senders wait for the sync that they share: their messages are taken before and after it, not meanwhile.
    perfect = 1 / (1 / free.per_second + 1 / (THREADS * syncs))
    rate = values["rate"]
    return values | {
        "syncs": syncs,
        "cost": (perfect / rate - 1) * 100,
        "over-async": (free.per_second / rate - 1) * 100,
    }


def _transactions(bench: Bench, side: Side) -> dict[str, float]:
    timing = {"warm_s": bench.durations.warm_s, "measured_s": bench.durations.measured_s}
    return _given(bench.java().transactions(side, "BenchTransactions", threads=32, size=128, **timing))


def _latency(bench: Bench, side: Side) -> dict[str, float]:
    timing = {"warm_s": max(bench.durations.warm_s, 3.0), "measured_s": bench.durations.measured_s * 1.5}
    return _given(bench.java().latency(side, "BenchLatency", pause_ms=LATENCY_PAUSE_MS, **timing))


def _sync_master(bench: Bench, side: Side) -> dict[str, float]:
    limits = bench.durations
    kind = OfficialSyncMaster if isinstance(side, Official) else OursSyncMaster
    twin = beside(side, kind, "sync-master")
    try:
        twin.start()
        load: dict[str, Any] = {"connections": THREADS, "inflight": 1}
        return _given(raw(twin, "BenchSyncMaster", warm_s=limits.warm_s, measured_s=limits.measured_s, **load))
    finally:
        twin.stop()


def _two_brokers(bench: Bench, side: Side) -> dict[str, float]:
    """Java producers, and what takes the processor meanwhile; then loads that leave the brokers more of it."""
    limits, java = bench.durations, bench.java()
    values = {}
    for name, kind in (("one", OursSeveral), ("two", OursTwo)):
        several = beside(side, kind, name)
        try:
            several.start()
            began_at, before_s = time.monotonic(), cpu_seconds(java.pid)
            load = {"threads": 64, "size": 128, "producers": 4}
            seen = java.send(several, "BenchSeveral", warm_s=limits.warm_s, measured_s=limits.measured_s, **load)
            if name == "one":
                values["producers"] = (cpu_seconds(java.pid) - before_s) / (time.monotonic() - began_at)
            values[name] = _given(seen)["rate"]
            values[f"{name}-batches"] = _two_loads(limits, several)
        finally:
            several.stop()
    ratios = {"ratio": values["two"] / values["one"], "batches-ratio": values["two-batches"] / values["one-batches"]}
    return values | ratios


def _two_loads(limits: Durations, several: OursSeveral) -> float:
    """Raw batches from two clients at once, to one broker or each to another; messages a second of both."""

    def load(port: int, topic: str) -> float:
        options: dict[str, Any] = {"mode": "batch", "connections": 1, "inflight": 8, "port": port}
        seen = raw(several, topic, warm_s=limits.warm_s / 2, measured_s=limits.measured_s, **options)
        return _given(seen)["rate"]

    ports = several.ports if len(several.ports) > 1 else several.ports * 2
    with ThreadPoolExecutor(len(ports)) as pool:
        return sum(pool.map(load, ports, (f"BenchSeveralBatches{number}" for number in range(len(ports)))))


_TABLE = [
    Row(
        "start", "process start, modules compiled, until the first SEND_OK of a prepared raw client",
        {"time": Value("s", False, 0.15, 0.4)}, _start, at_start=True,
    ),
    Row(
        "idle-memory", "resident memory of name server and broker, 3 s after the start",
        {"rss": Value("MiB", False, None, 55)}, _idle_memory, at_start=True,
    ),
    Row(
        "send-64-binary", "official benchmark Producer, 64 threads, 128 B, binary header",
        _goals(rate=1.5, cpu=0.35), _official("Producer", "-w", "64", "-s", "128"),
    ),
    Row(
        "send-64-json", "64 threads, 128 B, JSON header",
        _goals(rate=2.5, p99=0.5, cpu=0.35), _java("BenchJson64", threads=64, size=128),
    ),
    Row(
        "send-1", "one thread, 128 B, JSON header",
        _goals(p50=0.8, p99=0.5), _java("BenchJson1", threads=1, size=128),
    ),
    Row(
        "send-async", "one producer, 256 asynchronous sends in flight, 128 B, JSON header",
        _goals(rate=2.0), _java("BenchAsync", threads=1, size=128, inflight=256),
    ),
    Row("send-4k", "64 threads, 4 KiB, JSON header", _goals(rate=1.5), _java("Bench4k", threads=64, size=4096)),
    Row(
        "send-64k", "16 threads, 64 KiB, JSON header",
        _goals(rate=1.2), _java("Bench64k", threads=16, size=65536), quick=False,
    ),
    Row(
        "transactions", "32 threads, 128 B, each half message committed at once",
        _goals(rate=1.5), _transactions, quick=False,
    ),
    Row(
        "end-to-end", f"a message each {LATENCY_PAUSE_MS} ms, from the call of send to the listener of a push consumer",
        {name: value for name, value in _goals(p50=1.0, p99=0.7).items() if name != "rate"}, _latency, quick=False,
    ),
    Row(
        "batch-32", "official benchmark BatchProducer, 8 threads, batches of 32 x 128 B",
        _goals(rate=1.3), _official("BatchProducer", "-w", "8", "-s", "128", "-b", "32"),
    ),
    Row("backlog", "a backlog read by a push consumer, 20 threads", _goals(rate=1.1, cpu=0.7), _backlog),
    Row(
        "raw-4x64", "raw, 4 connections x 64 in flight, 128 B, JSON header",
        _goals(rate=2.5, p99=0.3, cpu=0.35), _raw("BenchRaw4x64", connections=4, inflight=64),
    ),
    Row(
        "raw-1x64-binary", "raw, 1 connection x 64 in flight, 128 B, binary header",
        _goals(rate=2.0, p99=0.3, cpu=0.35), _raw("BenchRawBinary", connections=1, inflight=64, header="binary"),
    ),
    Row(
        "raw-64x1", "raw, 64 connections x 1 in flight, 128 B, JSON header",
        _goals(rate=2.0, p99=0.3), _raw("BenchRaw64x1", connections=64, inflight=1),
    ),
    Row(
        "raw-4k", "raw, 4 connections x 16 in flight, 4 KiB, JSON header",
        _goals(rate=2.0), _raw("BenchRaw4k", connections=4, inflight=16, size=4096),
    ),
    Row(
        "raw-batch", "raw, 1 connection x 8 in flight, batches of 32 x 128 B",
        _goals(rate=2.0), _raw("BenchRawBatch", connections=1, inflight=8, mode="batch"),
    ),
    Row("raw-pull", "raw, 4 connections x 4 in flight, pulls of 32 x 128 B", _goals(rate=1.2, cpu=0.7), _raw_pull),
    Row(
        "sync-flush",
        "raw, SYNC_FLUSH, 64 connections x 1 in flight, 128 B; the disk's own syncs; cost over perfect grouping, "
        "where the time of a message with ASYNC_FLUSH and a 64th of a sync add up; cost over ASYNC_FLUSH alone",
        _goals(rate=1.5)
        | {
            "syncs": Value("syncs/s", True),
            "cost": Value("%", False, None, 20),
            "over-async": Value("%", False),
        },
        _sync_flush,
    ),
    Row(
        "sync-master", "raw, SYNC_MASTER with ASYNC_FLUSH and one slave, 64 connections x 1 in flight, 128 B",
        _goals(rate=1.5), _sync_master, quick=False,
    ),
    Row(
        "memory", "resident memory after the rows above and 5 million messages more (quick: half a million)",
        {"rss": Value("MiB", False, 0.1, 150)}, _memory,
    ),
    Row(
        "brokers-2",
        "`rmqd up --brokers 2` and `--brokers 1`: 4 Java producers, 64 threads, 128 B, JSON header, and how many cores"
        " the producers take while there is one broker; two raw loads of batches (32 x 128 B), which take less",
        {
            "one": Value("msg/s", True),
            "two": Value("msg/s", True),
            "ratio": Value("x", True, None, 1.6),
            "producers": Value("cores", False),
            "one-batches": Value("msg/s", True),
            "two-batches": Value("msg/s", True),
            "batches-ratio": Value("x", True),
        },
        _two_brokers, quick=False, sides=("ours",),
    ),
]  # fmt: skip
ROWS = {row.name: row for row in _TABLE}
JAVA_ROWS = frozenset(
    (
        "send-64-json",
        "send-1",
        "send-async",
        "send-4k",
        "send-64k",
        "transactions",
        "end-to-end",
        "backlog",
        "brokers-2",
    )
)
"""Rows that use the long-lived client JVM."""


def warm(bench: Bench, side: Side) -> None:
    """Load a server that was just started until its hot paths are compiled: all kinds of requests in turn."""
    share = bench.durations.server_warm_s / 4
    raw(side, "BenchWarm", warm_s=0, measured_s=share, connections=4, inflight=64)
    raw(side, "BenchWarm", warm_s=0, measured_s=share, connections=1, inflight=64, header="binary")
    raw(side, "BenchWarm", warm_s=0, measured_s=share, connections=1, inflight=8, mode="batch")
    raw(side, "BenchWarm", warm_s=0, measured_s=share, connections=4, inflight=4, mode="pull")


def warm_client(bench: Bench, side: Side) -> None:
    """Load a server by the client's JVM until that is warm."""
    bench.java().send(
        side, "BenchWarmClient", threads=64, size=128, warm_s=bench.durations.client_warm_s, measured_s=0.5
    )
    bench.java().backlog(side, "BenchWarmClient", count=1000, timeout_s=30)
