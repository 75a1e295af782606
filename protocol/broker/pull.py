"""PULL_MESSAGE and LITE_PULL_MESSAGE, with long polling.

Source: `PullMessageProcessor`, `DefaultPullMessageResultHandler` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result, encode_reply
from rmqd.store.errors import ColdRead
from rmqd.store.reading import MAX_PULL_BYTES, GetResult, GetStatus
from rmqwire.codes import OUR_VERSION, RequestCode, ResponseCode
from rmqwire.command import LANGUAGE
from rmqwire.errors import RequestError
from rmqwire.frames import JSON, encode_frame
from rmqwire.requests.pull import LitePullMessage, PullMessage

from .cold_data import BUSY, HOLD_MS
from .pull_checks import FORBIDDEN_BROKER, SYSFLAG_COMMIT_OFFSET, SYSFLAG_SUSPEND, PullChecks, PullRefused

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore
    from rmqwire.bodies import SubscriptionGroupConfig, TopicConfig

    from .cold_data import ColdData
    from .holds import PullHolds
    from .offsets import ConsumerOffsets
    from .selection import Selection
    from .slow_groups import SlowGroups
    from .stats import BrokerStats

_log = Logger()

_CODES = {
    GetStatus.FOUND: ResponseCode.SUCCESS,
    GetStatus.MESSAGE_WAS_REMOVING: ResponseCode.PULL_RETRY_IMMEDIATELY,
    GetStatus.NO_MATCHED_MESSAGE: ResponseCode.PULL_RETRY_IMMEDIATELY,
    GetStatus.NO_MATCHED_LOGIC_QUEUE: ResponseCode.PULL_NOT_FOUND,
    GetStatus.NO_MESSAGE_IN_QUEUE: ResponseCode.PULL_NOT_FOUND,
    GetStatus.OFFSET_FOUND_NULL: ResponseCode.PULL_NOT_FOUND,
    GetStatus.OFFSET_OVERFLOW_ONE: ResponseCode.PULL_NOT_FOUND,
    GetStatus.OFFSET_OVERFLOW_BADLY: ResponseCode.PULL_OFFSET_MOVED,
    GetStatus.OFFSET_TOO_SMALL: ResponseCode.PULL_OFFSET_MOVED,
    GetStatus.OFFSET_RESET: ResponseCode.PULL_OFFSET_MOVED,
}
_EMPTY_QUEUE = (GetStatus.NO_MATCHED_LOGIC_QUEUE, GetStatus.NO_MESSAGE_IN_QUEUE)

_NO_QUEUE = ("", -1)

_HEADER = (
    '{"code":%d,"extFields":{"groupSysFlag":"%d","maxOffset":"%d","minOffset":"%d","nextBeginOffset":"%d",'
    '"suggestWhichBrokerId":"%d","topicSysFlag":"%d"},"flag":1,"language":"' + LANGUAGE + '","opaque":%d,'
    '"remark":"%s","serializeTypeCurrentRPC":"JSON","version":' + str(OUR_VERSION) + "}"
)


class PullSettings(msgspec.Struct):
    """The few options that pulls follow; changed at run time by updateBrokerConfig."""

    long_polling_enable: bool = True
    short_polling_time_ms: int = 1000
    lite_pull_message_enable: bool = True
    slave_read_enable: bool = False
    broker_ip: str = ""
    is_slave: bool = False
    refuses_reads: bool = False
    """A slave whose file says `slaveReadEnable=false`; where it says nothing, a slave serves reads, as 4.x."""
    offset_check_in_slave: bool = False
    master_is_alive: Callable[[], bool] = lambda: False
    """Asked by a slave: whether its consumers have somebody better to ask."""


class PullHandlers:
    """Serves consumers.

    Args:
        store: Where messages come from.
        checks: Who may read what.
        offsets: Takes offsets committed along with pulls.
        holds: Keeps pulls that find nothing.
        stats: Counts gets.
        settings: Options.
        slow: Told how far behind each read is.
        read_in_thread: Given the request code and a read of pages that are not in memory.
        cold: Slows groups down that read much of what is cold.
    """

    def __init__(
        self,
        store: MessageStore,
        checks: PullChecks,
        offsets: ConsumerOffsets,
        holds: PullHolds,
        stats: BrokerStats,
        settings: PullSettings,
        slow: SlowGroups,
        read_in_thread: Callable[..., Deferred[Any]],
        cold: ColdData,
    ) -> None:
        self._store = store
        self._checks = checks
        self._offsets = offsets
        self._holds = holds
        self._stats = stats
        self._settings = settings
        self._slow = slow
        self._read_in_thread = read_in_thread
        self._cold = cold

    @handles(PullMessage, LitePullMessage)
    def pull(self, request: Request, header: PullMessage) -> Result:
        """Answer with messages, or hold the pull until there are some."""
        if self._settings.refuses_reads:
            return Reply(
                code=ResponseCode.SYSTEM_BUSY, remark="[REJECTREQUEST]system busy, start flow control for a while"
            )
        return self._pull(request, header, may_hold=True)

    def _pull(self, request: Request, header: PullMessage, *, may_hold: bool, may_slow: bool = True) -> Result:
        try:
            if request.code == RequestCode.LITE_PULL_MESSAGE and not self._settings.lite_pull_message_enable:
                raise PullRefused(
                    f"the broker[{self._settings.broker_ip}] for lite pull consumer is forbidden",
                    ResponseCode.NO_PERMISSION,
                    FORBIDDEN_BROKER,
                )
            topic, group, selection = self._checks.check(request, header)
        except PullRefused as refused:
            return refused.reply()
        if self._cold.settings.enabled and self._cold.slows(
            header.consumer_group, header.topic, header.queue_id, header.queue_offset
        ):
            kind = self._checks.consume_type(header.consumer_group)
            if kind == "CONSUME_PASSIVELY":
                return Reply(code=ResponseCode.SYSTEM_BUSY, remark=BUSY)
            if kind == "CONSUME_ACTIVELY":
                if may_slow and header.logical is not False:  # else somebody waits who changes the answer
                    self._hold_cold(request, header)
                    return None
                header = replace(header, max_msg_nums=1)
        reset = self._offsets.take_reset_offset(header.consumer_group, header.topic, header.queue_id)
        if reset is not None:
            return self._answer(request, header, topic, group, selection, self._reset_to(header, reset), may_hold)
        try:
            found = self._read(header, selection, allow_cold=False)
        except ColdRead:  # the disk is waited for elsewhere
            asked_at_ms = self._stats.now_ms()
            return self._read_in_thread(request.code, self._read, header, selection, allow_cold=True).addCallback(
                lambda warm: self._answer(request, header, topic, group, selection, warm, may_hold, asked_at_ms)
            )
        return self._answer(request, header, topic, group, selection, found, may_hold)

    def _read(self, header: PullMessage, selection: Selection, *, allow_cold: bool) -> GetResult:
        return self._store.get_messages(
            header.topic,
            header.queue_id,
            header.queue_offset,
            header.max_msg_nums,
            tags=selection.tags,
            accepts=selection.accepts,
            max_bytes=MAX_PULL_BYTES,  # as Java: `maxMsgBytes` of the request is not looked at
            allow_cold=allow_cold,
        )

    def _reset_to(self, header: PullMessage, offset: int) -> GetResult:
        """Send a consumer to the offset that an administrator chose for its group."""
        return GetResult(
            GetStatus.OFFSET_RESET,
            offset,
            self._store.min_offset(header.topic, header.queue_id),
            self._store.max_offset(header.topic, header.queue_id),
        )

    def _answer(
        self,
        request: Request,
        header: PullMessage,
        topic: TopicConfig,
        group: SubscriptionGroupConfig,
        selection: Selection,
        found: GetResult,
        may_hold: bool,
        waited_since_ms: int | None = None,
    ) -> bytes | None:
        status = found.status
        code = _CODES[status]
        if status in _EMPTY_QUEUE:
            status = GetStatus.NO_MESSAGE_IN_QUEUE  # as Java, which makes a queue when it is first pulled from
            if header.queue_offset != 0:
                code = ResponseCode.PULL_OFFSET_MOVED
        self._commit_offsets(request, header, found.next_begin_offset, first_pass=may_hold)
        if found.behind_bytes:
            self._slow.note(header.consumer_group, header.topic, header.queue_id, found.behind_bytes)
        if code == ResponseCode.SUCCESS:
            if self._cold.settings.enabled:
                self._cold.note(header.consumer_group, found, waited_since_ms is not None)
            took_ms = 0 if waited_since_ms is None else max(0, self._stats.now_ms() - waited_since_ms)
            self._stats.get(header.consumer_group, header.topic, found.count, len(found.body), header.queue_id, took_ms)
        elif status is not GetStatus.OFFSET_RESET:  # which the store was not asked for
            self._stats.get_missed()
        suggest = 0
        if self._settings.slave_read_enable:
            suggest = group.which_broker_when_consume_slowly if found.suggest_slave else group.broker_id
        if self._settings.is_slave:
            code, suggest = self._as_slave(code, suggest, group, found)
        if code == ResponseCode.PULL_NOT_FOUND and may_hold and header.sys_flag & SYSFLAG_SUSPEND:
            self._hold(request, header, selection)
            return None
        if code == ResponseCode.PULL_OFFSET_MOVED:
            _log.info(
                "{group} asked {topic}-{queue} for {asked} ({status}), sent on to {next}",
                group=header.consumer_group,
                topic=header.topic,
                queue=header.queue_id,
                asked=header.queue_offset,
                status=status.name,
                next=found.next_begin_offset,
            )
        ext = _HEADER % (
            code,
            group.group_sys_flag,
            found.max_offset,
            found.min_offset,
            found.next_begin_offset,
            suggest,
            topic.topic_sys_flag,
            request.opaque,
            status.name,
        )
        return encode_frame(JSON, ext.encode(), found.body)

    def _as_slave(self, code: int, suggest: int, group: SubscriptionGroupConfig, found: GetResult) -> tuple[int, int]:
        """Send consumers back to the master where that knows better; give the code and whom to ask next.

        Source: `PullMessageProcessor.composeResponseHeader`, `DefaultPullMessageResultHandler` (5.3.4).
        """
        if not found.suggest_slave and self._settings.master_is_alive():
            suggest = 0
            if code != ResponseCode.SUCCESS:
                code = ResponseCode.PULL_RETRY_IMMEDIATELY
        if code == ResponseCode.PULL_OFFSET_MOVED and not self._settings.offset_check_in_slave:
            return ResponseCode.PULL_RETRY_IMMEDIATELY, group.broker_id
        return code, suggest

    def _commit_offsets(self, request: Request, header: PullMessage, next_offset: int, *, first_pass: bool) -> None:
        self._offsets.commit_pull_offset(header.consumer_group, header.topic, header.queue_id, next_offset)
        if first_pass and header.sys_flag & SYSFLAG_COMMIT_OFFSET:
            self._offsets.commit(
                header.consumer_group,
                header.topic,
                header.queue_id,
                header.commit_offset,
                client=request.connection.peer,
            )

    def _hold(self, request: Request, header: PullMessage, selection: Selection) -> None:
        settings = self._settings
        self._holds.add(
            (header.topic, header.queue_id),
            request.connection,
            header.queue_offset,
            selection.tags,
            header.suspend_timeout_millis if settings.long_polling_enable else settings.short_polling_time_ms,
            lambda: self._run_again(request, header),
            selection.accepts,
        )

    def _hold_cold(self, request: Request, header: PullMessage) -> None:
        """Keep a pull for a while, whatever arrives: there is no such queue.

        Not one that names the physical queue of a static topic: its offsets have to be changed to logical ones by whom
        it was answered, here or in another broker, which does not wait for long.
        """

        def run() -> None:
            self._run_again(request, header, may_slow=False)

        self._holds.add(_NO_QUEUE, request.connection, header.queue_offset, None, HOLD_MS, run)

    def _run_again(self, request: Request, header: PullMessage, *, may_slow: bool = True) -> None:
        """Execute a held pull without permission to wait once more."""
        try:
            result = self._pull(request, header, may_hold=False, may_slow=may_slow)
        except RequestError as refused:
            result = Reply(code=refused.code, remark=refused.remark)
        except Exception as cause:  # noqa: BLE001  the arrival that woke this pull belongs to somebody else
            _log.failure("a held pull failed")
            result = Reply(code=ResponseCode.SYSTEM_ERROR, remark=f"{type(cause).__name__}: {cause}")
        if isinstance(result, Deferred):
            result.addErrback(_refused)
            result.addCallback(lambda late: self._send(request, late))
        else:
            self._send(request, result)

    @staticmethod
    def _send(request: Request, result: Any) -> None:
        if isinstance(result, bytes):
            request.connection.send(result)
        elif isinstance(result, Reply):
            request.connection.send(encode_reply(request.opaque, result))


def _refused(failure: Failure) -> Reply:
    if isinstance(failure.value, RequestError):
        return Reply(code=failure.value.code, remark=failure.value.remark)
    return Reply(code=ResponseCode.SYSTEM_ERROR, remark=failure.getErrorMessage())
