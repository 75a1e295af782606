"""Run one command line on the reactor.

The only module of `mqadmin` that takes the reactor; imported when something is asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from rmqd.protocol.client import RemotingClient, tcp_endpoints
from rmqd.protocol.clocks import wall_clock_ms
from rmqd.protocol.dispatch import Dispatcher
from rmqwire.declare import Role
from rmqwire.errors import RmqError

from .asking import Admin
from .errors import AdminError
from .output import Output

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorCore
    from twisted.python.failure import Failure

    from .command import Invocation

    class _Reactor(IReactorCore):
        """What we need of the reactor."""


_STOP_MS = 500
INTERRUPTED = 130


async def run(invocation: Invocation, reactor: object, out: TextIO, err: TextIO) -> int:
    """Run a command and give its exit code; what went wrong is printed in one line.

    Raises:
        BrokenPipeError: Whoever reads the output has seen enough.
    """
    client = RemotingClient(tcp_endpoints(reactor), Dispatcher(Role.CLIENT, ()), reactor)  # type: ignore[arg-type]

    def sleep(seconds: float) -> Deferred[None]:
        return deferLater(reactor, seconds)  # type: ignore[arg-type]

    return await run_by(client, sleep, invocation, out, err)


async def run_by(
    client: RemotingClient, sleep: Callable[[float], Deferred[None]], invocation: Invocation, out: TextIO, err: TextIO
) -> int:
    """Run a command over given connections, which are closed at its end."""
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
    finally:
        await client.stop(_STOP_MS)


def run_and_exit(invocation: Invocation) -> int:
    """Run a command on the global reactor, until it ends or Control-C.

    Raises:
        BrokenPipeError: Whoever reads the output has seen enough.
    """
    from twisted.internet import reactor

    codes: list[int] = []
    failures: list[Failure] = []
    running: list[Deferred[None]] = []
    closed: Deferred[None] = Deferred()

    def begin() -> None:
        done = Deferred.fromCoroutine(run(invocation, reactor, sys.stdout, sys.stderr))
        running.append(done.addCallbacks(codes.append, failures.append))
        done.addCallback(lambda _: reactor.stop() if not interrupted else closed.callback(None))

    interrupted: list[bool] = []

    def interrupt() -> Deferred[None] | None:
        if codes or failures or not running:
            return None
        interrupted.append(True)  # by a signal: let the command close its connections
        running[0].cancel()
        return closed

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", interrupt)
    reactor.run()
    if interrupted:
        return INTERRUPTED
    if failures:
        failures[0].raiseException()
    return codes[0]
