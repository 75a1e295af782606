"""Routes as clients get them: put together from the tables, written as JSON, kept until something changes.

Source: `RouteInfoManager.pickupTopicRouteData`, `ClientRequestProcessor`, `ZoneRouteRPCHook` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqwire.bodies import BrokerData, TopicRouteData

from .brokers import MASTER_ID, PERM_WRITE
from .kv import ORDER_TOPIC_CONFIG

if TYPE_CHECKING:
    from rmqd.conf import NamesrvConfig

    from .brokers import BrokerGroup
    from .kv import KvConfig
    from .routes import RouteTables

SYNC_MEMBER_TOPIC_PREFIX = "rmq_sys_SYNC_BROKER_MEMBER_"
"""Brokers find the others of their group by these topics: no member is shown as another one there."""


class RouteAnswers:
    """Gives routes.

    Args:
        tables: What is known. Its changes drop what is kept here.
        kv: Holds the configuration of ordered topics.
        options: Looked at when a route is made; after an update of them call `forget`.
    """

    def __init__(self, tables: RouteTables, kv: KvConfig, options: NamesrvConfig) -> None:
        self._tables = tables
        self._kv = kv
        self._options = options
        self._kept: dict[tuple[str, bool], bytes] = {}
        tables.on_changed = self.forget
        kv.on_changed.append(self.forget)

    def forget(self, topic: str | None = None) -> None:
        """Make the route of a topic, or of all, anew when it is asked for."""
        if topic is None:
            self._kept.clear()
        else:
            self._kept.pop((topic, False), None)
            self._kept.pop((topic, True), None)

    def route_json(self, topic: str, *, quoted_keys: bool, zone_name: str | None = None) -> bytes | None:
        """Write the route of a topic.

        Args:
            topic: Whose route.
            quoted_keys: Standard JSON, as clients since 4.9.4 want it; else broker ids are bare keys.
            zone_name: Leave brokers of other zones out.

        Returns:
            None when nobody holds the topic.
        """
        key = topic, quoted_keys
        kept = self._kept.get(key) if zone_name is None else None
        if kept is not None:
            return kept
        route = self.route(topic)
        if route is None:
            return None
        if zone_name is not None:
            return in_zone(route, zone_name).encode(quoted_integer_keys=quoted_keys)
        text = self._kept[key] = route.encode(quoted_integer_keys=quoted_keys)
        return text

    def route(self, topic: str) -> TopicRouteData | None:
        """Put the route of a topic together; None when nobody holds it."""
        tables = self._tables
        queue_datas = tables.topics.get(topic)
        if not queue_datas:
            return None
        groups = [tables.brokers[name] for name in queue_datas if name in tables.brokers]
        if not groups:
            return None
        route = TopicRouteData(
            broker_datas=[broker_data_of(group) for group in groups],
            queue_datas=list(queue_datas.values()),
            filter_server_table={
                address: tables.filter_servers[group.cluster, address]
                for group in groups
                for address in group.addresses.values()
                if (group.cluster, address) in tables.filter_servers
            },
            topic_queue_mapping_by_broker=tables.mappings.get(topic),
        )
        if self._options.order_message_enable:
            route.order_topic_conf = self._kv.get(ORDER_TOPIC_CONFIG, topic)
        if self._options.support_acting_master and not topic.startswith(SYNC_MEMBER_TOPIC_PREFIX):
            _show_acting_masters(route)
        return route


def broker_data_of(group: BrokerGroup) -> BrokerData:
    """Give a group as routes and cluster lists show it."""
    return BrokerData(
        cluster=group.cluster,
        broker_name=group.name,
        broker_addrs=dict(sorted(group.addresses.items())),
        enable_acting_master=group.enable_acting_master,
        zone_name=group.zone_name,
    )


def _show_acting_masters(route: TopicRouteData) -> None:
    """Show the smallest slave as master where there is none and the queues cannot be written any more."""
    for broker in route.broker_datas:
        addresses = broker.broker_addrs
        if not addresses or MASTER_ID in addresses or not broker.enable_acting_master:
            continue
        queue_data = next((of for of in route.queue_datas if of.broker_name == broker.broker_name), None)
        if queue_data is not None and not queue_data.perm & PERM_WRITE:
            acting = addresses.pop(min(addresses))
            broker.broker_addrs = {MASTER_ID: acting, **addresses}


def in_zone(route: TopicRouteData, zone_name: str) -> TopicRouteData:
    """Leave out the brokers of other zones, but those whose master is gone: a slave elsewhere beats none."""
    wanted = zone_name.lower()
    removed = [
        broker
        for broker in route.broker_datas
        if MASTER_ID in broker.broker_addrs and (broker.zone_name or "").lower() != wanted
    ]
    names = {broker.broker_name for broker in removed}
    route.broker_datas = [broker for broker in route.broker_datas if broker.broker_name not in names]
    route.queue_datas = [queue_data for queue_data in route.queue_datas if queue_data.broker_name not in names]
    for broker in removed:
        for address in broker.broker_addrs.values():
            route.filter_server_table.pop(address, None)
    return route
