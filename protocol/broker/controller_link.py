"""A broker and the controllers: it asks for a number, registers, gives signs of life, and takes the role they decide.

Once it is registered the leader's word is taken as it comes, by answers and by notices: a newer master epoch changes
the role, the same one the set of replicas in sync or the address of the master.
What it must not do: change the role for an epoch that is not newer, or two roles at once; end for any answer, since
controllers may be away for long: a master stays one meanwhile.

Source: `ReplicasManager` (5.5.0).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from rmqd.protocol.clocks import wall_clock_ms
from rmqd.protocol.dispatch import handles
from rmqd.protocol.peer_errors import PeerError
from rmqd.protocol.replies import Reply, Result
from rmqd.store.errors import StoreError
from rmqwire.bodies import SyncStateSet
from rmqwire.codes import ResponseCode
from rmqwire.errors import WireError
from rmqwire.requests.ha import NotifyBrokerRoleChanged
from rmqwire.requests.register import BrokerHeartbeat

from .controllers import ControllerRefused, Controllers
from .group_requests import GroupRequests, Told
from .role_switch import RoleSwitch

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.protocol.dispatch import Request

    from .auto_switch import AutoSwitch
    from .leading import Leading
    from .parts import BrokerParts
    from .registration import BrokerAddress

_log = Logger()

JOIN_PAUSE_S = 1.0
"""Between two attempts to join. Java: up to 5 s."""
START_WAIT_S = 5.0
"""A broker that starts waits no longer for its first role; the attempts go on."""


class LinkSettings(msgspec.Struct):
    """The options of a broker that controllers are told of."""

    heartbeat_s: float = 1.0
    """`brokerHeartbeatInterval`."""
    heartbeat_timeout_ms: int = 10_000
    """`controllerHeartBeatTimeoutMills`."""
    election_priority: int = 2**31 - 1
    """`brokerElectionPriority`."""
    look_s: float = 5.0
    """`syncBrokerMetadataPeriod`."""
    leader_s: float = 10.0
    """`syncControllerMetadataPeriod`."""
    check_s: float = 5.0
    """`checkSyncStateSetPeriod`."""


class RoleNotices:
    """Takes notices of controllers.

    Attributes:
        taker: Who follows them; None where no controller decides, and they mean nothing.
    """

    def __init__(self) -> None:
        self.taker: Callable[[Told], None] | None = None

    @handles(NotifyBrokerRoleChanged)
    def notified(self, request: Request, header: NotifyBrokerRoleChanged) -> Result:
        """A controller says who is master now."""
        body = SyncStateSet.decode(request.body) if request.body else SyncStateSet()
        if self.taker is not None:
            self.taker(
                Told(
                    header.master_broker_id,
                    header.master_address,
                    header.master_epoch or 0,
                    header.sync_state_set_epoch or body.sync_state_set_epoch,
                    frozenset(body.sync_state_set),
                )
            )
        return Reply()


class ControllerLink:
    """The link of one broker.

    Args:
        broker: How it is registered at name servers.
        settings: Options.
        controllers: Whom to ask.
        requests: Asks them.
        auto: Replication, which is told of the set and wishes for another one.
        switch: Changes the role.
        log_end: Gives where the log ends.
        clock: For pauses and periods.

    Attributes:
        epoch: The master epoch that was taken last.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        settings: LinkSettings,
        controllers: Controllers,
        requests: GroupRequests,
        auto: AutoSwitch,
        switch: RoleSwitch,
        log_end: Callable[[], int],
        clock: IReactorTime,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._controllers = controllers
        self._requests = requests
        self._auto = auto
        self._switch = switch
        self._log_end = log_end
        self._clock = clock
        self.epoch = 0
        self._followed: str | None = None  # the address of the master; None when that is this broker
        self._jobs: dict[str, Deferred[None]] = {}
        self._loops: list[LoopingCall] = []
        self._started: Deferred[None] = Deferred()
        self._problem = ""
        self._wish: frozenset[int] | None = None
        self._stopped = False
        auto.on_sync_state_set.append(self._wished)

    def start(self) -> Deferred[None]:
        """Join.

        Returns:
            Fires when the broker has a role, or after `START_WAIT_S`; never fails.
        """
        self._run("join", self._join)
        self._started.addTimeout(START_WAIT_S, self._clock)
        self._started.addErrback(lambda _: None)
        return self._started

    async def stop(self) -> None:
        """Take no roles any more; a change that is under way is waited for."""
        self._stopped = True
        for loop in self._loops:
            loop.stop()
        self._loops.clear()
        await self._switch.lock.acquire()
        for job in list(self._jobs.values()):
            job.cancel()
        self._switch.stop()

    # Joining

    async def _join(self) -> None:
        registered = False
        while not self._stopped:
            try:
                if self._requests.broker_id is None:
                    await self._requests.take_number()
                told = await (self._told() if registered else self._requests.register())
                if not registered:
                    registered = True
                    self._every(self._settings.heartbeat_s, self._beat, now=True)
                await self._take(told if told.master_id else await self._requests.elect())
            except CancelledError:
                raise
            except Exception as cause:  # noqa: BLE001  without a role it is of no use: whatever it was may pass
                if not isinstance(cause, (PeerError, WireError, StoreError)) and str(cause) not in self._problem:
                    _log.failure("joining")
                self._say(f"no role yet: {cause}")
                await deferLater(self._clock, JOIN_PAUSE_S, lambda: None)
            else:
                break
        self._say("")
        if not self._started.called:
            self._started.callback(None)
        self._every(self._settings.look_s, lambda: self._run("look", self._look))
        self._every(self._settings.leader_s, lambda: self._run("leader", self._find_leader))
        self._every(self._settings.check_s, self._auto.check_sync_state_set)

    # What controllers say

    async def _look(self) -> None:
        try:
            told = await self._told()
            await self._take(told if told.master_id else await self._requests.elect())
        except (PeerError, WireError, StoreError) as cause:
            self._say(f"the controllers do not tell the master: {cause}")
        else:
            self._say("")

    async def _told(self) -> Told:
        try:
            return await self._requests.look()
        except ControllerRefused as refused:
            if refused.code != ResponseCode.CONTROLLER_BROKER_METADATA_NOT_EXIST:
                raise
            return await self._requests.register()

    async def _take(self, told: Told) -> None:
        """Do as told, unless something newer was done.

        Raises:
            PeerError: There is no master.
            StoreError: The role cannot be changed; the next look tries again.
        """
        await self._switch.lock.acquire()
        try:
            broker_id = self._requests.broker_id
            if self._stopped or broker_id is None:
                return
            if not told.master_id or not told.master_address:
                raise PeerError(f"no broker of {self._broker.name} is elected")
            if told.epoch > self.epoch:
                await self._change(broker_id, told.master_address, told)
            elif told.epoch == self.epoch and told.master_id == broker_id:
                self._auto.set_sync_state_set(told.set_epoch, told.members)
            elif told.epoch == self.epoch and self._followed not in (None, told.master_address):
                await self._change(broker_id, told.master_address, told)  # it came back at once, in another place
        finally:
            self._switch.lock.release()

    async def _change(self, broker_id: int, master_address: str, told: Told) -> None:
        before, self.epoch = self.epoch, told.epoch
        try:
            if told.master_id == broker_id:
                await self._switch.become_master(broker_id, told.epoch, told.set_epoch, told.members)
                self._followed = None
            else:
                await self._switch.become_slave(broker_id, master_address, told.epoch)
                self._followed = master_address
        except BaseException:
            self.epoch = before
            raise

    def notified(self, told: Told) -> None:
        """Take what a controller says by itself."""
        self._run(f"notice of epoch {told.epoch}", lambda: self._take_notice(told))

    async def _take_notice(self, told: Told) -> None:
        try:
            await self._take(told)
        except (PeerError, StoreError) as cause:
            _log.warn("a controller's notice is not followed: {cause}", cause=cause)

    # The set of replicas in sync

    def _wished(self, members: frozenset[int]) -> None:
        self._wish = members
        self._run("set", self._alter)

    async def _alter(self) -> None:
        while self._wish is not None:
            members, self._wish = self._wish, None
            epoch = self.epoch
            try:
                set_epoch, taken = await self._requests.alter(epoch, self._auto.sync_state_set_epoch, members)
                if epoch == self.epoch:
                    self._auto.set_sync_state_set(set_epoch, taken)
            except (PeerError, WireError) as cause:
                # Whatever it was, what the controller has now decides: a newer set, or another master.
                _log.info("the set {members} is not taken: {cause}", members=sorted(members), cause=cause)
                if isinstance(cause, ControllerRefused) and cause.decided:
                    self._auto.sync_state_set_refused()
                await self._look()

    # By the clock

    def _beat(self) -> None:
        broker, settings = self._broker, self._settings
        self._controllers.tell_all(
            BrokerHeartbeat(
                cluster_name=broker.cluster,
                broker_addr=broker.address,
                broker_name=broker.name,
                broker_id=self._requests.broker_id,
                epoch=self._auto.last_epoch,
                max_offset=self._log_end(),
                confirm_offset=self._auto.confirm_offset,
                heartbeat_timeout_mills=settings.heartbeat_timeout_ms,
                election_priority=settings.election_priority,
            )
        )

    async def _find_leader(self) -> None:
        try:
            await self._controllers.find()
        except (PeerError, WireError) as cause:
            self._say(f"no controller leads: {cause}")

    def _every(self, period_s: float, job: Callable[[], object], *, now: bool = False) -> None:
        def guarded() -> None:
            try:
                job()
            except Exception:  # noqa: BLE001  the next one may do better
                _log.failure("the link to the controllers")

        if self._stopped:
            return
        loop = LoopingCall(guarded)
        loop.clock = self._clock
        self._loops.append(loop)
        loop.start(period_s, now=now)

    def _run(self, name: str, job: Callable[[], Coroutine[Deferred[Any], Any, None]]) -> None:
        """Run a job, unless one of this name is under way."""
        if name in self._jobs or self._stopped:
            return

        def ended(result: Any) -> None:
            del self._jobs[name]
            if result is not None and not isinstance(result.value, CancelledError):
                _log.failure("the link to the controllers: {name}", result, name=name)

        self._jobs[name] = done = Deferred.fromCoroutine(job())
        done.addBoth(ended)

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            if problem:
                _log.warn("{problem}", problem=problem)
            else:
                _log.info("the controllers can be asked")


