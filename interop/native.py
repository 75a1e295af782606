"""The native `mqadmin` in one process: its command lines as JSON in, exit codes and what was printed as JSON out.

One process, so that a case with many commands pays for one start. `python -m interop.native` is that process; `Native`
starts it and speaks to it.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Told:
    """What one command line printed, and its exit code."""

    code: int
    out: str
    err: str


class Native:
    """A running process. Use it in a `with` statement."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "interop.native"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Native:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._child.stdin, self._child.stdout):
            assert stream is not None
            stream.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(10)

    def run(self, *arguments: str) -> Told:
        """Run one command line."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(arguments) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        assert line, "the native mqadmin's process has ended"
        return Told(**json.loads(line))


def _serve() -> None:
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_one(json.loads(line))) + "\n")
        sys.stdout.flush()


def _one(arguments: list[str]) -> dict[str, Any]:
    from rmqd.protocol.admin.command import Invocation
    from rmqd.protocol.admin.errors import AdminError
    from rmqd.protocol.admin.main import parse
    from rmqd.protocol.admin.service import run

    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            invocation = parse(arguments)
        code = run(invocation, out, err) if isinstance(invocation, Invocation) else invocation
    except AdminError as cause:
        code = cause.exit_code
        err.write(f"{cause.line}\n")
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    _serve()
