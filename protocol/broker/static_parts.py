"""The parts that make up the static topics of a broker, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.clocks import wall_clock_ms

from .broker_peers import BrokerPeers
from .static_cleaning import StaticCleaning
from .static_front import StaticFront
from .static_offsets import StaticOffsets
from .static_pulls import StaticPulls
from .static_table import StaticTable

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Dispatcher
    from rmqd.store.statefile import StateFile

    from .parts import BrokerParts
    from .state_writer import RunInThread


class StaticTopics:
    """Everything about static topics.

    Args:
        parts: Of the broker; those that serve any topic are made.
        file: `config/topicQueueMapping.json`.
        run_in_thread: Runs blocking writes.

    Attributes:
        table: The mappings.
        cleaning: Drops what old stretches have left.

    Raises:
        StoreError: The file cannot be read.
    """

    def __init__(self, parts: BrokerParts, file: StateFile, run_in_thread: RunInThread) -> None:
        self._parts = parts
        broker = parts.options.broker
        self.table = StaticTable(file, broker.broker_name, wall_clock_ms, run_in_thread)
        self.table.on_changed = parts.holds.release
        parts.registration.tell_mappings(self.table)

        def name_servers() -> list[str]:
            return parts.registration.name_servers

        peers = BrokerPeers(parts.client, name_servers, parts.reactor, lambda: broker.forward_timeout)
        self._front = StaticFront(
            self.table,
            StaticPulls(self.table, parts.holds, parts.pull_settings, peers),
            StaticOffsets(parts.offsets, parts.store, peers),
        )
        self.cleaning = StaticCleaning(
            self.table,
            parts.store,
            peers,
            parts.client,
            name_servers,
            wall_clock_ms,
            hours=lambda: parts.options.store.delete_when,
            is_slave=lambda: parts.send_settings.is_slave,
        )

    def stand_before(self, *dispatchers: Dispatcher) -> None:
        """Serve requests about static topics that come to these dispatchers."""
        if self._parts.send_runs is not None:
            self._parts.send_runs.special = self.table.table
        self._front.stand_before(*dispatchers)
