"""What a name server knows: topics, brokers, clusters and who is alive. Pure state, no sockets, no JSON.

Nothing here is kept on disk: a name server that restarts learns it again from the brokers' next registrations.
Source: `RouteInfoManager` (5.5.0; differences of 4.7.0 where said).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from rmqwire.bodies import DataVersion, QueueData

from .brokers import (
    HEARTBEAT_TIMEOUT_MS,
    MASTER_ID,
    PERM_READ_WRITE,
    PERM_WRITE,
    BrokerGroup,
    BrokerIdentity,
    LiveBroker,
    LiveKey,
    MasterAddresses,
    RegisteredTopics,
)

if TYPE_CHECKING:
    from rmqwire.bodies import TopicQueueMappingInfo

_log = Logger()


class RouteTables:
    """The tables and the rules by which they change.

    Args:
        now_ms: For liveness; any clock that does not jump.
        delete_topic_with_broker_registration: Topics that a registration does not hold are removed.

    Attributes:
        on_changed: Called with a topic, or with None when brokers changed and with them any route.
        on_min_broker_id_changed: Called with the members of a group whose smallest id changed, the address that
            left or None, and the HA address of the one that came or None.
    """

    def __init__(self, now_ms: Callable[[], int], *, delete_topic_with_broker_registration: bool = False) -> None:
        self._now_ms = now_ms
        self.delete_topic_with_broker_registration = delete_topic_with_broker_registration
        self.topics: dict[str, dict[str, QueueData]] = {}
        self.brokers: dict[str, BrokerGroup] = {}
        self.clusters: dict[str, set[str]] = {}
        self.live: dict[LiveKey, LiveBroker] = {}
        self.filter_servers: dict[LiveKey, list[str]] = {}
        self.mappings: dict[str, dict[str, TopicQueueMappingInfo]] = {}
        self.on_changed: Callable[[str | None], None] = lambda _: None
        self.on_min_broker_id_changed: Callable[[BrokerGroup, str | None, str | None], None] = lambda *_: None
        self._reduced: set[str] = set()  # brokers that lost a topic to a deletion and get it back when they register

    # Registration

    def is_repeated(self, broker: BrokerIdentity, digest: bytes) -> bool:
        """Tell whether a registration with this body would change no topic, so that it need not be parsed."""
        live = self.live.get((broker.cluster, broker.address))
        group = self.brokers.get(broker.name)
        return (
            live is not None
            and group is not None
            and live.digest == digest
            and group.addresses.get(broker.broker_id) == broker.address
            and broker.name not in self._reduced
            and (live.applied or not self._speaks_for_group(broker, group))
        )

    def register_again(self, broker: BrokerIdentity, channel: object) -> MasterAddresses:
        """Take a registration for which `is_repeated` holds."""
        live = self.live[broker.cluster, broker.address]
        group = self.brokers[broker.name]
        self._describe(group, broker)
        self._mark_alive(broker, live.version, channel, live.digest, live.applied)
        return self._master_of(broker, group)

    def register(self, broker: BrokerIdentity, topics: RegisteredTopics, channel: object) -> MasterAddresses | None:
        """Take a registration.

        Returns:
            What to tell the broker; None when one changed topic arrives before the broker's whole table.
        """
        group = self.brokers.get(broker.name)
        first = group is None
        if group is None:
            group = self.brokers[broker.name] = BrokerGroup(broker.cluster, broker.name)
            self.on_changed(None)
        self.clusters.setdefault(broker.cluster, set()).add(broker.name)
        self._describe(group, broker)
        smallest_before = min(group.addresses, default=0)
        self._leave_other_ids(group, broker)
        if self._is_outdated(group, broker, topics.version):
            return MasterAddresses()
        if broker.broker_id not in group.addresses and len(topics.configs) == 1:
            _log.warn("{broker} registers a single topic before its table: refused", broker=broker)
            if not group.addresses:  # Java keeps a group without members here
                self._remove_group(broker.cluster, broker.name)
            return None
        if group.addresses.get(broker.broker_id) != broker.address:
            first = first or not group.addresses.get(broker.broker_id)
            group.addresses[broker.broker_id] = broker.address
            self.on_changed(None)
        applied = self._speaks_for_group(broker, group)
        if applied:
            self._take_topics(broker, group, topics, first)
        self._mark_alive(broker, topics.version, channel, topics.digest, applied)
        self._set_filter_servers((broker.cluster, broker.address), topics.filter_servers)
        if broker.broker_id < smallest_before:
            self.on_min_broker_id_changed(group, None, broker.ha_server_address)
        return self._master_of(broker, group)

    def _describe(self, group: BrokerGroup, broker: BrokerIdentity) -> None:
        acting = bool(broker.enable_acting_master)
        if group.enable_acting_master != acting or group.zone_name != broker.zone_name:
            group.enable_acting_master = acting
            group.zone_name = broker.zone_name
            self.on_changed(None)

    def _leave_other_ids(self, group: BrokerGroup, broker: BrokerIdentity) -> None:
        """A slave that became master registers its address under another id: it has one id only."""
        for other in [i for i, a in group.addresses.items() if a == broker.address and i != broker.broker_id]:
            del group.addresses[other]
            self.on_changed(None)

    def _is_outdated(self, group: BrokerGroup, broker: BrokerIdentity, version: DataVersion) -> bool:
        """Two addresses claim one id: the one with the smaller `stateVersion` lost an election it has not heard of."""
        old_address = group.addresses.get(broker.broker_id)
        if old_address is None or old_address == broker.address:
            return False
        old = self.live.get((broker.cluster, old_address))
        if old is None or old.version.state_version <= version.state_version:
            return False
        _log.warn("{broker} registers an id that {old} holds with a later version: ignored", broker=broker, old=old)
        self.live.pop((broker.cluster, broker.address), None)
        return True

    @staticmethod
    def _speaks_for_group(broker: BrokerIdentity, group: BrokerGroup) -> bool:
        """The master's topics count; without one those of the smallest slave id, since 5.0."""
        if broker.broker_id == MASTER_ID:
            return True
        return broker.enable_acting_master is not None and broker.broker_id == min(group.addresses, default=None)

    def _take_topics(self, broker: BrokerIdentity, group: BrokerGroup, topics: RegisteredTopics, first: bool) -> None:
        live = self.live.get((broker.cluster, broker.address))
        changed = first or live is None or live.version != topics.version
        if self.delete_topic_with_broker_registration and not topics.mappings:
            for topic in [t for t, of in self.topics.items() if broker.name in of and t not in topics.configs]:
                self._remove_queue_data(topic, broker.name)
        read_only = broker.broker_id != MASTER_ID and group.enable_acting_master
        for key, config in topics.configs.items():
            topic = config.topic_name or key
            brokers = self.topics.get(topic)
            if changed or not brokers or broker.name not in brokers:
                perm = config.perm & ~PERM_WRITE if read_only else config.perm
                self._put_queue_data(
                    topic,
                    broker.name,
                    QueueData(
                        broker_name=broker.name,
                        read_queue_nums=config.read_queue_nums,
                        write_queue_nums=config.write_queue_nums,
                        perm=perm,
                        topic_sys_flag=config.topic_sys_flag,
                    ),
                )
        for topic, mapping in topics.mappings.items():
            name = mapping.bname or broker.name
            if changed or name not in self.mappings.get(topic, {}):
                self.mappings.setdefault(topic, {})[name] = mapping
                self.on_changed(topic)
        if len(topics.configs) > 1:  # a whole table brings back what was deleted, a single changed topic does not
            self._reduced.discard(broker.name)

    def _put_queue_data(self, topic: str, broker_name: str, queue_data: QueueData) -> None:
        brokers = self.topics.setdefault(topic, {})
        if brokers.get(broker_name) != queue_data:
            brokers[broker_name] = queue_data
            self.on_changed(topic)

    def _remove_queue_data(self, topic: str, broker_name: str) -> None:
        brokers = self.topics.get(topic)
        if brokers is not None and brokers.pop(broker_name, None) is not None:
            self._reduced.add(broker_name)
            if not brokers:
                del self.topics[topic]
            self.on_changed(topic)

    def _mark_alive(
        self, broker: BrokerIdentity, version: DataVersion, channel: object, digest: bytes, applied: bool
    ) -> None:
        key = broker.cluster, broker.address
        if key not in self.live:
            _log.info("new broker registered: {broker}", broker=broker)
        timeout_ms = broker.heartbeat_timeout_ms
        self.live[key] = LiveBroker(
            last_heard_at_ms=self._now_ms(),
            timeout_ms=HEARTBEAT_TIMEOUT_MS if timeout_ms is None else timeout_ms,
            version=version,
            channel=channel,
            ha_server_address=broker.ha_server_address,
            digest=digest,
            applied=applied,
        )

    def _set_filter_servers(self, key: LiveKey, addresses: list[str] | None) -> None:
        if addresses is None or self.filter_servers.get(key, []) == addresses:
            return
        if addresses:
            self.filter_servers[key] = addresses
        else:
            del self.filter_servers[key]
        self.on_changed(None)

    def _master_of(self, broker: BrokerIdentity, group: BrokerGroup) -> MasterAddresses:
        address = group.addresses.get(MASTER_ID)
        if broker.broker_id == MASTER_ID or address is None:
            return MasterAddresses()
        master = self.live.get((broker.cluster, address))
        return MasterAddresses() if master is None else MasterAddresses(address, master.ha_server_address)

    # Liveness

    def heard_from(self, cluster: str, address: str) -> None:
        """Note a sign of life; one of an unknown broker means nothing."""
        live = self.live.get((cluster, address))
        if live is not None:
            live.last_heard_at_ms = self._now_ms()

    def version_of(self, cluster: str, address: str) -> DataVersion | None:
        """Give the version that a broker registered last."""
        live = self.live.get((cluster, address))
        return None if live is None else live.version

    def expired(self) -> list[tuple[LiveKey, object]]:
        """Give the brokers not heard from within their timeout, with their channels."""
        now_ms = self._now_ms()
        return [(key, of.channel) for key, of in self.live.items() if of.last_heard_at_ms + of.timeout_ms < now_ms]

    def channel_lost(self, channel: object) -> None:
        """Forget every broker that registered by this channel and no other since."""
        for key in [key for key, live in self.live.items() if live.channel is channel]:
            self.forget(key)

    def forget(self, key: LiveKey) -> None:
        """Unregister a broker known by cluster and address only."""
        cluster, address = key
        for group in self.brokers.values():
            if group.cluster == cluster and address in group.addresses.values():
                self.unregister(cluster, group.name, address)
                return
        self.live.pop(key, None)
        self.filter_servers.pop(key, None)

    def unregister(self, cluster: str, name: str, address: str) -> None:
        """Forget a broker; with the last of its name its topics go, and with the last name the cluster."""
        known = self.live.pop((cluster, address), None) is not None
        self.filter_servers.pop((cluster, address), None)
        group = self.brokers.get(name)
        if group is None:
            return
        smallest_before = min(group.addresses, default=None)
        gone = [broker_id for broker_id, of in group.addresses.items() if of == address]
        for broker_id in gone:
            del group.addresses[broker_id]
        if known or gone:
            _log.info("broker {name} {ids} at {address} left", name=name, ids=gone, address=address)
        if not group.addresses:
            self._remove_group(cluster, name)
        elif group.enable_acting_master and MASTER_ID not in group.addresses:
            self.wipe_write_perm(name)
        self.on_changed(None)
        if group.addresses and smallest_before in gone:
            self.on_min_broker_id_changed(group, address, None)

    def _remove_group(self, cluster: str, name: str) -> None:
        del self.brokers[name]
        self._reduced.discard(name)
        names = self.clusters.get(cluster)
        if names is not None:
            names.discard(name)
            if not names:
                del self.clusters[cluster]
        for topic, brokers in list(self.topics.items()):
            if brokers.pop(name, None) is not None and not brokers:
                del self.topics[topic]

    # Administration

    def wipe_write_perm(self, broker_name: str) -> int:
        """Take the write permission from all topics of a broker; gives how many topics it has."""
        return self._set_perm(broker_name, lambda perm: perm & ~PERM_WRITE)

    def add_write_perm(self, broker_name: str) -> int:
        """Set the permission of all topics of a broker to read and write, whatever it was, as Java."""
        return self._set_perm(broker_name, lambda _: PERM_READ_WRITE)

    def _set_perm(self, broker_name: str, perm_of: Callable[[int], int]) -> int:
        count = 0
        for brokers in self.topics.values():
            queue_data = brokers.get(broker_name)
            if queue_data is not None:
                queue_data.perm = perm_of(queue_data.perm)
                count += 1
        self.on_changed(None)
        return count

    def register_topic(self, topic: str, queue_datas: Iterable[QueueData]) -> bool:
        """Add queues of one topic; gives whether all their brokers are known, else nothing is added."""
        added = list(queue_datas)
        unknown = [of.broker_name for of in added if of.broker_name not in self.brokers]
        if unknown:
            _log.warn("topic {topic} names unknown brokers {unknown}: ignored", topic=topic, unknown=unknown)
            return False
        for queue_data in added:
            self._put_queue_data(topic, queue_data.broker_name or "", queue_data)
        return True

    def delete_topic(self, topic: str, cluster: str | None = None) -> None:
        """Forget a topic, everywhere or on the brokers of one cluster."""
        names = list(self.topics.get(topic, ())) if cluster is None else self.clusters.get(cluster, ())
        for name in list(names):
            self._remove_queue_data(topic, name)
            # Java keeps the mapping: an ordinary topic of that name made later would be shown as a static one.
            if self.mappings.get(topic, {}).pop(name, None) is not None and not self.mappings[topic]:
                del self.mappings[topic]

    # Lists

    def topics_of_cluster(self, cluster: str) -> list[str]:
        """Give the topics that brokers of a cluster hold; none for an unknown cluster."""
        names = self.clusters.get(cluster, set())
        return [topic for topic, brokers in self.topics.items() if not names.isdisjoint(brokers)]

    def topics_by_flag(self, matches: Callable[[int], bool]) -> list[str]:
        """Give the topics whose `topicSysFlag`, on the first broker known, matches."""
        return [topic for topic, of in self.topics.items() if of and matches(next(iter(of.values())).topic_sys_flag)]
