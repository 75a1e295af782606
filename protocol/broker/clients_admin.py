"""Who is connected and who consumes what, as administrators ask. Source: `AdminBrokerProcessor` (5.5.0)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import (
    Connection,
    ConsumerConnection,
    GroupList,
    ProducerConnection,
    ProducerInfo,
    ProducerTableInfo,
    QuerySubscriptionResponseBody,
    TopicList,
)
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests import (
    GetAllProducerInfo,
    GetConsumerConnectionList,
    GetProducerConnectionList,
    QuerySubscriptionByConsumer,
    QueryTopicConsumeByWho,
    QueryTopicsByConsumer,
)

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request

    from .clients import Client, ConsumerRegistry, ProducerRegistry
    from .offsets import ConsumerOffsets


class ClientsAdminHandlers:
    """Shows clients, groups and subscriptions.

    Args:
        consumers: Consumer groups that are online.
        producers: Producer groups that are online.
        offsets: What groups that are offline once consumed.
        address: `brokerIP1:listenPort`.
    """

    def __init__(
        self, consumers: ConsumerRegistry, producers: ProducerRegistry, offsets: ConsumerOffsets, address: str
    ) -> None:
        self._consumers = consumers
        self._producers = producers
        self._offsets = offsets
        self._address = address

    @handles(GetConsumerConnectionList)
    def consumer_connections(self, request: Request, header: GetConsumerConnectionList) -> Result:
        """Show the connections and subscriptions of a consumer group."""
        group = self._consumers.group(header.consumer_group)
        if group is None:
            raise RequestError(
                f"the consumer group[{header.consumer_group}] not online", ResponseCode.CONSUMER_NOT_ONLINE
            )
        body = ConsumerConnection(
            connection_set=_connections(group.connections.values()),
            subscription_table=group.subscriptions,
            consume_type=group.consume_type,
            message_model=group.message_model,
            consume_from_where=group.consume_from_where,
        )
        return Reply(body=body.encode())

    @handles(GetProducerConnectionList)
    def producer_connections(self, request: Request, header: GetProducerConnectionList) -> Result:
        """Show the connections of a producer group."""
        group = self._producers.groups.get(header.producer_group)
        if group is None:
            raise RequestError(f"the producer group[{header.producer_group}] not exist")
        return Reply(body=ProducerConnection(connection_set=_connections(group.values())).encode())

    @handles(GetAllProducerInfo)
    def all_producers(self, request: Request, header: GetAllProducerInfo) -> Result:
        """Show all producer groups."""
        data = {
            name: [
                ProducerInfo(
                    client_id=client.client_id,
                    remote_ip=f"/{client.connection.peer}",  # the slash: as Java prints a socket address
                    language=client.language,
                    version=client.version,
                    last_update_timestamp=client.seen_at_ms,
                )
                for client in group.values()
            ]
            for name, group in self._producers.groups.items()
        }
        return Reply(body=ProducerTableInfo(data=data).encode())

    @handles(QueryTopicConsumeByWho)
    def groups_of_topic(self, request: Request, header: QueryTopicConsumeByWho) -> Result:
        """Name the groups that consume a topic now or have offsets of it."""
        groups = self._consumers.groups_of_topic(header.topic) | self._offsets.groups_of(header.topic)
        return Reply(body=GroupList(group_list=sorted(groups)).encode())

    @handles(QueryTopicsByConsumer)
    def topics_of_group(self, request: Request, header: QueryTopicsByConsumer) -> Result:
        """Name the topics that a group has offsets of."""
        body = TopicList(topic_list=sorted(self._offsets.topics_of(header.group)), broker_addr=self._address)
        return Reply(body=body.encode())

    @handles(QuerySubscriptionByConsumer)
    def subscription(self, request: Request, header: QuerySubscriptionByConsumer) -> Result:
        """Show what a group subscribes to of a topic; nothing when it is offline."""
        body = QuerySubscriptionResponseBody(
            group=header.group,
            topic=header.topic,
            subscription_data=self._consumers.subscription(header.group, header.topic or ""),
        )
        return Reply(body=body.encode())


def _connections(clients: Iterable[Client]) -> list[Connection]:
    return [
        Connection(
            client_id=client.client_id,
            client_addr=client.connection.peer,
            language=client.language,
            version=client.version,
        )
        for client in clients
    ]
