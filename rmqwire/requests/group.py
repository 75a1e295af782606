"""Requests on subscription groups."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32

from .base import RpcRequest, TopicRequest


@request(
    RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    body="SubscriptionGroupConfig",
)
class UpdateAndCreateSubscriptionGroup(Header):
    """Create a group or change its settings."""


@request(
    RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    body="SubscriptionGroupList",
)
class UpdateAndCreateSubscriptionGroupList(Header):
    """Create or change several groups."""


@request(
    RequestCode.DELETE_SUBSCRIPTIONGROUP,
    served_by=Role.BROKER,
    source="DeleteSubscriptionGroupRequestHeader 5.5.0",
)
class DeleteSubscriptionGroup(RpcRequest):
    """Delete a group, with its offsets if asked to."""

    group_name: str
    clean_offset: bool = False
    remove_offset: bool | None = None
    """What 4.9 calls `clean_offset`."""


class GetAllSubscriptionGroupConfigReply(Header):
    """How many groups there are, when the table is given in pages."""

    total_group_num: i32 | None = None


@request(
    RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
    served_by=Role.BROKER,
    reply=GetAllSubscriptionGroupConfigReply,
    source="GetAllSubscriptionGroupRequestHeader 5.5.0",
    reply_body="SubscriptionGroupWrapper",
)
class GetAllSubscriptionGroupConfig(Header):
    """Ask for all groups, as a slave does; callers above version 479 may ask in pages."""

    group_seq: i32 | None = None
    data_version: str | None = None
    max_group_num: i32 | None = None


@request(
    RequestCode.GET_SUBSCRIPTIONGROUP_CONFIG,
    served_by=Role.BROKER,
    source="GetSubscriptionGroupConfigRequestHeader 5.5.0",
    reply_body="SubscriptionGroupConfig",
)
class GetSubscriptionGroupConfig(RpcRequest):
    """Ask for one group's settings."""

    group: str


@request(
    RequestCode.UPDATE_AND_GET_GROUP_FORBIDDEN,
    served_by=Role.BROKER,
    source="UpdateGroupForbiddenRequestHeader 5.5.0",
    reply_body="GroupForbidden",
)
class UpdateAndGetGroupForbidden(TopicRequest):
    """Forbid or allow a group to read a topic, or ask whether it may."""

    group: str
    topic: str
    readable: bool | None = None


@request(
    RequestCode.QUERY_TOPICS_BY_CONSUMER,
    served_by=Role.BROKER,
    source="QueryTopicsByConsumerRequestHeader 5.5.0",
    reply_body="TopicList",
)
class QueryTopicsByConsumer(RpcRequest):
    """Ask which topics a group has offsets of."""

    group: str


@request(
    RequestCode.QUERY_SUBSCRIPTION_BY_CONSUMER,
    served_by=Role.BROKER,
    source="QuerySubscriptionByConsumerRequestHeader 5.5.0",
    reply_body="QuerySubscriptionResponseBody",
)
class QuerySubscriptionByConsumer(TopicRequest):
    """Ask for a group's subscription of a topic."""

    group: str
    topic: str | None = None
