"""Requests by which clients are known to brokers, and those that show or reach connected clients."""

from __future__ import annotations

import msgspec

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32

from .base import RpcRequest, TopicRequest


class HeartBeatReply(Header):
    """What a client with heartbeat version 2 wants to know; both `true` when the fingerprint is 0."""

    is_support_heart_beat_v2: bool | None = msgspec.field(name="IS_SUPPORT_HEART_BEAT_V2", default=None)
    is_sub_change: bool | None = msgspec.field(name="IS_SUB_CHANGE", default=None)


@request(
    RequestCode.HEART_BEAT,
    served_by=Role.BROKER,
    reply=HeartBeatReply,
    source="HeartbeatRequestHeader 5.5.0",
    body="HeartbeatData",
)
class HeartBeat(RpcRequest):
    """Register the groups of a client, and keep them."""


@request(RequestCode.UNREGISTER_CLIENT, served_by=Role.BROKER, source="UnregisterClientRequestHeader 5.5.0")
class UnregisterClient(RpcRequest):
    """Take a client out of a producer or a consumer group."""

    client_id: str = msgspec.field(name="clientID")
    producer_group: str | None = None
    consumer_group: str | None = None


@request(
    RequestCode.CHECK_CLIENT_CONFIG,
    served_by=Role.BROKER,
    source="no header class; ClientManageProcessor 5.5.0",
    body="CheckClientRequestBody",
)
class CheckClientConfig(Header):
    """Ask whether a filter expression is accepted."""


@request(
    RequestCode.GET_CONSUMER_LIST_BY_GROUP,
    served_by=Role.BROKER,
    source="GetConsumerListByGroupRequestHeader 5.5.0",
    reply_body="GetConsumerListByGroupResponseBody",
)
class GetConsumerListByGroup(RpcRequest):
    """Ask for the client ids of a group's consumers."""

    consumer_group: str


@request(
    RequestCode.NOTIFY_CONSUMER_IDS_CHANGED,
    served_by=Role.CLIENT,
    source="NotifyConsumerIdsChangedRequestHeader 5.5.0",
    oneway=True,
)
class NotifyConsumerIdsChanged(RpcRequest):
    """Tell a consumer that its group has changed, so that it shares the queues anew."""

    consumer_group: str


@request(
    RequestCode.GET_CONSUMER_CONNECTION_LIST,
    served_by=Role.BROKER,
    source="GetConsumerConnectionListRequestHeader 5.5.0",
    reply_body="ConsumerConnection",
)
class GetConsumerConnectionList(RpcRequest):
    """Show the connections and subscriptions of a consumer group."""

    consumer_group: str


@request(
    RequestCode.GET_PRODUCER_CONNECTION_LIST,
    served_by=Role.BROKER,
    source="GetProducerConnectionListRequestHeader 5.5.0",
    reply_body="ProducerConnection",
)
class GetProducerConnectionList(RpcRequest):
    """Show the connections of a producer group."""

    producer_group: str


@request(
    RequestCode.GET_ALL_PRODUCER_INFO,
    served_by=Role.BROKER,
    source="GetAllProducerInfoRequestHeader 5.5.0",
    reply_body="ProducerTableInfo",
)
class GetAllProducerInfo(Header):
    """Show all producer groups."""


@request(
    RequestCode.GET_CONSUMER_RUNNING_INFO,
    served_by=Role.BROKER | Role.CLIENT,
    source="GetConsumerRunningInfoRequestHeader 5.5.0",
    reply_body="ConsumerRunningInfo",
)
class GetConsumerRunningInfo(RpcRequest):
    """Ask a consumer for its state; a broker relays."""

    consumer_group: str
    client_id: str
    jstack_enable: bool = False


@request(
    RequestCode.CONSUME_MESSAGE_DIRECTLY,
    served_by=Role.BROKER | Role.CLIENT,
    source="ConsumeMessageDirectlyResultRequestHeader 5.5.0",
    body="to a client: one stored record",
    reply_body="ConsumeMessageDirectlyResult",
)
class ConsumeMessageDirectly(TopicRequest, kw_only=True):
    """Have one consumer consume one message now; a broker adds the record and relays."""

    consumer_group: str
    client_id: str | None = None
    msg_id: str | None = None
    broker_name: str | None = msgspec.field(name="brokerName", default=None)
    topic: str | None = None
    topic_sys_flag: i32 | None = None
    group_sys_flag: i32 | None = None
