"""Locks of queues, and assignment of queues by the broker."""

from __future__ import annotations

import msgspec

from rmqwire.fields import i32

from .base import Body, MessageQueue, new_dict, new_list, written


class LockBatchRequestBody(Body):
    """Queues to lock."""

    consumer_group: str | None = None
    client_id: str | None = None
    only_this_broker: bool = written(False)
    mq_set: list[MessageQueue] = msgspec.field(default_factory=new_list)


class UnlockBatchRequestBody(LockBatchRequestBody):
    """Queues to give back."""


class LockBatchResponseBody(Body):
    """The queues that are locked now."""

    lock_ok_mq_set: list[MessageQueue] = msgspec.field(name="lockOKMQSet", default_factory=new_list)


class QueryAssignmentRequestBody(Body):
    """Who asks for queues."""

    topic: str | None = None
    consumer_group: str | None = None
    client_id: str | None = None
    strategy_name: str | None = None
    message_model: str | None = None


class MessageQueueAssignment(Body):
    """One queue and how it is to be read."""

    message_queue: MessageQueue | None = None
    mode: str = written("PULL")
    attachments: dict[str, str] | None = None


class QueryAssignmentResponseBody(Body):
    """The queues assigned; absent: keep what you have."""

    message_queue_assignments: list[MessageQueueAssignment] | None = None


class SetMessageRequestModeRequestBody(Body):
    """How a group reads a topic."""

    topic: str | None = None
    consumer_group: str | None = None
    mode: str = written("PULL")
    """`PULL` or `POP`."""
    pop_share_queue_num: i32 = written(0)


class MessageRequestModeSerializeWrapper(Body):
    """Mode by group by topic, as in `config/messageRequestMode.json`."""

    message_request_mode_map: dict[str, dict[str, SetMessageRequestModeRequestBody]] = msgspec.field(
        default_factory=new_dict
    )
