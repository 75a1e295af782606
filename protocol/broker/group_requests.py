"""What a broker asks the controllers of its group: for a number, to be registered, for an election, who is master.

The number is asked for once, and kept in `brokerIdentity`: the claim is written down before it is made, so that a
broker that is killed in between makes the same one again. What it must not do: act upon an answer.

Source: `ReplicasManager.register`, `BrokerOuterAPI` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.logger import Logger

from rmqd.protocol.peer_errors import PeerError
from rmqd.store.errors import StoreDamaged
from rmqd.store.identity import TEMPORARY, Identity, IdentityFile
from rmqwire.bodies import ElectMasterResponseBody, SyncStateSet
from rmqwire.codes import ResponseCode
from rmqwire.requests.controller import (
    ControllerAlterSyncStateSet,
    ControllerApplyBrokerId,
    ControllerElectMaster,
    ControllerElectMasterReply,
    ControllerGetNextBrokerId,
    ControllerGetNextBrokerIdReply,
    ControllerGetReplicaInfo,
    ControllerGetReplicaInfoReply,
    ControllerRegisterBroker,
    ControllerRegisterBrokerReply,
)

from .controllers import ControllerRefused

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from .controllers import Controllers
    from .registration import BrokerAddress

_log = Logger()


class Told(msgspec.Struct, frozen=True):
    """What a controller says of a group."""

    master_id: int | None
    master_address: str | None
    epoch: int
    set_epoch: int
    members: frozenset[int]

    @classmethod
    def of(
        cls,
        reply: ControllerRegisterBrokerReply | ControllerElectMasterReply | ControllerGetReplicaInfoReply,
        set_epoch: int,
        members: Iterable[int],
    ) -> Told:
        """Read what answers have in common; the set in sync comes with it in different ways."""
        master_epoch = reply.master_epoch or 0
        return cls(reply.master_broker_id, reply.master_address, master_epoch, set_epoch, frozenset(members))


class GroupRequests:
    """The requests of one broker about its group.

    Args:
        broker: How it is registered at name servers.
        controllers: Whom to ask.
        identity_path: `storePathBrokerIdentity`.
        wall_clock_ms: Stamps requests.
        run_in_thread: Writes the identity.

    Attributes:
        broker_id: The number the controllers know this broker by; None before it has one.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        controllers: Controllers,
        identity_path: str,
        wall_clock_ms: Callable[[], int],
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self._broker = broker
        self._controllers = controllers
        self._file = IdentityFile(identity_path)
        self._claim_file = IdentityFile(identity_path + TEMPORARY, claims=True)
        self._wall_clock_ms = wall_clock_ms
        self._run_in_thread = run_in_thread
        self.broker_id: int | None = None

    def load(self) -> None:
        """Look at what was written down; waits for the disk. Before `start`.

        Raises:
            StoreError: It cannot be read, or is that of another broker; the message names the file.
        """
        for file in (self._file, self._claim_file):
            found = file.load()
            if found is not None and (found.cluster, found.name) != (self._broker.cluster, self._broker.name):
                raise StoreDamaged(
                    f"this store is that of broker {found.name} of cluster {found.cluster},"
                    f" not {self._broker.name} of {self._broker.cluster}",
                    file=file.path,
                )
        own = self._file.load()
        self.broker_id = None if own is None else own.broker_id

    async def take_number(self) -> None:
        """Claim a free number, and write it down once it is this broker's.

        Raises:
            PeerError: No controller gives one.
            StoreError: It cannot be written down.
        """
        broker = self._broker
        claim = await self._run_in_thread(self._claim_file.load)
        if claim is None:
            answer = await self._controllers.call(
                ControllerGetNextBrokerId(cluster_name=broker.cluster, broker_name=broker.name)
            )
            number = answer.header(ControllerGetNextBrokerIdReply).next_broker_id
            if number is None:
                raise PeerError("the controller gives no broker id")
            code = f"{broker.address};{self._wall_clock_ms()}"
            claim = Identity(broker.cluster, broker.name, number, code)
            await self._run_in_thread(self._claim_file.save, claim)
        try:
            await self._controllers.call(
                ControllerApplyBrokerId(
                    cluster_name=broker.cluster,
                    broker_name=broker.name,
                    applied_broker_id=claim.broker_id,
                    register_check_code=claim.check_code,
                )
            )
        except ControllerRefused as refused:
            if refused.code == ResponseCode.CONTROLLER_BROKER_ID_INVALID:  # another broker was faster
                await self._run_in_thread(self._claim_file.clear)
            raise
        await self._run_in_thread(self._file.save, Identity(broker.cluster, broker.name, claim.broker_id))
        await self._run_in_thread(self._claim_file.clear)
        _log.info("the controllers know this broker as number {number} of {name} now", number=claim.broker_id,
                  name=broker.name)  # fmt: skip
        self.broker_id = claim.broker_id

    async def register(self) -> Told:
        """Tell the number and the address; give who is master, if anybody is.

        Raises:
            PeerError: No controller takes it.
        """
        broker = self._broker
        try:
            answer = await self._controllers.call(
                ControllerRegisterBroker(
                    cluster_name=broker.cluster,
                    broker_name=broker.name,
                    broker_id=self.broker_id,
                    broker_address=broker.address,
                    invoke_time=self._wall_clock_ms(),
                )
            )
        except ControllerRefused as refused:
            if refused.code == ResponseCode.CONTROLLER_BROKER_NEED_TO_BE_REGISTERED:
                raise PeerError(
                    f"{refused}; was its number cleaned? Remove {self._file.path}, and it gets another one"
                ) from refused
            raise
        reply = answer.header(ControllerRegisterBrokerReply)
        body = SyncStateSet.decode(answer.body) if answer.body else SyncStateSet()
        return Told.of(reply, body.sync_state_set_epoch, body.sync_state_set)

    async def elect(self) -> Told:
        """Ask for an election; give who is master afterwards.

        Raises:
            PeerError: Nobody can be elected.
        """
        answer = await self._controllers.call(
            ControllerElectMaster(
                cluster_name=self._broker.cluster,
                broker_name=self._broker.name,
                broker_id=self.broker_id or 0,
                designate_elect=False,
                invoke_time=self._wall_clock_ms(),
            ),
            also=ResponseCode.CONTROLLER_MASTER_STILL_EXIST,
        )
        reply = answer.header(ControllerElectMasterReply)
        body = ElectMasterResponseBody.decode(answer.body) if answer.body else ElectMasterResponseBody()
        return Told.of(reply, reply.sync_state_set_epoch or 0, body.sync_state_set)

    async def look(self) -> Told:
        """Give who is master, and who is in sync.

        Raises:
            PeerError: No controller says.
        """
        answer = await self._controllers.call(ControllerGetReplicaInfo(broker_name=self._broker.name))
        reply = answer.header(ControllerGetReplicaInfoReply)
        body = SyncStateSet.decode(answer.body) if answer.body else SyncStateSet()
        return Told.of(reply, body.sync_state_set_epoch, body.sync_state_set)

    async def alter(self, master_epoch: int, set_epoch: int, members: frozenset[int]) -> tuple[int, frozenset[int]]:
        """Wish for another set of replicas in sync.

        Args:
            master_epoch: This broker is the master of.
            set_epoch: Of the set that is known.
            members: Of the other one.

        Returns:
            The set as it is then: its epoch, its members.

        Raises:
            PeerError: It stays as it is, as far as is known.
        """
        answer = await self._controllers.call(
            ControllerAlterSyncStateSet(
                broker_name=self._broker.name,
                master_broker_id=self.broker_id,
                master_epoch=master_epoch,
                invoke_time=self._wall_clock_ms(),
            ),
            SyncStateSet(sync_state_set=sorted(members), sync_state_set_epoch=set_epoch).encode(),
        )
        body = SyncStateSet.decode(answer.body)
        return body.sync_state_set_epoch, frozenset(body.sync_state_set)
