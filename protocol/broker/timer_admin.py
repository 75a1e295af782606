"""RECALL_MESSAGE, GET_TIMER_CHECK_POINT, GET_TIMER_METRICS, SWITCH_TIMER_ENGINE.

Source: `RecallMessageProcessor`, `AdminBrokerProcessor.getTimerCheckPoint`, `getTimerMetrics` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result, Staged
from rmqd.store.errors import StoreError
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.hashing import tags_code
from rmqwire.message import encode_properties
from rmqwire.requests import (
    GetTimerCheckPoint,
    GetTimerMetrics,
    RecallMessage,
    RecallMessageReply,
    SwitchTimerEngine,
)

from .timer import DELETE_KEY, DELIVER_MS, RecallHandle, TimerRules, delete_key, java_long

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore

    from .ha_acks import WhenSafe
    from .send import SendSettings
    from .stats import BrokerStats
    from .timer_service import TimerService
    from .topics import TopicTable

_RECALL_TAG = "_RECALL_TAG_"
_NOT_AVAILABLE = "recall failed, broker service not available"
_PERM_WRITE = 2


class RecallHandlers:
    """Takes delayed messages back: a message to the timer tells it to leave another one out.

    Args:
        store: Where it goes.
        topics: Which there are.
        rules: Of the timer.
        send_settings: Of the broker.
        stats: Counts puts.
        wall_clock_ms: Tells what is too late.
        when_safe: As for sends; late or not, the recall is stored and answered SUCCESS, as Java does.
        broker_name: Which a handle must name.
        region_id: `regionId`.
    """

    def __init__(
        self,
        store: MessageStore,
        topics: TopicTable,
        rules: TimerRules,
        send_settings: SendSettings,
        stats: BrokerStats,
        wall_clock_ms: Callable[[], int],
        when_safe: WhenSafe | None = None,
        *,
        broker_name: str,
        region_id: str,
    ) -> None:
        self._store = store
        self._topics = topics
        self._rules = rules
        self._send_settings = send_settings
        self._stats = stats
        self._wall_clock_ms = wall_clock_ms
        self._when_safe = when_safe
        self._broker_name = broker_name
        self._ext = {"MSG_REGION": region_id}

    @handles(RecallMessage)
    def recall(self, request: Request, header: RecallMessage) -> Result:
        """Take a message back by its handle; that there is such a message is not known before its time."""
        try:
            self._check(header)
            handle = self._handle(header)
            finish = self._stage(request, header, handle)
        except RequestError as refused:
            return Reply(code=refused.code, remark=refused.remark, ext=self._ext)
        return Staged(finish)

    def _check(self, header: RecallMessage) -> None:
        settings, timer = self._send_settings, self._rules.settings
        if not timer.recall_enabled:
            raise RequestError("recall failed, operation is forbidden", ResponseCode.NO_PERMISSION)
        if settings.is_slave:
            raise RequestError(_NOT_AVAILABLE, ResponseCode.SLAVE_NOT_AVAILABLE)
        writable = settings.broker_permission & _PERM_WRITE or timer.recall_when_not_writable
        if not writable or self._wall_clock_ms() < settings.start_accept_send_request_at_ms:
            raise RequestError(_NOT_AVAILABLE, ResponseCode.SERVICE_NOT_AVAILABLE)
        if self._topics.get(header.topic) is None:
            raise RequestError(f"recall failed, the topic[{header.topic}] not exist", ResponseCode.TOPIC_NOT_EXIST)

    def _handle(self, header: RecallMessage) -> RecallHandle:
        handle = RecallHandle.decode(header.recall_handle)
        if handle.topic != header.topic:
            raise RequestError("recall failed, topic not match", ResponseCode.ILLEGAL_OPERATION)
        if handle.broker_name != self._broker_name:
            raise RequestError(_NOT_AVAILABLE, ResponseCode.ILLEGAL_OPERATION)
        timestamp = java_long(handle.timestamp)
        left_ms = -1 if timestamp is None else timestamp - self._wall_clock_ms()
        if not 0 < left_ms < self._rules.settings.max_delay_s * 1000:
            raise RequestError("recall failed, timestamp invalid", ResponseCode.ILLEGAL_OPERATION)
        return handle

    def _stage(
        self, request: Request, header: RecallMessage, handle: RecallHandle
    ) -> Callable[[Exception | None], Result]:
        now_ms = self._wall_clock_ms()
        key = delete_key(handle.topic, handle.unique_key, self._rules.settings.append_topic)
        properties = {
            "TAGS": _RECALL_TAG,
            DELETE_KEY: key,
            "UNIQ_KEY": handle.unique_key,
            DELIVER_MS: handle.timestamp,
            "BORN_TIMESTAMP": str(now_ms),
            "TRACE_CONTEXT": "",
        }
        if header.producer_group is not None:
            properties["PGROUP"] = header.producer_group
        failure = Reply(code=ResponseCode.SYSTEM_ERROR, remark="recall failed, execute error", ext=self._ext)
        try:
            aside = self._rules.put_aside(handle.topic, 0, properties, encode_properties(properties).decode())
            if aside is None:  # its time came in this very moment
                return lambda _: failure
            topic, queue_id, text = aside
            put = self._store.stage(
                topic,
                queue_id,
                b"0",
                text.encode(),
                tags_code=tags_code(_RECALL_TAG),
                keys=(handle.unique_key,),
                flag=0,
                sys_flag=0,
                born_timestamp=now_ms,
                born_host=request.connection.born_host,
            )
        except (RequestError, StoreError):
            return lambda _: failure

        def finish(failed: Exception | None) -> Result:
            if failed is not None:
                return failure
            self._stats.put(topic, 1, put.size)
            reply = Reply(RecallMessageReply(msg_id=handle.unique_key), ext=self._ext)
            wait = self._when_safe(put.physical_offset + put.size) if self._when_safe is not None else None
            return reply if wait is None else wait.addCallback(lambda _: reply)

        return finish


class TimerStateHandlers:
    """Tells slaves and tools how far the timer is.

    Args:
        timer: None when `timerWheelEnable` is false.
    """

    def __init__(self, timer: TimerService | None) -> None:
        self._timer = timer

    @handles(GetTimerCheckPoint)
    def checkpoint(self, request: Request, header: GetTimerCheckPoint) -> Result:
        """Give the 56 bytes of the checkpoint."""
        if self._timer is None:
            raise RequestError("The checkpoint is null", ResponseCode.SYSTEM_ERROR)
        return Reply(body=self._timer.files.current().fields())

    @handles(GetTimerMetrics)
    def metrics(self, request: Request, header: GetTimerMetrics) -> Result:
        """Give the counts."""
        if self._timer is None:
            raise RequestError("The timer message store is null", ResponseCode.SYSTEM_ERROR)
        return Reply(body=self._timer.counts.encode())

    @handles(SwitchTimerEngine)
    def switch(self, request: Request, header: SwitchTimerEngine) -> Result:
        """Choose where delayed messages wait: in the files of the wheel, the only place there is here."""
        if header.engine_type not in ("F", "R"):
            raise RequestError("switchTimerEngine engineType error", ResponseCode.INVALID_PARAMETER)
        if header.engine_type == "R":
            raise RequestError("there is no RocksDB here for delayed messages to wait in", ResponseCode.SYSTEM_ERROR)
        if self._timer is None:
            raise RequestError(
                "timerWheelEnable is false: set it, and start the broker again", ResponseCode.SYSTEM_ERROR
            )
        return Reply()
