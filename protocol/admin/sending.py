"""Commands that send: sendMessage, sendMsgStatus, checkMsgSendRT, clusterRT."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from rmqwire.bodies.base import MessageQueue
from rmqwire.properties import PROPERTY_KEYS, PROPERTY_TAGS

from .command import BOOL, I32, I64, command, flag
from .errors import AdminError, BadUsage, unknown_cluster
from .output import Columns
from .producing import Producer, send_result_text
from .topics import TOPIC

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

_BODY_SIZE_MAX_BYTES = 64 * 1024 * 1024
_SENT = Columns(
    "%-32s  %-4s  %-20s    %s",
    None,
    ("#Broker Name", "#QID", "#Send Result", "#MsgId"),
    ("brokerName", "queueId", "status", "msgId"),
)


@command(
    "sendMessage",
    TOPIC,
    flag("p", "body", "body of the message, UTF-8", required=True),
    flag("k", "key", "keys"),
    flag("c", "tags", "tags"),
    flag("b", "broker", "name of the broker to send to"),
    flag("i", "qid", "queue to send to", I32),
    flag("m", "msgTraceEnable", "whether to write a trace; only false so far", BOOL),
)
async def send_message(admin: Admin, given: Given, out: Output) -> None:
    """Send one message."""
    topic = given.text("topic")
    if given.has("qid") and not given.has("broker"):
        raise BadUsage("Broker name must be set if the queue is chosen", "give -b NAME too")
    if given.true("msgTraceEnable"):
        raise BadUsage("message traces are not written by this tool yet", "leave -m out")
    properties = {}
    if given.has("key"):
        properties[PROPERTY_KEYS] = given.text("key")
    if given.has("tags"):
        properties[PROPERTY_TAGS] = given.text("tags")
    producer = Producer(admin, str(admin.now_ms()))
    queue = None
    if given.has("broker") and given.number("qid", -1) >= 0:
        queue = MessageQueue(topic=topic, broker_name=given.text("broker"), queue_id=given.number("qid"))
    sent = await producer.send(topic, given.text("body").encode(), properties, queue)
    out.line(_SENT.head())
    out.line(_SENT.row((sent.queue.broker_name, sent.queue.queue_id, sent.status, sent.message_id)))
    out.fields(**sent.facts())


def _size(given: Given, name: str, default: int) -> int:
    size = given.number(name, default)
    if not 0 < size <= _BODY_SIZE_MAX_BYTES:
        raise BadUsage(f"a message of {size} bytes cannot be sent", f"give 1 to {_BODY_SIZE_MAX_BYTES}")
    return size


def _count(given: Given, name: str, default: int) -> int:
    count = given.number(name, default)
    if count <= 0:
        raise BadUsage(f"{count} is no number of messages", "give 1 or more")
    return count


@command(
    "sendMsgStatus",
    flag("b", "brokerName", "broker name, which is a topic too", required=True),
    flag("s", "messageSize", "bytes of a message [128]", I32),
    flag("c", "count", "how many [50]", I32),
)
async def send_msg_status(admin: Admin, given: Given, out: Output) -> None:
    """Send messages to a broker and show how long each takes."""
    name = given.text("brokerName")
    await admin.master_named(name)
    body = b"hello jodie" * -(-_size(given, "messageSize", 128) // 11)
    producer = Producer(admin, "PID_SMSC")
    await producer.send(name, b"hello jodie" * 2)
    for _ in range(_count(given, "count", 50)):
        begun_ms = admin.now_ms()
        sent = await producer.send(name, body)
        took_ms = admin.now_ms() - begun_ms
        out.line(f"rt={took_ms}ms, SendResult={send_result_text(sent)}")
        out.row({"rtMs": took_ms, **sent.facts()})


_RT = Columns(
    "%-32s  %-4s  %-20s    %s",
    None,
    ("#Broker Name", "#QID", "#Send Result", "#RT"),
    ("broker", "queueId", "ok", "rtMs"),
)


@command(
    "checkMsgSendRT",
    TOPIC,
    flag("a", "amount", "how many messages [100]", I64),
    flag("s", "size", "bytes of a message [128]", I64),
)
async def check_msg_send_rt(admin: Admin, given: Given, out: Output) -> None:
    """Send messages to the queues of a topic in turn and show how long each takes."""
    topic, amount = given.text("topic"), _count(given, "amount", 100)
    body = b"a" * _size(given, "size", 128)
    producer = Producer(admin, str(admin.now_ms()))
    queues = await producer.queues(topic)
    out.head(_RT)
    total_ms = failed = 0
    for index in range(amount):
        queue = queues[index % len(queues)]
        begun_ms = admin.now_ms()
        try:
            await producer.send(topic, body, queue=queue)
            ok = True
        except AdminError:
            ok = False
            failed += 1
        took_ms = admin.now_ms() - begun_ms
        total_ms += took_ms if index else 0  # the first one makes the connection
        out.put(_RT, queue.broker_name, queue.queue_id, ok, took_ms)
    average = f"{total_ms / (amount - 1):.2f}" if amount > 1 else "NaN"
    out.line(f"Avg RT: {average}")
    out.field("averageRtMs", None if amount == 1 else float(average))
    if failed == amount:
        raise AdminError(f"none of {amount} messages could be sent", "see the brokers in `mqadmin clusterList`")


_CLUSTER_RT = Columns(
    "%-24s  %-24s  %-4s  %-8s  %-8s",
    "%-24s  %-24s  %-8s  %-16s  %-16s",
    ("#Cluster Name", "#Broker Name", "#RT", "#successCount", "#failCount"),
    ("cluster", "broker", "rtMs", "successCount", "failCount"),
)


@command(
    "clusterRT",
    flag("a", "amount", "how many messages [100]", I64),
    flag("s", "size", "bytes of a message [128]", I64),
    flag("c", "cluster", "cluster name [all]"),
    flag("p", "printLog", "print as a log line [false]", BOOL),
    flag("m", "machineRoom", "name of the machine room in log lines [noname]"),
    flag("i", "interval", "seconds between rounds; without it one round", I64),
    interval="interval",
)
async def cluster_rt(admin: Admin, given: Given, out: Output) -> None:
    """Send messages to every broker and show how long they take."""
    table = (await admin.clusters()).cluster_addr_table or {}
    wanted = given.maybe("cluster")
    if wanted is not None and wanted not in table:
        raise unknown_cluster(wanted, sorted(table))
    amount, body = _count(given, "amount", 100), b"a" * _size(given, "size", 128)
    as_log = given.true("printLog")
    if as_log:
        out.rows()
    else:
        out.head(_CLUSTER_RT)
    producer = Producer(admin, str(admin.now_ms()))
    for cluster in sorted(table) if wanted is None else [wanted]:
        for broker in sorted(table[cluster]):
            average, sent = await _round(admin, producer, broker, body, amount)
            if as_log:
                now = datetime.fromtimestamp(admin.now_ms() / 1000, timezone(timedelta(hours=8)))
                room = given.maybe("machineRoom") or "noname"
                out.line(f"{now:%Y-%m-%d %H:%M:%S}|{room}|{cluster}|{broker}|{int(average + 0.5)}")
                out.row({"cluster": cluster, "broker": broker, "rtMs": average})
            else:
                out.put(_CLUSTER_RT, cluster, broker, f"{average:.2f}", sent, amount - sent)


async def _round(admin: Admin, producer: Producer, topic: str, body: bytes, amount: int) -> tuple[float, int]:
    """Send so many messages; give the average time without the first, and how many were stored."""
    total_ms = sent = 0
    for index in range(amount):
        begun_ms = admin.now_ms()
        try:
            await producer.send(topic, body)
            sent += 1
        except AdminError:
            pass  # counted as failed
        total_ms += admin.now_ms() - begun_ms if index else 0
    return total_ms / max(1, amount - 1), sent
