"""Topics: their settings, tables of them, lists of names and queue mappings."""

from __future__ import annotations

import msgspec

from rmqwire.fields import i32, i64

from .base import Body, new_dict, new_list, written
from .version import DataVersion


class TopicConfig(Body):
    """The settings of a topic on one broker."""

    topic_name: str | None = None
    read_queue_nums: i32 = written(16)
    write_queue_nums: i32 = written(16)
    perm: i32 = written(6)
    """Bits: 1 inherit, 2 write, 4 read, 8 priority."""
    topic_filter_type: str = written("SINGLE_TAG")
    topic_sys_flag: i32 = written(0)
    order: bool = written(False)
    attributes: dict[str, str] = msgspec.field(default_factory=new_dict)


class TopicQueueMappingInfo(Body):
    """Which queues of a static topic a broker holds."""

    topic: str | None = None
    scope: str = written("__global__")
    total_queues: i32 = written(0)
    bname: str | None = None
    epoch: i64 = written(0)
    dirty: bool = written(False)
    curr_id_map: dict[i32, i32] = msgspec.field(default_factory=new_dict)
    """Logical queue id to physical queue id."""


class LogicQueueMappingItem(Body):
    """One stretch of a logical queue and where it lies."""

    gen: i32 = written(0)
    queue_id: i32 = written(0)
    bname: str | None = None
    logic_offset: i64 = written(0)
    start_offset: i64 = written(0)
    end_offset: i64 = written(-1)
    time_of_start: i64 = written(-1)
    time_of_end: i64 = written(-1)


class TopicQueueMappingDetail(TopicQueueMappingInfo):
    """`TopicQueueMappingInfo` with the stretches of every queue held."""

    hosted_queues: dict[i32, list[LogicQueueMappingItem]] = msgspec.field(default_factory=new_dict)


class TopicConfigAndQueueMapping(TopicConfig):
    """A topic's settings, and its mapping when it is a static topic."""

    mapping_detail: TopicQueueMappingDetail | None = None


class TopicConfigSerializeWrapper(Body):
    """All topics of a broker, as in `config/topics.json` and in what 4.x registers."""

    data_version: DataVersion = msgspec.field(default_factory=DataVersion)
    topic_config_table: dict[str, TopicConfig] = msgspec.field(default_factory=new_dict)


class TopicConfigAndMappingSerializeWrapper(TopicConfigSerializeWrapper):
    """All topics of a broker with their mappings, as 5.x registers them."""

    mapping_data_version: DataVersion = msgspec.field(default_factory=DataVersion)
    topic_queue_mapping_detail_map: dict[str, TopicQueueMappingDetail] = msgspec.field(default_factory=new_dict)
    topic_queue_mapping_info_map: dict[str, TopicQueueMappingInfo] = msgspec.field(default_factory=new_dict)


class TopicList(Body):
    """Names of topics."""

    topic_list: list[str] = msgspec.field(default_factory=new_list)
    broker_addr: str | None = None


class CreateTopicListRequestBody(Body):
    """Topics to create."""

    topic_config_list: list[TopicConfig] = msgspec.field(default_factory=new_list)
