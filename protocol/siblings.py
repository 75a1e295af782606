"""Broker processes beside this one: `rmqd up --brokers N`.

What it is for: one process uses one core, so a machine with more of them runs more brokers under one name server; that
is how RocketMQ grows. They are brokers like any other, each with a folder, ports and a name of its own. What it must
not do: leave a process behind, or hide that one has ended.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol

from .logs import default_log_dir

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from rmqd.conf import BrokerOptions

BROKERS_MAX = 26
PORT_STEP = 20
"""Between the listen ports of two brokers: the VIP port is 2 below, the HA port 1 above."""
_KILL_AFTER_S = 30.0
_CODE = "from rmqd.protocol.commands import rmqd; rmqd(prog_name='rmqd')"
_OWN_FOLDERS = ("storePathCommitLog", "storePathDLedgerCommitLog", "haListenPort", "brokerId")

OnEnd = Callable[[str, int], None]


class NotStarted(Exception):
    """A broker process ended before it served."""


def names(options: BrokerOptions, count: int) -> list[str]:
    """Name brokers: `broker-a`, `broker-b`, ..., or with the stem of a configured `brokerName`.

    Raises:
        ConfError: The file sets what each broker must have for itself.
    """
    for key in _OWN_FOLDERS:
        if key in options.source:
            raise options.source[key].wrong(f"nothing, as {count} brokers cannot share it")
    stem = options.broker.broker_name.removesuffix("-a") if "brokerName" in options.source else "broker"
    return [f"{stem}-{chr(ord('a') + number)}" for number in range(count)]


def command_line(
    name: str, number: int, data: Path, namesrv: str, port: int, bind: str | None, address: str | None,
    given: dict[str, str], config_file: Path | None, log_dir: Path | None,
) -> list[str]:  # fmt: skip
    """The arguments of one more broker; `number` is 1 for the second."""
    settings = {
        **given,
        "brokerName": name,
        "storePathRootDir": str(data / name / "store"),
        "listenPort": str(port + PORT_STEP * number if port else 0),
    }
    if bind is not None:
        settings["bindAddress"] = bind
    if address is not None:
        settings["brokerIP1"] = settings["brokerIP2"] = address
    words = [sys.executable, "-c", _CODE, "broker", "--end-with-input", "-n", namesrv]
    for key, value in settings.items():
        words += ["--set", f"{key}={value}"]
    if config_file is not None:
        words += ["-c", str(config_file)]
    return [*words, "--log-dir", str((log_dir or default_log_dir()) / name)]


class Siblings:
    """Broker processes that live as long as this one.

    Args:
        reactor: Starts and watches them.
        on_end: Told the name and the exit status (the signal, negative) of one that ended although nobody asked.
    """

    def __init__(self, reactor: Any, on_end: OnEnd) -> None:
        self._reactor = reactor
        self._on_end = on_end
        self._all: list[_Sibling] = []
        self._stopping = False

    async def start(self, command_lines: dict[str, list[str]]) -> list[str]:
        """Start brokers by their names; give the line that each says when it serves.

        Raises:
            NotStarted: One has ended instead, for the reason it said; the others are stopped, as when it is cancelled.
        """
        for name, words in command_lines.items():
            sibling = _Sibling(name, self._ended)
            self._all.append(sibling)
            self._reactor.spawnProcess(sibling, words[0], words, env=None, childFDs={0: "w", 1: "r", 2: "r"})
        lines = gatherResults([sibling.ready for sibling in self._all], consumeErrors=True)
        try:
            return await lines
        except FirstError as first:
            await self.stop()
            first.subFailure.raiseException()
            raise
        except CancelledError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ask all to end, and wait until they have."""
        self._stopping = True
        for sibling in self._all:
            sibling.end(self._reactor)
        for sibling in self._all:
            await sibling.ended

    def _ended(self, name: str, status: int) -> None:
        if not self._stopping:
            self._on_end(name, status)


class _Sibling(ProcessProtocol):
    def __init__(self, name: str, on_end: OnEnd) -> None:
        self._name = name
        self._on_end = on_end
        self._said = ""
        self._complained = ""
        self._kill: IDelayedCall | None = None
        self.ready: Deferred[str] = Deferred()
        self.ended: Deferred[int] = Deferred()

    def end(self, reactor: Any) -> None:
        """SIGTERM; SIGKILL for one that does not end by it."""
        if self._signal("TERM"):
            self._kill = reactor.callLater(_KILL_AFTER_S, self._signal, "KILL")

    def _signal(self, name: str) -> bool:
        try:
            self.transport.signalProcess(name)  # type: ignore[union-attr]
        except ProcessExitedAlready:
            return False
        return True

    def outReceived(self, data: bytes) -> None:
        """Wait for the first line: the broker serves."""
        self._said += data.decode(errors="replace")
        if not self.ready.called and "\n" in self._said:
            self.ready.callback(self._said.partition("\n")[0])

    def errReceived(self, data: bytes) -> None:
        """Pass complaints on when it serves; before, the last one says why it does not."""
        text = data.decode(errors="replace")
        if self.ready.called:
            sys.stderr.write(f"{self._name}: {text}")
        else:
            self._complained += text

    def processEnded(self, reason: Failure) -> None:
        """Tell how it ended."""
        signal, code = getattr(reason.value, "signal", None), getattr(reason.value, "exitCode", None)
        status = -signal if signal else code or 0
        if self._kill is not None and self._kill.active():
            self._kill.cancel()
        was_ready = self.ready.called
        if not was_ready:
            why = self._complained.rstrip("\n").rpartition("\n")[2] or f"it ended with {status}"
            self.ready.errback(NotStarted(f"{self._name}: {why}"))
        self.ended.callback(status)
        if was_ready:
            self._on_end(self._name, status)
