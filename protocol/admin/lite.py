"""Commands on lite topics, which brokers of 5.5 keep below a parent topic of type LITE.

Source: `org.apache.rocketmq.tools.command.lite` (5.5.0).
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from rmqwire.bodies.lite import (
    GetBrokerLiteInfoResponseBody,
    GetLiteClientInfoResponseBody,
    GetLiteGroupInfoResponseBody,
    GetLiteTopicInfoResponseBody,
    GetParentTopicInfoResponseBody,
    LiteLagInfo,
)
from rmqwire.requests.lite import (
    GetBrokerLiteInfo,
    GetLiteClientInfo,
    GetLiteGroupInfo,
    GetLiteTopicInfo,
    GetParentTopicInfo,
    TriggerLiteDispatch,
)

from .command import BROKER, I32, SWITCH, command, flag
from .errors import AdminError
from .output import Columns
from .text import date_time, front

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rmqwire.bodies.offset import OffsetWrapper

    from .asking import Admin
    from .command import Given
    from .output import Output

T = TypeVar("T")

_PARENT = flag("p", "parentTopic", "parent topic", required=True)
_GROUP = flag("g", "group", "consumer group", required=True)
_TOP_K = 20
_CLIENT_TOPICS_MAX = 1000

_BROKERS = Columns(
    "%-30s %-17s %-10s %-14s %-20s %-17s %-15s %-18s %-15s",
    None,
    (
        "#Broker",
        "#Store Type",
        "#Max LMQ",
        "#Current LMQ",
        "#SubscriptionCount",
        "#OrderInfoCount",
        "#CQTableSize",
        "#OffsetTableSize",
        "#eventMapSize",
    ),
    (
        "broker",
        "storeType",
        "maxLmqNum",
        "currentLmqNum",
        "liteSubscriptionCount",
        "orderInfoCount",
        "cqTableSize",
        "offsetTableSize",
        "eventMapSize",
    ),
)
_PARENTS = Columns(
    "%-50s %-8s %-14s %-14s %-100s ",
    None,
    ("#Broker Name", "#TTL", "#Lite Count", "#LMQ NUM", "#GROUPS"),
    ("broker", "ttl", "liteTopicCount", "lmqNum", "groups"),
)
_TOPICS = Columns(
    "%-50s %-14s %-14s %-30s %-12s %-18s ",
    None,
    ("#Broker Name", "#MinOffset", "#MaxOffset", "#LastUpdate", "#Sharding", "#SubClientCount"),
    ("broker", "minOffset", "maxOffset", "lastUpdate", "sharding", "subscribers"),
)
_CLIENTS = Columns(
    "%-30s %-20s %-30s %-30s ",
    None,
    ("#Broker", "#LiteTopicCount", "#LastAccessTime", "#LastConsumeTime"),
    ("broker", "liteTopicCount", "lastAccessTime", "lastConsumeTime"),
)
_OFFSETS = Columns(
    "%-50s %-16s %-16s %-16s %-30s",
    None,
    ("#Broker Name", "#BrokerOffset", "#ConsumeOffset", "#LagCount", "#LastUpdate"),
    ("broker", "brokerOffset", "consumeOffset", "lagCount", "lastUpdate"),
)
_LAGS = Columns("%-6s %-40s %-12s %-30s", None, ("NO", "Lite Topic", "Lag Count", "UnconsumedTimestamp"), ())


def _set_text(words: list[str] | None) -> str:
    return "null" if words is None else "[" + ", ".join(words) + "]"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _when(at_ms: int, otherwise: str) -> str:
    return date_time(at_ms) if at_ms > 0 else otherwise


async def _of_each(
    admin: Admin, topic: str, ask: Callable[[str], Awaitable[T]], show: Callable[[str, T], None], out: Output
) -> None:
    """Ask every broker of a topic and show what it says.

    Raises:
        AdminError: None of them said anything; the last one's reason.
    """
    shown, failed = False, None
    for name, address in await admin.brokers_with(topic):
        try:
            found = await ask(address)
        except AdminError as cause:
            out.line(f"[{name}] error.")
            failed = cause
        else:
            shown = True
            show(name, found)
    if failed is not None and not shown:
        raise failed


@command(
    "getBrokerLiteInfo",
    BROKER,
    flag("c", "cluster", "every master of this cluster"),
    flag("d", "showDetail", "also parent topics and groups", SWITCH),
)
async def broker_info(admin: Admin, given: Given, out: Output) -> None:
    """Show the sizes of brokers' lite tables."""
    by_name = given.one_of("brokerAddr", "cluster") == "brokerAddr"
    addresses = [given.text("brokerAddr")] if by_name else await admin.masters(given.text("cluster"))
    out.head(_BROKERS)
    failed: AdminError | None = None
    for address in addresses:
        try:
            found = await admin.ask(address, GetBrokerLiteInfo(), GetBrokerLiteInfoResponseBody)
        except AdminError as cause:
            if not by_name:
                out.line(f"[{address}] error.")
            failed = cause
            continue
        out.put(
            _BROKERS,
            address,
            found.store_type,
            found.max_lmq_num,
            found.current_lmq_num,
            found.lite_subscription_count,
            found.order_info_count,
            found.cq_table_size,
            found.offset_table_size,
            found.event_map_size,
            topicMeta=found.topic_meta,
            groupMeta=found.group_meta,
        )
        if given.true("showDetail"):
            out.line(f"Topic Meta: {_json(found.topic_meta)}")
            out.line(f"Group Meta: {_json(found.group_meta)}")
            out.line()
    if failed is not None and len(addresses) == 1:
        raise failed


