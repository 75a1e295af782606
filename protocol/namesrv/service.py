"""A name server on its port: everything put together, started and stopped.

The only module of the name server that may take the global reactor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

import rmqwire.requests  # noqa: F401  fills the registry that the dispatcher routes by
from rmqd.protocol.client import EndpointFactory, RemotingClient, tcp_endpoints
from rmqd.protocol.dispatch import Dispatcher
from rmqd.protocol.server import RemotingServer
from rmqd.protocol.sockets import client_sockets, server_sockets
from rmqd.store.statefile import StateFile
from rmqwire.declare import Role
from rmqwire.requests.ha import NotifyMinBrokerIdChange

from .admin_handlers import ConfigHandlers, KvHandlers
from .answers import RouteAnswers
from .handlers import RouteHandlers
from .kv import KvConfig
from .registration_handlers import RegistrationHandlers
from .routes import RouteTables

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from rmqd.conf import NamesrvOptions
    from rmqd.protocol.broker.state_writer import RunInThread

    from .brokers import BrokerGroup

_log = Logger()

SCAN_FIRST_S = 5.0
"""Time before the first look for brokers that fell silent; the period is `scanNotActiveBrokerInterval`."""

_IDLE_SCAN_S = 5.0


class NameServer:
    """One name server.

    Args:
        options: Its options; `listenPort` 0 lets the system choose.
        reactor: Where it runs; the global one by default.
        run_in_thread: Runs what blocks for the disk; the reactor's threads by default.
        endpoint: Connects to brokers that have to be told something; TCP by default.

    Attributes:
        port: The port listened on; 0 before `start`.
        dispatcher: The requests served.
        tables: What is known.
    """

    def __init__(
        self,
        options: NamesrvOptions,
        reactor: Any = None,
        *,
        run_in_thread: RunInThread | None = None,
        endpoint: EndpointFactory | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.options = options
        self.port = 0
        self._reactor = reactor
        self._started_at_s = reactor.seconds()
        self._run_in_thread: RunInThread = run_in_thread or _threads_of(reactor)
        self.tables = RouteTables(lambda: int(reactor.seconds() * 1000))
        self.tables.on_min_broker_id_changed = self._min_broker_id_changed
        self.kv = KvConfig(StateFile(options.namesrv.kv_config_path), self._run_in_thread)
        self.answers = RouteAnswers(self.tables, self.kv, options.namesrv)
        self.dispatcher = Dispatcher(
            Role.NAMESRV,
            [
                RouteHandlers(self.tables, self.answers, options.namesrv, self._up_for_s),
                RegistrationHandlers(self.tables, self.kv, options.namesrv),
                KvHandlers(self.kv),
                ConfigHandlers(options, self._run_in_thread, self._options_changed),
            ],
        )
        self._server = RemotingServer(reactor, reactor, options.server.bind_address, server_sockets(options.server))
        self._client = RemotingClient(
            endpoint or tcp_endpoints(reactor),
            Dispatcher(Role.NAMESRV, ()),
            reactor,
            client_sockets(options.client),
        )
        self._scan = LoopingCall(self.scan)
        self._scan.clock = reactor
        self._scan_first: Any = None
        self._idle_scan = LoopingCall(self._server.close_idle)
        self._idle_scan.clock = reactor

    def start(self) -> Deferred[None]:
        """Load the KV configuration and listen.

        Raises:
            twisted.internet.error.CannotListenError: By the Deferred: the port is in use or not allowed.
            StoreError: By the Deferred: `kvConfig.json` is unreadable.
        """
        return Deferred.fromCoroutine(self._start())

    def stop(self) -> Deferred[None]:
        """Accept no more, answer what is in hand, save, close all connections."""
        return Deferred.fromCoroutine(self._stop())

    def scan(self) -> None:
        """Forget the brokers that have not been heard from, and close their connections."""
        for key, channel in self.tables.expired():
            _log.warn("broker {key} was not heard from in time", key=key)
            self.tables.forget(key)
            close: Callable[[], None] | None = getattr(channel, "abort", None)
            if close is not None:
                close()

    async def _start(self) -> None:
        self.kv.load()
        self.port = self._server.listen(self.options.server.listen_port, self.dispatcher).port
        self._started_at_s = self._reactor.seconds()
        self._scan_first = self._reactor.callLater(SCAN_FIRST_S, self._begin_scans)
        self._idle_scan.start(_IDLE_SCAN_S, now=False)
        _log.info("name server listens on {address}:{port}", address=self.options.server.bind_address, port=self.port)

    async def _stop(self) -> None:
        await self._server.stop_listening()
        if self._scan_first is not None and self._scan_first.active():
            self._scan_first.cancel()
        for loop in (self._scan, self._idle_scan):
            if loop.running:
                loop.stop()
        try:
            await self.kv.saved()
        finally:
            await self._client.stop()
            await self._server.close_all()
        _log.info("name server stopped")

    def _begin_scans(self) -> None:
        self._scan.start(self.options.namesrv.scan_not_active_broker_interval / 1000)

    def _up_for_s(self) -> float:
        return float(self._reactor.seconds() - self._started_at_s)

    def _options_changed(self) -> None:
        self.answers.forget()
        period_s = self.options.namesrv.scan_not_active_broker_interval / 1000
        if self._scan.running and self._scan.interval != period_s:
            self._scan.stop()
            self._scan.start(period_s, now=False)

    def _min_broker_id_changed(self, group: BrokerGroup, gone: str | None, ha_address: str | None) -> None:
        """Tell the members of a group who has the smallest id now, where slaves may act as master.

        When one left all others are told, when one came those that were there before; a group of one is told itself.
        """
        addresses = group.addresses
        if not addresses or not self.options.namesrv.notify_min_broker_id_changed:
            return
        if gone is not None and not group.enable_acting_master:
            return
        smallest = min(addresses)
        header = NotifyMinBrokerIdChange(
            min_broker_id=smallest,
            broker_name=group.name,
            min_broker_addr=addresses[smallest],
            offline_broker_addr=gone,
            ha_broker_addr=ha_address,
        )
        to_all = gone is not None or len(addresses) == 1
        for broker_id, address in addresses.items():
            if to_all or broker_id != smallest:
                self._client.tell(address, header).addErrback(_not_told, address)


def _not_told(failure: Failure, peer: str) -> None:
    _log.warn("{peer} is not told who is left of its group: {error}", peer=peer, error=failure.getErrorMessage())


def _threads_of(reactor: Any) -> RunInThread:
    def run_in_thread(job: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), job, *args)

    return run_in_thread
