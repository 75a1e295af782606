"""Pop consumption of a broker: its handlers, its state, and the rounds that bring messages back.

Source: `PopMessageProcessor`, `AckMessageProcessor`, `PopReviveService` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from rmqd.store.errors import StoreError

from .names import REVIVE_TOPIC_PREFIX
from .pop import PopHandlers
from .pop_ack import AckHandlers
from .pop_checks import PopChecks, PopSettings
from .pop_holds import HoldLimits, PopHolds
from .pop_log import ReviveLog
from .pop_notify import NotifyHandlers
from .pop_offsets import PopOffsets, PopQueue, PopsOut
from .pop_order import PopOrders
from .pop_parts import PopShared
from .pop_revive import ReviveQueue
from .rounds import Rounds
from .selection import arrival_reader

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.conf import BrokerOptions
    from rmqd.store.messagestore import MessageStore
    from rmqd.store.statefile import StateFile

    from .delay import DelayLevels
    from .groups import SubscriptionGroups
    from .ha_acks import WhenSafe
    from .offsets import ConsumerOffsets
    from .state_writer import RunInThread
    from .stats import BrokerStats
    from .topics import TopicTable

_log = Logger()


class PopService:
    """Everything about pops.

    Args:
        options: The configuration.
        store: Messages, check points and acknowledgements.
        topics, groups, offsets, stats: Of the broker.
        levels: Puts check points and acknowledgements aside.
        order_file: `config/consumerOrderInfo.json`.
        clock: For holds and rounds.
        wall_clock_ms: Unix milliseconds.
        run_in_thread: Reads what is not in memory.
        timer_behind: Whether the timer has not delivered all that is due.
        when_safe: As for sends.

    Attributes:
        handlers: For the dispatcher.
        orders: Saved by the broker.
        shared: What the handlers work on.
        reviving: Whether messages are brought back.

    Raises:
        StoreDamaged: The state of ordered pops cannot be read.
    """

    def __init__(
        self,
        options: BrokerOptions,
        store: MessageStore,
        topics: TopicTable,
        groups: SubscriptionGroups,
        offsets: ConsumerOffsets,
        stats: BrokerStats,
        levels: DelayLevels,
        order_file: StateFile,
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        run_in_thread: RunInThread,
        timer_behind: Callable[[], bool],
        when_safe: WhenSafe | None,
    ) -> None:
        broker = options.broker
        self._options = options
        self._limits = HoldLimits()
        self._settings = PopSettings()
        reader = arrival_reader(store)
        self._holds = PopHolds(clock, wall_clock_ms, self._limits, reader)
        self._notices = PopHolds(clock, wall_clock_ms, self._limits, reader, last_first=True)
        for holds in (self._holds, self._notices):
            store.tell_arrivals(holds.arrived, holds.topics)
        self.orders = PopOrders(order_file, topics, groups, clock, wall_clock_ms, run_in_thread, self._opened)
        self._store = store
        self.shared = shared = PopShared(
            store=store,
            topics=topics,
            groups=groups,
            settings=self._settings,
            checks=PopChecks(topics, groups, self._settings, wall_clock_ms),
            log=ReviveLog(
                store,
                levels,
                REVIVE_TOPIC_PREFIX + broker.broker_cluster_name,
                broker.revive_queue_num,
                store.options.store_host,
                wall_clock_ms,
            ),
            offsets=PopOffsets(offsets),
            out=PopsOut(wall_clock_ms()),
            orders=self.orders,
            holds=self._holds,
            notices=self._notices,
            stats=stats,
            wall_clock_ms=wall_clock_ms,
            run_in_thread=run_in_thread,
            when_safe=when_safe,
        )
        self.follow()
        self.handlers: list[object] = [PopHandlers(shared), AckHandlers(shared), NotifyHandlers(shared)]
        self._clock = clock
        self._timer_behind = timer_behind
        self.reviving = False
        self._queues: list[ReviveQueue] = []
        self._rounds = Rounds(clock, lambda: options.broker.revive_interval, self.revive_once, "bringing messages back")

    def follow(self) -> None:
        """Take the options as they are now."""
        broker = self._options.broker
        self._settings.follow(self._options)
        self._limits.queue_size = broker.pop_polling_size
        self._limits.whole_size = broker.max_pop_polling_size
        self._limits.force_interval = broker.pop_long_polling_force_notify_interval
        self.orders.notify_when_opened = broker.enable_notify_after_pop_order_lock_release

    def _opened(self, queue: PopQueue) -> None:
        """Messages of an ordered queue are visible again."""
        end = self._store.max_offset(queue.topic, queue.queue_id)
        if end > self.shared.offsets.query(queue):
            self._holds.notify_group(queue)
            self._notices.notify_group(queue)

    def begin(self) -> None:
        """Start what a broker of any role does."""
        self.orders.begin()

    def begin_reviving(self) -> None:
        """Bring messages back, as a master does; also after `end_reviving` has ended."""
        self.reviving = True
        broker, shared = self._options.broker, self.shared
        shared.out.begin(shared.wall_clock_ms())
        self._queues = [
            ReviveQueue(
                shared,
                queue_id,
                self._clock,
                self._timer_behind,
                drop_after_last=broker.skip_when_ck_re_put_reach_max_times,
            )
            for queue_id in range(broker.revive_queue_num)
        ]
        self._rounds.begin()

    async def end_reviving(self) -> None:
        """Bring nothing back: the master does."""
        self.reviving = False
        for queue in self._queues:
            queue.stopped = True
        await self._rounds.stop()

    def release_all(self) -> None:
        """Answer everybody who waits."""
        self._holds.release_all()
        self._notices.release_all()

    async def revive_once(self) -> None:
        """One round over the revive topic."""
        if not self._settings.timer_enabled:
            return
        for queue in self._queues:
            try:
                await queue.round()
            except StoreError as cause:
                _log.error("messages cannot come back yet: {cause}", cause=cause)
            except Exception:  # noqa: BLE001  the other queues go on
                _log.failure("messages cannot come back")

    async def stop(self) -> None:
        """End a round that is under way. Called when no more requests come."""
        self.orders.stop()
        await self.end_reviving()
