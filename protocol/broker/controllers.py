"""The controllers of a broker: where they are, which one leads, and asking it.

A request goes to the leader; when that one cannot be asked or leads no more, the next request looks for another first.
What it must not do: repeat a request by itself, since a controller may have carried it out without an answer.
Source: `ReplicasManager.updateControllerMetadata`, `updateControllerAddr`, `BrokerOuterAPI` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from rmqd.protocol.hosts import all_addresses
from rmqd.protocol.peer_errors import PeerError
from rmqwire.codes import ResponseCode, name_of_response
from rmqwire.requests.controller import ControllerGetMetadataInfo, ControllerGetMetadataInfoReply

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from rmqd.protocol.client import RemotingClient
    from rmqwire.command import RemotingCommand
    from rmqwire.declare import Header

_log = Logger()

TIMEOUT_MS = 3000


class ControllerRefused(PeerError):
    """A controller answered with an error.

    Attributes:
        code: Which.
    """

    def __init__(self, address: str, code: int, remark: str | None) -> None:
        super().__init__(f"controller {address} answers {name_of_response(code)} {remark or ''}".rstrip())
        self.code = code

    @property
    def decided(self) -> bool:
        """Whether nothing was done for sure.

        Not when the controllers failed: what one of them had written may be agreed upon later.
        """
        return ResponseCode.CONTROLLER_FENCED_MASTER_EPOCH <= self.code < ResponseCode.CONTROLLER_JRAFT_INTERNAL_ERROR


class Controllers:
    """The controllers.

    Args:
        given: `controllerAddr`, read whenever the controllers are looked up.
        by_name: Whether that is one name that stands for all of them (`fetchControllerAddrByDnsLookup`).
        client: Asks.
        run_in_thread: Looks names up.

    Attributes:
        addresses: All of them.
        leader: The one that leads, as far as is known.
    """

    def __init__(
        self,
        given: Callable[[], str],
        by_name: Callable[[], bool],
        client: RemotingClient,
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self._given = given
        self._by_name = by_name
        self._client = client
        self._run_in_thread = run_in_thread
        self.addresses: list[str] = []
        self.leader: str | None = None
        self._telling: set[str] = set()

    async def find(self) -> str:
        """Find out where the controllers are and which one leads.

        Raises:
            PeerError: None of them says so.
        """
        await self._look_up()
        problem: PeerError = PeerError("controllerAddr names no controller")
        for address in self.addresses:
            try:
                answer = await self._ask(address, ControllerGetMetadataInfo())
            except PeerError as cause:
                problem = cause
                continue
            leader = answer.header(ControllerGetMetadataInfoReply).controller_leader_address
            if leader:
                if leader != self.leader:
                    _log.info("controller {leader} leads", leader=leader)
                self.leader = leader
                return leader
            problem = PeerError(f"the controllers of {address} have no leader")
        self.leader = None
        raise problem

    async def _look_up(self) -> None:
        given = [address.strip() for address in self._given().split(";") if address.strip()]
        if not self._by_name():
            self.addresses = given
            return
        found: list[str] = []
        for address in given:
            host, _, port = address.rpartition(":")
            try:
                hosts: list[str] = await self._run_in_thread(all_addresses, host)
            except OSError as cause:
                _log.warn("the controllers' name {host} cannot be looked up: {cause}", host=host, cause=cause)
                continue
            found += [f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in hosts]
        self.addresses = found or self.addresses  # a name server that fails for a while takes nothing away

    async def call(self, header: Header, body: bytes = b"", *, also: int = ResponseCode.SUCCESS) -> RemotingCommand:
        """Ask the leader.

        Args:
            header, body: What.
            also: A code beside SUCCESS that is an answer.

        Raises:
            ControllerRefused: It answered something else.
            PeerError: It did not answer, or there is no leader.
        """
        leader = self.leader or await self.find()
        try:
            return await self._ask(leader, header, body, also)
        except ControllerRefused as refused:
            if refused.code == ResponseCode.CONTROLLER_NOT_LEADER:
                self.leader = None
            raise
        except PeerError:
            self.leader = None
            raise

    async def _ask(
        self, address: str, header: Header, body: bytes = b"", also: int = ResponseCode.SUCCESS
    ) -> RemotingCommand:
        answer = await self._client.call(address, header, body, timeout_ms=TIMEOUT_MS)
        if answer.code not in (ResponseCode.SUCCESS, also):
            raise ControllerRefused(address, answer.code, answer.remark)
        return answer

    def tell_all(self, header: Header) -> None:
        """Send something to all that can be reached; one that cannot be reached is not asked twice at once."""
        for address in self.addresses:
            if address not in self._telling:
                self._telling.add(address)
                told = self._client.tell(address, header)
                told.addErrback(_not_told)
                told.addCallback(lambda _, to: self._telling.discard(to), address)


def _not_told(failure: Failure) -> None:
    if not isinstance(failure.value, PeerError):
        _log.failure("telling a controller", failure)
