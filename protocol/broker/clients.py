"""Who is connected: consumer groups and producer groups, as heartbeats tell them.

Registration is by connection, as in the official broker: one client per connection and group. Changes of a clustering
group are announced to all its members (40) after the answers of the same socket read have left, and announcements to
one group are coalesced, so that thousands of clients that start together do not cost the square of their number.
Must not store anything: clients tell everything again every 30 s.

Source: `ConsumerManager`, `ConsumerGroupInfo`, `ProducerManager`, `DefaultConsumerIdsChangeListener` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from rmqwire.command import encode_command, new_request
from rmqwire.declare import declaration_of
from rmqwire.requests import NotifyConsumerIdsChanged

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from rmqd.protocol.remoting import RemotingConnection
    from rmqwire.bodies import SubscriptionData

_log = Logger()

CLIENT_EXPIRY_MS = 120_000
"""A client without a heartbeat for so long is forgotten and its connection closed; for consumers this is the default
of `channelExpiredTimeout`, for producers it is fixed."""

SCAN_INTERVAL_S = 10.0

_ROUND_PER_MEMBER_S = 0.0005
"""Least time between two announcements to a group, per member: small groups hear at once, thousands once a second."""
_ROUND_MAX_S = 1.0
_SLOW_ROUND_S = 15.0
"""Between two rounds of announcements where `realTimeNotifyConsumerChange` is off."""


class Client:
    """One client of one group."""

    __slots__ = ("client_id", "connection", "language", "seen_at_ms", "seen_at_s", "version")

    def __init__(
        self, connection: RemotingConnection, client_id: str, language: str | None, version: int, seen_at_ms: int = 0
    ) -> None:
        self.connection = connection
        self.client_id = client_id
        self.language = language or "OTHER"
        self.version = version
        self.seen_at_s = 0.0
        """Of the reactor's clock: for expiry."""
        self.seen_at_ms = seen_at_ms
        """Wall clock: shown to administrators."""

    def __repr__(self) -> str:
        return f"<Client {self.client_id} {self.connection.peer} {self.language} {self.version}>"


