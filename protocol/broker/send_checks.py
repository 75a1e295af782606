"""What a send must satisfy before anything is stored.

Source: `AbstractSendMessageProcessor.msgCheck`, `TopicValidator` (5.5.0).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError

from .names import PERM_READ, PERM_WRITE

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqwire.bodies import TopicConfig
    from rmqwire.requests.send import SendBatchMessage, SendMessage, SendMessageV2, SendReplyMessageV2

    from .topics import TopicTable

    Header = SendMessage | SendMessageV2 | SendBatchMessage | SendReplyMessageV2

NOT_ALLOWED_TO_SEND = frozenset(
    (
        "SCHEDULE_TOPIC_XXXX",
        "RMQ_SYS_TRANS_HALF_TOPIC",
        "RMQ_SYS_TRANS_OP_HALF_TOPIC",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
    )
)
"""Topics that only the broker itself writes."""

RETRY_PREFIX = "%RETRY%"
DLQ_PREFIX = "%DLQ%"

_UNIT = 1
_UNIT_SUB = 2


def check_topic(
    topics: TopicTable,
    request: Request,
    header: Header,
    *,
    broker_permission: int,
    broker_ip: str,
) -> TopicConfig:
    """Find, or create, the topic of a send.

    Raises:
        RequestError: Forbidden, illegal name, missing topic, or a queue that does not exist.
    """
    name = header.topic
    config = topics.get(name)
    if config is None:
        config = _create(topics, request, header)
    elif name in NOT_ALLOWED_TO_SEND:
        raise RequestError(f"Sending message to topic[{name}] is forbidden.", ResponseCode.NO_PERMISSION)
    if not broker_permission & PERM_WRITE and config.order:
        raise RequestError(f"the broker[{broker_ip}] sending message is forbidden", ResponseCode.NO_PERMISSION)
    if header.queue_id >= config.write_queue_nums and header.queue_id >= config.read_queue_nums:
        raise RequestError(
            f"request queueId[{header.queue_id}] is illegal, {describe(config)} Producer: {request.connection.peer}",
            ResponseCode.INVALID_PARAMETER,
        )
    return config


def _create(topics: TopicTable, request: Request, header: Header) -> TopicConfig:
    name = header.topic
    fault = topics.validate(name)
    if fault:
        raise RequestError(fault, ResponseCode.INVALID_PARAMETER)
    if name in NOT_ALLOWED_TO_SEND:
        raise RequestError(f"Sending message to topic[{name}] is forbidden.", ResponseCode.NO_PERMISSION)
    retry = name.startswith(RETRY_PREFIX)
    unit_flag = 0
    if header.unit_mode:
        unit_flag = _UNIT_SUB if retry else _UNIT
    config = topics.create_for_send(
        name, header.default_topic, header.default_topic_queue_nums, unit_flag, request.connection.peer
    )
    if config is None and retry:
        config = topics.create_for_send_back(name, 1, PERM_WRITE | PERM_READ, unit_flag)
    if config is None:
        raise RequestError(
            f"topic[{name}] not exist, apply first please!"
            "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details.",
            ResponseCode.TOPIC_NOT_EXIST,
        )
    return config


def illegal_message(size_max_bytes: int, why: str) -> str:
    """Write the remark of a MESSAGE_ILLEGAL: Java's, and what it was."""
    return (
        "the message is illegal, maybe msg body or properties length not matched. msg body length limit"
        f" {size_max_bytes}B, msg properties length limit 32KB. {why}"
    )


def describe(config: TopicConfig) -> str:
    """Write a topic as Java's `TopicConfig.toString` does."""
    attributes = ", ".join(f"{key}={value}" for key, value in (config.attributes or {}).items())
    perm = "".join(
        letter if config.perm & bit else "-" for letter, bit in (("R", PERM_READ), ("W", PERM_WRITE), ("X", 1))
    )
    return (
        f"TopicConfig [topicName={config.topic_name}, readQueueNums={config.read_queue_nums},"
        f" writeQueueNums={config.write_queue_nums}, perm={perm}, topicFilterType={config.topic_filter_type},"
        f" topicSysFlag={config.topic_sys_flag}, order={'true' if config.order else 'false'},"
        f" attributes={{{attributes}}}]"
    )


def pick_queue(queue_id: int, config: TopicConfig) -> int:
    """Give the queue asked for, or any when the client leaves the choice to the broker (a negative id)."""
    return queue_id if queue_id >= 0 else random.randrange(config.write_queue_nums)  # noqa: S311  no secret
