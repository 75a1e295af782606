"""Flow control: SYSTEM_BUSY for requests that have waited too long, or that too many wait before.

What it is for: a client that hears at once that the broker is busy asks another one, where one that hears nothing asks
again and doubles the load. Requests are served as they are read, so nothing waits in a queue: they wait in the sockets
while a commit takes long, for a thread that reads old files, and for the disk or the slaves that make them safe.
What it must not do: cost anything per message while the broker keeps up, or refuse what may have come a moment ago.

A pass is what the reactor does between two looks at the sockets. All that it reads in one pass was there before the
pass began, so what is read after a slow commit has waited for at least as long as the commit took.

Source: `BrokerFastFailure`, `NettyRemotingAbstract.processRequestCommand`, `DefaultMessageStore.isOSPageCacheBusy`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqd.protocol.replies import Reply
from rmqwire.codes import RequestCode, ResponseCode
from rmqwire.command import FLAG_ONEWAY
from rmqwire.errors import RequestError

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions
    from rmqd.protocol.dispatch import Request
    from rmqd.protocol.turn import Later, WriteBarrier

_log = Logger()
T = TypeVar("T")

_SLOW_COMMIT_S = 0.02
"""Commits that take less are not looked at; no limit of a wait can be shorter."""
_WARN_INTERVAL_S = 10.0
_SECONDS_MAX = 10_000
"""As Java: a longer commit is a clock that was set."""

SENDS = frozenset(
    (
        RequestCode.SEND_MESSAGE,
        RequestCode.SEND_MESSAGE_V2,
        RequestCode.SEND_BATCH_MESSAGE,
        RequestCode.CONSUMER_SEND_MSG_BACK,
        RequestCode.RECALL_MESSAGE,
    )
)
_PULLS = (
    RequestCode.PULL_MESSAGE,
    RequestCode.POP_MESSAGE,
    RequestCode.PEEK_MESSAGE,
    RequestCode.NOTIFICATION,
    RequestCode.POLLING_INFO,
)
_ACKS = (RequestCode.ACK_MESSAGE, RequestCode.BATCH_ACK_MESSAGE, RequestCode.CHANGE_MESSAGE_INVISIBLETIME)
_NO_LIMIT = (
    RequestCode.SEND_REPLY_MESSAGE,
    RequestCode.SEND_REPLY_MESSAGE_V2,
    RequestCode.QUERY_MESSAGE,
    RequestCode.VIEW_MESSAGE_BY_ID,
    RequestCode.UNREGISTER_CLIENT,
    RequestCode.CHECK_CLIENT_CONFIG,
    RequestCode.GET_CONSUMER_LIST_BY_GROUP,
    RequestCode.UPDATE_CONSUMER_OFFSET,
    RequestCode.QUERY_CONSUMER_OFFSET,
    RequestCode.QUERY_ASSIGNMENT,
    RequestCode.SET_MESSAGE_REQUEST_MODE,
)
_OVERLOAD = "[OVERLOAD]system busy, start flow control for a while"


class FlowSettings(msgspec.Struct):
    """The options; changed at run time by updateBrokerConfig."""

    fast_failure: bool = True
    busy_after_s: float = 1.0
    sends_max: int = 10_000
    pulls_max: int = 100_000
    lite_pulls_max: int = 100_000
    others_wait_s: float = 5.0

    waits_s: dict[int, float | None] = msgspec.field(default_factory=dict)
    """Longest wait by request code; None is no limit, and a code that is not named is an administration request."""

    def follow(self, options: BrokerOptions) -> None:
        """Copy the options."""
        broker = options.broker
        self.fast_failure = broker.broker_fast_failure_enable
        self.busy_after_s = options.store.os_page_cache_busy_time_out_mills / 1000
        self.sends_max = broker.send_thread_pool_queue_capacity
        self.pulls_max = broker.pull_thread_pool_queue_capacity
        self.lite_pulls_max = broker.lite_pull_thread_pool_queue_capacity
        self.others_wait_s = broker.wait_time_mills_in_admin_broker_queue / 1000
        self.waits_s = {
            **dict.fromkeys(SENDS, broker.wait_time_mills_in_send_queue / 1000),
            **dict.fromkeys(_PULLS, broker.wait_time_mills_in_pull_queue / 1000),
            RequestCode.LITE_PULL_MESSAGE: broker.wait_time_mills_in_lite_pull_queue / 1000,
            RequestCode.HEART_BEAT: broker.wait_time_mills_in_heartbeat_queue / 1000,
            RequestCode.END_TRANSACTION: broker.wait_time_mills_in_transaction_queue / 1000,
            **dict.fromkeys(_ACKS, broker.wait_time_mills_in_ack_queue / 1000),
            **dict.fromkeys(_NO_LIMIT),
        }


class FlowControl:
    """Judges requests while the broker is behind; commits for the dispatcher, so as to see how long that takes.

    Args:
        store: What commits.
        settings: The limits.
        later: `callLater` of the reactor.
        seconds: A clock that is not set.
        committed: Told how many seconds each commit took.
        read: Told how many seconds each read for a pull took in its thread.

    Attributes:
        closing: Whether requests have to be judged; looked at once per read.
        waiting_sends: Sends that are stored and wait to be safe.
    """

    def __init__(
        self,
        store: WriteBarrier,
        settings: FlowSettings,
        later: Later,
        seconds: Callable[[], float],
        committed: Callable[[float], None] = lambda took_s: None,
        read: Callable[[float], None] = lambda took_s: None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._later = later
        self._seconds = seconds
        self._committed = committed
        self._read = read
        self.closing = False
        self.waiting_sends = 0
        self._waiting_pulls: dict[int, deque[float]] = {
            RequestCode.PULL_MESSAGE: deque(),
            RequestCode.LITE_PULL_MESSAGE: deque(),
        }
        self._in_timer = False
        self._passes_left = 0
        self._waits_since: float | None = None
        self._stall_s = 0.0
        self._warned_at = -_WARN_INTERVAL_S

    # -- what the dispatcher needs -----------------------------------------------------------------------------------

    def commit(self) -> None:
        """Commit, and see how long it takes."""
        began = self._seconds()
        try:
            self._store.commit()
        finally:
            took = self._seconds() - began
            self._committed(took)
            if _SLOW_COMMIT_S <= took < _SECONDS_MAX:
                self._slow(began, took)

    def when_committed(self, told: Callable[[Exception | None], None]) -> None:
        """As the store."""
        self._store.when_committed(told)

    def later(self, delay_s: float, call: Callable[[], None]) -> Any:
        """As the reactor's `callLater`; what is committed by such a call is in no pass."""
        return self._later(delay_s, self._from_timer, call)

    def refuses(self, request: Request, behind_it: int) -> Reply | None:
        """Give the answer to a request that is not to be served; asked for every request while `closing`.

        Args:
            behind_it: How many requests of the same read come after it.
        """
        if request.flag & FLAG_ONEWAY:  # nobody would hear that it was refused
            return None
        settings = self._settings
        if request.code in SENDS:
            if self.waiting_sends >= settings.sends_max:
                return _busy(_OVERLOAD)
            if self._stall_s and settings.fast_failure:
                return _busy(_late("PCBUSY_CLEAN_QUEUE", self._stall_s, behind_it))
        if self._waits_since is None or not settings.fast_failure:
            return None
        limit_s = settings.waits_s.get(request.code, settings.others_wait_s)
        waited_s = self._seconds() - self._waits_since
        if limit_s is None or waited_s < limit_s:
            return None
        return _busy(_late("TIMEOUT_CLEAN_QUEUE", waited_s, behind_it))

    # -- slow commits --------------------------------------------------------------------------------------------------

    def _from_timer(self, call: Callable[[], None]) -> None:
        self._in_timer = True
        try:
            call()
        finally:
            self._in_timer = False

    def _slow(self, began: float, took: float) -> None:
        passes = 0
        if not self._in_timer:  # the rest of this pass was there before the commit began
            passes = 1
            if self._waits_since is None:
                self._waits_since = began
        if took >= self._settings.busy_after_s:
            passes += 1  # and the next one reads what came meanwhile
            self._stall_s = max(self._stall_s, took)
            if began - self._warned_at >= _WARN_INTERVAL_S:
                self._warned_at = began
                _log.warn(
                    "a write to the commit log took {took:.1f} s: sends are told that the broker is busy", took=took
                )
        if passes > self._passes_left:
            if not self._passes_left:
                self._later(0, self._pass_ended)
            self._passes_left = passes
        self._judge()

    def _pass_ended(self) -> None:
        self._passes_left -= 1
        self._waits_since = None
        if self._passes_left:
            self._later(0, self._pass_ended)
        else:
            self._stall_s = 0.0
        self._judge()

    def _judge(self) -> None:
        self.closing = self._passes_left > 0 or self.waiting_sends >= self._settings.sends_max

    # -- sends that wait to be safe ------------------------------------------------------------------------------------

    def counted(
        self, when_safe: Callable[[int], Deferred[int] | None] | None
    ) -> Callable[[int], Deferred[int] | None] | None:
        """Give the same, with those who wait counted."""
        if when_safe is None:
            return None

        def counting(position: int) -> Deferred[int] | None:
            wait = when_safe(position)
            if wait is not None:
                self.sends_wait(1)
                wait.addBoth(self._safe)
            return wait

        return counting

    def sends_wait(self, count: int) -> None:
        """So many more wait; less than none when some wait no longer."""
        self.waiting_sends += count
        if self.closing or self.waiting_sends >= self._settings.sends_max:
            self._judge()

    def _safe(self, result: T) -> T:
        self.sends_wait(-1)
        return result

    # -- pulls that wait for a thread ----------------------------------------------------------------------------------

    def runtime_info(self) -> dict[str, str]:
        """Tell how many wait, and the first pulls how long, as the queues of the official broker's threads."""
        table = {"sendThreadPoolQueueSize": str(self.waiting_sends)}
        for code, name in ((RequestCode.PULL_MESSAGE, "pull"), (RequestCode.LITE_PULL_MESSAGE, "litePull")):
            waiting = self._waiting_pulls[code]
            try:
                head_wait_ms = int((self._seconds() - waiting[0]) * 1000)
            except IndexError:  # none, or its thread has just begun
                head_wait_ms = 0
            table[f"{name}ThreadPoolQueueSize"] = str(len(waiting))
            table[f"{name}ThreadPoolQueueHeadWaitTimeMills"] = str(head_wait_ms)
        return table

    def in_thread(
        self, run_in_thread: Callable[..., Deferred[Any]], code: int, call: Callable[..., T], *args: Any, **kwargs: Any
    ) -> Deferred[T]:
        """Have a pull read in a thread what is not in memory.

        Raises:
            RequestError: Too many wait before it; by the Deferred, it has waited too long.
        """
        settings = self._settings
        waiting = self._waiting_pulls[code]
        if len(waiting) >= (settings.pulls_max if code == RequestCode.PULL_MESSAGE else settings.lite_pulls_max):
            raise RequestError(_OVERLOAD, ResponseCode.SYSTEM_BUSY)
        waiting.append(self._seconds())

        def job() -> T:
            waited_s = self._seconds() - waiting.popleft()
            limit_s = settings.waits_s.get(code)
            if settings.fast_failure and limit_s is not None and waited_s >= limit_s:
                raise RequestError(_late("TIMEOUT_CLEAN_QUEUE", waited_s, len(waiting)), ResponseCode.SYSTEM_BUSY)
            began = self._seconds()
            try:
                return call(*args, **kwargs)
            finally:
                self._read(self._seconds() - began)

        return run_in_thread(job)


def _late(kind: str, waited_s: float, behind_it: int) -> str:
    return (
        f"[{kind}]broker busy, start flow control for a while, period in queue: {int(waited_s * 1000)}ms,"
        f" size of queue: {behind_it}"
    )


def _busy(remark: str) -> Reply:
    return Reply(code=ResponseCode.SYSTEM_BUSY, remark=remark)
