"""The handlers that serve the broker's state, made once of its parts: clients, offsets, lookups, administration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.clocks import wall_clock_ms

from .assignment import AssignmentHandlers
from .clients_admin import ClientsAdminHandlers
from .config_admin import ConfigAdminHandlers
from .consume_stats import ConsumeStatsHandlers
from .consumer_offsets import ConsumerOffsetHandlers, DelayOffsetHandlers
from .group_admin import GroupAdminHandlers, GroupAdminSettings
from .heartbeat import HeartbeatHandlers
from .live_settings import LiveSettings
from .lookup import LookupHandlers
from .maintenance import MaintenanceHandlers
from .queue_locks import QueueLockHandlers
from .reading import ColdReads
from .relay import RelayHandlers
from .reset_offset import ResetOffsetHandlers
from .runtime_info import RuntimeInfoHandlers
from .topic_admin import TopicAdminHandlers, TopicAdminSettings
from .topic_queues import TopicQueues

if TYPE_CHECKING:
    from .parts import BrokerParts
    from .state_writer import RunInThread


def state_handlers(parts: BrokerParts, run_in_thread: RunInThread, address: str) -> list[object]:
    """Make the handlers.

    Args:
        parts: What they serve.
        run_in_thread: For reads that wait for the disk.
        address: `brokerIP1:listenPort`.
    """
    broker = parts.options.broker
    reads = ColdReads(run_in_thread)
    heartbeat = HeartbeatHandlers(
        parts.consumers, parts.producers, parts.groups, parts.topics, parts.filters, wall_clock_ms
    )
    lookup = LookupHandlers(parts.store, parts.consumers, parts.filters, reads)
    topic_admin, group_admin = TopicAdminSettings(), GroupAdminSettings()
    live = LiveSettings(parts, heartbeat, lookup, topic_admin, group_admin)
    live.refresh()
    return [
        heartbeat,
        lookup,
        ConsumerOffsetHandlers(parts.offsets, parts.groups, parts.topics, parts.consumers, parts.store),
        QueueLockHandlers(parts.locks),
        TopicAdminHandlers(
            parts.topics, parts.offsets, parts.store, parts.stats, topic_admin, parts.static_topics.table
        ),
        GroupAdminHandlers(parts.groups, parts.offsets, group_admin),
        DelayOffsetHandlers(parts.delay_offsets.tree),
        ClientsAdminHandlers(parts.consumers, parts.producers, parts.offsets, address),
        ConsumeStatsHandlers(
            parts.topics,
            parts.groups,
            parts.consumers,
            parts.offsets,
            parts.store,
            parts.stats,
            reads,
            wall_clock_ms,
            broker_name=broker.broker_name,
            address=address,
            static_topics=parts.static_topics.table.table,
        ),
        ResetOffsetHandlers(
            parts.topics,
            parts.groups,
            parts.consumers,
            parts.offsets,
            parts.store,
            reads,
            broker_name=broker.broker_name,
            is_slave=lambda: parts.send_settings.is_slave,
        ),
        RelayHandlers(parts.consumers, parts.topics, parts.groups, parts.store, reads, broker_name=broker.broker_name),
        RuntimeInfoHandlers(
            parts.options,
            parts.store,
            parts.stats,
            reads,
            lambda: parts.delay_offsets.tree()["offsetTable"],
            parts.timers.runtime_info if parts.timers is not None else dict,
            parts.flow.runtime_info,
            wall_clock_ms,
        ),
        ConfigAdminHandlers(parts.options, wall_clock_ms, run_in_thread, live.changed),
        MaintenanceHandlers(parts.store, parts.topics),
        AssignmentHandlers(
            parts.topics,
            parts.groups,
            parts.consumers,
            parts.modes,
            TopicQueues(
                parts.client,
                lambda: parts.registration.name_servers,
                parts.reactor,
                broker.load_balance_poll_name_server_interval,
            ),
            lambda: broker.server_load_balancer_enable,
        ),
    ]
