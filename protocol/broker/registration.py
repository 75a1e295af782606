"""Keep a broker known to its name servers: at start, every period, when topics change, and until it leaves.

Each name server has a `NameServerLink` of its own, so that a dead one delays no other and not the broker's start.
Source: `BrokerController.registerBrokerAll`, `BrokerOuterAPI` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from rmqwire.bodies import KvTable
from rmqwire.errors import MalformedBody
from rmqwire.requests.register import BrokerHeartbeat, RegisterBrokerReply, UnregisterBroker

from .name_server_link import NameServerLink
from .register_body import RegistrationBodies

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.conf import BrokerOptions
    from rmqd.protocol.client import RemotingClient
    from rmqwire.bodies import TopicConfig
    from rmqwire.command import RemotingCommand

    from .register_body import MappingSource, TopicSource

_log = Logger()

TIMEOUT_MS = 24_000
"""How long a name server may take to answer a registration (`registerBrokerTimeoutMills`)."""

PERIOD_MIN_MS, PERIOD_MAX_MS = 10_000, 60_000
"""Bounds that Java puts on `registerNameServerPeriod`."""

START_WAIT_MS = 1_000
"""A broker that starts waits no longer for slow name servers; the attempts go on."""

CHANGE_WAIT_MS = 3_000
"""Whoever changed a topic waits no longer for name servers to be told."""


class BrokerAddress(msgspec.Struct):
    """What a broker registers itself as."""

    cluster: str
    name: str
    broker_id: int
    """Where a controller elects the master: 0 for as long as it is this broker."""
    address: str
    """`brokerIP1:listenPort`."""
    ha_server_address: str
    """`brokerIP2:haListenPort`."""


class MasterAddresses(msgspec.Struct, frozen=True):
    """What a slave learns from its name servers of its master."""

    address: str
    ha_server_address: str


class Registration:
    """Registers one broker with all its name servers.

    Args:
        broker: What to register.
        topics: The broker's topic table; read when there is something to send.
        name_servers: Addresses `host:port`.
        client: Connects.
        clock: For the period and for pauses.
        period_ms: `registerNameServerPeriod`, kept between 10 and 60 s.
        force_register: Every period brings the whole table; else only when the name server's version differs.
        timeout_ms: `registerBrokerTimeoutMills`.
        broker_permission: Gives `brokerPermission`, which limits the permission of every topic.
        compressed: `compressedRegister`.
        split_size: Topics per request (`splitRegistrationSize` when `enableSplitRegistration`), 0 for all in one.
        acting_master: `enableSlaveActingMaster`: heartbeats between registrations, and a shorter time to live.
        heartbeat_interval_ms: `brokerHeartbeatInterval`.
        not_active_timeout_ms: `brokerNotActiveTimeoutMillis`.
        old_name_servers: `compatibleWithOldNameSrv`: the heartbeat is a request that 4.x name servers know.
        zone_name: Sent as `__ZONE_NAME`.

    Attributes:
        on_master: Called with the master's addresses, or None, when they change.
        on_order_topics: Called with `topic -> "brokerA:4;brokerB:8"`, the order configuration of a name server, after
            each registration: a topic may have come since the last one.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        topics: TopicSource,
        name_servers: Sequence[str],
        client: RemotingClient,
        clock: IReactorTime,
        *,
        period_ms: int = 30_000,
        force_register: bool = True,
        timeout_ms: int = TIMEOUT_MS,
        broker_permission: Callable[[], int] = lambda: 6,
        compressed: bool = False,
        split_size: int = 0,
        acting_master: bool = False,
        heartbeat_interval_ms: int = 1_000,
        not_active_timeout_ms: int = 10_000,
        old_name_servers: bool = True,
        zone_name: str | None = None,
    ) -> None:
        self._broker = broker
        self._client = client
        self._clock = clock
        self._period_s = min(max(period_ms, PERIOD_MIN_MS), PERIOD_MAX_MS) / 1000
        self._force = force_register
        self._timeout_ms = timeout_ms
        self._bodies = RegistrationBodies(
            broker,
            topics,
            broker_permission=broker_permission,
            compressed=compressed,
            split_size=split_size,
            acting_master=acting_master,
            heartbeat_timeout_ms=not_active_timeout_ms if acting_master else None,
            zone_name=zone_name,
        )
        self._old_name_servers = old_name_servers
        self._links: dict[str, NameServerLink] = {}
        self._changed: set[str] = set()
        self._change_waiters: list[Deferred[None]] = []
        self._masters: dict[str, MasterAddresses | None] = {}
        self._order_topics: dict[str, dict[str, str]] = {}
        self._master: MasterAddresses | None = None
        self._started = False
        self._stopped = False
        self._periodic = LoopingCall(self._every_period)
        self._periodic.clock = clock
        self._heartbeat_s = heartbeat_interval_ms / 1000 if acting_master else None
        self._heartbeats = LoopingCall(self._send_heartbeats)
        self._heartbeats.clock = clock
        self.on_master: Callable[[MasterAddresses | None], None] = lambda _: None
        self.on_order_topics: Callable[[dict[str, str]], None] = lambda _: None
        self.set_name_servers(name_servers)

    def tell_mappings(self, mappings: MappingSource) -> None:
        """Tell the name servers of static topics too."""
        self._bodies.mappings = mappings

    @property
    def broker(self) -> BrokerAddress:
        """What is registered."""
        return self._broker

    @property
    def name_servers(self) -> list[str]:
        """The addresses of all name servers."""
        return list(self._links)

    @property
    def registered_at(self) -> list[str]:
        """The name servers that know the broker by a connection that is open."""
        return [link.address for link in self._links.values() if link.registered]

    def set_name_servers(self, addresses: Iterable[str]) -> None:
        """Replace the list of name servers; those that are no longer in it are told that the broker leaves."""
        wanted = list(dict.fromkeys(address.strip() for address in addresses if address.strip()))
        for address in [known for known in self._links if known not in wanted]:
            self._masters.pop(address, None)
            self._order_topics.pop(address, None)
            self._links.pop(address).stop(self._unregistration(), self._timeout_ms)
        links = dict(self._links)
        self._links = {}
        for address in wanted:
            self._links[address] = links.get(address) or self._new_link(address)
        if self._started:
            for address in wanted:
                if address not in links:
                    self._links[address].refresh(force=True)

    def start(self) -> Deferred[None]:
        """Begin to register.

        Returns:
            Fires when every name server has answered or could not be reached, or after `START_WAIT_MS`; never fails.
        """
        self._started = True
        first = self._refresh(force=True).addTimeout(START_WAIT_MS / 1000, self._clock)
        first.addErrback(lambda _: None)
        self._periodic.start(self._period_s, now=False)
        if self._heartbeat_s is not None:
            self._heartbeats.start(self._heartbeat_s, now=False)
        return first

    def topics_changed(self, changed: Iterable[TopicConfig]) -> Deferred[None]:
        """Tell the name servers of new and changed topics; changes of one turn of the reactor go together.

        Returns:
            Fires when the name servers that can be reached have been told, or after `CHANGE_WAIT_MS`; never fails.
        """
        names = {config.topic_name for config in changed if config.topic_name is not None}
        if not names or not self._started or self._stopped:
            return succeed(None)
        if not self._changed:
            self._clock.callLater(0, self._send_changes)
        self._changed |= names
        told: Deferred[None] = Deferred()
        self._change_waiters.append(told)
        return told

    def refresh(self) -> Deferred[None]:
        """Register the whole table now, as after a change of role or permission. Returns as `start`."""
        return self._refresh(force=True) if self._started and not self._stopped else succeed(None)

    def stop(self, timeout_ms: int = 3_000) -> Deferred[None]:
        """Unregister everywhere.

        Returns:
            Fires when all that knew the broker have answered, at the latest after `timeout_ms`; never fails.
        """
        self._stopped = True
        for loop in (self._periodic, self._heartbeats):
            if loop.running:
                loop.stop()
        return _all(link.stop(self._unregistration(), timeout_ms) for link in self._links.values())

    def _new_link(self, address: str) -> NameServerLink:
        return NameServerLink(
            address,
            self._client,
            self._clock,
            self._bodies,
            timeout_ms=self._timeout_ms,
            retry_max_s=self._period_s,
            answered=self._answered,
        )

    def _unregistration(self) -> UnregisterBroker:
        broker = self._broker
        return UnregisterBroker(
            broker_name=broker.name,
            broker_addr=broker.address,
            cluster_name=broker.cluster,
            broker_id=broker.broker_id,
        )

    def _every_period(self) -> None:
        self._refresh(force=self._force)

    def _refresh(self, *, force: bool) -> Deferred[None]:
        return _all(link.refresh(force=force) for link in self._links.values())

    def _send_changes(self) -> None:
        changed, self._changed = self._changed, set()
        waiters, self._change_waiters = self._change_waiters, []
        told = _all(link.topics_changed(changed) for link in self._links.values())
        told.addTimeout(CHANGE_WAIT_MS / 1000, self._clock)
        told.addBoth(_fire, waiters)

    def _send_heartbeats(self) -> None:
        if self._old_name_servers:
            header, body = self._bodies.version_probe()
        else:
            broker = self._broker
            header, body = (
                BrokerHeartbeat(cluster_name=broker.cluster, broker_addr=broker.address, broker_name=broker.name),
                b"",
            )
        for link in self._links.values():
            link.heartbeat(header, body)

    # What name servers answer

    def _answered(self, link: NameServerLink, answer: RemotingCommand) -> None:
        reply = answer.header(RegisterBrokerReply)
        self._masters[link.address] = (
            MasterAddresses(reply.master_addr, reply.ha_server_addr or "") if reply.master_addr else None
        )
        if answer.body:
            try:
                self._order_topics[link.address] = KvTable.decode(answer.body).table
            except MalformedBody as cause:
                _log.warn("name server {address}: order configuration: {cause}", address=link.address, cause=cause)
        self._tell()

    def _tell(self) -> None:
        """Of several name servers the first in the list that knows something counts."""
        masters = [self._masters.get(address) for address in self._links]
        orders = [self._order_topics[address] for address in self._links if address in self._order_topics]
        master = next((of for of in masters if of is not None), None)
        order = orders[0] if orders else None
        if master != self._master:
            self._master = master
            self.on_master(master)
        if order is not None:
            self.on_order_topics(order)


