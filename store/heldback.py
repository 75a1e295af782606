"""Messages that are in the log but not yet shown, as not every replica in sync has them.

What it is for: in controller mode a consumer must not see what the next master might not have. Queues grow as ever, but
what is read of them ends where it is confirmed. What it must not do: decide what is confirmed, or keep anything over a
restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from .consumequeue import ConsumeQueue

Arrived = tuple[ConsumeQueue, bytes]
"""(queue, its new units)"""
Group = tuple[int, list[tuple[ConsumeQueue, int, bytes]]]
"""(its end in the log, queues with their ends and new units)"""

GROUPS_MAX = 8192


class HeldBack:
    """Groups of messages in the order of the log."""

    def __init__(self) -> None:
        self._groups: deque[Group] = deque()

    def append_units(
        self, touched: list[ConsumeQueue], dirty: dict[ConsumeQueue, None], long_bytes: int, end: int
    ) -> tuple[list[Arrived], list[ConsumeQueue]]:
        """Add the units that are staged in queues to what they have in memory; they are not visible yet.

        Args:
            end: where the group ends in the log.

        Returns:
            Nothing that arrived, and the queues whose units should be written.
        """
        group, long = [], []
        for queue in touched:
            units, tail = queue.staged, queue.memory[1]
            tail += units
            if queue not in dirty:
                dirty[queue] = None
            group.append((queue, queue.staged_next, bytes(units)))
            units.clear()
            if len(tail) >= long_bytes:
                long.append(queue)
        self._groups.append((end, group))
        if len(self._groups) > GROUPS_MAX:
            self._merge()
        return [], long

    def _merge(self) -> None:
        """Make one group of each two: nobody may confirm anything for long, and memory must not fill up.

        What arrived in them is not told by tags then: whoever waits has to look, whatever it waits for.
        """
        groups, merged = self._groups, deque[Group]()
        while len(groups) > 1:
            _, first = groups.popleft()
            end, second = groups.popleft()
            ends = {queue: queue_end for queue, queue_end, _ in (*first, *second)}
            merged.append((end, [(queue, queue_end, b"") for queue, queue_end in ends.items()]))
        merged.extend(groups)
        self._groups = merged

    def shown(self, offset: int) -> Iterator[Arrived]:
        """Show the groups that end at or before an offset of the log; gives what arrives by that."""
        groups = self._groups
        while groups and groups[0][0] <= offset:
            for queue, end, units in groups.popleft()[1]:
                # The queue may have been cut or deleted since.
                if queue.max_offset < end <= queue.end_offset:
                    queue.max_offset = end
                    yield queue, units

    def forget_behind(self, offset: int) -> None:
        """The log and its queues were cut: of the groups that ended behind an offset what is left waits for it."""
        left: dict[ConsumeQueue, None] = {}
        while self._groups and self._groups[-1][0] > offset:
            left.update((queue, None) for queue, _, _ in self._groups.pop()[1])
        if left:
            self._groups.append((offset, [(queue, queue.end_offset, b"") for queue in left]))

    def __len__(self) -> int:
        return len(self._groups)
