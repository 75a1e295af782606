"""Transactions, recalls, replies and access control: a part of `BrokerConfig`."""

from __future__ import annotations

from rmqd.conf.option import OptionGroup, boolean, int32, int64


class BrokerTransaction(OptionGroup):
    """Transactions, recalls, replies and access control."""

    transaction_time_out = int64(
        6000, "ms", "Age at which an open transaction is first checked with its producer.", important=True, acted=True
    )
    transaction_check_max = int32(
        15, "times", "Checks after which an open transaction is given up.", important=True, acted=True
    )
    transaction_check_interval = int64(30_000, "ms", "Time between two rounds of checks.", important=True, acted=True)
    transaction_metric_flush_interval = int64(
        10_000, "ms", "Time between two writes of the counts of transactions.", acted=True
    )
    transaction_check_rocksdb_core_threads = int32(2, "threads", "Threads that check transactions kept in RocksDB.")
    transaction_check_rocksdb_max_threads = int32(5, "threads", "Most such threads.")
    transaction_check_rocksdb_queue_capacity = int32(2000, "checks", "Most such checks that wait.")
    transaction_op_msg_max_size = int32(4096, "bytes", "Longest message that notes ends of transactions.", acted=True)
    transaction_op_batch_interval = int32(3000, "ms", "Longest wait before such a note is written.", acted=True)
    acl_enable = boolean(False, "Access control of version 4; never read by 5.5.", important=True)
    recall_message_enable = boolean(False, "Let a producer take back a delayed message.", acted=True)
    allow_recall_when_broker_not_writeable = boolean(True, "Even where the broker takes no messages.", acted=True)
    store_reply_message_enable = boolean(True, "Store a reply message before it is handed on.", acted=True)
