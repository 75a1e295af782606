"""Locks of queues for orderly consumers: one client of a group per queue, for 60 s after its last request.

Kept in memory only, as in the official broker: after a restart clients lock anew.
Source: `RebalanceLockManager` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqwire.bodies import MessageQueue

LOCK_LIFE_S = 60.0
"""How long a lock stands without being renewed."""

_Key = tuple["str | None", "str | None", int]
Q = TypeVar("Q", bound="MessageQueue")


class _Lock:
    __slots__ = ("client_id", "renewed_at")

    def __init__(self, client_id: str, renewed_at: float) -> None:
        self.client_id = client_id
        self.renewed_at = renewed_at


class QueueLocks:
    """The locks of all groups.

    Args:
        clock: Tells when locks expire.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._groups: dict[str, dict[_Key, _Lock]] = {}

    def lock(self, group: str, queues: Iterable[Q], client_id: str) -> list[Q]:
        """Lock, or keep locked, each queue that no other client holds; give those that are the client's now."""
        now = self._clock.seconds()
        locks = self._groups.setdefault(group, {})
        granted: list[Q] = []
        for queue in queues:
            key = _key(queue)
            held = locks.get(key)
            if held is None:
                locks[key] = _Lock(client_id, now)
            elif held.client_id == client_id or now - held.renewed_at > LOCK_LIFE_S:
                held.client_id = client_id
                held.renewed_at = now
            else:
                continue
            granted.append(queue)
        return granted

    def unlock(self, group: str, queues: Iterable[MessageQueue], client_id: str) -> None:
        """Give back the queues that the client holds; others' locks stay."""
        locks = self._groups.get(group)
        if locks is None:
            return
        for queue in queues:
            held = locks.get(_key(queue))
            if held is not None and held.client_id == client_id:
                del locks[_key(queue)]
        if not locks:
            del self._groups[group]

    def holder(self, group: str, queue: MessageQueue) -> str | None:
        """Say who holds a queue, None when nobody does any longer."""
        held = self._groups.get(group, {}).get(_key(queue))
        if held is None or self._clock.seconds() - held.renewed_at > LOCK_LIFE_S:
            return None
        return held.client_id

    def any_held(self, group: str) -> bool:
        """Say whether a member of the group holds a lock: then the group consumes in order."""
        oldest = self._clock.seconds() - LOCK_LIFE_S
        return any(lock.renewed_at >= oldest for lock in self._groups.get(group, {}).values())

    def scan(self) -> None:
        """Drop locks that ran out long ago, of groups that are gone. Call every minute or so."""
        oldest = self._clock.seconds() - 2 * LOCK_LIFE_S
        for group, locks in list(self._groups.items()):
            for key in [key for key, lock in locks.items() if lock.renewed_at < oldest]:
                del locks[key]
            if not locks:
                del self._groups[group]


def _key(queue: MessageQueue) -> _Key:
    return queue.topic, queue.broker_name, queue.queue_id
