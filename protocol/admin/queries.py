"""Commands that look single messages up: by id, key, unique key and offset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqwire.bodies.connection import ConsumeMessageDirectlyResult
from rmqwire.requests.heartbeat import ConsumeMessageDirectly

from .clients import running_info
from .command import BOOL, I32, I64, SWITCH, command, flag
from .errors import BadUsage, NotFound
from .lookups import FOREVER, UNIQUE_KEY_MAX, charset, find, query, write_body
from .output import Columns, java
from .pulling import pull
from .records import Message, host_text
from .running import is_push
from .topics import TOPIC
from .tracks import tracks_of

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

_IDS = flag("i", "msgId", "message id, several joined by commas", required=True)
_ROUTE = flag("c", "cluster", "cluster name")
_FORMAT = flag("f", "bodyFormat", "charset to print the body in")
_GROUP = flag("g", "consumerGroup", "consumer group name")
_CLIENT = flag("d", "clientId", "client id of a consumer to hand the message to")


async def _show(admin: Admin, message: Message, body_format: str | None, out: Output) -> None:
    path = write_body(message)
    for title, value in [("OffsetID:", message.offset_id), *message.shown(), ("Message Body Path:", path)]:
        out.line(f"{title:<20} {value}")
    if body_format is not None:
        out.line(f"{'Message Body:':<20} {message.body.decode(body_format, 'replace')}")
    tracks = await tracks_of(admin, message)
    out.text("\n\n" if tracks else "\n\nWARN: No Consumer")
    for track in tracks:
        out.line(track)
    out.row({**message.facts(), "bodyPath": path, "tracks": tracks})


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
                from .producing import Producer, send_result_text

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
    begin_ms, end_ms = given.number("beginTimestamp", 0), given.number("endTimestamp", FOREVER)
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
        UNIQUE_KEY_MAX,
        given.number("startTime", 0),
        given.number("endTime", FOREVER),
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
        tracks = await tracks_of(admin, message)
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
