"""Keep a state file up to date without making the reactor wait for the disk.

One write at a time, in a thread; changes that come during it go out together in the next. Whoever must not answer
before a change is on disk waits for `saved()`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from rmqd.store.errors import StoreError

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from rmqd.store.statefile import StateFile

_log = Logger()

RunInThread: TypeAlias = "Callable[..., Deferred[Any]]"
"""Called with a callable and its arguments; fires with what it returned."""


class StateWriter:
    """Writes one file.

    Args:
        file: Where to.
        encode: Gives the whole text as it stands now; called on the reactor thread.
        run_in_thread: Runs the blocking write.
    """

    def __init__(self, file: StateFile, encode: Callable[[], bytes], run_in_thread: RunInThread) -> None:
        self._file = file
        self._encode = encode
        self._run_in_thread = run_in_thread
        self._dirty = False
        self._writing = False
        self._waiting: list[Deferred[None]] = []
        """For the write that begins next."""
        self._being_served: list[Deferred[None]] = []
        """For the write that is under way."""

    @property
    def clean(self) -> bool:
        """Whether the file holds all that is known."""
        return not (self._dirty or self._writing)

    def mark(self) -> None:
        """Note a change that the next `write` shall bring to disk."""
        self._dirty = True

    def changed(self) -> None:
        """Note a change and write it as soon as the write before has ended."""
        self._dirty = True
        self.write()

    def write(self) -> None:
        """Begin to write when there is something to write and nothing is being written."""
        if self._writing or not self._dirty:
            return
        self._writing, self._dirty = True, False
        self._being_served, self._waiting = self._waiting, []
        text = self._encode()
        self._run_in_thread(self._file.save, text).addCallbacks(self._done, self._failed)

    def saved(self) -> Deferred[None]:
        """Wait until everything that has changed so far is on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        if self.clean:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        if self._dirty:
            self._waiting.append(waiter)
            self.write()
        else:
            self._being_served.append(waiter)
        return waiter

    def _done(self, _: object) -> None:
        self._writing = False
        served, self._being_served = self._being_served, []
        self._next()
        for waiter in served:
            waiter.callback(None)

    def _failed(self, failure: Failure) -> None:
        self._writing, self._dirty = False, True  # tried again at the next change or tick
        served = self._being_served + self._waiting
        self._being_served, self._waiting = [], []
        if isinstance(failure.value, StoreError):
            _log.error("{error}", error=failure.value)
        else:
            _log.failure("state file {path} not written", failure, path=self._file.path)
        for waiter in served:
            waiter.errback(failure)

    def _next(self) -> None:
        if self._dirty:
            self.write()
