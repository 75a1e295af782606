"""Replication of one broker, put together: the port for slaves, acknowledgements, and a slave's link to its master.

Only construction, start and stop; a broker of any role listens for slaves, as the official one does.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from rmqd.conf import BrokerRole
from rmqd.protocol.client import tcp_endpoints
from rmqd.protocol.remoting import PeerError
from rmqd.protocol.transport import write_promptly
from rmqd.store.epochs import EpochFile
from rmqwire.bodies import HARuntimeInfo
from rmqwire.codes import ResponseCode
from rmqwire.errors import WireError
from rmqwire.requests.ha import ExchangeBrokerHaInfo, ExchangeBrokerHaInfoReply

from .auto_switch import AutoSwitch
from .ha_acks import RULING_KEYS, AckRules, ReplicaAcks, WhenSafe, when_both
from .ha_check import divergence
from .ha_master import HaService, HaSettings, SlaveLink
from .ha_slave import HaClient

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IListeningPort

    from rmqd.conf import BrokerOptions
    from rmqd.conf.keys.store import MessageStoreConfig
    from rmqd.protocol.client import RemotingClient
    from rmqd.store.messagestore import MessageStore

    from .registration import MasterAddresses
    from .slave_sync import SlaveSync

_log = Logger()

EPOCH_FILE = "epochFileCheckpoint"
_ASK_MS = 5000
_ADDRESS_LENGTH_MIN = 6
"""As Java: a shorter `haMasterAddress` counts as none."""


def ha_settings(options: BrokerOptions) -> HaSettings:
    """Take what both sides need from the configuration."""
    store = options.store
    return HaSettings(
        heartbeat_s=store.ha_send_heartbeat_interval / 1000,
        silence_s=store.ha_housekeeping_interval / 1000,
        batch_bytes=store.ha_transfer_batch_size,
        gap_bytes=store.ha_max_gap_not_in_sync,
        bytes_per_second=store.max_ha_transfer_byte_in_second if store.ha_flow_control_enable else 0,
    )


def ack_rules(options: BrokerOptions) -> AckRules:
    """Take what SYNC_MASTER waits for from the configuration."""
    store, controlled = options.store, options.broker.enable_controller_mode
    ruled = controlled or not RULING_KEYS.isdisjoint(options.source)
    return AckRules(
        timeout_ms=store.slave_timeout if ruled or "slaveTimeout" in options.source else store.sync_flush_timeout,
        ruled=ruled,
        in_sync_replicas=store.in_sync_replicas,
        min_in_sync_replicas=store.min_in_sync_replicas,
        auto=store.enable_auto_in_sync_replicas,
        all_in_sync=store.all_ack_in_sync_state_set,
        refuses=store.min_in_sync_replicas > 1 if controlled else ruled and options.broker.enable_slave_acting_master,
    )


class HaPort(ServerFactory):
    """The port for slaves; taken before the store is opened, so that a port in use is found first.

    Attributes:
        service: Whom connections are for; those that come before it is set are closed.
    """

    noisy = False

    def __init__(self) -> None:
        self.service: HaService | None = None
        self._listening: IListeningPort | None = None

    def buildProtocol(self, addr: IAddress | None) -> SlaveLink | None:
        """Make the connection of a slave."""
        return self.service.buildProtocol(addr) if self.service is not None else None

    def listen(self, reactor: Any, store: MessageStoreConfig, interface: str, main_port: int) -> None:
        """Take `haListenPort`, by default the main port + 1; where the main port was any, any if need be.

        Raises:
            CannotListenError: It is in use.
        """
        try:
            listening = reactor.listenTCP(store.ha_listen_port or main_port + 1, self, interface=interface)
        except CannotListenError as cause:
            if store.ha_listen_port:
                reason = getattr(cause.socketError, "strerror", None) or cause.socketError
                told = f"{reason} (the port for slaves, haListenPort)"
                again = CannotListenError(cause.interface, cause.port, OSError(0, told))  # type: ignore[no-untyped-call]
                raise again from cause
            listening = reactor.listenTCP(0, self, interface=interface)
        write_promptly(listening)
        self._listening = listening
        store.ha_listen_port = int(listening.getHost().port)

    async def stop(self) -> None:
        """Accept no more slaves."""
        listening, self._listening = self._listening, None
        if listening is not None:
            await maybeDeferred(listening.stopListening)


class Replication:
    """Replication of one broker.

    Args:
        options: The configuration.
        store: Sent to slaves; taken from the master.
        reactor: Clock, listener and connector.
        client: Asks the master.
        run_in_thread: For what waits for the disk.
        wall_clock_ms: For times that are shown.

    Attributes:
        service: The slaves of this broker.
        acks: What SYNC_MASTER waits for; None in other roles.
        client: The link to the master; None unless this is a slave.
        auto_switch: Replication in the direction that a controller decides; None unless `enableControllerMode`.
        master: `host:port` of the master's requests; None while it is not known.
        sync: What else is copied from the master; None unless this is a slave.
    """

    def __init__(
        self,
        options: BrokerOptions,
        store: MessageStore,
        reactor: Any,
        client: RemotingClient,
        run_in_thread: Callable[..., Deferred[Any]],
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self._options = options
        self._store = store
        self._reactor = reactor
        self._requests = client
        self._run_in_thread = run_in_thread
        settings = ha_settings(options)
        role = options.store.broker_role
        self.service: HaService
        self.acks: ReplicaAcks | None = None
        self.client: HaClient | None = None
        self.auto_switch: AutoSwitch | None = None
        if options.broker.enable_controller_mode:
            self.auto_switch = auto = self._switched(wall_clock_ms)
            self.service, self.acks = auto.service, auto.acks
        else:
            self.service = HaService(store, settings, reactor, run_in_thread)
            if role is BrokerRole.SYNC_MASTER:
                self.acks = ReplicaAcks(self.service, reactor, ack_rules(options))
            elif role is BrokerRole.SLAVE:
                endpoint = tcp_endpoints(reactor)
                self.client = HaClient(store, endpoint, settings, reactor, wall_clock_ms, self._check)
        self.master: str | None = None
        self.sync: SlaveSync | None = None
        self._port: HaPort | None = None
        self._unchecked = False
        given = options.store.ha_master_address or ""
        if self.client is not None and len(given) >= _ADDRESS_LENGTH_MIN:
            self.client.set_address(given)

    def _switched(self, wall_clock_ms: Callable[[], int]) -> AutoSwitch:
        options = self._options
        path = options.store.store_path_epoch_file or os.path.join(options.store.store_path_root_dir, EPOCH_FILE)
        made = AutoSwitch(
            self._store,
            EpochFile(path),
            ha_settings(options),
            ack_rules(options),
            self._reactor,
            tcp_endpoints(self._reactor),
            self._run_in_thread,
            wall_clock_ms,
        )
        return made.timed(options.store)

    def follow(self) -> None:
        """Take the options as they are now."""
        settings = ha_settings(self._options)
        if self.auto_switch is not None:
            self.auto_switch.timed(self._options.store).follow(settings, ack_rules(self._options))
            return
        self.service.settings = settings
        if self.client is not None:
            self.client.settings = settings
        if self.acks is not None:
            self.acks.rules = ack_rules(self._options)

    def when_safe(self, when_flushed: WhenSafe | None) -> WhenSafe | None:
        """Give what an acknowledged message has to wait for, the disk included; None for nothing."""
        if self.acks is None:
            return when_flushed
        return when_both(when_flushed, self.acks.when_replicated) if when_flushed else self.acks.when_replicated

    @property
    def too_few_replicas(self) -> Callable[[], bool] | None:
        """Tells whether a message must be refused for want of replicas; None where that is never so."""
        acks = self.acks
        return acks.too_few if acks is not None and acks.rules.refuses else None

    def serve(self, port: HaPort) -> None:
        """Serve the slaves that connect to a port."""
        self._port = port
        port.service = self.service

    def start(self) -> None:
        """Replicate."""
        if self.auto_switch is not None:
            self.auto_switch.start()
        else:
            self.service.start()
            if self.acks is not None:
                self.acks.start()
        if self.client is not None:
            self.client.start()
        if self.sync is not None:
            self.sync.start()

    async def stop(self) -> None:
        """Replicate no more."""
        port, self._port = self._port, None
        if port is not None:
            await port.stop()
        if self.client is not None:
            self.client.stop()
        if self.sync is not None:
            self.sync.stop()
        if self.auto_switch is not None:
            await self.auto_switch.stop()
            return
        if self.acks is not None:
            await self.acks.drained()
            self.acks.stop()
        self.service.stop()

    def master_changed(self, addresses: MasterAddresses | None) -> None:
        """Take what the name servers say of the master."""
        if self.client is None:
            return
        self.master = addresses.address if addresses is not None else None
        if addresses is not None and not self._is_given():
            self.client.set_address(addresses.ha_server_address or None)
        if self.sync is not None:
            self.sync.set_master(self.master)

    def master_left(self) -> None:
        """The master is gone: nothing is copied from it until it is there again."""
        self.master = None
        if self.sync is not None:
            self.sync.set_master(None)

    def master_came(self, address: str, ha_address: str | None) -> None:
        """The master is there again, where it says."""
        self.master_serves(address, ha_address)
        if self.sync is not None:
            self.sync.set_master(address)

    def master_serves(self, address: str | None, ha_address: str | None) -> None:
        """A master that is not registered yet takes slaves already."""
        if self.client is None:
            return
        self.master = address or self.master
        if not self._is_given():
            self.client.set_address(ha_address)

    def serves(self, host: str) -> bool:
        """Whether a slave on this host is connected and has said where its log ends."""
        return any(link.ack_offset >= 0 and link.peer.rpartition(":")[0] == host for link in self.service.links)

    @property
    def flushed_offset(self) -> int:
        """How far the log is on disk."""
        return self._store.flushed_offset

    @property
    def master_flushed_offset(self) -> int:
        """How far the master has flushed, as a slave was told; only kept and shown."""
        return self._store.master_flushed_offset

    @master_flushed_offset.setter
    def master_flushed_offset(self, offset: int) -> None:
        self._store.master_flushed_offset = offset

    def has_master(self) -> bool:
        """Whether this is a slave whose master is connected."""
        if self.auto_switch is not None:
            return self.auto_switch.connected
        return self.client is not None and self.client.connected

    def _is_given(self) -> bool:
        return len(self._options.store.ha_master_address or "") >= _ADDRESS_LENGTH_MIN

    async def _check(self) -> str | None:
        if self.master is not None:
            if self._options.store.sync_master_flush_offset_when_startup and not self.master_flushed_offset:
                await self._learn_flushed(self.master)
            return await divergence(self._store, self._requests, self.master, self._run_in_thread)
        if self._is_given() and not self._unchecked:
            self._unchecked = True
            _log.warn("no name server tells of the master: its log is not compared with this one")
        return None

    async def _learn_flushed(self, master: str) -> None:
        try:
            answer = await self._requests.call(master, ExchangeBrokerHaInfo(), timeout_ms=_ASK_MS)
            if answer.code == ResponseCode.SUCCESS:
                self.master_flushed_offset = answer.header(ExchangeBrokerHaInfoReply).master_flush_offset or 0
        except (PeerError, WireError) as cause:
            _log.info("the master {master} does not say how far it has flushed: {cause}", master=master, cause=cause)

    def status(self) -> HARuntimeInfo:
        """Give the state as tools show it.

        Source: `DefaultHAService.getRuntimeInfo`.
        """
        if self.auto_switch is not None:
            return self.auto_switch.status()
        if self.client is not None:
            return self.client.status()
        end, gap = self._store.max_physical_offset, self.service.settings.gap_bytes
        slaves = [link.status(end, in_sync=end - link.ack_offset < gap) for link in self.service.links]
        return HARuntimeInfo(
            master=True,
            master_commit_log_max_offset=end,
            in_sync_slave_nums=sum(slave.in_sync for slave in slaves),
            ha_connection_info=slaves,
        )
