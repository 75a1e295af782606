"""Commands that show connected clients: consumerConnection, producerConnection, producer, consumerStatus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rmqwire.bodies.connection import (
    ConsumerConnection,
    ConsumerRunningInfo,
    ProducerConnection,
    ProducerTableInfo,
)
from rmqwire.codes import name_of_version
from rmqwire.requests.heartbeat import (
    GetAllProducerInfo,
    GetConsumerConnectionList,
    GetConsumerRunningInfo,
    GetProducerConnectionList,
)

from .asking import RETRY_PREFIX
from .command import BROKER, SWITCH, command, flag
from .errors import AdminError, BadUsage, NotFound
from .output import Columns
from .running import analyze_queues, running_text, same_subscriptions

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

CONSUMER_GROUP = flag("g", "consumerGroup", "consumer group name", required=True)


async def connections_of(admin: Admin, group: str, address: str | None = None) -> ConsumerConnection:
    """Who of a group is connected, to one broker of its retry topic unless an address is given.

    Raises:
        AdminError: Nobody is.
    """
    if address is None:
        _, address = (await admin.brokers_with(RETRY_PREFIX + group))[0]
    found = await admin.ask(address, GetConsumerConnectionList(consumer_group=group), ConsumerConnection)
    if not found.connection_set:
        raise NotFound(f"no consumer of group {group!r} is connected to {address}", "start one")
    return found


async def running_info(admin: Admin, group: str, client_id: str, jstack: bool) -> ConsumerRunningInfo:
    """What a consumer says of itself, by way of the first broker of its group."""
    _, address = (await admin.brokers_with(RETRY_PREFIX + group))[0]
    header = GetConsumerRunningInfo(consumer_group=group, client_id=client_id, jstack_enable=jstack)
    return await admin.ask(address, header, ConsumerRunningInfo)


_CONNECTIONS = Columns(
    "%-36s %-22s %-10s %s",
    None,
    ("#ClientId", "#ClientAddr", "#Language", "#Version"),
    ("clientId", "address", "language", "version"),
)


@command("consumerConnection", CONSUMER_GROUP, BROKER, watch=True)
async def consumer_connection(admin: Admin, given: Given, out: Output) -> None:
    """Show the connections and subscriptions of a group."""
    found = await connections_of(admin, given.text("consumerGroup"), given.maybe("brokerAddr"))
    out.head(_CONNECTIONS)
    for one in found.connection_set:
        out.put(_CONNECTIONS, one.client_id, one.client_addr, one.language, name_of_version(one.version))
    out.line()
    out.line("Below is subscription:")
    out.line(f"{'#Topic':<20} #SubExpression")
    for subscription in found.subscription_table.values():
        out.line(f"{subscription.topic:<20} {subscription.sub_string}")
    out.line()
    out.line(f"ConsumeType: {found.consume_type or 'null'}")
    out.line(f"MessageModel: {found.message_model or 'null'}")
    out.line(f"ConsumeFromWhere: {found.consume_from_where or 'null'}")
    out.fields(
        consumeType=found.consume_type,
        messageModel=found.message_model,
        consumeFromWhere=found.consume_from_where,
        subscriptions={topic: one.sub_string for topic, one in found.subscription_table.items()},
    )


@command(
    "producerConnection",
    flag("g", "producerGroup", "producer group name", required=True),
    flag("t", "topic", "topic name", required=True),
    watch=True,
)
async def producer_connection(admin: Admin, given: Given, out: Output) -> None:
    """Show the connections of a producer group."""
    group = given.text("producerGroup")
    _, address = (await admin.brokers_with(given.text("topic")))[0]
    found = await admin.ask(address, GetProducerConnectionList(producer_group=group), ProducerConnection)
    if not found.connection_set:
        raise NotFound(f"no producer of group {group!r} is connected to {address}", "start one")
    for index, one in enumerate(found.connection_set, 1):
        version = name_of_version(one.version)
        out.line(f"{index:04d}  {one.client_id:<32} {one.client_addr:<22} {one.language:<8} {version}")
        out.row({"clientId": one.client_id, "address": one.client_addr, "language": one.language, "version": version})


@command("producer", flag("b", "broker", "address of the broker", required=True), watch=True)
async def producer(admin: Admin, given: Given, out: Output) -> None:
    """Show all producers of a broker."""
    found = await admin.ask(given.text("broker"), GetAllProducerInfo(), ProducerTableInfo)
    out.rows()
    for group, several in found.data.items():
        if not several:
            out.line(f"producer group ({group}) instances are empty")
        for one in several:
            text = (
                f"clientId={one.client_id},remoteIP={one.remote_ip}, language={one.language}, "
                f"version={one.version}, lastUpdateTimestamp={one.last_update_timestamp}"
            )
            out.line(f"producer group ({group}) instance : {text}")
            out.row({"group": group, "producer": one})


_STATUS = Columns(
    "%-10s %-40s %-20s %s",
    None,
    ("#Index", "#ClientId", "#Version", "#ConsumerRunningInfoFile"),
    ("index", "clientId", "version", "file"),
)


@command(
    "consumerStatus",
    CONSUMER_GROUP,
    flag("i", "clientId", "client id of one consumer"),
    BROKER,
    flag("s", "jstack", "ask for the threads' stacks too", SWITCH),
)
async def consumer_status(admin: Admin, given: Given, out: Output) -> None:
    """Show what consumers say of themselves; of all of a group into files named after the time."""
    group, jstack = given.text("consumerGroup"), given.true("jstack")
    found = await connections_of(admin, group, given.maybe("brokerAddr"))
    if given.has("clientId"):
        info = await running_info(admin, group, given.text("clientId"), jstack)
        out.text(running_text(info))
        out.field("consumer", info)
        return
    now_ms = admin.now_ms()
    infos: dict[str, ConsumerRunningInfo] = {}
    out.head(_STATUS)
    failure: AdminError | None = None
    for connection in found.connection_set:
        client = connection.client_id or ""
        try:
            info = await running_info(admin, group, client, jstack)
        except AdminError as cause:
            failure = cause
            continue
        infos[client] = info
        path = _write(Path(str(now_ms)) / client.replace("/", "_"), running_text(info))
        out.put(_STATUS, len(infos), client, name_of_version(connection.version), path, consumer=info)
    if failure is not None:
        raise failure
    if not same_subscriptions(infos, now_ms):
        out.text("\n\nWARN: Different subscription in the same group of consumer!!!")
    else:
        out.text("\n\nSame subscription in the same group of consumer")
        out.text("\n\nRebalance OK\n")
        for client in sorted(infos):
            out.text(analyze_queues(client, infos[client], now_ms))
    out.field("sameSubscription", same_subscriptions(infos, now_ms))


def _write(path: Path, text: str) -> str:
    """Write a consumer's state where the official tool does: in the working directory.

    Raises:
        BadUsage: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as cause:
        raise BadUsage(f"cannot write {path}, {cause.strerror}", "run it where files may be written") from cause
    return str(path)
