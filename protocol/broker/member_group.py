"""Who else has this broker's name, and what follows: the slave with the smallest id stands in for a lost master.

Standing in is for those who consume: name servers with `supportActingMaster` show them the slave as the master, and it
takes their offsets and queue locks as every broker does. A master that comes back fetches what they did meanwhile
before it registers and before its slaves copy anything from it. What it must not do: take messages of producers, whom
name servers show no queue that can be written.

Source: `BrokerController.updateMinBroker`, `BrokerPreOnlineService`, `BrokerOuterAPI.syncBrokerMemberGroup` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from rmqd.protocol.dispatch import handles
from rmqd.protocol.remoting import PeerError
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import DataVersion, GetBrokerMemberGroupResponseBody, TopicRouteData
from rmqwire.codes import ResponseCode
from rmqwire.errors import WireError
from rmqwire.requests.ha import (
    ExchangeBrokerHaInfo,
    ExchangeBrokerHaInfoReply,
    GetTimerCheckPoint,
    NotifyMinBrokerIdChange,
)
from rmqwire.requests.offset import GetAllConsumerOffset, GetAllDelayOffset
from rmqwire.requests.register import GetBrokerMemberGroup
from rmqwire.requests.route import GetRouteInfoByTopic

from .names import SYNC_BROKER_MEMBER_PREFIX
from .slave_sync import positions_of, tree_of

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from rmqd.protocol.client import RemotingClient
    from rmqd.protocol.dispatch import Request
    from rmqwire.command import RemotingCommand
    from rmqwire.declare import Header

    from .delay_offsets import DelayOffsets
    from .offsets import ConsumerOffsets
    from .parts import BrokerParts
    from .registration import BrokerAddress
    from .replication import Replication
    from .timer_service import TimerService

_log = Logger()

MASTER_ID = 0
TIMEOUT_MS = 3000
FIRST_LOOK_S = 1.0
PAUSE_S = 1.0
"""Between two attempts of a master to fetch what its slaves have."""
FETCH_S = 20.0
"""A master that comes back waits no longer for its slaves; Java waits for ever, and nobody can send."""
LINK_S = 10.0
"""And no longer for one of them to ask for the log."""
_STEP_S = 0.05


class GroupSettings(msgspec.Struct):
    """The options of a group whose slaves stand in."""

    enabled: bool = False
    """`enableSlaveActingMaster`."""
    fetches: bool = False
    """Whether a master fetches what its slaves have before it registers: `totalReplicas` over 1, no `skipPreOnline`."""
    period_s: float = 1.0
    """`syncBrokerMemberGroupPeriod`."""
    old_name_servers: bool = True
    """`compatibleWithOldNameSrv`: members are asked for as a route."""


class _Later(Exception):
    """Something that may be well a second later."""


class MemberGroup:
    """The brokers of one name, as one of them sees them.

    Args:
        broker: This one.
        settings: Options.
        name_servers: Gives their addresses.
        client: Asks.
        clock: For the period.
        replication: Told of a master that left or came back.
        offsets, delay_offsets, timers: What a master fetches from its slaves.

    Attributes:
        smallest: The smallest id in the group, as known.
        acting: Whether this is a slave that stands in for its master.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        settings: GroupSettings,
        name_servers: Callable[[], list[str]],
        client: RemotingClient,
        clock: IReactorTime,
        replication: Replication,
        offsets: ConsumerOffsets,
        delay_offsets: DelayOffsets,
        timers: TimerService | None,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._name_servers = name_servers
        self._client = client
        self._clock = clock
        self._replication = replication
        self._offsets = offsets
        self._delay_offsets = delay_offsets
        self._timers = timers
        self.smallest = MASTER_ID
        self.acting = False
        self._looking: Deferred[Any] | None = None
        self._first: Any = None
        self._periodic = LoopingCall(self._look)
        self._periodic.clock = clock

    @property
    def _is_master(self) -> bool:
        return self._broker.broker_id == MASTER_ID

    # A slave

    def start(self) -> None:
        """A slave: look regularly who is there."""
        if self._settings.enabled and not self._is_master:
            self._first = self._clock.callLater(FIRST_LOOK_S, self._begin)

    def _begin(self) -> None:
        self._first = None
        self._periodic.start(self._settings.period_s, now=True)

    def stop(self) -> None:
        """Look no more."""
        if self._first is not None:
            self._first.cancel()
            self._first = None
        if self._periodic.running:
            self._periodic.stop()
        if self._looking is not None:
            self._looking.cancel()

    def _look(self) -> None:
        if self._looking is not None:
            return

        def failed(failure: Failure) -> None:
            if self._periodic.running:
                _log.failure("a look at the group failed", failure)

        def ended(_: object) -> None:
            self._looking = None

        self._looking = looking = Deferred.fromCoroutine(self._look_once())
        looking.addErrback(failed)
        looking.addBoth(ended)

    async def _look_once(self) -> None:
        members = await self._members()
        if members:
            smallest = min(members)
            gone = self._replication.master if smallest > self.smallest == MASTER_ID else None
            self.update(smallest, members[smallest], gone, None)

    def update(self, smallest: int, address: str | None, gone: str | None, ha_address: str | None) -> None:
        """Take who has the smallest id now.

        Args:
            smallest: The id.
            address: That broker's.
            gone: The address of one that left.
            ha_address: Where a master that came serves its slaves.
        """
        if self._is_master or not self._settings.enabled or smallest == self.smallest:
            return
        self.smallest = smallest
        self.acting = smallest == self._broker.broker_id
        _log.info(
            "broker {smallest} at {address} has the smallest id of {name} now{acting}",
            smallest=smallest,
            address=address,
            name=self._broker.name,
            acting=": this slave stands in for the master" if self.acting else "",
        )
        if gone is not None and gone == self._replication.master:
            self._replication.master_left()
        if smallest == MASTER_ID and address is not None:
            self._replication.master_came(address, ha_address)

    async def _members(self) -> dict[int, str] | None:
        """Ask who has this broker's name; None when no name server can be asked."""
        for name_server in self._name_servers():
            try:
                answer = await self._ask(name_server)
                return self._read(answer) if answer.code == ResponseCode.SUCCESS and answer.body else {}
            except (PeerError, WireError) as cause:
                _log.debug("name server {address} does not tell the group: {cause}", address=name_server, cause=cause)
        return None

    async def _ask(self, name_server: str) -> RemotingCommand:
        broker = self._broker
        header: Header = (
            GetRouteInfoByTopic(topic=SYNC_BROKER_MEMBER_PREFIX + broker.name)
            if self._settings.old_name_servers
            else GetBrokerMemberGroup(cluster_name=broker.cluster, broker_name=broker.name)
        )
        return await self._client.call(name_server, header, timeout_ms=TIMEOUT_MS)

    def _read(self, answer: RemotingCommand) -> dict[int, str]:
        broker = self._broker
        if not self._settings.old_name_servers:
            group = GetBrokerMemberGroupResponseBody.decode(answer.body).broker_member_group
            return dict(group.broker_addrs) if group is not None else {}
        for data in TopicRouteData.decode(answer.body).broker_datas:
            if data.broker_name == broker.name and data.cluster == broker.cluster:
                return dict(data.broker_addrs)
        return {}

    # A master that comes back

    async def fetch(self) -> None:
        """A master: have what the slaves have, where they stood in. Before it registers; never fails."""
        if not (self._is_master and self._settings.enabled and self._settings.fetches):
            return
        until = self._clock.seconds() + FETCH_S
        done: set[str] = set()
        problem = ""
        while True:
            try:
                await self._fetch_all(done)
            except (_Later, PeerError, WireError) as cause:
                if self._clock.seconds() >= until:
                    _log.warn("registering without what slaves may have: {cause}", cause=cause)
                    return
                if str(cause) != problem:
                    problem = str(cause)
                    _log.info("not registered yet: {cause}", cause=cause)
                await deferLater(self._clock, PAUSE_S, lambda: None)
            else:
                return

    async def _fetch_all(self, done: set[str]) -> None:
        members = await self._members()
        if members is None:
            raise _Later("no name server tells which slaves there are")
        for number, address in sorted(members.items()):
            if number != MASTER_ID and address not in done:
                await self._fetch_from(address)
                done.add(address)

    async def _fetch_from(self, slave: str) -> None:
        replication = self._replication
        await self._call(slave, ExchangeBrokerHaInfo(
            master_ha_address=self._broker.ha_server_address,
            master_flush_offset=replication.flushed_offset,
            master_address=self._broker.address,
        ))  # fmt: skip
        host, until = slave.rpartition(":")[0], self._clock.seconds() + LINK_S
        while not replication.serves(host):
            if self._clock.seconds() >= until:
                _log.warn("slave {slave} does not ask for the log", slave=slave)
                break
            await deferLater(self._clock, _STEP_S, lambda: None)
        offsets = tree_of((await self._call(slave, GetAllConsumerOffset())).body)
        order = _order(self._offsets.data_version, offsets)
        if order <= 0:
            self._take_offsets(offsets, further=order == 0 or _is_next(self._offsets.data_version, offsets))
            _log.info("consumer offsets are those of slave {slave}", slave=slave)
        delays = tree_of((await self._call(slave, GetAllDelayOffset())).body)
        if delays and _order(self._delay_offsets.data_version, delays) <= 0:
            self._delay_offsets.copy_from(delays)
            _log.info("progress of delay levels is that of slave {slave}", slave=slave)
        if self._timers is not None:
            await self._fetch_positions(slave, self._timers)

    async def _fetch_positions(self, slave: str, timers: TimerService) -> None:
        answer = await self._client.call(slave, GetTimerCheckPoint(), timeout_ms=TIMEOUT_MS)
        if answer.code != ResponseCode.SUCCESS:
            _log.info("slave {slave} has no timer: {remark}", slave=slave, remark=answer.remark)
            return
        by, own = positions_of(answer.body), timers.files.current()
        ahead = (by.state_version, by.version_counter) >= (own.state_version, own.version_counter)
        if ahead and timers.delivered_elsewhere(by):
            _log.info("progress of the timer is that of slave {slave}", slave=slave)

    def _take_offsets(self, tree: dict[str, Any], *, further: bool) -> None:
        before = {key: dict(queues) for key, queues in self._offsets.table.items()} if further else {}
        self._offsets.copy_from(tree)
        for key, queues in before.items():
            topic, _, group = key.partition("@")
            for queue_id, offset in queues.items():
                # Of one version the further offset counts: a slave that did not stand in is some seconds behind. So of
                # the next one: its first commit raises the version, and what others committed here it may not know.
                if offset > self._offsets.table[key].get(queue_id, -1):
                    self._offsets.commit(group, topic, queue_id, offset)

    async def _call(self, slave: str, header: Header) -> RemotingCommand:
        answer = await self._client.call(slave, header, timeout_ms=TIMEOUT_MS)
        if answer.code != ResponseCode.SUCCESS:
            raise _Later(f"slave {slave} answers {answer.code} {answer.remark}")
        return answer

    # What others tell

    @handles(NotifyMinBrokerIdChange)
    def notified(self, request: Request, header: NotifyMinBrokerIdChange) -> Result:
        """A name server tells of a change, sooner than the next look would."""
        if header.min_broker_id is not None:
            self.update(header.min_broker_id, header.min_broker_addr, header.offline_broker_addr, header.ha_broker_addr)
        return Reply()

    @handles(ExchangeBrokerHaInfo)
    def exchange(self, request: Request, header: ExchangeBrokerHaInfo) -> Result:
        """A master that is about to register says where it serves slaves; or a slave asks for that."""
        if header.master_ha_address:
            if not self._is_master:
                self._replication.master_serves(header.master_address, header.master_ha_address)
        elif self._is_master:
            return Reply(
                ExchangeBrokerHaInfoReply(
                    master_ha_address=self._broker.ha_server_address,
                    master_flush_offset=self._replication.flushed_offset,
                    master_address=self._broker.address,
                )
            )
        return Reply(ExchangeBrokerHaInfoReply())