@command("getParentTopicInfo", _PARENT)
async def parent_info(admin: Admin, given: Given, out: Output) -> None:
    """Show a topic that has lite topics."""
    parent = given.text("parentTopic")
    await admin.route(parent)
    out.line(f"Parent Topic Info: [{parent}]")
    out.head(_PARENTS)

    async def ask(address: str) -> GetParentTopicInfoResponseBody:
        return await admin.ask(address, GetParentTopicInfo(topic=parent), GetParentTopicInfoResponseBody)

    def show(name: str, found: GetParentTopicInfoResponseBody) -> None:
        groups = _set_text(found.groups)
        out.put(_PARENTS, front(name, 40), found.ttl, found.lite_topic_count, found.lmq_num, groups)

    await _of_each(admin, parent, ask, show, out)


@command(
    "getLiteTopicInfo",
    _PARENT,
    flag("l", "liteTopic", "lite topic", required=True),
    flag("s", "showClientId", "also who subscribes", SWITCH),
)
async def topic_info(admin: Admin, given: Given, out: Output) -> None:
    """Show one lite topic."""
    parent, lite = given.text("parentTopic"), given.text("liteTopic")
    await admin.route(parent)
    out.line(f"Lite Topic Info: [{parent}] [{lite}] [%LMQ%${parent}${lite}]")
    out.head(_TOPICS)

    async def ask(address: str) -> GetLiteTopicInfoResponseBody:
        header = GetLiteTopicInfo(parent_topic=parent, lite_topic=lite)
        return await admin.ask(address, header, GetLiteTopicInfoResponseBody)

    def show(name: str, found: GetLiteTopicInfoResponseBody) -> None:
        ends = found.topic_offset
        low, high, at_ms = (0, 0, 0) if ends is None else (ends.min_offset, ends.max_offset, ends.last_update_timestamp)
        clients = [f"{one.client_id}@{one.group}" for one in found.subscriber or ()]
        where = (front(name, 40), low, high, _when(at_ms, "-"))
        out.put(_TOPICS, *where, found.sharding_to_broker, len(clients), clients=clients)
        if given.true("showClientId"):
            out.line(_set_text(clients))

    await _of_each(admin, parent, ask, show, out)


@command(
    "getLiteClientInfo",
    _PARENT,
    _GROUP,
    flag("c", "clientId", "client id", required=True),
    flag("s", "showDetail", "also its lite topics", SWITCH),
)
async def client_info(admin: Admin, given: Given, out: Output) -> None:
    """Show one client's lite subscriptions."""
    parent, group, client = given.text("parentTopic"), given.text("group"), given.text("clientId")
    await admin.route(parent)
    out.line(f"Lite Client Info: [{parent}] [{group}] [{client}]")
    out.head(_CLIENTS)

    async def ask(address: str) -> GetLiteClientInfoResponseBody:
        header = GetLiteClientInfo(parent_topic=parent, group=group, client_id=client, max_count=_CLIENT_TOPICS_MAX)
        return await admin.ask(address, header, GetLiteClientInfoResponseBody)

    def show(name: str, found: GetLiteClientInfoResponseBody) -> None:
        count = found.lite_topic_count if found.lite_topic_count > 0 else "N/A"
        times = (_when(found.last_access_time, "N/A"), _when(found.last_consume_time, "N/A"))
        out.put(_CLIENTS, name, count, *times, liteTopics=found.lite_topic_set)
        if given.true("showDetail") and found.lite_topic_set is not None:
            out.line(f"Lite Topics: {_set_text(found.lite_topic_set)}")
            out.line()

    await _of_each(admin, parent, ask, show, out)


