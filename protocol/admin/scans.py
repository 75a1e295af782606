"""Commands that read queues through: printMsg, printMsgByQueue, consumeMessage."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rmqwire.bodies.base import MessageQueue

from .command import BOOL, I32, I64, command, flag
from .errors import BadUsage
from .lookups import charset
from .pulling import TOOLS_GROUP, bounds, pull
from .text import parse_time, queue_text
from .topics import TOPIC, readable_queues

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output
    from .records import Message

_BATCH = 32
_BEGIN = flag("b", "beginTimestamp", "first store time: milliseconds or yyyy-MM-dd#HH:mm:ss:SSS")
_END = flag("e", "endTimestamp", "last store time")
_CHARSET = flag("c", "charsetName", "charset of the bodies [UTF-8]")
_EXPRESSION = flag("s", "subExpression", "tags to show, TagA || TagB [*]")


def _time(given: Given, name: str) -> int | None:
    return parse_time(given.text(name)) if given.has(name) else None


def _line(message: Message, encoding: str, with_body: bool) -> str:
    body = message.body.decode(encoding, "replace") if with_body else "NOT PRINT BODY"
    return f"MSGID: {message.message_id} {message.text()} BODY: {body}"


@command(
    "printMsg",
    TOPIC,
    _CHARSET,
    _EXPRESSION,
    _BEGIN,
    _END,
    flag("d", "printBody", "whether to print bodies [true]", BOOL),
    flag("l", "lmqParentTopic", "parent topic, which the route is asked for"),
)
async def print_msg(admin: Admin, given: Given, out: Output) -> None:
    """Print the messages of a topic."""
    topic = given.text("topic")
    encoding = charset(given.maybe("charsetName") or "UTF-8")
    begin_ms, end_ms = _time(given, "beginTimestamp"), _time(given, "endTimestamp")
    expression = given.maybe("subExpression") or "*"
    routed = given.maybe("lmqParentTopic") or topic
    route = await admin.route(routed)
    addresses = dict(await admin.brokers_with(routed))
    out.rows()
    for queue in readable_queues(topic, route):
        address = addresses.get(queue.broker_name or "")
        if address is None:
            continue
        first, last = await bounds(admin, address, topic, queue.queue_id, begin_ms, end_ms)
        out.line(f"minOffset={first}, maxOffset={last}, {queue_text(queue)}")
        offset = first
        while offset < last:
            pulled = await pull(
                admin, address, queue.broker_name or "", topic, queue.queue_id, offset, _BATCH, expression=expression
            )
            stuck = pulled.next_offset <= offset
            offset = pulled.next_offset
            for message in pulled.messages:
                out.line(_line(message, encoding, given.true("printBody", True)))
                out.row(message.facts())
            if pulled.status == "NO_MATCHED_MSG":
                out.line(f"{queue_text(queue)} no matched msg. status={pulled.status}, offset={offset}")
            elif pulled.status != "FOUND":
                out.line(f"{queue_text(queue)} print msg finished. status={pulled.status}, offset={offset}")
                break
            if stuck:
                break
        out.line("-" * 56)


@command(
    "printMsgByQueue",
    TOPIC,
    flag("a", "brokerName", "broker name", required=True),
    flag("i", "queueId", "queue id", I32, required=True),
    _CHARSET,
    _EXPRESSION,
    _BEGIN,
    _END,
    flag("p", "printMsg", "whether to print messages [false]", BOOL),
    flag("d", "printBody", "whether to print bodies [false]", BOOL),
    flag("f", "calculate", "whether to count tags [false]", BOOL),
)
async def print_msg_by_queue(admin: Admin, given: Given, out: Output) -> None:
    """Print the messages of one queue, or count their tags."""
    topic, broker, queue_id = given.text("topic"), given.text("brokerName"), given.number("queueId")
    encoding = charset(given.maybe("charsetName") or "UTF-8")
    begin_ms, end_ms = _time(given, "beginTimestamp"), _time(given, "endTimestamp")
    await admin.route(topic)
    address = await admin.master_named(broker)
    offset, last = await bounds(admin, address, topic, queue_id, begin_ms, end_ms)
    expression = given.maybe("subExpression") or "*"
    tags: Counter[str] = Counter()
    out.rows()
    while offset < last:
        pulled = await pull(admin, address, broker, topic, queue_id, offset, _BATCH, expression=expression)
        stuck = pulled.next_offset <= offset
        offset = pulled.next_offset
        if pulled.status != "FOUND":
            break
        tags.update(message.tags for message in pulled.messages if message.tags and message.tags.strip())
        for message in pulled.messages if given.true("printMsg") else ():
            out.line(_line(message, encoding, given.true("printBody")))
            out.row(message.facts())
        if stuck:
            break
    if given.true("calculate"):
        for tag, count in tags.most_common():
            out.line(f"Tag: {tag:<30} Count: {count}")
        out.field("tags", dict(tags.most_common()))


@command(
    "consumeMessage",
    TOPIC,
    flag("b", "brokerName", "broker name"),
    flag("i", "queueId", "queue id", I32),
    flag("o", "offset", "queue offset", I64),
    flag("g", "consumerGroup", "consumer group name"),
    flag("s", "beginTimestamp", "first store time: milliseconds or yyyy-MM-dd#HH:mm:ss:SSS"),
    flag("e", "endTimestamp", "last store time"),
    flag("c", "MessageNumber", "how many messages [128]", I64),
)
async def consume_message(admin: Admin, given: Given, out: Output) -> None:
    """Read messages of a topic, or of one queue, and print them."""
    topic = given.text("topic")
    left = given.number("MessageNumber", 128)
    if left <= 0:
        raise BadUsage("please input a positive messageNumber", "as -c 10")
    if given.has("queueId") and not given.has("brokerName"):
        raise BadUsage("please set the brokerName before queueId", "give -b NAME too")
    if given.has("offset") and not given.has("queueId"):
        raise BadUsage("please set queueId before offset", "give -b NAME -i ID too")
    begin_ms, end_ms = _time(given, "beginTimestamp"), _time(given, "endTimestamp")
    now_ms = admin.now_ms()
    if max(begin_ms or 0, end_ms or 0) > now_ms:
        raise BadUsage("a time is in the future", "give times before now")
    if begin_ms is not None and end_ms is not None and begin_ms > end_ms:
        raise BadUsage("the begin is after the end", "give -s and -e in order")
    route = await admin.route(topic)
    addresses = dict(await admin.brokers_with(topic))
    group = given.maybe("consumerGroup") or TOOLS_GROUP
    out.rows()
    if given.has("queueId"):
        broker = given.text("brokerName")
        queue = MessageQueue(topic=topic, broker_name=broker, queue_id=given.number("queueId"))
        address = addresses.get(broker) or await admin.master_named(broker)
        first, last = await bounds(admin, address, topic, queue.queue_id, begin_ms, end_ms)
        wanted = given.number("offset", 0)
        if wanted > last:
            out.line(f"{queue_text(queue)} no matched msg, offset={wanted}")
            return
        first = max(first, wanted)
        if last - first > left:
            out.line(f"The oldler {left} message will be provided")  # as the official tool spells it
            last = first + left - 1
        await _read(admin, address, queue, first, last, group, out)
        return
    for queue in readable_queues(topic, route):
        if left == 0:
            return
        address = addresses[queue.broker_name or ""]
        first, last = await bounds(admin, address, topic, queue.queue_id, begin_ms, end_ms)
        if last - first > left:
            out.line(f"The older {left} message of the {queue.queue_id} queue will be provided")
            last, left = first + left - 1, 0
        else:
            left = max(0, left - (last - first) - 1)  # as Java: an end that is excluded counts as read
        await _read(admin, address, queue, first, last, group, out)


async def _read(
    admin: Admin, address: str, queue: MessageQueue, first: int, last: int, group: str, out: Output
) -> None:
    """Print the messages from one offset to another, the last included."""
    name, topic = queue.broker_name or "", queue.topic or ""
    offset = first
    while offset <= last:
        count = last - offset + 1
        pulled = await pull(admin, address, name, topic, queue.queue_id, offset, min(count, 1 << 30), group=group)
        stuck = pulled.next_offset <= offset
        offset = pulled.next_offset
        if pulled.status == "FOUND":
            out.line("Consume ok")
            for message in pulled.messages:
                out.line(_line(message, "utf-8", True))
                out.row(message.facts())
        elif pulled.status == "NO_MATCHED_MSG":
            out.line(f"{queue_text(queue)} no matched msg. status={pulled.status}, offset={offset}")
        else:
            out.line(f"{queue_text(queue)} print msg finished. status={pulled.status}, offset={offset}")
            return
        if stuck:
            return
