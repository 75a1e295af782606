"""The handlers that serve the broker's state, made once of its parts: clients, offsets, lookups, administration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.clocks import wall_clock_ms

from .consumer_offsets import ConsumerOffsetHandlers
from .group_admin import GroupAdminHandlers, GroupAdminSettings
from .heartbeat import HeartbeatHandlers
from .lookup import LookupHandlers
from .queue_locks import QueueLockHandlers
from .reading import ColdReads
from .topic_admin import TopicAdminHandlers, TopicAdminSettings

if TYPE_CHECKING:
    from .parts import BrokerParts
    from .state_writer import RunInThread


def state_handlers(parts: BrokerParts, run_in_thread: RunInThread) -> list[object]:
    """Make the handlers.

    Args:
        parts: What they serve.
        run_in_thread: For reads that wait for the disk.
    """
    broker = parts.options.broker
    reads = ColdReads(run_in_thread)
    return [
        HeartbeatHandlers(
            parts.consumers,
            parts.producers,
            parts.groups,
            parts.topics,
            wall_clock_ms,
            reject_pull_consumers=broker.reject_pull_consumer_enable,
        ),
        ConsumerOffsetHandlers(parts.offsets, parts.groups, parts.topics, parts.consumers, parts.store),
        QueueLockHandlers(parts.locks),
        LookupHandlers(parts.store, reads),
        TopicAdminHandlers(
            parts.topics,
            parts.offsets,
            parts.store,
            parts.stats,
            TopicAdminSettings(
                validate_system_topic_when_update_topic=broker.validate_system_topic_when_update_topic,
                enable_mixed_message_type=broker.enable_mixed_message_type,
                clear_retry_topic_when_delete_topic=broker.clear_retry_topic_when_delete_topic,
                enable_split_metadata=broker.enable_split_metadata,
                split_metadata_size=broker.split_metadata_size,
            ),
        ),
        GroupAdminHandlers(
            parts.groups,
            parts.offsets,
            GroupAdminSettings(
                enable_split_metadata=broker.enable_split_metadata,
                split_metadata_size=broker.split_metadata_size,
            ),
        ),
    ]
