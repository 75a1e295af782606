"""END_TRANSACTION and RESUME_CHECK_HALF_MESSAGE: a producer ends a transaction, an administrator has it asked again.

Source: `EndTransactionProcessor`, `AdminBrokerProcessor.resumeCheckHalfMessage` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result, Staged
from rmqd.store.errors import ColdRead, StoreError
from rmqwire.codes import ResponseCode
from rmqwire.errors import MalformedMessage, RequestError
from rmqwire.message import SYS_FLAG_TRANSACTION_COMMIT, SYS_FLAG_TRANSACTION_ROLLBACK, decode_message_id
from rmqwire.requests.transaction import EndTransaction, ResumeCheckHalfMessage

from .names import TRANS_HALF_TOPIC
from .transaction_messages import HalfMessage

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore

    from .delay import DelayLevels
    from .ha_acks import WhenSafe
    from .send import SendSettings
    from .stats import BrokerStats
    from .topic_counts import TopicCounts
    from .transaction_ends import EndNotes
    from .transaction_settings import TransactionSettings

_NOT_FOUND = "Find prepared transaction message failed"
_NOT_RESUMED = "Exception was thrown when putting message back to RMQ_SYS_TRANS_HALF_TOPIC."
Finish = Callable[[Exception | None], Result]


class TransactionHandlers:
    """Ends transactions.

    Args:
        store: Where half messages are, and committed ones go.
        ends: Takes note of what has ended.
        counts: Of open transactions.
        levels: A committed message may ask for a delay.
        settings: Times.
        send_settings: Whether this is a slave; the size limit that remarks tell.
        stats: Counts of puts.
        wall_clock_ms: Tells how old a half message is.
        run_in_thread: Reads what is not in memory.
        when_safe: As for sends; late or not, a committed message is stored and answered SUCCESS, as Java does.
    """

    def __init__(
        self,
        store: MessageStore,
        ends: EndNotes,
        counts: TopicCounts,
        levels: DelayLevels,
        settings: TransactionSettings,
        send_settings: SendSettings,
        stats: BrokerStats,
        wall_clock_ms: Callable[[], int],
        run_in_thread: Callable[..., Deferred[Any]],
        when_safe: WhenSafe | None = None,
    ) -> None:
        self._store = store
        self._ends = ends
        self._counts = counts
        self._levels = levels
        self._settings = settings
        self._send_settings = send_settings
        self._stats = stats
        self._wall_clock_ms = wall_clock_ms
        self._run_in_thread = run_in_thread
        self._when_safe = when_safe

    @handles(EndTransaction)
    def end(self, request: Request, header: EndTransaction) -> Result:
        """Commit or roll back; a producer that does not know yet is asked later, and not answered."""
        if self._send_settings.is_slave:
            raise RequestError("a slave ends no transactions", ResponseCode.SLAVE_NOT_AVAILABLE)
        if header.commit_or_rollback not in (SYS_FLAG_TRANSACTION_COMMIT, SYS_FLAG_TRANSACTION_ROLLBACK):
            return None
        return self._with_record(header.commit_log_offset, lambda record: self._end(header, record))

    @handles(ResumeCheckHalfMessage)
    def resume(self, request: Request, header: ResumeCheckHalfMessage) -> Result:
        """Put a message that was given up, or an open half message, among the half messages as if it were new."""
        try:
            _, offset = decode_message_id(header.msg_id or "")
        except MalformedMessage as cause:
            raise RequestError(f"{_NOT_RESUMED} {cause}", ResponseCode.SYSTEM_ERROR) from cause
        return self._with_record(offset, self._resume)

    def _with_record(self, offset: int, use: Callable[[bytes | None], Finish]) -> Result:
        try:
            record = self._store.read_record(offset, allow_cold=False) if offset >= 0 else None
        except ColdRead:
            late = self._run_in_thread(self._store.read_record, offset, allow_cold=True)
            return late.addCallback(lambda found: self._now(use, found))
        return Staged(use(record))

    def _now(self, use: Callable[[bytes | None], Finish], record: bytes | None) -> Any:
        """Do it outside of the dispatcher's turn, where nobody else commits."""
        finish = use(record)
        failed: StoreError | None = None
        try:
            self._store.commit()
        except StoreError as cause:
            failed = cause
        return finish(failed)

    def _end(self, header: EndTransaction, record: bytes | None) -> Finish:
        half = _half(record)
        if not header.from_transaction_check:
            limit_ms = half.commit_limit_ms(self._settings.timeout_ms)
            if limit_ms is not None and self._wall_clock_ms() - half.message.born_timestamp > limit_ms:
                raise RequestError(
                    "later than CHECK_IMMUNITY_TIME_IN_SECONDS, wait for the check", ResponseCode.ILLEGAL_OPERATION
                )
        if half.producer_group != header.producer_group:
            raise RequestError("The producer group wrong", ResponseCode.SYSTEM_ERROR)
        if half.message.queue_offset != header.tran_state_table_offset:
            raise RequestError("The transaction state table offset wrong", ResponseCode.SYSTEM_ERROR)
        if half.message.physical_offset != header.commit_log_offset:
            raise RequestError("The commit log offset wrong", ResponseCode.SYSTEM_ERROR)
        if header.commit_or_rollback == SYS_FLAG_TRANSACTION_ROLLBACK:
            return lambda failed: self._ended(half)
        too_few = self._send_settings.too_few_replicas
        if too_few is not None and half.waits and too_few():
            raise RequestError("in-sync replicas not enough", ResponseCode.SYSTEM_ERROR)
        try:
            topic, put = half.stage_committed(self._store, self._levels)
        except StoreError as cause:
            raise RequestError(self._remark(cause), _code(cause)) from cause

        def finish(failed: Exception | None) -> Result:
            if failed is not None:
                return Reply(code=_code(failed), remark=self._remark(failed))
            self._stats.put(topic, 1, put.size)
            # The note of the end lies behind the message in the log: no slave has the one without the other.
            ended = self._ended(half)
            wait = None
            if self._when_safe is not None and half.waits:
                wait = self._when_safe(put.physical_offset + put.size)
            return ended if wait is None else wait.addCallback(lambda _: ended)

        return finish

    def _ended(self, half: HalfMessage) -> Reply:
        self._ends.add(half.message.queue_id, half.message.queue_offset)
        self._counts.add(half.real_topic, -1)
        return Reply()

    def _remark(self, failed: Exception) -> str:
        code = _code(failed)
        if code == ResponseCode.MESSAGE_ILLEGAL:
            return (
                "The message is illegal, maybe msg body or properties length not matched. msg body length limit"
                f" {self._send_settings.max_message_size}B, msg properties length limit 32KB. {failed}"
            )
        if code == ResponseCode.SERVICE_NOT_AVAILABLE:
            return f"Service not available now. {failed}"
        return str(failed)

    def _resume(self, record: bytes | None) -> Finish:
        try:
            if record is None:
                raise RequestError(f"{_NOT_RESUMED} There is no message at this offset", ResponseCode.SYSTEM_ERROR)
            put = HalfMessage(record).stage_resumed(self._store)
        except (MalformedMessage, StoreError) as cause:
            raise RequestError(f"{_NOT_RESUMED} {cause}", ResponseCode.SYSTEM_ERROR) from cause

        def finish(failed: Exception | None) -> Reply:
            if failed is not None:
                remark = f"Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed. {failed}"
                return Reply(code=ResponseCode.SYSTEM_ERROR, remark=remark)
            self._stats.put(TRANS_HALF_TOPIC, 1, put.size)
            return Reply()

        return finish


def _half(record: bytes | None) -> HalfMessage:
    if record is not None:
        try:
            half = HalfMessage(record)
        except MalformedMessage as cause:
            raise RequestError(_NOT_FOUND, ResponseCode.SYSTEM_ERROR) from cause
        if half.is_half:  # unlike Java: what lies elsewhere cannot be ended, or it would be delivered twice
            return half
    raise RequestError(_NOT_FOUND, ResponseCode.SYSTEM_ERROR)


def _code(failed: Exception) -> int:
    return int(getattr(failed, "response_code", ResponseCode.SYSTEM_ERROR))
