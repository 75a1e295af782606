"""Ordered pops: what each took of its queue, so that the queue is closed until all of it is acknowledged or visible
again; and `config/consumerOrderInfo.json`.

`tick` writes what has changed every 10 s. What a crash loses opens a queue too early: its messages are taken once more.

Source: `ConsumerOrderInfoManager`, `QueueLevelConsumerManager`, `ConsumerOrderInfoLockManager` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rmqwire.bodies import PopOrder
from rmqwire.errors import MalformedBody

from .pop_offsets import PopQueue
from .state_text import document, load_state, table_of
from .state_writer import RunInThread, StateWriter

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from rmqd.store.statefile import StateFile

    from .groups import SubscriptionGroups
    from .topics import TopicTable

_TABLE = "table"
_FORGET_AFTER_MS = 24 * 3600 * 1000
NOT_FOUND, OTHER_POP = -1, -2
"""What `acknowledge` gives for a message that was not taken, and for one of another pop."""


class PopOrders:
    """What ordered pops have taken.

    Args:
        file: `config/consumerOrderInfo.json`.
        topics, groups: What does not exist any more is forgotten.
        clock: Wakes those who wait for a queue when it opens.
        wall_clock_ms: Unix milliseconds.
        run_in_thread: Runs blocking writes.
        opened: Called with a queue whose messages are visible again.

    Raises:
        StoreDamaged: Neither the file nor its backup can be read.
    """

    def __init__(
        self,
        file: StateFile,
        topics: TopicTable,
        groups: SubscriptionGroups,
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        run_in_thread: RunInThread,
        opened: Callable[[PopQueue], object],
    ) -> None:
        self._topics = topics
        self._groups = groups
        self._clock = clock
        self._wall_clock_ms = wall_clock_ms
        self._opened = opened
        self._table: dict[PopQueue, PopOrder] = {}
        self._timers: dict[PopQueue, IDelayedCall] = {}
        self._members: dict[str, Any] = {}
        self.notify_when_opened = True
        """`enableNotifyAfterPopOrderLockRelease`."""
        self._writer = StateWriter(file, self._encode, run_in_thread)
        load_state(file, self._load)

    def _load(self, tree: dict[str, Any]) -> None:
        table: dict[PopQueue, PopOrder] = {}
        for key, queues in table_of(tree, _TABLE).items():
            topic, at, group = key.partition("@")
            if not at or not isinstance(queues, dict):
                raise MalformedBody(f"{key} is no topic@group with queues")
            for queue_id, entry in queues.items():
                table[PopQueue(topic, group, int(queue_id))] = PopOrder.of_tree(entry)
        self._members = {name: value for name, value in tree.items() if name != _TABLE}
        self._table = table

    def begin(self) -> None:
        """Wait for the queues that were closed when the broker went down."""
        for queue, order in self._table.items():
            self._wait(queue, order)

    def stop(self) -> None:
        """Wait no longer."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def blocked(self, queue: PopQueue, attempt_id: str | None, invisible_time_ms: int) -> bool:
        """Whether messages of a queue are out, so that it gives no more.

        Args:
            queue: The queue.
            attempt_id: Names a pop that may be sent again; the one that took them gets them again.
            invisible_time_ms: Of the pop that asks, for entries that have none.
        """
        order = self._table.get(queue)
        if order is None or not order.offsets or (order.attempt_id is not None and order.attempt_id == attempt_id):
            return False
        if order.invisible_time is None or order.invisible_time <= 0:
            order.invisible_time = invisible_time_ms
        now_ms = self._wall_clock_ms()
        return any(now_ms < visible_at for visible_at in _visible_at(order))

    def took(
        self,
        queue: PopQueue,
        attempt_id: str | None,
        pop_time: int,
        invisible_time_ms: int,
        offsets: Sequence[int],
    ) -> dict[int, int]:
        """Close a queue for what was popped of it; give how often each message was taken before."""
        before = self._table.get(queue)
        counts: dict[int, int] = {}
        if before is not None:
            known = before.consumed_counts or {}
            if before.attempt_id is not None and before.attempt_id == attempt_id:
                counts = known
            else:
                taken = set(_offsets(before))
                counts = {offset: known.get(offset, 0) + 1 for offset in offsets if offset in taken}
        first = offsets[0]
        order = self._table[queue] = PopOrder(
            attempt_id=attempt_id,
            invisible_time=invisible_time_ms,
            last_consumed_at=self._wall_clock_ms(),
            offsets=[first, *(offset - first for offset in offsets[1:])],
            consumed_counts=None if before is None else counts,
            pop_time=pop_time,
        )
        self._changed(queue, order)
        return counts

    def acknowledge(self, queue: PopQueue, offset: int, pop_time: int) -> int:
        """Take an acknowledgement.

        Returns:
            The offset that the group goes on from; NOT_FOUND or OTHER_POP when there was nothing to acknowledge.
        """
        order = self._table.get(queue)
        if order is None:
            return offset + 1
        if not order.offsets:
            return NOT_FOUND
        if order.pop_time != pop_time:
            return OTHER_POP
        offsets = _offsets(order)
        if offset not in offsets:
            return NOT_FOUND
        order.acknowledged_bits |= 1 << offsets.index(offset)
        self._changed(queue, order)
        for index, each in enumerate(offsets):
            if not order.acknowledged_bits >> index & 1:
                return each
        return offsets[-1] + 1

    def show_at(self, queue: PopQueue, offset: int, pop_time: int, visible_at_ms: int) -> None:
        """Hide a message until another time; nothing when it is not of the pop that is out."""
        order = self._table.get(queue)
        if order is None or order.pop_time != pop_time:
            return
        order.visible_at = {**(order.visible_at or {}), offset: visible_at_ms}
        self._changed(queue, order)

    def open(self, queue: PopQueue) -> None:
        """Forget what is out."""
        if self._table.pop(queue, None) is not None:
            self._writer.mark()

    def tick(self) -> None:
        """Write what has changed. Call every 10 s."""
        oldest_ms = self._wall_clock_ms() - _FORGET_AFTER_MS
        for queue, order in list(self._table.items()):
            topic = self._topics.get(queue.topic)
            if (
                topic is None
                or not self._groups.contains(queue.group)
                or queue.queue_id >= topic.read_queue_nums
                or order.last_consumed_at < oldest_ms
            ):
                self.open(queue)
        self._writer.write()

    def saved(self) -> Deferred[None]:
        """Wait until everything so far is on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        return self._writer.saved()

    def _encode(self) -> bytes:
        table: dict[str, dict[int, PopOrder]] = {}
        for queue in sorted(self._table):
            table.setdefault(f"{queue.topic}@{queue.group}", {})[queue.queue_id] = self._table[queue]
        return document({}, {**self._members, _TABLE: table})

    def _changed(self, queue: PopQueue, order: PopOrder) -> None:
        self._writer.mark()
        self._wait(queue, order)

    def _wait(self, queue: PopQueue, order: PopOrder) -> None:
        """Have those who wait for the queue woken when its first message that is out becomes visible."""
        timer = self._timers.pop(queue, None)
        if timer is not None:
            timer.cancel()
        if not self.notify_when_opened or not order.offsets or not order.invisible_time:
            return
        now_ms = self._wall_clock_ms()
        opens_at_ms = next((each for each in _visible_at(order) if each > now_ms), now_ms)
        self._timers[queue] = self._clock.callLater((opens_at_ms - now_ms) / 1000, self._open_now, queue)

    def _open_now(self, queue: PopQueue) -> None:
        self._timers.pop(queue, None)
        self._opened(queue)


def _offsets(order: PopOrder) -> list[int]:
    offsets = order.offsets or []
    return offsets[:1] + [offsets[0] + difference for difference in offsets[1:]]


def _visible_at(order: PopOrder) -> list[int]:
    """When each message that is not acknowledged becomes visible."""
    default_ms = order.pop_time + (order.invisible_time or 0)
    changed = order.visible_at or {}
    return [
        changed.get(offset, default_ms)
        for index, offset in enumerate(_offsets(order))
        if not order.acknowledged_bits >> index & 1
    ]
