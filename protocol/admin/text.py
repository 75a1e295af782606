"""Text as the official tool writes it: times, permissions, and what Java's `toString` gives.

Source: `UtilAll`, `PermName`, `TopicConfig`, `SubscriptionGroupConfig`, `MessageQueue` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from rmqwire.hashing import unsigned_string_hash

from .errors import BadUsage
from .output import java

if TYPE_CHECKING:
    from rmqwire.bodies.base import MessageQueue
    from rmqwire.bodies.group import GroupRetryPolicy, SubscriptionGroupConfig
    from rmqwire.bodies.topic import TopicConfig

TIME_FORMAT = "yyyy-MM-dd#HH:mm:ss:SSS"


def front(text: str | None, length: int) -> str:
    """The beginning of a text, at most `length` characters (`UtilAll.frontStringAtLeast`)."""
    return "null" if text is None else text[:length]


def local_time(at_ms: int) -> datetime:
    """A time in milliseconds as local time, kept within the years that can be shown."""
    return datetime.fromtimestamp(min(max(at_ms, -62_135_510_400_000), 253_402_200_000_000) / 1000).astimezone()


def human_time(at_ms: int) -> str:
    """`yyyy-MM-dd HH:mm:ss,SSS`, local time."""
    return f"{date_time(at_ms)},{at_ms % 1000:03d}"


def digits_time(at_ms: int) -> str:
    """`yyyyMMddHHmmssSSS`, local time."""
    moment = local_time(at_ms)
    return f"{moment.year:04d}{moment:%m%d%H%M%S}{at_ms % 1000:03d}"


def date_time(at_ms: int) -> str:
    """`yyyy-MM-dd HH:mm:ss`, local time."""
    moment = local_time(at_ms)
    return f"{moment.year:04d}-{moment:%m-%d %H:%M:%S}"


def parse_time(text: str, now_ms: int | None = None) -> int:
    """Read milliseconds since 1970, `yyyy-MM-dd#HH:mm:ss:SSS` in local time, or `now` where there is one.

    Raises:
        BadUsage: None of them.
    """
    if now_ms is not None and text == "now":
        return now_ms
    if text.lstrip("-").isdigit():
        return int(text)
    day, _, clock = text.partition("#")
    whole, _, milliseconds = clock.rpartition(":")
    try:
        moment = datetime.strptime(f"{day} {whole}", "%Y-%m-%d %H:%M:%S").astimezone()
        if not (milliseconds.isdigit() and len(milliseconds) <= 3):
            raise ValueError
    except ValueError:
        also = "now, " if now_ms is not None else ""
        raise BadUsage(f"{text!r} is no time", f"write {also}milliseconds since 1970, or {TIME_FORMAT}") from None
    return int(moment.timestamp()) * 1000 + int(milliseconds)


def perm_text(perm: int) -> str:
    """`RWX` with a dash for each permission that is absent."""
    return ("R" if perm & 4 else "-") + ("W" if perm & 2 else "-") + ("X" if perm & 1 else "-")


def map_text(table: Mapping[str, object]) -> str:
    """`{a=b, c=d}`."""
    return "{" + ", ".join(f"{key}={java(value)}" for key, value in table.items()) + "}"


def queue_text(queue: MessageQueue) -> str:
    """`MessageQueue.toString`."""
    return f"MessageQueue [topic={queue.topic}, brokerName={queue.broker_name}, queueId={queue.queue_id}]"


def queue_order(queue: MessageQueue) -> tuple[str, str, int]:
    """The order of queues: topic, broker, number."""
    return queue.topic or "", queue.broker_name or "", queue.queue_id


def queue_hash(queue: MessageQueue) -> int:
    """`MessageQueue.hashCode` modulo 2^32."""
    topic, broker = (unsigned_string_hash(word or "") for word in (queue.topic, queue.broker_name))
    return (31 * (31 * (31 + broker) + queue.queue_id) + topic) & 0xFFFFFFFF


def topic_text(topic: TopicConfig) -> str:
    """`TopicConfig.toString`."""
    return (
        f"TopicConfig [topicName={topic.topic_name}, readQueueNums={topic.read_queue_nums}, "
        f"writeQueueNums={topic.write_queue_nums}, perm={perm_text(topic.perm)}, "
        f"topicFilterType={topic.topic_filter_type}, topicSysFlag={topic.topic_sys_flag}, "
        f"order={java(topic.order)}, attributes={map_text(topic.attributes)}]"
    )


def retry_policy_text(policy: GroupRetryPolicy | None) -> str:
    """`GroupRetryPolicy.toString`."""
    if policy is None:
        return "null"
    exponential, customized = policy.exponential_retry_policy, policy.customized_retry_policy
    grown = (
        "null"
        if exponential is None
        else f"ExponentialRetryPolicy{{initial={exponential.initial}, max={exponential.max}, "
        f"multiplier={exponential.multiplier}}}"
    )
    listed = "null" if customized is None else f"CustomizedRetryPolicy{{next={customized.next}}}"
    return f"GroupRetryPolicy{{type={policy.type}, exponentialRetryPolicy={grown}, customizedRetryPolicy={listed}}}"


def group_fields(group: SubscriptionGroupConfig) -> dict[str, object]:
    """The settings of a group by their official names, in the official order."""
    subscriptions = group.subscription_data_set
    return {
        "groupName": group.group_name,
        "consumeEnable": group.consume_enable,
        "consumeFromMinEnable": group.consume_from_min_enable,
        "consumeBroadcastEnable": group.consume_broadcast_enable,
        "consumeMessageOrderly": group.consume_message_orderly,
        "retryQueueNums": group.retry_queue_nums,
        "retryMaxTimes": group.retry_max_times,
        "groupRetryPolicy": retry_policy_text(group.group_retry_policy),
        "brokerId": group.broker_id,
        "whichBrokerWhenConsumeSlowly": group.which_broker_when_consume_slowly,
        "notifyConsumerIdsChangedEnable": group.notify_consumer_ids_changed_enable,
        "groupSysFlag": group.group_sys_flag,
        "consumeTimeoutMinute": group.consume_timeout_minute,
        "subscriptionDataSet": None if subscriptions is None else [one.topic for one in subscriptions],
        "attributes": map_text(group.attributes),
    }


def group_text(group: SubscriptionGroupConfig) -> str:
    """`SubscriptionGroupConfig.toString`."""
    return "SubscriptionGroupConfig" + map_text(group_fields(group))


def parse_attributes(text: str) -> dict[str, str]:
    """Read `+a=b,+c=d,-e` (`AttributeParser`).

    Raises:
        BadUsage: Another form, or a name twice.
    """
    attributes: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not key.startswith("+" if equals else "-") or len(key) == 1 or (equals and not value):
            raise BadUsage(f"{part!r} is no attribute", "write +name=value to set one, -name to remove one")
        if key in attributes:
            raise BadUsage(f"attribute {key} is given twice", "give it once")
        attributes[key] = value
    return attributes


def attributes_header(attributes: Mapping[str, str]) -> str:
    """Write attributes for a request header (`AttributeParser.parseToString`)."""
    return ",".join(f"{key}={value}" if value else key for key, value in attributes.items())