def _order(own: DataVersion, tree: dict[str, Any]) -> int:
    """Compare our own version with that of a table: below 0 when ours is older, 0 when they are the same.

    Unlike Java the time does not count: a master that begins anew has a later one, and nothing else.
    """
    version = tree.get("dataVersion")
    if version is None:
        return 0
    other = DataVersion.of_tree(version)
    ours, theirs = (own.state_version, own.counter), (other.state_version, other.counter)
    return (ours > theirs) - (ours < theirs)


def _is_next(own: DataVersion, tree: dict[str, Any]) -> bool:
    """Tell whether a table is one version ahead of our own."""
    other = DataVersion.of_tree(tree["dataVersion"])
    return (other.state_version, other.counter) == (own.state_version, own.counter + 1)


def member_group(parts: BrokerParts) -> MemberGroup:
    """Make the group of a broker from its parts."""
    broker = parts.options.broker
    return MemberGroup(
        parts.registration.broker,
        GroupSettings(
            enabled=broker.enable_slave_acting_master,
            fetches=parts.options.store.total_replicas > 1 and not broker.skip_pre_online,
            period_s=broker.sync_broker_member_group_period / 1000,
            old_name_servers=broker.compatible_with_old_name_srv,
        ),
        lambda: parts.registration.name_servers,
        parts.client,
        parts.reactor,
        parts.replication,
        parts.offsets,
        parts.delay_offsets,
        parts.timers,
    )
