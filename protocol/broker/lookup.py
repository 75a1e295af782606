"""Ends of queues, offsets by time, and single messages by key or by position.

Source: `AdminBrokerProcessor`, `QueryMessageProcessor` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import ConsumeQueueData, QueryConsumeQueueResponseBody
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.properties import TAGS_KEY
from rmqwire.requests import (
    GetEarliestMsgStoretime,
    GetEarliestMsgStoretimeReply,
    GetMaxOffset,
    GetMaxOffsetReply,
    GetMinOffset,
    GetMinOffsetReply,
    QueryConsumeQueue,
    QueryMessage,
    QueryMessageReply,
    SearchOffsetByTimestamp,
    SearchOffsetByTimestampReply,
    ViewMessageById,
)

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.protocol.filter import ConsumerFilters
    from rmqd.store.messagestore import MessageStore
    from rmqd.store.storereads import QueryResult

    from .clients import ConsumerRegistry
    from .reading import ColdReads


_UNITS_MAX = 4096
_BY_TAGS = "T"
"""`MessageConst.INDEX_TAG_TYPE`; other types are looked up by the key as it is."""


class LookupHandlers:
    """Answers questions about what is stored.

    Args:
        store: The messages.
        consumers: Subscriptions of groups that are online.
        reads: Reads of what may not be in memory.
        default_query_max_num: `defaultQueryMaxNum`: messages that a query by unique key gives at most.
    """

    def __init__(
        self,
        store: MessageStore,
        consumers: ConsumerRegistry,
        filters: ConsumerFilters,
        reads: ColdReads,
        *,
        default_query_max_num: int = 32,
    ) -> None:
        self._store = store
        self._consumers = consumers
        self._filters = filters
        self._reads = reads
        self.default_query_max_num = default_query_max_num

    @handles(GetMaxOffset)
    def max_offset(self, request: Request, header: GetMaxOffset) -> Result:
        """Give the offset that the next message of a queue gets."""
        return Reply(GetMaxOffsetReply(offset=self._store.max_offset(header.topic, header.queue_id)))

    @handles(GetMinOffset)
    def min_offset(self, request: Request, header: GetMinOffset) -> Result:
        """Give the offset of the oldest message of a queue."""
        return Reply(GetMinOffsetReply(offset=self._store.min_offset(header.topic, header.queue_id)))

    @handles(SearchOffsetByTimestamp)
    def search(self, request: Request, header: SearchOffsetByTimestamp) -> Result:
        """Give the offset that a store time stands for."""
        boundary = "UPPER" if (header.boundary_type or "").upper() == "UPPER" else "LOWER"
        found = self._reads.read(
            self._store.search_offset_by_time, header.topic, header.queue_id, header.timestamp, boundary
        )
        return self._reads.then(found, lambda offset: Reply(SearchOffsetByTimestampReply(offset=offset)))

    @handles(GetEarliestMsgStoretime)
    def earliest_store_time(self, request: Request, header: GetEarliestMsgStoretime) -> Result:
        """Give the store time of the oldest message of a queue, -1 when it is empty."""
        oldest = self._store.min_offset(header.topic, header.queue_id)
        found = self._reads.read(self._store.store_timestamp, header.topic, header.queue_id, oldest)
        return self._reads.then(found, lambda timestamp: Reply(GetEarliestMsgStoretimeReply(timestamp=timestamp)))

    @handles(QueryMessage)
    def query(self, request: Request, header: QueryMessage) -> Result:
        """Give the messages of a topic that carry a key, newest first; clients compare the keys themselves.

        Raises:
            RequestError: Less than none are asked for.
        """
        most = self.default_query_max_num if header.unique_key_query else header.max_num
        if most < 0:
            raise RequestError(f"maxNum is negative: {most}")
        by_tags = header.index_type == _BY_TAGS and not header.unique_key_query
        key = TAGS_KEY + header.key if by_tags else header.key
        found = self._reads.read(
            self._store.query, header.topic, key, most, header.begin_timestamp, header.end_timestamp
        )

        def answer(result: QueryResult) -> Reply:
            reply = Reply(
                QueryMessageReply(
                    index_last_update_timestamp=result.index_last_update_timestamp,
                    index_last_update_phyoffset=result.index_last_update_phyoffset,
                ),
                body=b"".join(result.records),
            )
            if not result.records:
                reply.code = ResponseCode.QUERY_NOT_FOUND
                reply.remark = "can not find message, maybe time range not correct"
            return reply

        return self._reads.then(found, answer)

    @handles(ViewMessageById)
    def view(self, request: Request, header: ViewMessageById) -> Result:
        """Give the record at a position of the log, which is what an offset message id holds."""

        def answer(record: bytes | None) -> Reply:
            if record is None:
                raise RequestError(f"can not find message by the offset, {header.offset}")
            return Reply(body=record)

        return self._reads.then(self._reads.read(self._store.read_record, header.offset), answer)

    @handles(QueryConsumeQueue)
    def consume_queue(self, request: Request, header: QueryConsumeQueue) -> Result:
        """Show units of a consume queue, and the subscription they would be filtered by."""
        topic, queue_id, group = header.topic or "", header.queue_id, header.consumer_group
        if self._store.queues.find(topic, queue_id) is None:
            raise RequestError(f"{queue_id}@{topic} is not exist!")
        body = QueryConsumeQueueResponseBody(
            max_queue_index=self._store.max_offset(topic, queue_id),
            min_queue_index=self._store.min_offset(topic, queue_id),
        )
        if group is not None:
            body.subscription_data = self._consumers.subscription(group, topic)
            if body.subscription_data is None:
                body.filter_data = f"{group}@{topic} is not online!"
            else:
                body.filter_data = self._filters.described(topic, group)
        count = max(0, min(header.count, _UNITS_MAX))
        found = self._reads.read(self._store.queue_units, topic, queue_id, header.index, count)

        def answer(units: list[tuple[int, int, int]] | None) -> Reply:
            if units is None:  # as Java: this too is a success, without a body
                return Reply(remark=f"Index {header.index} of {queue_id}@{topic} is not exist!")
            body.queue_data = [
                ConsumeQueueData(physic_offset=offset, physic_size=size, tags_code=tags) for offset, size, tags in units
            ]
            return Reply(body=body.encode())

        return self._reads.then(found, answer)
