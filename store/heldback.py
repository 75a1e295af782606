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
ENTRIES_MAX = 1 << 18
"""Of queues in groups: groups that are merged may come to hold every queue, which are many."""


class HeldBack:
    """Groups of messages in the order of the log."""

    def __init__(self) -> None:
        self._groups: deque[Group] = deque()
        self._begin = 0  # where the first of them begins, or later
        self._entries = 0
        self._entries_max = ENTRIES_MAX

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
            if not tail:
                dirty[queue] = None
            tail += units
            group.append((queue, queue.staged_next, bytes(units)))
            units.clear()
            if len(tail) >= long_bytes:
                long.append(queue)
        if not self._groups:
            self._begin = end
        self._groups.append((end, group))
        self._entries += len(group)
        if len(self._groups) > GROUPS_MAX or self._entries > self._entries_max:
            self._merge()
        return [], long

    def _merge(self) -> None:
        """Make about half as many groups: nobody may confirm anything for long, and memory must not fill up.

        What arrived in them is not told by tags then: whoever waits has to look, whatever it waits for. All of them
        become about as long in the log. Did old ones grow by every merging, their end would move on faster than what
        is confirmed while a slave stays behind, and nothing would be seen.
        """
        length = (self._groups[-1][0] - self._begin) * 4 // len(self._groups)
        merged = deque[Group]()
        begin = before = self._begin
        ends: dict[ConsumeQueue, int] = {}
        for end, group in self._groups:
            if merged and end - begin <= length:
                ends.update((queue, queue_end) for queue, queue_end, _ in group)
                merged[-1] = end, []
            else:
                self._close(merged, ends)
                begin, ends = before, {queue: queue_end for queue, queue_end, _ in group}
                merged.append((end, group))
            before = end
        self._close(merged, ends)
        self._groups = merged
        self._entries = sum(len(group) for _, group in merged)
        self._entries_max = max(ENTRIES_MAX, self._entries * 3 // 2)  # of different queues no merging makes fewer

    @staticmethod
    def _close(merged: deque[Group], ends: dict[ConsumeQueue, int]) -> None:
        if merged and not merged[-1][1]:
            merged[-1] = merged[-1][0], [(queue, queue_end, b"") for queue, queue_end in ends.items()]

    def shown(self, offset: int) -> Iterator[Arrived]:
        """Show the groups that end at or before an offset of the log; gives what arrives by that."""
        groups = self._groups
        while groups and groups[0][0] <= offset:
            self._begin, group = groups.popleft()
            self._entries -= len(group)
            for queue, end, units in group:
                # The queue may have been cut or deleted since.
                if queue.max_offset < end <= queue.end_offset:
                    queue.max_offset = end
                    yield queue, units

    def forget_behind(self, offset: int) -> None:
        """The log and its queues were cut: of the groups that ended behind an offset what is left waits for it."""
        left: dict[ConsumeQueue, None] = {}
        while self._groups and self._groups[-1][0] > offset:
            group = self._groups.pop()[1]
            self._entries -= len(group)
            left.update((queue, None) for queue, _, _ in group)
        self._begin = min(self._begin, offset)
        if left:
            self._groups.append((offset, [(queue, queue.end_offset, b"") for queue in left]))
            self._entries += len(left)

    def __len__(self) -> int:
        return len(self._groups)
