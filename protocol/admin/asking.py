"""What commands ask servers by: addresses, names and routes, over pooled remoting connections.

Every refusal and every server that cannot be reached becomes an `AdminError`. Nothing here prints, and nothing reads a
clock of its own. Must not import Twisted, which would be most of the start of `mqadmin`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rmqd.protocol.addresses import parse_address
from rmqd.protocol.peer_errors import PeerError, RequestTimeout
from rmqwire.bodies.base import Body
from rmqwire.bodies.route import BrokerData, ClusterInfo, TopicRouteData
from rmqwire.bodies.topic import TopicList
from rmqwire.codes import ResponseCode
from rmqwire.errors import RmqError
from rmqwire.requests.route import (
    GetAllTopicListFromNameserver,
    GetBrokerClusterInfo,
    GetRouteInfoByTopic,
)

from .errors import AdminError, BadUsage, NotFound, Refused, Unreachable, unknown_broker, unknown_cluster

if TYPE_CHECKING:
    from rmqwire.command import RemotingCommand
    from rmqwire.declare import Header

B = TypeVar("B", bound=Body)
T = TypeVar("T")
R = TypeVar("R")

TIMEOUT_MS = 5000
"""How long the official tool waits for an answer."""

MASTER_ID = 0
RETRY_PREFIX = "%RETRY%"
DLQ_PREFIX = "%DLQ%"


class Connections(Protocol):
    """What `Admin` needs of connections: `rmqd.protocol.blocking.BlockingClient` has it."""

    def call(
        self, address: str, header: Header, body: bytes = ..., *, timeout_ms: int = ...
    ) -> Awaitable[RemotingCommand]:
        """Send a request and give the answer, or raise a `PeerError`."""

    def together(self, works: Sequence[Callable[[], Coroutine[Any, Any, R]]]) -> Awaitable[list[R]]:
        """Run coroutines side by side and give their results in order."""


class Admin:
    """The servers as a command sees them.

    Args:
        client: Connections.
        name_servers: Addresses; the first that answers is asked.
        wall_clock_ms: The time.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        client: Connections,
        name_servers: tuple[str, ...],
        wall_clock_ms: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._client = client
        self._name_servers = name_servers
        self.now_ms = wall_clock_ms
        self.sleep = sleep

    # Asking

    async def call(
        self,
        address: str,
        header: Header,
        body: bytes = b"",
        *,
        timeout_ms: int = TIMEOUT_MS,
        also: tuple[int, ...] = (),
    ) -> RemotingCommand:
        """Send a request and give the answer.

        Args:
            address: `host:port`.
            header: The declared request.
            body: Its body.
            timeout_ms: For connecting and answering.
            also: Codes other than success that are answers, not refusals.

        Raises:
            BadUsage: `address` is none.
            Unreachable: Nobody answered.
            Refused: Any other code.
        """
        check_address(address)
        try:
            answer = await self._client.call(address, header, body, timeout_ms=timeout_ms)
        except PeerError as cause:
            late = isinstance(cause, RequestTimeout)
            hint = "it may be busy, or too old to know the request" if late else "is a server running there?"
            raise Unreachable(_reason(address, cause), hint) from cause
        if answer.code != ResponseCode.SUCCESS and answer.code not in also:
            raise Refused(address, answer.code, answer.remark)
        return answer

    async def ask(
        self, address: str, header: Header, kind: type[B], body: bytes = b"", *, timeout_ms: int = TIMEOUT_MS
    ) -> B:
        """Send a request and read the body of its answer; an absent one counts as an empty one."""
        return _read(await self.call(address, header, body, timeout_ms=timeout_ms), kind, address)

    async def each(self, work: Callable[[T], Coroutine[Any, Any, R]], items: Sequence[T]) -> list[R | AdminError]:
        """Do the same for each of several, side by side.

        Args:
            work: Asks servers; must not print.
            items: What it gets, one at a time.

        Returns:
            What it gave, or what it failed with, in the order of `items`.
        """

        async def one(item: T) -> R | AdminError:
            try:
                return await work(item)
            except AdminError as cause:
                return cause

        return await self._client.together([partial(one, item) for item in items])

    @property
    def name_servers(self) -> tuple[str, ...]:
        """All name servers.

        Raises:
            BadUsage: None was given.
        """
        if not self._name_servers:
            raise BadUsage("no name server address", "give -n host:port or set NAMESRV_ADDR")
        return self._name_servers

    async def call_name_server(self, header: Header) -> RemotingCommand:
        """Ask the first name server that can be reached."""
        return (await self._call_name_server(header))[1]

    async def _call_name_server(self, header: Header) -> tuple[str, RemotingCommand]:
        failure: Unreachable | None = None
        for address in self.name_servers:
            try:
                return address, await self.call(address, header)
            except Unreachable as cause:
                failure = failure or cause
        assert failure is not None
        raise Unreachable(
            failure.cause, "is a name server running there? Give its address by -n host:port"
        ) from failure

    async def ask_name_server(self, header: Header, kind: type[B]) -> B:
        """The same, and read the body of the answer."""
        address, answer = await self._call_name_server(header)
        return _read(answer, kind, address)

    # Names

    async def topics(self) -> list[str]:
        """Every topic name."""
        return (await self.ask_name_server(GetAllTopicListFromNameserver(), TopicList)).topic_list

    async def route(self, topic: str) -> TopicRouteData:
        """Where a topic is.

        Raises:
            NotFound: No name server knows it.
        """
        try:
            header = GetRouteInfoByTopic(topic=topic, accept_standard_json_only=True)
            return await self.ask_name_server(header, TopicRouteData)
        except Refused as cause:
            if cause.code != ResponseCode.TOPIC_NOT_EXIST:
                raise
            raise no_route(topic) from cause

    async def clusters(self) -> ClusterInfo:
        """Every cluster and broker."""
        return await self.ask_name_server(GetBrokerClusterInfo(), ClusterInfo)

    async def brokers_of(self, cluster: str) -> list[BrokerData]:
        """The brokers of a cluster, by name.

        Raises:
            NotFound: No such cluster.
        """
        info = await self.clusters()
        names = (info.cluster_addr_table or {}).get(cluster)
        if names is None:
            raise unknown_cluster(cluster, sorted(info.cluster_addr_table or {}))
        table = info.broker_addr_table or {}
        return [table[name] for name in sorted(names) if name in table]

    async def masters(self, cluster: str) -> list[str]:
        """The addresses of a cluster's masters."""
        brokers = await self.brokers_of(cluster)
        return [broker.broker_addrs[MASTER_ID] for broker in brokers if MASTER_ID in broker.broker_addrs]

    async def addresses(self, cluster: str) -> list[str]:
        """The addresses of a cluster's masters and slaves."""
        return [
            address for broker in await self.brokers_of(cluster) for _, address in sorted(broker.broker_addrs.items())
        ]

    async def master_named(self, broker_name: str) -> str:
        """The address of a broker's master, or of its first slave without one.

        Raises:
            NotFound: No such broker.
        """
        table = (await self.clusters()).broker_addr_table or {}
        address = address_of(table[broker_name]) if broker_name in table else None
        if address is None:
            raise unknown_broker(broker_name, sorted(table))
        return address

    async def brokers_with(self, topic: str) -> list[tuple[str, str]]:
        """Name and address of each broker that holds a topic."""
        return brokers_in(await self.route(topic))


