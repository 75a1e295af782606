"""What the broker counts and measures (28), and single statistics items (315).

Keys that official tools and the official Prometheus exporter parse are all here.

Source: `AdminBrokerProcessor.prepareRuntimeInfo`, `StoreStatsService.getRuntimeInfo` (5.5.0).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import BrokerStatsData, BrokerStatsItem, KvTable
from rmqwire.codes import OUR_VERSION, name_of_version
from rmqwire.errors import RequestError
from rmqwire.requests import GetBrokerRuntimeInfo, ViewBrokerStatsData

from .names import SCHEDULE_TOPIC

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore

    from .reading import ColdReads
    from .stats import BrokerStats, Snapshot

_POOLS = ("send", "pull", "litePull", "query", "ack")


class RuntimeInfoHandlers:
    """Shows counters.

    Args:
        options: Paths and capacities.
        store: Positions.
        stats: Counters and rates.
        reads: Reads of what may not be in memory.
        delay_offsets: Gives the delivered offset by delay level.
        timer_info: Gives the entries that tell about the timer.
        waiting: Gives the entries that tell how many requests wait, and how long.
        wall_clock_ms: For the time the broker has run.
    """

    def __init__(
        self,
        options: BrokerOptions,
        store: MessageStore,
        stats: BrokerStats,
        reads: ColdReads,
        delay_offsets: Callable[[], Mapping[int, int]],
        timer_info: Callable[[], Mapping[str, str]],
        waiting: Callable[[], Mapping[str, str]],
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self._options = options
        self._store = store
        self._stats = stats
        self._reads = reads
        self._delay_offsets = delay_offsets
        self._timer_info = timer_info
        self._waiting = waiting
        self._wall_clock_ms = wall_clock_ms

    @handles(GetBrokerRuntimeInfo)
    def runtime_info(self, request: Request, header: GetBrokerRuntimeInfo) -> Result:
        """Give everything as text by key."""
        earliest = self._reads.read(self._store.record_timestamp, self._store.min_physical_offset)

        def answer(earliest_ms: int) -> Reply:
            table = {
                "brokerActive": "true",
                "brokerVersion": str(OUR_VERSION),
                "brokerVersionDesc": name_of_version(OUR_VERSION),
                "earliestMessageTimeStamp": str(earliest_ms),
                "startAcceptSendRequestTimeStamp": str(self._options.broker.start_accept_send_request_time_stamp),
                **self._counters(),
                **self._stats.rates(),
                **self._positions(),
                **self._pools(),
                **self._delays(),
            }
            return Reply(body=KvTable(table={key: table[key] for key in sorted(table)}).encode())

        return self._reads.then(earliest, answer)

    def _counters(self) -> dict[str, str]:
        stats = self._stats
        put = max(1, stats.put_count)  # as Java: never 0, older tools divide by it
        return {
            "bootTimestamp": str(stats.booted_at_ms),
            "runtime": _duration(self._wall_clock_ms() - stats.booted_at_ms),
            "msgPutTotalYesterdayMorning": str(stats.put_totals.yesterday_morning),
            "msgPutTotalTodayMorning": str(stats.put_totals.today_morning),
            "msgPutTotalTodayNow": str(stats.put_count),
            "msgGetTotalYesterdayMorning": str(stats.get_totals.yesterday_morning),
            "msgGetTotalTodayMorning": str(stats.get_totals.today_morning),
            "msgGetTotalTodayNow": str(stats.get_count),
            "putMessageTimesTotal": str(put),
            "putMessageFailedTimes": str(stats.put_failed),
            "putMessageSizeTotal": str(stats.put_size_total),
            "putMessageAverageSize": str(stats.put_size_total / put),
            "putMessageEntireTimeMax": str(stats.put_times.max_ms),
            "putMessageDistributeTime": stats.put_times.distribution(),
            "putLatency99": f"{stats.put_times.share_below(0.99):.2f}",
            "putLatency999": f"{stats.put_times.share_below(0.999):.2f}",
            "getMessageEntireTimeMax": str(stats.get_time_max_ms),
        }

    def _positions(self) -> dict[str, str]:
        store, options = self._store, self._options.store
        log_path = str(options.store_path_commit_log)
        disk = store.disk
        usage = shutil.disk_usage(options.store_path_root_dir)
        return {
            "commitLogMinOffset": str(store.min_physical_offset),
            "commitLogMaxOffset": str(store.max_physical_offset),
            "commitLogDiskRatio": str(disk.commit_log_ratio),
            f"commitLogDiskRatio_{log_path}": str(disk.commit_log_ratio),
            "consumeQueueDiskRatio": str(disk.consume_queue_ratio),
            "commitLogDirCapacity": f"Total : {_bytes(usage.total)}, Free : {_bytes(usage.free)}.",
            "remainHowManyDataToFlush": _bytes(store.max_physical_offset - store.flushed_offset),
            # Consume queues grow in the same step as the log, and there is neither a lock nor a buffer pool.
            "dispatchBehindBytes": "0",
            "dispatchMaxBuffer": "0",
            "pageCacheLockTimeMills": "0",
            "remainTransientStoreBufferNumbs": str(2**31 - 1),
        }

    def _pools(self) -> dict[str, str]:
        """Requests are served as they are read: most pools have no queue, which tools must be told as 0."""
        broker = self._options.broker
        capacities = (
            broker.send_thread_pool_queue_capacity,
            broker.pull_thread_pool_queue_capacity,
            broker.lite_pull_thread_pool_queue_capacity,
            broker.query_thread_pool_queue_capacity,
            broker.ack_thread_pool_queue_capacity,
        )
        table = {
            "EndTransactionQueueSize": "0",
            "EndTransactionThreadPoolQueueCapacity": str(broker.end_transaction_pool_queue_capacity),
        }
        for name, capacity in zip(_POOLS, capacities, strict=True):
            table[f"{name}ThreadPoolQueueSize"] = "0"
            table[f"{name}ThreadPoolQueueCapacity"] = str(capacity)
            table[f"{name}ThreadPoolQueueHeadWaitTimeMills"] = "0"
        return {**table, **self._waiting()}

    def _delays(self) -> dict[str, str]:
        table = {
            f"scheduleMessageOffset_{level}": f"{offset},{self._store.max_offset(SCHEDULE_TOPIC, level - 1)}"
            for level, offset in self._delay_offsets().items()
        }
        return {**table, **self._timer_info()}

    @handles(ViewBrokerStatsData)
    def stats_item(self, request: Request, header: ViewBrokerStatsData) -> Result:
        """Give one item's numbers of the last minute, hour and day."""
        item = self._stats.item(header.stats_name, header.stats_key)
        if item is None:
            raise RequestError(f"The stats <{header.stats_name}> <{header.stats_key}> not exist")
        body = BrokerStatsData(
            stats_minute=_numbers(item.minute), stats_hour=_numbers(item.hour), stats_day=_numbers(item.day)
        )
        return Reply(body=body.encode())


def _numbers(snapshot: Snapshot) -> BrokerStatsItem:
    return BrokerStatsItem(sum=snapshot.total, tps=snapshot.tps, avgpt=snapshot.average)


def _duration(span_ms: int) -> str:
    minutes, seconds = divmod(max(0, span_ms) // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"[ {days} days, {hours} hours, {minutes} minutes, {seconds} seconds ]"


def _bytes(size_bytes: int) -> str:
    """Write a size as Java's `MixAll.humanReadableByteCount`."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    exponent = min(6, (size_bytes.bit_length() - 1) // 10)
    return f"{size_bytes / 1024**exponent:.1f} {'KMGTPE'[exponent - 1]}iB"
