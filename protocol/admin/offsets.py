"""Commands that move groups: resetOffsetByTime, skipAccumulatedMessage, cloneGroupOffset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqwire.bodies.base import MessageQueue
from rmqwire.bodies.offset import ConsumeStats, OffsetWrapper, ResetOffsetBody, TopicStatsTable
from rmqwire.codes import ResponseCode
from rmqwire.requests.offset import (
    GetMaxOffset,
    GetMaxOffsetReply,
    InvokeBrokerToResetOffset,
    SearchOffsetByTimestamp,
    SearchOffsetByTimestampReply,
    UpdateConsumerOffset,
)
from rmqwire.requests.stats import GetConsumeStats
from rmqwire.requests.topic import GetTopicStatsInfo

from .command import BOOL, I32, I64, command, flag
from .errors import BadUsage, NotFound, Refused
from .output import Columns
from .progress import consume_stats
from .text import front, parse_time, queue_order

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

_GROUP = flag("g", "group", "consumer group", required=True)
_TOPIC = flag("t", "topic", "topic", required=True)
_ROUTE = flag("c", "cluster", "cluster name or parent topic, which the route is asked for")
_FORCE = flag("f", "force", "whether to move forward too [true]", BOOL)

_END_OF_QUEUE = -1

_RESET = Columns("%-40s  %-40s  %-40s", None, ("#brokerName", "#queueId", "#offset"), ("broker", "queueId", "offset"))


def _rolled_back(last: str) -> Columns:
    titles = ("#brokerName", "#queueId", "#brokerOffset", "#consumerOffset", "#timestampOffset", last)
    names = ("broker", "queueId", "brokerOffset", "consumerOffset", "timestampOffset", "offset")
    return Columns("%-20s  %-20s  %-20s  %-20s  %-20s  %-20s", None, titles, names)


async def _route_of(admin: Admin, topic: str, cluster: str | None) -> list[tuple[str, str]]:
    """The brokers of a topic; of a light one, those of the topic that `-c` names."""
    light = topic.startswith("%LMQ%") or topic == "rmq_sys_wheel_timer"
    brokers = await admin.brokers_with(cluster if cluster is not None and light else topic)
    if not brokers:
        raise NotFound(f"topic {topic!r} is on no broker", "see `mqadmin topicRoute`")
    return brokers


async def _reset_online(
    admin: Admin, brokers: list[tuple[str, str]], group: str, topic: str, timestamp: int, force: bool
) -> dict[MessageQueue, int] | None:
    """Let brokers reset a group and tell its consumers; None when it has to be done offline."""
    offsets: dict[MessageQueue, int] = {}
    for _, address in brokers:
        header = InvokeBrokerToResetOffset(topic=topic, group=group, timestamp=timestamp, is_force=force)
        try:
            offsets.update((await admin.ask(address, header, ResetOffsetBody)).offset_table)
        except Refused as cause:
            if cause.code == ResponseCode.CONSUMER_NOT_ONLINE:
                return None
            raise
    return offsets


async def _reset_offline(
    admin: Admin, brokers: list[tuple[str, str]], group: str, topic: str, timestamp: int, force: bool
) -> list[tuple[object, ...]]:
    """Store new offsets of a group that nobody is online of; give the rows to print."""
    rows: list[tuple[object, ...]] = []
    for _, address in brokers:
        stats = await admin.ask(address, GetConsumeStats(consumer_group=group), ConsumeStats)
        known = {queue: one for queue, one in stats.offset_table.items() if queue.topic == topic}
        if not known:
            table = (await admin.ask(address, GetTopicStatsInfo(topic=topic), TopicStatsTable)).offset_table
            known = {
                queue: OffsetWrapper(broker_offset=one.max_offset, consumer_offset=one.min_offset)
                for queue, one in table.items()
            }
        for queue in sorted(known, key=queue_order):
            one = known[queue]
            found = await _offset_at(admin, address, topic, queue.queue_id, timestamp)
            offset = one.consumer_offset
            if force or found <= one.consumer_offset:
                offset = found
                await _store(admin, address, group, topic, queue.queue_id, offset)
            where = (front(queue.broker_name, 32), queue.queue_id)
            rows.append((*where, one.broker_offset, one.consumer_offset, found, offset))
    return rows


async def _offset_at(admin: Admin, address: str, topic: str, queue_id: int, timestamp: int) -> int:
    if timestamp == _END_OF_QUEUE:
        answer = await admin.call(address, GetMaxOffset(topic=topic, queue_id=queue_id))
        return answer.header(GetMaxOffsetReply).offset
    answer = await admin.call(address, SearchOffsetByTimestamp(topic=topic, queue_id=queue_id, timestamp=timestamp))
    return answer.header(SearchOffsetByTimestampReply).offset


async def _store(admin: Admin, address: str, group: str, topic: str, queue_id: int, offset: int) -> None:
    header = UpdateConsumerOffset(consumer_group=group, topic=topic, queue_id=queue_id, commit_offset=offset)
    await admin.call(address, header)


def _print_reset(out: Output, offsets: dict[MessageQueue, int]) -> None:
    rows = [
        (front(queue.broker_name, 32), queue.queue_id, offsets[queue]) for queue in sorted(offsets, key=queue_order)
    ]
    out.table(_RESET, rows)


@command(
    "resetOffsetByTime",
    _GROUP,
    _TOPIC,
    flag("s", "timestamp", "now, milliseconds, or yyyy-MM-dd#HH:mm:ss:SSS", required=True),
    _FORCE,
    _ROUTE,
    flag("b", "broker", "address of the broker"),
    flag("q", "queue", "queue id", I32),
    flag("o", "offset", "the offset itself", I64),
)
async def reset_offset_by_time(admin: Admin, given: Given, out: Output) -> None:
    """Set a group's offsets to where a topic was at a time."""
    group, topic, text = given.text("group"), given.text("topic"), given.text("timestamp")
    timestamp = parse_time(text, admin.now_ms())
    force = given.true("force", True)
    told = f"timestamp(string)[{text}], timestamp(long)[{timestamp}]"
    if given.has("broker") and given.number("queue", -1) >= 0:
        address, queue_id = given.text("broker"), given.number("queue")
        out.line(
            f"start reset consumer offset by specified, group[{group}], topic[{topic}], queueId[{queue_id}], "
            f"broker[{address}], {told}"
        )
        offset = given.maybe_number("offset")
        if offset is None:
            offset = await _offset_at(admin, address, topic, queue_id, timestamp)
        out.line(f"reset consumer offset to {offset}")
        if offset > 0:
            await _store(admin, address, group, topic, queue_id, offset)
            header = InvokeBrokerToResetOffset(topic=topic, group=group, queue_id=queue_id, offset=offset)
            await admin.call(address, header, also=(ResponseCode.CONSUMER_NOT_ONLINE,))  # then nobody has to be told
        out.fields(group=group, topic=topic, queueId=queue_id, broker=address, timestamp=timestamp, offset=offset)
        return
    if given.has("offset") or given.has("queue"):
        raise BadUsage("an offset or a queue needs its broker and queue", "give -b host:port -q ID too")
    brokers = await _route_of(admin, topic, given.maybe("cluster"))
    offsets = await _reset_online(admin, brokers, group, topic, timestamp, force)
    shown = "true" if force else "false"
    out.fields(group=group, topic=topic, timestamp=timestamp, force=force, online=offsets is not None)
    if offsets is None:
        rows = await _reset_offline(admin, brokers, group, topic, timestamp, force)
        out.line(f"reset consumer offset by specified consumerGroup[{group}], topic[{topic}], force[{shown}], {told}")
        out.table(_rolled_back("#resetOffset"), rows)
        return
    out.line(f"start reset consumer offset by specified, group[{group}], topic[{topic}], force[{shown}], {told}")
    _print_reset(out, offsets)


