"""Values that are one word out of a few, spelled as in the properties files."""

from __future__ import annotations

from enum import Enum


class BrokerRole(Enum):
    """Source: `org.apache.rocketmq.store.config.BrokerRole`."""

    ASYNC_MASTER = "ASYNC_MASTER"
    SYNC_MASTER = "SYNC_MASTER"
    SLAVE = "SLAVE"


class FlushDiskType(Enum):
    """Source: `org.apache.rocketmq.store.config.FlushDiskType`."""

    SYNC_FLUSH = "SYNC_FLUSH"
    ASYNC_FLUSH = "ASYNC_FLUSH"


class MessageRequestMode(Enum):
    """Source: `org.apache.rocketmq.common.message.MessageRequestMode`, since 5.0."""

    PULL = "PULL"
    POP = "POP"


class MetricsExporterType(Enum):
    """Source: `org.apache.rocketmq.common.metrics.MetricsExporterType`; the files may use the place, 0 to 3, too."""

    DISABLE = "DISABLE"
    OTLP_GRPC = "OTLP_GRPC"
    PROM = "PROM"
    LOG = "LOG"
