"""The timer of a broker: takes messages, delivers them, and keeps its files, by the clock.

Nothing per message stays in memory: what waits is in the wheel, the timer's log and the commit log. One piece of work
at a time; each ends in milliseconds, so that other requests are served between two of them.

A slave's timer follows that of its master: it takes what the master has taken, and delivers nothing.

Source: `TimerMessageStore` and its services (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqd.store.errors import FlushFailed, StoreError
from rmqd.store.timerrecovery import QueueState
from rmqd.store.timerstore import TimerStore
from rmqwire.codes import ResponseCode
from rmqwire.errors import MalformedMessage
from rmqwire.message import decode_record

from .names import TIMER_TOPIC
from .timer_delivery import TimerDelivery
from .timer_messages import NotPut, TimerPuts
from .timer_taking import TimerTaking

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.store.messagestore import MessageStore
    from rmqd.store.timercheckpoint import TimerCheckpoint

    from .stats import BrokerStats
    from .timer import TimerSettings
    from .timer_messages import Puts
    from .topic_counts import TopicCounts

_log = Logger()

TICK_S = 0.1
"""How often queue and wheel are looked at; the official broker does as often at its default precision."""
CLEAN_INTERVAL_S = 30.0
_RETRY_AFTER_S = 1.0


class TimerService:
    """Everything that moves timer messages.

    Args:
        store: Of messages.
        files: The timer's; opened by `begin`.
        settings: Options.
        counts: Of waiting messages.
        stats: Of the broker.
        clock: For pauses.
        wall_clock_ms: Tells what is due.
        run_in_thread: Waits for the disk.
        when_flushed: Given an offset of the log, a Deferred of SUCCESS once all before it is on disk.
    """

    def __init__(
        self,
        store: MessageStore,
        files: TimerStore,
        settings: TimerSettings,
        counts: TopicCounts,
        stats: BrokerStats,
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        run_in_thread: Callable[..., Deferred[Any]],
        when_flushed: Callable[[int], Deferred[int]],
    ) -> None:
        self._store = store
        self.files = files
        self._settings = settings
        self.counts = counts
        self._clock = clock
        self._wall_clock_ms = wall_clock_ms
        self._run_in_thread = run_in_thread
        self._when_flushed = when_flushed
        self._puts = TimerPuts(store, stats, wall_clock_ms)
        self._taking = TimerTaking(store, files, self._puts, counts, wall_clock_ms, run_in_thread)
        self._delivery = TimerDelivery(store, files, self._puts, counts, run_in_thread)
        self.running = False
        self._opened = False
        self._jobs: dict[str, list[Deferred[None]]] = {}
        """By what is under way: who waits for its end."""
        self._wait_until_s = 0.0
        self._problem = ""
        """As it was logged last."""
        self._cut_at: tuple[int, int] | None = None
        self._sampled = (0.0, 0, 0)
        self._rates = (0.0, 0.0)

    # -- by the clock --------------------------------------------------------------------------------------------

    def begin(self, *, leads: bool = True) -> None:
        """Recover, which waits for the disk, and serve.

        Args:
            leads: Whether to deliver; otherwise what a master delivers is followed.

        Raises:
            StoreError: The files cannot be used.
        """
        log_end, queue_end = self._ends()
        first = min(self._store.min_offset(TIMER_TOPIC, 0), queue_end)
        self.files.open(
            self._wall_clock_ms(), QueueState(first, queue_end, log_end, self._queue_offset_of), follows=not leads
        )
        self._cut_at = None
        self._opened = self.running = True
        _log.info(
            "timer: {count} messages wait; queue from {offset}, slots from {read_ms}",
            count=self.files.pending,
            offset=self.files.queue_offset,
            read_ms=self.files.read_ms,
        )

    def _ends(self) -> tuple[int, int]:
        """Where log and queue end, or ended when the log was cut."""
        now = self._store.max_physical_offset, self._store.max_offset(TIMER_TOPIC, 0)
        return now if self._cut_at is None else (min(now[0], self._cut_at[0]), min(now[1], self._cut_at[1]))

    def log_was_cut(self) -> None:
        """What was taken from behind the end of the log is no more; `follow` has to be called before long.

        What comes behind this end meanwhile is taken then.
        """
        self._cut_at = self._ends()

    def _queue_offset_of(self, position: int, size: int) -> int | None:
        record = self._store.read_record(position, size)
        if record is None:
            return None
        try:
            message = decode_record(record)
        except MalformedMessage:
            return None
        return message.queue_offset if message.topic == TIMER_TOPIC else None

    def tick(self) -> None:
        """Take and deliver whatever there is to."""
        if self._clock.seconds() >= self._wait_until_s:
            self._start("work", self._work)

    def flush(self) -> None:
        """Make it all durable. Call every `timerFlushIntervalMs`."""
        self._sample()
        self.counts.tick()
        if self.running and self.files.changed:
            self._start("flush", self._flush)

    def clean(self) -> None:
        """Delete files of the timer's log that are not needed any more."""
        self._start("clean", self._clean)

    # -- whose turn it is to deliver --------------------------------------------------------------------------------

    async def lead(self, puts: Puts | None = None) -> None:
        """Deliver from now on, from where the master was.

        Args:
            puts: Where to; into this broker's own log if left out.

        Raises:
            StoreError: The files could not be used before, and cannot now.
        """
        await self._pause()
        if not self._opened:
            self.begin(leads=False)
        self._taking.puts = self._delivery.puts = puts if puts is not None else self._puts
        self.files.lead(self._wall_clock_ms())
        self.running = self._opened
        _log.info("timer: delivers what is due from {read_ms} on", read_ms=self.files.read_ms)

    async def follow(self) -> None:
        """Leave the delivery to a master from now on.

        Call it after the log was cut to what the master has: the files are opened anew.

        Raises:
            StoreError: The files cannot be used.
        """
        await self._pause()
        await self._close()
        self.begin(leads=False)

    def delivered_elsewhere(self, by: TimerCheckpoint) -> bool:
        """Take how far the timer of the master has come, or that of a slave that stood in; False if there is none."""
        if self._opened:
            self.files.delivered_elsewhere(by)
        return self._opened

    @property
    def follows(self) -> bool:
        """Whether another broker delivers; not so where the files could not be opened for that."""
        return self._opened and self.files.follows

    async def stop(self) -> None:
        """Stop, wait for what is under way, and write everything down. Called when no more requests come."""
        await self._pause()
        await self._close()
        await self.counts.saved()

    async def _pause(self) -> None:
        self.running = False
        ends: list[Deferred[None]] = []
        for waiting in self._jobs.values():  # first all of them, as they end in any order
            ended: Deferred[None] = Deferred()
            waiting.append(ended)
            ends.append(ended)
        for ended in ends:
            await ended
        self._delivery.let_go()

    async def _close(self) -> None:
        if self._opened:
            try:
                await self._flush()
            except StoreError as cause:
                _log.error("timer: {cause}", cause=cause)
            self._opened = False
            self.files.close()

    def _start(self, name: str, job: Callable[[], Any]) -> None:
        if not self.running or name in self._jobs:
            return
        self._jobs[name] = []
        done = Deferred.fromCoroutine(job())
        done.addErrback(lambda failure: self._failed(name, failure))
        done.addBoth(lambda _: self._ended(name))

    def _failed(self, name: str, failure: Any) -> None:
        self._wait_until_s = self._clock.seconds() + _RETRY_AFTER_S
        if failure.check(StoreError, NotPut):
            if str(failure.value) != self._problem:
                self._problem = str(failure.value)
                _log.error("timer: {cause}", cause=failure.value)
        else:
            _log.failure("timer: {name} failed", failure, name=name)

    def _ended(self, name: str) -> None:
        for waiting in self._jobs.pop(name):
            waiting.callback(None)

    async def _work(self) -> None:
        more = True
        while more and self.running:
            more = not self._settings.stop_enqueue and await self._taking.some()
            if self.running and not self.files.follows:
                more = await self._delivery.some() or more
            if more:
                turn: Deferred[None] = Deferred()
                self._clock.callLater(0, turn.callback, None)
                await turn
        self._problem = ""

    async def _flush(self) -> None:
        plan = self.files.flush_plan(self._wall_clock_ms())
        if plan is None:
            return
        try:
            # What the checkpoint says was taken and delivered must not be lost when the machine crashes.
            # The log may have been cut since, or the commit of it have failed.
            end = min(max(self._puts.log_end, self._taking.log_end), self._store.max_physical_offset)
            if self._store.flushed_offset < end and await self._when_flushed(end) != ResponseCode.SUCCESS:
                raise StoreError("the checkpoint waits for the log, which is not flushed")
            checkpoint = await self._run_in_thread(plan)
        except BaseException as cause:
            self.files.flush_failed(lost=isinstance(cause, FlushFailed))
            raise
        self.files.flushed(checkpoint)

    async def _clean(self) -> None:
        number = await self._run_in_thread(self.files.expired, self._store.min_physical_offset)
        if number and self.running:
            await self._run_in_thread(self.files.delete_plan(number))

    # -- what others ask -----------------------------------------------------------------------------------------

    def _sample(self) -> None:
        now_s = self._clock.seconds()
        before_s, taken, delivered = self._sampled
        if now_s - before_s >= 1.0:
            span_s = now_s - before_s
            self._rates = (self._taking.taken - taken) / span_s, (self._delivery.delivered - delivered) / span_s
            self._sampled = (now_s, self._taking.taken, self._delivery.delivered)

    @property
    def behind_ms(self) -> int:
        """How late it delivers."""
        return max(0, self._wall_clock_ms() - self.files.read_ms) if self.running else 0

    @property
    def messages_behind(self) -> int:
        """How many messages wait to be taken."""
        return self._taking.behind if self.running else 0

    def runtime_info(self) -> dict[str, str]:
        """What getBrokerRuntimeInfo tells. Source: `AdminBrokerProcessor.prepareRuntimeInfo` (5.5.0)."""
        return {
            "timerReadBehind": str(self.behind_ms // 1000),
            "timerOffsetBehind": str(self.messages_behind),
            "timerCongestNum": str(self.files.pending),
            "timerEnqueueTps": str(self._rates[0]),
            "timerDequeueTps": str(self._rates[1]),
        }
