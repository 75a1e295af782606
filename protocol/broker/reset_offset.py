"""Resetting the offsets of a group: on the server, as 5.x does, or by telling its consumers, as 4.x did.

On the server, the new offset is stored, the next pull is answered 21 with it, and commits are ignored until then.
Source: `AdminBrokerProcessor.resetOffset`, `Broker2Client.resetOffset` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import MessageQueue, MessageQueueForC, ResetOffsetBody, ResetOffsetBodyForC
from rmqwire.codes import ResponseCode, Version, name_of_version
from rmqwire.errors import RequestError
from rmqwire.requests import InvokeBrokerToResetOffset, ResetConsumerClientOffset

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore

    from .clients import ConsumerRegistry
    from .groups import SubscriptionGroups
    from .offsets import ConsumerOffsets
    from .reading import ColdReads
    from .topics import TopicTable

_log = Logger()

QUEUES_ALL = -1
_TIMESTAMP_END = -1


class ResetOffsetHandlers:
    """Moves groups.

    Args:
        topics: Known topics.
        groups: Known groups.
        consumers: Groups that are online.
        offsets: What is moved.
        store: Where queues begin and end.
        reads: Reads of what may not be in memory.
        broker_name: In the queues' names.
        is_slave: Whether it is one; a slave's offsets are its master's.
    """

    def __init__(
        self,
        topics: TopicTable,
        groups: SubscriptionGroups,
        consumers: ConsumerRegistry,
        offsets: ConsumerOffsets,
        store: MessageStore,
        reads: ColdReads,
        *,
        broker_name: str,
        is_slave: Callable[[], bool],
    ) -> None:
        self._topics = topics
        self._groups = groups
        self._consumers = consumers
        self._offsets = offsets
        self._store = store
        self._reads = reads
        self._broker_name = broker_name
        self._is_slave = is_slave

    @handles(InvokeBrokerToResetOffset)
    def reset(self, request: Request, header: InvokeBrokerToResetOffset) -> Result:
        """Reset the offsets of a group's queues of one topic."""
        _log.info(
            "reset of {group} on {topic} to {timestamp} asked by {peer}",
            group=header.group,
            topic=header.topic,
            timestamp=header.timestamp,
            peer=request.connection.peer,
        )
        if self._offsets.server_side_reset:
            return Deferred.fromCoroutine(self._on_server(header))
        return Deferred.fromCoroutine(self._by_consumers(header, as_list=request.language == "CPP"))

    async def _on_server(self, header: InvokeBrokerToResetOffset) -> Reply:
        topic, group = header.topic, header.group
        if self._is_slave():
            raise RequestError("Can not reset offset in slave broker")
        config = self._topics.get(topic)
        if config is None:
            raise RequestError(f"Topic {topic} does not exist", ResponseCode.TOPIC_NOT_EXIST)
        if not self._groups.contains(group):
            raise RequestError(f"Group {group} does not exist", ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST)
        targets: dict[int, int] = {}
        if header.queue_id <= QUEUES_ALL:
            for queue_id in range(config.read_queue_nums):
                targets[queue_id] = await self._at(topic, queue_id, header.timestamp)
        elif header.offset is not None and header.offset != -1:
            targets[header.queue_id] = self._checked(topic, header.queue_id, header.offset)
        else:
            targets[header.queue_id] = await self._at(topic, header.queue_id, header.timestamp)
        if not targets:
            raise RequestError("No queues to reset.")
        for queue_id, offset in targets.items():
            self._offsets.assign_reset_offset(group, topic, queue_id, offset)
        table = {self._queue(topic, queue_id): offset for queue_id, offset in targets.items()}
        return Reply(body=ResetOffsetBody(offset_table=table).encode())

    def _checked(self, topic: str, queue_id: int, offset: int) -> int:
        begin, end = self._store.min_offset(topic, queue_id), self._store.max_offset(topic, queue_id)
        if offset < begin or offset > end + 1:
            raise RequestError(f"Target offset {offset} not in consume queue range [{begin}-{end}]")
        return offset

    async def _by_consumers(self, header: InvokeBrokerToResetOffset, *, as_list: bool) -> Reply:
        topic, group = header.topic, header.group
        config = self._topics.get(topic)
        if config is None:
            raise RequestError(
                f"[reset-offset] reset offset failed, no topic in this broker. topic={topic}",
                ResponseCode.TOPIC_NOT_EXIST,
            )
        table: dict[MessageQueue, int] = {}
        for queue_id in range(config.write_queue_nums):
            consumed = self._offsets.query(group, topic, queue_id)
            if consumed == -1:
                raise RequestError(f"THe consumer group <{group}> not exist")  # sic: tools look for it
            target = max(0, await self._at(topic, queue_id, header.timestamp))
            table[self._queue(topic, queue_id)] = target if header.is_force or target < consumed else consumed
        self._tell(header, table, as_list=as_list)
        return Reply(body=ResetOffsetBody(offset_table=table).encode())

    def _tell(self, header: InvokeBrokerToResetOffset, table: dict[MessageQueue, int], *, as_list: bool) -> None:
        online = self._consumers.group(header.group)
        if online is None:
            raise RequestError(
                f"Consumer not online, so can not reset offset, Group: {header.group} Topic: {header.topic}"
                f" Timestamp: {header.timestamp}",
                ResponseCode.CONSUMER_NOT_ONLINE,
            )
        order = ResetConsumerClientOffset(topic=header.topic, group=header.group, timestamp=header.timestamp)
        body = (_as_list(table) if as_list else ResetOffsetBody(offset_table=table)).encode()
        for client in list(online.connections.values()):
            if client.version < Version.V3_0_7_SNAPSHOT:
                raise RequestError(
                    f"the client does not support this feature. version={name_of_version(client.version)}"
                )
            client.connection.tell(order, body)

    async def _at(self, topic: str, queue_id: int, timestamp_ms: int) -> int:
        if timestamp_ms <= _TIMESTAMP_END:
            return self._store.max_offset(topic, queue_id)
        found = self._reads.read(self._store.search_offset_by_time, topic, queue_id, timestamp_ms, "LOWER")
        return await found if isinstance(found, Deferred) else found

    def _queue(self, topic: str, queue_id: int) -> MessageQueue:
        return MessageQueue(topic=topic, broker_name=self._broker_name, queue_id=queue_id)


def _as_list(table: dict[MessageQueue, int]) -> ResetOffsetBodyForC:
    return ResetOffsetBodyForC(
        offset_table=[
            MessageQueueForC(topic=queue.topic, broker_name=queue.broker_name, queue_id=queue.queue_id, offset=offset)
            for queue, offset in table.items()
        ]
    )
