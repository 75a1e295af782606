"""May this consumer read from this queue, and with which tags?

Source: `PullMessageProcessor.processRequest`, `FilterAPI` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.replies import Reply
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.hashing import java_string_hash
from rmqwire.requests.pull import PullMessageReply

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqwire.bodies import SubscriptionData, SubscriptionGroupConfig, TopicConfig
    from rmqwire.requests.pull import PullMessage

    from .clients import ConsumerGroup, ConsumerRegistry
    from .groups import SubscriptionGroups
    from .topics import TopicTable

FAQ = " See https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."

FORBIDDEN_BROKER, FORBIDDEN_GROUP, FORBIDDEN_TOPIC, FORBIDDEN_BROADCASTING, FORBIDDEN_SUBSCRIPTION = 1, 2, 3, 4, 5

SYSFLAG_COMMIT_OFFSET, SYSFLAG_SUSPEND, SYSFLAG_SUBSCRIPTION, SYSFLAG_CLASS_FILTER = 1, 2, 4, 8

_PERM_READ = 4


class PullRefused(RequestError):
    """A pull that is not served; the answer carries the full header, which old clients read unconditionally."""

    def __init__(self, remark: str, code: int, forbidden_type: int | None = None) -> None:
        super().__init__(remark, code)
        self.forbidden_type = forbidden_type

    def reply(self) -> Reply:
        """Make the answer; the offsets are 0, as in Java, whose header object is made before the checks."""
        header = PullMessageReply(
            suggest_which_broker_id=0,
            next_begin_offset=0,
            min_offset=0,
            max_offset=0,
            forbidden_type=self.forbidden_type,
        )
        return Reply(header, self.code, self.remark)


class PullChecks:
    """The checks before a pull, in the official order.

    Args:
        topics: Known topics.
        groups: Subscription groups.
        consumers: Who subscribed to what.
        broker_ip: For remarks.
        enable_property_filter: `enablePropertyFilter`.
    """

    def __init__(
        self,
        topics: TopicTable,
        groups: SubscriptionGroups,
        consumers: ConsumerRegistry,
        *,
        broker_ip: str,
        broker_permission: int,
        enable_property_filter: bool,
    ) -> None:
        self._topics = topics
        self._groups = groups
        self._consumers = consumers
        self._broker_ip = broker_ip
        self.broker_permission = broker_permission
        self._enable_property_filter = enable_property_filter

    def check(
        self, request: Request, header: PullMessage
    ) -> tuple[TopicConfig, SubscriptionGroupConfig, frozenset[int] | None]:
        """Run all checks.

        Returns:
            The topic, the group, and the tag hashes to look for (None for all).

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
                f"subscription group [{header.consumer_group}] does not exist,{FAQ}",
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
            return topic, group, self._tags_of_request(header)
        return topic, group, self._tags_of_heartbeat(header, group)

    def _check_topic(self, request: Request, header: PullMessage) -> TopicConfig:
        topic = self._topics.get(header.topic)
        if topic is None:
            raise PullRefused(
                f"topic[{header.topic}] not exist, apply first please!{FAQ}", ResponseCode.TOPIC_NOT_EXIST
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

    def _tags_of_request(self, header: PullMessage) -> frozenset[int] | None:
        if header.sys_flag & SYSFLAG_CLASS_FILTER:
            raise PullRefused(
                "class filters were removed from RocketMQ in 5.0 and are not supported",
                ResponseCode.SUBSCRIPTION_PARSE_FAILED,
            )
        self._check_expression_type(header.expression_type)
        try:
            return parse_tags(header.subscription)
        except ValueError as cause:
            raise PullRefused(
                "parse the consumer's subscription failed", ResponseCode.SUBSCRIPTION_PARSE_FAILED
            ) from cause

    def _tags_of_heartbeat(self, header: PullMessage, group: SubscriptionGroupConfig) -> frozenset[int] | None:
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
        self._check_expression_type(subscription.expression_type)
        return tags_of(subscription)

    def _check_expression_type(self, expression_type: str | None) -> None:
        if expression_type in (None, "", "TAG"):
            return
        raise PullRefused(
            f"The broker does not support consumer to filter message by {expression_type}", ResponseCode.SYSTEM_ERROR
        )


def tags_of(subscription: SubscriptionData) -> frozenset[int] | None:
    """Give the tag hashes of a subscription from a heartbeat; None when it wants every message."""
    if subscription.sub_string == "*" or not subscription.code_set:
        return None
    return frozenset(subscription.code_set)


def parse_tags(expression: str | None) -> frozenset[int] | None:
    """Read a tag expression (`*`, empty, or tags joined by two bars).

    Raises:
        ValueError: It holds bars but no tag.
    """
    if expression is None or not expression.strip() or expression == "*":
        return None
    tags = [tag.strip() for tag in expression.split("||")]
    tags = [tag for tag in tags if tag]
    if not tags:
        raise ValueError("subString split error")
    return frozenset(map(java_string_hash, tags))
