"""CONSUMER_SEND_MSG_BACK: a consumer failed on a message and wants it once more, later, or never again.

Source: `AbstractSendMessageProcessor.consumerSendMsgBack` (5.5.0).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result, Staged
from rmqd.store.errors import ColdRead, StoreError
from rmqwire.codes import ResponseCode, Version
from rmqwire.errors import MalformedMessage, RequestError
from rmqwire.hashing import tags_code
from rmqwire.message import (
    StoredMessage,
    decode_properties,
    decode_record,
    encode_message_id,
    encode_properties,
    message_keys,
)
from rmqwire.requests.send import ConsumerSendMsgBack

from .delay import DELAY
from .send_checks import DLQ_PREFIX, RETRY_PREFIX

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore, StagedPut
    from rmqwire.bodies import SubscriptionGroupConfig

    from .delay import DelayLevels
    from .groups import SubscriptionGroups
    from .send import SendSettings
    from .stats import BrokerStats
    from .topics import TopicTable

_FAQ = " \nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."
_PERM_READ_WRITE = 6
_PERM_WRITE = 2
_UNIT_SUB = 2
_DLQ_QUEUES = 1
_FIRST_LEVEL = 3
_DELAY_OFF_LEVEL = 0


class SendBackHandlers:
    """Stores messages for another try, or as dead letters.

    Args:
        store: Read from and put to.
        topics: Retry and dead-letter topics are made on demand.
        groups: How often a group tries.
        settings: `brokerPermission`.
        levels: Delay levels.
        stats: Counts.
        run_in_thread: Reads what is not in memory.
    """

    def __init__(
        self,
        store: MessageStore,
        topics: TopicTable,
        groups: SubscriptionGroups,
        settings: SendSettings,
        levels: DelayLevels,
        stats: BrokerStats,
        run_in_thread: Callable[..., Deferred[Any]],
    ) -> None:
        self._store = store
        self._topics = topics
        self._groups = groups
        self._settings = settings
        self._levels = levels
        self._stats = stats
        self._run_in_thread = run_in_thread

    @handles(ConsumerSendMsgBack)
    def send_back(self, request: Request, header: ConsumerSendMsgBack) -> Result:
        """Put a message back."""
        group = self._groups.find(header.group)
        if group is None:
            raise RequestError(
                f"subscription group not exist, {header.group}{_FAQ}", ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST
            )
        if not self._settings.broker_permission & _PERM_WRITE:
            raise RequestError(
                f"the broker[{self._settings.broker_ip}] sending message is forbidden", ResponseCode.NO_PERMISSION
            )
        if group.retry_queue_nums <= 0:
            return Reply()
        topic = RETRY_PREFIX + header.group
        config = self._topics.create_for_send_back(
            topic, group.retry_queue_nums, _PERM_READ_WRITE, _UNIT_SUB if header.unit_mode else 0
        )
        if config is None:
            raise RequestError(f"topic[{topic}] not exist", ResponseCode.SYSTEM_ERROR)
        if not config.perm & _PERM_WRITE:
            raise RequestError(f"the topic[{topic}] sending message is forbidden", ResponseCode.NO_PERMISSION)
        try:
            record = self._store.read_record(header.offset, allow_cold=False)
        except ColdRead:
            return self._run_in_thread(self._store.read_record, header.offset, allow_cold=True).addCallback(
                lambda late: self._put_now(request, header, group, late)
            )
        return Staged(self._stage(request, header, group, record))

    def _put_now(
        self, request: Request, header: ConsumerSendMsgBack, group: SubscriptionGroupConfig, record: bytes | None
    ) -> Reply:
        """Put a message outside of the dispatcher's turn, where nobody else commits."""
        finish = self._stage(request, header, group, record)
        failed: StoreError | None = None
        try:
            self._store.commit()
        except StoreError as cause:
            failed = cause
        return finish(failed)

    def _stage(
        self, request: Request, header: ConsumerSendMsgBack, group: SubscriptionGroupConfig, record: bytes | None
    ) -> Callable[[Exception | None], Reply]:
        if record is None:
            raise RequestError(f"look message by offset failed, {header.offset}", ResponseCode.SYSTEM_ERROR)
        try:
            message = decode_record(record)
        except MalformedMessage as cause:
            raise RequestError(f"look message by offset failed, {header.offset}", ResponseCode.SYSTEM_ERROR) from cause
        properties = decode_properties(message.properties)
        properties.setdefault("RETRY_TOPIC", message.topic)
        properties.setdefault("ORIGIN_MESSAGE_ID", encode_message_id(message.store_host, message.physical_offset))
        properties["WAIT"] = "false"
        level = header.delay_level
        dead = message.reconsume_times >= self._tries(request, header, group) or level < 0
        if dead:
            topic, queue_id = self._dead_letter(header.group, message, properties)
        else:
            topic, queue_id = RETRY_PREFIX + header.group, random.randrange(group.retry_queue_nums)  # noqa: S311
            properties[DELAY] = str(level if level > 0 else _FIRST_LEVEL + message.reconsume_times)
        topic, queue_id, size = self._stage_again(topic, queue_id, message, properties)

        def finish(failed: Exception | None) -> Reply:
            if failed is not None:
                return Reply(code=ResponseCode.SYSTEM_ERROR, remark=str(failed))
            if dead:
                self._stats.stored(size)
                self._stats.sent_to_dead_letters(header.group, header.origin_topic)
            else:
                self._stats.put_one(topic, queue_id, size)
            self._stats.sent_back(header.group, properties["RETRY_TOPIC"])
            return Reply()

        return finish

    @staticmethod
    def _tries(request: Request, header: ConsumerSendMsgBack, group: SubscriptionGroupConfig) -> int:
        if header.max_reconsume_times is not None and request.version >= Version.V3_4_9:
            return header.max_reconsume_times
        return group.retry_max_times

    def _dead_letter(self, group: str, message: StoredMessage, properties: dict[str, str]) -> tuple[str, int]:
        topic = DLQ_PREFIX + group
        if self._topics.create_for_send_back(topic, _DLQ_QUEUES, _PERM_READ_WRITE, 0) is None:
            raise RequestError(f"topic[{topic}] not exist", ResponseCode.SYSTEM_ERROR)
        properties[DELAY] = str(_DELAY_OFF_LEVEL)
        return topic, 0

    def _stage_again(
        self, topic: str, queue_id: int, message: StoredMessage, properties: dict[str, str]
    ) -> tuple[str, int, int]:
        """Stage a message and tell its topic, its queue and its size."""
        text = encode_properties(properties).decode()
        aside = self._levels.put_aside(topic, queue_id, properties, text)
        if aside is not None:
            topic, queue_id, text = aside
        put: StagedPut = self._store.stage(
            topic,
            queue_id,
            message.body,
            text.encode(),
            tags_code=tags_code(properties.get("TAGS")),
            keys=message_keys(properties),
            flag=message.flag,
            sys_flag=message.sys_flag,
            born_timestamp=message.born_timestamp,
            born_host=message.born_host,
            reconsume_times=message.reconsume_times + 1,
        )
        return topic, queue_id, put.size
