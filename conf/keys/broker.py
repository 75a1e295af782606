"""Options of a broker, put together from their subjects."""

from __future__ import annotations

from .broker_cluster import BrokerCluster
from .broker_consume import BrokerConsume
from .broker_identity import BrokerIdentity
from .broker_metrics import BrokerMetrics
from .broker_pop import BrokerPop
from .broker_threads import BrokerThreads
from .broker_topics import BrokerTopics
from .broker_transaction import BrokerTransaction


class BrokerConfig(
    BrokerIdentity,
    BrokerTopics,
    BrokerThreads,
    BrokerConsume,
    BrokerPop,
    BrokerTransaction,
    BrokerCluster,
    BrokerMetrics,
):
    """Every key of the Java class."""

    JAVA_CLASS = "org.apache.rocketmq.common.BrokerConfig"
