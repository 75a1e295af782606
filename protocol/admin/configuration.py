"""Commands on properties and key-value settings, of brokers and of name servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.conf.properties import decode, read_entries, write_entry
from rmqwire.requests.config import GetBrokerConfig, GetNamesrvConfig, UpdateBrokerConfig, UpdateNamesrvConfig
from rmqwire.requests.kv import DeleteKvConfig, PutKvConfig
from rmqwire.requests.route import (
    AddWritePermOfBroker,
    AddWritePermOfBrokerReply,
    WipeWritePermOfBroker,
    WipeWritePermOfBrokerReply,
)

from .asking import MASTER_ID
from .command import BROKER, CLUSTER, command, flag
from .errors import unknown_broker

if TYPE_CHECKING:
    from rmqwire.declare import Header

    from .asking import Admin
    from .command import Given
    from .output import Output

KEY = flag("k", "key", "name of the property", required=True)
VALUE = flag("v", "value", "its value", required=True)
_NAMESPACE = flag("s", "namespace", "namespace", required=True)
_NAME = flag("b", "brokerName", "broker name", required=True)


async def read_properties(admin: Admin, address: str, header: Header) -> dict[str, str]:
    """Ask a server for its properties, in its order."""
    answer = await admin.call(address, header)
    return {entry.key: entry.value for entry in read_entries(decode(answer.body), address)}


def encode_entry(key: str, value: str) -> bytes:
    """Write one property as a request's body."""
    return f"{write_entry(key, value).rstrip()}\n".encode()


def print_properties(out: Output, properties: dict[str, str]) -> None:
    """Print properties as the official tool does."""
    for key, value in properties.items():
        out.line(f"{key:<50}=  {value}")


async def titled_addresses(admin: Admin, given: Given) -> list[tuple[str, str | None]]:
    """The brokers that `-b` or `-c` names, each under a title; None where a master is missing."""
    if given.one_of("brokerAddr", "clusterName") == "brokerAddr":
        return [(given.text("brokerAddr"), given.text("brokerAddr"))]
    titled: list[tuple[str, str | None]] = []
    for broker in await admin.brokers_of(given.text("clusterName")):
        master = broker.broker_addrs.get(MASTER_ID)
        titled.append((f"Master: {master or 'NO_MASTER'}", master))
        for number, address in sorted(broker.broker_addrs.items()):
            if number != MASTER_ID:
                titled.append((f"My Master: {master or 'NO_MASTER'}=====Slave: {address}", address))
    return titled


@command("getBrokerConfig", BROKER, CLUSTER, watch=True)
async def get_broker_config(admin: Admin, given: Given, out: Output) -> None:
    """Show the properties of a broker, or of all brokers of a cluster."""
    for title, address in await titled_addresses(admin, given):
        out.line(f"============{title}============")
        if address is None:
            continue
        properties = await read_properties(admin, address, GetBrokerConfig())
        print_properties(out, properties)
        out.line()
        out.field(address, properties)


@command("updateBrokerConfig", BROKER, CLUSTER, flag("a", "updateAllBroker", "slaves too"), KEY, VALUE)
async def update_broker_config(admin: Admin, given: Given, out: Output) -> None:
    """Change one property of running brokers."""
    if given.one_of("brokerAddr", "clusterName") == "brokerAddr":
        addresses = [given.text("brokerAddr")]
    elif given.has("updateAllBroker"):
        addresses = await admin.addresses(given.text("clusterName"))
    else:
        addresses = await admin.masters(given.text("clusterName"))
    body = encode_entry(given.text("key"), given.text("value"))
    for address in addresses:
        await admin.call(address, UpdateBrokerConfig(), body)
        out.line(f"update broker config success, {address}")
    out.fields(addresses=addresses, key=given.text("key"), value=given.text("value"))


@command("getNamesrvConfig", watch=True)
async def get_namesrv_config(admin: Admin, given: Given, out: Output) -> None:
    """Show the properties of every name server given by -n."""
    for address in admin.name_servers:
        properties = await read_properties(admin, address, GetNamesrvConfig())
        out.line(f"============{address}============")
        print_properties(out, properties)
        out.field(address, properties)


@command("updateNamesrvConfig", KEY, VALUE)
async def update_namesrv_config(admin: Admin, given: Given, out: Output) -> None:
    """Change one property of every name server given by -n."""
    key, value = given.text("key"), given.text("value")
    for address in admin.name_servers:
        await admin.call(address, UpdateNamesrvConfig(), encode_entry(key, value))
    out.line(f"update name server config success![{', '.join(admin.name_servers)}]")
    out.line(f"{key} : {value}")
    out.fields(addresses=admin.name_servers, key=key, value=value)


@command("updateKvConfig", _NAMESPACE, KEY, VALUE)
async def update_kv_config(admin: Admin, given: Given, out: Output) -> None:
    """Set a value at every name server."""
    namespace, key, value = given.text("namespace"), given.text("key"), given.text("value")
    for address in admin.name_servers:
        await admin.call(address, PutKvConfig(namespace=namespace, key=key, value=value))
    out.line("create or update kv config to namespace success.")
    out.fields(namespace=namespace, key=key, value=value)


@command("deleteKvConfig", _NAMESPACE, KEY)
async def delete_kv_config(admin: Admin, given: Given, out: Output) -> None:
    """Remove a value at every name server."""
    namespace, key = given.text("namespace"), given.text("key")
    for address in admin.name_servers:
        await admin.call(address, DeleteKvConfig(namespace=namespace, key=key))
    out.line("delete kv config from namespace success.")
    out.fields(namespace=namespace, key=key)


async def _known_broker(admin: Admin, name: str) -> None:
    """Refuse a name that no name server knows; the request itself would answer that no topic was changed."""
    table = (await admin.clusters()).broker_addr_table or {}
    if name not in table:
        raise unknown_broker(name, sorted(table))


@command("wipeWritePerm", _NAME)
async def wipe_write_perm(admin: Admin, given: Given, out: Output) -> None:
    """Take the write permission from a broker's topics at every name server."""
    name = given.text("brokerName")
    await _known_broker(admin, name)
    for address in admin.name_servers:
        answer = await admin.call(address, WipeWritePermOfBroker(broker_name=name))
        count = answer.header(WipeWritePermOfBrokerReply).wipe_topic_count
        out.line(f"wipe write perm of broker[{name}] in name server[{address}] OK, {count}")
        out.row({"nameServer": address, "broker": name, "topics": count})


@command("addWritePerm", _NAME)
async def add_write_perm(admin: Admin, given: Given, out: Output) -> None:
    """Give the write permission back at every name server."""
    name = given.text("brokerName")
    await _known_broker(admin, name)
    for address in admin.name_servers:
        answer = await admin.call(address, AddWritePermOfBroker(broker_name=name))
        count = answer.header(AddWritePermOfBrokerReply).add_topic_count
        out.line(f"add write perm of broker[{name}] in name server[{address}] OK, {count}")
        out.row({"nameServer": address, "broker": name, "topics": count})
