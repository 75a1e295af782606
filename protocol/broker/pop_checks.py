"""May this consumer pop from this topic, and which messages does it want?

Source: `PopMessageProcessor`, `PeekMessageProcessor`, `NotificationProcessor` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from rmqd.protocol.filter import SQL92, TAG_TYPES, FilterError, compile_expression
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError

from .names import PERM_READ
from .selection import Selection, parse_tags

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions
    from rmqd.protocol.dispatch import Request
    from rmqwire.bodies import TopicConfig
    from rmqwire.requests.pop import Notification, PeekMessage, PopMessage

    from .groups import SubscriptionGroups
    from .topics import TopicTable

FAQ = "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
MESSAGES_MAX = 32
_LATE_MS = 500


class PopSettings(msgspec.Struct):
    """The options that pops follow; changed at run time by updateBrokerConfig.

    Attributes:
        broker_permission: `brokerPermission`.
        timer_enabled: `timerWheelEnable`: without the timer nothing would come back.
        retry_v2: `enableRetryTopicV2`.
        read_retry_v1: `retrieveMessageFromPopRetryTopicV1`.
        retry_probability: `popFromRetryProbability`, percent.
        actual_retry_topic: `popResponseReturnActualRetryTopic`.
        look_in_memory: `initPopOffsetByCheckMsgInMem`.
        skip_if_group_absent: `popReviveSkipIfGroupAbsent`.
        threshold: `popInflightMessageThreshold` when `enablePopMessageThreshold`, else None.
    """

    broker_name: str = ""
    broker_ip: str = ""
    broker_permission: int = 6
    timer_enabled: bool = True
    retry_v2: bool = False
    read_retry_v1: bool = True
    retry_probability: int = 20
    actual_retry_topic: bool = False
    look_in_memory: bool = True
    skip_if_group_absent: bool = True
    threshold: int | None = None

    def follow(self, options: BrokerOptions) -> None:
        """Take the options as they are now."""
        broker = options.broker
        self.broker_name = broker.broker_name
        self.broker_ip = broker.broker_ip1
        self.broker_permission = broker.broker_permission
        self.timer_enabled = options.store.timer_wheel_enable
        self.retry_v2 = broker.enable_retry_topic_v2
        self.read_retry_v1 = broker.retrieve_message_from_pop_retry_topic_v1
        self.retry_probability = broker.pop_from_retry_probability
        self.actual_retry_topic = broker.pop_response_return_actual_retry_topic
        self.look_in_memory = broker.init_pop_offset_by_check_msg_in_mem
        self.skip_if_group_absent = broker.pop_revive_skip_if_group_absent
        self.threshold = broker.pop_inflight_message_threshold if broker.enable_pop_message_threshold else None


class PopChecks:
    """The checks before a pop, in the official order.

    Args:
        topics: Known topics.
        groups: Subscription groups.
        settings: Options.
        wall_clock_ms: To tell requests that are too old.
    """

    def __init__(
        self,
        topics: TopicTable,
        groups: SubscriptionGroups,
        settings: PopSettings,
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self._topics = topics
        self._groups = groups
        self._settings = settings
        self._wall_clock_ms = wall_clock_ms

    def pop(self, request: Request, header: PopMessage, born_ms: int) -> TopicConfig:
        """Check a pop; give its topic.

        Raises:
            RequestError: A check failed.
        """
        broker = f"the broker[{self._settings.broker_ip}] pop message"
        if self._wall_clock_ms() - born_ms - header.poll_time > _LATE_MS:
            raise RequestError(f"{broker} is timeout too much", ResponseCode.POLLING_TIMEOUT)
        if not self._settings.broker_permission & PERM_READ:
            raise RequestError(f"{broker} is forbidden", ResponseCode.NO_PERMISSION)
        if header.max_msg_nums > MESSAGES_MAX:
            raise RequestError(f"{broker}'s num is greater than {MESSAGES_MAX}", ResponseCode.INVALID_PARAMETER)
        if not self._settings.timer_enabled:
            raise RequestError(f"{broker} is forbidden because timerWheelEnable is false", ResponseCode.SYSTEM_ERROR)
        topic = self._check(request, header)
        if header.max_msg_nums < 0:
            raise RequestError(f"maxMsgNums is negative: {header.max_msg_nums}")
        return topic

    def look(self, request: Request, header: PeekMessage | Notification) -> TopicConfig:
        """Check a request that takes nothing; give its topic.

        Raises:
            RequestError: A check failed.
        """
        if not self._settings.broker_permission & PERM_READ:
            raise RequestError(
                f"the broker[{self._settings.broker_ip}] peeking message is forbidden", ResponseCode.NO_PERMISSION
            )
        return self._check(request, header)

    def existing_topic(self, topic: str) -> TopicConfig:
        """Give a topic.

        Raises:
            RequestError: There is none of that name.
        """
        config = self._topics.get(topic)
        if config is None:
            raise RequestError(f"topic[{topic}] not exist, apply first please! {FAQ}", ResponseCode.TOPIC_NOT_EXIST)
        return config

    def _check(self, request: Request, header: PopMessage | PeekMessage | Notification) -> TopicConfig:
        topic = self.existing_topic(header.topic)
        if not topic.perm & PERM_READ:
            raise RequestError(f"the topic[{header.topic}] peeking message is forbidden", ResponseCode.NO_PERMISSION)
        if header.queue_id >= topic.read_queue_nums:
            raise RequestError(illegal_queue(request, topic, header.queue_id), ResponseCode.INVALID_PARAMETER)
        group = self._groups.find(header.consumer_group)
        if group is None:
            raise RequestError(
                f"subscription group [{header.consumer_group}] does not exist, {FAQ}",
                ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST,
            )
        if not group.consume_enable:
            raise RequestError(f"subscription group no permission, {header.consumer_group}", ResponseCode.NO_PERMISSION)
        return topic


def illegal_queue(request: Request, topic: TopicConfig, queue_id: int) -> str:
    """Say that a topic has no such queue."""
    return (
        f"queueId[{queue_id}] is illegal, topic:[{topic.topic_name}]"
        f" topicConfig.readQueueNums:[{topic.read_queue_nums}] consumer:[/{request.connection.peer}]"
    )


def pop_selection(kind: str | None, expression: str | None) -> Selection:
    """Read the expression of a pop; none wants all.

    Raises:
        RequestError: It cannot be read.
    """
    if not expression:
        return Selection(None)
    try:
        if kind in TAG_TYPES:
            return Selection(parse_tags(expression))
        if kind != SQL92:
            raise ValueError(f"no filter of type {kind}")
        return Selection(None, compile_expression(expression).matches)
    except (ValueError, FilterError) as cause:
        raise RequestError(
            "parse the consumer's subscription failed", ResponseCode.SUBSCRIPTION_PARSE_FAILED
        ) from cause
