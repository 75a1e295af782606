"""Check points and acknowledgements as messages of the revive topic.

Both go there by way of the timer: a check point when the messages of its pop are about to come back, an acknowledgement
a second later, so that whoever reads the topic finds both together. What it must not do: commit, which is for whoever
answers the request.

Source: `PopMessageProcessor.buildCkMsg`, `AckMessageProcessor.appendAck`, `PopCheckPoint`, `AckMsg` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from rmqwire.bodies import PopAck, PopCheckPoint
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.hashing import tags_code
from rmqwire.message import encode_properties, message_keys

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from rmqd.store.messagestore import MessageStore, StagedPut

    from .delay import DelayLevels

_log = Logger()


class Posted(msgspec.Struct):
    """Something that is on its way to another broker.

    Attributes:
        done: Why it could not be stored there; None when it is.
    """

    done: Deferred[str | None]


class RevivePost(Protocol):
    """How a slave that stands in for its master writes to the revive topic: that of another master."""

    @property
    def acting(self) -> bool:
        """Whether it may."""

    def post(self, topic: str, queue_id: int, body: bytes, properties: dict[str, str]) -> Posted:
        """Send a message of a revive queue; all of one queue go to the same one."""


CHECK_POINT_TAG, ACK_TAG, BATCH_ACK_TAG = "ck", "ack", "bAck"
DELIVER_AT = "TIMER_DELIVER_MS"
CHECK_POINT_EARLY_MS = 1000
"""So long before the messages of a pop come back its check point is read."""


class ReviveLog:
    """Writes to the revive topic.

    Args:
        store: Where to.
        levels: Puts aside what is for later.
        topic: `rmq_sys_REVIVE_LOG_<cluster>`.
        queue_count: `reviveQueueNum`.
        store_host: The broker's address as records have it.
        wall_clock_ms: Stamps messages.

    Attributes:
        elsewhere: Takes what a slave must not write.
    """

    def __init__(
        self,
        store: MessageStore,
        levels: DelayLevels,
        topic: str,
        queue_count: int,
        store_host: bytes,
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self.topic = topic
        self.queue_count = queue_count
        self.store_host = store_host
        self._store = store
        self._levels = levels
        self._wall_clock_ms = wall_clock_ms
        self._next = 0
        self.elsewhere: RevivePost | None = None

    def next_queue_id(self) -> int:
        """Take the queues in turn."""
        self._next += 1
        return (self._next - 1) % self.queue_count

    def stage_check_point(self, point: PopCheckPoint, revive_queue_id: int) -> StagedPut | Posted | None:
        """Stage a check point; None when its queue is none that anybody reads.

        Raises:
            RequestError, StoreError: It cannot be stored.
        """
        point.revive_time = point.pop_time + point.invisible_time
        key = _key(point, str(point.start_offset), CHECK_POINT_TAG)
        deliver_at_ms = point.revive_time - CHECK_POINT_EARLY_MS
        return self._stage(revive_queue_id, CHECK_POINT_TAG, point.encode(), key, deliver_at_ms)

    def stage_ack(self, ack: PopAck, revive_queue_id: int, revive_time: int) -> StagedPut | Posted | None:
        """Stage an acknowledgement, of several messages when it has `ack_offsets`; None as `stage_check_point`.

        Raises:
            RequestError, StoreError: It cannot be stored.
        """
        # As Java, where the key of several ends like that of one.
        key = _key(ack, str(ack.ack_offset), ACK_TAG)
        tag = ACK_TAG if ack.ack_offsets is None else BATCH_ACK_TAG
        return self._stage(revive_queue_id, tag, ack.encode(), key, revive_time)

    def _stage(
        self, revive_queue_id: int, tag: str, body: bytes, key: str, deliver_at_ms: int
    ) -> StagedPut | Posted | None:
        if not 0 <= revive_queue_id < self.queue_count:
            # Unlike Java, which stores it where nothing ever reads it.
            _log.warn("a receipt names revive queue {queue}: {body}", queue=revive_queue_id, body=body)
            return None
        topic, queue_id = self.topic, revive_queue_id
        properties = {"TAGS": tag, "UNIQ_KEY": key, DELIVER_AT: str(deliver_at_ms)}
        if self._store.is_slave:
            if self.elsewhere is None or not self.elsewhere.acting:
                raise RequestError("a slave takes no check points", ResponseCode.SERVICE_NOT_AVAILABLE)
            return self.elsewhere.post(topic, queue_id, body, properties)
        text = encode_properties(properties).decode()
        try:
            aside = self._levels.put_aside(topic, queue_id, properties, text)
        except RequestError as refused:
            raise RequestError(refused.remark, ResponseCode.SYSTEM_ERROR) from refused
        if aside is not None:
            topic, queue_id, text = aside
        return self._store.stage(
            topic,
            queue_id,
            body,
            text.encode(),
            tags_code=tags_code(tag),
            keys=message_keys(properties),
            flag=0,
            sys_flag=0,
            born_timestamp=self._wall_clock_ms(),
            born_host=self.store_host,
        )


def _key(of: PopCheckPoint | PopAck, offset: str, tag: str) -> str:
    return f"{of.topic}@{of.queue_id}@{offset}@{of.consumer_group}@{of.pop_time}@{of.broker_name}@{tag}"


def first_problem(posted: list[Deferred[str | None]]) -> Deferred[str | None]:
    """Wait for all of them; give the first problem, None when there was none."""
    for done in posted:
        done.addErrback(_unexpected)
    return gatherResults(posted).addCallback(lambda problems: next((each for each in problems if each), None))


def _unexpected(failure: Failure) -> str:
    _log.failure("a check point or an acknowledgement was not sent", failure)
    return f"{type(failure.value).__name__}: {failure.getErrorMessage()}"
