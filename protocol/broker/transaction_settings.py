"""The options that transactions follow; changed at run time by updateBrokerConfig."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions

_HOUR_MS = 3_600_000


@dataclass(slots=True)
class TransactionSettings:
    """Plain values, by their official names.

    Attributes:
        timeout_ms: `transactionTimeOut`.
        check_max: `transactionCheckMax`.
        check_interval_ms: `transactionCheckInterval`.
        op_msg_max_size: `transactionOpMsgMaxSize`, bytes.
        op_batch_interval_ms: `transactionOpBatchInterval`.
        file_reserved_time_ms: `fileReservedTime`.
    """

    timeout_ms: int = 6000
    check_max: int = 15
    check_interval_ms: int = 30_000
    op_msg_max_size: int = 4096
    op_batch_interval_ms: int = 3000
    file_reserved_time_ms: int = 72 * _HOUR_MS

    def follow(self, options: BrokerOptions) -> None:
        """Take the options as they are now."""
        broker = options.broker
        self.timeout_ms = broker.transaction_time_out
        self.check_max = broker.transaction_check_max
        self.check_interval_ms = broker.transaction_check_interval
        self.op_msg_max_size = broker.transaction_op_msg_max_size
        self.op_batch_interval_ms = broker.transaction_op_batch_interval
        self.file_reserved_time_ms = options.store.file_reserved_time * _HOUR_MS
