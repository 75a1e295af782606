"""Replication whose direction a controller decides: this broker is a master or a slave, and may change while it runs.

What it is for: the one thing the link to the controller calls. It keeps the epoch file, sends the log to slaves or takes
it from the master in the official automatic-switch protocol, cuts what the master does not have, and knows how far the
log is confirmed by every replica in sync. What it must not do: speak to a controller or a name server, or decide who
the master is.

Crash guarantee: an epoch is in its file before a byte of it is acknowledged, and a cut is durable before a byte is
written behind it.

Source: `AutoSwitchHAService`, `AutoSwitchHAConnection`, `AutoSwitchHAClient` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmqd.store.epochs import EpochFile

SyncStateSetListener = Callable[[frozenset[int]], None]


class AutoSwitch:
    """Master or slave, as it is told.

    Until `become_master` or `become_slave` is called the store takes no messages and no slave is served.

    Attributes:
        epochs: Whose bytes the log has: each master's epoch and where it began.
        broker_id: The number the controller gave; None before the first role.
        is_master: What it is now; None before the first role.
        sync_state_set: The broker ids the controller has as in sync, this one included; of a master.
        sync_state_set_epoch: The version of that set.
        on_sync_state_set: Called with a set that the controller should take instead (a slave caught up, or was lost).
            There is one wish at a time: no other follows before `set_sync_state_set`, or before some seconds passed.
    """

    epochs: EpochFile
    broker_id: int | None
    is_master: bool | None
    sync_state_set: frozenset[int]
    sync_state_set_epoch: int
    on_sync_state_set: list[SyncStateSetListener]

    @property
    def confirm_offset(self) -> int:
        """Up to where every replica in sync has the log; what is behind it no consumer sees."""
        raise NotImplementedError

    @property
    def last_epoch(self) -> int:
        """The newest epoch of this log, which heartbeats and elections carry; -1 when it has none."""
        raise NotImplementedError

    def start(self) -> None:
        """Serve signs of life; roles may be taken from now on."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Part with slaves or master; who still waits for replicas is answered."""
        raise NotImplementedError

    async def become_master(
        self, broker_id: int, master_epoch: int, sync_state_set_epoch: int, sync_state_set: frozenset[int]
    ) -> None:
        """Take messages and send the log to slaves. When it returns the epoch is on disk and the store takes messages.

        Called again, with a newer epoch while it is the master, connections stay.

        Args:
            broker_id: The number the controller knows this broker by.
            master_epoch: The term this broker was elected for.
            sync_state_set_epoch: The version of the set.
            sync_state_set: Broker ids in sync.

        Raises:
            StoreError: the epoch is older than the newest of this log, or cannot be written. Nothing changed, but that
                a store that took messages takes none any more.
        """
        raise NotImplementedError

    async def become_slave(self, broker_id: int, master_ha_address: str | None, master_epoch: int) -> None:
        """Take the log from a master. When it returns the store takes no messages of clients any more.

        What the master does not have is cut when it is connected. Called again with the same or another address (the
        master moved, or its address became known), a connection to the same address stays.

        Args:
            broker_id: The number the controller knows this broker by.
            master_ha_address: `host:port` where the master replicates; None while it is not known.
            master_epoch: The master's term.

        Raises:
            StoreError: the epoch is older than the newest of this log. Nothing changed.
        """
        raise NotImplementedError

    def set_sync_state_set(self, epoch: int, members: frozenset[int]) -> None:
        """Take what the controller says of the set, also when it says the same again; older versions are ignored."""
        raise NotImplementedError

    def check_sync_state_set(self) -> None:
        """Wish for a smaller set when a member is lost or has been behind for `haMaxTimeSlaveNotCatchup`.

        For a timer of `checkSyncStateSetPeriod`; harmless when this is no master.
        """
        raise NotImplementedError
