"""Requests of lite topics (5.5; sent by the proxy and the admin tool)."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32, i64

from .base import RpcRequest


class PopLiteMessageReply(Header):
    """What the client builds the receipt of each message from."""

    pop_time: i64
    invisible_time: i64
    revive_qid: i32
    """Always 999."""
    start_offset_info: str | None = None
    msg_offset_info: str | None = None
    order_count_info: str | None = None


@request(
    RequestCode.POP_LITE_MESSAGE,
    served_by=Role.BROKER,
    reply=PopLiteMessageReply,
    source="PopLiteMessageRequestHeader 5.5.0",
    reply_body="stored records back to back",
)
class PopLiteMessage(RpcRequest):
    """Take messages of the lite topics a client has subscribed to."""

    client_id: str
    consumer_group: str
    topic: str
    max_msg_num: i32 = 0
    invisible_time: i64 = 0
    poll_time: i64 = 0
    born_time: i64 = 0
    attempt_id: str | None = None


@request(
    RequestCode.LITE_SUBSCRIPTION_CTL,
    served_by=Role.BROKER,
    source="LiteSubscriptionCtlRequestHeader 5.5.0",
    body="LiteSubscriptionCtlRequestBody",
)
class LiteSubscriptionCtl(RpcRequest):
    """Change which lite topics a client has subscribed to."""


@request(
    RequestCode.NOTIFY_UNSUBSCRIBE_LITE,
    served_by=Role.CLIENT,
    source="NotifyUnsubscribeLiteRequestHeader 5.5.0",
)
class NotifyUnsubscribeLite(RpcRequest):
    """Tell a client that a subscription of its was ended."""

    lite_topic: str
    consumer_group: str
    client_id: str


@request(
    RequestCode.GET_BROKER_LITE_INFO,
    served_by=Role.BROKER,
    source="no header class; LiteManagerProcessor 5.5.0",
    reply_body="GetBrokerLiteInfoResponseBody",
)
class GetBrokerLiteInfo(Header):
    """Ask for the sizes of a broker's lite tables."""


@request(
    RequestCode.GET_PARENT_TOPIC_INFO,
    served_by=Role.BROKER,
    source="GetParentTopicInfoRequestHeader 5.5.0",
    reply_body="GetParentTopicInfoResponseBody",
)
class GetParentTopicInfo(Header):
    """Ask about a topic that has lite topics."""

    topic: str


@request(
    RequestCode.GET_LITE_TOPIC_INFO,
    served_by=Role.BROKER,
    source="GetLiteTopicInfoRequestHeader 5.5.0",
    reply_body="GetLiteTopicInfoResponseBody",
)
class GetLiteTopicInfo(Header):
    """Ask about one lite topic."""

    parent_topic: str | None = None
    lite_topic: str | None = None


@request(
    RequestCode.GET_LITE_CLIENT_INFO,
    served_by=Role.BROKER,
    source="GetLiteClientInfoRequestHeader 5.5.0",
    reply_body="GetLiteClientInfoResponseBody",
)
class GetLiteClientInfo(Header):
    """Ask about one client's lite subscriptions."""

    parent_topic: str | None = None
    group: str | None = None
    client_id: str | None = None
    max_count: i32 = 0


@request(
    RequestCode.GET_LITE_GROUP_INFO,
    served_by=Role.BROKER,
    source="GetLiteGroupInfoRequestHeader 5.5.0",
    reply_body="GetLiteGroupInfoResponseBody",
)
class GetLiteGroupInfo(Header):
    """Ask how far behind a group is on its lite topics."""

    group: str
    lite_topic: str | None = None
    top_k: i32 = 0


@request(
    RequestCode.TRIGGER_LITE_DISPATCH,
    served_by=Role.BROKER,
    source="TriggerLiteDispatchRequestHeader 5.5.0",
)
class TriggerLiteDispatch(Header):
    """Dispatch lite messages to a group now."""

    group: str
    client_id: str | None = None
