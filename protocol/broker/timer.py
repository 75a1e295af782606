"""Messages with a moment of delivery: how they are put aside, and the handles by which they are taken back.

Such a message goes to `rmq_sys_wheel_timer`, queue 0, with its real topic and queue and the slot it is due in among
its properties; `timer_service` moves it on. What it must not do: read or write files.

Source: `HookUtils.handleScheduleMessage`, `RecallMessageHandle`, `SendMessageProcessor.attachRecallHandle` (5.5.0).
"""

from __future__ import annotations

import binascii
import random
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.message import encode_properties

from .names import TIMER_TOPIC

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions

DELAY_SEC, DELAY_MS, DELIVER_MS = "TIMER_DELAY_SEC", "TIMER_DELAY_MS", "TIMER_DELIVER_MS"
TIMER_PROPERTIES = frozenset((DELAY_SEC, DELAY_MS, DELIVER_MS))
"""One of them makes a message a timer message."""
OUT_MS, ENQUEUE_MS, DEQUEUE_MS = "TIMER_OUT_MS", "TIMER_ENQUEUE_MS", "TIMER_DEQUEUE_MS"
ROLL_TIMES, DELETE_KEY = "TIMER_ROLL_TIMES", "TIMER_DEL_UNIQKEY"
REAL_TOPIC, REAL_QUEUE_ID = "REAL_TOPIC", "REAL_QID"

_JAVA_LONG = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_HANDLE_VERSION = "v1"
_RETRY_PREFIX = "%RETRY%"
_INVALID_HANDLE = "recall handle is invalid"


class TimerSettings(msgspec.Struct):
    """The options that timers follow; changed at run time by updateBrokerConfig.

    Attributes:
        enabled: `timerWheelEnable`.
        served: Whether the broker was started with a timer; without one, it cannot be enabled later.
        precision_ms: `timerPrecisionMs`; does not change while the broker runs.
        max_delay_s: `timerMaxDelaySec`.
        congest_num_each_slot: `timerCongestNumEachSlot`.
        stop_enqueue: `timerStopEnqueue`.
        append_topic: `appendTopicForTimerDeleteKey`.
        recall_enabled: `recallMessageEnable`.
        recall_when_not_writable: `allowRecallWhenBrokerNotWriteable`.
    """

    enabled: bool = True
    served: bool = True
    precision_ms: int = 1000
    max_delay_s: int = 259_200
    congest_num_each_slot: int = 2**31 - 1
    stop_enqueue: bool = False
    append_topic: bool = False
    recall_enabled: bool = False
    recall_when_not_writable: bool = True

    def follow(self, options: BrokerOptions) -> None:
        """Take the options as they are now."""
        store, broker = options.store, options.broker
        self.enabled = store.timer_wheel_enable and self.served
        self.max_delay_s = store.timer_max_delay_sec
        self.congest_num_each_slot = store.timer_congest_num_each_slot
        self.stop_enqueue = store.timer_stop_enqueue
        self.append_topic = store.append_topic_for_timer_delete_key
        self.recall_enabled = broker.recall_message_enable
        self.recall_when_not_writable = broker.allow_recall_when_broker_not_writeable


