"""Rates, delayed messages and counters."""

from __future__ import annotations

import msgspec

from rmqwire.fields import i64

from .base import Body, new_dict, written
from .version import DataVersion


class BrokerStatsItem(Body):
    """One rate over one time."""

    sum: i64 = written(0)
    tps: float = written(0.0)
    avgpt: float = written(0.0)


class BrokerStatsData(Body):
    """A rate over the last minute, hour and day."""

    stats_minute: BrokerStatsItem | None = None
    stats_hour: BrokerStatsItem | None = None
    stats_day: BrokerStatsItem | None = None


class TimerMetric(Body):
    """How many delayed messages of a topic wait."""

    count: i64 = written(0)
    time_stamp: i64 = written(0)


class TimerMetrics(Body):
    """Delayed messages by topic, as in `config/timermetrics`."""

    data_version: DataVersion = msgspec.field(default_factory=DataVersion)
    timing_count: dict[str, TimerMetric] = msgspec.field(default_factory=new_dict)
