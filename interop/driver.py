"""A client driver as a child process: JSON commands in, JSON lines out. The same for Java (every version) and Go."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from interop import golang, jvm
from interop.jars import classpath
from interop.process import dying_with_us

CALL_TIMEOUT_S = 90.0
READY_TIMEOUT_S = 90.0
JVM_OPTIONS = [
    "-Xms32m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
    # A client looks at its queues every 20 s where nobody notifies it (a broadcasting one, and a 5.5.0 one whose first
    # heartbeat meets the one of its own connection), asks for locks as often, and gives a queue's lock back so much
    # later: too long to wait in every case.
    "-Drocketmq.client.rebalance.waitInterval=4000", "-Drocketmq.client.rebalance.lockInterval=4000",
    "-Drocketmq.client.unlockDelayTimeMills=2000",
]  # fmt: skip

Line = dict[str, Any]


class DriverError(Exception):
    """A command failed in the client: `error` is the exception's class, `code` the broker's response code."""

    def __init__(self, line: Line) -> None:
        causes = "".join(f"; caused by {cause}" for cause in line.get("causes") or ())
        super().__init__(f"{line.get('error')}: {line.get('message')} (code {line.get('code')}){causes}")
        self.error: str = line.get("error", "")
        self.message: str = line.get("message", "")
        self.code: int | None = line.get("code")


class DriverDied(Exception):
    """The driver ended, or did not answer in time. The message holds the end of its error output."""


class Driver:
    """One driver process; commands may be given from several threads."""

    def __init__(self, name: str, argv: list[str], *, log: Path, env: dict[str, str] | None = None) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = log
        self._errors = log.open("ab")
        self.popen = subprocess.Popen(
            dying_with_us(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            start_new_session=True, env=env, text=True, cwd=log.parent, encoding="utf-8", bufsize=1,
        )  # fmt: skip
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self._begin(self.popen.stdin, self.popen.stdout)

    def _begin(self, commands: IO[str], lines: IO[str]) -> None:
        self._commands = commands
        self._lines = lines
        self._ids = itertools.count(1)
        self._arrivals = itertools.count(1)
        self._changed = threading.Condition()
        self._answers: dict[int, Line] = {}
        self._received: dict[str, list[Line]] = {}
        self._ready = False
        self._ended = False
        self._reader = threading.Thread(target=self._read, name=f"driver-{self.name}", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for text in self._lines:
            if not text.startswith("{"):
                continue
            line: Line = json.loads(text)
            with self._changed:
                line["arrived"] = next(self._arrivals)
                if line.get("id") is not None:
                    self._answers[line["id"]] = line
                elif line["event"] == "received":
                    self._received.setdefault(line["consumer"], []).append(line)
                elif line["event"] == "ready":
                    self._ready = True
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _wait(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `done`, the driver's end or the time; return whether it is done. Call with the condition held."""
        self._changed.wait_for(lambda: done() or self._ended, timeout_s)
        return done()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> Driver:
        """Wait for the driver's first line."""
        with self._changed:
            if not self._wait(lambda: self._ready, timeout_s):
                raise DriverDied(f"driver {self.name} was not ready within {timeout_s} s: {self._tail()}")
        return self

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])

    def call(self, op: str, *, timeout_s: float = CALL_TIMEOUT_S, **arguments: object) -> Line:
        """Run one command and return its answer.

        Raises:
            DriverError: the client threw.
            DriverDied: no answer within the time, or the process ended.
        """
        number = next(self._ids)
        command = {"id": number, "op": op, **{key: value for key, value in arguments.items() if value is not None}}
        with self._changed:
            try:
                self._commands.write(json.dumps(command) + "\n")
                self._commands.flush()
            except OSError as error:
                raise DriverDied(f"driver {self.name} has ended: {self._tail()}") from error
            if not self._wait(lambda: number in self._answers, timeout_s):
                raise DriverDied(f"driver {self.name} did not answer {op} within {timeout_s} s: {self._tail()}")
            line = self._answers.pop(number)
        if line["event"] == "failed":
            raise DriverError(line)
        return line

    def received(self, consumer: str) -> list[Line]:
        """Return the messages that a consumer has received until now, in the order in which it printed them."""
        with self._changed:
            return list(self._received.get(consumer, ()))

    def wait_received(self, consumer: str, enough: Callable[[list[Line]], bool], timeout_s: float = 60.0) -> list[Line]:
        """Wait until `enough(messages)`, and return the messages either way: the case judges them."""
        with self._changed:
            self._wait(lambda: enough(self._received.get(consumer, [])), timeout_s)
            return list(self._received.get(consumer, ()))

    def kill(self) -> None:
        """SIGKILL, as a client machine dies."""
        self.popen.kill()
        self._close()

    def close(self) -> None:
        """End of input: the driver halts without stopping its clients."""
        with contextlib.suppress(OSError):
            self._commands.close()
        try:
            self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
        self._close()

    def _close(self) -> None:
        self.popen.wait()
        self._reader.join(20)
        with contextlib.suppress(OSError):
            self._commands.close()
        self._lines.close()
        self._errors.close()


