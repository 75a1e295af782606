"""Open transactions of a dead master, in the hands of the slave that stands in for it: they go to other masters.

There they are half messages like any others, and their producers are asked what became of them. How far this came is
the progress of the checks, which the master fetches when it comes back. What it must not do: send what has ended as far
as the slave's copy of the log says; so all notes of ends are read first.

Source: `TransactionalMessageServiceImpl.check`, `TransactionalMessageUtil.buildTransactionalMessageFromHalfMessage`
(5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from rmqd.store.errors import StoreError
from rmqd.store.reading import GetStatus
from rmqwire.errors import MalformedMessage
from rmqwire.message import SYS_FLAG_TRANSACTION_PREPARED

from .delay import REAL_QUEUE_ID
from .names import TRANS_HALF_TOPIC, TRANS_OP_HALF_TOPIC
from .transaction_check import GROUP
from .transaction_ends import EndedHalves
from .transaction_messages import PREPARED_QUEUE_OFFSET, TRAN_MSG, HalfMessage

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.store.messagestore import MessageStore
    from rmqd.store.reading import GetResult

    from .escape import Escape
    from .escape_rounds import Acting
    from .offsets import ConsumerOffsets
    from .topics import TopicTable

_log = Logger()

_READ_COUNT = 32


class EscapedHalves:
    """Sends open half messages of an acting slave.

    Args:
        store: Read.
        topics: How many half queues there are.
        offsets: Progress of the checks.
        escape: Takes what is open.
        run_in_thread: Reads.
    """

    def __init__(
        self,
        store: MessageStore,
        topics: TopicTable,
        offsets: ConsumerOffsets,
        escape: Escape,
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self._store = store
        self._topics = topics
        self._offsets = offsets
        self._escape = escape
        self._run_in_thread = run_in_thread

    async def send_all(self, acting: Acting) -> str | None:
        """Send the open ones of all queues; say why something could not go on."""
        config = self._topics.get(TRANS_HALF_TOPIC)
        problem = None
        for queue_id in range(config.read_queue_nums if config is not None else 0):
            try:
                problem = await self._send_open(queue_id, acting) or problem
            except StoreError as cause:
                problem = f"half queue {queue_id} cannot be read: {cause}"
        return problem

    async def _send_open(self, queue_id: int, acting: Acting) -> str | None:
        """Send the open ones of one queue; say why it could not go on."""
        at, ended = self._stored(TRANS_HALF_TOPIC, queue_id), EndedHalves(self._stored(TRANS_OP_HALF_TOPIC, queue_id))
        while ended.read_to < self._store.max_offset(TRANS_OP_HALF_TOPIC, queue_id):
            found = await self._read(TRANS_OP_HALF_TOPIC, queue_id, ended.read_to)
            if found.next_begin_offset <= ended.read_to:
                raise StoreError(f"no note can be read at {ended.read_to}: {found.status}")
            ended.take(found, at, self._store.max_offset(TRANS_HALF_TOPIC, queue_id))
        while acting() and at < self._store.max_offset(TRANS_HALF_TOPIC, queue_id):
            found = await self._read(TRANS_HALF_TOPIC, queue_id, at)
            records = found.records if found.status is GetStatus.FOUND else []
            for record in records:
                if not ended.has(at):
                    problem = await self._send(record) if acting() else "the master is back"
                    if problem is not None:
                        return problem
                self._advance(queue_id, ended, at, at + 1)
                at += 1
            if not records:
                if found.next_begin_offset <= at:
                    raise StoreError(f"no half message can be read at {at}: {found.status}")
                self._advance(queue_id, ended, at, found.next_begin_offset)
                at = found.next_begin_offset
        return None

    async def _send(self, record: bytes) -> str | None:
        try:
            half = HalfMessage(record)
        except MalformedMessage as cause:
            _log.error("a half message is left out: {cause}", cause=cause)
            return None
        properties = {**half.properties, TRAN_MSG: "true"}
        for name in (PREPARED_QUEUE_OFFSET, REAL_QUEUE_ID):
            properties.pop(name, None)
        return await self._escape.put(half.real_topic, half.message, properties, SYS_FLAG_TRANSACTION_PREPARED)

    def _advance(self, queue_id: int, ended: EndedHalves, before: int, at: int) -> None:
        ended.advance(before, at)
        self._offsets.commit(GROUP, TRANS_HALF_TOPIC, queue_id, at)
        if ended.progress != self._offsets.query(GROUP, TRANS_OP_HALF_TOPIC, queue_id):
            self._offsets.commit(GROUP, TRANS_OP_HALF_TOPIC, queue_id, ended.progress)

    def _stored(self, topic: str, queue_id: int) -> int:
        first, end = self._store.min_offset(topic, queue_id), self._store.max_offset(topic, queue_id)
        return min(max(self._offsets.query(GROUP, topic, queue_id), first), end)

    async def _read(self, topic: str, queue_id: int, offset: int) -> GetResult:
        read = self._store.get_messages
        found: GetResult = await self._run_in_thread(read, topic, queue_id, offset, _READ_COUNT, allow_cold=True)
        return found
