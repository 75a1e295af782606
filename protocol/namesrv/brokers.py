"""Values that the name server's tables hold and take: who registers, with what, and who is alive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from rmqwire.bodies import DataVersion, TopicConfig, TopicQueueMappingInfo

MASTER_ID = 0
PERM_WRITE = 2
PERM_READ_WRITE = 6
HEARTBEAT_TIMEOUT_MS = 120_000
"""A broker that names no timeout of its own is given up after so long (`DEFAULT_BROKER_CHANNEL_EXPIRED_TIME`)."""

LiveKey = tuple[str, str]
"""Cluster and address."""


class BrokerIdentity(msgspec.Struct, frozen=True):
    """Who registers, as its request's header says."""

    cluster: str
    name: str
    broker_id: int
    address: str
    ha_server_address: str = ""
    zone_name: str | None = None
    heartbeat_timeout_ms: int | None = None
    enable_acting_master: bool | None = None
    """None: the broker is older than 5.0 and does not send it."""


class RegisteredTopics(msgspec.Struct, frozen=True):
    """What registers, as its request's body says.

    Attributes:
        version: The broker's version of its topic table.
        configs: The whole table, or only what changed.
        mappings: Static topics.
        filter_servers: None leaves those known as they are.
        digest: Identifies the body's bytes; the same one twice in a row means that nothing has to be looked at.
    """

    version: DataVersion
    configs: Mapping[str, TopicConfig]
    mappings: Mapping[str, TopicQueueMappingInfo] = msgspec.field(default_factory=dict)
    filter_servers: list[str] | None = None
    digest: bytes = b""


class MasterAddresses(msgspec.Struct, frozen=True):
    """What a slave is told of its master; both None for a master."""

    address: str | None = None
    ha_server_address: str | None = None


class BrokerGroup(msgspec.Struct):
    """All brokers of one name: the master and its slaves."""

    cluster: str
    name: str
    addresses: dict[int, str] = msgspec.field(default_factory=dict)
    enable_acting_master: bool = False
    zone_name: str | None = None


class LiveBroker(msgspec.Struct):
    """One broker that gave a sign of life not long ago."""

    last_heard_at_ms: int
    timeout_ms: int
    version: DataVersion
    channel: object
    ha_server_address: str
    digest: bytes
    applied: bool
    """Whether its topics were taken over: those of a slave beside its master are not."""
