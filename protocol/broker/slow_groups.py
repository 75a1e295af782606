"""Stops groups that have fallen too far behind: `disableConsumeIfConsumerReadSlowly`.

Each read notes how many bytes of the log lie between the last message it looked at and the log's end; every
`CHECK_INTERVAL_S` a group that was over `consumerFallbehindThreshold` in one of its queues loses its permission to
consume, until an administrator gives it back (updateSubGroup).

Source: `BrokerController.protectBroker`, `BrokerStatsManager.recordDiskFallBehindSize` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from .groups import SubscriptionGroups

_log = Logger()

CHECK_INTERVAL_S = 180.0


class SlowGroups:
    """Notes how far behind groups read.

    Args:
        groups: Loses permissions.

    Attributes:
        enabled: `disableConsumeIfConsumerReadSlowly`; nothing is noted without it.
        threshold_bytes: `consumerFallbehindThreshold`.
    """

    def __init__(self, groups: SubscriptionGroups) -> None:
        self._groups = groups
        self.enabled = False
        self.threshold_bytes = 0
        self._behind: dict[tuple[str, str, int], int] = {}

    def note(self, group: str, topic: str, queue_id: int, behind_bytes: int) -> None:
        """Note where a read of a queue ended."""
        if self.enabled:
            self._behind[group, topic, queue_id] = behind_bytes

    def check(self) -> None:
        """Stop those that are too far behind, and begin to note anew. Call every `CHECK_INTERVAL_S`."""
        behind, self._behind = self._behind, {}
        if not self.enabled:
            return
        for (group, topic, queue_id), size_bytes in behind.items():
            if size_bytes > self.threshold_bytes and self._groups.disable_consume(group):
                _log.warn(
                    "group {group} is {size} bytes behind in {topic}-{queue} and may no longer consume",
                    group=group,
                    size=size_bytes,
                    topic=topic,
                    queue=queue_id,
                )
