"""Answers of sends that wait for replicas, in controller mode.

As 5.x: with `allAckInSyncStateSet` every replica in sync must have a message, else `inSyncReplicas` of them, this
broker being one; fewer than `minInSyncReplicas` in sync, and it is not stored. The rules of 4.x have no place here:
who is in sync the controller says.

Source: `CommitLog.asyncPutMessage`, `GroupTransferService` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from rmqwire.codes import ResponseCode

from .ha_acks import AckRules, ReplicaAcks

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from .auto_switch_sync import SyncReplicas


class SwitchAcks(ReplicaAcks):
    """Tells when replicas have the log up to a position.

    Args:
        sync: The replicas.
        clock: For the timeout.
        rules: What has to be waited for; may be replaced.
    """

    def __init__(self, sync: SyncReplicas, clock: IReactorTime, rules: AckRules) -> None:
        super().__init__(sync.service, clock, rules)
        self._sync = sync

    def when_replicated(self, position: int) -> Deferred[int] | None:
        """Wait until every replica that has to have it has every byte before `position`; None when that is so."""
        if self._acked(0) >= position:
            return None
        answer: Deferred[int] = Deferred()
        self._waiting.append((position, 0, self._clock.seconds() + self.rules.timeout_ms / 1000, answer))
        return answer

    def too_few(self) -> bool:
        """Whether fewer replicas are in sync than a message needs: it is refused before it is stored."""
        return self._sync.count < self.rules.min_in_sync_replicas

    def look(self) -> None:
        """Answer those for whom there is nothing to wait any more."""
        waiting, reached = self._waiting, self._acked(0)
        while waiting and reached >= waiting[0][0]:
            waiting.popleft()[3].callback(ResponseCode.SUCCESS)

    def _acked(self, needed: int) -> int:
        if self.rules.all_in_sync:
            return self._sync.reached
        others = self.rules.in_sync_replicas - 1
        if others <= 0:
            return self._sync.service.store.max_physical_offset
        reached = sorted((link.ack_offset for link in self._service.links), reverse=True)
        return reached[others - 1] if len(reached) >= others else -1
