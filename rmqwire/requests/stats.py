"""Requests for what a broker counts and measures."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request

from .base import TopicRequest


@request(
    RequestCode.GET_BROKER_RUNTIME_INFO,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    reply_body="KvTable",
)
class GetBrokerRuntimeInfo(Header):
    """Ask for the broker's counters, rates and positions."""


@request(
    RequestCode.GET_CONSUME_STATS,
    served_by=Role.BROKER,
    source="GetConsumeStatsRequestHeader 5.5.0",
    reply_body="ConsumeStats",
)
class GetConsumeStats(TopicRequest):
    """Ask how far behind a group is."""

    consumer_group: str
    topic: str | None = None
    topic_list: str | None = None
    """Topic names joined by semicolons."""


@request(
    RequestCode.GET_BROKER_CONSUME_STATS,
    served_by=Role.BROKER,
    source="GetConsumeStatsInBrokerHeader 5.5.0",
    reply_body="ConsumeStatsList",
)
class GetBrokerConsumeStats(Header):
    """Ask how far behind all groups are."""

    is_order: bool = False


@request(
    RequestCode.QUERY_CONSUME_TIME_SPAN,
    served_by=Role.BROKER,
    source="QueryConsumeTimeSpanRequestHeader 5.5.0",
    reply_body="QueryConsumeTimeSpanBody",
)
class QueryConsumeTimeSpan(TopicRequest):
    """Ask for the store times a group has come to."""

    topic: str
    group: str


@request(
    RequestCode.VIEW_BROKER_STATS_DATA,
    served_by=Role.BROKER,
    source="ViewBrokerStatsDataRequestHeader 5.5.0",
    reply_body="BrokerStatsData",
)
class ViewBrokerStatsData(Header):
    """Ask for the rates of one statistics item."""

    stats_name: str
    stats_key: str