class ConsumerGroup:
    """The consumers of one group, and what the newest heartbeat said of the group.

    Attributes:
        subscriptions: By topic.
        connections: The clients by their connection.
        list_body: The encoded answer to 38, None when the members have changed since it was made.
    """

    __slots__ = (
        "_ids",
        "connections",
        "consume_from_where",
        "consume_type",
        "list_body",
        "message_model",
        "name",
        "subscriptions",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.consume_type: str | None = None
        self.message_model: str | None = None
        self.consume_from_where: str | None = None
        self.subscriptions: dict[str, SubscriptionData] = {}
        self.connections: dict[RemotingConnection, Client] = {}
        self._ids: list[str] | None = None
        self.list_body: bytes | None = None

    @property
    def broadcasting(self) -> bool:
        return self.message_model == "BROADCASTING"

    def client_ids(self) -> list[str]:
        """Give each client id once, although a client that connected anew may be there twice for a while."""
        if self._ids is None:
            self._ids = list(dict.fromkeys(client.client_id for client in self.connections.values()))
        return self._ids

    def find(self, client_id: str) -> Client | None:
        """Give the newest connection of a client id."""
        for client in reversed(self.connections.values()):
            if client.client_id == client_id:
                return client
        return None

    def members_changed(self) -> None:
        self._ids = self.list_body = None

    def take_subscriptions(self, given: Iterable[SubscriptionData]) -> bool:
        """Take over what a heartbeat subscribes to; say whether topics came or went.

        A newer version of a known topic replaces the old one quietly, as in Java: it does not move queues.
        """
        changed = False
        topics: set[str] = set()
        for subscription in given:
            topic = subscription.topic or ""
            topics.add(topic)
            known = self.subscriptions.get(topic)
            if known is None:
                self.subscriptions[topic] = subscription
                changed = True
            elif subscription.sub_version > known.sub_version:
                self.subscriptions[topic] = subscription
        if len(topics) != len(self.subscriptions):
            for topic in self.subscriptions.keys() - topics:
                del self.subscriptions[topic]
                changed = True
        return changed


class _Links:
    """Which groups each connection is in, so that its loss costs only those."""

    def __init__(self) -> None:
        self._groups: dict[RemotingConnection, set[str]] = {}

    def add(self, connection: RemotingConnection, group: str) -> bool:
        """Note the pair; say whether the connection is new here."""
        groups = self._groups.get(connection)
        if groups is None:
            self._groups[connection] = {group}
            return True
        groups.add(group)
        return False

    def remove(self, connection: RemotingConnection, group: str) -> None:
        groups = self._groups.get(connection)
        if groups is not None:
            groups.discard(group)  # the empty set stays: `on_lost` was registered once

    def joined(self, connection: RemotingConnection) -> bool:
        """Whether a connection is in any group."""
        return bool(self._groups.get(connection))

    def pop(self, connection: RemotingConnection) -> set[str]:
        return self._groups.pop(connection, set())


class ConsumerRegistry:
    """All consumer groups.

    Args:
        clock: For expiry and for coalescing announcements.
        notify_enabled: `notifyConsumerIdsChangedEnable` of the broker.
        expiry_ms: `channelExpiredTimeout`.
        real_time: `realTimeNotifyConsumerChange`; else changes are announced every 15 s.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        notify_enabled: bool = True,
        expiry_ms: int = CLIENT_EXPIRY_MS,
        real_time: bool = True,
    ) -> None:
        self._clock = clock
        self.notify_enabled = notify_enabled
        self.real_time = real_time
        self._expiry_s = expiry_ms / 1000
        self.groups: dict[str, ConsumerGroup] = {}
        self.on_group_gone: list[Callable[[str], object]] = []
        """Called with the name of a group whose last member has left."""
        self._links = _Links()
        self._announced_at: dict[str, float] = {}
        """By group: the last announcement, or when the next one is due."""
        self._announcing: set[str] = set()

    def group(self, name: str) -> ConsumerGroup | None:
        """Give a group that has members."""
        return self.groups.get(name)

    def subscription(self, group: str, topic: str) -> SubscriptionData | None:
        """Give what a group that is online subscribes to of a topic."""
        found = self.groups.get(group)
        return found.subscriptions.get(topic) if found is not None else None

    def groups_of_topic(self, topic: str) -> set[str]:
        """Give the groups that are online and subscribe to a topic."""
        return {name for name, group in self.groups.items() if topic in group.subscriptions}

    def register(
        self,
        name: str,
        client: Client,
        *,
        consume_type: str | None,
        message_model: str | None,
        consume_from_where: str | None,
        subscriptions: Iterable[SubscriptionData] | None,
        notify: bool = True,
    ) -> bool:
        """Take what one heartbeat says about one group.

        Args:
            name: The group.
            client: Who sent it.
            consume_type: `CONSUME_ACTIVELY`, `CONSUME_PASSIVELY` or `CONSUME_POP`.
            message_model: `CLUSTERING` or `BROADCASTING`.
            consume_from_where: Where new groups begin.
            subscriptions: None leaves them as they are (`withoutSub`).
            notify: Whether the group wants to hear of changes.

        Returns:
            Whether the members or the subscribed topics changed.
        """
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = ConsumerGroup(name)
        group.consume_type = consume_type
        group.message_model = message_model
        group.consume_from_where = consume_from_where
        changed = self._join(group, client)
        if subscriptions is not None and group.take_subscriptions(subscriptions):
            changed = True
        if changed and notify:
            self._announce(group)
        return changed

    def _join(self, group: ConsumerGroup, client: Client) -> bool:
        connection = client.connection
        client.seen_at_s = self._clock.seconds()
        known = group.connections.get(connection)
        if known is not None:
            known.seen_at_s, known.seen_at_ms = client.seen_at_s, client.seen_at_ms
            if known.client_id != client.client_id:
                # As Java: another id on the same connection replaces the old one without an announcement.
                group.connections[connection] = client
                group.members_changed()
            return False
        group.connections[connection] = client
        group.members_changed()
        if self._links.add(connection, group.name):
            connection.on_lost.append(self._lost)
        _log.info("new consumer connected, group: {group} {client}", group=group.name, client=client)
        return True

    def unregister(self, name: str, connection: RemotingConnection, *, notify: bool = True) -> None:
        """Take a client out of a group."""
        self._links.remove(connection, name)
        group = self.groups.get(name)
        if group is not None:
            self._leave(group, connection, notify=notify)

    def _leave(self, group: ConsumerGroup, connection: RemotingConnection, *, notify: bool = True) -> None:
        client = group.connections.pop(connection, None)
        if client is None:
            return
        group.members_changed()
        _log.info("consumer left, group: {group} {client}", group=group.name, client=client)
        if not group.connections:
            del self.groups[group.name]
            self._announced_at.pop(group.name, None)
            for told in self.on_group_gone:
                told(group.name)
        elif notify:
            self._announce(group)

    def _lost(self, connection: RemotingConnection) -> None:
        for name in self._links.pop(connection):
            group = self.groups.get(name)
            if group is not None:
                self._leave(group, connection)

    def scan(self) -> None:
        """Forget clients that stopped sending heartbeats, and close their connections. Call every 10 s."""
        oldest = self._clock.seconds() - self._expiry_s
        for group in list(self.groups.values()):
            expired = [client for client in group.connections.values() if client.seen_at_s < oldest]
            for client in expired:
                _log.warn("expired consumer, group: {group} {client}", group=group.name, client=client)
                self._links.remove(client.connection, group.name)
                self._leave(group, client.connection)
                client.connection.abort()  # it does not read any more, an orderly close could wait for ever

    def _announce(self, group: ConsumerGroup) -> None:
        """Have the members told, after the answers of this read and not more often than the group's size allows."""
        name = group.name
        if not self.notify_enabled or group.broadcasting or name in self._announcing:
            return
        self._announcing.add(name)
        now = self._clock.seconds()
        if not self.real_time:
            self._clock.callLater(_SLOW_ROUND_S - now % _SLOW_ROUND_S, self._tell, name)
            return
        pause = min(_ROUND_MAX_S, len(group.connections) * _ROUND_PER_MEMBER_S)
        due = self._announced_at.get(name, 0.0) + pause
        self._clock.callLater(max(0.0, due - now), self._tell, name)

    def _tell(self, name: str) -> None:
        self._announcing.discard(name)
        group = self.groups.get(name)
        if group is None:
            return
        self._announced_at[name] = self._clock.seconds()
        frame = encode_command(new_request(_NOTIFY_CODE, NotifyConsumerIdsChanged(consumer_group=name), 0, oneway=True))
        for connection in list(group.connections):
            connection.send(frame)


_NOTIFY_CODE = declaration_of(NotifyConsumerIdsChanged).code


class ProducerRegistry:
    """All producer groups.

    Args:
        clock: For expiry.

    Attributes:
        takes_new: Whether unknown producers are noted: `enableRegisterProducer`, or transactions are not rejected,
            as those need to be found again.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self.takes_new = True
        self.groups: dict[str, dict[RemotingConnection, Client]] = {}
        self._by_id: dict[str, RemotingConnection] = {}
        self._links = _Links()
        self._next = 0

    def register(self, name: str, client: Client) -> None:
        """Take what one heartbeat says about one producer group."""
        group = self.groups.get(name)
        connection = client.connection
        now = self._clock.seconds()
        known = group.get(connection) if group is not None else None
        if known is not None:
            known.seen_at_s, known.seen_at_ms = now, client.seen_at_ms
            return
        if not self.takes_new:
            return
        if group is None:
            group = self.groups[name] = {}
        client.seen_at_s = now
        group[connection] = client
        self._by_id[client.client_id] = connection
        if self._links.add(connection, name):
            connection.on_lost.append(self._lost)
        _log.info("new producer connected, group: {group} {client}", group=name, client=client)

    def unregister(self, name: str, connection: RemotingConnection) -> None:
        """Take a client out of a group."""
        self._links.remove(connection, name)
        self._leave(name, connection)

    def _leave(self, name: str, connection: RemotingConnection) -> None:
        group = self.groups.get(name)
        client = group.pop(connection, None) if group is not None else None
        if client is None:
            return
        if self._by_id.get(client.client_id) is connection and not self._links.joined(connection):
            del self._by_id[client.client_id]
        if not group:
            del self.groups[name]

    def _lost(self, connection: RemotingConnection) -> None:
        for name in self._links.pop(connection):
            self._leave(name, connection)

    def scan(self) -> None:
        """Forget clients that stopped sending heartbeats, and close their connections. Call every 10 s."""
        oldest = self._clock.seconds() - CLIENT_EXPIRY_MS / 1000
        for name, group in list(self.groups.items()):
            for client in [client for client in group.values() if client.seen_at_s < oldest]:
                _log.warn("expired producer, group: {group} {client}", group=name, client=client)
                self.unregister(name, client.connection)
                client.connection.abort()  # it does not read any more, an orderly close could wait for ever

    def connection_of(self, client_id: str) -> RemotingConnection | None:
        """Give the connection of a client, as replies to requesters need it."""
        return self._by_id.get(client_id)

    def any_connection(self, name: str) -> RemotingConnection | None:
        """Give a member of a group, in turn, as transaction checks need it."""
        group = self.groups.get(name)
        if not group:
            return None
        self._next += 1
        return list(group)[self._next % len(group)]
