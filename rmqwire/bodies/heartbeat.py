"""What clients tell a broker about themselves."""

from __future__ import annotations

import msgspec

from rmqwire.fields import i32, i64

from .base import Body, new_list, written


class SubscriptionData(Body):
    """What a consumer group wants of a topic."""

    topic: str | None = None
    sub_string: str | None = None
    """The expression; `*` for everything."""
    tags_set: list[str] = msgspec.field(default_factory=new_list)
    code_set: list[i32] = msgspec.field(default_factory=new_list)
    """Hash codes of the tags."""
    sub_version: i64 = written(0)
    """Milliseconds since 1970; the newest counts."""
    expression_type: str = written("TAG")
    class_filter_mode: bool = written(False)


class ConsumerData(Body):
    """A consumer group of a client."""

    group_name: str | None = None
    consume_type: str | None = None
    """`CONSUME_ACTIVELY` (pull), `CONSUME_PASSIVELY` (push), `CONSUME_POP`."""
    message_model: str | None = None
    """`CLUSTERING` or `BROADCASTING`."""
    consume_from_where: str | None = None
    subscription_data_set: list[SubscriptionData] = msgspec.field(default_factory=new_list)
    unit_mode: bool = written(False)


class ProducerData(Body):
    """A producer group of a client."""

    group_name: str | None = None


class HeartbeatData(Body):
    """All groups of a client."""

    client_id: str | None = msgspec.field(name="clientID", default=None)
    producer_data_set: list[ProducerData] = msgspec.field(default_factory=new_list)
    consumer_data_set: list[ConsumerData] = msgspec.field(default_factory=new_list)
    heartbeat_fingerprint: i32 = written(0)
    """Not 0: heartbeat version 2, a number that changes with the subscriptions."""
    without_sub: bool = written(False)
    """The subscription sets are left out and stay as they were."""


class CheckClientRequestBody(Body):
    """A subscription to check."""

    client_id: str | None = None
    group: str | None = None
    subscription_data: SubscriptionData | None = None
    namespace: str | None = None


class GetConsumerListByGroupResponseBody(Body):
    """Client ids of a group's consumers."""

    consumer_id_list: list[str] = msgspec.field(default_factory=new_list)
