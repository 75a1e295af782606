"""Commands that show topics: topicList, topicRoute, topicStatus, topicClusterList, allocateMQ, statsAll."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rmqwire.bodies.base import MessageQueue
from rmqwire.bodies.group import GroupList
from rmqwire.bodies.offset import TopicOffset, TopicStatsTable
from rmqwire.hashing import hash_order, unsigned_string_hash
from rmqwire.requests.topic import GetTopicStatsInfo, QueryTopicConsumeByWho

from .asking import DLQ_PREFIX, RETRY_PREFIX, address_of, brokers_in
from .command import SWITCH, command, flag
from .errors import AdminError, BadUsage, NotFound
from .output import Columns
from .text import front, human_time, queue_hash, queue_order

if TYPE_CHECKING:
    from rmqwire.bodies.route import TopicRouteData

    from .asking import Admin
    from .command import Given
    from .output import Output

TOPIC = flag("t", "topic", "topic name", required=True)

_WITH_GROUPS = Columns(
    "%-20s  %-48s  %-48s",
    "%-20s  %-64s  %-64s",
    ("#Cluster Name", "#Topic", "#Consumer Group"),
    ("cluster", "topic", "group"),
)


@command("topicList", flag("c", "clusterModel", "show cluster and groups of each topic", SWITCH), watch=True)
async def topic_list(admin: Admin, given: Given, out: Output) -> None:
    """List all topics."""
    topics = await admin.topics()
    out.rows()
    if not given.true("clusterModel"):
        for topic in topics:
            out.line(topic)
            out.row(topic)
        return
    table = (await admin.clusters()).cluster_addr_table or {}
    shown = [topic for topic in topics if not topic.startswith((RETRY_PREFIX, DLQ_PREFIX))]
    found = await admin.each(partial(_cluster_and_groups, admin, table), shown)
    out.head(_WITH_GROUPS)
    for topic, one in zip(shown, found, strict=True):
        # As the official tool: a topic is listed without what could not be learned.
        cluster, groups = ("", []) if isinstance(one, AdminError) else one
        for group in groups or [""]:
            out.put(_WITH_GROUPS, front(cluster, 20), front(topic, 64), front(group, 64))


async def _cluster_and_groups(admin: Admin, table: dict[str, list[str]], topic: str) -> tuple[str | None, list[str]]:
    route = await admin.route(topic)
    cluster = next(iter(_clusters_of(route, table)), None)
    try:
        return cluster, await groups_of(admin, route, topic)
    except AdminError:
        return cluster, []


def _clusters_of(route: TopicRouteData, table: dict[str, list[str]]) -> list[str]:
    name = route.broker_datas[0].broker_name if route.broker_datas else None
    return sorted(cluster for cluster, brokers in table.items() if name in brokers)


async def groups_of(admin: Admin, route: TopicRouteData, topic: str) -> list[str]:
    """The groups that consume a topic, as the first broker of its route says."""
    for broker in route.broker_datas:
        address = address_of(broker)
        if address is not None:
            return (await admin.ask(address, QueryTopicConsumeByWho(topic=topic), GroupList)).group_list
    return []


_OLD_NAME = '"topicSynFlag"'
"""What brokers before 4.9 call `topicSysFlag`; written for them, and not shown."""

_ROUTE = Columns(
    "%-45s %-32s %-50s %-10s %-11s %-5s",
    None,
    ("#ClusterName", "#BrokerName", "#BrokerAddrs", "#ReadQueue", "#WriteQueue", "#Perm"),
    ("cluster", "broker", "addresses", "readQueues", "writeQueues", "perm"),
)


@command("topicRoute", TOPIC, flag("l", "list", "print a list", SWITCH), watch=True)
async def topic_route(admin: Admin, given: Given, out: Output) -> None:
    """Show the brokers and queues of a topic."""
    route = await admin.route(given.text("topic"))
    if not given.true("list"):
        text = route.pretty().decode()
        out.line("\n".join(line for line in text.split("\n") if _OLD_NAME not in line))
        for name, value in zip(
            route.__struct_encode_fields__, (getattr(route, n) for n in route.__struct_fields__), strict=True
        ):
            if value is not None:
                out.field(name, value)
        return
    queues = {queue.broker_name: queue for queue in route.queue_datas}
    out.head(_ROUTE)
    brokers = sorted(route.broker_datas, key=lambda broker: broker.broker_name or "")
    for broker in brokers:
        queue = queues.get(broker.broker_name)
        if queue is None:
            continue
        addresses = "{" + ", ".join(f"{number}={address}" for number, address in broker.broker_addrs.items()) + "}"
        counts = (queue.read_queue_nums, queue.write_queue_nums, queue.perm)
        out.put(_ROUTE, broker.cluster, broker.broker_name, addresses, *counts)
    out.line("-" * 158)
    read = sum(queue.read_queue_nums for queue in queues.values())
    write = sum(queue.write_queue_nums for queue in queues.values())
    out.line(_ROUTE.row(("Total:", len(queues), "", read, write, "")))


_STATUS = Columns(
    "%-32s  %-4s  %-20s  %-20s    %s",
    None,
    ("#Broker Name", "#QID", "#Min Offset", "#Max Offset", "#Last Updated"),
    ("broker", "queueId", "minOffset", "maxOffset", "lastUpdated"),
)


@command(
    "topicStatus",
    TOPIC,
    flag("c", "cluster", "cluster name or parent topic, which the route is asked for"),
    watch=True,
)
async def topic_status(admin: Admin, given: Given, out: Output) -> None:
    """Show the offsets of a topic's queues."""
    topic = given.text("topic")
    table: dict[MessageQueue, TopicOffset] = {}
    tps = 0.0
    route = await admin.route(given.maybe("cluster") or topic)
    for _, address in brokers_in(route):
        found = await admin.ask(address, GetTopicStatsInfo(topic=topic), TopicStatsTable)
        table.update(found.offset_table)
        tps += found.topic_put_tps
    if route.topic_queue_mapping_by_broker and not given.has("cluster"):
        from .static_topics import add_logical_ends, settings_of

        add_logical_ends(topic, await settings_of(admin, topic, route), table)
    if not table and not given.has("cluster"):
        raise NotFound(f"no offsets of topic {topic!r}", "its brokers have no queue of it; see `mqadmin topicRoute`")
    out.head(_STATUS)
    for queue in sorted(table, key=queue_order):
        offset = table[queue]
        updated = human_time(offset.last_update_timestamp) if offset.last_update_timestamp > 0 else ""
        bounds = (offset.min_offset, offset.max_offset)
        out.put(
            _STATUS,
            front(queue.broker_name, 32),
            queue.queue_id,
            *bounds,
            updated,
            lastUpdateTimestamp=offset.last_update_timestamp,
        )
    out.line()
    # As the official tool, which adds the tables up and forgets the rate; `--json` has the sum.
    out.line("Topic Put TPS: 0.0")
    out.field("topicPutTps", tps)