def _fire(_: object, waiters: list[Deferred[None]]) -> None:
    for waiter in waiters:
        waiter.callback(None)


def _all(parts: Iterable[Deferred[None]]) -> Deferred[None]:
    """Fire when all have, with None, whatever became of them."""
    return DeferredList(list(parts), consumeErrors=True).addCallback(lambda _: None)


def broker_registration(
    options: BrokerOptions, topics: TopicSource, client: RemotingClient, clock: IReactorTime, address: str
) -> Registration:
    """Make the registration of a broker from its options.

    Args:
        options: The configuration.
        topics, client, clock: As for `Registration`.
        address: `brokerIP1:listenPort`.
    """
    broker = options.broker
    return Registration(
        BrokerAddress(
            cluster=broker.broker_cluster_name,
            name=broker.broker_name,
            broker_id=broker.broker_id,
            address=address,
            ha_server_address=f"{broker.broker_ip2}:{options.store.ha_listen_port}",
        ),
        topics,
        [each.strip() for each in (broker.namesrv_addr or "").split(";") if each.strip()],
        client,
        clock,
        period_ms=broker.register_name_server_period,
        force_register=broker.force_register,
        timeout_ms=broker.register_broker_timeout_mills,
        broker_permission=lambda: broker.broker_permission,
        compressed=broker.compressed_register,
        split_size=broker.split_registration_size if broker.enable_split_registration else 0,
        acting_master=broker.enable_slave_acting_master,
        heartbeat_interval_ms=broker.broker_heartbeat_interval,
        not_active_timeout_ms=broker.broker_not_active_timeout_millis,
        old_name_servers=broker.compatible_with_old_name_srv,
    )