def no_route(topic: str) -> NotFound:
    """Say that a topic is unknown; of a group's retry topic, that the group is."""
    if topic.startswith(RETRY_PREFIX):
        group = topic[len(RETRY_PREFIX) :]
        return NotFound(f"no consumer group {group!r}, or none that was ever online", "see `mqadmin consumerProgress`")
    return NotFound(f"no topic {topic!r} at the name server", "`mqadmin topicList` lists the topics there are")


def address_of(broker: BrokerData) -> str | None:
    """The address a broker is asked at: its master's, else that of the slave with the smallest id."""
    return broker.broker_addrs[min(broker.broker_addrs)] if broker.broker_addrs else None


def brokers_in(route: TopicRouteData) -> list[tuple[str, str]]:
    """Name and address of each broker of a route."""
    addresses = ((broker.broker_name or "", address_of(broker)) for broker in route.broker_datas)
    return sorted((name, address) for name, address in addresses if address is not None)


def check_address(address: str) -> None:
    """Refuse what is no `host:port`.

    Raises:
        BadUsage: It is none.
    """
    try:
        host, port = parse_address(address, 0)
    except ValueError:
        host, port = "", 0
    if not host or not port:
        raise BadUsage(f"{address!r} is no address", "write host:port, as 127.0.0.1:10911")


def _read(answer: RemotingCommand, kind: type[B], address: str) -> B:
    try:
        return kind.decode(answer.body) if answer.body else kind()
    except RmqError as cause:
        raise Unreachable(f"{address} answered what is no {kind.__name__}", "is it a RocketMQ server?") from cause


def _reason(address: str, cause: PeerError) -> str:
    text = str(cause)
    if "refused" in text:
        return f"cannot connect to {address}, connection refused"
    return text if address in text else f"{address}: {text}"
