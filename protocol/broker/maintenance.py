"""Cleaning on demand. Source: `AdminBrokerProcessor`, `DefaultMessageStore` (5.5.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.requests import CleanExpiredConsumequeue, CleanUnusedTopic, DeleteExpiredCommitlog

from .names import SYSTEM_PREFIX

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore

    from .topics import TopicTable

_log = Logger()

LMQ_PREFIX = "%LMQ%"


class MaintenanceHandlers:
    """Cleans.

    Args:
        store: What is cleaned.
        topics: Topics that exist.
    """

    def __init__(self, store: MessageStore, topics: TopicTable) -> None:
        self._store = store
        self._topics = topics

    @handles(DeleteExpiredCommitlog)
    def delete_expired(self, request: Request, header: DeleteExpiredCommitlog) -> Result:
        """Let expired files go in the next rounds of cleaning, whatever the hour."""
        self._store.delete_expired_by_hand()
        return Reply()

    @handles(CleanExpiredConsumequeue)
    def clean_expired_queues(self, request: Request, header: CleanExpiredConsumequeue) -> Result:
        """Let expired files of all consume queues go in the next rounds of cleaning.

        Unlike Java, which destroys a queue whose messages are all gone: the next message would have offset 0, and a
        group whose offset is beyond would skip what comes.
        """
        self._store.clean_queues_by_hand()
        return Reply()

    @handles(CleanUnusedTopic)
    def clean_unused(self, request: Request, header: CleanUnusedTopic) -> Result:
        """Delete the consume queues of topics that no longer exist."""
        for topic in self._store.topics():
            # As Java: topics of the broker itself and queues that exist without a topic stay.
            if self._topics.get(topic) is None and not topic.startswith((SYSTEM_PREFIX, LMQ_PREFIX)):
                if topic in self._topics.system_topics:
                    continue
                _log.warn("consume queues of the unknown topic {topic} deleted", topic=topic)
                self._store.destroy_topic(topic)
        return Reply()
