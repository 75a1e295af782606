"""Pulls that wait for messages.

A held pull costs one small object and one entry in three tables; nothing walks all of them. Arrivals wake those whose
tags match or whose filter accepts one of them; once in `RECHECK_S` the queues that got something nobody matched are
looked at again, so that a consumer with a narrow filter moves on; a hold that reaches its deadline is run once more
without permission to wait.
Source: `PullRequestHoldService` (5.5.0).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.protocol.remoting import RemotingConnection
    from rmqd.store.acceptance import Accepts

RECHECK_S = 5
"""How often queues with unmatched arrivals are pulled again for those who wait there."""

QueueKey = tuple[str, int]
ReadProperties: TypeAlias = "Callable[[str, int, int, int], Sequence[Mapping[str, str]] | None]"


def _unread(topic: str, queue_id: int, offset: int, count: int) -> None:
    return None


class Hold:
    """One waiting pull.

    Attributes:
        offset: The queue offset it waits for.
        tags: Tag hashes that wake it, None for all.
        accepts: Asked about the properties of what arrives, in place of tags; None when tags decide.
        run: Executes the pull again and answers it.
    """

    __slots__ = ("accepts", "connection", "deadline_s", "key", "offset", "run", "tags")

    def __init__(
        self,
        key: QueueKey,
        connection: RemotingConnection,
        offset: int,
        tags: frozenset[int] | None,
        deadline_s: int,
        run: Callable[[], None],
        accepts: Accepts | None = None,
    ) -> None:
        self.accepts = accepts
        self.key = key
        self.connection = connection
        self.offset = offset
        self.tags = tags
        self.deadline_s = deadline_s
        self.run = run


class PullHolds:
    """The table of held pulls.

    Args:
        clock: Counts the deadlines, in whole seconds of its time.
        read_properties: Gives the properties of messages by topic, queue id, first offset and number, or None when
            that would take long: then those who filter by properties are woken by anything.
    """

    def __init__(self, clock: IReactorTime, read_properties: ReadProperties = _unread) -> None:
        self._clock = clock
        self._read_properties = read_properties
        self._by_queue: dict[QueueKey, list[Hold]] = {}
        self.topics: dict[str, int] = {}
        """Topics with held pulls, and at how many of their queues."""
        self._by_deadline: defaultdict[int, set[Hold]] = defaultdict(set)
        self._by_connection: dict[RemotingConnection, set[Hold]] = {}
        self._unmatched: set[QueueKey] = set()
        self._swept_s = int(clock.seconds())
        self._recheck_at_s = self._swept_s + RECHECK_S

    def __len__(self) -> int:
        return sum(map(len, self._by_connection.values()))

    def add(
        self,
        key: QueueKey,
        connection: RemotingConnection,
        offset: int,
        tags: frozenset[int] | None,
        timeout_ms: int,
        run: Callable[[], None],
        accepts: Accepts | None = None,
    ) -> None:
        """Hold a pull until something arrives for it or `timeout_ms` have passed."""
        deadline_s = max(ceil(self._clock.seconds() + timeout_ms / 1000), self._swept_s + 1)  # never early
        hold = Hold(key, connection, offset, tags, deadline_s, run, accepts)
        waiting = self._by_queue.get(key)
        if waiting is None:
            waiting = self._by_queue[key] = []
            self.topics[key[0]] = self.topics.get(key[0], 0) + 1
        waiting.append(hold)
        self._by_deadline[deadline_s].add(hold)
        mine = self._by_connection.get(connection)
        if mine is None:
            mine = self._by_connection[connection] = set()
            connection.on_lost.append(self._connection_lost)
        mine.add(hold)

    def arrived(self, topic: str, queue_id: int, next_offset: int, tags_codes: Sequence[int]) -> None:
        """Wake those that wait for `topic`/`queue_id` and whose tags match one of what arrived.

        Args:
            topic: The topic.
            queue_id: The queue.
            next_offset: The queue's maximum offset now.
            tags_codes: Tags code of each message that arrived.
        """
        key = (topic, queue_id)
        waiting = self._by_queue.get(key)
        if waiting is None:
            return
        woken, kept = [], []
        arrived: Sequence[Mapping[str, str]] | None = ()
        for hold in waiting:
            tags = hold.tags
            if next_offset <= hold.offset:
                wanted = False
            elif hold.accepts is not None:
                if arrived == ():
                    count = len(tags_codes)
                    arrived = self._read_properties(topic, queue_id, next_offset - count, count)
                wanted = arrived is None or any(map(hold.accepts, arrived))
            else:
                wanted = tags is None or any(_low32(code) in tags for code in tags_codes)
            if wanted:
                woken.append(hold)
            else:
                kept.append(hold)
        if kept:
            self._by_queue[key] = kept
            self._unmatched.add(key)
        else:
            self._nobody_at(key)
        self._run(woken)

    def sweep(self) -> None:
        """Run what is due, and every `RECHECK_S` what waits at queues that moved. Called each second."""
        now_s = int(self._clock.seconds())
        due: list[Hold] = []
        for second in range(self._swept_s + 1, now_s + 1):
            due.extend(self._by_deadline.pop(second, ()))
        self._swept_s = max(self._swept_s, now_s)
        if now_s >= self._recheck_at_s:
            self._recheck_at_s = now_s + RECHECK_S
            moved, self._unmatched = self._unmatched, set()
            for key in moved:
                due.extend(hold for hold in self._by_queue.get(key, ()) if hold not in due)
        for hold in due:
            self._leave_queue(hold)
        self._run(due)

    def release(self, topic: str) -> None:
        """Run every held pull of a topic, whose queues may have moved elsewhere."""
        if topic in self.topics:
            holds = [hold for key, waiting in self._by_queue.items() if key[0] == topic for hold in waiting]
            for hold in holds:
                self._leave_queue(hold)
            self._run(holds)

    def release_all(self) -> None:
        """Run every held pull, so that no client waits for a broker that goes down."""
        everyone = [hold for holds in self._by_connection.values() for hold in holds]
        self._by_queue.clear()
        self.topics.clear()
        self._run(everyone)

    def _run(self, holds: list[Hold]) -> None:
        for hold in holds:
            self._forget(hold)
        for hold in holds:
            hold.run()

    def _forget(self, hold: Hold) -> None:
        same_second = self._by_deadline.get(hold.deadline_s)
        if same_second is not None:
            same_second.discard(hold)
            if not same_second:
                del self._by_deadline[hold.deadline_s]
        mine = self._by_connection.get(hold.connection)
        if mine is not None:
            mine.discard(hold)  # the empty set stays: the connection most likely pulls again at once

    def _leave_queue(self, hold: Hold) -> None:
        waiting = self._by_queue.get(hold.key)
        if waiting is not None:
            waiting.remove(hold)
            if not waiting:
                self._nobody_at(hold.key)

    def _nobody_at(self, key: QueueKey) -> None:
        del self._by_queue[key]
        left = self.topics[key[0]] - 1
        if left:
            self.topics[key[0]] = left
        else:
            del self.topics[key[0]]

    def _connection_lost(self, connection: RemotingConnection) -> None:
        for hold in self._by_connection.pop(connection, ()):
            self._forget(hold)
            self._leave_queue(hold)


def _low32(tags_code: int) -> int:
    """The tag hash as consumers send it: the low 32 bits, signed."""
    return (tags_code & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