class TimerRules:
    """Judges messages that ask for a moment of delivery.

    Args:
        settings: Limits.
        broker_name: Stands in recall handles.
        wall_clock_ms: What "now" is.
        slot_count: How many messages wait in the slot of a time.
    """

    def __init__(
        self,
        settings: TimerSettings,
        broker_name: str,
        wall_clock_ms: Callable[[], int],
        slot_count: Callable[[int], int],
    ) -> None:
        self.settings = settings
        self._broker_name = broker_name
        self._wall_clock_ms = wall_clock_ms
        self._slot_count = slot_count

    def put_aside(
        self, topic: str, queue_id: int, properties: dict[str, str], text: str
    ) -> tuple[str, int, str] | None:
        """Say where a message goes first that has one of `TIMER_PROPERTIES`, as `DelayLevels.put_aside`.

        Raises:
            RequestError: It asks for more than the limits allow, or for a time that is none.
        """
        if topic == TIMER_TOPIC or OUT_MS in properties:
            return None
        settings = self.settings
        if not settings.enabled:
            raise RequestError(
                "accurate timer message is not enabled, timerWheelEnable is false", ResponseCode.SYSTEM_ERROR
            )
        now_ms = self._wall_clock_ms()
        deliver_ms = _deliver_ms(properties, now_ms)
        if deliver_ms is None or deliver_ms - now_ms > settings.max_delay_s * 1000:
            raise self._illegal()
        if deliver_ms <= now_ms:
            if DELETE_KEY in properties:
                raise self._illegal()
            return None
        precision_ms = settings.precision_ms
        out_ms = (deliver_ms - 1) // precision_ms * precision_ms
        self._check_congestion(out_ms)
        added = {OUT_MS: str(out_ms), REAL_TOPIC: topic, REAL_QUEUE_ID: str(queue_id)}
        if added.keys().isdisjoint(properties):
            return TIMER_TOPIC, 0, text + encode_properties(added).decode()
        pairs = (piece.split("\x01", 1) for piece in text.split("\x02") if "\x01" in piece)
        kept = {name: value for name, value in pairs if name not in added}
        return TIMER_TOPIC, 0, encode_properties({**kept, **added}).decode()

    def _illegal(self) -> RequestError:
        return RequestError(
            "timer message illegal, the delay time should not be bigger than the max delay"
            f" {self.settings.max_delay_s * 1000}ms; or if set del msg, the delay time should be bigger than the"
            " current time",
            ResponseCode.MESSAGE_ILLEGAL,
        )

    def _check_congestion(self, out_ms: int) -> None:
        limit = self.settings.congest_num_each_slot
        count = self._slot_count(out_ms)
        if count <= limit:
            return
        # As Java, which lets fewer through the fuller the slot is... but by a comparison the wrong way round.
        if count < limit * 2 and random.randrange(1000) <= 1000 * (count - limit) / (limit + 0.1):  # noqa: S311
            return
        raise RequestError(
            f"timer message is under flow control, max num limit is {limit * 2} or the current value is greater than"
            f" {limit} and less than {limit * 2}, trigger random flow control",
            ResponseCode.SYSTEM_ERROR,
        )

    def recall_handle(self, topic: str, text: str, unique_key: str) -> str:
        """The handle that the answer to a send carries, "" for one of a retry topic, which has none.

        Args:
            topic: The real topic.
            text: The property text that `put_aside` gave.
            unique_key: The message's UNIQ_KEY.
        """
        if topic.startswith(_RETRY_PREFIX):
            return ""
        begin = text.rindex(f"{OUT_MS}\x01") + len(OUT_MS) + 1
        out_ms = int(text[begin : text.index("\x02", begin)])
        return RecallHandle(topic, self._broker_name, str(out_ms + 1), unique_key).encode()


class RecallHandle(NamedTuple):
    """What a handle says."""

    topic: str
    broker_name: str
    timestamp: str
    """A moment within the slot, milliseconds since 1970, as text."""
    unique_key: str

    def encode(self) -> str:
        """Write it."""
        return urlsafe_b64encode(" ".join((_HANDLE_VERSION, *self)).encode()).decode()

    @classmethod
    def decode(cls, text: str) -> RecallHandle:
        """Read a handle that a client sent.

        Raises:
            RequestError: It is none.
        """
        try:
            raw = text.encode("ascii")
            if not raw or b"+" in raw or b"/" in raw:
                raise RequestError(_INVALID_HANDLE, ResponseCode.ILLEGAL_OPERATION)
            # As Java's decoder, which takes missing padding.
            padded = raw if raw.endswith(b"=") else raw + b"=" * (-len(raw) % 4)
            items = b64decode(padded, altchars=b"-_", validate=True).decode("utf-8", "replace").split(" ")
        except (UnicodeEncodeError, binascii.Error) as cause:
            raise RequestError(_INVALID_HANDLE, ResponseCode.ILLEGAL_OPERATION) from cause
        if items[0] != _HANDLE_VERSION or len(items) < 5:
            raise RequestError(_INVALID_HANDLE, ResponseCode.ILLEGAL_OPERATION)
        return cls(*items[1:5])


def java_long(text: str | None) -> int | None:
    """Read a number as Java's `Long.parseLong`; None for what is none."""
    if text is None or _JAVA_LONG.fullmatch(text) is None:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def _deliver_ms(properties: dict[str, str], now_ms: int) -> int | None:
    for name, unit_ms in ((DELAY_SEC, 1000), (DELAY_MS, 1)):
        if name in properties:
            delay = java_long(properties[name])
            return None if delay is None else now_ms + delay * unit_ms
    return java_long(properties.get(DELIVER_MS))


def delete_key(topic: str, unique_key: str, append_topic: bool) -> str:
    """What names the message that a recall is about. Source: `TimerMessageStore.buildDeleteKey` (5.5.0)."""
    return f"{topic}+{unique_key}" if append_topic else unique_key
