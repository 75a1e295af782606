"""Messages that go to other masters, and that are read there: an acting slave must not write its master's log.

What it must not do: choose what goes, or give up; whoever sends is told why a message is nowhere, and tries again. What
was sent and not noted when master and slave change is delivered twice, as by Java, never lost.

Source: `EscapeBridge`, `TopicRouteInfoManager` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from twisted.logger import Logger

from rmqd.protocol.remoting import PeerError
from rmqwire.bodies import TopicRouteData
from rmqwire.codes import ResponseCode
from rmqwire.errors import WireError
from rmqwire.hashing import java_string_hash
from rmqwire.message import StoredMessage, decode_record, encode_properties
from rmqwire.requests.pull import PullMessage
from rmqwire.requests.route import GetRouteInfoByTopic
from rmqwire.requests.send import SendMessageV2

from .delay import DELAY
from .names import PERM_WRITE

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.protocol.client import RemotingClient


_log = Logger()

TIMEOUT_MS = 3000
ROUTE_S = 5.0
"""How long a route is believed."""
PAUSE_MS, RETRY_MS = 100, 1000
_BATCH = 32
_GONE = (ResponseCode.PULL_NOT_FOUND, ResponseCode.PULL_RETRY_IMMEDIATELY, ResponseCode.PULL_OFFSET_MOVED)
_SYSFLAG_SUBSCRIPTION = 4
_DEFAULT_TOPIC, _DEFAULT_QUEUES = "TBW102", 8
_CLEARED = (DELAY, "TIMER_DELIVER_MS", "TIMER_DELAY_SEC")


class Escaping(Protocol):
    """What of a message goes along as it is."""

    @property
    def body(self) -> bytes: ...
    @property
    def flag(self) -> int: ...
    @property
    def sys_flag(self) -> int: ...
    @property
    def born_timestamp(self) -> int: ...
    @property
    def reconsume_times(self) -> int: ...


class Escape:
    """Sends messages to masters of other names.

    Args:
        own_name: `brokerName`, which nothing is sent to.
        broker_id: Makes the groups for messages that name none, and for reading.
        name_servers: Gives their addresses.
        client: Asks and sends.
        clock: For the age of routes.
    """

    def __init__(
        self,
        own_name: str,
        broker_id: int,
        name_servers: Callable[[], list[str]],
        client: RemotingClient,
        clock: IReactorTime,
    ) -> None:
        self._own_name = own_name
        self._key = java_string_hash(own_name)
        self._group = f"InnerProducerGroup_{own_name}_{broker_id}"
        self._reader = f"InnerConsumerGroup_{own_name}_{broker_id}"
        self._name_servers = name_servers
        self._client = client
        self._clock = clock
        self._routes: dict[str, tuple[float, TopicRouteData]] = {}
        self._turn = 0

    async def put(
        self,
        topic: str,
        message: Escaping,
        properties: dict[str, str],
        sys_flag: int = 0,
        *,
        key: int | None = None,
        like: str | None = None,
    ) -> str | None:
        """Send a message to another master.

        Args:
            topic: Of any queue there.
            message: Its body and numbers.
            properties: It gets.
            sys_flag: Flags to add.
            key: What has the same key goes to the same queue, as long as the masters are the same.
            like: Another topic, for one that a master makes when a message comes: masters of that one will do.

        Returns:
            Why it is nowhere; None when it is stored.
        """
        queues = await self._queues(topic)
        if not queues and like is not None:
            queues = [(address, 0) for address, _ in await self._queues(like)]
        if not queues:
            return f"no other master has topic {topic}"
        self._turn += 1
        address, queue_id = queues[(self._turn if key is None else self._key + key) % len(queues)]
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

    async def read(self, broker_name: str, topic: str, queue_id: int, offset: int) -> StoredMessage | None:
        """Read a message of another broker, or of whoever stands in for it; None when it is there no more.

        Raises:
            PeerError, WireError: It cannot be asked now.
        """
        route = await self._route(topic)
        [address, *_] = [*(of.broker_addrs.get(0) for of in route.broker_datas if of.broker_name == broker_name), None]
        if address is None:
            raise PeerError(f"no name server tells where {broker_name} is")
        header = PullMessage(
            consumer_group=self._reader,
            topic=topic,
            queue_id=queue_id,
            queue_offset=offset,
            max_msg_nums=1,
            sys_flag=_SYSFLAG_SUBSCRIPTION,
            commit_offset=0,
            suspend_timeout_millis=0,
            sub_version=0,
            subscription="*",
            expression_type="TAG",
        )
        answer = await self._client.call(address, header, timeout_ms=TIMEOUT_MS)
        if answer.code == ResponseCode.SUCCESS:
            return decode_record(answer.body)
        if answer.code in _GONE:
            return None
        raise PeerError(f"{address} answers {answer.code} {answer.remark}")

    async def _queues(self, topic: str) -> list[tuple[str, int]]:
        """The queues of a topic that other masters take messages for, by address and id."""
        return self._writable(await self._route(topic))

    async def _route(self, topic: str) -> TopicRouteData:
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
            self._routes[topic] = self._clock.seconds(), route
            return route
        return TopicRouteData()

    def _writable(self, route: TopicRouteData) -> list[tuple[str, int]]:
        masters = {of.broker_name: of.broker_addrs[0] for of in route.broker_datas if 0 in of.broker_addrs}
        return [
            (masters[of.broker_name], queue_id)
            for of in sorted(route.queue_datas, key=lambda of: of.broker_name or "")
            if of.broker_name in masters and of.broker_name != self._own_name and of.perm & PERM_WRITE
            for queue_id in range(of.write_queue_nums)
        ]
