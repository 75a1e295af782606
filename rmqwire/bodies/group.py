"""Subscription groups: their settings and tables of them."""

from __future__ import annotations

import msgspec

from rmqwire.fields import i32, i64

from .base import Body, new_dict, new_list, written
from .version import DataVersion


class SimpleSubscriptionData(Body):
    """A subscription fixed in a group's settings."""

    topic: str | None = None
    expression_type: str | None = None
    expression: str | None = None
    version: i64 = written(0)


class CustomizedRetryPolicy(Body):
    """Delays of the retries, in milliseconds."""

    next: list[i64] = msgspec.field(
        default_factory=lambda: [
            second * 1000
            for second in (1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200)
        ]
    )


class ExponentialRetryPolicy(Body):
    """Delays that grow, in milliseconds."""

    initial: i64 = written(5000)
    max: i64 = written(7_200_000)
    multiplier: i64 = written(2)


class GroupRetryPolicy(Body):
    """How a group's retries are delayed."""

    type: str = written("CUSTOMIZED")
    """`CUSTOMIZED` or `EXPONENTIAL`."""
    customized_retry_policy: CustomizedRetryPolicy | None = None
    exponential_retry_policy: ExponentialRetryPolicy | None = None


class SubscriptionGroupConfig(Body):
    """The settings of a consumer group on one broker."""

    group_name: str | None = None
    consume_enable: bool = written(True)
    consume_from_min_enable: bool = written(True)
    consume_broadcast_enable: bool = written(True)
    consume_message_orderly: bool = written(False)
    retry_queue_nums: i32 = written(1)
    retry_max_times: i32 = written(16)
    group_retry_policy: GroupRetryPolicy = msgspec.field(default_factory=GroupRetryPolicy)
    broker_id: i64 = written(0)
    which_broker_when_consume_slowly: i64 = written(1)
    notify_consumer_ids_changed_enable: bool = written(True)
    group_sys_flag: i32 = written(0)
    consume_timeout_minute: i32 = written(15)
    subscription_data_set: list[SimpleSubscriptionData] | None = None
    attributes: dict[str, str] = msgspec.field(default_factory=new_dict)


class SubscriptionGroupWrapper(Body):
    """All groups of a broker, as in `config/subscriptionGroup.json`."""

    data_version: DataVersion = msgspec.field(default_factory=DataVersion)
    subscription_group_table: dict[str, SubscriptionGroupConfig] = msgspec.field(default_factory=new_dict)
    forbidden_table: dict[str, dict[str, i32]] = msgspec.field(default_factory=new_dict)
    """Bits by topic by group; the bit of value 4 (`PermName.INDEX_PERM_READ`): the group may not read it."""


class SubscriptionGroupList(Body):
    """Groups to create."""

    group_config_list: list[SubscriptionGroupConfig] = msgspec.field(default_factory=new_list)


class GroupForbidden(Body):
    """Whether a group may read a topic."""

    topic: str | None = None
    group: str | None = None
    readable: bool | None = None


class GroupList(Body):
    """Names of groups."""

    group_list: list[str] = msgspec.field(default_factory=new_list)
