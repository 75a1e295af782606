"""Commands that look single messages up (by id, key, unique key, offset), and queryCq."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import TYPE_CHECKING

from rmqwire.bodies.base import Body
from rmqwire.bodies.connection import ConsumeMessageDirectlyResult
from rmqwire.bodies.group import GroupList
from rmqwire.bodies.lookup import QueryConsumeQueueResponseBody
from rmqwire.codes import ResponseCode
from rmqwire.errors import RmqError
from rmqwire.message import decode_message_id
from rmqwire.requests.heartbeat import ConsumeMessageDirectly
from rmqwire.requests.lookup import QueryConsumeQueue, QueryMessage, ViewMessageById
from rmqwire.requests.topic import QueryTopicConsumeByWho

from .asking import TIMEOUT_MS
from .clients import connections_of, running_info
from .command import BOOL, I32, I64, SWITCH, command, flag
from .errors import AdminError, BadUsage, NotFound, Refused
from .output import Columns, java
from .progress import consume_stats
from .pulling import pull
from .records import Message, host_text, read_messages
from .running import is_push
from .topics import TOPIC

if TYPE_CHECKING:
    from rmqwire.bodies.lookup import ConsumeQueueData

    from .asking import Admin
    from .command import Given
    from .output import Output

_IDS = flag("i", "msgId", "message id, several joined by commas", required=True)
_ROUTE = flag("c", "cluster", "cluster name")
_FORMAT = flag("f", "bodyFormat", "charset to print the body in")
_GROUP = flag("g", "consumerGroup", "consumer group name")
_CLIENT = flag("d", "clientId", "client id of a consumer to hand the message to")

_BODY_FOLDER = Path("/tmp/rocketmq/msgbodys")  # noqa: S108  as the official tool, whose users look there
_DAYS_3_MS = 3 * 24 * 3600 * 1000
_FOREVER = (1 << 63) - 1
_UNIQUE_KEY_MAX = 32


def charset(name: str) -> str:
    """Check the name of a charset.

    Raises:
        BadUsage: Nobody knows it.
    """
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise BadUsage(f"no charset {name!r}", "give UTF-8 or another known one") from None


async def query(
    admin: Admin,
    topic: str,
    key: str,
    count: int,
    begin_ms: int,
    end_ms: int,
    *,
    unique: bool,
    cluster: str | None = None,
    index_type: str | None = None,
    last_key: str | None = None,
) -> list[Message]:
    """Ask every broker of a topic for the messages with a key."""
    found: list[Message] = []
    for broker in (await admin.route(topic)).broker_datas:
        address = broker.broker_addrs.get(min(broker.broker_addrs, default=0))
        if address is None or (cluster is not None and broker.cluster != cluster):
            continue
        header = QueryMessage(
            topic=topic,
            key=key,
            max_num=count,
            begin_timestamp=begin_ms,
            end_timestamp=end_ms,
            unique_key_query=True if unique else None,
            index_type=index_type,
            last_key=last_key,
        )
        answer = await admin.call(address, header, timeout_ms=3 * TIMEOUT_MS, also=(ResponseCode.QUERY_NOT_FOUND,))
        for message in read_messages(answer.body):
            if unique:
                matches = message.message_id == key
            elif index_type == "T":
                matches = message.tags == key
            else:
                matches = key in (message.keys or "").split(" ")
            if matches and message.stored.topic == topic:
                found.append(message)
    return found


async def find(admin: Admin, topic: str, message_id: str, cluster: str | None = None) -> Message:
    """Find one message by either kind of id.

    Raises:
        NotFound: No broker has it.
    """
    try:
        host, offset = decode_message_id(message_id)
        address = host_text(host)
    except RmqError:
        address, offset = "", 0
    if address:
        try:
            answer = await admin.call(address, ViewMessageById(offset=offset, topic=topic))
            for message in read_messages(answer.body):
                return message
        except AdminError:
            pass  # the same digits may be an id that a client made
    begin_ms = admin.now_ms() - _DAYS_3_MS
    messages = await query(admin, topic, message_id, _UNIQUE_KEY_MAX, begin_ms, _FOREVER, unique=True, cluster=cluster)
    if not messages:
        raise NotFound(
            f"no message {message_id} in topic {topic!r}", "check id and topic; ids of clients last three days"
        )
    return messages[0]


def write_body(message: Message, suffix: str = "") -> str:
    """Write a body to the folder where the official tool puts it.

    Raises:
        AdminError: It cannot be written.
    """
    path = _BODY_FOLDER / f"{message.message_id}{suffix}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(message.body)
    except OSError as cause:
        raise AdminError(f"cannot write the body to {path}, {cause.strerror}", "make that folder writable") from cause
    return str(path)


async def _show(admin: Admin, message: Message, body_format: str | None, out: Output) -> None:
    path = write_body(message)
    for title, value in [("OffsetID:", message.offset_id), *message.shown(), ("Message Body Path:", path)]:
        out.line(f"{title:<20} {value}")
    if body_format is not None:
        out.line(f"{'Message Body:':<20} {message.body.decode(body_format, 'replace')}")
    tracks = await _tracks(admin, message)
    out.text("\n\n" if tracks else "\n\nWARN: No Consumer")
    for track in tracks:
        out.line(track)
    out.row({**message.facts(), "bodyPath": path, "tracks": tracks})


async def _tracks(admin: Admin, message: Message) -> list[str]:
    """What became of a message in every group that consumes its topic."""
    _, address = (await admin.brokers_with(message.stored.topic))[0]
    groups = (await admin.ask(address, QueryTopicConsumeByWho(topic=message.stored.topic), GroupList)).group_list
    return [await _track(admin, message, group) for group in groups]


async def _track(admin: Admin, message: Message, group: str) -> str:
    kind, why = "UNKNOWN", "null"
    try:
        connections = await connections_of(admin, group)
        if connections.consume_type == "CONSUME_ACTIVELY":
            kind = "PULL"
        elif connections.consume_type == "CONSUME_PASSIVELY":
            subscription = connections.subscription_table.get(message.stored.topic)
            tags = subscription.tags_set if subscription else []
            if not await _consumed(admin, message, group):
                kind = "NOT_CONSUME_YET"
            elif tags and "*" not in tags and message.tags not in tags:
                kind = "CONSUMED_BUT_FILTERED"
            else:
                kind = "CONSUMED"
    except Refused as cause:
        if cause.code == ResponseCode.CONSUMER_NOT_ONLINE:
            kind = "NOT_ONLINE"
        why = f"CODE:{cause.code} DESC:{cause.remark}"
    except AdminError as cause:
        why = cause.cause
    return f"MessageTrack [consumerGroup={group}, trackType={kind}, exceptionDesc={why}]"


async def _consumed(admin: Admin, message: Message, group: str) -> bool:
    stored = message.stored
    stats = await consume_stats(admin, group)
    brokers = dict(await admin.brokers_with(stored.topic))
    return any(
        queue.topic == stored.topic
        and queue.queue_id == stored.queue_id
        and brokers.get(queue.broker_name or "") == host_text(stored.store_host)
        and one.consumer_offset > stored.queue_offset
        for queue, one in stats.offset_table.items()
    )


async def _hand_over(admin: Admin, given: Given, message: Message, out: Output) -> None:
    """Have one consumer consume a message now."""
    group, client = given.text("consumerGroup"), given.text("clientId")
    if not is_push(await running_info(admin, group, client, False)):
        raise BadUsage(f"{client} is no push consumer", "only those can be handed a message")
    header = ConsumeMessageDirectly(
        consumer_group=group, client_id=client, msg_id=message.offset_id, topic=message.stored.topic
    )
    result = await admin.ask(host_text(message.stored.store_host), header, ConsumeMessageDirectlyResult)
    out.text(
        f"ConsumeMessageDirectlyResult [order={java(result.order)}, autoCommit={java(result.auto_commit)}, "
        f"consumeResult={java(result.consume_result)}, remark={java(result.remark)}, "
        f"spentTimeMills={result.spent_time_mills}]"
    )
    out.row(result)


@command(
    "queryMsgById",
    TOPIC,
    _IDS,
    _GROUP,
    _CLIENT,
    flag("s", "sendMessage", "send it once more", BOOL),
    flag("u", "unitName", "unit name"),
    _FORMAT,
    _ROUTE,
)
async def query_msg_by_id(admin: Admin, given: Given, out: Output) -> None:
    """Show messages by id, hand them to a consumer, or send them again."""
    topic = given.text("topic")
    body_format = charset(given.text("bodyFormat")) if given.has("bodyFormat") else None
    for message_id in (part.strip() for part in given.text("msgId").split(",") if part.strip()):
        message = await find(admin, topic, message_id, given.maybe("cluster"))
        if given.has("consumerGroup") and given.has("clientId"):
            await _hand_over(admin, given, message, out)
        elif given.has("sendMessage"):
            if given.true("sendMessage"):
                from .sending import Producer, send_result_text

                result = await Producer(admin, "ReSendMsgById").send(topic, message.body, message.properties)
                out.text(f"prepare resend msg. originalMsgId={message_id}{send_result_text(result)}")
                out.row(result)
        else:
            await _show(admin, message, body_format, out)


_BY_KEY = Columns(
    "%-50s %4s %40s %-200s",
    None,
    ("#Message ID", "#QID", "#Offset", "#IndexKey"),
    ("msgId", "queueId", "queueOffset", "indexKey"),
)
_HOUR_MS = 3_600_000


def _index_key(message: Message, kind: str, key: str) -> str:
    """Where the message stands in an index kept in RocksDB; what `--lastKey` takes to go on from there."""
    stored = message.stored
    hour_ms = stored.store_timestamp // _HOUR_MS * _HOUR_MS
    return f"{hour_ms}@{stored.topic}@{kind}@{key}@{message.message_id}@{stored.physical_offset}"


@command(
    "queryMsgByKey",
    TOPIC,
    flag("k", "msgKey", "message key", required=True),
    flag("b", "beginTimestamp", "first store time in milliseconds [0]", I64),
    flag("e", "endTimestamp", "last store time in milliseconds", I64),
    flag("m", "maxNum", "how many at most [64]", I32),
    flag("p", "keyType", "K for keys or T for tags [K]"),
    flag("l", "lastKey", "index key to go on from"),
    _ROUTE,
)
async def query_msg_by_key(admin: Admin, given: Given, out: Output) -> None:
    """List the messages with a key."""
    begin_ms, end_ms = given.number("beginTimestamp", 0), given.number("endTimestamp", _FOREVER)
    if begin_ms > end_ms:
        raise BadUsage("the begin is after the end", "give -b and -e in order")
    kind = given.maybe("keyType") or "K"
    if kind not in ("K", "T"):
        raise BadUsage(f"{kind!r} is no type of key", "give -p K for keys or -p T for tags")
    found = await query(
        admin,
        given.text("topic"),
        given.text("msgKey"),
        given.number("maxNum", 64),
        begin_ms,
        end_ms,
        unique=False,
        cluster=given.maybe("cluster"),
        index_type=given.maybe("keyType"),
        last_key=given.maybe("lastKey"),
    )
    out.head(_BY_KEY)
    for message in found:
        index_key = _index_key(message, kind, given.text("msgKey"))
        where = (message.stored.queue_id, message.stored.queue_offset)
        out.line(_BY_KEY.row((message.message_id, *where, index_key)))
        out.row({**message.facts(), "indexKey": index_key})


@command(
    "queryMsgByUniqueKey",
    _IDS,
    _GROUP,
    _CLIENT,
    TOPIC,
    flag("a", "showAll", "all with that id, 32 at most", SWITCH),
    flag("s", "startTime", "first store time in milliseconds [0]", I64),
    flag("e", "endTime", "last store time in milliseconds", I64),
    _ROUTE,
)
async def query_msg_by_unique_key(admin: Admin, given: Given, out: Output) -> None:
    """Show a message by the id that its client made."""
    topic, key = given.text("topic"), given.text("msgId")
    if given.has("consumerGroup") and given.has("clientId"):
        await _hand_over(admin, given, await find(admin, topic, key), out)
        return
    cluster = given.maybe("cluster")
    found = await query(
        admin,
        topic,
        key,
        _UNIQUE_KEY_MAX,
        given.number("startTime", 0),
        given.number("endTime", _FOREVER),
        unique=True,
        cluster=cluster,
    )
    if not found:
        raise NotFound(f"no message {key} in topic {topic!r}", "check id and topic")
    found.sort(key=lambda message: message.stored.store_timestamp)
    for index, message in enumerate(found if given.true("showAll") else found[:1]):
        path = write_body(message, f"_{index}" if index else "")
        for title, value in [*message.shown(), ("Message Body Path:", path)]:
            out.line(f"{title:<20} {value}")
        tracks = await _tracks(admin, message)
        out.text("\n\n" if tracks else "\n\nWARN: No Consumer")
        out.text("".join(tracks))
        out.row({**message.facts(), "bodyPath": path, "tracks": tracks})


@command(
    "queryMsgByOffset",
    TOPIC,
    flag("b", "brokerName", "broker name", required=True),
    flag("i", "queueId", "queue id", I32, required=True),
    flag("o", "offset", "queue offset", I64, required=True),
    _FORMAT,
    flag("r", "routeTopic", "topic that the route is asked for"),
)
async def query_msg_by_offset(admin: Admin, given: Given, out: Output) -> None:
    """Show the message at an offset of a queue."""
    body_format = charset(given.text("bodyFormat")) if given.has("bodyFormat") else None
    broker, topic = given.text("brokerName"), given.text("topic")
    await admin.route(given.maybe("routeTopic") or topic)
    address = await admin.master_named(broker)
    offset = given.number("offset")
    pulled = await pull(admin, address, broker, topic, given.number("queueId"), offset, 1)
    if not pulled.messages or pulled.messages[0].stored.queue_offset != offset:
        raise NotFound(
            f"no message at offset {offset}",
            f"the queue has {pulled.min_offset} to {pulled.max_offset}, the end excluded",
        )
    await _show(admin, pulled.messages[0], body_format, out)


@command(
    "queryCq",
    TOPIC,
    flag("q", "queue", "queue id", I32, required=True),
    flag("i", "index", "first unit", I64, required=True),
    flag("c", "count", "how many [10]", I32),
    flag("b", "broker", "address of the broker"),
    flag("g", "consumer", "consumer group, to show how its subscription filters"),
)
async def query_cq(admin: Admin, given: Given, out: Output) -> None:
    """Show units of a consume queue."""
    topic = given.text("topic")
    address = given.maybe("broker")
    if address is None:
        _, address = (await admin.brokers_with(topic))[0]
    header = QueryConsumeQueue(
        topic=topic,
        queue_id=given.number("queue"),
        index=given.number("index"),
        count=given.number("count", 10),
        consumer_group=given.maybe("consumer"),
    )
    found = await admin.ask(address, header, QueryConsumeQueueResponseBody)
    bar = "=" * 38
    if found.subscription_data is not None:
        out.line(f"Subscription data: \n{_pretty(found.subscription_data)}\n{bar}")
    if found.filter_data is not None:
        out.line(f"Filter data: \n{found.filter_data}\n{bar}")
    out.line(f"Queue data: \nmax: {found.max_queue_index}, min: {found.min_queue_index}\n{bar}")
    for index, unit in enumerate(found.queue_data or (), given.number("index")):
        out.line(f"idx: {index}\n{_unit_text(unit)}\n{bar}")
        out.row({"index": index, "unit": unit})
    out.fields(maxQueueIndex=found.max_queue_index, minQueueIndex=found.min_queue_index)


def _pretty(body: Body) -> str:
    """Indented as fastjson 1 does it, which gives empty lists three lines."""
    return body.pretty().decode().replace("[]", "[\n\t\t\n\t]")


def _unit_text(unit: ConsumeQueueData) -> str:
    return (
        f"ConsumeQueueData{{physicOffset={unit.physic_offset}, physicSize={unit.physic_size}, "
        f"tagsCode={unit.tags_code}, extendDataJson='{java(unit.extend_data_json)}', bitMap='{java(unit.bit_map)}', "
        f"eval={java(unit.eval)}, msg='{java(unit.msg)}'}}"
    )