@command("skipAccumulatedMessage", _GROUP, _TOPIC, _FORCE, _ROUTE)
async def skip_accumulated(admin: Admin, given: Given, out: Output) -> None:
    """Set a group's offsets to the ends of a topic's queues."""
    group, topic, force = given.text("group"), given.text("topic"), given.true("force", True)
    brokers = await _route_of(admin, topic, given.maybe("cluster"))
    offsets = await _reset_online(admin, brokers, group, topic, _END_OF_QUEUE, force)
    if offsets is None:
        rows = await _reset_offline(admin, brokers, group, topic, _END_OF_QUEUE, force)
        out.table(_rolled_back("#rollbackOffset"), rows)
        return
    _print_reset(out, offsets)


@command(
    "cloneGroupOffset",
    flag("s", "srcGroup", "group to copy from", required=True),
    flag("d", "destGroup", "group to copy to", required=True),
    flag("t", "topic", "topic", required=True),
    flag("o", "offline", "whether group or topic are offline", BOOL),
)
async def clone_group_offset(admin: Admin, given: Given, out: Output) -> None:
    """Copy the offsets of one group to another."""
    source, target, topic = given.text("srcGroup"), given.text("destGroup"), given.text("topic")
    stats = await consume_stats(admin, source)
    brokers = dict(await admin.brokers_with(topic))
    copied = 0
    for queue, one in stats.offset_table.items():
        address = brokers.get(queue.broker_name or "")
        if address is not None and one.consumer_offset >= 0:
            await _store(admin, address, target, queue.topic or topic, queue.queue_id, one.consumer_offset)
            copied += 1
    out.text(f"clone group offset success. srcGroup[{source}], destGroup=[{target}], topic[{topic}]")
    out.fields(srcGroup=source, destGroup=target, topic=topic, queues=copied)
