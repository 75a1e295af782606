"""What an acting slave delivers, it sends to other masters: it must not write a log that is its master's.

Of the services of a master it runs (`enableRemoteEscape`) the delivery of delay levels: the due messages of its copy of
the log go to any master that has their topic; and `escape_halves` does the same with open transactions. Its progress is
what the master fetches when it comes back. What was sent and not noted when the two change is delivered twice, as by
Java, never lost.

Source: `EscapeBridge.asyncPutMessage`, `ScheduleMessageService.messageTimeUp`, `TopicRouteInfoManager` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from rmqd.protocol.remoting import PeerError
from rmqd.store.reading import GetStatus
from rmqwire.bodies import TopicRouteData
from rmqwire.codes import ResponseCode
from rmqwire.errors import MalformedMessage, WireError
from rmqwire.message import StoredMessage, decode_properties, decode_record, encode_properties
from rmqwire.requests.route import GetRouteInfoByTopic
from rmqwire.requests.send import SendMessageV2

from .delay import DELAY, REAL_TOPIC, SCHEDULE_TOPIC
from .escape_halves import EscapedHalves
from .escape_rounds import EscapeRounds
from .escape_timers import EscapedTimerPuts, EscapedTimers
from .names import PERM_WRITE, TRANS_HALF_TOPIC

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from rmqd.protocol.client import RemotingClient
    from rmqd.store.messagestore import MessageStore

    from .delay import DelayLevels
    from .delay_offsets import DelayOffsets
    from .parts import BrokerParts

_log = Logger()

TIMEOUT_MS = 3000
ROUTE_S = 5.0
"""How long a route is believed."""
PAUSE_MS, RETRY_MS = 100, 1000
_BATCH = 32
_DEFAULT_TOPIC, _DEFAULT_QUEUES = "TBW102", 8
_CLEARED = (DELAY, "TIMER_DELIVER_MS", "TIMER_DELAY_SEC")


class Escape:
    """Sends messages to masters of other names.

    Args:
        own_name: `brokerName`, which nothing is sent to.
        group: Producer group of messages that name none.
        name_servers: Gives their addresses.
        client: Asks and sends.
        clock: For the age of routes.
    """

    def __init__(
        self,
        own_name: str,
        group: str,
        name_servers: Callable[[], list[str]],
        client: RemotingClient,
        clock: IReactorTime,
    ) -> None:
        self._own_name = own_name
        self._group = group
        self._name_servers = name_servers
        self._client = client
        self._clock = clock
        self._routes: dict[str, tuple[float, list[tuple[str, int]]]] = {}
        self._turn = 0

    async def put(
        self, topic: str, message: StoredMessage, properties: dict[str, str], sys_flag: int = 0
    ) -> str | None:
        """Send a message, with flags added, to any queue of a topic; say why it is nowhere, None when it is stored."""
        queues = await self._queues(topic)
        if not queues:
            return f"no other master has topic {topic}"
        self._turn += 1
        address, queue_id = queues[self._turn % len(queues)]
        header = SendMessageV2(
            producer_group=properties.get("PGROUP") or self._group,
            topic=topic,
            default_topic=_DEFAULT_TOPIC,
            default_topic_queue_nums=_DEFAULT_QUEUES,
            queue_id=queue_id,
            sys_flag=message.sys_flag | sys_flag,
            born_timestamp=message.born_timestamp,
            flag=message.flag,
            properties=encode_properties({**properties, "WAIT": "false"}).decode(),
            reconsume_times=message.reconsume_times,
            batch=False,
        )
        try:
            answer = await self._client.call(address, header, message.body, timeout_ms=TIMEOUT_MS)
        except PeerError as cause:
            self._routes.pop(topic, None)
            return f"{address}: {cause}"
        if answer.code == ResponseCode.SUCCESS:
            return None
        self._routes.pop(topic, None)
        return f"{address} answers {answer.code} {answer.remark}"

    async def _queues(self, topic: str) -> list[tuple[str, int]]:
        """The queues of a topic that other masters take messages for, by address and id."""
        kept = self._routes.get(topic)
        if kept is not None and self._clock.seconds() - kept[0] < ROUTE_S:
            return kept[1]
        for name_server in self._name_servers():
            try:
                answer = await self._client.call(name_server, GetRouteInfoByTopic(topic=topic), timeout_ms=TIMEOUT_MS)
                found = answer.code == ResponseCode.SUCCESS
                route = TopicRouteData.decode(answer.body) if found else TopicRouteData()
            except (PeerError, WireError) as cause:
                _log.debug("name server {address} tells no route: {cause}", address=name_server, cause=cause)
                continue
            queues = self._writable(route)
            self._routes[topic] = self._clock.seconds(), queues
            return queues
        return []

    def _writable(self, route: TopicRouteData) -> list[tuple[str, int]]:
        masters = {of.broker_name: of.broker_addrs[0] for of in route.broker_datas if 0 in of.broker_addrs}
        return [
            (masters[of.broker_name], queue_id)
            for of in route.queue_datas
            if of.broker_name in masters and of.broker_name != self._own_name and of.perm & PERM_WRITE
            for queue_id in range(of.write_queue_nums)
        ]


class EscapedDelays(EscapeRounds):
    """Delivers delayed messages of an acting slave.

    Args:
        store: Read.
        levels: The table of levels.
        offsets: Progress by level.
        escape: Takes what is due.
        acting: Whether to deliver now.
        clock: For the rounds.
        wall_clock_ms: What messages are due by.
        run_in_thread: Reads.
    """

    def __init__(
        self,
        store: MessageStore,
        levels: DelayLevels,
        offsets: DelayOffsets,
        escape: Escape,
        acting: Callable[[], bool],
        clock: IReactorTime,
        wall_clock_ms: Callable[[], int],
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        super().__init__(acting, clock, lambda: PAUSE_MS if self._problem is None else RETRY_MS, "delayed messages")
        self._store = store
        self._levels = levels
        self._offsets = offsets
        self._escape = escape
        self._wall_clock_ms = wall_clock_ms
        self._run_in_thread = run_in_thread

    async def _send_all(self) -> str | None:
        problem = None
        for level in self._levels.delays_ms:
            problem = await self._deliver(level) or problem
        return problem

    async def _deliver(self, level: int) -> str | None:
        """Send what is due of one level; say why it could not go on."""
        queue_id = level - 1
        while self._acting():
            offset = max(self._offsets.get(level), self._store.min_offset(SCHEDULE_TOPIC, queue_id))
            if offset >= self._store.max_offset(SCHEDULE_TOPIC, queue_id):
                return None
            read = self._store.get_messages
            found = await self._run_in_thread(read, SCHEDULE_TOPIC, queue_id, offset, _BATCH, allow_cold=True)
            if found.status is not GetStatus.FOUND:
                self._offsets.set(level, max(found.next_begin_offset, found.min_offset))
                return None
            for record in found.records:
                if not self._acting():
                    return None
                try:
                    message = decode_record(record)
                except MalformedMessage as cause:
                    _log.error("a delayed message of level {of}, left out: {cause}", of=level, cause=cause)
                    offset += 1
                    self._offsets.set(level, offset)
                    continue
                now_ms, due_ms = self._wall_clock_ms(), self._levels.deliver_at_ms(level, message.store_timestamp)
                if now_ms < due_ms <= now_ms + self._levels.delays_ms[level]:
                    return None
                problem = await self._send(message)
                if problem is not None:
                    return problem
                offset = message.queue_offset + 1
                self._offsets.set(level, offset)
        return None

    async def _send(self, message: StoredMessage) -> str | None:
        properties = decode_properties(message.properties)
        topic = properties.get(REAL_TOPIC)
        if topic is None or topic == TRANS_HALF_TOPIC:
            _log.error("a delayed message at {offset} names no real topic, left out", offset=message.physical_offset)
            return None
        for name in _CLEARED:
            properties.pop(name, None)
        return await self._escape.put(topic, message, properties)


def escapes(
    parts: BrokerParts,
    levels: DelayLevels,
    wall_clock_ms: Callable[[], int],
    run_in_thread: Callable[..., Deferred[Any]],
) -> list[EscapeRounds]:
    """Make the services of an acting slave; none where the options want none."""
    broker = parts.options.broker
    if not (parts.send_settings.is_slave and broker.enable_slave_acting_master and broker.enable_remote_escape):
        return []
    escape = Escape(
        broker.broker_name,
        f"InnerProducerGroup_{broker.broker_name}_{broker.broker_id}",
        lambda: parts.registration.name_servers,
        parts.client,
        parts.reactor,
    )
    services: list[EscapeRounds] = [
        EscapedDelays(
            parts.store,
            levels,
            parts.delay_offsets,
            escape,
            lambda: parts.members.acting,
            parts.reactor,
            wall_clock_ms,
            run_in_thread,
        ),
        EscapedHalves(
            parts.store,
            parts.topics,
            parts.offsets,
            escape,
            lambda: parts.members.acting,
            lambda: parts.transaction_settings.check_interval_ms,
            parts.reactor,
            run_in_thread,
        ),
    ]
    if parts.timers is not None:
        puts = EscapedTimerPuts(escape, wall_clock_ms)
        services.append(EscapedTimers(parts.timers, puts, lambda: parts.members.acting, parts.reactor))
    return services
