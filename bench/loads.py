"""Running the loads: the raw one, the official benchmark classes, and ours by the official client."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.builds import java_load, raw_load
from bench.servers import OFFICIAL_VERSION, Side, prepare_java_home
from bench.wire import OffsetProbe
from interop import jvm
from interop.jars import classpath
from interop.process import Process, dying_with_us

CLIENT_OPTIONS = ["-server", "-Xms1g", "-Xmx1g", "-XX:+UseSerialGC"]
"""Serial collection: the parallel kinds start as many threads as there are cores, which the broker needs."""
CALL_SLACK_S = 60.0


class LoadFailed(Exception):
    """A load did not run to its end."""


@dataclass
class Measured:
    """What one load saw in its measured time; times of answers in microseconds, absent when not known.

    Attributes:
        broker_user_s: The part of `broker_cpu_s` that was not spent in the kernel; only the raw load tells.
    """

    messages: int
    per_second: float
    p50_us: float | None = None
    p99_us: float | None = None
    p999_us: float | None = None
    broker_cpu_s: float = 0.0
    broker_user_s: float | None = None
    failed: dict[str, int] = field(default_factory=dict)

    @property
    def cpu_s_per_million(self) -> float | None:
        """CPU seconds that the broker's process spent on a million messages."""
        return self.broker_cpu_s / self.messages * 1e6 if self.messages else None


