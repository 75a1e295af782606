"""Run one command line, until it ends or Control-C.

The only module of `mqadmin` that makes connections and waits; imported when something is asked. Must not import
Twisted (`docs/adr/0008`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TextIO

from rmqd.protocol.blocking import BlockingClient, drive
from rmqd.protocol.clocks import wall_clock_ms
from rmqwire.errors import RmqError

from .asking import Admin
from .errors import AdminError
from .output import Output

if TYPE_CHECKING:
    from .asking import Connections
    from .command import Invocation

INTERRUPTED = 130


def run(invocation: Invocation, out: TextIO, err: TextIO) -> int:
    """Run a command and give its exit code; what went wrong is printed in one line.

    Raises:
        BrokenPipeError: Whoever reads the output has seen enough.
        KeyboardInterrupt: Control-C.
    """
    client = BlockingClient()
    try:
        return drive(run_by(client, _sleep, invocation, out, err))
    finally:
        client.close()


async def _sleep(seconds: float) -> None:
    time.sleep(seconds)


async def run_by(
    client: Connections, sleep: Callable[[float], Awaitable[None]], invocation: Invocation, out: TextIO, err: TextIO
) -> int:
    """Run a command over given connections."""
    admin = Admin(client, invocation.name_servers, wall_clock_ms, sleep)
    output = Output(out, invocation.as_json)
    try:
        while True:
            await invocation.spec.run(admin, invocation.given, output)
            output.finish()
            if invocation.every_s is None:
                return 0
            await sleep(invocation.every_s)
    except AdminError as cause:
        out.flush()
        err.write(f"{cause.line}\n")
        return cause.exit_code
    except RmqError as cause:
        out.flush()
        err.write(AdminError(f"an answer does not parse, {cause}", "is it a RocketMQ server?").line + "\n")
        return AdminError.exit_code


def run_and_exit(invocation: Invocation) -> int:
    """Run a command on the standard streams.

    Raises:
        BrokenPipeError: Whoever reads the output has seen enough.
    """
    try:
        return run(invocation, sys.stdout, sys.stderr)
    except KeyboardInterrupt:
        return INTERRUPTED
