"""Commands that show clusters and brokers: clusterList, brokerStatus, haStatus, statsAll."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rmqwire.bodies.ha import HARuntimeInfo
from rmqwire.bodies.offset import ConsumeStats
from rmqwire.bodies.route import KvTable
from rmqwire.bodies.stats import BrokerStatsData
from rmqwire.codes import ResponseCode
from rmqwire.requests.ha import GetBrokerHaStatus
from rmqwire.requests.stats import GetBrokerRuntimeInfo, GetConsumeStats, ViewBrokerStatsData

from .asking import DLQ_PREFIX, MASTER_ID, RETRY_PREFIX
from .command import BROKER, CLUSTER, I64, SWITCH, command, flag
from .errors import AdminError, NotFound, Refused, unknown_cluster
from .output import Columns
from .text import front, human_time
from .topics import groups_of

if TYPE_CHECKING:
    from rmqwire.bodies.route import BrokerData

    from .asking import Admin
    from .command import Given
    from .output import Output

INTERVAL = flag("i", "interval", "run again every so many seconds", I64)

_MORE = Columns(
    "%-16s  %-32s %14s %14s %14s %14s",
    None,
    ("#Cluster Name", "#Broker Name", "#InTotalYest", "#OutTotalYest", "#InTotalToday", "#OutTotalToday"),
    ("cluster", "broker", "inTotalYesterday", "outTotalYesterday", "inTotalToday", "outTotalToday"),
)
_BASE = Columns(
    "%-22s  %-22s  %-4s  %-22s %-16s  %16s  %30s  %-22s  %-11s  %-12s  %-8s  %-10s",
    "%-22s  %-22s  %-4s  %-22s %-16s  %16s  %30s  %-22s  %11s  %-12s  %-8s  %10s",
    (
        "#Cluster Name",
        "#Broker Name",
        "#BID",
        "#Addr",
        "#Version",
        "#InTPS(LOAD)",
        "#OutTPS(LOAD)",
        "#Timer(Progress)",
        "#PCWait(ms)",
        "#Hour",
        "#SPACE",
        "#ACTIVATED",
    ),
    (
        "cluster",
        "broker",
        "brokerId",
        "address",
        "version",
        "in",
        "out",
        "timer",
        "pageCacheWaitMs",
        "hours",
        "space",
        "active",
    ),
)


async def runtime(admin: Admin, address: str) -> dict[str, str]:
    """What a broker says of itself."""
    return (await admin.ask(address, GetBrokerRuntimeInfo(), KvTable)).table


@command(
    "clusterList",
    flag("m", "moreStats", "show what came and left yesterday and today", SWITCH),
    INTERVAL,
    CLUSTER,
    interval="interval",
)
async def cluster_list(admin: Admin, given: Given, out: Output) -> None:
    """List clusters and their brokers."""
    info = await admin.clusters()
    clusters = info.cluster_addr_table or {}
    wanted = given.maybe("clusterName")
    if wanted is not None and wanted not in clusters:
        raise unknown_cluster(wanted, sorted(clusters))
    more = given.true("moreStats")
    brokers = [
        (cluster, name, number, address)
        for cluster in (sorted(clusters) if wanted is None else [wanted])
        for name in sorted(clusters[cluster])
        if (broker := (info.broker_addr_table or {}).get(name))
        for number, address in sorted(broker.broker_addrs.items())
    ]
    tables = await admin.each(partial(runtime, admin), [address for *_, address in brokers])
    out.head(_MORE if more else _BASE)
    for (cluster, name, number, address), found in zip(brokers, tables, strict=True):
        reachable = not isinstance(found, AdminError)
        # Listed without one all the same: that a broker does not answer is what one looks for.
        table = {} if isinstance(found, AdminError) else found
        if more:
            out.put(_MORE, cluster, name, *_totals(table))
        else:
            row = _broker_row(table, admin.now_ms())
            out.put(_BASE, cluster, name, number, address, *row, reachable=reachable, runtime=table)


def _totals(table: dict[str, str]) -> tuple[int, ...]:
    def difference(kind: str, later: str, earlier: str) -> int:
        try:
            return int(table[f"msg{kind}Total{later}"]) - int(table[f"msg{kind}Total{earlier}"])
        except (KeyError, ValueError):
            return 0

    yesterday = ("TodayMorning", "YesterdayMorning")
    today = ("TodayNow", "TodayMorning")
    return tuple(difference(kind, *span) for span in (yesterday, today) for kind in ("Put", "Get"))


def _number(text: str | None) -> float:
    """The first number of a text like `1.5 1.4 1.3`; 0 without one."""
    try:
        return float((text or "0").split()[0])
    except (ValueError, IndexError):
        return 0.0


def _broker_row(table: dict[str, str], now_ms: int) -> tuple[str, ...]:
    """The columns from `#Version` on."""

    def load(kind: str, absent: str | None = None) -> str:
        missing = absent if absent is not None else "null" if table else ""
        size = table.get(f"{kind}ThreadPoolQueueSize", missing)
        return f"{size},{table.get(f'{kind}ThreadPoolQueueHeadWaitTimeMills', missing)}ms"

    earliest = table.get("earliestMessageTimeStamp", "")
    hours = (now_ms - _number(earliest)) / 3_600_000 if earliest else 0.0
    behind, offset_behind = _number(table.get("timerReadBehind")), _number(table.get("timerOffsetBehind"))
    enqueue, dequeue = _number(table.get("timerEnqueueTps")), _number(table.get("timerDequeueTps"))
    congested = _number(table.get("timerCongestNum")) / 10_000
    return (
        table.get("brokerVersionDesc", "null" if table else ""),
        f"{_number(table.get('putTps')):9.2f}({load('send')})",
        f"{_number(table.get('getTransferredTps')):9.2f}({load('pull')}|{load('ack', 'N' if table else '')})",
        f"{behind:.0f}-{offset_behind:.0f}({congested:.1f}w, {enqueue:.1f}, {dequeue:.1f})",
        table.get("pageCacheLockTimeMills", "null" if table else ""),
        f"{hours:2.2f}",
        f"{_number(table.get('commitLogDiskRatio')):.4f}",
        "true" if table.get("brokerActive") == "true" else "false",
    )


@command("brokerStatus", BROKER, CLUSTER, watch=True)
async def broker_status(admin: Admin, given: Given, out: Output) -> None:
    """Show what a broker, or every broker of a cluster, says of itself."""
    one = given.one_of("brokerAddr", "clusterName") == "brokerAddr"
    addresses = [given.text("brokerAddr")] if one else await admin.addresses(given.text("clusterName"))
    for address in addresses:
        table = await runtime(admin, address)
        for key in sorted(table):
            out.line(f"{key:<32}: {table[key]}" if one else f"{address:<24} {key:<32}: {table[key]}")
        out.field(address, table)


_SLAVES = Columns(
    "%-32s  %-16s %16s %16s %16s %16s",
    "%-32s  %-16d %16d %16.2f %16s %16d",
    ("#SlaveAddr", "#SlaveAckOffset", "#Diff", "#TransferSpeed(KB/s)", "#Status", "#TransferFromWhere"),
    ("slave", "ackOffset", "diff", "kilobytesPerSecond", "status", "transferFromWhere"),
)


@command("haStatus", CLUSTER, BROKER, INTERVAL, interval="interval")
async def ha_status(admin: Admin, given: Given, out: Output) -> None:
    """Show how far replication is."""
    if given.one_of("brokerAddr", "clusterName") == "brokerAddr":
        addresses = [given.text("brokerAddr")]
    else:
        addresses = await admin.masters(given.text("clusterName"))
    for address in addresses:
        info = await admin.ask(address, GetBrokerHaStatus(), HARuntimeInfo)
        out.field(address, info)
        if info.master:
            out.line(f"\n#MasterAddr\t{address}")
            out.line(f"#MasterCommitLogMaxOffset\t{info.master_commit_log_max_offset}")
            out.line(f"#SlaveNum\t{len(info.ha_connection_info)}")
            out.line(f"#InSyncSlaveNum\t{info.in_sync_slave_nums}")
            out.line(_SLAVES.head())
            for slave in info.ha_connection_info:
                speed = slave.transferred_byte_in_second / 1024
                status = "OK" if slave.in_sync else "Fall Behind"
                values = (slave.addr, slave.slave_ack_offset, slave.diff, speed, status, slave.transfer_from_where)
                out.line(_SLAVES.row(values))
        else:
            client = info.ha_client_runtime_info
            out.line(f"\n#MasterAddr\t{client.master_addr or 'null'}")
            out.line(f"#CommitLogMaxOffset\t{client.max_offset}")
            out.line(f"#TransferSpeed(KB/s)\t{client.transferred_byte_in_second / 1024:.2f}")
            out.line(f"#LastReadTime\t{human_time(client.last_read_timestamp)}")
            out.line(f"#LastWriteTime\t{human_time(client.last_write_timestamp)}")
            out.line(f"#MasterFlushOffset\t{client.master_flush_offset}")


_STATS = Columns(
    "%-64s  %-64s %12s %11s %11s %14s %14s",
    None,
    ("#Topic", "#Consumer Group", "#Accumulation", "#InTPS", "#OutTPS", "#InMsg24Hour", "#OutMsg24Hour"),
    ("topic", "group", "accumulation", "inTps", "outTps", "inMessages24h", "outMessages24h"),
)


@command(
    "statsAll",
    flag("a", "activeTopic", "only topics with traffic", SWITCH),
    flag("t", "topic", "only this topic"),
    watch=True,
)
async def stats_all(admin: Admin, given: Given, out: Output) -> None:
    """Show rates and lags of topics and groups."""
    topics = await admin.topics()
    wanted = given.maybe("topic")
    if wanted is not None and wanted not in topics:
        raise NotFound(f"no topic {wanted!r} at the name server", "`mqadmin topicList` lists the topics there are")
    out.head(_STATS)
    shown = [one for one in topics if not one.startswith((RETRY_PREFIX, DLQ_PREFIX))] if wanted is None else [wanted]
    for rows in await admin.each(partial(_topic_stats, admin, given.true("activeTopic")), shown):
        if not isinstance(rows, AdminError):
            for row in rows:
                out.put(_STATS, *row)
        elif wanted is not None:
            raise rows


async def _topic_stats(admin: Admin, active_only: bool, topic: str) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    route = await admin.route(topic)
    groups = await groups_of(admin, route, topic)
    in_tps, came = await _rate(admin, route.broker_datas, "TOPIC_PUT_NUMS", topic)
    if not groups and (came or not active_only):
        rows.append((front(topic, 64), "", 0, f"{in_tps:.2f}", "", came, "NO_CONSUMER"))
    for group in groups:
        out_tps, left = await _rate(admin, route.broker_datas, "GROUP_GET_NUMS", f"{topic}@{group}")
        if active_only and not came and not left:
            continue
        lag = max(0, await _lag(admin, route.broker_datas, topic, group))
        rows.append((front(topic, 64), front(group, 64), lag, f"{in_tps:.2f}", f"{out_tps:.2f}", came, left))
    return rows


async def _rate(admin: Admin, brokers: list[BrokerData], name: str, key: str) -> tuple[float, int]:
    """Rate of the last minute and sum of a day, over the masters; those without such a statistic count as 0."""
    tps, total = 0.0, 0
    for broker in brokers:
        address = broker.broker_addrs.get(MASTER_ID)
        if address is None:
            continue
        found = await day_stats(admin, address, name, key)
        if found is not None:
            tps += found.stats_minute.tps if found.stats_minute else 0.0
            total += day_sum(found)
    return tps, total


async def day_stats(admin: Admin, address: str, name: str, key: str) -> BrokerStatsData | None:
    """One statistic of a broker; None when it has none of that name."""
    try:
        return await admin.ask(address, ViewBrokerStatsData(stats_name=name, stats_key=key), BrokerStatsData)
    except Refused as cause:
        if cause.code == ResponseCode.SYSTEM_ERROR:
            return None
        raise


def day_sum(stats: BrokerStatsData) -> int:
    """The sum over the longest time that has one."""
    for item in (stats.stats_day, stats.stats_hour, stats.stats_minute):
        if item is not None and item.sum:
            return item.sum
    return 0


async def _lag(admin: Admin, brokers: list[BrokerData], topic: str, group: str) -> int:
    lag = 0
    for broker in brokers:
        address = broker.broker_addrs.get(MASTER_ID)
        if address is not None:
            stats = await admin.ask(address, GetConsumeStats(consumer_group=group, topic=topic), ConsumeStats)
            lag += sum(one.broker_offset - one.consumer_offset for one in stats.offset_table.values())
    return lag