@command("topicClusterList", TOPIC, watch=True)
async def topic_cluster_list(admin: Admin, given: Given, out: Output) -> None:
    """List the clusters that hold a topic."""
    info = await admin.clusters()
    route = await admin.route(given.text("topic"))
    out.rows()
    for cluster in _clusters_of(route, info.cluster_addr_table or {}):
        out.line(cluster)
        out.row(cluster)


@command("allocateMQ", TOPIC, flag("i", "ipList", "addresses of the consumers, joined by commas", required=True))
async def allocate_mq(admin: Admin, given: Given, out: Output) -> None:
    """Show how the averaging strategy shares the queues of a topic among consumers."""
    import msgspec

    route = await admin.route(given.text("topic"))
    consumers = given.text("ipList").split(",")
    if len(set(consumers)) != len(consumers):
        raise BadUsage("an address is given twice", "give each consumer once")
    queues = hash_order(readable_queues(given.text("topic"), route), queue_hash)  # the strategy gets a HashSet
    result = {}
    for index, consumer in enumerate(consumers):
        share, rest = divmod(len(queues), len(consumers))
        begin = index * share + min(index, rest)
        result[consumer] = queues[begin : begin + share + (index < rest)]
    shown = {consumer: result[consumer] for consumer in hash_order(result, unsigned_string_hash)}
    out.line(msgspec.json.encode({"result": shown}).decode())
    out.field("result", result)


def readable_queues(topic: str, route: TopicRouteData) -> list[MessageQueue]:
    """The queues that a consumer of the topic sees, in order."""
    return sorted(
        (
            MessageQueue(topic=topic, broker_name=data.broker_name, queue_id=number)
            for data in route.queue_datas
            if data.perm & 4
            for number in range(data.read_queue_nums)
        ),
        key=queue_order,
    )
