"""SEND_MESSAGE in its three forms: one message, the one-letter header, a batch.

A handler stages its message in the store and returns a `Staged` reply; the dispatcher commits once for all sends of a
socket read. Source: `SendMessageProcessor` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result, Staged
from rmqd.store.errors import StoreError
from rmqwire.codes import RequestCode, ResponseCode
from rmqwire.errors import MalformedMessage, RequestError
from rmqwire.hashing import tags_code
from rmqwire.message import (
    SYS_FLAG_MULTI_TAGS,
    SYS_FLAG_TRANSACTION_MASK,
    message_keys,
)
from rmqwire.requests.send import SendBatchMessage, SendMessage, SendMessageV2

from .delay import DELAY, PUT_ASIDE, delay_level
from .names import TRANS_HALF_TOPIC
from .send_batch import check_batch, check_batch_size
from .send_checks import RETRY_PREFIX, check_topic, illegal_message, pick_queue
from .send_properties import UNIQ_KEY, PropertyRules, without_property
from .transaction_messages import TRAN_MSG, half_text, opens_transaction

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore
    from rmqwire.bodies import TopicConfig

    from .delay import DelayLevels
    from .retry_routing import RetryRouting
    from .send_replies import SendReplies
    from .stats import BrokerStats
    from .topics import TopicTable

Header = SendMessage | SendMessageV2 | SendBatchMessage

WhenSafe = Callable[[int], "Deferred[int] | None"]


@dataclass(slots=True)
class SendSettings:
    """The few options that sends follow; changed at run time by updateBrokerConfig."""

    broker_permission: int
    broker_ip: str
    max_message_size: int
    start_accept_send_request_at_ms: int = 0
    is_slave: bool = False
    reject_transaction_message: bool = False
    too_few_replicas: Callable[[], bool] | None = None
    """Tells whether a message that waits for slaves must be refused; None where that is never so."""


class SendHandlers:
    """Stores what producers send.

    Args:
        store: Where messages go.
        topics: Known topics, and how new ones come to be.
        settings: Limits and permissions.
        replies: Writes the answers.
        rules: What the broker adds to properties.
        stats: Counts puts.
        wall_clock_ms: For `startAcceptSendRequestTimeStamp`.
        when_safe: Given the end of a stored record, a Deferred of the response code once the record is as safe as the
            configuration promises, or None when it is already. None altogether for ASYNC_FLUSH without replicas.
        unique_id: Makes a UNIQ_KEY for messages that have none.
        levels: Delay levels.
        retries: What becomes of messages that clients send to retry topics.
        opened: Told the real topic of each half message that has been stored.
    """

    def __init__(
        self,
        store: MessageStore,
        topics: TopicTable,
        settings: SendSettings,
        replies: SendReplies,
        rules: PropertyRules,
        stats: BrokerStats,
        wall_clock_ms: Callable[[], int],
        unique_id: Callable[[], str],
        levels: DelayLevels,
        retries: RetryRouting,
        when_safe: WhenSafe | None = None,
        opened: Callable[[str], None] | None = None,
    ) -> None:
        self._opened = opened
        self.store = store
        self.topics = topics
        self.settings = settings
        self.replies = replies
        self.rules = rules
        self.stats = stats
        self._wall_clock_ms = wall_clock_ms
        self._unique_id = unique_id
        self._levels = levels
        self._retries = retries
        self._when_safe = when_safe

    @handles(SendMessage, SendMessageV2, SendBatchMessage)
    def send(self, request: Request, header: Header) -> Result:
        """Store one message or one batch."""
        try:
            self._check_service()
            config = check_topic(
                self.topics,
                request,
                header,
                broker_permission=self.settings.broker_permission,
                broker_ip=self.settings.broker_ip,
            )
            if not request.body:  # as Java, where a frame without a body has none, not an empty one
                raise RequestError("the message has no body")
            if header.batch or request.code == RequestCode.SEND_BATCH_MESSAGE:
                return self._send_batch(request, header, config)
            return self._send_one(request, header, config)
        except RequestError as refused:
            return self.replies.refused(refused.code, refused.remark)
        except StoreError as failed:
            return self.not_stored(failed)

    def _check_service(self) -> None:
        settings = self.settings
        if settings.is_slave:
            raise RequestError("[REJECTREQUEST]system busy, start flow control for a while", ResponseCode.SYSTEM_BUSY)
        begins_ms = settings.start_accept_send_request_at_ms
        if begins_ms and begins_ms > self._wall_clock_ms():
            raise RequestError(
                f"broker unable to service, until {settings.start_accept_send_request_at_ms}",
                ResponseCode.SYSTEM_ERROR,
            )

    def _send_one(self, request: Request, header: Header, config: TopicConfig) -> Result:
        topic = header.topic
        queue_id = pick_queue(header.queue_id, config)
        properties, text = self.rules.apply(header.properties or "")
        unique_key = properties.get(UNIQ_KEY)
        if not unique_key:
            unique_key = properties[UNIQ_KEY] = self._unique_id()
            text += f"{UNIQ_KEY}\x01{unique_key}\x02"
        self._check_replicas(properties)
        put_topic, put_queue_id = topic, queue_id
        recall_handle = ""
        if topic.startswith(RETRY_PREFIX):
            dead_letter_topic = self._retries.dead_letter_topic(request, header)
            if dead_letter_topic is not None:
                put_topic, put_queue_id = dead_letter_topic, 0
                properties[DELAY] = "-1"
                text = without_property(text, DELAY) + f"{DELAY}\x01-1\x02"
        sys_flag = header.sys_flag
        opens = TRAN_MSG in properties and opens_transaction(properties, header.reconsume_times or 0)
        if opens:
            self._check_transactions()
            delay_level(properties)  # refused now, as it would be when it is committed
            text = half_text(text, put_topic, put_queue_id, properties, unique_key)
            real_topic, put_topic, put_queue_id = put_topic, TRANS_HALF_TOPIC, 0
            sys_flag &= ~SYS_FLAG_TRANSACTION_MASK
        elif not PUT_ASIDE.isdisjoint(properties):
            aside = self._levels.put_aside(put_topic, put_queue_id, properties, text)
            if aside is not None:
                put_topic, put_queue_id, text = aside
                recall_handle = self._levels.recall_handle(put_topic, topic, text, unique_key)
        tags = properties.get("TAGS")
        if config.topic_filter_type == "MULTI_TAG":
            sys_flag |= SYS_FLAG_MULTI_TAGS
        put = self.store.stage(
            put_topic,
            put_queue_id,
            request.body,
            text.encode(),
            tags_code=tags_code(tags),
            keys=message_keys(properties),
            flag=header.flag,
            sys_flag=sys_flag,
            born_timestamp=header.born_timestamp,
            born_host=request.connection.born_host,
            reconsume_times=header.reconsume_times or 0,
        )

        def answer(code: int) -> bytes:
            return self.replies.stored(
                request.opaque, code, put.physical_offset, queue_id, put.queue_offset, unique_key, recall_handle
            )

        def finish(failed: Exception | None) -> Result:
            if failed is not None:
                return self.not_stored(failed)
            self.stats.put_one(put_topic, put_queue_id, put.size)
            if opens and self._opened is not None:
                self._opened(real_topic)
            wait = None
            if self._when_safe is not None and properties.get("WAIT") != "false":
                wait = self._when_safe(put.physical_offset + put.size)
            if self.topics.unsaved:
                wait = self._when_topic_saved(topic, wait)
            return answer(0) if wait is None else wait.addCallback(answer)

        return Staged(finish)

    def _check_replicas(self, properties: dict[str, str]) -> None:
        too_few = self.settings.too_few_replicas
        if too_few is not None and properties.get("WAIT") != "false" and too_few():
            raise RequestError("in-sync replicas not enough", ResponseCode.SYSTEM_ERROR)

    def _check_transactions(self) -> None:
        if self.settings.reject_transaction_message:
            raise RequestError(
                f"the broker[{self.settings.broker_ip}] sending transaction message is forbidden",
                ResponseCode.NO_PERMISSION,
            )

    def _send_batch(self, request: Request, header: Header, config: TopicConfig) -> Result:
        topic = header.topic
        properties = check_batch(topic, header.properties, self.settings.max_message_size)
        self._check_replicas(properties)
        queue_id = pick_queue(header.queue_id, config)
        sys_flag = header.sys_flag
        if config.topic_filter_type == "MULTI_TAG":
            sys_flag |= SYS_FLAG_MULTI_TAGS
        check_batch_size(request.body, self.settings.max_message_size)
        try:
            batch = self.store.stage_client_batch(
                topic,
                queue_id,
                request.body,
                sys_flag=sys_flag,
                born_timestamp=header.born_timestamp,
                born_host=request.connection.born_host,
                reconsume_times=header.reconsume_times or 0,
            )
        except MalformedMessage as cause:  # SYSTEM_ERROR, as in Java, where the reading code throws
            raise RequestError(f"the batch cannot be read: {cause}") from cause

        def answer(code: int) -> bytes:
            return self.replies.stored_batch(request.opaque, code, batch.physical_offsets, queue_id, batch.queue_offset)

        def finish(failed: Exception | None) -> Result:
            if failed is not None:
                return self.not_stored(failed)
            self.stats.put(topic, len(batch.physical_offsets), batch.size)
            wait = None
            if self._when_safe is not None and properties.get("WAIT") != "false":
                wait = self._when_safe(batch.end)
            if self.topics.unsaved:
                wait = self._when_topic_saved(topic, wait)
            return answer(0) if wait is None else wait.addCallback(answer)

        return Staged(finish)

    def _when_topic_saved(self, topic: str, wait: Deferred[int] | None) -> Deferred[int] | None:
        """Acknowledge the first messages of a topic when the topic itself would survive a crash."""
        if topic not in self.topics.unsaved:
            return wait
        return self.topics.saved().addCallback(lambda _: 0 if wait is None else wait)

    def not_stored(self, failed: BaseException | None) -> Reply:
        """Answer a message that the store did not take."""
        code = getattr(failed, "response_code", ResponseCode.SYSTEM_ERROR)
        return self.replies.refused(code, self._remark(code, failed))

    def _remark(self, code: int, failed: BaseException | None) -> str:
        if code == ResponseCode.MESSAGE_ILLEGAL:
            return illegal_message(self.settings.max_message_size, str(failed))
        if code == ResponseCode.SERVICE_NOT_AVAILABLE:
            return (
                "service not available now. It may be caused by one of the following reasons: the broker's disk is"
                f" full, messages are put to the slave, message store has been shut down, etc. {failed}"
            )
        return str(failed)
