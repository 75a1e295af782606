"""The transactions of a broker: handlers, notes, counts, and the rounds of check-back by the clock.

Source: `TransactionalMessageCheckService`, `AbstractTransactionalMessageCheckListener`,
`DefaultTransactionalMessageCheckListener` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqd.store.errors import StoreError

from .names import TRANS_HALF_TOPIC
from .rounds import Rounds
from .transaction_check import TransactionCheck
from .transaction_end import TransactionHandlers
from .transaction_ends import EndNotes
from .transaction_producers import Address, ProducerChecks

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.store.messagestore import MessageStore

    from .clients import ProducerRegistry
    from .delay import DelayLevels
    from .ha_acks import WhenSafe
    from .offsets import ConsumerOffsets
    from .send import SendSettings
    from .stats import BrokerStats
    from .topic_counts import TopicCounts
    from .topics import TopicTable
    from .transaction_settings import TransactionSettings

_log = Logger()


class Transactions:
    """Everything about transactions.

    Args:
        store: Half, op and committed messages.
        topics: How many half queues there are.
        offsets: Progress of checks.
        producers: Who can be asked.
        levels: Delay levels of committed messages.
        counts: Of open transactions.
        settings: Times and limits.
        send_settings: Of the broker.
        stats: Counts of puts.
        address: The broker's.
        clock: For intervals.
        wall_clock_ms: For ages.
        run_in_thread: Reads what is not in memory.
        when_safe: As for sends.

    Attributes:
        handlers: For the dispatcher.
    """

    def __init__(
        self,
        store: MessageStore,
        topics: TopicTable,
        offsets: ConsumerOffsets,
        producers: ProducerRegistry,
        levels: DelayLevels,
        counts: TopicCounts,
        settings: TransactionSettings,
        send_settings: SendSettings,
        stats: BrokerStats,
        address: Address,
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        run_in_thread: Callable[..., Deferred[Any]],
        when_safe: WhenSafe | None = None,
    ) -> None:
        self._topics = topics
        self._settings = settings
        self._ends = EndNotes(store, settings, clock, wall_clock_ms, address.store_host, stats)
        self._listener = ProducerChecks(producers, topics, counts, address)
        self._check = TransactionCheck(
            store, offsets, self._ends, settings, self._listener, stats, clock, wall_clock_ms, run_in_thread
        )
        self._rounds = Rounds(clock, lambda: settings.check_interval_ms, self.check_once, "transaction checks")
        self.counts = counts
        self.handlers: list[object] = [
            TransactionHandlers(
                store,
                self._ends,
                counts,
                levels,
                settings,
                send_settings,
                stats,
                wall_clock_ms,
                run_in_thread,
                when_safe,
            )
        ]

    def opened(self, topic: str, count: int = 1) -> None:
        """Half messages of a topic have been stored."""
        self.counts.add(topic, count)

    def ended(self, topic: str, half_offsets: Iterable[int]) -> None:
        """Transactions of a topic have ended, whose half messages are at these offsets of half queue 0."""
        count = 0
        for offset in half_offsets:
            self._ends.add(0, offset)
            count += 1
        self.counts.add(topic, -count)

    def begin(self) -> None:
        """Check in rounds from now on, as a master does; also after `end`."""
        self._check.begin()
        self._rounds.begin()

    async def end(self) -> None:
        """Check no more, and forget ends that are not written: whoever is master asks for them again."""
        self._check.stopped = True
        await self._rounds.stop()
        self._ends.forget()

    async def check_once(self) -> None:
        """One round of every half queue."""
        config = self._topics.get(TRANS_HALF_TOPIC)
        for queue_id in range(config.read_queue_nums if config is not None else 0):
            try:
                await self._check.check(queue_id)
            except StoreError as cause:
                _log.error("half queue {queue} cannot be checked: {cause}", queue=queue_id, cause=cause)
        self._listener.log_round()

    async def stop(self) -> None:
        """End a round that is under way, and write all notes. Called when no more requests come."""
        self._check.stopped = True
        await self._rounds.stop()
        self._ends.stop()
