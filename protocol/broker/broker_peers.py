"""Requests to the masters of other broker names, whose addresses the name servers tell.

A request to a master that is known is never held up by a name server: addresses are renewed beside it. Only who asks
for an unknown name waits, and all who do wait for the same answer.

Source: `RpcClientImpl`, `BrokerOuterAPI.refreshMetadata` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqd.protocol.peer_errors import PeerError
from rmqwire.bodies import ClusterInfo
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError, WireError
from rmqwire.requests.route import GetBrokerClusterInfo

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.protocol.client import RemotingClient
    from rmqwire.command import RemotingCommand
    from rmqwire.declare import Header

_log = Logger()

BELIEVED_S = 5.0
"""How old addresses may become, or the last attempt to renew them, before a call begins the next."""
_MASTER_ID = 0


class BrokerPeers:
    """Asks brokers by their names.

    Args:
        client: Asks.
        name_servers: Gives their addresses.
        clock: For the age of what they told, or did not.
        timeout_ms: `forwardTimeout`.
    """

    def __init__(
        self,
        client: RemotingClient,
        name_servers: Callable[[], Iterable[str]],
        clock: IReactorTime,
        timeout_ms: Callable[[], int],
    ) -> None:
        self._client = client
        self._name_servers = name_servers
        self._clock = clock
        self._timeout_ms = timeout_ms
        self._masters: dict[str, str] = {}
        self._tried_s = -BELIEVED_S
        self._renewing = False
        self._waiting: list[Deferred[None]] = []
        """For the renewal that is under way."""

    async def call(self, broker_name: str, header: Header) -> RemotingCommand:
        """Send a request to a master; give its answer, whatever the code.

        Raises:
            RequestError: Nobody knows the master, or it does not answer.
        """
        address = await self._address(broker_name)
        try:
            return await self._client.call(address, header, timeout_ms=self._timeout_ms())
        except PeerError as cause:
            if self._masters.get(broker_name) == address:  # and nobody has told another one meanwhile
                del self._masters[broker_name]
            raise RequestError(f"{broker_name} at {address}: {cause}") from cause

    async def _address(self, broker_name: str) -> str:
        if broker_name not in self._masters:
            await self._renewed()
        elif self._clock.seconds() - self._tried_s >= BELIEVED_S:
            self._renew()
        address = self._masters.get(broker_name)
        if address is None:
            raise RequestError(f"cannot find addr for broker {broker_name}")
        return address

    def _renewed(self) -> Deferred[None]:
        """Wait for the renewal that is under way, or for one that begins now."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        self._renew()
        return waiter

    def _renew(self) -> None:
        if self._renewing:
            return
        self._renewing, self._tried_s = True, self._clock.seconds()
        done = Deferred.fromCoroutine(self._ask_name_servers())
        done.addErrback(lambda failure: _log.failure("addresses of brokers not renewed", failure))
        done.addCallback(self._done)

    def _done(self, _: object) -> None:
        self._renewing = False
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    async def _ask_name_servers(self) -> None:
        for address in self._name_servers():
            try:
                answer = await self._client.call(address, GetBrokerClusterInfo(), timeout_ms=self._timeout_ms())
                if answer.code != ResponseCode.SUCCESS:
                    raise PeerError(f"{answer.code} {answer.remark}")
                table = ClusterInfo.decode(answer.body).broker_addr_table or {}
            except (PeerError, WireError) as cause:
                _log.warn("name server {address} tells no brokers: {cause}", address=address, cause=cause)
                continue
            self._masters = {
                name: of.broker_addrs[_MASTER_ID] for name, of in table.items() if _MASTER_ID in of.broker_addrs
            }
            return
