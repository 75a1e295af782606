"""Server processes that are started, killed and started again on one store."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_READY = re.compile(r"127\.0\.0\.1:(\d+)\] boot success")
_NAME_SERVER_READY = re.compile(r"boot success.*127\.0\.0\.1:(\d+)")
_READY_TIMEOUT_S = 60.0
PATIENCE = {"waitTimeMillsInSendQueue": 60_000}
"""On a machine that is busy with something else requests wait; to be refused for that is not what this is about."""

_RAISED = "Unexpected error in main loop"
"""What the reactor says when one of ours lets an exception pass; it goes on, and nobody else is told."""


class BrokerProcess:
    """`mqbroker` without a name server, on a free port of 127.0.0.1.

    Args:
        folder: Store, configuration and output.
        properties: Of the configuration file, beside the address and the store.
    """

    command: tuple[str, ...] = (str(Path(sys.executable).parent / "mqbroker"),)

    def __init__(self, folder: Path, **properties: object) -> None:
        self.folder = folder
        self._properties = properties
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.started_in_s = 0.0
        self.started_with_cpu_s = 0.0

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    @property
    def cpu_s(self) -> float:
        """What the running process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def store(self) -> Path:
        """The root of the store."""
        return self.folder / "store"

    def start(self, **changed: object) -> None:
        """Start it and wait until it serves."""
        self._properties.update(changed)
        lines = {"listenPort": 0, "brokerIP1": "127.0.0.1", "bindAddress": "127.0.0.1"} | PATIENCE | self._properties
        lines["storePathRootDir"] = self.store
        begun = time.monotonic()
        self._process, self.port = _started(self.folder, self.command, "broker", lines, _READY)
        self.started_in_s = time.monotonic() - begun
        self.started_with_cpu_s = self.cpu_s

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it stand still (SIGSTOP) while the block runs."""
        assert self._process is not None
        process = self._process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> float:
        """End it by SIGTERM; give the seconds that took.

        Raises:
            AssertionError: It did not exit with 0, or left the abort file.
        """
        begun = time.monotonic()
        code = self._end(signal.SIGTERM)
        spent_s = time.monotonic() - begun
        assert code == 0, (self.folder / "broker.out").read_text()[-2000:]
        assert not (self.store / "abort").exists()
        return spent_s

    def stop_failing(self) -> str:
        """End it by SIGTERM where it cannot write everything down; give the last line that it printed.

        Raises:
            AssertionError: It exited with 0.
            subprocess.TimeoutExpired: It did not end.
        """
        code = self._end(signal.SIGTERM)
        printed = (self.folder / "broker.out").read_text()
        assert code != 0, printed[-2000:]
        return printed.splitlines()[-1]

    def _end(self, number: int) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(60)
        self._process = None
        assert _RAISED not in (self.folder / "logs/rocketmqlogs/broker.log").read_text(errors="replace")
        return code

    def close(self) -> None:
        """Kill it if it runs."""
        if self._process is not None:
            self.kill()


class NameServerProcess:
    """`mqnamesrv` on a free port of 127.0.0.1, with its files in a folder."""

    command = (str(Path(sys.executable).parent / "mqnamesrv"),)

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start it and wait until it serves."""
        lines = {"listenPort": 0, "bindAddress": "127.0.0.1", "kvConfigPath": self._folder / "kvConfig.json"}
        self._process, self.port = _started(self._folder, self.command, "namesrv", lines, _NAME_SERVER_READY)

    def close(self) -> None:
        """Kill it if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(60)


def _started(
    folder: Path, command: tuple[str, ...], name: str, lines: dict[str, object], ready: re.Pattern[str]
) -> tuple[subprocess.Popen[bytes], int]:
    configuration, output = folder / f"{name}.conf", folder / f"{name}.out"
    configuration.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
    begun = time.monotonic()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*command, "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, "HOME": str(folder), "PYTHONUNBUFFERED": "1"},
        )
    while not (found := ready.search(output.read_text())):
        if process.poll() is not None or time.monotonic() - begun > _READY_TIMEOUT_S:
            process.kill()
            process.wait(60)
            raise AssertionError(f"the {name} does not start: {output.read_text()[-2000:]}")
        time.sleep(0.01)
    return process, int(found[1])
