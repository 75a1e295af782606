"""Requests between a master, its slaves and those who watch them; the log itself travels on another port."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32, i64


@request(
    RequestCode.NOTIFY_MIN_BROKER_ID_CHANGE,
    served_by=Role.BROKER,
    source="NotifyMinBrokerIdChangeRequestHeader 5.5.0",
    oneway=True,
)
class NotifyMinBrokerIdChange(Header):
    """A name server tells brokers which of their group has the smallest id now."""

    min_broker_id: i64 | None = None
    broker_name: str | None = None
    min_broker_addr: str | None = None
    offline_broker_addr: str | None = None
    ha_broker_addr: str | None = None


class ExchangeBrokerHaInfoReply(Header):
    """Where the master is and what it has flushed."""

    master_ha_address: str | None = None
    master_flush_offset: i64 | None = None
    master_address: str | None = None


@request(
    RequestCode.EXCHANGE_BROKER_HA_INFO,
    served_by=Role.BROKER,
    reply=ExchangeBrokerHaInfoReply,
    source="ExchangeHAInfoRequestHeader 5.5.0",
)
class ExchangeBrokerHaInfo(Header):
    """Ask a master for its HA address (all absent), or tell it ours."""

    master_ha_address: str | None = None
    master_flush_offset: i64 | None = None
    master_address: str | None = None


@request(
    RequestCode.GET_BROKER_HA_STATUS,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    reply_body="HARuntimeInfo",
)
class GetBrokerHaStatus(Header):
    """Ask for the state of replication."""


@request(
    RequestCode.RESET_MASTER_FLUSH_OFFSET,
    served_by=Role.BROKER,
    source="ResetMasterFlushOffsetHeader 5.5.0",
)
class ResetMasterFlushOffset(Header):
    """Set what a slave believes its master has flushed."""

    master_flush_offset: i64


@request(
    RequestCode.GET_BROKER_EPOCH_CACHE,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    reply_body="EpochEntryCache",
)
class GetBrokerEpochCache(Header):
    """Ask for the epochs of a broker's commit log."""


@request(
    RequestCode.NOTIFY_BROKER_ROLE_CHANGED,
    served_by=Role.BROKER,
    source="NotifyBrokerRoleChangedRequestHeader 5.5.0",
    body="SyncStateSet",
    oneway=True,
)
class NotifyBrokerRoleChanged(Header):
    """A controller tells brokers who is master now."""

    master_address: str | None = None
    master_epoch: i32 | None = None
    sync_state_set_epoch: i32 | None = None
    master_broker_id: i64 | None = None


@request(
    RequestCode.GET_TIMER_CHECK_POINT,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    reply_body="seven i64: lastReadTimeMs, lastTimerLogFlushPos, lastTimerQueueOffset, masterTimerQueueOffset, "
    "stateVersion, timestamp, counter",
)
class GetTimerCheckPoint(Header):
    """Ask for the positions of the time wheel, as a slave does."""


@request(
    RequestCode.GET_TIMER_METRICS,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    reply_body="TimerMetrics",
)
class GetTimerMetrics(Header):
    """Ask how many delayed messages wait by topic, as a slave does."""
