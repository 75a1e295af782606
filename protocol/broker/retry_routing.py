"""Messages that a client itself sends to a retry topic: when the tries are used up they are dead letters.

Java consumers do so when CONSUMER_SEND_MSG_BACK fails, and orderly consumers for messages they give up.
Source: `SendMessageProcessor.handleRetryAndDLQ` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqwire.codes import ResponseCode, Version
from rmqwire.errors import RequestError

from .send_checks import DLQ_PREFIX, RETRY_PREFIX

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request

    from .groups import SubscriptionGroups
    from .locks import QueueLocks
    from .send_checks import Header
    from .topics import TopicTable

_DLQ_QUEUES = 1
_PERM_READ_WRITE = 6
_FAQ = " \nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."


class RetryRouting:
    """Decides where a message for a retry topic goes.

    Args:
        topics: Dead-letter topics are made on demand.
        groups: How often a group tries.
        locks: A group that holds queue locks consumes in order, and does not try again by a retry topic.
    """

    def __init__(self, topics: TopicTable, groups: SubscriptionGroups, locks: QueueLocks) -> None:
        self._topics = topics
        self._groups = groups
        self._locks = locks

    def dead_letter_topic(self, request: Request, header: Header) -> str | None:
        """Give the dead-letter topic if the message goes there, else None.

        Raises:
            RequestError: The group does not exist, or the topic cannot be made.
        """
        name = header.topic[len(RETRY_PREFIX) :]
        group = self._groups.find(name)
        if group is None:
            raise RequestError(f"subscription group not exist, {name}{_FAQ}", ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST)
        tries = group.retry_max_times
        if header.max_reconsume_times is not None and request.version >= Version.V3_4_9:
            tries = header.max_reconsume_times
        if (header.reconsume_times or 0) <= tries and not self._locks.any_held(name):
            return None
        topic = DLQ_PREFIX + name
        if self._topics.create_for_send_back(topic, _DLQ_QUEUES, _PERM_READ_WRITE, 0) is None:
            raise RequestError(f"topic[{topic}] not exist", ResponseCode.SYSTEM_ERROR)
        return topic
