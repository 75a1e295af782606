"""Commands that show how far groups are: consumerProgress, brokerConsumeStats."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rmqwire.bodies.offset import ConsumeStats, ConsumeStatsList
from rmqwire.codes import name_of_version
from rmqwire.requests.stats import GetBrokerConsumeStats, GetConsumeStats

from .asking import RETRY_PREFIX, TIMEOUT_MS, no_route
from .clients import connections_of, running_info
from .command import BOOL, I64, command, flag
from .errors import AdminError, NotFound
from .output import Columns
from .text import date_time, front, queue_order

if TYPE_CHECKING:
    from rmqwire.bodies.base import MessageQueue
    from rmqwire.bodies.connection import ConsumerConnection

    from .asking import Admin
    from .command import Given
    from .output import Output

_PLAIN = Columns(
    "%-64s  %-32s  %-4s  %-20s  %-20s  %-20s %-20s%s",
    "%-64s  %-32s  %-4s  %-20s  %-20s  %-20s %-20s %s",
    ("#Topic", "#Broker Name", "#QID", "#Broker Offset", "#Consumer Offset", "#Diff", "#Inflight", "#LastTime"),
    ("topic", "broker", "queueId", "brokerOffset", "consumerOffset", "diff", "inflight", "lastTime"),
)
_WITH_CLIENT = Columns(
    "%-64s  %-32s  %-4s  %-20s  %-20s  %-20s %-20s %-20s%s",
    "%-64s  %-32s  %-4s  %-20s  %-20s  %-20s %-20s %-20s %s",
    (
        "#Topic",
        "#Broker Name",
        "#QID",
        "#Broker Offset",
        "#Consumer Offset",
        "#Client IP",
        "#Diff",
        "#Inflight",
        "#LastTime",
    ),
    ("topic", "broker", "queueId", "brokerOffset", "consumerOffset", "client", "diff", "inflight", "lastTime"),
)
_GROUPS = Columns(
    "%-64s  %-6s  %-24s %-5s  %-14s  %-7s  %s",
    None,
    ("#Group", "#Count", "#Version", "#Type", "#Model", "#TPS", "#Diff Total"),
    ("group", "count", "version", "type", "model", "tps", "diffTotal"),
)


async def consume_stats(admin: Admin, group: str, topic: str | None = None, cluster: str | None = None) -> ConsumeStats:
    """How far a group is, on all brokers of its retry topic's route (without one, of the topic's).

    Raises:
        NotFound: Neither the group nor the topic is known.
    """
    brokers: list[tuple[str, str]] = []
    wanted = [RETRY_PREFIX + group, *(one for one in (topic, cluster) if one is not None)]
    for one in wanted:
        try:
            brokers = await admin.brokers_with(one)
            break
        except NotFound:
            if one == wanted[-1]:
                raise no_route(wanted[0]) from None
    result = ConsumeStats()
    for _, address in brokers:
        header = GetConsumeStats(consumer_group=group, topic=topic)
        stats = await admin.ask(address, header, ConsumeStats, timeout_ms=3 * TIMEOUT_MS)
        result.offset_table.update(stats.offset_table)
        result.consume_tps += stats.consume_tps
    return result


@command(
    "consumerProgress",
    flag("g", "groupName", "consumer group name"),
    flag("t", "topicName", "topic name"),
    flag("s", "showClientIP", "show which client reads each queue", BOOL),
    flag("c", "cluster", "cluster name or parent topic, which the route is asked for"),
    watch=True,
)
async def consumer_progress(admin: Admin, given: Given, out: Output) -> None:
    """Show how far one group is, or all groups."""
    if not given.has("groupName"):
        await _all_groups(admin, out)
        return
    group = given.text("groupName")
    stats = await consume_stats(admin, group, given.maybe("topicName"), given.maybe("cluster"))
    if not given.has("cluster"):
        await _show_logical(admin, stats)
    if not stats.offset_table:
        await connections_of(admin, group)  # says that nobody is online, which is why nothing is known
    show_client = given.true("showClientIP")
    clients = await _readers(admin, group) if show_client else {}
    columns = _WITH_CLIENT if show_client else _PLAIN
    out.head(columns)
    diffs = inflights = 0
    for queue in sorted(stats.offset_table, key=queue_order):
        one = stats.offset_table[queue]
        diff, inflight = one.broker_offset - one.consumer_offset, one.pull_offset - one.consumer_offset
        diffs, inflights = diffs + diff, inflights + inflight
        last = date_time(one.last_timestamp) if one.last_timestamp else "N/A"
        client = (clients.get(queue, "N/A"),) if show_client else ()
        where = (front(queue.topic, 64), front(queue.broker_name, 32), queue.queue_id)
        out.put(columns, *where, one.broker_offset, one.consumer_offset, *client, diff, inflight, last)
    out.line()
    out.line(f"Consume TPS: {stats.consume_tps:.2f}")
    out.line(f"Consume Diff Total: {diffs}")
    out.line(f"Consume Inflight Total: {inflights}")
    out.fields(group=group, consumeTps=stats.consume_tps, diffTotal=diffs, inflightTotal=inflights)


async def _show_logical(admin: Admin, stats: ConsumeStats) -> None:
    """Put the logical queues of static topics in the place of the physical ones."""
    for topic in {queue.topic or "" for queue in stats.offset_table}:
        route = await admin.route(topic)
        if route.topic_queue_mapping_by_broker:
            from .static_topics import logical_progress, settings_of

            logical = logical_progress(topic, await settings_of(admin, topic, route), stats)
            stats.offset_table = {
                queue: one for queue, one in stats.offset_table.items() if queue.topic != topic
            } | logical


async def _readers(admin: Admin, group: str) -> dict[MessageQueue, str]:
    """Which client reads each queue; what cannot be learned is left out, as in the official tool."""
    readers: dict[MessageQueue, str] = {}
    try:
        for connection in (await connections_of(admin, group)).connection_set:
            client = connection.client_id or ""
            info = await running_info(admin, group, client, False)
            readers.update(dict.fromkeys(info.mq_table, client.split("@")[0]))
    except AdminError:
        pass
    return readers


async def _all_groups(admin: Admin, out: Output) -> None:
    groups = [topic[len(RETRY_PREFIX) :] for topic in await admin.topics() if topic.startswith(RETRY_PREFIX)]
    rows = await admin.each(partial(_group_row, admin), groups)
    out.head(_GROUPS)
    for row in rows:
        assert not isinstance(row, AdminError)
        out.put(_GROUPS, *row)


async def _group_row(admin: Admin, group: str) -> tuple[object, ...]:
    stats = ConsumeStats()
    connections: ConsumerConnection | None = None
    try:
        stats = await consume_stats(admin, group)
    except AdminError:
        pass  # a group whose offsets cannot be learned is listed with none
    try:
        connections = await connections_of(admin, group)
    except AdminError:
        pass  # offline
    diff = sum(one.broker_offset - one.consumer_offset for one in stats.offset_table.values())
    columns = _online(connections) if connections else (0, "OFFLINE", "", "")
    return (front(group, 64), *columns, int(stats.consume_tps), diff)


def _online(connections: ConsumerConnection) -> tuple[int, str, str, str]:
    version = min(connection.version for connection in connections.connection_set)
    pulls = connections.consume_type == "CONSUME_ACTIVELY"
    model = connections.message_model or "" if connections.consume_type == "CONSUME_PASSIVELY" else ""
    return len(connections.connection_set), name_of_version(version), "PULL" if pulls else "PUSH", model


_CONSUME_STATS = Columns(
    "%-64s  %-64s  %-32s  %-4s  %-20s  %-20s  %-20s  %s",
    None,
    ("#Topic", "#Group", "#Broker Name", "#QID", "#Broker Offset", "#Consumer Offset", "#Diff", "#LastTime"),
    ("topic", "group", "broker", "queueId", "brokerOffset", "consumerOffset", "diff", "lastTime"),
)


@command(
    "brokerConsumeStats",
    flag("b", "brokerAddr", "address of the broker", required=True),
    flag("t", "timeoutMillis", "how long to wait for the answer [50000]", I64),
    flag("l", "level", "show only queues that lag at least so much", I64),
    flag("o", "order", "whether to ask for ordered topics", BOOL),
    watch=True,
)
async def broker_consume_stats(admin: Admin, given: Given, out: Output) -> None:
    """Show how far all groups of a broker are."""
    header = GetBrokerConsumeStats(is_order=given.true("order"))
    timeout_ms = given.number("timeoutMillis", 50_000)
    found = await admin.ask(given.text("brokerAddr"), header, ConsumeStatsList, timeout_ms=timeout_ms)
    out.head(_CONSUME_STATS)
    for table in found.consume_stats_list:
        for group, several in table.items():
            for stats in several:
                for queue in sorted(stats.offset_table, key=queue_order):
                    one = stats.offset_table[queue]
                    diff = one.broker_offset - one.consumer_offset
                    if diff < given.number("level", 0) or one.last_timestamp <= 0:
                        continue
                    where = (front(queue.topic, 64), group, front(queue.broker_name, 32), queue.queue_id)
                    last = date_time(one.last_timestamp)
                    out.put(_CONSUME_STATS, *where, one.broker_offset, one.consumer_offset, diff, last)
    out.line()
    out.line(f"Diff Total: {found.total_diff}")
    out.field("diffTotal", found.total_diff)
