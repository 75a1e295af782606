"""Ends of queues, offsets by time, and single messages by key or by position.

Source: `AdminBrokerProcessor`, `QueryMessageProcessor` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.errors import RequestError
from rmqwire.requests import (
    GetEarliestMsgStoretime,
    GetEarliestMsgStoretimeReply,
    GetMaxOffset,
    GetMaxOffsetReply,
    GetMinOffset,
    GetMinOffsetReply,
    SearchOffsetByTimestamp,
    SearchOffsetByTimestampReply,
    ViewMessageById,
)

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore

    from .reading import ColdReads


class LookupHandlers:
    """Answers questions about what is stored.

    Args:
        store: The messages.
        reads: Reads of what may not be in memory.
    """

    def __init__(self, store: MessageStore, reads: ColdReads) -> None:
        self._store = store
        self._reads = reads

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

    @handles(ViewMessageById)
    def view(self, request: Request, header: ViewMessageById) -> Result:
        """Give the record at a position of the log, which is what an offset message id holds."""

        def answer(record: bytes | None) -> Reply:
            if record is None:
                raise RequestError(f"can not find message by the offset, {header.offset}")
            return Reply(body=record)

        return self._reads.then(self._reads.read(self._store.read_record, header.offset), answer)
