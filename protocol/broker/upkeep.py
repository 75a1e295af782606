"""What a broker does by the clock: flush, write tails, checkpoint, clean, sweep holds, scan clients, sample counters.

Each job is a `LoopingCall`; whatever waits for the disk runs in a thread, one at a time per kind. A job that fails is
logged and runs again: a failure of one must not end the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from rmqd.conf import FlushDiskType

from . import cold_data, static_cleaning, timer_service
from .delay_delivery import TICK_S
from .slow_groups import CHECK_INTERVAL_S

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.conf import BrokerOptions
    from rmqd.protocol.server import RemotingServer
    from rmqd.store.messagestore import MessageStore

    from .parts import BrokerParts

_log = Logger()

SCAN_INTERVAL_S = 10.0
QUEUE_TAIL_INTERVAL_S = 0.2
"""How often consume queue units go from memory to their files; they are derived, a crash only costs re-reading."""
QUEUE_TAIL_STEPS = 4
"""In so many steps between, those of a few queues each time, which holds nobody up."""
FIRST_CLEANING_S = 60.0


class Upkeep:
    """The timers of one broker.

    Args:
        options: Intervals.
        store: Flushed and cleaned.
        parts: Swept, scanned, saved.
        server: Whose idle connections are closed.
        run_in_thread: Runs what waits for the disk.
    """

    def __init__(
        self,
        options: BrokerOptions,
        store: MessageStore,
        parts: BrokerParts,
        server: RemotingServer,
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self._options = options
        self._store = store
        self._parts = parts
        self._server = server
        self._run_in_thread = run_in_thread
        self._timers: list[LoopingCall] = []
        self._last_thorough_flush_s = 0.0
        self._clock: IReactorTime
        self._in_thread: set[Deferred[Any]] = set()

    def begin(self, clock: IReactorTime) -> None:
        """Start every timer."""
        self._clock = clock
        store = self._options.store
        parts = self._parts
        self._every(1.0, parts.holds.sweep)
        self._every(1.0, parts.stats.sample)
        self._every(CHECK_INTERVAL_S, parts.slow_groups.check)
        self._every(cold_data.ROUND_S, parts.cold.tick)
        self._every(QUEUE_TAIL_INTERVAL_S, self._write_queues)
        self._every(TICK_S, parts.delayed.tick)
        self._every(store.flush_delay_offset_interval / 1000, parts.delay_offsets.tick)
        if parts.timers is not None:
            self._every(timer_service.TICK_S, parts.timers.tick)
            self._every(store.timer_flush_interval_ms / 1000, parts.timers.flush)
            self._every(timer_service.CLEAN_INTERVAL_S, parts.timers.clean)
        metrics_interval_s = self._options.broker.transaction_metric_flush_interval / 1000
        self._every(metrics_interval_s, parts.transactions.counts.tick)
        self._every(SCAN_INTERVAL_S, self._scan_clients)
        self._every(SCAN_INTERVAL_S, self._server.close_idle)
        self._every(self._options.broker.flush_consumer_offset_interval / 1000, parts.offsets.tick)
        self._every(SCAN_INTERVAL_S, self._save_states)
        self._every(static_cleaning.INTERVAL_S, parts.static_topics.cleaning.tick)
        self._every(1.0, self._checkpoint)
        self._every(1.0, self._store.tick_disk)
        if store.flush_disk_type is FlushDiskType.SYNC_FLUSH:
            self._every(min(0.1, store.sync_flush_timeout / 1000), parts.group_commit.expire)
        self._every(store.flush_interval_commit_log / 1000, self._flush)
        clock.callLater(FIRST_CLEANING_S, self._every, store.clean_resource_interval / 1000, self._clean)

    async def end(self) -> None:
        """Stop the timers and wait for what still runs in threads."""
        for timer in self._timers:
            timer.stop()
        self._timers.clear()
        for job in list(self._in_thread):
            await job

    def _every(self, interval_s: float, job: Callable[[], object]) -> None:
        def guarded() -> None:
            try:
                job()
            except Exception:  # noqa: BLE001  the next round may do better, and the other jobs go on
                _log.failure("upkeep: {job} failed", job=getattr(job, "__qualname__", job))

        timer = LoopingCall(guarded)
        timer.clock = self._clock
        timer.start(interval_s, now=False)
        self._timers.append(timer)

    def _write_queues(self, step: int = 1) -> None:
        left = self._store.tick_consume_queues()
        if left and step < QUEUE_TAIL_STEPS and self._timers:
            self._clock.callLater(QUEUE_TAIL_INTERVAL_S / QUEUE_TAIL_STEPS, self._write_more, step + 1)

    def _write_more(self, step: int) -> None:
        if self._timers:  # else the store may be closed by now
            self._write_queues(step)

    def _scan_clients(self) -> None:
        self._parts.consumers.scan()
        self._parts.producers.scan()
        self._parts.locks.scan()

    def _save_states(self) -> None:
        self._parts.topics.tick()
        self._parts.groups.tick()
        self._parts.filters.tick()
        self._parts.static_topics.table.tick()
        self._parts.pops.orders.tick()

    def _flush(self) -> None:
        store = self._options.store
        now_s = self._clock.seconds()
        thorough = now_s - self._last_thorough_flush_s >= store.flush_commit_log_thorough_interval / 1000
        if thorough:
            self._last_thorough_flush_s = now_s
        self._parts.group_commit.flush(0 if thorough else store.flush_commit_log_least_pages)

    def _checkpoint(self) -> None:
        plan = self._store.checkpoint_plan()
        if plan is not None:
            self._later(plan, self._store.checkpointed, self._store.checkpoint_failed)

    def _clean(self) -> None:
        plan = self._store.clean_plan()
        if plan is not None:
            self._later(plan, self._store.cleaned, self._store.clean_failed)

    def _later(
        self, plan: Callable[[], Any], done: Callable[[Any], object], failed: Callable[[BaseException], object]
    ) -> None:
        job = self._run_in_thread(plan)
        self._in_thread.add(job)
        job.addCallbacks(done, lambda failure: failed(failure.value))
        job.addErrback(lambda failure: _log.failure("upkeep in a thread failed", failure))
        job.addBoth(lambda _: self._in_thread.discard(job))
