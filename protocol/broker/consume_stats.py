"""How far topics and groups are, as administrators and monitors ask.

Each needs the store times of some messages per queue, which may have to come from the disk: one after the other, so
that a look at a topic of a thousand queues leaves the reactor free in between.

Source: `AdminBrokerProcessor` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import (
    ConsumeStats,
    ConsumeStatsList,
    MessageQueue,
    OffsetWrapper,
    QueryConsumeTimeSpanBody,
    QueueTimeSpan,
    TopicOffset,
    TopicStatsTable,
)
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests import GetBrokerConsumeStats, GetConsumeStats, GetTopicStatsInfo, QueryConsumeTimeSpan

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore
    from rmqwire.bodies import TopicConfig

    from .clients import ConsumerRegistry
    from .groups import SubscriptionGroups
    from .offsets import ConsumerOffsets
    from .reading import ColdReads
    from .stats import BrokerStats
    from .topics import TopicTable


class ConsumeStatsHandlers:
    """Shows the offsets of topics and groups.

    Args:
        topics: Known topics.
        groups: Known groups.
        consumers: Groups that are online.
        offsets: How far groups are.
        store: How far queues are.
        stats: Rates.
        reads: Reads of what may not be in memory.
        wall_clock_ms: For delays.
        broker_name: In the queues' names.
        address: `brokerIP1:listenPort`.
        static_topics: Whose groups may have an offset in another queue where they have none here.
    """

    def __init__(
        self,
        topics: TopicTable,
        groups: SubscriptionGroups,
        consumers: ConsumerRegistry,
        offsets: ConsumerOffsets,
        store: MessageStore,
        stats: BrokerStats,
        reads: ColdReads,
        wall_clock_ms: Callable[[], int],
        *,
        broker_name: str,
        address: str,
        static_topics: Container[str] = (),
    ) -> None:
        self._static_topics = static_topics
        self._topics = topics
        self._groups = groups
        self._consumers = consumers
        self._offsets = offsets
        self._store = store
        self._stats = stats
        self._reads = reads
        self._wall_clock_ms = wall_clock_ms
        self._broker_name = broker_name
        self._address = address

    @handles(GetTopicStatsInfo)
    def topic_stats(self, request: Request, header: GetTopicStatsInfo) -> Result:
        """Show both ends of a topic's queues."""
        return Deferred.fromCoroutine(self._topic_stats(self._existing(header.topic), header.topic))

    async def _topic_stats(self, config: TopicConfig, topic: str) -> Reply:
        table: dict[MessageQueue, TopicOffset] = {}
        for queue_id in range(max(config.write_queue_nums, config.read_queue_nums)):
            end = self._store.max_offset(topic, queue_id)
            table[self._queue(topic, queue_id)] = TopicOffset(
                min_offset=max(0, self._store.min_offset(topic, queue_id)),
                max_offset=max(0, end),
                last_update_timestamp=await self._stored_at(topic, queue_id, end - 1) if end > 0 else 0,
            )
        body = TopicStatsTable(offset_table=table, topic_put_tps=self._stats.topic_put_tps(topic))
        return Reply(body=body.encode())

    @handles(GetConsumeStats)
    def consume_stats(self, request: Request, header: GetConsumeStats) -> Result:
        """Show how far a group is with its topics."""
        group = header.consumer_group
        asked = [topic for topic in (header.topic_list or "").split(";") if topic]
        if not asked:
            topic = (header.topic or "").strip()
            asked = self._subscribed(group, {topic} if topic else self._offsets.topics_of(group))
        return Deferred.fromCoroutine(self._group_stats(group, asked))

    async def _group_stats(self, group: str, topics: Iterable[str]) -> Reply:
        whole = ConsumeStats()
        for topic in topics:
            config = self._topics.get(topic)
            if config is not None:
                part = await self._consumed(group, topic, config.read_queue_nums)
                whole.offset_table.update(part.offset_table)
                whole.consume_tps += part.consume_tps
        return Reply(body=whole.encode())

    @handles(GetBrokerConsumeStats)
    def all_consume_stats(self, request: Request, header: GetBrokerConsumeStats) -> Result:
        """Show how far all groups are."""
        return Deferred.fromCoroutine(self._all_consume_stats(only_ordered=header.is_order))

    async def _all_consume_stats(self, *, only_ordered: bool) -> Reply:
        body = ConsumeStatsList(broker_addr=self._address)
        for group in list(self._groups.table):
            found: list[ConsumeStats] = []
            for topic in self._subscribed(group, self._offsets.topics_of(group)):
                config = self._topics.get(topic)
                if config is None or (only_ordered and not config.order):
                    continue
                part = await self._consumed(group, topic, config.write_queue_nums)
                found.append(part)
                for queue in part.offset_table.values():
                    body.total_diff += queue.broker_offset - queue.consumer_offset
                    body.total_inflight_diff += queue.pull_offset - queue.consumer_offset
            body.consume_stats_list.append({group: found})
        return Reply(body=body.encode())

    @handles(QueryConsumeTimeSpan)
    def time_span(self, request: Request, header: QueryConsumeTimeSpan) -> Result:
        """Show between which store times a group stands in a topic's queues."""
        config = self._existing(header.topic)
        return Deferred.fromCoroutine(self._time_span(header.topic, header.group, config.write_queue_nums))

    async def _time_span(self, topic: str, group: str, queue_nums: int) -> Reply:
        spans: list[QueueTimeSpan] = []
        for queue_id in range(queue_nums):
            begin, end = self._store.min_offset(topic, queue_id), self._store.max_offset(topic, queue_id)
            consumed = self._offsets.query(group, topic, queue_id)
            oldest = await self._stored_at(topic, queue_id, begin)
            newest = await self._stored_at(topic, queue_id, end - 1)
            last = await self._stored_at(topic, queue_id, consumed - 1) if consumed > 0 else oldest
            span = QueueTimeSpan(
                message_queue=self._queue(topic, queue_id),
                min_time_stamp=oldest,
                max_time_stamp=newest,
                consume_time_stamp=last,
                min_time_stamp_str=_local_time(oldest),
                max_time_stamp_str=_local_time(newest),
                consume_time_stamp_str=_local_time(last),
            )
            # Java takes the time of message -1 for a group without an offset, and shows decades of delay.
            waiting = max(consumed, begin)
            if waiting < end:
                span.delay_time = self._wall_clock_ms() - await self._stored_at(topic, queue_id, waiting)
            spans.append(span)
        return Reply(body=QueryConsumeTimeSpanBody(consume_time_span_set=spans).encode())

    async def _consumed(self, group: str, topic: str, queue_nums: int) -> ConsumeStats:
        part = ConsumeStats(consume_tps=self._stats.group_get_tps(group, topic))
        for queue_id in range(queue_nums):
            consumed = self._offsets.query(group, topic, queue_id)
            if topic not in self._static_topics:  # where -1 says: look at the stretch before
                consumed = max(0, consumed)
            at_ms = await self._stored_at(topic, queue_id, consumed - 1) if consumed > 0 else 0
            part.offset_table[self._queue(topic, queue_id)] = OffsetWrapper(
                broker_offset=max(0, self._store.max_offset(topic, queue_id)),
                consumer_offset=consumed,
                pull_offset=max(consumed, self._offsets.query_pull_offset(group, topic, queue_id)),
                last_timestamp=max(0, at_ms),
            )
        return part

    def _subscribed(self, group: str, topics: Iterable[str]) -> list[str]:
        """Leave out what a group that is online does not subscribe to any longer."""
        online = self._consumers.group(group)
        if online is None or not online.subscriptions:
            return sorted(topics)
        return sorted(topic for topic in topics if topic in online.subscriptions)

    def _existing(self, topic: str) -> TopicConfig:
        config = self._topics.get(topic)
        if config is None:
            raise RequestError(f"topic[{topic}] not exist", ResponseCode.TOPIC_NOT_EXIST)
        return config

    def _queue(self, topic: str, queue_id: int) -> MessageQueue:
        return MessageQueue(topic=topic, broker_name=self._broker_name, queue_id=queue_id)

    async def _stored_at(self, topic: str, queue_id: int, offset: int) -> int:
        found = self._reads.read(self._store.store_timestamp, topic, queue_id, offset)
        return await found if isinstance(found, Deferred) else found


def _local_time(at_ms: int) -> str:
    """Write a time as `yyyy-MM-dd#HH:mm:ss:SSS` (`UtilAll.formatDate`)."""
    return f"{datetime.fromtimestamp(at_ms // 1000):%Y-%m-%d#%H:%M:%S}:{at_ms % 1000:03d}"
