"""Commands for static topics: updateStaticTopic and remappingStaticTopic, and what others show of them.

Source: `UpdateStaticTopicSubCommand`, `RemappingStaticTopicSubCommand`, `MQAdminUtils` (5.5.0). Unlike there, `-mf`
works: Java looks for another flag, and makes a new plan instead of taking the one of the file.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rmqd.protocol.static_mapping import (
    MappingFault,
    is_decided,
    item_at,
    last_item,
    logical_broker,
    logical_offset,
    logical_offset_within,
)
from rmqwire.bodies.base import MessageQueue
from rmqwire.bodies.offset import ConsumeStats, OffsetWrapper, TopicOffset, TopicStatsTable
from rmqwire.bodies.topic import TopicConfigAndQueueMapping
from rmqwire.codes import ResponseCode
from rmqwire.errors import MalformedBody
from rmqwire.requests.topic import GetTopicConfig, GetTopicStatsInfo, UpdateAndCreateStaticTopic

from .asking import MASTER_ID, address_of
from .command import BOOL, I32, command, flag
from .errors import AdminError, BadUsage, NotFound, Refused, unknown_broker
from .static_plan import (
    CREATE,
    Plan,
    Settings,
    check_names,
    detail_of,
    empty,
    grown,
    hashed,
    led_queues,
    remapped,
    rounded_up,
)
from .topics import TOPIC

if TYPE_CHECKING:
    from rmqwire.bodies.route import ClusterInfo, TopicRouteData

    from .asking import Admin
    from .command import Given
    from .output import Output

_DEFAULT_TOPIC = "TBW102"
_BLOCK = 10_000
_BROKERS = flag("b", "brokers", "names of brokers, joined by commas")
_CLUSTERS = flag("c", "clusters", "names of clusters, joined by commas")
_FILE = flag("mf", "mapFile", "a file with the mapping to set, as these commands write it")
_FORCE = flag("fr", "forceReplace", "with -mf: whatever brokers know", BOOL)


@command(
    "updateStaticTopic",
    _BROKERS,
    _CLUSTERS,
    TOPIC,
    flag("qn", "totalQueueNum", "number of logical queues", I32, required=True),
    _FILE,
    _FORCE,
)
async def update_static_topic(admin: Admin, given: Given, out: Output) -> None:
    """Create a static topic, or give it more queues."""
    topic = given.text("topic")
    info = await admin.clusters()
    masters = _masters(info)
    if given.has("mapFile"):
        plan = _read(given.text("mapFile"), topic)
        await _tell(admin, masters, _with_others(plan.brokers, info), force=given.true("forceReplace"))
        return
    targets = _targets(given, info)
    for broker in targets - masters.keys():
        raise unknown_broker(broker, sorted(masters))
    brokers = await _settings(admin, topic, masters)
    try:
        epoch, _ = check_names(topic, brokers) if brokers else (admin.now_ms(), 0)
        _write(out, "old", Plan(topic, CREATE, epoch, brokers), ".before")
        plan = grown(topic, given.number("totalQueueNum"), targets, brokers, admin.now_ms())
    except MappingFault as fault:
        raise AdminError(str(fault).strip(), "see `mqadmin topicRoute`") from fault
    _write(out, "new", plan, ".after")
    await _tell(admin, masters, _with_others(plan.brokers, info))


@command("remappingStaticTopic", _BROKERS, _CLUSTERS, TOPIC, _FILE, _FORCE)
async def remapping_static_topic(admin: Admin, given: Given, out: Output) -> None:
    """Have other brokers lead the queues of a static topic."""
    topic = given.text("topic")
    info = await admin.clusters()
    masters = _masters(info)
    if given.has("mapFile"):
        plan = _read(given.text("mapFile"), topic)
        await _remap(admin, masters, plan, force=given.true("forceReplace"))
        return
    targets = _targets(given, info)
    for broker in sorted(targets - masters.keys()):
        raise unknown_broker(broker, sorted(masters))
    brokers = await _settings(admin, topic, masters)
    if not brokers:
        raise NotFound("No topic route to do the remapping", "`mqadmin updateStaticTopic` makes static topics")
    try:
        epoch, _ = check_names(topic, brokers)
        _write(out, "old", Plan(topic, CREATE, epoch, brokers), ".before")
        plan = remapped(topic, targets, brokers, admin.now_ms())
    except MappingFault as fault:
        raise AdminError(str(fault).strip(), "see `mqadmin topicRoute`") from fault
    _write(out, "old", plan, ".after")  # as the official tool, which says "old" of both
    _with_others(plan.brokers, info)
    await _remap(admin, masters, plan)


def _targets(given: Given, info: ClusterInfo) -> set[str]:
    if given.one_of("brokers", "clusters") == "brokers":
        named = {name.strip() for name in given.text("brokers").split(",")} - {""}
        if not named:
            raise BadUsage("brokers names no broker", "give names joined by commas by -b")
        return named
    clusters = info.cluster_addr_table or {}
    names = [name.strip() for name in given.text("clusters").split(",")]
    targets = {broker for name in names for broker in clusters.get(name, [])}
    if not targets:
        raise NotFound(
            "Find none brokers, do nothing", f"the name server knows {', '.join(sorted(clusters)) or 'none'}"
        )
    return targets


def _masters(info: ClusterInfo) -> dict[str, str]:
    table = info.broker_addr_table or {}
    return {name: of.broker_addrs[MASTER_ID] for name, of in table.items() if MASTER_ID in of.broker_addrs}


async def _settings(admin: Admin, topic: str, masters: dict[str, str]) -> Settings:
    """What all brokers have of a topic."""
    found: Settings = {}
    for broker in hashed(masters):
        try:
            header = GetTopicConfig(topic=topic, logical=True)
            found[broker] = await admin.ask(masters[broker], header, TopicConfigAndQueueMapping)
        except Refused as cause:
            if cause.code != ResponseCode.TOPIC_NOT_EXIST:
                raise
    return found


def _with_others(brokers: Settings, info: ClusterInfo) -> Settings:
    """Add the other brokers of the same clusters: they shall know the topic too, and tell of it."""
    sample = brokers[min(brokers)]
    detail = detail_of(min(brokers), sample)
    for names in (info.cluster_addr_table or {}).values():
        if not brokers.keys().isdisjoint(names):
            for name in names:
                brokers.setdefault(name, empty(sample.topic_name or "", name, detail.total_queues, detail.epoch))
    return brokers


def _write(out: Output, word: str, plan: Plan, suffix: str) -> None:
    path = Path(tempfile.gettempdir()) / f"{plan.topic}-{plan.epoch}{suffix}"
    try:
        path.write_bytes(plan.text())
    except OSError as cause:
        raise AdminError(
            f"cannot write {path}: {cause.strerror}", "set TMPDIR to a folder that can be written"
        ) from cause
    out.line(f"The {word} mapping data is written to file {path}")
    out.field("before" if suffix == ".before" else "after", str(path))


def _read(name: str, topic: str) -> Plan:
    try:
        plan = Plan.read(Path(name).read_bytes())
        if plan.topic != topic:
            raise MappingFault(f"it is of topic {plan.topic}")
        check_names(topic, plan.brokers)
        led_queues(plan.brokers)
    except OSError as cause:
        raise BadUsage(f"cannot read {name}: {cause.strerror}") from cause
    except (MalformedBody, MappingFault) as cause:
        raise BadUsage(f"{name} is no mapping of {topic}: {cause}") from cause
    return plan


async def _tell(admin: Admin, masters: dict[str, str], brokers: Settings, *, force: bool = False) -> None:
    for broker in sorted(brokers.keys() - masters.keys()):
        raise unknown_broker(broker, sorted(masters))
    for broker in hashed(brokers):
        await _tell_one(admin, masters[broker], brokers[broker], force)


async def _tell_one(admin: Admin, address: str, settings: TopicConfigAndQueueMapping, force: bool) -> None:
    header = UpdateAndCreateStaticTopic(
        topic=settings.topic_name or "",
        default_topic=_DEFAULT_TOPIC,
        read_queue_nums=settings.read_queue_nums,
        write_queue_nums=settings.write_queue_nums,
        perm=settings.perm,
        topic_filter_type=settings.topic_filter_type,
        topic_sys_flag=settings.topic_sys_flag,
        order=settings.order,
        force=force,
    )
    assert settings.mapping_detail is not None
    await admin.call(address, header, settings.mapping_detail.encode())


async def _remap(admin: Admin, masters: dict[str, str], plan: Plan, *, force: bool = False) -> None:
    """Have the new leaders take messages, the old ones refuse them, then decide where the new stretches begin."""
    brokers = plan.brokers
    for broker in sorted(brokers.keys() - masters.keys()):
        raise unknown_broker(broker, sorted(masters))
    for broker in [*hashed(plan.taking), *hashed(plan.leaving)]:
        await _tell_one(admin, masters[broker], brokers[broker], force)
    for broker in hashed(plan.leaving):
        stats = await admin.ask(masters[broker], GetTopicStatsInfo(topic=plan.topic), TopicStatsTable)
        _decide(plan, broker, stats)
    others = [broker for broker in hashed(brokers) if broker not in plan.taking | plan.leaving]
    for broker in [*hashed(plan.taking), *others]:
        await _tell_one(admin, masters[broker], brokers[broker], force)


def _decide(plan: Plan, broker: str, stats: TopicStatsTable) -> None:
    for logical_id, items in detail_of(broker, plan.brokers[broker]).hosted_queues.items():
        if len(items) < 2 or items[-1].logic_offset > 0:
            continue
        before, after = items[-2:]
        queue = MessageQueue(topic=plan.topic, broker_name=before.bname, queue_id=before.queue_id)
        ends = stats.offset_table.get(queue)
        if ends is None:
            raise AdminError(f"Cannot get the max offset for old leader {before.bname} of queue {logical_id}")
        if ends.max_offset < before.start_offset:
            raise AdminError(
                f"The max offset is smaller then the start offset: {ends.max_offset} of queue {logical_id}"
            )
        after.logic_offset = rounded_up(logical_offset(before, ends.max_offset), _BLOCK)
        assert after.bname is not None
        # The same list already, unless the plan was read from a file.
        detail_of(after.bname, plan.brokers[after.bname]).hosted_queues[logical_id] = items


# What other commands show


async def settings_of(admin: Admin, topic: str, route: TopicRouteData) -> Settings:
    """What the brokers of a route have of a static topic; nothing of an ordinary one, whose brokers are not asked."""
    if not route.topic_queue_mapping_by_broker:
        return {}
    addresses = {broker.broker_name or "": address_of(broker) for broker in route.broker_datas}
    return await _settings(admin, topic, {name: address for name, address in addresses.items() if address is not None})


def add_logical_ends(topic: str, brokers: Settings, table: dict[MessageQueue, TopicOffset]) -> None:
    """Add the ends of logical queues to those of the physical ones."""
    for queue in led_queues(brokers, strict=False).values():
        first, last = item_at(queue.items, 0), last_item(queue.items)
        if first is None or last is None:
            continue
        low, high = (
            table.get(MessageQueue(topic=topic, broker_name=item.bname, queue_id=item.queue_id))
            for item in (first, last)
        )
        if low is not None and high is not None:
            name = logical_broker(detail_of(queue.broker, brokers[queue.broker]).scope)
            table[MessageQueue(topic=topic, broker_name=name, queue_id=queue.logical_id)] = TopicOffset(
                min_offset=max(0, logical_offset_within(first, low.min_offset)),
                max_offset=max(0, logical_offset(last, high.max_offset)),
                last_update_timestamp=high.last_update_timestamp,
            )


def logical_progress(topic: str, brokers: Settings, stats: ConsumeStats) -> dict[MessageQueue, OffsetWrapper]:
    """Give how far a group is in logical queues; as the official tool, with the group's offset as it is stored."""
    found: dict[MessageQueue, OffsetWrapper] = {}
    for queue in led_queues(brokers, strict=False).values():
        end = consumed = -1
        at_ms = -1
        for item in reversed(queue.items):
            one = stats.offset_table.get(MessageQueue(topic=topic, broker_name=item.bname, queue_id=item.queue_id))
            if one is None:
                continue
            if consumed == -1 and one.consumer_offset >= 0:
                consumed, at_ms = one.consumer_offset, one.last_timestamp
            if end == -1 and is_decided(item):
                end = logical_offset(item, one.broker_offset)
        if end >= 0 and consumed >= 0:
            name = logical_broker(detail_of(queue.broker, brokers[queue.broker]).scope)
            key = MessageQueue(topic=topic, broker_name=name, queue_id=queue.logical_id)
            found[key] = OffsetWrapper(broker_offset=end, consumer_offset=consumed, last_timestamp=at_ms)
    return found
