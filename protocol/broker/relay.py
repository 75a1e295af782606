"""Requests of administrators that only a consumer can answer: passed on, and its answer passed back unread.

Source: `AdminBrokerProcessor.callConsumer`, `Broker2Client.getConsumeStatus` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqd.protocol.dispatch import handles
from rmqd.protocol.remoting import PeerError, RequestTimeout
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import GetConsumerStatusBody, MessageQueue
from rmqwire.codes import ResponseCode, Version, name_of_version
from rmqwire.errors import MalformedBody, MalformedMessage, RequestError
from rmqwire.message import decode_message_id
from rmqwire.requests import (
    ConsumeMessageDirectly,
    GetConsumerRunningInfo,
    GetConsumerStatusFromClient,
    InvokeBrokerToGetConsumerStatus,
)

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore
    from rmqwire.command import RemotingCommand
    from rmqwire.declare import Header

    from .clients import Client, ConsumerRegistry
    from .groups import SubscriptionGroups
    from .reading import ColdReads
    from .topics import TopicTable

_log = Logger()

CALL_TIMEOUT_MS = 10_000
STATUS_TIMEOUT_MS = 5_000


class RelayHandlers:
    """Asks consumers.

    Args:
        consumers: Groups that are online.
        topics: Gives flags of topics.
        groups: Gives flags of groups.
        store: Messages to be consumed on demand.
        reads: Reads of what may not be in memory.
        broker_name: Tells a consumer where a message came from.
    """

    def __init__(
        self,
        consumers: ConsumerRegistry,
        topics: TopicTable,
        groups: SubscriptionGroups,
        store: MessageStore,
        reads: ColdReads,
        *,
        broker_name: str,
    ) -> None:
        self._consumers = consumers
        self._topics = topics
        self._groups = groups
        self._store = store
        self._reads = reads
        self._broker_name = broker_name

    @handles(GetConsumerRunningInfo)
    def running_info(self, request: Request, header: GetConsumerRunningInfo) -> Result:
        """Show what a consumer says of itself."""
        return Deferred.fromCoroutine(self._call(header.consumer_group, header.client_id, header))

    @handles(ConsumeMessageDirectly)
    def consume_directly(self, request: Request, header: ConsumeMessageDirectly) -> Result:
        """Have a consumer consume one message now, and show what came of it."""
        return Deferred.fromCoroutine(self._consume(header))

    async def _consume(self, header: ConsumeMessageDirectly) -> Reply:
        try:
            _, offset = decode_message_id(header.msg_id or "")
        except MalformedMessage as cause:
            raise RequestError(f"msgId: {cause}") from cause
        found = self._reads.read(self._store.read_record, offset)
        record = await found if isinstance(found, Deferred) else found
        if record is None:
            raise RequestError(f"can not find message by the offset, {offset}")
        header.broker_name = self._broker_name
        topic = self._topics.get(header.topic) if header.topic else None
        if topic is not None:
            header.topic_sys_flag = topic.topic_sys_flag
        group = self._groups.find(header.consumer_group)
        if group is not None:
            header.group_sys_flag = group.group_sys_flag
        return await self._call(header.consumer_group, header.client_id, header, record)

    async def _call(self, group: str, client_id: str | None, header: Header, body: bytes = b"") -> Reply:
        client = self._client(group, client_id)
        try:
            answer = await client.connection.call(header, body, timeout_ms=CALL_TIMEOUT_MS)
        except RequestTimeout as cause:
            raise RequestError(
                f"consumer <{group}> <{client_id}> Timeout: {cause}", ResponseCode.CONSUME_MSG_TIMEOUT
            ) from cause
        except PeerError as cause:
            raise RequestError(f"invoke consumer <{group}> <{client_id}> Exception: {cause}") from cause
        return Reply(code=answer.code, remark=answer.remark, body=answer.body, ext=answer.ext or None)

    def _client(self, group: str, client_id: str | None) -> Client:
        online = self._consumers.group(group)
        client = online.find(client_id or "") if online is not None else None
        if client is None:
            raise RequestError(f"The Consumer <{group}> <{client_id}> not online")
        if client.version < Version.V3_1_8_SNAPSHOT:
            raise RequestError(
                f"The Consumer <{client_id}> Version <{name_of_version(client.version)}> too low to finish,"
                " please upgrade it to V3_1_8_SNAPSHOT"
            )
        return client

    @handles(InvokeBrokerToGetConsumerStatus)
    def consumer_status(self, request: Request, header: InvokeBrokerToGetConsumerStatus) -> Result:
        """Show the offsets that consumers of a group have in hand: of one client, or of all."""
        return Deferred.fromCoroutine(self._status(header))

    async def _status(self, header: InvokeBrokerToGetConsumerStatus) -> Reply:
        online = self._consumers.group(header.group)
        if online is None:
            raise RequestError(f"No Any Consumer online in the consumer group: [{header.group}]")
        wanted = (header.client_addr or "").strip()
        table: dict[str, dict[MessageQueue, int]] = {}
        for client in list(online.connections.values()):
            if client.version < Version.V3_0_7_SNAPSHOT:
                raise RequestError(
                    f"the client does not support this feature. version={name_of_version(client.version)}"
                )
            if wanted and client.client_id != wanted:
                continue
            try:
                answer = await client.connection.call(
                    GetConsumerStatusFromClient(topic=header.topic, group=header.group), timeout_ms=STATUS_TIMEOUT_MS
                )
                if answer.code == ResponseCode.SUCCESS and answer.body:
                    table[client.client_id] = _queues(answer)
            except (PeerError, MalformedBody) as cause:
                _log.warn("{client} did not tell its offsets: {cause}", client=client, cause=cause)
        return Reply(body=GetConsumerStatusBody(consumer_table=table).encode())


def _queues(answer: RemotingCommand) -> dict[MessageQueue, int]:
    return GetConsumerStatusBody.decode(answer.body).message_queue_table
