"""Requests by which brokers come, stay and leave.

Source: `DefaultRequestProcessor` (5.5.0; differences of 4.7.0 where said).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from twisted.logger import Logger

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply
from rmqwire.bodies import DataVersion, KvTable, RegisterBrokerBody
from rmqwire.codes import Version
from rmqwire.errors import MalformedBody, RequestError
from rmqwire.requests.register import (
    BrokerHeartbeat,
    QueryDataVersion,
    QueryDataVersionReply,
    RegisterBroker,
    RegisterBrokerReply,
    UnregisterBroker,
)

from .brokers import BrokerIdentity, MasterAddresses, RegisteredTopics
from .kv import ORDER_TOPIC_CONFIG

try:  # what hashlib gives, without loading OpenSSL: 2 ms of every start
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

if TYPE_CHECKING:
    from rmqd.conf import NamesrvConfig
    from rmqd.protocol.dispatch import Request
    from rmqd.protocol.remoting import RemotingConnection

    from .kv import KvConfig
    from .routes import RouteTables

_log = Logger()

_CRC_MASK = 0x7FFFFFFF


class RegistrationHandlers:
    """Serves brokers.

    Args:
        tables: What is known.
        kv: Holds the configuration of ordered topics, which brokers are told.
        options: Switches, looked at per request.
    """

    def __init__(self, tables: RouteTables, kv: KvConfig, options: NamesrvConfig) -> None:
        self._tables = tables
        self._kv = kv
        self._options = options
        self._followed: set[RemotingConnection] = set()

    @handles(RegisterBroker)
    def register(self, request: Request, header: RegisterBroker) -> Reply:
        """Take a broker and its topics, or those that changed.

        Brokers send the same megabytes every 30 s: a body that is the same as the last one is not parsed.
        """
        body = request.body
        if header.body_crc32 and zlib.crc32(body) & _CRC_MASK != header.body_crc32:
            _log.warn("{peer}: registration with a wrong checksum", peer=request.connection.peer)
            raise RequestError("crc32 not match")
        broker = BrokerIdentity(
            cluster=header.cluster_name,
            name=header.broker_name,
            broker_id=header.broker_id,
            address=header.broker_addr,
            ha_server_address=header.ha_server_addr,
            zone_name=header.zone_name,
            heartbeat_timeout_ms=header.heartbeat_timeout_millis,
            enable_acting_master=header.enable_acting_master,
        )
        digest = blake2b(body, digest_size=16).digest()
        tables = self._tables
        tables.delete_topic_with_broker_registration = self._options.delete_topic_with_broker_registration
        master: MasterAddresses | None
        if tables.is_repeated(broker, digest):
            master = tables.register_again(broker, request.connection)
        else:
            master = tables.register(broker, _read_topics(body, request.version, digest), request.connection)
        if master is None:
            raise RequestError("register broker failed")
        self._follow(request.connection)
        return Reply(
            RegisterBrokerReply(master_addr=master.address, ha_server_addr=master.ha_server_address),
            body=self._order_topics(),
        )

    @handles(UnregisterBroker)
    def unregister(self, request: Request, header: UnregisterBroker) -> Reply:
        """Forget a broker; one that is not known is no error."""
        self._tables.unregister(header.cluster_name, header.broker_name, header.broker_addr)
        return Reply()

    @handles(QueryDataVersion)
    def query_data_version(self, request: Request, header: QueryDataVersion) -> Reply:
        """Tell a broker whether it has to register again; counts as a sign of life.

        4.7.0 counts it only when nothing changed; the registration that follows counts there.
        """
        tables = self._tables
        known = tables.version_of(header.cluster_name, header.broker_addr)
        try:
            asked = DataVersion.decode(request.body) if request.body else None
        except MalformedBody as cause:
            raise RequestError(str(cause)) from cause
        tables.heard_from(header.cluster_name, header.broker_addr)
        changed = known is None or known != asked
        return Reply(QueryDataVersionReply(changed=changed), body=b"" if known is None else known.encode())

    @handles(BrokerHeartbeat)
    def heartbeat(self, request: Request, header: BrokerHeartbeat) -> Reply:
        """Note a sign of life between registrations."""
        self._tables.heard_from(header.cluster_name, header.broker_addr)
        return Reply()

    def _order_topics(self) -> bytes:
        if not self._options.return_order_topic_config_to_broker:
            return b""
        values = self._kv.values_of(ORDER_TOPIC_CONFIG)
        return b"" if values is None else KvTable(table=values).encode()

    def _follow(self, connection: RemotingConnection) -> None:
        """A broker whose connection goes is gone: clients shall not wait for its timeout."""
        if connection not in self._followed:
            self._followed.add(connection)
            connection.on_lost.append(self._lost)

    def _lost(self, connection: RemotingConnection) -> None:
        self._followed.discard(connection)
        self._tables.channel_lost(connection)


def _read_topics(body: bytes, version: int, digest: bytes) -> RegisteredTopics:
    try:
        registered = RegisterBrokerBody.read(body, version)
    except MalformedBody as cause:
        raise RequestError(f"Failed to decode RegisterBrokerBody: {cause}") from cause
    topics = registered.topic_config_serialize_wrapper
    return RegisteredTopics(
        version=topics.data_version,
        configs=topics.topic_config_table,
        mappings=topics.topic_queue_mapping_info_map,
        filter_servers=registered.filter_server_list if version >= Version.V3_0_11 else None,
        digest=digest,
    )