def _java_command(version: str, folder: Path, options: list[str]) -> list[str]:
    jars = [jvm.driver_classes(version), *classpath(version)]
    return jvm.command(jars, "rmqdriver.Driver", options=[*JVM_OPTIONS, *options], user_home=folder)


def java_driver(version: str, folder: Path, *, options: list[str] | None = None) -> Driver:
    """Start a JVM with the official client of `version`; not waited for (see `Driver.wait_ready`)."""
    home = jvm.java_home_folder(folder)
    argv = _java_command(version, folder, options or [])
    return Driver(f"java-{version}", argv, log=folder / "driver.err", env=jvm.environment(home))


def go_driver(folder: Path) -> Driver:
    """Start the Go driver, building it the first time."""
    return Driver("go", [golang.binary()], log=folder / "driver.err")


class ContainerDriver(Driver):
    """The Java driver in a container of the host's network, which dials back to us for its commands.

    The jars and classes are those that Maven and javac made here; the container brings the JVM alone.
    """

    IMAGE = "eclipse-temurin:17-jre"

    def __init__(self, version: str, folder: Path, options: list[str]) -> None:
        from testcontainers.core.container import DockerContainer

        folder.mkdir(parents=True, exist_ok=True)
        self.name = f"container-java-{version}"
        self.log = folder / "driver.err"
        self.log.touch()
        argv = _java_command(version, folder, options)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(READY_TIMEOUT_S)
            port = listener.getsockname()[1]
            container = DockerContainer(self.IMAGE).with_kwargs(network_mode="host")
            for path in (
                jvm.driver_classes(version).parent,
                classpath(version)[0].parent,
                jvm.java_home_folder(folder),
            ):
                container.with_volume_mapping(str(path), str(path), "rw" if path == folder else "ro")
            container.with_env("ROCKETMQ_HOME", str(folder))
            container.with_command(["java", *argv[1:], "--connect", f"127.0.0.1:{port}"])
            self._container = container.start()
            self._socket = listener.accept()[0]
        self._begin(self._socket.makefile("w", encoding="utf-8"), self._socket.makefile("r", encoding="utf-8"))

    def kill(self) -> None:
        """Kill the container's process and remove it."""
        self.close()

    def close(self) -> None:
        """Stop and remove the container."""
        self._container.stop()
        self._reader.join(20)
        for file in (self._commands, self._lines, self._socket):
            with contextlib.suppress(OSError):
                file.close()


def engine_answers() -> bool:
    """Tell whether a Docker engine answers on this machine.

    Asked in a process of its own: the docker package leaves its socket open when nobody answers.
    """
    asked = [sys.executable, "-c", "import docker; docker.from_env(timeout=5).ping()"]
    return subprocess.run(asked, capture_output=True, timeout=60, check=False).returncode == 0


def until(done: Callable[[], bool], timeout_s: float = 30.0, every_s: float = 0.05) -> bool:
    """Ask until `done()` or the time is over, for states that nothing announces; return whether it came."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True
