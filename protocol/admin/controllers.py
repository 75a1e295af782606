"""Commands on controllers, epochs and broker containers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rmqwire.bodies.ha import BrokerReplicasInfo, ElectMasterResponseBody, EpochEntryCache, ReplicaIdentity
from rmqwire.requests.config import GetControllerConfig, UpdateControllerConfig
from rmqwire.requests.container import AddBroker, RemoveBroker
from rmqwire.requests.controller import (
    CleanBrokerData,
    ControllerElectMaster,
    ControllerElectMasterReply,
    ControllerGetMetadataInfo,
    ControllerGetMetadataInfoReply,
    ControllerGetSyncStateData,
)
from rmqwire.requests.ha import GetBrokerEpochCache

from .cluster import INTERVAL
from .command import CLUSTER, I64, SWITCH, command, flag, split_addresses
from .configuration import KEY, VALUE, encode_entry, print_properties, read_properties
from .errors import BadUsage, unknown_broker
from .output import java

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

_CONTROLLER = flag("a", "controllerAddress", "address of the controller, host:port", required=True)
_NAME = flag("b", "brokerName", "broker name")


@command("getControllerMetaData", _CONTROLLER, watch=True)
async def get_metadata(admin: Admin, given: Given, out: Output) -> None:
    """Show the group of controllers and who leads it."""
    answer = await admin.call(given.text("controllerAddress"), ControllerGetMetadataInfo())
    reply = answer.header(ControllerGetMetadataInfoReply)
    peers = [peer for peer in (reply.peers or "").split(";") if peer]
    out.text(f"\n#ControllerGroup\t{java(reply.group)}")
    out.text(f"\n#ControllerLeaderId\t{java(reply.controller_leader_id)}")
    out.text(f"\n#ControllerLeaderAddress\t{java(reply.controller_leader_address)}")
    out.text("".join(f"\n#Peer:\t{peer}" for peer in peers) + "\n")
    out.fields(
        group=reply.group,
        leaderId=reply.controller_leader_id,
        leaderAddress=reply.controller_leader_address,
        peers=peers,
    )


@command("getControllerConfig", _CONTROLLER, watch=True)
async def get_config(admin: Admin, given: Given, out: Output) -> None:
    """Show the properties of controllers."""
    for address in split_addresses(given.text("controllerAddress")):
        properties = await read_properties(admin, address, GetControllerConfig())
        out.line(f"============{address}============")
        print_properties(out, properties)
        out.field(address, properties)


@command("updateControllerConfig", _CONTROLLER, KEY, VALUE)
async def update_config(admin: Admin, given: Given, out: Output) -> None:
    """Change one property of controllers."""
    addresses = split_addresses(given.text("controllerAddress"))
    key, value = given.text("key"), given.text("value")
    for address in addresses:
        await admin.call(address, UpdateControllerConfig(), encode_entry(key, value))
    out.line(f"update controller config success![{', '.join(addresses)}]")
    out.line(f"{key} : {value}")
    out.fields(addresses=addresses, key=key, value=value)


@command(
    "electMaster",
    _CONTROLLER,
    flag("b", "brokerId", "id of the broker that shall be master", I64, required=True),
    flag("bn", "brokerName", "broker name", required=True),
    flag("c", "clusterName", "cluster name", required=True),
)
async def elect_master(admin: Admin, given: Given, out: Output) -> None:
    """Make a replica the master."""
    controller = split_addresses(given.text("controllerAddress"))[0]
    leader = await _leader(admin, controller)
    header = ControllerElectMaster(
        cluster_name=given.text("clusterName"),
        broker_name=given.text("brokerName"),
        broker_id=given.number("brokerId"),
        designate_elect=True,
    )
    answer = await admin.call(leader, header)
    reply = answer.header(ControllerElectMasterReply)
    body = ElectMasterResponseBody.decode(answer.body) if answer.body else ElectMasterResponseBody()
    members = body.broker_member_group.broker_addrs if body.broker_member_group else {}
    out.text(f"\n#ClusterName\t{given.text('clusterName')}")
    out.text(f"\n#BrokerName\t{given.text('brokerName')}")
    out.text(f"\n#BrokerMasterAddr\t{java(reply.master_address)}")
    out.text(f"\n#MasterEpoch\t{java(reply.master_epoch)}")
    out.text(f"\n#SyncStateSetEpoch\t{java(reply.sync_state_set_epoch)}\n")
    for number, address in sorted(members.items()):
        out.line(f"\t#Broker\t{number}\t{address}")
    out.fields(master=reply.master_address, masterEpoch=reply.master_epoch, members=members)


async def _leader(admin: Admin, controller: str) -> str:
    reply = (await admin.call(controller, ControllerGetMetadataInfo())).header(ControllerGetMetadataInfoReply)
    if not reply.controller_leader_address:
        raise BadUsage(f"the controllers of {controller} have no leader", "see `mqadmin getControllerMetaData`")
    return reply.controller_leader_address


@command(
    "cleanBrokerMetadata",
    _CONTROLLER,
    flag("b", "brokerControllerIdsToClean", "ids joined by ';'"),
    flag("bn", "brokerName", "broker name", required=True),
    CLUSTER,
    flag("l", "cleanLivingBroker", "brokers that are alive too", SWITCH),
)
async def clean_metadata(admin: Admin, given: Given, out: Output) -> None:
    """Have a controller forget replicas."""
    ids = given.maybe("brokerControllerIdsToClean")
    if ids is not None and not all(part.strip().isdigit() for part in ids.split(";")):
        raise BadUsage(f"{ids!r} is no list of ids", "write them joined by ';', as 1;2;3")
    if not given.true("cleanLivingBroker") and not given.has("clusterName"):
        raise BadUsage("cleanLivingBroker option is false, clusterName option can not be empty", "give -c NAME")
    name = given.text("brokerName")
    header = CleanBrokerData(
        broker_name=name,
        cluster_name=given.maybe("clusterName"),
        broker_controller_ids_to_clean=ids,
        is_clean_living_broker=given.true("cleanLivingBroker"),
    )
    controller = split_addresses(given.text("controllerAddress"))[0]
    await admin.call(await _leader(admin, controller), header)
    out.line(f"clear broker {name} metadata from controller success! ")
    out.fields(broker=name, ids=ids)


@command("getSyncStateSet", _CONTROLLER, CLUSTER, _NAME, INTERVAL, interval="interval")
async def get_sync_state_set(admin: Admin, given: Given, out: Output) -> None:
    """Show which replicas are in step with their master."""
    if given.one_of("brokerName", "clusterName") == "brokerName":
        names = [given.text("brokerName")]
    else:
        names = [broker.broker_name or "" for broker in await admin.brokers_of(given.text("clusterName"))]
    leader = await _leader(admin, split_addresses(given.text("controllerAddress"))[0])
    found = await admin.ask(leader, ControllerGetSyncStateData(), BrokerReplicasInfo, json.dumps(names).encode())
    for name, info in found.replicas_info_table.items():
        out.text(
            f"\n#brokerName\t{name}\n#MasterBrokerId\t{java(info.master_broker_id)}"
            f"\n#MasterAddr\t{java(info.master_address)}\n#MasterEpoch\t{info.master_epoch}"
            f"\n#SyncStateSetEpoch\t{info.sync_state_set_epoch}\n#SyncStateSetNums\t{len(info.in_sync_replicas)}\n"
        )
        out.text("".join(f"\nInSyncReplica:\t{_replica(one)}\n" for one in info.in_sync_replicas))
        out.text("".join(f"\nNotInSyncReplica:\t{_replica(one)}\n" for one in info.not_in_sync_replicas))
        out.field(name, info)


def _replica(one: ReplicaIdentity) -> str:
    return (
        f"ReplicaIdentity{{brokerName='{java(one.broker_name)}', brokerId={java(one.broker_id)}, "
        f"brokerAddress='{java(one.broker_address)}', alive={java(one.alive)}}}"
    )


@command("getBrokerEpoch", CLUSTER, _NAME, INTERVAL, interval="interval")
async def get_broker_epoch(admin: Admin, given: Given, out: Output) -> None:
    """Show the terms of brokers' commit logs."""
    if given.one_of("brokerName", "clusterName") == "clusterName":
        addresses = await admin.addresses(given.text("clusterName"))
    else:
        table = (await admin.clusters()).broker_addr_table or {}
        name = given.text("brokerName")
        if name not in table:
            raise unknown_broker(name, sorted(table))
        addresses = [address for _, address in sorted(table[name].broker_addrs.items())]
    for address in addresses:
        cache = await admin.ask(address, GetBrokerEpochCache(), EpochEntryCache)
        out.text(
            f"\n#clusterName\t{java(cache.cluster_name)}\n#brokerName\t{java(cache.broker_name)}"
            f"\n#brokerAddr\t{address}\n#brokerId\t{cache.broker_id}"
        )
        entries = cache.epoch_list or []
        for index, entry in enumerate(entries, 1):
            end = cache.max_offset if index == len(entries) else entry.end_offset
            told = f"epoch={entry.epoch}, startOffset={entry.start_offset}, endOffset={end}"
            out.text(f"\n#Epoch: EpochEntry{{{told}}}")
        out.line()
        out.field(address, cache)


