"""Requests about routes, clusters and topic names, answered by a name server."""

from __future__ import annotations

import msgspec

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32

from .base import TopicRequest


@request(
    RequestCode.GET_ROUTEINFO_BY_TOPIC,
    served_by=Role.NAMESRV,
    source="GetRouteInfoRequestHeader 5.5.0",
    reply_body="TopicRouteData",
)
class GetRouteInfoByTopic(TopicRequest):
    """Ask which brokers hold a topic."""

    topic: str
    accept_standard_json_only: bool | None = None
    """Ask for quoted integer keys in the answer."""
    zone_mode: bool | None = msgspec.field(name="__ZONE_MODE", default=None)
    zone_name: str | None = msgspec.field(name="__ZONE_NAME", default=None)


@request(
    RequestCode.GET_BROKER_CLUSTER_INFO,
    served_by=Role.NAMESRV,
    source="no header class; DefaultRequestProcessor 5.5.0",
    reply_body="ClusterInfo",
)
class GetBrokerClusterInfo(Header):
    """Ask for every cluster and broker."""


class WipeWritePermOfBrokerReply(Header):
    """How many topics lost the permission."""

    wipe_topic_count: i32


@request(
    RequestCode.WIPE_WRITE_PERM_OF_BROKER,
    served_by=Role.NAMESRV,
    reply=WipeWritePermOfBrokerReply,
    source="WipeWritePermOfBrokerRequestHeader 5.5.0",
)
class WipeWritePermOfBroker(Header):
    """Take the write permission from all topics of one broker."""

    broker_name: str


class AddWritePermOfBrokerReply(Header):
    """How many topics got the permission."""

    add_topic_count: i32


@request(
    RequestCode.ADD_WRITE_PERM_OF_BROKER,
    served_by=Role.NAMESRV,
    reply=AddWritePermOfBrokerReply,
    source="AddWritePermOfBrokerRequestHeader 5.5.0",
)
class AddWritePermOfBroker(Header):
    """Give all topics of one broker read and write permission."""

    broker_name: str


@request(
    RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER,
    served_by=Role.NAMESRV,
    source="no header class; DefaultRequestProcessor 5.5.0",
    reply_body="TopicList",
)
class GetAllTopicListFromNameserver(Header):
    """Ask for the names of all topics."""


@request(
    RequestCode.GET_TOPICS_BY_CLUSTER,
    served_by=Role.NAMESRV,
    source="GetTopicsByClusterRequestHeader 5.5.0",
    reply_body="TopicList",
)
class GetTopicsByCluster(Header):
    """Ask for the names of the topics of one cluster."""

    cluster: str


@request(
    RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS,
    served_by=Role.NAMESRV,
    source="no header class; DefaultRequestProcessor 5.5.0",
    reply_body="TopicList",
)
class GetSystemTopicListFromNs(Header):
    """Ask for the cluster and broker names, which are topics too, and the address of any broker."""


@request(
    RequestCode.GET_UNIT_TOPIC_LIST,
    served_by=Role.NAMESRV,
    source="no header class; DefaultRequestProcessor 5.5.0",
    reply_body="TopicList",
)
class GetUnitTopicList(Header):
    """Ask for the topics with the unit flag."""


@request(
    RequestCode.GET_HAS_UNIT_SUB_TOPIC_LIST,
    served_by=Role.NAMESRV,
    source="no header class; DefaultRequestProcessor 5.5.0",
    reply_body="TopicList",
)
class GetHasUnitSubTopicList(Header):
    """Ask for the topics that have unit subscriptions."""


@request(
    RequestCode.GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST,
    served_by=Role.NAMESRV,
    source="no header class; DefaultRequestProcessor 5.5.0",
    reply_body="TopicList",
)
class GetHasUnitSubUnunitTopicList(Header):
    """Ask for the topics that have unit subscriptions but not the unit flag."""


@request(
    RequestCode.DELETE_TOPIC_IN_NAMESRV,
    served_by=Role.NAMESRV,
    source="DeleteTopicFromNamesrvRequestHeader 5.5.0",
)
class DeleteTopicInNamesrv(TopicRequest):
    """Forget the route of a topic, everywhere or in one cluster."""

    topic: str
    cluster_name: str | None = None


@request(
    RequestCode.REGISTER_TOPIC_IN_NAMESRV,
    served_by=Role.NAMESRV,
    source="RegisterTopicRequestHeader 5.5.0",
    body="TopicRouteData",
)
class RegisterTopicInNamesrv(TopicRequest):
    """Add the queues of one topic of brokers that are known already."""

    topic: str
