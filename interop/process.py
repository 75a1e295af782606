"""Child processes of the suite: each in a session of its own, with its output in a file, ended by its process id."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

POLL_S = 0.02
READY_TIMEOUT_S = 120.0
"""Generous: on two busy cores an official broker may take half a minute to boot."""

_running: set[Process] = set()


class ProcessFailed(AssertionError):
    """A child process ended, or did not say what it should in time."""


class Process:
    """One child process and the file that its standard output and error go to."""

    def __init__(
        self, argv: list[str], *, log: Path, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.log_from = output.tell()
            self.popen = subprocess.Popen(
                dying_with_us(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env=env, cwd=cwd,
            )  # fmt: skip
        _running.add(self)

    @property
    def pid(self) -> int:
        """The process id, which the child's own id stays through the wrapper (it execs)."""
        return self.popen.pid

    def output(self) -> str:
        """Return what this process has printed since it was started."""
        with self.log.open("rb") as file:
            file.seek(self.log_from)
            return file.read().decode(errors="replace")

    def wait_for(self, pattern: str, timeout_s: float = READY_TIMEOUT_S) -> re.Match[str]:
        """Wait until the output matches.

        Raises:
            ProcessFailed: the process ended first, or the time is over; with the last lines of its output.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            code = self.popen.poll()
            match = re.search(pattern, self.output(), re.MULTILINE)
            if match:
                return match
            if code is not None:
                raise ProcessFailed(f"{self.log.name}: ended with {code} before it printed /{pattern}/:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.log.name}: no /{pattern}/ within {timeout_s} s:\n{self.tail()}")
            time.sleep(POLL_S)

    def tail(self, lines: int = 20) -> str:
        """Return the last lines of the output, for an error message."""
        return "\n".join(line[:300] for line in self.output().splitlines()[-lines:])

    def alive(self) -> bool:
        """Tell whether the process still runs."""
        return self.popen.poll() is None

    def end(self, number: int = signal.SIGTERM, timeout_s: float = 60.0) -> int:
        """Send a signal (once, if it still runs) and return the exit status; SIGKILL when it does not end in time."""
        if self.alive():
            os.kill(self.pid, number)
        try:
            return self.wait(timeout_s)
        finally:
            self.kill()

    def wait(self, timeout_s: float = 60.0) -> int:
        """Return the exit status.

        Raises:
            ProcessFailed: it still runs when the time is over.
        """
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise ProcessFailed(f"{self.log.name}: still running after {timeout_s} s:\n{self.tail()}") from None

    def kill(self) -> None:
        """SIGKILL, at once, and reap."""
        if self.alive():
            self.popen.kill()
        self.popen.wait()
        _running.discard(self)


def dying_with_us(argv: list[str]) -> list[str]:
    """Return the command such that the kernel kills it when we die, where util-linux's setpriv is present."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *argv] if setpriv else argv


@atexit.register
def _kill_all() -> None:
    for process in list(_running):
        process.kill()
