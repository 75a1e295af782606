"""Requests by which brokers make themselves known to name servers."""

from __future__ import annotations

import msgspec

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32, i64


class RegisterBrokerReply(Header):
    """For a slave, the addresses of its master."""

    ha_server_addr: str | None = None
    master_addr: str | None = None


@request(
    RequestCode.REGISTER_BROKER,
    served_by=Role.NAMESRV,
    reply=RegisterBrokerReply,
    source="RegisterBrokerRequestHeader 5.5.0",
    body="RegisterBrokerBody (TopicConfigSerializeWrapper below version 39)",
    reply_body="KvTable of ORDER_TOPIC_CONFIG, or none",
)
class RegisterBroker(Header):
    """Register a broker with its topics."""

    broker_name: str
    broker_addr: str
    cluster_name: str
    ha_server_addr: str
    broker_id: i64
    compressed: bool = False
    """The body is a zlib stream of the length-prefixed form."""
    body_crc32: i32 | None = None
    """CRC-32 of the body as sent, without the top bit; 0 or absent: not checked."""
    heartbeat_timeout_millis: i64 | None = None
    enable_acting_master: bool | None = None
    zone_name: str | None = msgspec.field(name="__ZONE_NAME", default=None)


@request(
    RequestCode.UNREGISTER_BROKER,
    served_by=Role.NAMESRV,
    source="UnRegisterBrokerRequestHeader 5.5.0",
)
class UnregisterBroker(Header):
    """Forget a broker."""

    broker_name: str
    broker_addr: str
    cluster_name: str
    broker_id: i64


class QueryDataVersionReply(Header):
    """Whether the broker has to register."""

    changed: bool


@request(
    RequestCode.QUERY_DATA_VERSION,
    served_by=Role.NAMESRV,
    reply=QueryDataVersionReply,
    source="QueryDataVersionRequestHeader 5.5.0",
    body="DataVersion",
    reply_body="DataVersion",
)
class QueryDataVersion(Header):
    """Ask whether the topics registered last are still these; counts as a sign of life."""

    broker_name: str
    broker_addr: str
    cluster_name: str
    broker_id: i64


@request(
    RequestCode.GET_BROKER_MEMBER_GROUP,
    served_by=Role.NAMESRV,
    source="GetBrokerMemberGroupRequestHeader 5.5.0",
    reply_body="GetBrokerMemberGroupResponseBody",
)
class GetBrokerMemberGroup(Header):
    """Ask for the master and slaves of one broker name."""

    cluster_name: str
    broker_name: str


@request(
    RequestCode.BROKER_HEARTBEAT,
    served_by=Role.NAMESRV | Role.CONTROLLER,
    source="BrokerHeartbeatRequestHeader 5.5.0",
    oneway=True,
)
class BrokerHeartbeat(Header):
    """A broker's sign of life; the optional fields are for controllers."""

    cluster_name: str
    broker_addr: str
    broker_name: str
    broker_id: i64 | None = None
    epoch: i32 | None = None
    max_offset: i64 | None = None
    confirm_offset: i64 | None = None
    heartbeat_timeout_mills: i64 | None = None  # sic
    election_priority: i32 | None = None
