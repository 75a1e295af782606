"""May this consumer read from this queue, and which messages does it want?

Source: `PullMessageProcessor.processRequest`, `FilterAPI` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.filter import SQL92, TAG_TYPES, FilterError, compile_expression
from rmqd.protocol.replies import Reply
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError

from .names import SYSTEM_GROUP_PREFIX, SYSTEM_GROUPS
from .selection import Selection, by_properties, parse_tags, tags_of

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.protocol.filter import ConsumerFilters, Filter
    from rmqwire.bodies import SubscriptionGroupConfig, TopicConfig
    from rmqwire.requests.pull import PullMessage

    from .clients import ConsumerGroup, ConsumerRegistry
    from .groups import SubscriptionGroups
    from .topics import TopicTable

FAQ = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."

FORBIDDEN_BROKER, FORBIDDEN_GROUP, FORBIDDEN_TOPIC, FORBIDDEN_BROADCASTING, FORBIDDEN_SUBSCRIPTION = 1, 2, 3, 4, 5

SYSFLAG_COMMIT_OFFSET, SYSFLAG_SUSPEND, SYSFLAG_SUBSCRIPTION, SYSFLAG_CLASS_FILTER = 1, 2, 4, 8

_PERM_READ = 4


class PullRefused(RequestError):
    """A pull that is not served."""

    def __init__(self, remark: str, code: int, forbidden_type: int | None = None) -> None:
        super().__init__(remark, code)
        self.forbidden_type = forbidden_type

    def reply(self) -> Reply:
        """Make the answer; its header tells who forbade it at most, there are no offsets to go on at."""
        ext = None if self.forbidden_type is None else {"forbiddenType": str(self.forbidden_type)}
        return Reply(code=self.code, remark=self.remark, ext=ext)


class PullChecks:
    """The checks before a pull, in the official order.

    Args:
        topics: Known topics.
        groups: Subscription groups.
        consumers: Who subscribed to what.
        filters: Who filters by which expression.
        broker_ip: For remarks.

    Attributes:
        broker_permission: `brokerPermission`.
        enable_property_filter: `enablePropertyFilter`.
        filter_support_retry: `filterSupportRetry`.
        reject_pull_consumers: `rejectPullConsumerEnable`.
    """

    def __init__(
        self,
        topics: TopicTable,
        groups: SubscriptionGroups,
        consumers: ConsumerRegistry,
        filters: ConsumerFilters,
        *,
        broker_ip: str,
        broker_permission: int,
        enable_property_filter: bool = False,
        filter_support_retry: bool = False,
    ) -> None:
        self._topics = topics
        self._groups = groups
        self._consumers = consumers
        self._filters = filters
        self._broker_ip = broker_ip
        self.broker_permission = broker_permission
        self.enable_property_filter = enable_property_filter
        self.filter_support_retry = filter_support_retry
        self.reject_pull_consumers = False

    def check(self, request: Request, header: PullMessage) -> tuple[TopicConfig, SubscriptionGroupConfig, Selection]:
        """Run all checks.

        Returns:
            The topic, the group, and what to look for.

        Raises:
            PullRefused: A check failed.
        """
        if not self.broker_permission & _PERM_READ:
            raise PullRefused(
                f"the broker[{self._broker_ip}] pulling message is forbidden",
                ResponseCode.NO_PERMISSION,
                FORBIDDEN_BROKER,
            )
        group = self._groups.find(header.consumer_group)
        if group is None:
            raise PullRefused(
                f"subscription group [{header.consumer_group}] does not exist, {FAQ}",
                ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST,
            )
        if not group.consume_enable:
            raise PullRefused(
                f"subscription group no permission, {header.consumer_group}",
                ResponseCode.NO_PERMISSION,
                FORBIDDEN_GROUP,
            )
        topic = self._check_topic(request, header)
        if header.sys_flag & SYSFLAG_SUBSCRIPTION:
            selection = self._selection_of_request(header)
        else:
            selection = self._selection_of_heartbeat(header, group)
        if self.reject_pull_consumers:
            self._check_push_consumer(request, header.consumer_group)
        return topic, group, selection

    def consume_type(self, group: str) -> str | None:
        """How a group consumes, None when nobody of it is connected."""
        online: ConsumerGroup | None = self._consumers.group(group)
        return None if online is None else online.consume_type

    def _check_push_consumer(self, request: Request, group: str) -> None:
        online: ConsumerGroup | None = self._consumers.group(group)
        if online is not None and (
            online.consume_type != "CONSUME_ACTIVELY" or request.connection in online.connections
        ):
            return
        if group in SYSTEM_GROUPS or group.startswith(SYSTEM_GROUP_PREFIX):
            return
        raise PullRefused(
            f"the consumer's group info not exist, or the pull consumer is rejected by server.{FAQ}",
            ResponseCode.SUBSCRIPTION_NOT_EXIST,
        )

    def _check_topic(self, request: Request, header: PullMessage) -> TopicConfig:
        topic = self._topics.get(header.topic)
        if topic is None:
            raise PullRefused(
                f"topic[{header.topic}] not exist, apply first please! {FAQ}", ResponseCode.TOPIC_NOT_EXIST
            )
        if not topic.perm & _PERM_READ:
            raise PullRefused(
                f"the topic[{header.topic}] pulling message is forbidden",
                ResponseCode.NO_PERMISSION,
                FORBIDDEN_TOPIC,
            )
        if not 0 <= header.queue_id < topic.read_queue_nums:
            raise PullRefused(
                f"queueId[{header.queue_id}] is illegal, topic:[{header.topic}]"
                f" topicConfig.readQueueNums:[{topic.read_queue_nums}] consumer:[/{request.connection.peer}]",
                ResponseCode.INVALID_PARAMETER,
            )
        return topic

    def _selection_of_request(self, header: PullMessage) -> Selection:
        if header.sys_flag & SYSFLAG_CLASS_FILTER:
            raise _class_filter()
        kind, expression = header.expression_type, header.subscription
        try:
            if kind in TAG_TYPES:
                return Selection(parse_tags(expression))
            if not expression:
                raise ValueError(f"Expression can't be null! {kind}")
            # Unlike Java, which serves every message when the expression does not compile (an `assert` should have
            # refused it), this is answered with the code that was meant.
            compiled = compile_expression(expression) if kind == SQL92 and self.enable_property_filter else None
        except ValueError as cause:
            raise PullRefused(
                "parse the consumer's subscription failed", ResponseCode.SUBSCRIPTION_PARSE_FAILED
            ) from cause
        except FilterError as cause:
            raise PullRefused(
                f"parse the consumer's subscription failed: {cause.remark}", ResponseCode.SUBSCRIPTION_PARSE_FAILED
            ) from cause
        return self._by_properties(compiled, header.topic, kind)

    def _by_properties(self, compiled: Filter | None, topic: str, kind: str | None) -> Selection:
        if compiled is None or not self.enable_property_filter:
            raise PullRefused(
                f"The broker does not support consumer to filter message by {kind}", ResponseCode.SYSTEM_ERROR
            )
        return by_properties(compiled, topic, self._filters, filter_support_retry=self.filter_support_retry)

    def _selection_of_heartbeat(self, header: PullMessage, group: SubscriptionGroupConfig) -> Selection:
        consumers: ConsumerGroup | None = self._consumers.group(header.consumer_group)
        if consumers is None:
            raise PullRefused(f"the consumer's group info not exist{FAQ}", ResponseCode.SUBSCRIPTION_NOT_EXIST)
        if not group.consume_broadcast_enable and consumers.message_model == "BROADCASTING":
            raise PullRefused(
                f"the consumer group[{header.consumer_group}] can not consume by broadcast way",
                ResponseCode.NO_PERMISSION,
                FORBIDDEN_BROADCASTING,
            )
        if self._groups.is_read_forbidden(header.consumer_group, header.topic):
            raise PullRefused(
                f"the consumer group[{header.consumer_group}] is forbidden for topic[{header.topic}]",
                ResponseCode.NO_PERMISSION,
                FORBIDDEN_SUBSCRIPTION,
            )
        subscription = consumers.subscriptions.get(header.topic)
        if subscription is None:
            raise PullRefused(f"the consumer's subscription not exist{FAQ}", ResponseCode.SUBSCRIPTION_NOT_EXIST)
        if subscription.sub_version < header.sub_version:
            raise PullRefused("the consumer's subscription not latest", ResponseCode.SUBSCRIPTION_NOT_LATEST)
        if subscription.class_filter_mode:
            raise _class_filter()
        if subscription.expression_type in TAG_TYPES:
            return Selection(tags_of(subscription))
        found = self._filters.get(header.topic, header.consumer_group)
        if found is None:
            raise PullRefused(
                "The broker's consumer filter data is not exist!Your expression may be wrong!",
                ResponseCode.FILTER_DATA_NOT_EXIST,
            )
        if found.client_version < header.sub_version:
            raise PullRefused("the consumer's consumer filter data not latest", ResponseCode.FILTER_DATA_NOT_LATEST)
        return self._by_properties(found.compiled, header.topic, subscription.expression_type)


def _class_filter() -> PullRefused:
    return PullRefused(
        "class filters were removed from RocketMQ in 5.0 and are not supported",
        ResponseCode.SUBSCRIPTION_PARSE_FAILED,
    )