_CONTAINER = flag("c", "brokerContainerAddr", "address of the broker container", required=True)


@command("addBroker", _CONTAINER, flag("b", "brokerConfigPath", "properties file of the broker", required=True))
async def add_broker(admin: Admin, given: Given, out: Output) -> None:
    """Have a container start a broker."""
    container, path = given.text("brokerContainerAddr"), Path(given.text("brokerConfigPath"))
    await admin.call(container, AddBroker(config_path=str(path)))
    out.line(f"add broker to {container} success")
    out.fields(container=container, path=str(path))


@command(
    "removeBroker",
    _CONTAINER,
    flag("b", "brokerIdentity", "cluster:name:id of the broker", required=True),
)
async def remove_broker(admin: Admin, given: Given, out: Output) -> None:
    """Have a container stop a broker."""
    container, identity = given.text("brokerContainerAddr"), given.text("brokerIdentity")
    parts = identity.split(":")
    if len(parts) != 3 or not parts[2].isdigit():
        raise BadUsage(f"{identity!r} names no broker", "write cluster:name:id")
    header = RemoveBroker(broker_cluster_name=parts[0], broker_name=parts[1], broker_id=int(parts[2]))
    await admin.call(container, header)
    out.line(f"remove broker from {container} success")
    out.fields(container=container, broker=identity)
