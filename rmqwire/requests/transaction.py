"""Requests that end and check transactions."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i32, i64

from .base import RpcRequest


@request(
    RequestCode.END_TRANSACTION,
    served_by=Role.BROKER,
    source="EndTransactionRequestHeader 5.5.0",
    oneway=True,
)
class EndTransaction(RpcRequest):
    """Commit or roll a half message back."""

    producer_group: str
    tran_state_table_offset: i64
    """`queue_offset` of the send answer."""
    commit_log_offset: i64
    """Physical offset, as in the message id of the send answer."""
    commit_or_rollback: i32
    """0 unknown, 8 commit, 12 rollback."""
    msg_id: str
    from_transaction_check: bool | None = None
    transaction_id: str | None = None
    topic: str | None = None


@request(
    RequestCode.CHECK_TRANSACTION_STATE,
    served_by=Role.CLIENT,
    source="CheckTransactionStateRequestHeader 5.5.0",
    body="the stored record of the half message, topic and queue restored",
    oneway=True,
)
class CheckTransactionState(RpcRequest):
    """Ask a producer what became of a transaction; it answers with `EndTransaction`."""

    tran_state_table_offset: i64
    commit_log_offset: i64
    msg_id: str | None = None
    transaction_id: str | None = None
    offset_msg_id: str | None = None
    topic: str | None = None


@request(
    RequestCode.RESUME_CHECK_HALF_MESSAGE,
    served_by=Role.BROKER,
    source="ResumeCheckHalfMessageRequestHeader 5.5.0",
)
class ResumeCheckHalfMessage(Header):
    """Check a half message again that was given up."""

    msg_id: str | None = None
    topic: str | None = None
