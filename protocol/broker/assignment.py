"""Which queues each consumer of a group reads, decided by the broker: QUERY_ASSIGNMENT, SET_MESSAGE_REQUEST_MODE.

Source: `QueryAssignmentProcessor`, `AllocateMessageQueueAveragely`, `AllocateMessageQueueAveragelyByCircle` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.logger import Logger

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import (
    MessageQueue,
    MessageQueueAssignment,
    QueryAssignmentRequestBody,
    QueryAssignmentResponseBody,
    SetMessageRequestModeRequestBody,
)
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests.lock import GetAllMessageRequestMode, QueryAssignment, SetMessageRequestMode

from .names import RETRY_PREFIX
from .pop_modes import POP
from .reading import body_of

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request

    from .clients import ConsumerRegistry
    from .groups import SubscriptionGroups
    from .pop_modes import RequestModes
    from .topic_queues import TopicQueues
    from .topics import TopicTable

_log = Logger()
Allocate = Callable[[int, Sequence[MessageQueue], int], "list[MessageQueue]"]
"""(the consumer's place, queues, number of consumers) to the queues of that consumer."""


def averagely(index: int, queues: Sequence[MessageQueue], consumers: int) -> list[MessageQueue]:
    """A stretch of the queues for each; the first ones get one more."""
    size, extra = divmod(len(queues), consumers)
    begin = index * size + min(index, extra)
    return list(queues[begin : begin + size + (index < extra)])


def by_circle(index: int, queues: Sequence[MessageQueue], consumers: int) -> list[MessageQueue]:
    """One queue after the other."""
    return list(queues[index::consumers])


STRATEGIES: dict[str, Allocate] = {"AVG": averagely, "AVG_BY_CIRCLE": by_circle}


def for_pop(
    allocate: Allocate, index: int, queues: Sequence[MessageQueue], consumers: int, share: int
) -> list[MessageQueue]:
    """The queues of a pop consumer: queue -1 of each broker means all of them.

    Args:
        allocate: The strategy.
        index: The consumer's place among its group; -1 when it is not there.
        queues: Sorted.
        consumers: How many there are.
        share: How many further consumers' queues each one pops too; 0 or less: all queues.
    """
    if share <= 0 or share >= consumers - 1:
        brokers = dict.fromkeys((queue.topic, queue.broker_name) for queue in queues)
        return [MessageQueue(topic=topic, broker_name=broker, queue_id=-1) for topic, broker in brokers]
    if index < 0:
        return []
    if consumers > len(queues):
        return [queues[index % len(queues)]]
    found: list[MessageQueue] = []
    for further in range(share + 1):
        found += allocate((index + further) % consumers, queues, consumers)
    return list(dict.fromkeys(found))


class AssignmentHandlers:
    """Serves these requests.

    Args:
        topics, groups: Known ones.
        consumers: Who is connected.
        modes: Who pops.
        queues: Of topics on all brokers.
        enabled: `serverLoadBalancerEnable`.
    """

    def __init__(
        self,
        topics: TopicTable,
        groups: SubscriptionGroups,
        consumers: ConsumerRegistry,
        modes: RequestModes,
        queues: TopicQueues,
        enabled: Callable[[], bool],
    ) -> None:
        self._topics = topics
        self._groups = groups
        self._consumers = consumers
        self._modes = modes
        self._queues = queues
        self._enabled = enabled

    @handles(QueryAssignment)
    def query(self, request: Request, header: QueryAssignment) -> Result:
        """Tell a consumer its queues."""
        asked = body_of(request, QueryAssignmentRequestBody)
        if not asked.topic or asked.message_model not in ("BROADCASTING", "CLUSTERING"):
            raise RequestError("an assignment needs a topic and a message model", ResponseCode.SYSTEM_ERROR)
        return self._queues.get(asked.topic).addCallback(lambda queues: self._assign(asked, queues))

    def _assign(self, asked: QueryAssignmentRequestBody, queues: list[MessageQueue] | None) -> Reply:
        mode = self._modes.get(asked.topic or "", asked.consumer_group or "")
        mine = None if queues is None else self._mine(asked, mode, queues)
        assignments = None
        if mine is not None:
            assignments = [MessageQueueAssignment(message_queue=queue, mode=mode.mode) for queue in mine]
        return Reply(body=QueryAssignmentResponseBody(message_queue_assignments=assignments).encode())

    def _mine(
        self,
        asked: QueryAssignmentRequestBody,
        mode: SetMessageRequestModeRequestBody,
        queues: list[MessageQueue],
    ) -> list[MessageQueue] | None:
        if asked.message_model == "BROADCASTING" or not self._enabled():
            return queues
        group = self._consumers.group(asked.consumer_group or "")
        allocate = STRATEGIES.get(asked.strategy_name or "")
        if group is None or allocate is None or not queues:
            _log.warn(
                "no assignment of {topic} for {group} by {strategy}",
                topic=asked.topic,
                group=asked.consumer_group,
                strategy=asked.strategy_name,
            )
            return None
        clients = sorted(group.client_ids())
        index = clients.index(asked.client_id) if asked.client_id in clients else -1
        if mode.mode == POP:
            return for_pop(allocate, index, queues, len(clients), mode.pop_share_queue_num)
        if not asked.client_id:
            return None
        return allocate(index, queues, len(clients)) if index >= 0 else []

    @handles(SetMessageRequestMode)
    def set_mode(self, request: Request, header: SetMessageRequestMode) -> Result:
        """Let a group pull or pop a topic."""
        mode = body_of(request, SetMessageRequestModeRequestBody)
        topic, group = mode.topic or "", mode.consumer_group or ""
        if topic.startswith(RETRY_PREFIX):
            raise RequestError("retry topic is not allowed to set mode", ResponseCode.NO_PERMISSION)
        if self._topics.get(topic) is None:
            raise RequestError(f"topic[{topic}] not exist", ResponseCode.TOPIC_NOT_EXIST)
        if self._groups.find(group) is None:
            raise RequestError("subscription group does not exist", ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST)
        return self._modes.set(mode).addCallback(lambda _: Reply())

    @handles(GetAllMessageRequestMode)
    def all_modes(self, request: Request, header: GetAllMessageRequestMode) -> Result:
        """Tell the modes of all groups."""
        return Reply(body=self._modes.table.encode())
