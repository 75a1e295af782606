"""Requests to the controller, which elects masters."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32, i64


class ControllerAlterSyncStateSetReply(Header):
    """The epoch of the new set."""

    new_sync_state_set_epoch: i32


@request(
    RequestCode.CONTROLLER_ALTER_SYNC_STATE_SET,
    served_by=Role.CONTROLLER,
    reply=ControllerAlterSyncStateSetReply,
    source="AlterSyncStateSetRequestHeader 5.5.0",
    body="SyncStateSet",
    reply_body="SyncStateSet",
)
class ControllerAlterSyncStateSet(Header):
    """A master tells which replicas are in step."""

    broker_name: str | None = None
    master_broker_id: i64 | None = None
    master_epoch: i32 | None = None
    invoke_time: i64 = 0


class ControllerElectMasterReply(Header):
    """The elected master."""

    master_broker_id: i64 | None = None
    master_address: str | None = None
    master_epoch: i32 | None = None
    sync_state_set_epoch: i32 | None = None


@request(
    RequestCode.CONTROLLER_ELECT_MASTER,
    served_by=Role.CONTROLLER,
    reply=ControllerElectMasterReply,
    source="ElectMasterRequestHeader 5.5.0",
    reply_body="ElectMasterResponseBody",
)
class ControllerElectMaster(Header):
    """Ask for an election."""

    cluster_name: str
    broker_name: str
    broker_id: i64
    designate_elect: bool
    invoke_time: i64 | None = None


class ControllerRegisterBrokerReply(Header):
    """The master of the broker's group."""

    cluster_name: str | None = None
    broker_name: str | None = None
    master_broker_id: i64 | None = None
    master_address: str | None = None
    master_epoch: i32 | None = None
    sync_state_set_epoch: i32 | None = None


@request(
    RequestCode.CONTROLLER_REGISTER_BROKER,
    served_by=Role.CONTROLLER,
    reply=ControllerRegisterBrokerReply,
    source="RegisterBrokerToControllerRequestHeader 5.5.0",
    reply_body="SyncStateSet",
)
class ControllerRegisterBroker(Header):
    """Register a broker that has its id."""

    cluster_name: str | None = None
    broker_name: str | None = None
    broker_id: i64 | None = None
    broker_address: str | None = None
    invoke_time: i64 = 0


class ControllerGetReplicaInfoReply(Header):
    """The master of the group."""

    master_broker_id: i64 | None = None
    master_address: str | None = None
    master_epoch: i32 | None = None


@request(
    RequestCode.CONTROLLER_GET_REPLICA_INFO,
    served_by=Role.CONTROLLER,
    reply=ControllerGetReplicaInfoReply,
    source="GetReplicaInfoRequestHeader 5.5.0",
    reply_body="SyncStateSet",
)
class ControllerGetReplicaInfo(Header):
    """Ask for the master and the replicas in step."""

    broker_name: str | None = None


class ControllerGetMetadataInfoReply(Header):
    """The controllers themselves."""

    group: str | None = None
    controller_leader_id: str | None = None
    controller_leader_address: str | None = None
    is_leader: bool = False
    peers: str | None = None


@request(
    RequestCode.CONTROLLER_GET_METADATA_INFO,
    served_by=Role.CONTROLLER,
    reply=ControllerGetMetadataInfoReply,
    source="no header class; ControllerRequestProcessor 5.5.0",
)
class ControllerGetMetadataInfo(Header):
    """Ask which controller leads."""


@request(
    RequestCode.CONTROLLER_GET_SYNC_STATE_DATA,
    served_by=Role.CONTROLLER,
    source="no header class; ControllerRequestProcessor 5.5.0",
    body="JSON array of broker names",
    reply_body="BrokerReplicasInfo",
)
class ControllerGetSyncStateData(Header):
    """Ask for the replicas of several groups."""


@request(
    RequestCode.CLEAN_BROKER_DATA,
    served_by=Role.CONTROLLER,
    source="CleanControllerBrokerDataRequestHeader 5.5.0",
)
class CleanBrokerData(Header):
    """Forget brokers."""

    broker_name: str
    cluster_name: str | None = None
    broker_controller_ids_to_clean: str | None = None
    """Broker ids joined by semicolons."""
    is_clean_living_broker: bool = False
    invoke_time: i64 = 0


class ControllerGetNextBrokerIdReply(Header):
    """The id that is free."""

    cluster_name: str | None = None
    broker_name: str | None = None
    next_broker_id: i64 | None = None


@request(
    RequestCode.CONTROLLER_GET_NEXT_BROKER_ID,
    served_by=Role.CONTROLLER,
    reply=ControllerGetNextBrokerIdReply,
    source="GetNextBrokerIdRequestHeader 5.5.0",
)
class ControllerGetNextBrokerId(Header):
    """Ask for a free broker id."""

    cluster_name: str | None = None
    broker_name: str | None = None


class ControllerApplyBrokerIdReply(Header):
    """Whose id was applied."""

    cluster_name: str | None = None
    broker_name: str | None = None


@request(
    RequestCode.CONTROLLER_APPLY_BROKER_ID,
    served_by=Role.CONTROLLER,
    reply=ControllerApplyBrokerIdReply,
    source="ApplyBrokerIdRequestHeader 5.5.0",
)
class ControllerApplyBrokerId(Header):
    """Take a broker id."""

    cluster_name: str | None = None
    broker_name: str | None = None
    applied_broker_id: i64 | None = None
    register_check_code: str | None = None
