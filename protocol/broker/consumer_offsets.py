"""Offsets of consumer groups: asked for when a queue is taken over, stored every 5 s and when it is given up.

Source: `ConsumerManageProcessor` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import QueryCorrectionOffsetBody
from rmqwire.codes import ResponseCode
from rmqwire.dialect import dumps
from rmqwire.fields import I64_MAX
from rmqwire.requests import (
    CloneGroupOffset,
    GetAllConsumerOffset,
    GetAllDelayOffset,
    QueryConsumerOffset,
    QueryConsumerOffsetReply,
    QueryCorrectionOffset,
    UpdateConsumerOffset,
)

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore

    from .clients import ConsumerRegistry
    from .groups import SubscriptionGroups
    from .offsets import ConsumerOffsets
    from .topics import TopicTable


class ConsumerOffsetHandlers:
    """Serves the offsets of consumer groups.

    Args:
        offsets: The table.
        groups: Known groups.
        topics: Known topics.
        consumers: Who is online.
        store: Tells where queues begin.
    """

    def __init__(
        self,
        offsets: ConsumerOffsets,
        groups: SubscriptionGroups,
        topics: TopicTable,
        consumers: ConsumerRegistry,
        store: MessageStore,
    ) -> None:
        self._offsets = offsets
        self._groups = groups
        self._topics = topics
        self._consumers = consumers
        self._store = store

    @handles(UpdateConsumerOffset)
    def update(self, request: Request, header: UpdateConsumerOffset) -> Result:
        """Store an offset; usually oneway, so that nobody reads a refusal."""
        group, topic, queue_id = header.consumer_group, header.topic, header.queue_id
        if not self._groups.contains(group):
            return Reply(code=ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark=f"Group {group} not exist!")
        if self._topics.get(topic) is None:
            return Reply(code=ResponseCode.TOPIC_NOT_EXIST, remark=f"Topic {topic} not exist!")
        if queue_id is None:
            return Reply(code=ResponseCode.INVALID_PARAMETER, remark=f"QueueId is null, topic is {topic}")
        if header.commit_offset is None:
            return Reply(code=ResponseCode.INVALID_PARAMETER, remark=f"Offset is null, topic is {topic}")
        if self._offsets.has_reset_offset(group, topic, queue_id):
            return Reply(remark="Offset has been previously reset")
        self._offsets.commit(group, topic, queue_id, header.commit_offset, client=request.connection.peer)
        return Reply()

    @handles(QueryConsumerOffset)
    def query(self, request: Request, header: QueryConsumerOffset) -> Result:
        """Say where a group goes on.

        Three answers: the stored offset; 0 for a new group on a queue that is still whole and young, whatever the
        group's `consumeFromWhere`; else 22, on which the client asks for the queue's end or a time itself. Any other
        code makes clients leave the queue alone.
        """
        group, topic, queue_id = header.consumer_group, header.topic, header.queue_id
        offset = self._offsets.query(group, topic, queue_id)
        if offset >= 0:
            return Reply(QueryConsumerOffsetReply(offset=offset))
        if header.set_zero_if_not_found is False:
            remark = "Not found, do not set to zero, maybe this group boot first"
        elif self._store.min_offset(topic, queue_id) <= 0 and self._begins_in_memory(topic, queue_id):
            return Reply(QueryConsumerOffsetReply(offset=0))
        else:
            remark = "Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first"
        return Reply(code=ResponseCode.QUERY_NOT_FOUND, remark=remark)

    def _begins_in_memory(self, topic: str, queue_id: int) -> bool:
        first = self._store.physical_offset(topic, queue_id, 0)
        return first >= 0 and self._store.in_memory(first)

    @handles(GetAllConsumerOffset)
    def all(self, request: Request, header: GetAllConsumerOffset) -> Result:
        """Give the whole table, as slaves copy it."""
        return Reply(body=self._offsets.body())

    @handles(CloneGroupOffset)
    def clone(self, request: Request, header: CloneGroupOffset) -> Result:
        """Give one group the offsets of another, of one topic or of all.

        Unlike Java, which without a topic goes through all of them and by an oversight clones none.
        """
        source = header.src_group
        online = self._consumers.group(source)
        for topic in {header.topic} if header.topic and header.topic.strip() else self._offsets.topics_of(source):
            if self._topics.get(topic) is None:
                continue
            if not header.offline and online is not None and topic not in online.subscriptions:
                continue
            self._offsets.clone(source, header.dest_group, topic)
        return Reply()

    @handles(QueryCorrectionOffset)
    def correction(self, request: Request, header: QueryCorrectionOffset) -> Result:
        """Give the smallest offset of each queue among all groups, compared with that of one group.

        Unlike Java, which by an oversight removes the offsets of `filterGroups` from its table, they are only left
        out of the comparison.
        """
        left_out = set((header.filter_groups or "").split(","))
        smallest: dict[int, int] = {}
        for group in self._offsets.groups_of(header.topic) - left_out:
            for queue_id, offset in self._offsets.queues(group, header.topic).items():
                if offset >= self._store.min_offset(header.topic, queue_id):
                    smallest[queue_id] = min(offset, smallest.get(queue_id, offset))
        for queue_id, offset in self._offsets.queues(header.compare_group, header.topic).items():
            if smallest.get(queue_id, I64_MAX) > offset:
                smallest[queue_id] = I64_MAX
        return Reply(body=QueryCorrectionOffsetBody(correction_offsets=smallest).encode())


class DelayOffsetHandlers:
    """Serves the offsets of delay levels.

    Args:
        tree: Gives the content of `delayOffset.json`.
    """

    def __init__(self, tree: Callable[[], dict[str, Any]]) -> None:
        self._tree = tree

    @handles(GetAllDelayOffset)
    def all(self, request: Request, header: GetAllDelayOffset) -> Result:
        """Give the whole table, as slaves copy it."""
        return Reply(body=dumps(self._tree()))
