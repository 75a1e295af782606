"""A controller in memory with the rules of the official one: numbers, elections, sets of replicas in sync.

Source: `ReplicasInfoManager`, `DefaultElectPolicy`, `ControllerManager` (5.5.0).
"""

from __future__ import annotations

from protocol.network import Network

from rmqd.protocol.dispatch import Dispatcher, Request, handles
from rmqd.protocol.replies import Reply
from rmqwire.bodies import ElectMasterResponseBody, SyncStateSet
from rmqwire.codes import ResponseCode
from rmqwire.declare import Role
from rmqwire.requests.controller import (
    ControllerAlterSyncStateSet,
    ControllerAlterSyncStateSetReply,
    ControllerApplyBrokerId,
    ControllerApplyBrokerIdReply,
    ControllerElectMaster,
    ControllerElectMasterReply,
    ControllerGetMetadataInfo,
    ControllerGetMetadataInfoReply,
    ControllerGetNextBrokerId,
    ControllerGetNextBrokerIdReply,
    ControllerGetReplicaInfo,
    ControllerGetReplicaInfoReply,
    ControllerRegisterBroker,
    ControllerRegisterBrokerReply,
)
from rmqwire.requests.ha import NotifyBrokerRoleChanged
from rmqwire.requests.register import BrokerHeartbeat