def raw(
    side: Side,
    topic: str,
    *,
    warm_s: float = 1.0,
    measured_s: float = 3.0,
    count: int = 0,
    port: int | None = None,
    **options: Any,
) -> Measured:
    """Run the raw load against a side, or one of its other brokers; `options` are flags of the program."""
    address = f"127.0.0.1:{side.port if port is None else port}"
    argv = [
        raw_load(), "-address", address, "-topic", topic, "-pid", str(side.broker_pid),
        "-warm", f"{warm_s}s", "-measured", f"{measured_s}s", "-count", str(count),
    ]  # fmt: skip
    for key, value in options.items():
        argv += [f"-{key}", str(value)]
    timeout_s = (300.0 if count else warm_s + measured_s) + CALL_SLACK_S
    done = subprocess.run(dying_with_us(argv), capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise LoadFailed(f"{side.name}, {topic}: {done.stderr.strip()[:500]}")
    return _measured(json.loads(done.stdout), None)


def _measured(line: dict[str, Any], broker_cpu_s: float | None) -> Measured:
    return Measured(
        messages=line["messages"],
        per_second=line["messages_per_s"],
        p50_us=line.get("p50_us"),
        p99_us=line.get("p99_us"),
        p999_us=line.get("p999_us"),
        broker_cpu_s=line["server_cpu_s"] if broker_cpu_s is None else broker_cpu_s,
        broker_user_s=line.get("server_user_s"),
        failed=line["failed"],
    )


class JavaLoad:
    """One JVM with the official client and our loads, kept for a whole run so that it is as warm for both sides."""

    def __init__(self, folder: Path, header: str) -> None:
        home = prepare_java_home(folder)
        argv = jvm.command(
            [java_load(), *classpath(OFFICIAL_VERSION)], "rmqbench.Load", user_home=folder,
            options=[*CLIENT_OPTIONS, f"-Drocketmq.serialize.type={header}"],
        )  # fmt: skip
        self._log = (folder / "load.err").open("ab")
        self._popen = subprocess.Popen(
            dying_with_us(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            start_new_session=True, env=jvm.environment(home), bufsize=0,
        )  # fmt: skip
        self._buffer = b""
        self._wait("ready", 60.0)

    @property
    def pid(self) -> int:
        """The JVM's process id."""
        return self._popen.pid

    def send(
        self,
        side: Side,
        topic: str,
        *,
        threads: int,
        size: int,
        warm_s: float,
        measured_s: float,
        inflight: int = 0,
        producers: int = 1,
    ) -> Measured:
        """Send from threads, each waiting for its answers, or with `inflight` asynchronous sends each."""
        options = {"threads": threads, "size": size, "inflight": inflight, "producers": producers}
        return self._timed("send", side, topic, options, warm_s, measured_s)

    def transactions(
        self, side: Side, topic: str, *, threads: int, size: int, warm_s: float, measured_s: float
    ) -> Measured:
        """Send transactions from threads; each is committed by its listener at once."""
        return self._timed("transactions", side, topic, {"threads": threads, "size": size}, warm_s, measured_s)

    def latency(self, side: Side, topic: str, *, pause_ms: int, warm_s: float, measured_s: float) -> Measured:
        """Send one message at a time, and time each until the listener of a push consumer has it."""
        options = {"size": 128, "pause_ms": pause_ms, "group": f"bench_{topic}"}
        return self._timed("latency", side, topic, options, warm_s, measured_s)

    def _timed(
        self, word: str, side: Side, topic: str, options: Mapping[str, object], warm_s: float, measured_s: float
    ) -> Measured:
        given = {"namesrv": side.namesrv_address, "topic": topic, **options}
        given |= {"warm_ms": f"{warm_s * 1000:.0f}", "measured_ms": f"{measured_s * 1000:.0f}"}
        command = " ".join([word, *(f"{key}={value}" for key, value in given.items())])
        return self._run(side, command, warm_s + measured_s)

    def backlog(self, side: Side, topic: str, *, count: int, timeout_s: float) -> Measured:
        """Read the first `count` messages of a topic by a push consumer of a new group."""
        group = f"bench_{topic}_{time.time_ns()}"
        command = (
            f"backlog namesrv={side.namesrv_address} topic={topic} group={group} count={count}"
            f" timeout_ms={timeout_s * 1000:.0f}"
        )
        return self._run(side, command, timeout_s)

    def _run(self, side: Side, command: str, expected_s: float) -> Measured:
        assert self._popen.stdin is not None
        self._popen.stdin.write(command.encode() + b"\n")
        deadline_s = expected_s + CALL_SLACK_S
        self._wait("measuring", deadline_s)
        before = side.cpu_seconds()
        self._wait("measured", deadline_s)
        used = side.cpu_seconds() - before
        return _measured(self._wait("result", deadline_s), used)

    def _wait(self, event: str, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            line = self._line(deadline)
            if line["event"] == event:
                return line
            if line["event"] != "measured":  # a backlog that was not read whole has no such moment
                raise LoadFailed(f"waiting for {event}: {line}")

    def _line(self, deadline: float) -> dict[str, Any]:
        assert self._popen.stdout is not None
        descriptor = self._popen.stdout.fileno()
        while True:
            text, found, rest = self._buffer.partition(b"\n")
            if found:
                self._buffer = rest
                if text.startswith(b"{"):
                    line: dict[str, Any] = json.loads(text)
                    return line
                continue
            left_s = deadline - time.monotonic()
            more = os.read(descriptor, 1 << 16) if select.select([descriptor], [], [], max(left_s, 0))[0] else b""
            if not more:
                raise LoadFailed(f"the Java load said nothing in time, or ended ({self._popen.poll()})")
            self._buffer += more

    def close(self) -> None:
        """End the JVM."""
        if self._popen.poll() is None:
            os.kill(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        self._log.close()


def official_class(
    side: Side, folder: Path, name: str, arguments: list[str], topic: str, *, warm_s: float, measured_s: float
) -> Measured:
    """Run an official benchmark producer; what it sends is counted by the queues' maximum offsets.

    The classes themselves report a mean over ten seconds and more; the offsets say the same of any window.
    """
    home = prepare_java_home(folder)
    probe = OffsetProbe(side.port, topic)
    probe.create()
    argv = jvm.command(
        classpath(OFFICIAL_VERSION), f"org.apache.rocketmq.example.benchmark.{name}", "-n", side.namesrv_address,
        "-t", topic, *arguments, options=CLIENT_OPTIONS, user_home=folder,
    )  # fmt: skip
    process = Process(argv, log=folder / f"{name}.out", env=jvm.environment(home))
    try:
        deadline = time.monotonic() + CALL_SLACK_S
        while probe.stored() < 100:
            if time.monotonic() > deadline or not process.alive():
                raise LoadFailed(f"{name} sent nothing to {side.name}:\n{process.tail(5)}")
            time.sleep(0.05)
        time.sleep(warm_s)
        stored, used, began_at = probe.stored(), side.cpu_seconds(), time.monotonic()
        time.sleep(measured_s)
        messages = probe.stored() - stored
        cpu_s, seconds = side.cpu_seconds() - used, time.monotonic() - began_at
    finally:
        process.end(signal.SIGKILL)
        probe.close()
    return Measured(messages=messages, per_second=messages / seconds, broker_cpu_s=cpu_s)
