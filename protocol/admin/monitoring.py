"""startMonitoring: rounds that report how far all groups are, and which of their consumers are stuck.

The official tool writes its lines to a log file, here they are printed. Events of offsets that moved, which brokers of
4.x store, are read once a round and not as they arrive.

Source: `MonitorService`, `DefaultMonitorListener` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqwire.bodies.base import MessageQueue
from rmqwire.bodies.offset import OffsetMovedEvent, OffsetWrapper
from rmqwire.codes import ResponseCode, Version
from rmqwire.errors import RmqError
from rmqwire.requests.offset import (
    GetMaxOffset,
    GetMaxOffsetReply,
    QueryConsumerOffset,
    QueryConsumerOffsetReply,
    UpdateConsumerOffset,
)

from .asking import RETRY_PREFIX
from .clients import connections_of, running_info
from .command import I32, command, flag
from .errors import AdminError, BadUsage
from .progress import consume_stats
from .pulling import pull
from .running import analyze_queues, same_subscriptions
from .text import queue_text

if TYPE_CHECKING:
    from rmqwire.bodies.connection import ConsumerRunningInfo

    from .asking import Admin
    from .command import Given
    from .output import Output

_PREFIX = "[MONITOR] "
_NOTIFY = _PREFIX + " [NOTIFY] "
_RULE = "=" * 41
_INTERVAL_S = 60
_GROUP = "__MONITOR_CONSUMER"
_MOVED_TOPIC = "OFFSET_MOVED_EVENT"
_BATCH = 32
_MOVED_MAX = 1000
"""Events a round reports of one queue; the next goes on there."""


@command(
    "startMonitoring",
    flag("i", "interval", "not in the official tool: seconds between rounds [60]", I32),
    flag("r", "rounds", "not in the official tool: end after so many [never]", I32),
)
async def start_monitoring(admin: Admin, given: Given, out: Output) -> None:
    """Report in rounds; one that fails, unless it is the first, is reported too."""
    interval_s, rounds = given.number("interval", _INTERVAL_S), given.maybe_number("rounds")
    if interval_s < 1 or (rounds is not None and rounds < 1):
        raise BadUsage("less than 1", "give --interval and --rounds as 1 or more")
    left, first = rounds, True
    while True:
        try:
            await _round(admin, out)
        except AdminError as cause:
            if first:
                raise  # what cannot begin is more likely asked for in a wrong way than broken
            out.line(f"{_PREFIX}{cause.line}")
            out.row({"report": "failed", "cause": cause.line})
        first = False
        if left is not None:
            left -= 1
            if not left:
                return
        out.finish()
        await admin.sleep(interval_s)


async def _round(admin: Admin, out: Output) -> None:
    out.rows()
    out.line(f"{_PREFIX}{_RULE}beginRound")
    topics = await admin.topics()
    for topic in topics:
        if topic.startswith(RETRY_PREFIX):
            group = topic[len(RETRY_PREFIX) :]
            for report in (_report_undone, _report_running):
                try:
                    await report(admin, group, out)
                except AdminError:
                    pass  # as the official tool: a group of which nothing can be learned is passed over
    if _MOVED_TOPIC in topics:
        await _report_moved(admin, out)
    out.line(f"{_PREFIX}{_RULE}endRound")


async def _report_undone(admin: Admin, group: str, out: Output) -> None:
    """Say how many messages of each topic a group with connected consumers has not consumed."""
    stats = await consume_stats(admin, group)
    await connections_of(admin, group)
    by_topic: dict[str, list[tuple[MessageQueue, OffsetWrapper]]] = {}
    for queue, offsets in stats.offset_table.items():
        by_topic.setdefault(queue.topic or "", []).append((queue, offsets))
    for topic, queues in sorted(by_topic.items()):
        diffs = [offsets.broker_offset - offsets.consumer_offset for _, offsets in queues]
        delays = [await _delay_ms(admin, queue, offsets) for queue, offsets in queues]
        total, single = sum(diff for diff in diffs if diff > 0), max(0, *diffs)
        delay_ms = max(0, *delays)
        out.line(
            f"{_PREFIX}reportUndoneMsgs: UndoneMsgs [consumerGroup={group}, topic={topic}, undoneMsgsTotal={total}, "
            f"undoneMsgsSingleMQ={single}, undoneMsgsDelayTimeMills={delay_ms}]"
        )
        told = {"undoneMsgsTotal": total, "undoneMsgsSingleMQ": single, "undoneMsgsDelayTimeMills": delay_ms}
        out.row({"report": "undoneMsgs", "consumerGroup": group, "topic": topic, **told})


async def _delay_ms(admin: Admin, queue: MessageQueue, offsets: OffsetWrapper) -> int:
    """How much later the last message of a queue was stored than the last that was consumed."""
    if offsets.last_timestamp <= 0:
        return 0
    topic, broker = queue.topic or "", queue.broker_name or ""
    try:
        address = await admin.master_named(broker)
        end = await _max_offset(admin, address, topic, queue.queue_id)
        if end <= 0:
            return 0
        last = await pull(admin, address, broker, topic, queue.queue_id, end - 1, 1)
    except AdminError:
        return 0
    return max(0, last.messages[0].stored.store_timestamp - offsets.last_timestamp) if last.messages else 0


async def _max_offset(admin: Admin, address: str, topic: str, queue_id: int) -> int:
    answer = await admin.call(address, GetMaxOffset(topic=topic, queue_id=queue_id))
    return answer.header(GetMaxOffsetReply).offset


async def _report_running(admin: Admin, group: str, out: Output) -> None:
    """Say whether the consumers of a group subscribe to different topics, and which are stuck."""
    infos: dict[str, ConsumerRunningInfo] = {}
    for connection in (await connections_of(admin, group)).connection_set:
        if connection.version < Version.V3_1_8_SNAPSHOT:
            continue
        try:
            infos[connection.client_id or ""] = await running_info(admin, group, connection.client_id or "", False)
        except AdminError:
            pass  # gone since, or busy
    if not infos:
        return
    named = infos[min(infos)].properties.get("consumerGroup", "null")
    about = f"{_NOTIFY}reportConsumerRunningInfo: ConsumerGroup: {named}"
    now_ms = admin.now_ms()
    if not same_subscriptions(infos, now_ms):
        out.line(f"{about}, Subscription different")
        out.row({"report": "subscriptionDifferent", "consumerGroup": group})
    for client_id, info in sorted(infos.items()):
        stuck = analyze_queues(client_id, info, now_ms)
        if stuck:
            out.line(f"{about}, ClientId: {client_id}, {stuck}")
            told = {"consumerGroup": group, "clientId": client_id, "queues": stuck.splitlines()}
            out.row({"report": "stuck", **told})


async def _report_moved(admin: Admin, out: Output) -> None:
    """Report the events stored since the last round, and commit how far they were read."""
    for broker, address in await admin.brokers_with(_MOVED_TOPIC):
        try:
            await _report_moved_of(admin, broker, address, out)
        except AdminError as cause:
            out.line(f"{_PREFIX}{cause.line}")


async def _report_moved_of(admin: Admin, broker: str, address: str, out: Output) -> None:
    asked = QueryConsumerOffset(consumer_group=_GROUP, topic=_MOVED_TOPIC, queue_id=0)
    answer = await admin.call(address, asked, also=(ResponseCode.QUERY_NOT_FOUND,))
    if answer.code == ResponseCode.SUCCESS:
        begin = answer.header(QueryConsumerOffsetReply).offset
    else:  # a new group begins with what comes from now on
        begin = await _max_offset(admin, address, _MOVED_TOPIC, 0)
    offset = begin
    while offset < begin + _MOVED_MAX:
        pulled = await pull(admin, address, broker, _MOVED_TOPIC, 0, offset, _BATCH, group=_GROUP)
        if pulled.next_offset <= offset and not pulled.messages:
            break
        offset = pulled.next_offset
        for message in pulled.messages:
            _put_moved(message.body, message.stored.store_timestamp, out)
    commit = UpdateConsumerOffset(consumer_group=_GROUP, topic=_MOVED_TOPIC, queue_id=0, commit_offset=offset)
    await admin.call(address, commit)


def _put_moved(body: bytes, at_ms: int, out: Output) -> None:
    try:
        event = OffsetMovedEvent.decode(body)
    except RmqError:
        return  # as the official tool: what is no event is passed over
    queue = "null" if event.message_queue is None else queue_text(event.message_queue)
    out.line(
        f"{_PREFIX}reportDeleteMsgsEvent: DeleteMsgsEvent [offsetMovedEvent=OffsetMovedEvent "
        f"[consumerGroup={event.consumer_group}, messageQueue={queue}, offsetRequest={event.offset_request}, "
        f"offsetNew={event.offset_new}], eventTimestamp={at_ms}]"
    )
    out.row({"report": "offsetMoved", "eventTimestamp": at_ms, "event": event})
