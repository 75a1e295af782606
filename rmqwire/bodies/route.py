"""What a name server answers: routes, clusters, members of a broker group, key-value tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from rmqwire.fields import i32, i64

from .base import Body, new_dict, new_list, written
from .topic import TopicQueueMappingInfo


class QueueData(Body):
    """The queues of a topic on one broker."""

    WRITTEN_FROM: ClassVar[Mapping[str, str]] = {"topic_syn_flag": "topic_sys_flag"}

    broker_name: str | None = None
    read_queue_nums: i32 = written(0)
    write_queue_nums: i32 = written(0)
    perm: i32 = written(0)
    topic_sys_flag: i32 = written(0)
    topic_syn_flag: i32 | None = None
    """`topic_sys_flag` as it was called before 4.9; read into that one, written with the same value."""

    def __post_init__(self) -> None:
        if self.topic_syn_flag is not None:
            self.topic_sys_flag = self.topic_sys_flag or self.topic_syn_flag
            self.topic_syn_flag = None


class BrokerData(Body):
    """The addresses of a master and its slaves."""

    cluster: str | None = None
    broker_name: str | None = None
    broker_addrs: dict[i64, str] = msgspec.field(default_factory=new_dict)
    """Address by broker id, 0 the master."""
    zone_name: str | None = None
    enable_acting_master: bool = written(False)


class TopicRouteData(Body):
    """Where a topic is; `encode(quoted_integer_keys=True)` for callers that accept standard JSON only."""

    order_topic_conf: str | None = None
    queue_datas: list[QueueData] = msgspec.field(default_factory=new_list)
    broker_datas: list[BrokerData] = msgspec.field(default_factory=new_list)
    filter_server_table: dict[str, list[str]] = msgspec.field(default_factory=new_dict)
    topic_queue_mapping_by_broker: dict[str, TopicQueueMappingInfo] | None = None


class ClusterInfo(Body):
    """Every broker, and which cluster it belongs to."""

    broker_addr_table: dict[str, BrokerData] | None = None
    cluster_addr_table: dict[str, list[str]] | None = None


class BrokerMemberGroup(Body):
    """The master and slaves of one broker name."""

    cluster: str | None = None
    broker_name: str | None = None
    broker_addrs: dict[i64, str] = msgspec.field(default_factory=new_dict)


class GetBrokerMemberGroupResponseBody(Body):
    """A `BrokerMemberGroup`, absent when nobody knows it."""

    broker_member_group: BrokerMemberGroup | None = None


class KvTable(Body):
    """Text by text."""

    table: dict[str, str] = msgspec.field(default_factory=new_dict)


class KvConfigTable(Body):
    """The content of a name server's `kvConfig.json`: text by key by namespace."""

    config_table: dict[str, dict[str, str]] = msgspec.field(default_factory=new_dict)
