"""Replication whose direction a controller decides: this broker is a master or a slave, and may change while it runs.

What it is for: the one thing the link to the controller calls. It keeps the epoch file, sends the log to slaves or
takes it from the master in the official automatic-switch protocol, cuts what the master does not have, and knows how
far the log is confirmed by every replica in sync. What it must not do: speak to a controller or a name server, or
decide who the master is.

Crash guarantee: an epoch is in its file before a byte of it is acknowledged, and a cut is durable before a byte is
written behind it.

Source: `AutoSwitchHAService`, `AutoSwitchHAConnection`, `AutoSwitchHAClient` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from rmqd.store.errors import ReplicaRefused
from rmqwire.bodies import EpochEntry, HARuntimeInfo

from .auto_switch_acks import SwitchAcks
from .auto_switch_master import ReplicaService
from .auto_switch_slave import SwitchClient
from .auto_switch_sync import SyncReplicas, SyncStateSetListener
from .ha_master import TICK_S

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from rmqd.conf.keys.store import MessageStoreConfig
    from rmqd.protocol.client import EndpointFactory
    from rmqd.store.epochs import EpochFile
    from rmqd.store.messagestore import MessageStore

    from .ha_acks import AckRules
    from .ha_master import HaSettings

_log = Logger()


class AutoSwitch:
    """Master or slave, as it is told.

    Until `become_master` or `become_slave` is called the store takes no messages and no slave is served.

    Args:
        store: Sent to slaves, or taken from the master; open.
        epochs: `storePathEpochFile`; it is loaded here.
        settings: Options of both sides.
        rules: What sends wait for.
        clock: For pauses and signs of life.
        endpoint: Connects to the master.
        run_in_thread: For what waits for the disk.
        wall_clock_ms: For times that are shown.

    Attributes:
        epochs: Whose bytes the log has: each master's epoch and where it began.
        broker_id: The number the controller gave; None before the first role.
        is_master: What it is now; None before the first role.
        service: The slaves; makes their connections.
        acks: What sends wait for.
        on_sync_state_set: Called with a set that the controller should take instead (a slave caught up, or was lost).
            There is one wish at a time: no other follows before `set_sync_state_set`, or before some seconds passed.
        on_truncated: Called with the end of the log when the master's and this one are the same up to there, and what
            was behind has been cut: each time the master is connected, before anything of it is taken.

    Raises:
        StoreError: the epoch file cannot be used.
    """

    def __init__(
        self,
        store: MessageStore,
        epochs: EpochFile,
        settings: HaSettings,
        rules: AckRules,
        clock: IReactorTime,
        endpoint: EndpointFactory,
        run_in_thread: Callable[..., Deferred[Any]],
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self.epochs = epochs
        epochs.load(store.max_physical_offset)
        if not (store.report.previous_exit_ok or store.report.same_boot):
            epochs.note_loss()
        self.broker_id: int | None = None
        self.is_master: bool | None = None
        self.service = ReplicaService(store, settings, clock, run_in_thread, epochs)
        self._sync = SyncReplicas(self.service)
        self.acks = SwitchAcks(self._sync, clock, rules)
        self._sync.on_reached = self.acks.look
        self._client = SwitchClient(store, endpoint, settings, clock, wall_clock_ms, run_in_thread, epochs)
        self._client.on_confirmed = self._sync.master_says
        self._client.on_truncated.append(self._sync.cut)
        self.on_truncated = self._client.on_truncated
        self.on_sync_state_set: list[SyncStateSetListener] = self._sync.on_wish
        self._ticks = LoopingCall(self._sync.tick)
        self._ticks.clock = clock
        store.set_slave(True)

    @property
    def sync_state_set(self) -> frozenset[int]:
        """The broker ids the controller has as in sync, this one included; empty when this is no master."""
        return self._sync.members

    @property
    def sync_state_set_epoch(self) -> int:
        """The version of that set."""
        return self._sync.epoch

    @property
    def confirm_offset(self) -> int:
        """Up to where every replica in sync has the log; what is behind it no consumer sees."""
        return self._sync.confirm_offset

    @property
    def last_epoch(self) -> int:
        """The newest epoch of this log, which heartbeats and elections carry; -1 when it has none."""
        return self.epochs.last_epoch

    @property
    def log_end(self) -> int:
        """The end of the log."""
        return self._store.max_physical_offset

    @property
    def connected(self) -> bool:
        """Whether this is a slave whose master is connected and known to have this log."""
        return self._client.connected

    def follow(self, settings: HaSettings, rules: AckRules) -> None:
        """Take the options as they are now."""
        self.service.settings = self._client.settings = settings
        self.acks.rules = rules
        self.acks.look()

    def timed(self, options: MessageStoreConfig) -> AutoSwitch:
        """Take what else concerns only this kind of replication; gives itself."""
        self._sync.slowest_s = options.ha_max_time_slave_not_catchup / 1000
        self._client.learns, self._client.from_last_file = options.async_learner, options.sync_from_last_file
        return self

    def start(self) -> None:
        """Serve signs of life; roles may be taken from now on."""
        self.service.start()
        self.acks.start()
        self._ticks.start(TICK_S, now=False)

    async def stop(self) -> None:
        """Part with slaves or master; who still waits for replicas is answered."""
        self._client.part()
        if self._ticks.running:
            self._ticks.stop()
        await self.acks.drained()
        self.service.serves = False
        self.acks.stop()
        self.service.stop()

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
                a slave has parted with its master.
        """
        self._refuse_older(master_epoch)
        if self.is_master:
            if master_epoch > self.epochs.last_epoch:
                self.epochs.append(master_epoch, self._store.max_physical_offset)
            self.set_sync_state_set(sync_state_set_epoch, sync_state_set)
            return
        self._client.part()
        self._store.forget_incomplete()
        self._begin_epoch(master_epoch)
        self.broker_id, self.is_master, self.service.serves = broker_id, True, True
        self._sync.lead(broker_id, sync_state_set_epoch, sync_state_set)
        self._store.set_slave(False)
        _log.info(
            "broker {id} is the master of epoch {epoch}, which begins at {start}; in sync are {members}",
            id=broker_id,
            epoch=master_epoch,
            start=self.epochs.entries[-1].start,
            members=sorted(sync_state_set),
        )

    def _begin_epoch(self, epoch: int) -> None:
        """Have the epoch in the file.

        A master that comes back so quickly that nobody else was elected has its epoch already. If the machine went
        down, slaves may have bytes of it that are lost here: then the epoch begins elsewhere, and they cut theirs.
        After a crash of the process alone nothing is lost, and the slaves keep what they have.
        """
        epochs, end = self.epochs, self._store.max_physical_offset
        if not epochs.entries:  # what was written without a controller is of the first epoch
            end = self._store.min_physical_offset
        if epoch == epochs.last_epoch:
            if epochs.may_have_lost:
                epochs.begin_again(self._store.record_before(epochs.entries[-1].start), end)
        else:
            epochs.append(epoch, end)

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
        self._refuse_older(master_epoch)
        if self.is_master is not False:
            self._store.set_slave(True)
            self._store.commit()  # what was staged before has its answer waiting
            self._sync.follow()
            self.is_master = self.service.serves = False
            self.service.part()
            self.acks.give_up()
            _log.info("broker {id} is a slave from epoch {epoch} on", id=broker_id, epoch=master_epoch)
        self.broker_id = self._client.broker_id = broker_id
        self._client.follow(master_ha_address)

    def _refuse_older(self, epoch: int) -> None:
        if epoch < self.epochs.last_epoch:
            raise ReplicaRefused(f"epoch {epoch} is over: this log has epoch {self.epochs.last_epoch}")

    def set_sync_state_set(self, epoch: int, members: frozenset[int]) -> None:
        """Take what the controller says of the set, also when it says the same again; older versions are ignored."""
        self._sync.set_members(epoch, members)

    def sync_state_set_refused(self) -> None:
        """Take it that the controller answered the last wish, and did not grant it."""
        self._sync.refused()

    def check_sync_state_set(self) -> None:
        """Wish for a smaller set when a member is lost or has been behind for `haMaxTimeSlaveNotCatchup`.

        For a timer of `checkSyncStateSetPeriod`; harmless when this is no master.
        """
        self._sync.check()
        if self._store.log.starts:
            self.epochs.cut_prefix(self._store.min_physical_offset)

    # What is shown

    def epoch_entries(self) -> list[EpochEntry]:
        """Give the epochs as tools show them."""
        entries = self.epochs.entries
        shown = [EpochEntry(epoch=entry.epoch, start_offset=entry.start) for entry in entries]
        for entry, after in zip(shown, entries[1:], strict=False):
            entry.end_offset = after.start
        return shown

    def status(self) -> HARuntimeInfo:
        """Give the state as tools show it.

        Source: `AutoSwitchHAService.getRuntimeInfo`.
        """
        if not self.is_master:
            return self._client.status()
        end = self._store.max_physical_offset
        return HARuntimeInfo(
            master=True,
            master_commit_log_max_offset=end,
            in_sync_slave_nums=len(self._sync.members) - 1,
            ha_connection_info=[
                link.status(end, in_sync=link.broker_id in self._sync.members) for link in self.service.replicas()
            ],
        )