def controller_link(
    parts: BrokerParts, leading: Leading, run_in_thread: Callable[..., Deferred[Any]]
) -> ControllerLink:
    """Make the link of a broker in controller mode from its parts.

    Raises:
        StoreError: What is written down of its number cannot be read, or is that of another broker.
    """
    broker, store, auto = parts.options.broker, parts.options.store, parts.replication.auto_switch
    assert auto is not None, "no controller mode"
    controllers = Controllers(
        lambda: broker.controller_addr,
        lambda: broker.fetch_controller_addr_by_dns_lookup,
        parts.client,
        run_in_thread,
    )
    requests = GroupRequests(
        parts.registration.broker,
        controllers,
        store.store_path_broker_identity or os.path.join(store.store_path_root_dir, "brokerIdentity"),
        wall_clock_ms,
        run_in_thread,
    )
    requests.load()
    link = ControllerLink(
        parts.registration.broker,
        LinkSettings(
            heartbeat_s=broker.broker_heartbeat_interval / 1000,
            heartbeat_timeout_ms=broker.controller_heart_beat_timeout_mills,
            election_priority=broker.broker_election_priority,
            look_s=broker.sync_broker_metadata_period / 1000,
            leader_s=broker.sync_controller_metadata_period / 1000,
            check_s=broker.check_sync_state_set_period / 1000,
        ),
        controllers,
        requests,
        auto,
        RoleSwitch(parts, auto, leading),
        lambda: parts.store.max_physical_offset,
        parts.reactor,
    )
    parts.role_notices.taker = link.notified
    return link
