"""A broker as one object: its store, its state, its ports, its timers.

Puts the parts together and runs them; decides nothing itself. May take the global reactor; everything below is given
what it needs. Source: `BrokerController` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from rmqd.protocol.clocks import wall_clock_ms
from rmqd.protocol.dispatch import Dispatcher
from rmqd.protocol.hosts import numeric_address
from rmqd.protocol.server import RemotingServer
from rmqd.protocol.sockets import server_sockets
from rmqd.store.messagestore import MessageStore
from rmqwire.declare import Role
from rmqwire.message import encode_host

from .acting import escapes
from .controller_link import ControllerLink, controller_link
from .delay import DelayLevels
from .disk_syncs import DiskSyncs, disk_syncs
from .escape_rounds import EscapeRounds, WhileActing
from .leading import Leading
from .listening import listen_pair
from .parts import BrokerParts
from .replication import HaPort
from .store_options import store_options
from .upkeep import Upkeep

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions

_log = Logger()

VIP_REFUSED = frozenset((11, 361, 200050, 200052, 200054, 200055, 200070))
"""Codes that the VIP port (listenPort - 2) does not serve: whatever may be held."""

DISK_THREADS = 4


class Broker:
    """One broker.

    Args:
        options: Its configuration. `listenPort` 0 takes any free port.
        reactor: Twisted's global one when left out.

    Attributes:
        name: `brokerName`.
        address: `brokerIP1:listenPort`, once started.
        port: The main port, once started.
        vip_port: `port - 2`.
    """

    def __init__(self, options: BrokerOptions, reactor: Any = None) -> None:
        if reactor is None:
            from twisted.internet import reactor as global_reactor

            reactor = global_reactor
        self.options = options
        self.name = options.broker.broker_name
        self._reactor = reactor
        self._syncs: DiskSyncs | None = None
        self._threads = ThreadPool(0, DISK_THREADS, name=f"{self.name} disk")
        self._server = RemotingServer(reactor, reactor, options.server.bind_address, server_sockets(options.server))
        self._upkeep: Upkeep
        self._escapes: list[EscapeRounds | WhileActing] = []
        self.port = 0
        self.vip_port = 0
        self.address = ""
        self.store: MessageStore
        self.parts: BrokerParts
        self._leading: Leading
        self._link: ControllerLink | None = None

    async def start(self) -> None:
        """Listen, open the store, load the state, register with the name servers.

        Returns once every name server has answered or has failed to.

        Raises:
            CannotListenError: A port is in use.
            StoreError: The store or a state file cannot be used; the message names it.
        """
        main, vip = await listen_pair(self._server, self.options.server.listen_port)
        self.port, self.vip_port = main.port, vip.port
        self.options.server.listen_port = self.port
        ip = self.options.broker.broker_ip1
        self.address = f"{ip}:{self.port}"
        slaves = HaPort()
        try:
            slaves.listen(self._reactor, self.options.store, self.options.server.bind_address, self.port)
            levels = DelayLevels(self.options.store.message_delay_level)
            self.store = MessageStore(
                store_options(self.options, encode_host(self._record_ip(ip), self.port)),
                wall_clock_ms=wall_clock_ms,
                delivery_time_ms=levels.deliver_at_ms,
            )
            report = self.store.open()
            for line in report.lines():
                _log.info("{line}", line=line)
            try:
                self._threads.start()
                self._syncs = disk_syncs(self._reactor, self.run_in_thread)
                self.parts = BrokerParts(
                    self.options,
                    self.store,
                    self._reactor,
                    self.run_in_thread,
                    self.address,
                    levels,
                    self._syncs.run if self._syncs is not None else self.run_in_thread,
                )
                if self.parts.timers is not None:
                    self.parts.timers.begin(leads=not self.parts.send_settings.is_slave)
                self.parts.replication.serve(slaves)
                self._leading = Leading(self.parts)
                if self.options.broker.enable_controller_mode:
                    self._link = controller_link(self.parts, self._leading, self.run_in_thread)
                main.dispatcher = Dispatcher(
                    Role.BROKER,
                    self.parts.handlers,
                    barrier=self.parts.flow,
                    later=self.parts.flow.later,
                    gate=self.parts.flow,
                    runs=self.parts.send_runs,
                )
                vip.dispatcher = main.dispatcher.without(VIP_REFUSED)
                self.parts.static_topics.stand_before(main.dispatcher, vip.dispatcher)
            except BaseException:
                self._end_threads()
                self.store.close()
                raise
        except BaseException:
            await slaves.stop()
            await self._server.stop_listening()
            raise
        self._upkeep = Upkeep(self.options, self.store, self.parts, self._server, self.run_in_thread)
        await self.parts.members.fetch()
        self.parts.pops.begin()
        if not self.parts.send_settings.is_slave:
            self._leading.begin()
        self._upkeep.begin(self._reactor)
        self.parts.replication.start()
        self.parts.members.start()
        self._escapes = escapes(self.parts, levels, wall_clock_ms, self.run_in_thread)
        for escape in self._escapes:
            escape.begin()
        if self._link is None:
            await self.parts.registration.start()
        else:
            await self._link.start()

    def _record_ip(self, ip: str) -> str:
        """Give the address that records hold; `brokerIP1` may be a name, which clients are then told as it is."""
        try:
            return numeric_address(ip)
        except OSError as cause:
            raise self.options.source["brokerIP1"].wrong("an address, or a name that can be looked up") from cause

    async def stop(self) -> None:
        """Stop accepting, answer what is in hand, write everything down, and leave the name servers.

        Raises:
            StoreError: Something could not be written; the threads have ended all the same.
        """
        try:
            await self._stop_serving()
            await self.parts.group_commit.drained()
            await self.parts.save_all()
        finally:
            try:
                self.store.close()
            finally:
                self._end_threads()

    async def _stop_serving(self) -> None:
        await self._server.stop_listening()
        if self._link is not None:
            await self._link.stop()
        self.parts.members.stop()
        for escape in self._escapes:
            await escape.stop()
        await self.parts.registration.stop()
        self.parts.delayed.stop()
        await self.parts.replication.stop()
        self.parts.holds.release_all()
        self.parts.pops.release_all()
        await self.parts.group_commit.answered()
        await self._server.close_all()
        await self.parts.client.stop()
        await self.parts.transactions.stop()
        await self.parts.pops.stop()
        await self._upkeep.end()
        if self.parts.timers is not None:
            await self.parts.timers.stop()

    def _end_threads(self) -> None:
        if self._syncs is not None:
            self._syncs.close()
        self._threads.stop()

    def run_in_thread(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """Run something that waits for the disk where the reactor does not wait with it."""
        return deferToThreadPool(self._reactor, self._threads, call, *args, **kwargs)
