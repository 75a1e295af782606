"""Requests that clean, export or tune the store of a broker."""

from __future__ import annotations

import msgspec

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32, i64


@request(
    RequestCode.CLEAN_EXPIRED_CONSUMEQUEUE,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
)
class CleanExpiredConsumequeue(Header):
    """Delete the consume queues that point below the commit log's beginning."""


@request(
    RequestCode.CLEAN_UNUSED_TOPIC,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
)
class CleanUnusedTopic(Header):
    """Delete the consume queues of topics that no longer exist."""


@request(
    RequestCode.DELETE_EXPIRED_COMMITLOG,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
)
class DeleteExpiredCommitlog(Header):
    """Delete the expired commit log files now."""


@request(
    RequestCode.UPDATE_COLD_DATA_FLOW_CTR_CONFIG,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    body="properties text `group=threshold`",
)
class UpdateColdDataFlowCtrConfig(Header):
    """Limit what groups may read from disk."""


@request(
    RequestCode.REMOVE_COLD_DATA_FLOW_CTR_CONFIG,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    body="group name",
)
class RemoveColdDataFlowCtrConfig(Header):
    """Lift the limit of a group."""


@request(
    RequestCode.GET_COLD_DATA_FLOW_CTR_INFO,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    reply_body="JSON object",
)
class GetColdDataFlowCtrInfo(Header):
    """Ask for the limits and what was read."""


@request(
    RequestCode.SET_COMMITLOG_READ_MODE,
    served_by=Role.BROKER,
    source="no header class; FIleReadaheadMode 5.5.0",
)
class SetCommitlogReadMode(Header):
    """Choose how the kernel reads the commit log ahead."""

    read_ahead_mode: i32 | None = msgspec.field(name="READ_AHEAD_MODE", default=None)
    """0 normal, 1 random."""


@request(
    RequestCode.CHECK_ROCKSDB_CQ_WRITE_PROGRESS,
    served_by=Role.BROKER,
    source="CheckRocksdbCqWriteProgressRequestHeader 5.5.0",
    reply_body="JSON object: checkStatus, checkResult",
)
class CheckRocksdbCqWriteProgress(Header):
    """Compare the two kinds of consume queue of a topic."""

    topic: str
    check_store_time: i64 = 0


@request(
    RequestCode.EXPORT_ROCKSDB_CONFIG_TO_JSON,
    served_by=Role.BROKER,
    source="ExportRocksDBConfigToJsonRequestHeader 5.5.0",
)
class ExportRocksdbConfigToJson(Header):
    """Write metadata kept in RocksDB to the JSON files."""

    config_type: str
    """`topics`, `subscriptionGroups`, `consumerOffsets`, joined by semicolons."""


@request(
    RequestCode.SWITCH_TIMER_ENGINE,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
)
class SwitchTimerEngine(Header):
    """Choose where delayed messages wait."""

    engine_type: str | None = msgspec.field(name="E_T", default=None)
    """`R` RocksDB timeline, `F` file time wheel."""