class FakeController:
    """One group of brokers at one controller.

    Attributes:
        leader: Whom it says leads; itself at first, "" for nobody.
        ids: Number to (address, check code) of the brokers that have one.
        alive: Numbers of those that are alive: whoever sends heartbeats, until `died`.
        beats: Heartbeats, in order.
        lost_answers: Kinds of requests whose next answer is lost after the request was carried out.
        unsure: Kinds of requests that are answered with an internal error, and carried out some time later.
        asked: The requests so far, by name.
    """

    def __init__(self, network: Network, address: str) -> None:
        self.address = self.leader = address
        self.network = network
        self.ids: dict[int, tuple[str, str]] = {}
        self.alive: set[int] = set()
        self.beats: list[BrokerHeartbeat] = []
        self.lost_answers: set[type] = set()
        self.unsure: set[type] = set()
        self.asked: list[str] = []
        self.master: int | None = None
        self.epoch = 0
        self.members: frozenset[int] = frozenset()
        self.set_epoch = 0
        self.dispatcher = Dispatcher(Role.CONTROLLER, [self])
        network.servers[address] = self.dispatcher

    def _answer(self, header: object, reply: Reply) -> Reply:
        kind = type(header)
        self.asked.append(kind.__name__.removeprefix("Controller"))
        if self.leader != self.address and kind is not ControllerGetMetadataInfo:
            return Reply(code=ResponseCode.CONTROLLER_NOT_LEADER, remark="not leader")
        if kind in self.lost_answers:
            self.lost_answers.discard(kind)
            for pipe in self.network.pipes[self.address]:
                pipe.cut()
        return reply

    def _set_body(self) -> bytes:
        return SyncStateSet(sync_state_set=sorted(self.members), sync_state_set_epoch=self.set_epoch).encode()

    @handles(ControllerGetMetadataInfo)
    def metadata(self, request: Request, header: ControllerGetMetadataInfo) -> Reply:
        told = ControllerGetMetadataInfoReply(group="g", controller_leader_address=self.leader)
        return self._answer(header, Reply(told))

    @handles(ControllerGetNextBrokerId)
    def next_id(self, request: Request, header: ControllerGetNextBrokerId) -> Reply:
        number = max(self.ids, default=0) + 1
        return self._answer(header, Reply(ControllerGetNextBrokerIdReply(next_broker_id=number)))

    @handles(ControllerApplyBrokerId)
    def apply(self, request: Request, header: ControllerApplyBrokerId) -> Reply:
        number, code = header.applied_broker_id or 0, header.register_check_code or ""
        if number in self.ids and self.ids[number][1] != code:
            return self._answer(header, Reply(code=ResponseCode.CONTROLLER_BROKER_ID_INVALID, remark="taken"))
        self.ids[number] = (code.split(";")[0], code)
        return self._answer(header, Reply(ControllerApplyBrokerIdReply()))

    @handles(ControllerRegisterBroker)
    def register(self, request: Request, header: ControllerRegisterBroker) -> Reply:
        number = header.broker_id or 0
        if number not in self.ids:
            code = ResponseCode.CONTROLLER_BROKER_NEED_TO_BE_REGISTERED
            return self._answer(header, Reply(code=code, remark="not registered"))
        self.ids[number] = (header.broker_address or "", self.ids[number][1])
        reply = ControllerRegisterBrokerReply()
        if self.master in self.alive:
            reply = ControllerRegisterBrokerReply(
                master_broker_id=self.master,
                master_address=self.ids[self.master][0],
                master_epoch=self.epoch,
                sync_state_set_epoch=self.set_epoch,
            )
        return self._answer(header, Reply(reply, body=self._set_body()))

    @handles(BrokerHeartbeat)
    def beat(self, request: Request, header: BrokerHeartbeat) -> Reply:
        assert header.broker_id is not None
        self.beats.append(header)
        self.alive.add(header.broker_id)
        return Reply()

    @handles(ControllerElectMaster)
    def elect(self, request: Request, header: ControllerElectMaster) -> Reply:
        elected = self._elected(header.broker_id)
        code = ResponseCode.SUCCESS
        if elected is None:
            return self._answer(header, Reply(code=ResponseCode.CONTROLLER_ELECT_MASTER_FAILED, remark="nobody"))
        if elected == self.master:
            code = ResponseCode.CONTROLLER_MASTER_STILL_EXIST
        else:
            self.make_master(elected)
        reply = ControllerElectMasterReply(
            master_broker_id=elected,
            master_address=self.ids[elected][0],
            master_epoch=self.epoch,
            sync_state_set_epoch=self.set_epoch,
        )
        body = ElectMasterResponseBody(sync_state_set=sorted(self.members)).encode()
        return self._answer(header, Reply(reply, body=body, code=code))

    def _elected(self, asks: int) -> int | None:
        if not self.epoch:
            return asks
        if self.master in self.alive:
            return self.master
        return min(self.members & self.alive, default=None)

    @handles(ControllerGetReplicaInfo)
    def look(self, request: Request, header: ControllerGetReplicaInfo) -> Reply:
        address = self.ids[self.master][0] if self.master is not None else None
        reply = ControllerGetReplicaInfoReply(
            master_broker_id=self.master, master_address=address, master_epoch=self.epoch
        )
        return self._answer(header, Reply(reply, body=self._set_body()))

    @handles(ControllerAlterSyncStateSet)
    def alter(self, request: Request, header: ControllerAlterSyncStateSet) -> Reply:
        body = SyncStateSet.decode(request.body)
        if type(header) in self.unsure:
            reply = Reply(code=ResponseCode.CONTROLLER_JRAFT_INTERNAL_ERROR, remark="Apply task failed")
            return self._answer(header, reply)
        if header.master_broker_id != self.master or header.master_epoch != self.epoch:
            return self._answer(header, Reply(code=ResponseCode.CONTROLLER_FENCED_MASTER_EPOCH, remark="old master"))
        if body.sync_state_set_epoch != self.set_epoch:
            return self._answer(
                header, Reply(code=ResponseCode.CONTROLLER_FENCED_SYNC_STATE_SET_EPOCH, remark="old set")
            )
        self.members, self.set_epoch = frozenset(body.sync_state_set), self.set_epoch + 1
        reply = ControllerAlterSyncStateSetReply(new_sync_state_set_epoch=self.set_epoch)
        return self._answer(header, Reply(reply, body=self._set_body()))

    def make_master(self, number: int) -> None:
        """Elect a broker."""
        self.master, self.epoch = number, self.epoch + 1
        self.members, self.set_epoch = frozenset((number,)), self.set_epoch + 1

    def died(self, number: int) -> None:
        """A broker is gone; elect another one of those in sync, or nobody."""
        self.alive.discard(number)
        if number == self.master:
            elected = min(self.members & self.alive, default=None)
            if elected is not None:
                self.make_master(elected)
            else:
                self.master, self.epoch = None, self.epoch + 1

    def notice(self) -> tuple[NotifyBrokerRoleChanged, bytes]:
        """What it tells brokers after an election."""
        assert self.master is not None
        header = NotifyBrokerRoleChanged(
            master_broker_id=self.master,
            master_address=self.ids[self.master][0],
            master_epoch=self.epoch,
            sync_state_set_epoch=self.set_epoch,
        )
        return header, self._set_body()
