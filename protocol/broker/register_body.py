"""What a broker tells its name servers: headers and bodies of the requests, made once for all of them.

The body of the whole table is kept until the table or the permission changes, since by default it is sent every
period: tens of thousands of topics are megabytes of JSON.
Source: `BrokerOuterAPI`, `RegisterBrokerBody` (5.5.0).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from rmqwire.bodies import DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigAndMappingSerializeWrapper
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError, WireError
from rmqwire.requests.register import QueryDataVersion, QueryDataVersionReply, RegisterBroker

if TYPE_CHECKING:
    from rmqwire.bodies import TopicQueueMappingInfo
    from rmqwire.command import RemotingCommand
    from rmqwire.declare import Header

    from .registration import BrokerAddress

READ_WRITE = 6


class TopicSource(Protocol):
    """The broker's topic table."""

    @property
    def data_version(self) -> DataVersion:
        """Another object after every change."""

    @property
    def table(self) -> Mapping[str, TopicConfig]:
        """All topics by name."""


class MappingSource(Protocol):
    """The broker's static topics."""

    @property
    def data_version(self) -> DataVersion:
        """Another object after every change."""

    def infos(self, topics: Iterable[str] | None = None) -> dict[str, TopicQueueMappingInfo]:
        """What is told of all static topics, or of those among `topics`."""


class RegistrationBodies:
    """Makes the requests of one broker.

    Args:
        broker: Who registers.
        topics: Its topics.
        broker_permission: Limits the permission of every topic, when it is not read and write.
        compressed: Send the compressed form.
        split_size: Topics per request; 0 for all in one.
        acting_master: Told to 5.x name servers.
        heartbeat_timeout_ms: After so long without a sign of life the name server gives the broker up; None leaves
            that to it.
        zone_name: The broker's zone.

    Attributes:
        mappings: The static topics, whose changes are changes of their topics too; None while there can be none.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        topics: TopicSource,
        *,
        broker_permission: Callable[[], int],
        compressed: bool = False,
        split_size: int = 0,
        acting_master: bool = False,
        heartbeat_timeout_ms: int | None = None,
        zone_name: str | None = None,
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._permission = broker_permission
        self._compressed = compressed
        self._split_size = split_size
        self._acting_master = acting_master
        self._heartbeat_timeout_ms = heartbeat_timeout_ms
        self._zone_name = zone_name
        self._kept: list[tuple[Header, bytes]] = []
        self._kept_for: tuple[DataVersion, int] | None = None
        self.mappings: MappingSource | None = None

    def whole_table(self) -> list[tuple[Header, bytes]]:
        """Give the requests that register all topics; more than one only when they are split."""
        version, permission = self._topics.data_version, self._permission()
        if self._kept_for != (version, permission):
            table = self._topics.table
            size = self._split_size or len(table) or 1
            names = list(table)
            parts = [names[at : at + size] for at in range(0, len(names), size)] or [[]]
            infos = {} if self.mappings is None else self.mappings.infos()
            self._kept = [self._request(version, part, {}) for part in parts[:-1]]
            self._kept.append(self._request(version, parts[-1], infos))  # as Java: with the last part of a split table
            self._kept_for = version, permission
        return self._kept

    def changed_topics(self, topics: Iterable[str]) -> tuple[Header, bytes] | None:
        """Give the request that registers some topics; None when none of them is there any more."""
        names = [name for name in topics if name in self._topics.table]
        infos = {} if self.mappings is None else self.mappings.infos(names)
        return self._request(self._topics.data_version, names, infos) if names else None

    def version_probe(self) -> tuple[Header, bytes]:
        """Give the request that asks whether the table has to be registered."""
        broker = self._broker
        header = QueryDataVersion(
            broker_name=broker.name,
            broker_addr=broker.address,
            cluster_name=broker.cluster,
            broker_id=broker.broker_id,
        )
        return header, self._topics.data_version.encode()

    def says_unchanged(self, answer: RemotingCommand) -> bool:
        """Tell whether the answer to the probe says that the name server knows this very table."""
        if answer.code != ResponseCode.SUCCESS or not answer.body:
            return False
        try:
            known = DataVersion.decode(answer.body)
            changed = answer.header(QueryDataVersionReply).changed
        except (WireError, RequestError):
            return False
        return not changed and known == self._topics.data_version

    def _request(
        self, version: DataVersion, names: Iterable[str], infos: dict[str, TopicQueueMappingInfo]
    ) -> tuple[Header, bytes]:
        permission = self._permission()
        table = self._topics.table
        configs = {name: table[name] for name in names}
        if permission & READ_WRITE != READ_WRITE:
            configs = {
                name: msgspec.structs.replace(config, perm=config.perm & permission) for name, config in configs.items()
            }
        wrapper = TopicConfigAndMappingSerializeWrapper(
            data_version=version, topic_config_table=configs, topic_queue_mapping_info_map=infos
        )
        if self._compressed:
            body = RegisterBrokerBody(topic_config_serialize_wrapper=wrapper).compress()
        else:
            body = _json(wrapper)
        broker = self._broker
        header = RegisterBroker(
            broker_name=broker.name,
            broker_addr=broker.address,
            cluster_name=broker.cluster,
            ha_server_addr=broker.ha_server_address,
            broker_id=broker.broker_id,
            compressed=self._compressed,
            body_crc32=zlib.crc32(body) & 0x7FFFFFFF,
            heartbeat_timeout_millis=self._heartbeat_timeout_ms,
            enable_acting_master=self._acting_master,
            zone_name=self._zone_name,
        )
        return header, body


def _json(wrapper: TopicConfigAndMappingSerializeWrapper) -> bytes:
    """Write the body; without static topics, whose maps have integer keys, by msgspec's own encoder."""
    if wrapper.topic_queue_mapping_info_map or wrapper.topic_queue_mapping_detail_map:
        return RegisterBrokerBody(topic_config_serialize_wrapper=wrapper).encode()
    return b'{"filterServerList":[],"topicConfigSerializeWrapper":%b}' % msgspec.json.encode(wrapper, order="sorted")
