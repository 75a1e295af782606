"""Replication and election."""

from __future__ import annotations

import msgspec

from rmqwire.fields import i32, i64

from .base import Body, new_dict, new_list, written
from .route import BrokerMemberGroup


class HAConnectionRuntimeInfo(Body):
    """One slave as its master sees it."""

    addr: str | None = None
    slave_ack_offset: i64 = written(0)
    diff: i64 = written(0)
    in_sync: bool = written(False)
    transferred_byte_in_second: i64 = written(0)
    transfer_from_where: i64 = written(0)


class HAClientRuntimeInfo(Body):
    """A slave as it sees itself."""

    master_addr: str | None = None
    transferred_byte_in_second: i64 = written(0)
    max_offset: i64 = written(0)
    last_read_timestamp: i64 = written(0)
    last_write_timestamp: i64 = written(0)
    master_flush_offset: i64 = written(0)


class HARuntimeInfo(Body):
    """The state of replication of one broker."""

    master: bool = written(False)
    master_commit_log_max_offset: i64 = written(0)
    in_sync_slave_nums: i32 = written(0)
    ha_connection_info: list[HAConnectionRuntimeInfo] = msgspec.field(default_factory=new_list)
    ha_client_runtime_info: HAClientRuntimeInfo = msgspec.field(default_factory=HAClientRuntimeInfo)


class EpochEntry(Body):
    """One term of a master and the stretch of the commit log it wrote."""

    epoch: i32 = written(0)
    start_offset: i64 = written(0)
    end_offset: i64 = written(0x7FFFFFFFFFFFFFFF)


class EpochEntryCache(Body):
    """The terms of a broker's commit log."""

    cluster_name: str | None = None
    broker_name: str | None = None
    broker_id: i64 = written(0)
    epoch_list: list[EpochEntry] | None = None
    max_offset: i64 = written(0)


class SyncStateSet(Body):
    """The replicas in step with their master."""

    sync_state_set: list[i64] = msgspec.field(default_factory=new_list)
    sync_state_set_epoch: i32 = written(0)


class ElectMasterResponseBody(Body):
    """The group after an election."""

    broker_member_group: BrokerMemberGroup | None = None
    sync_state_set: list[i64] = msgspec.field(default_factory=new_list)


class ReplicaIdentity(Body):
    """One replica."""

    broker_name: str | None = None
    broker_id: i64 | None = None
    broker_address: str | None = None
    alive: bool | None = None


class ReplicasInfo(Body):
    """The replicas of one broker name."""

    master_broker_id: i64 | None = None
    master_address: str | None = None
    master_epoch: i32 = written(0)
    sync_state_set_epoch: i32 = written(0)
    in_sync_replicas: list[ReplicaIdentity] = msgspec.field(default_factory=new_list)
    not_in_sync_replicas: list[ReplicaIdentity] = msgspec.field(default_factory=new_list)


class BrokerReplicasInfo(Body):
    """Replicas by broker name."""

    replicas_info_table: dict[str, ReplicasInfo] = msgspec.field(default_factory=new_dict)
