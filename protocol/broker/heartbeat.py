"""What clients say of themselves: heartbeats, leaving, and the check of a filter before they start.

A heartbeat has registered everything when it is answered, and the announcement to its groups (40) leaves after the
answer: a consumer that starts asks for its group's members (38) as soon as it has the answer.

Source: `ClientManageProcessor` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rmqd.protocol.dispatch import handles
from rmqd.protocol.filter import SQL92, TAG_TYPES, compile_expression
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import CheckClientRequestBody, GetConsumerListByGroupResponseBody, HeartbeatData
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests import CheckClientConfig, GetConsumerListByGroup, HeartBeat, HeartBeatReply, UnregisterClient

from . import names
from .clients import Client, ConsumerRegistry, ProducerRegistry
from .reading import body_of

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.protocol.filter import ConsumerFilters
    from rmqwire.bodies import ConsumerData

    from .groups import SubscriptionGroups
    from .topics import TopicTable


class HeartbeatHandlers:
    """Keeps the registries of clients up to date.

    Args:
        consumers: Consumer groups that are online.
        producers: Producer groups that are online.
        groups: Settings of consumer groups; unknown ones are made if allowed.
        topics: Where retry topics are made.
        filters: Takes the expressions of subscriptions.
        wall_clock_ms: Stamps clients.
        reject_pull_consumers: `rejectPullConsumerEnable`.
        enable_property_filter: `enablePropertyFilter`.
    """

    def __init__(
        self,
        consumers: ConsumerRegistry,
        producers: ProducerRegistry,
        groups: SubscriptionGroups,
        topics: TopicTable,
        filters: ConsumerFilters,
        wall_clock_ms: Callable[[], int],
        *,
        reject_pull_consumers: bool = False,
        enable_property_filter: bool = False,
    ) -> None:
        self._consumers = consumers
        self._producers = producers
        self._groups = groups
        self._topics = topics
        self._filters = filters
        self._wall_clock_ms = wall_clock_ms
        self.reject_pull_consumers = reject_pull_consumers
        self.enable_property_filter = enable_property_filter
        self._fingerprints: dict[str, int] = {}

    @handles(HeartBeat)
    def heartbeat(self, request: Request, header: HeartBeat) -> Result:
        """Register the client's groups; both versions of the heartbeat."""
        data = body_of(request, HeartbeatData)
        if data.client_id is None:
            raise RequestError("heartbeat without clientID")
        if any(consumer.group_name is None for consumer in data.consumer_data_set):
            raise RequestError("a consumer in the heartbeat has no groupName")
        now_ms = self._wall_clock_ms()
        fingerprint = data.heartbeat_fingerprint
        sub_changed = not fingerprint
        for consumer in data.consumer_data_set:
            # A client object of its own for each group: the id of one connection may differ from group to group.
            client = Client(request.connection, data.client_id, request.language, request.version, now_ms)
            if self._consumer(
                client, consumer, fingerprint, without_subscriptions=bool(fingerprint) and data.without_sub
            ):
                sub_changed = True
        for producer in data.producer_data_set:
            if producer.group_name:
                client = Client(request.connection, data.client_id, request.language, request.version, now_ms)
                self._producers.register(producer.group_name, client)
        return Reply(HeartBeatReply(is_support_heart_beat_v2=True, is_sub_change=sub_changed))

    def _consumer(self, client: Client, data: ConsumerData, fingerprint: int, *, without_subscriptions: bool) -> bool:
        """Register one consumer group; say whether its fingerprint differs from the last one."""
        name = data.group_name
        if not name or (self.reject_pull_consumers and data.consume_type == "CONSUME_ACTIVELY"):
            return False
        config = self._groups.find(name)
        if config is None:
            return False  # as Java: skipped, the pulls of the group are answered 26
        before = self._fingerprints.get(name)
        self._fingerprints[name] = fingerprint
        ordered = None
        if not without_subscriptions:
            ordered = any(self._is_ordered(subscription.topic) for subscription in data.subscription_data_set)
        self._topics.create_for_send_back(
            names.retry_topic(name),
            config.retry_queue_nums,
            names.PERM_READ | names.PERM_WRITE,
            names.SYS_FLAG_UNIT_SUB if data.unit_mode else 0,
            order=ordered,
        )
        self._consumers.register(
            name,
            client,
            consume_type=data.consume_type,
            message_model=data.message_model,
            consume_from_where=data.consume_from_where,
            subscriptions=None if without_subscriptions else data.subscription_data_set,
            notify=config.notify_consumer_ids_changed_enable,
        )
        if not without_subscriptions:
            self._filters.register(name, data.subscription_data_set)
        return before is not None and before != fingerprint

    def _is_ordered(self, topic: str | None) -> bool:
        config = self._topics.get(topic or "")
        return config is not None and config.order

    @handles(UnregisterClient)
    def unregister(self, request: Request, header: UnregisterClient) -> Result:
        """Take a client out of a group, as it stops."""
        connection = request.connection
        if header.producer_group is not None:
            self._producers.unregister(header.producer_group, connection)
        if header.consumer_group is not None:
            config = self._groups.find(header.consumer_group)
            notify = config is None or config.notify_consumer_ids_changed_enable
            self._consumers.unregister(header.consumer_group, connection, notify=notify)
        return Reply()

    @handles(CheckClientConfig)
    def check_client_config(self, request: Request, header: CheckClientConfig) -> Result:
        """Say whether a filter expression can be used here.

        Raises:
            FilterError: It does not compile.
        """
        subscription = body_of(request, CheckClientRequestBody).subscription_data if request.body else None
        if subscription is None or subscription.expression_type in TAG_TYPES:
            return Reply()
        kind = subscription.expression_type
        if not self.enable_property_filter:
            raise RequestError(f"The broker does not support consumer to filter message by {kind}")
        if kind != SQL92:
            raise RequestError(
                f"there is no filter of the type {kind}, only TAG and {SQL92}", ResponseCode.SUBSCRIPTION_PARSE_FAILED
            )
        compile_expression(subscription.sub_string or "")
        return Reply()

    @handles(GetConsumerListByGroup)
    def consumer_list(self, request: Request, header: GetConsumerListByGroup) -> Result:
        """Give the client ids that the members of a group share its queues among."""
        group = self._consumers.group(header.consumer_group)
        if group is None:
            return Reply(code=ResponseCode.SYSTEM_ERROR, remark=f"no consumer for this group, {header.consumer_group}")
        body = group.list_body
        if body is None:
            body = group.list_body = GetConsumerListByGroupResponseBody(consumer_id_list=group.client_ids()).encode()
        return Reply(body=body)
