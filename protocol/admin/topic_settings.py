"""Commands that change topics: updateTopic, updateTopicList, deleteTopic, updateTopicPerm, updateOrderConf."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rmqwire.bodies.base import Body, read_list
from rmqwire.bodies.topic import CreateTopicListRequestBody, TopicConfig
from rmqwire.codes import ResponseCode
from rmqwire.errors import RmqError
from rmqwire.requests.kv import DeleteKvConfig, GetKvConfig, GetKvConfigReply, PutKvConfig
from rmqwire.requests.route import DeleteTopicInNamesrv
from rmqwire.requests.topic import DeleteTopicInBroker, UpdateAndCreateTopic, UpdateAndCreateTopicList

from .asking import MASTER_ID
from .command import BOOL, BROKER, CLUSTER, I32, command, flag
from .errors import BadUsage, NotFound, Refused
from .text import attributes_header, parse_attributes, topic_text
from .topics import TOPIC

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

B = TypeVar("B", bound=Body)

_DEFAULT_TOPIC = "TBW102"
_ORDER_NAMESPACE = "ORDER_TOPIC_CONFIG"
_UNIT, _UNIT_SUBSCRIPTION = 1, 2


async def _send_topic(admin: Admin, address: str, topic: TopicConfig) -> None:
    header = UpdateAndCreateTopic(
        topic=topic.topic_name or "",
        default_topic=_DEFAULT_TOPIC,
        read_queue_nums=topic.read_queue_nums,
        write_queue_nums=topic.write_queue_nums,
        perm=topic.perm,
        topic_filter_type=topic.topic_filter_type,
        topic_sys_flag=topic.topic_sys_flag,
        order=topic.order,
        attributes=attributes_header(topic.attributes),
    )
    await admin.call(address, header)


@command(
    "updateTopic",
    BROKER,
    CLUSTER,
    flag("a", "attributes", "attributes, +a=b,+c=d,-e"),
    TOPIC,
    flag("r", "readQueueNums", "number of read queues [8]", I32),
    flag("w", "writeQueueNums", "number of write queues [8]", I32),
    flag("p", "perm", "permission: 2 write, 4 read, 6 both", I32),
    flag("o", "order", "whether it is ordered", BOOL),
    flag("u", "unit", "whether it is a unit topic", BOOL),
    flag("s", "hasUnitSub", "whether it has unit subscriptions", BOOL),
)
async def update_topic(admin: Admin, given: Given, out: Output) -> None:
    """Create a topic, or change its settings."""
    topic = TopicConfig(
        topic_name=given.text("topic"),
        read_queue_nums=given.number("readQueueNums", 8),
        write_queue_nums=given.number("writeQueueNums", 8),
        perm=given.number("perm", 6),
        topic_sys_flag=_UNIT * given.true("unit") | _UNIT_SUBSCRIPTION * given.true("hasUnitSub"),
        order=given.true("order"),
        attributes=parse_attributes(given.text("attributes")) if given.has("attributes") else {},
    )
    whole_cluster = given.one_of("brokerAddr", "clusterName") == "clusterName"
    addresses = await admin.masters(given.text("clusterName")) if whole_cluster else [given.text("brokerAddr")]
    for address in addresses:
        await _send_topic(admin, address, topic)
        if whole_cluster or not topic.order:
            out.line(f"create topic to {address} success.")
    if topic.order and whole_cluster:
        names = [broker.broker_name for broker in await admin.brokers_of(given.text("clusterName"))]
        text = ";".join(f"{name}:{topic.write_queue_nums}" for name in names)
        await _put_order(admin, given.text("topic"), text)
        out.line(f"set cluster orderConf. isOrder=true, orderConf=[{text}]")
    elif topic.order:
        text = f"{await _name_at(admin, addresses[0])}:{topic.write_queue_nums}"
        await _merge_order(admin, given.text("topic"), text)
        out.line(f"set broker orderConf. isOrder=true, orderConf=[{text}]")
        out.line(f"create topic to {addresses[0]} success.")
    out.line(topic_text(topic))
    out.fields(addresses=addresses, topic=topic)


async def _name_at(admin: Admin, address: str) -> str:
    table = (await admin.clusters()).broker_addr_table or {}
    for name, broker in sorted(table.items()):
        if address in broker.broker_addrs.values():
            return name
    raise NotFound(f"no broker at {address} is known to the name server", "see `mqadmin clusterList`")


async def _put_order(admin: Admin, topic: str, text: str) -> None:
    for address in admin.name_servers:
        await admin.call(address, PutKvConfig(namespace=_ORDER_NAMESPACE, key=topic, value=text))


async def _get_order(admin: Admin, topic: str) -> str | None:
    answer = await admin.call_name_server(GetKvConfig(namespace=_ORDER_NAMESPACE, key=topic))
    return answer.header(GetKvConfigReply).value


async def _merge_order(admin: Admin, topic: str, text: str) -> None:
    """Put one broker's part of an order configuration beside those of the others."""
    try:
        known = await _get_order(admin, topic) or ""
    except Refused as cause:
        if cause.code != ResponseCode.QUERY_NOT_FOUND:
            raise
        known = ""
    parts = {part.partition(":")[0]: part for part in (*known.split(";"), text) if part}
    await _put_order(admin, topic, ";".join(parts.values()))


