"""Group commit: answers that wait until the log is on disk.

One `fdatasync` runs at a time, in a thread; whoever arrives meanwhile is served by the next one. Where several messages
waited for the last one, the next is not begun while others are still coming in: a sync costs the processor what several
messages cost, and on a fast disk it would else be paid for every handful. A failed sync is never repeated quietly: the
store stops acknowledging until the broker is restarted.
Source: `CommitLog.GroupCommitService` (5.5.0).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqwire.codes import ResponseCode

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from rmqd.store.messagestore import MessageStore
    from rmqd.store.syncjob import SyncJob

_log = Logger()
RunSync: TypeAlias = "Callable[[SyncJob], Deferred[int]]"
"""Runs a sync where nobody waits for it, and gives what it gives."""

GATHER_S = 0.001
"""How long those who wait for the next sync wait at most for others to join."""
_PARTS = 4
"""Of those who send at a time so many share a sync: the others' messages are read meanwhile."""
_QUIET_TURNS = 2
"""Turns of the reactor after which nobody is coming: what one of them reads is committed by the next."""


class GroupCommit:
    """Tells when a position of the log is safe on disk.

    Args:
        store: Its `flush_plan` gives the blocking part of a flush, `flushed` takes the result.
        run_sync: Runs the blocking part elsewhere.
        clock: For the timeout.
        timeout_ms: `syncFlushTimeout`; after it the answer is FLUSH_DISK_TIMEOUT, though the message is stored.
        messages: How many messages wait, of which many may wait together.
    """

    def __init__(
        self,
        store: MessageStore,
        run_sync: RunSync,
        clock: IReactorTime,
        timeout_ms: int,
        messages: Callable[[], int],
    ) -> None:
        self._store = store
        self._run_sync = run_sync
        self._clock = clock
        self._timeout_s = timeout_ms / 1000
        self._waiting: deque[tuple[int, float, Deferred[int]]] = deque()
        self._syncing: Deferred[Any] | None = None
        self._on_ended: list[Deferred[None]] = []
        self._messages = messages
        self._served = 0
        """How many messages waited when the last sync ended."""
        self._gathering_until: float | None = None
        self._seen = 0
        self._quiet = 0
        self.failed: BaseException | None = None

    def when_flushed(self, position: int) -> Deferred[int]:
        """Wait until every byte before `position` is on disk.

        Returns:
            The response code: SUCCESS, or FLUSH_DISK_TIMEOUT when it took too long.
        """
        answer: Deferred[int] = Deferred()
        self._waiting.append((position, self._clock.seconds() + self._timeout_s, answer))
        if self.failed is not None:
            self._fail()
        elif self._syncing is None and self._gathering_until is None:
            self._begin()
        return answer

    def _begin(self) -> None:
        if self._served < 2:  # a single sender waits for nobody
            self.flush()
            return
        self._gathering_until = self._clock.seconds() + GATHER_S
        self._seen = self._quiet = 0
        self._gather()

    def _gather(self) -> None:
        """Begin once nobody joins any more."""
        assert self._gathering_until is not None
        joined = len(self._waiting)
        self._quiet = self._quiet + 1 if joined == self._seen else 0
        self._seen = joined
        enough = self._quiet == _QUIET_TURNS or self._messages() * _PARTS >= self._served
        if not enough and self._syncing is None and self._clock.seconds() < self._gathering_until:
            self._clock.callLater(0, self._gather)
            return
        self._gathering_until = None
        self.flush()
        self._tell_if_idle()

    def flush(self, least_pages: int = 0) -> Deferred[Any] | None:
        """Start a sync if there is something to sync and none is running; give the running one.

        Args:
            least_pages: Leave it when fewer pages than this were written since the last one.
        """
        if self._syncing is not None or self.failed is not None:
            return self._syncing
        job = self._store.flush_plan(least_pages)
        if job is None:
            self._answer()
            return None
        self._syncing = done = self._run_sync(job)
        done.addCallbacks(self._synced, self._sync_failed)
        return done

    async def answered(self) -> None:
        """Wait until all who wait now are answered."""
        if self._waiting:
            await self.when_flushed(self._waiting[-1][0])

    async def drained(self) -> None:
        """Wait until no sync is running, and none is about to."""
        while self._syncing is not None or self._gathering_until is not None:
            ended: Deferred[None] = Deferred()
            self._on_ended.append(ended)
            await ended

    def log_was_cut(self, end: int) -> None:
        """Answer those whose messages are gone: what is written there next are others."""
        waiting, self._waiting = self._waiting, deque()
        for entry in waiting:
            if entry[0] <= end:
                self._waiting.append(entry)
            else:
                entry[2].callback(ResponseCode.FLUSH_DISK_TIMEOUT)

    def expire(self) -> None:
        """Answer those who waited too long. Called a few times a second."""
        now = self._clock.seconds()
        while self._waiting and self._waiting[0][1] <= now:
            self._waiting.popleft()[2].callback(ResponseCode.FLUSH_DISK_TIMEOUT)

    def _tell_if_idle(self) -> None:
        if self._syncing is None and self._gathering_until is None:
            on_ended, self._on_ended = self._on_ended, []
            for ended in on_ended:
                ended.callback(None)

    def _synced(self, position: int) -> None:
        self._syncing = None
        self._store.flushed(position)
        self._answer()
        if self._waiting and self._gathering_until is None:
            self._begin()
        self._tell_if_idle()

    def _answer(self) -> None:
        flushed = self._store.flushed_offset
        self._served = self._messages()
        while self._waiting and self._waiting[0][0] <= flushed:
            self._waiting.popleft()[2].callback(ResponseCode.SUCCESS)

    def _sync_failed(self, failure: Failure) -> None:
        assert failure.value is not None
        self.failed = failure.value
        self._store.flush_failed(failure.value)
        self._syncing = None
        _log.critical(
            "the commit log cannot be synced, nothing is acknowledged until a restart: {error}",
            error=failure.getErrorMessage(),
        )
        self._fail()
        self._tell_if_idle()

    def _fail(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for _, _, answer in waiting:
            answer.callback(ResponseCode.FLUSH_DISK_TIMEOUT)
