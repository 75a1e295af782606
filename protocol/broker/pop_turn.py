"""Answering outside of the dispatcher's turn, where nobody else commits what was staged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqd.protocol.replies import Reply, Result, Staged, encode_reply
from rmqd.store.errors import StoreError
from rmqwire.codes import ResponseCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore

_log = Logger()


def commit(store: MessageStore) -> StoreError | None:
    """Commit what is staged; give the error when that failed."""
    try:
        store.commit()
    except StoreError as failed:
        return failed
    return None


def answer_now(store: MessageStore, request: Request, handle: Callable[[], Result]) -> None:
    """Run a handler for a request that waited, and send its answer."""
    try:
        result = handle()
        if isinstance(result, Staged):
            result = result.finish(commit(store))
    except Exception as cause:  # noqa: BLE001  what woke this request belongs to somebody else
        _log.failure("a held request failed")
        result = Reply(code=ResponseCode.SYSTEM_ERROR, remark=f"{type(cause).__name__}: {cause}")
    if isinstance(result, Deferred):
        result.addErrback(lambda failure: Reply(code=ResponseCode.SYSTEM_ERROR, remark=failure.getErrorMessage()))
        result.addCallback(lambda late: _send(request, late))
        result.addErrback(lambda failure: _log.failure("an answer was lost", failure))
    else:
        _send(request, result)


def _send(request: Request, result: Any) -> None:
    if isinstance(result, bytes):
        request.connection.send(result)
    elif isinstance(result, Reply):
        request.connection.send(encode_reply(request.opaque, result))
