"""Which replicas of a master count as in sync, and how far they all have the log.

The controller keeps the set, as it elects from it; the master wishes for changes. A member that is lost, or has been
behind for too long, should go; a slave that has all that was confirmed should come. Until the controller answered both
sets count: an answer may be lost, but the change made. And a slave that is about to come counts already, so that
nothing is confirmed in between that it has not.

What it must not do: take back what was confirmed. Source: `AutoSwitchHAService` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from twisted.logger import Logger

if TYPE_CHECKING:
    from .auto_switch_master import ReplicaLink, ReplicaService

_log = Logger()

SyncStateSetListener = Callable[[frozenset[int]], None]

NEAR_S = 1.0
"""A slave that had everything so long ago is waited for while it comes to the set."""
ANSWER_S = 3.0
"""A wish that was not granted may be followed by another one after so long."""
FORGET_S = 10.0
"""After so long a wish cannot be granted any more: the controller saying the old set again is the answer."""


class SyncReplicas:
    """The replicas in sync of one broker; of use while it is the master.

    Args:
        service: The slaves.

    Attributes:
        broker_id: This broker.
        members: The set as the controller has it.
        epoch: The version of it.
        slowest_s: `haMaxTimeSlaveNotCatchup`.
        on_wish: Called with a set that should be instead.
        on_reached: Called when more may be answered.
    """

    def __init__(self, service: ReplicaService) -> None:
        self.service = service
        self.broker_id = -1
        self.members: frozenset[int] = frozenset()
        self.epoch = 0
        self.slowest_s = 15.0
        self.on_wish: list[SyncStateSetListener] = []
        self.on_reached: Callable[[], None] = lambda: None
        self._wished: frozenset[int] | None = None
        self._wished_at = -inf
        self._wishes = 0  # that have no answer
        self._others: frozenset[int] = frozenset()
        self._confirmed = service.store.max_physical_offset
        service.on_replica = self._replica
        service.on_links_changed = self._links_changed
        service.confirm_offset = lambda: self.confirm_offset

    @property
    def count(self) -> int:
        """How many are in sync, this broker included."""
        return max(len(self.members), len(self._wished or ()))

    @property
    def confirm_offset(self) -> int:
        """Up to where all of them have the log."""
        return self._confirmed if self._leads_others else self.service.store.max_physical_offset

    @property
    def _leads_others(self) -> bool:
        return bool(self._others) or not self.service.serves

    @property
    def reached(self) -> int:
        """Up to where those that have to have it acknowledged the log; -1 when one of them is not connected."""
        if not self._others:
            return self.service.store.max_physical_offset
        acks = {link.broker_id: link.ack_offset for link in self.service.replicas()}
        return min(acks.get(other, -1) for other in self._others)

    # Roles

    def lead(self, broker_id: int, epoch: int, members: frozenset[int]) -> None:
        """Be the master: all of the log that is here is confirmed."""
        self.broker_id, self.epoch, self.members = broker_id, epoch, members
        self._settle()
        self._wished_at = -inf
        self._confirmed = self.service.store.max_physical_offset
        self._show_all()
        self._others = frozenset()
        self._recount()

    def follow(self) -> None:
        """Be a slave: what is confirmed the master says."""
        self._confirmed = self.confirm_offset
        self.service.store.hold_back()
        self.members, self._others = frozenset(), frozenset()
        self._settle()

    def master_says(self, offset: int) -> None:
        """The master has this confirmed, and the log goes so far."""
        if offset > self._confirmed:
            self._confirmed = offset
            self.service.store.confirm(offset)

    def cut(self, offset: int) -> None:
        """The log ends here now: what is left of a group that was cut may be confirmed already."""
        self._confirmed = min(self._confirmed, offset)
        self.service.store.confirm(self._confirmed)

    # The set

    def set_members(self, epoch: int, members: frozenset[int]) -> None:
        """Take what the controller says; an older version is ignored."""
        if epoch < self.epoch or not self.service.serves:
            return
        if epoch == self.epoch and self._wished is not None and self._now() - self._wished_at < FORGET_S:
            return
        if members != self.members:
            _log.info("in sync are {members} (version {epoch})", members=sorted(members), epoch=epoch)
        self.epoch, self.members = epoch, members
        self._settle()
        self._wished_at = -inf
        self._recount()
        self._welcome_all()

    def refused(self) -> None:
        """The controller did not take the last wish; it may have taken one before whose answer was lost."""
        if self._wishes == 1:
            self._settle()
            self._recount()

    def _settle(self) -> None:
        self._wished, self._wishes = None, 0

    def check(self) -> None:
        """Wish for a smaller set when a member is lost or slow."""
        if not self.service.serves:
            return
        now, links = self._now(), {link.broker_id: link for link in self.service.replicas()}
        gone = []
        for member in self.members - {self.broker_id}:
            link = links.get(member)
            if link is None:
                gone.append(f"{member} is not connected")
                continue
            if link.has_all:
                link.caught_up_at = now
            behind_s = now - max(link.caught_up_at, link.connected_at)
            if behind_s > self.slowest_s:
                gone.append(f"{member} has been behind for {behind_s:.0f} s")
                del links[member]
        if gone:
            self._wish(self.members & (links.keys() | {self.broker_id}), "; ".join(gone))

    def tick(self) -> None:
        """Wait no more for a slave that was about to come and does not; wish again for one that should."""
        if self.service.serves:
            self._recount()
            self._welcome_all()

    def _wish(self, members: frozenset[int], why: str) -> None:
        now = self._now()
        if now - self._wished_at < ANSWER_S:
            return
        self._wishes += 1
        self._wished = members | (self._wished or frozenset())
        self._wished_at = now
        _log.info("the replicas in sync should be {members}: {why}", members=sorted(members), why=why)
        self._recount()
        for told in self.on_wish:
            told(members)

    def _replica(self, link: ReplicaLink) -> None:
        self._recount()
        self._welcome(link)

    def _welcome_all(self) -> None:
        for link in self.service.replicas():
            self._welcome(link)

    def _welcome(self, link: ReplicaLink) -> None:
        """Wish for a slave that has all that is confirmed, and something of this master's epoch."""
        if link.broker_id in self.members or not self._may_come(link) or link.ack_offset < self.confirm_offset:
            return
        self._wish(self.members | {link.broker_id}, f"{link.broker_id} has caught up at {link.ack_offset}")

    def _may_come(self, link: ReplicaLink) -> bool:
        start = self.service.epochs.entries[-1].start
        return not link.learns and link.broker_id != self.broker_id and link.ack_offset >= start

    def _links_changed(self) -> None:
        if self.service.serves:
            self._recount()
            self.check()

    # How far they are

    def _recount(self) -> None:
        """See who has to have the log, and show what all of them have."""
        now, store = self._now(), self.service.store
        others = {
            link.broker_id
            for link in self.service.replicas()
            if self._may_come(link) and (link.has_all or now - link.caught_up_at < NEAR_S)
        }
        others |= self.members | (self._wished or frozenset())
        others.discard(self.broker_id)
        if others and not self._others:
            self._confirmed = store.max_physical_offset
            store.hold_back()
        elif self._others and not others:
            self._show_all()
        self._others = frozenset(others)
        if others:
            reached = min(self.reached, store.max_physical_offset)
            if reached > self._confirmed:
                self._confirmed = reached
                store.confirm(reached)
        self.on_reached()

    def _show_all(self) -> None:
        store = self.service.store
        store.confirm(store.max_physical_offset)
        store.held_back = None

    def _now(self) -> float:
        return self.service.clock.seconds()
