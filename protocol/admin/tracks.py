"""What became of a message in the groups that consume its topic. Source: `DefaultMQAdminExtImpl.messageTrackDetail`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqwire.bodies.group import GroupList
from rmqwire.codes import ResponseCode
from rmqwire.requests.topic import QueryTopicConsumeByWho

from .clients import connections_of
from .errors import AdminError, Refused
from .progress import consume_stats
from .records import host_text

if TYPE_CHECKING:
    from .asking import Admin
    from .records import Message


async def tracks_of(admin: Admin, message: Message) -> list[str]:
    """What became of a message in every group that consumes its topic."""
    _, address = (await admin.brokers_with(message.stored.topic))[0]
    groups = (await admin.ask(address, QueryTopicConsumeByWho(topic=message.stored.topic), GroupList)).group_list
    return [await _track(admin, message, group) for group in groups]


async def _track(admin: Admin, message: Message, group: str) -> str:
    kind, why = "UNKNOWN", "null"
    try:
        connections = await connections_of(admin, group)
        if connections.consume_type == "CONSUME_ACTIVELY":
            kind = "PULL"
        elif connections.consume_type == "CONSUME_PASSIVELY":
            subscription = connections.subscription_table.get(message.stored.topic)
            tags = subscription.tags_set if subscription else []
            if not await _consumed(admin, message, group):
                kind = "NOT_CONSUME_YET"
            elif tags and "*" not in tags and message.tags not in tags:
                kind = "CONSUMED_BUT_FILTERED"
            else:
                kind = "CONSUMED"
    except Refused as cause:
        if cause.code == ResponseCode.CONSUMER_NOT_ONLINE:
            kind = "NOT_ONLINE"
        why = f"CODE:{cause.code} DESC:{cause.remark}"
    except AdminError as cause:
        why = cause.cause
    return f"MessageTrack [consumerGroup={group}, trackType={kind}, exceptionDesc={why}]"


async def _consumed(admin: Admin, message: Message, group: str) -> bool:
    stored = message.stored
    stats = await consume_stats(admin, group)
    brokers = dict(await admin.brokers_with(stored.topic))
    return any(
        queue.topic == stored.topic
        and queue.queue_id == stored.queue_id
        and brokers.get(queue.broker_name or "") == host_text(stored.store_host)
        and one.consumer_offset > stored.queue_offset
        for queue, one in stats.offset_table.items()
    )
