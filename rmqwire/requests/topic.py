"""Requests on the topics of a broker."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32

from .base import RpcRequest, TopicRequest


class _CreateTopic(TopicRequest):
    topic: str
    default_topic: str
    read_queue_nums: i32
    write_queue_nums: i32
    perm: i32
    """Bits: 1 inherit, 2 write, 4 read, 8 priority."""
    topic_filter_type: str
    """`SINGLE_TAG` or `MULTI_TAG`."""
    topic_sys_flag: i32 | None = None
    order: bool = False
    attributes: str | None = None
    """Comma list of `+key=value` (add or alter) and `-key` (delete)."""
    force: bool | None = None


@request(RequestCode.UPDATE_AND_CREATE_TOPIC, served_by=Role.BROKER, source="CreateTopicRequestHeader 5.5.0")
class UpdateAndCreateTopic(_CreateTopic):
    """Create a topic or change its settings."""


@request(
    RequestCode.UPDATE_AND_CREATE_TOPIC_LIST,
    served_by=Role.BROKER,
    source="CreateTopicListRequestHeader 5.5.0",
    body="CreateTopicListRequestBody",
)
class UpdateAndCreateTopicList(RpcRequest):
    """Create or change several topics."""


@request(
    RequestCode.UPDATE_AND_CREATE_STATIC_TOPIC,
    served_by=Role.BROKER,
    source="CreateTopicRequestHeader 5.5.0",
    body="TopicQueueMappingDetail",
)
class UpdateAndCreateStaticTopic(_CreateTopic):
    """Create or change a topic whose queues are mapped over several brokers."""


@request(RequestCode.DELETE_TOPIC_IN_BROKER, served_by=Role.BROKER, source="DeleteTopicRequestHeader 5.5.0")
class DeleteTopicInBroker(TopicRequest):
    """Delete a topic with its queues."""

    topic: str


class GetAllTopicConfigReply(Header):
    """How many topics there are, when the table is given in pages."""

    total_topic_num: i32 | None = None


@request(
    RequestCode.GET_ALL_TOPIC_CONFIG,
    served_by=Role.BROKER,
    reply=GetAllTopicConfigReply,
    source="GetAllTopicConfigRequestHeader 5.5.0",
    reply_body="TopicConfigSerializeWrapper",
)
class GetAllTopicConfig(Header):
    """Ask for all topics, as a slave does; callers above version 479 may ask in pages."""

    topic_seq: i32 | None = None
    data_version: str | None = None
    max_topic_num: i32 | None = None


@request(
    RequestCode.GET_TOPIC_CONFIG,
    served_by=Role.BROKER,
    source="GetTopicConfigRequestHeader 5.5.0",
    reply_body="TopicConfigAndQueueMapping",
)
class GetTopicConfig(TopicRequest):
    """Ask for one topic's settings."""

    topic: str


@request(
    RequestCode.GET_TOPIC_STATS_INFO,
    served_by=Role.BROKER,
    source="GetTopicStatsInfoRequestHeader 5.5.0",
    reply_body="TopicStatsTable",
)
class GetTopicStatsInfo(TopicRequest):
    """Ask for the offsets of a topic's queues."""

    topic: str


@request(
    RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_BROKER,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    reply_body="TopicList",
)
class GetSystemTopicListFromBroker(Header):
    """Ask for the topics that the broker itself uses."""


@request(
    RequestCode.QUERY_TOPIC_CONSUME_BY_WHO,
    served_by=Role.BROKER,
    source="QueryTopicConsumeByWhoRequestHeader 5.5.0",
    reply_body="GroupList",
)
class QueryTopicConsumeByWho(TopicRequest):
    """Ask for the groups that consume a topic."""

    topic: str