@command(
    "getLiteGroupInfo",
    _PARENT,
    _GROUP,
    flag("l", "liteTopic", "only this lite topic"),
    flag("k", "topK", f"how many lite topics of each broker [{_TOP_K}]", I32),
)
async def group_info(admin: Admin, given: Given, out: Output) -> None:
    """Show how far behind a group is on its lite topics."""
    parent, group, lite = given.text("parentTopic"), given.text("group"), given.maybe("liteTopic")
    await admin.route(parent)
    out.line(f"Lite Group Info: [{group}] [{parent}]")
    if lite is not None:
        out.head(_OFFSETS)
    told: list[GetLiteGroupInfoResponseBody] = []

    async def ask(address: str) -> GetLiteGroupInfoResponseBody:
        header = GetLiteGroupInfo(group=group, lite_topic=lite or "", top_k=given.number("topK", _TOP_K))
        return await admin.ask(address, header, GetLiteGroupInfoResponseBody)

    def show(name: str, found: GetLiteGroupInfoResponseBody) -> None:
        told.append(found)
        if lite is not None:
            out.put(_OFFSETS, name, *_offsets(found.lite_topic_offset_wrapper))

    failed: AdminError | None = None
    try:
        await _of_each(admin, parent, ask, show, out)
    except AdminError as cause:
        failed = cause
    now_ms = admin.now_ms()
    total = sum(max(0, one.total_lag_count) for one in told)
    since_ms = min(
        [now_ms, *(one.earliest_unconsumed_timestamp for one in told if one.earliest_unconsumed_timestamp > 0)]
    )
    out.line(f"Total Lag Count: {total}")
    out.line(f"Min Unconsumed Timestamp: {since_ms} ({(now_ms - since_ms) // 1000} s ago)")
    out.line()
    out.fields(totalLagCount=total, minUnconsumedTimestamp=since_ms)
    if lite is None:
        by_count = [lag for one in told for lag in one.lag_count_top_k or ()]
        by_time = [lag for one in told for lag in one.lag_timestamp_top_k or ()]
        out.line("------TopK by lag count-----")
        _lags(sorted(by_count, key=lambda lag: -lag.lag_count), "lagCountTopK", out)
        out.line()
        out.line("------TopK by lag time------")
        _lags(sorted(by_time, key=lambda lag: lag.earliest_unconsumed_timestamp), "lagTimestampTopK", out)
    if failed is not None:
        raise failed


def _offsets(offsets: OffsetWrapper | None) -> tuple[object, object, object, str]:
    if offsets is None:
        return "-", "-", "-", "-"
    lag = offsets.broker_offset - offsets.consumer_offset
    return offsets.broker_offset, offsets.consumer_offset, lag, _when(offsets.last_timestamp, "-")


def _lags(lags: list[LiteLagInfo], name: str, out: Output) -> None:
    out.line(_LAGS.head())
    for number, lag in enumerate(lags, 1):
        out.line(_LAGS.row((number, lag.lite_topic, lag.lag_count, _when(lag.earliest_unconsumed_timestamp, "-"))))
    out.field(name, lags)


@command(
    "triggerLiteDispatch",
    _PARENT,
    _GROUP,
    flag("c", "clientId", "only to this client"),
    flag("b", "brokerName", "only by this broker"),
)
async def dispatch(admin: Admin, given: Given, out: Output) -> None:
    """Have brokers dispatch lite messages to a group now."""
    parent, group, only = given.text("parentTopic"), given.text("group"), given.maybe("brokerName")
    brokers = await admin.brokers_with(parent)
    out.line(f"Group And Topic Info: [{group}] [{parent}]")
    out.line()
    failed: AdminError | None = None
    header = TriggerLiteDispatch(group=group, client_id=given.maybe("clientId"))
    for name, address in brokers:
        if only is not None and name != only:
            continue
        (answer,) = await admin.each(partial(admin.call, header=header), [address])
        wrong = isinstance(answer, AdminError)
        failed = answer if isinstance(answer, AdminError) else failed
        out.line(f"{name:<30} {'error' if wrong else 'dispatched':<12}")
        out.row({"broker": name, "dispatched": not wrong})
    if failed is not None:
        raise failed