def read_settings(path: str, kind: type[B]) -> list[B]:
    """Read a file with a JSON list of settings.

    Raises:
        BadUsage: No such file, or something else in it.
    """
    try:
        return read_list(kind, Path(path).read_bytes())
    except OSError as cause:
        raise BadUsage(f"cannot read {path}, {cause.strerror}", "give the path of a JSON file") from cause
    except RmqError as cause:
        raise BadUsage(f"{path} is no list of {kind.__name__} in JSON", str(cause)) from cause


FILE = flag("f", "filename", "JSON file with a list of settings", required=True)


@command("updateTopicList", BROKER, CLUSTER, FILE)
async def update_topic_list(admin: Admin, given: Given, out: Output) -> None:
    """Create or change the topics that a file lists."""
    topics = read_settings(given.text("filename"), TopicConfig)
    whole_cluster = given.one_of("brokerAddr", "clusterName") == "clusterName"
    addresses = await admin.masters(given.text("clusterName")) if whole_cluster else [given.text("brokerAddr")]
    body = CreateTopicListRequestBody(topic_config_list=topics).encode()
    for address in addresses if topics else []:
        await admin.call(address, UpdateAndCreateTopicList(), body)
        out.line(f"submit batch of topic config to {address} success, please check the result later.")
    out.fields(addresses=addresses, topics=[topic.topic_name for topic in topics])


@command("deleteTopic", TOPIC, flag("c", "clusterName", "delete it from which cluster", required=True))
async def delete_topic(admin: Admin, given: Given, out: Output) -> None:
    """Delete a topic with its messages."""
    topic, cluster = given.text("topic"), given.text("clusterName")
    await remove_topic(admin, topic, cluster)
    out.line(f"delete topic [{topic}] from cluster [{cluster}] success.")
    out.line(f"delete topic [{topic}] from NameServer success.")
    out.fields(topic=topic, cluster=cluster)


async def remove_topic(admin: Admin, topic: str, cluster: str) -> None:
    """Delete a topic on the masters of a cluster and at all name servers."""
    for address in await admin.masters(cluster):
        await admin.call(address, DeleteTopicInBroker(topic=topic))
    for address in admin.name_servers:
        await admin.call(address, DeleteTopicInNamesrv(topic=topic, cluster_name=cluster))


@command(
    "updateTopicPerm",
    BROKER,
    CLUSTER,
    TOPIC,
    flag("p", "perm", "permission: 2 write, 4 read, 6 both", I32, required=True),
)
async def update_topic_perm(admin: Admin, given: Given, out: Output) -> None:
    """Change the permission of a topic."""
    which = given.one_of("brokerAddr", "clusterName")
    perm = given.number("perm")
    route = await admin.route(given.text("topic"))
    if not route.queue_datas:
        raise NotFound(f"topic {given.text('topic')!r} has no queues", "see `mqadmin topicRoute`")
    first = route.queue_datas[0]
    topic = TopicConfig(
        topic_name=given.text("topic"),
        read_queue_nums=first.read_queue_nums,
        write_queue_nums=first.write_queue_nums,
        topic_sys_flag=first.topic_sys_flag,
        perm=perm,
    )
    out.field("topic", topic)
    if which == "clusterName":
        for address in await admin.masters(given.text("clusterName")):
            await _send_topic(admin, address, topic)
            out.line(f"update topic perm from {first.perm} to {perm} in {address} success.")
        return
    address = given.text("brokerAddr")
    names = [broker.broker_name for broker in route.broker_datas if broker.broker_addrs.get(MASTER_ID) == address]
    if not names:
        raise NotFound(f"{address} is no master with topic {topic.topic_name!r}", "see `mqadmin topicRoute`")
    old = next((queue.perm for queue in route.queue_datas if queue.broker_name == names[0]), 0)
    if old == perm:
        out.line("new perm equals to the old one!")
        return
    await _send_topic(admin, address, topic)
    out.line(f"update topic perm from {old} to {perm} in {address} success.")
    out.line(f"{topic_text(topic)}.")


@command(
    "updateOrderConf",
    TOPIC,
    flag("v", "orderConf", "number of queues by broker, brokerName1:num;brokerName2:num"),
    flag("m", "method", "put, get or delete", required=True),
)
async def update_order_conf(admin: Admin, given: Given, out: Output) -> None:
    """Show, set or delete the order configuration of a topic."""
    topic, method = given.text("topic"), given.text("method")
    out.fields(topic=topic)
    if method == "get":
        text = await _get_order(admin, topic)
        out.text(f"get orderConf success. topic=[{topic}], orderConf=[{text}] ")
        out.fields(orderConf=text)
    elif method == "put":
        if not given.has("orderConf"):
            raise BadUsage("please set orderConf with option -v", "as broker-a:4;broker-b:4")
        text = given.text("orderConf")
        await _put_order(admin, topic, text)
        out.text(f"update orderConf success. topic=[{topic}], orderConf=[{text}]")
        out.fields(orderConf=text)
    elif method == "delete":
        for address in admin.name_servers:
            await admin.call(address, DeleteKvConfig(namespace=_ORDER_NAMESPACE, key=topic))
        out.text(f"delete orderConf success. topic=[{topic}]")
    else:
        raise BadUsage(f"{method!r} is no method", "give -m put, -m get or -m delete")
