"""The reactor of our processes: Twisted's on epoll, which calls a connection that can be read at once.

What it is for: Twisted gives each event a logging context of its own and asks again what happened; where each read
brings one request that is an eighth of its cost. Connections that servers have accepted, and whatever else is `prompt`,
take the short way, everything else, also of them, the usual one. A connection whose `brought_several` is true after
a read is not waited for awake (`shortwait.py`). What it must not do: behave in any other way.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.logger import Logger

_log = Logger()
_NEEDED = ("_poller", "_selectables", "_disconnectSelectable", "_doReadOrWrite")
"""What this knows of the inside of Twisted's."""


def install_reactor() -> None:
    """Make this the reactor of the process, unless there is one, or the system or Twisted are not as known."""
    if "twisted.internet.reactor" in sys.modules or sys.platform != "linux":
        return
    from twisted.internet.main import installReactor

    reactor = make_reactor()
    if all(hasattr(reactor, name) for name in _NEEDED):
        installReactor(reactor)  # type: ignore[no-untyped-call]


def make_reactor() -> Any:
    """Return a reactor of this kind; Linux only."""
    from select import EPOLLIN

    from twisted.internet.epollreactor import EPollReactor
    from twisted.python import log

    from .shortwait import ShortWait

    waiting = ShortWait()
    wait, not_alone = waiting.events, waiting.not_alone

    class PromptReactor(EPollReactor):
        """Calls connections that can be read."""

        def doPoll(self, timeout: float | None) -> None:
            """Wait for events, and serve them."""
            selectables = self._selectables
            try:
                events = wait(self._poller.poll, timeout, len(selectables))
            except InterruptedError:
                return
            usual = self._doReadOrWrite
            for descriptor, event in events:
                selectable = selectables.get(descriptor)
                if selectable is None:  # closed by what was served before
                    continue
                if event != EPOLLIN or not getattr(selectable, "prompt", False):
                    log.callWithLogger(selectable, usual, selectable, descriptor, event)  # type: ignore[no-untyped-call]
                    continue
                try:
                    why: Exception | None = selectable.doRead()
                except Exception as error:  # noqa: BLE001  it ends this connection, not the server
                    _log.failure("a connection failed")
                    why = error
                if getattr(selectable, "brought_several", False):
                    not_alone()
                if why:
                    self._disconnectSelectable(selectable, why, True)  # type: ignore[no-untyped-call]

        doIteration = doPoll

    return PromptReactor()  # type: ignore[no-untyped-call]
