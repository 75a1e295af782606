"""Requests by which the queues of a topic are shared among consumers: locks and assignment by the broker."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request

from .base import RpcRequest


@request(
    RequestCode.LOCK_BATCH_MQ,
    served_by=Role.BROKER,
    source="LockBatchMqRequestHeader 5.5.0",
    body="LockBatchRequestBody",
    reply_body="LockBatchResponseBody",
)
class LockBatchMq(RpcRequest):
    """Lock queues for one orderly consumer."""


@request(
    RequestCode.UNLOCK_BATCH_MQ,
    served_by=Role.BROKER,
    source="UnlockBatchMqRequestHeader 5.5.0",
    body="UnlockBatchRequestBody",
)
class UnlockBatchMq(RpcRequest):
    """Give locked queues back."""


@request(
    RequestCode.QUERY_ASSIGNMENT,
    served_by=Role.BROKER,
    source="no header class; QueryAssignmentProcessor 5.5.0",
    body="QueryAssignmentRequestBody",
    reply_body="QueryAssignmentResponseBody",
)
class QueryAssignment(Header):
    """Ask which queues a consumer shall read, and how."""


@request(
    RequestCode.SET_MESSAGE_REQUEST_MODE,
    served_by=Role.BROKER,
    source="no header class; QueryAssignmentProcessor 5.5.0",
    body="SetMessageRequestModeRequestBody",
)
class SetMessageRequestMode(Header):
    """Let a group pull or pop a topic."""


@request(
    RequestCode.GET_ALL_MESSAGE_REQUEST_MODE,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    reply_body="MessageRequestModeSerializeWrapper",
)
class GetAllMessageRequestMode(Header):
    """Ask for the modes of all groups, as a slave does."""
