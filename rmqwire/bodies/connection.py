"""Connected clients as brokers show them, and what consumers say of themselves."""

from __future__ import annotations

import msgspec

from rmqwire.fields import i32, i64

from .base import Body, MessageQueue, new_dict, new_list, written
from .heartbeat import SubscriptionData


class Connection(Body):
    """One connection of a client."""

    client_id: str | None = None
    client_addr: str | None = None
    language: str | None = None
    version: i32 = written(0)


class ConsumerConnection(Body):
    """The connections and subscriptions of a consumer group."""

    connection_set: list[Connection] = msgspec.field(default_factory=new_list)
    subscription_table: dict[str, SubscriptionData] = msgspec.field(default_factory=new_dict)
    consume_type: str | None = None
    message_model: str | None = None
    consume_from_where: str | None = None


class ProducerConnection(Body):
    """The connections of a producer group."""

    connection_set: list[Connection] = msgspec.field(default_factory=new_list)


class ProducerInfo(Body):
    """One producer client."""

    client_id: str | None = None
    remote_ip: str | None = msgspec.field(name="remoteIP", default=None)
    language: str | None = None
    version: i32 = written(0)
    last_update_timestamp: i64 = written(0)


class ProducerTableInfo(Body):
    """All producers by group."""

    data: dict[str, list[ProducerInfo]] = msgspec.field(default_factory=new_dict)


class ProcessQueueInfo(Body):
    """A consumer's state of one queue that it pulls."""

    commit_offset: i64 = written(0)
    cached_msg_min_offset: i64 = written(0)
    cached_msg_max_offset: i64 = written(0)
    cached_msg_count: i32 = written(0)
    cached_msg_size_in_mib: i32 = msgspec.field(name="cachedMsgSizeInMiB", default_factory=lambda: 0)
    transaction_msg_min_offset: i64 = written(0)
    transaction_msg_max_offset: i64 = written(0)
    transaction_msg_count: i32 = written(0)
    locked: bool = written(False)
    try_unlock_times: i64 = written(0)
    last_lock_timestamp: i64 = written(0)
    droped: bool = written(False)
    last_pull_timestamp: i64 = written(0)
    last_consume_timestamp: i64 = written(0)


class PopProcessQueueInfo(Body):
    """A consumer's state of one queue that it pops."""

    wait_ack_count: i32 = written(0)
    droped: bool = written(False)
    last_pop_timestamp: i64 = written(0)


class ConsumeStatus(Body):
    """A consumer's rates for one topic."""

    pull_rt: float = msgspec.field(name="pullRT", default_factory=lambda: 0.0)
    pull_tps: float = msgspec.field(name="pullTPS", default_factory=lambda: 0.0)
    consume_rt: float = msgspec.field(name="consumeRT", default_factory=lambda: 0.0)
    consume_ok_tps: float = msgspec.field(name="consumeOKTPS", default_factory=lambda: 0.0)
    consume_failed_tps: float = msgspec.field(name="consumeFailedTPS", default_factory=lambda: 0.0)
    consume_failed_msgs: i64 = written(0)


class ConsumerRunningInfo(Body):
    """The state of a consumer; a broker relays it unread."""

    properties: dict[str, str] = msgspec.field(default_factory=new_dict)
    subscription_set: list[SubscriptionData] = msgspec.field(default_factory=new_list)
    mq_table: dict[MessageQueue, ProcessQueueInfo] = msgspec.field(default_factory=new_dict)
    mq_pop_table: dict[MessageQueue, PopProcessQueueInfo] = msgspec.field(default_factory=new_dict)
    status_table: dict[str, ConsumeStatus] = msgspec.field(default_factory=new_dict)
    user_consumer_info: dict[str, str] = msgspec.field(default_factory=new_dict)
    jstack: str | None = None


class ConsumeMessageDirectlyResult(Body):
    """What became of a message consumed on demand."""

    order: bool = written(False)
    auto_commit: bool = written(True)
    consume_result: str | None = None
    """`CR_SUCCESS`, `CR_LATER`, `CR_ROLLBACK`, `CR_COMMIT`, `CR_THROW_EXCEPTION`, `CR_RETURN_NULL`."""
    remark: str | None = None
    spent_time_mills: i64 = written(0)
