"""queryMsgTraceById: what producer and consumers wrote into the trace topic about a message.

A trace message holds records separated by `0x02`, of fields separated by `0x01`; the first names the kind.
Source: `TraceDataEncoder`, `TraceView`, `QueryMsgTraceByIdSubCommand` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .command import I32, I64, command, flag
from .lookups import FOREVER, query
from .output import Columns
from .records import host_text
from .text import date_time

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output
    from .records import Message

_TRACE_TOPIC = "RMQ_SYS_TRACE_TOPIC"
_FORMAT = "%-10s %-20s %-20s %-20s %-10s %-10s"
_NAMES = ("type", "group", "clientHost", "time", "cost", "status")
_PUB = Columns(_FORMAT, None, ("#Type", "#ProducerGroup", "#ClientHost", "#SendTime", "#CostTimes", "#Status"), _NAMES)
_SUB = Columns(
    _FORMAT, None, ("#Type", "#ConsumerGroup", "#ClientHost", "#ConsumerTime", "#CostTimes", "#Status"), _NAMES
)


@dataclass(frozen=True)
class Trace:
    """One event of a message."""

    kind: str
    """`Pub` or `Sub`."""
    group: str
    client_host: str
    at_ms: int
    cost_ms: int
    success: bool

    def row(self) -> tuple[str, ...]:
        """What is printed of it."""
        status = "success" if self.success else "failed"
        return self.kind, self.group, self.client_host, date_time(self.at_ms), f"{self.cost_ms}ms", status


def read_traces(message: Message, message_id: str) -> Iterator[Trace]:
    """Read the events of one message out of a trace message; records of another form are skipped, as in Java."""
    host = host_text(message.stored.born_host).rpartition(":")[0]
    for record in message.body.decode("utf-8", "replace").split("\x02"):
        fields = record.split("\x01")
        try:
            if fields[0] == "Pub" and fields[5] == message_id:
                success = fields[13] if len(fields) >= 14 else fields[12]
                yield Trace("Pub", fields[3], host, int(fields[1]), int(fields[10]), success == "true")
            elif fields[0] == "SubAfter" and fields[2] == message_id:
                at_ms, group = (int(fields[7]), fields[8]) if len(fields) >= 9 else (0, "null")
                yield Trace("Sub", group, host, at_ms, int(fields[3]), fields[4] == "true")
        except (IndexError, ValueError):
            continue


@command(
    "queryMsgTraceById",
    flag("i", "msgId", "message id", required=True),
    flag("t", "traceTopic", f"topic of the traces [{_TRACE_TOPIC}]"),
    flag("b", "beginTimestamp", "first store time in milliseconds [0]", I64),
    flag("e", "endTimestamp", "last store time in milliseconds", I64),
    flag("c", "maxNum", "how many at most [64]", I32),
)
async def query_trace(admin: Admin, given: Given, out: Output) -> None:
    """Show the trace of a message."""
    message_id = given.text("msgId")
    messages = await query(
        admin,
        given.maybe("traceTopic") or _TRACE_TOPIC,
        message_id,
        given.number("maxNum", 64),
        given.number("beginTimestamp", 0),
        given.number("endTimestamp", FOREVER),
        unique=False,
    )
    out.rows()
    consumed: dict[str, list[Trace]] = {}
    for trace in (trace for message in messages for trace in read_traces(message, message_id)):
        if trace.kind == "Sub":
            consumed.setdefault(trace.group, []).append(trace)
            continue
        out.head(_PUB)
        out.put(_PUB, *trace.row())
        out.line()
    for group in sorted(consumed):
        out.head(_SUB)
        for trace in consumed[group]:
            out.put(_SUB, *trace.row())
        out.line()
