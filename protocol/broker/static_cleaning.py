"""Stretches of logical queues that nobody needs any more, dropped in the hours of `deleteWhen`.

Who leads a queue drops its oldest stretch when that has no message left. Who led it before drops the whole list when
the queue has been led by yet another since: consumers then ask that one. A broker that cannot be asked changes nothing.

Source: `TopicQueueMappingCleanService` (5.3.4). Unlike there, a stretch is kept as long as it is not decided where the
next one begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import localtime
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqd.protocol.peer_errors import PeerError
from rmqd.protocol.static_mapping import is_decided, leader
from rmqwire.bodies import (
    MessageQueue,
    TopicConfigAndQueueMapping,
    TopicOffset,
    TopicQueueMappingInfo,
    TopicRouteData,
    TopicStatsTable,
)
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError, WireError
from rmqwire.requests.route import GetRouteInfoByTopic
from rmqwire.requests.topic import GetTopicConfig, GetTopicStatsInfo

if TYPE_CHECKING:
    from rmqd.protocol.client import RemotingClient
    from rmqd.store.messagestore import MessageStore
    from rmqwire.bodies import LogicQueueMappingItem, TopicQueueMappingDetail

    from .broker_peers import BrokerPeers
    from .static_table import StaticTable

_log = Logger()

INTERVAL_S = 300.0

Queues = dict[int, "list[LogicQueueMappingItem]"]


class StaticCleaning:
    """Cleans the mappings of a master.

    Args:
        table: The mappings.
        store: Tells which of its own queues are empty.
        peers: Tell of theirs.
        client: Asks the name servers.
        name_servers: Gives their addresses.
        wall_clock_ms: Tells the hour.
        hours: `deleteWhen`: two digits each, joined by `;`.
        is_slave: A slave's table is its master's.
    """

    def __init__(
        self,
        table: StaticTable,
        store: MessageStore,
        peers: BrokerPeers,
        client: RemotingClient,
        name_servers: Callable[[], Iterable[str]],
        wall_clock_ms: Callable[[], int],
        *,
        hours: Callable[[], str],
        is_slave: Callable[[], bool],
    ) -> None:
        self._table = table
        self._store = store
        self._peers = peers
        self._client = client
        self._name_servers = name_servers
        self._wall_clock_ms = wall_clock_ms
        self._hours = hours
        self._is_slave = is_slave
        self._round: Deferred[None] | None = None

    def tick(self) -> None:
        """Clean, if it is time and the round before has ended."""
        hour = f"{localtime(self._wall_clock_ms() / 1000).tm_hour:02d}"
        if self._round is not None or hour not in [each.strip() for each in self._hours().split(";")]:
            return
        if self._table.table and not self._is_slave():
            self._round = done = Deferred.fromCoroutine(self.clean())
            done.addErrback(lambda failure: _log.failure("mappings are not cleaned", failure))
            done.addBoth(self._ended)

    def _ended(self, _: object) -> None:
        self._round = None

    async def clean(self) -> None:
        """Go through all topics once."""
        for topic in list(self._table.table):
            for step in (self._without_empty, self._without_superseded):
                detail = self._table.get(topic)
                if detail is None:
                    break
                try:
                    kept = await step(topic, detail)
                except (RequestError, PeerError, WireError) as cause:
                    _log.warn("the mapping of {topic} stays as it is: {cause}", topic=topic, cause=cause)
                    continue
                # It may have been changed by an administrator while others were asked.
                if kept != detail.hosted_queues and self._table.get(topic) is detail:
                    self._table.put(msgspec.structs.replace(detail, hosted_queues=kept))

    async def _without_empty(self, topic: str, detail: TopicQueueMappingDetail) -> Queues:
        """Give the queues without oldest stretches that have no message left."""
        kept = dict(detail.hosted_queues)
        told: dict[str, TopicStatsTable] = {}
        for logical_id, items in detail.hosted_queues.items():
            if len(items) < 2 or leader(items) != detail.bname or not is_decided(items[1]):
                continue
            oldest = items[0]
            ends = await self._ends(topic, detail, oldest, told)
            if ends is not None and (ends.max_offset == ends.min_offset or ends.max_offset == 0):
                _log.info("{topic}-{queue} without {item}", topic=topic, queue=logical_id, item=oldest)
                kept[logical_id] = items[1:]
        return kept

    async def _ends(
        self,
        topic: str,
        detail: TopicQueueMappingDetail,
        item: LogicQueueMappingItem,
        told: dict[str, TopicStatsTable],
    ) -> TopicOffset | None:
        name = item.bname or ""
        if name == detail.bname:
            low, high = self._store.min_offset(topic, item.queue_id), self._store.max_offset(topic, item.queue_id)
            return TopicOffset(min_offset=max(0, low), max_offset=max(0, high))
        if name not in told:
            answer = await self._peers.call(name, GetTopicStatsInfo(topic=topic, logical=False, broker_name=name))
            if answer.code != ResponseCode.SUCCESS:
                raise RequestError(f"{name} answers {answer.code} {answer.remark}")
            told[name] = TopicStatsTable.decode(answer.body)
        return told[name].offset_table.get(MessageQueue(topic=topic, broker_name=name, queue_id=item.queue_id))

    async def _without_superseded(self, topic: str, detail: TopicQueueMappingDetail) -> Queues:
        """Give the queues without those that went on from here, and then on from there."""
        followers = {
            logical_id: leader(items)
            for logical_id, items in detail.hosted_queues.items()
            if items and leader(items) != detail.bname
        }
        if not followers:
            return detail.hosted_queues
        leaders = leaders_of(await self._mappings(topic))
        kept = dict(detail.hosted_queues)
        told: dict[str, TopicQueueMappingDetail | None] = {}
        for logical_id, follower in followers.items():
            name = leaders.get(logical_id)
            if name is None or name == follower:
                continue
            if name not in told:
                told[name] = await self._detail(topic, name)
            theirs = told[name]
            if theirs is None or (theirs.total_queues, theirs.epoch) != (detail.total_queues, detail.epoch):
                continue
            if leader(theirs.hosted_queues.get(logical_id, [])) == name:
                _log.info("{topic}-{queue} is led by {name} now", topic=topic, queue=logical_id, name=name)
                del kept[logical_id]
        return kept

    async def _mappings(self, topic: str) -> Iterable[TopicQueueMappingInfo]:
        cause = "there is no name server"
        for address in self._name_servers():
            try:
                answer = await self._client.call(address, GetRouteInfoByTopic(topic=topic))
            except PeerError as failed:
                cause = str(failed)
                continue
            if answer.code == ResponseCode.SUCCESS:
                return (TopicRouteData.decode(answer.body).topic_queue_mapping_by_broker or {}).values()
            cause = f"{address} answers {answer.code} {answer.remark}"
        raise RequestError(f"no route: {cause}")

    async def _detail(self, topic: str, name: str) -> TopicQueueMappingDetail | None:
        answer = await self._peers.call(name, GetTopicConfig(topic=topic, logical=True, broker_name=name))
        if answer.code != ResponseCode.SUCCESS:
            raise RequestError(f"{name} answers {answer.code} {answer.remark}")
        detail = TopicConfigAndQueueMapping.decode(answer.body).mapping_detail
        return detail if detail is not None and detail.bname == name else None


def leaders_of(mappings: Iterable[TopicQueueMappingInfo]) -> dict[int, str]:
    """Give who leads each logical queue, as a route tells it; of several the one with the latest epoch."""
    leaders: dict[int, str] = {}
    for info in sorted(mappings, key=lambda each: each.epoch):
        leaders.update(dict.fromkeys(info.curr_id_map, info.bname or ""))
    return leaders
