"""What becomes of a handler's result: bytes to send now, later, or never.

What it is for: answers that are ready join the write of their read; a `Deferred` answers by itself when it fires, and
whatever fails is answered as an error. What it must not do: write to a connection that others are answered on.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from rmqwire.codes import ResponseCode, name_of_request
from rmqwire.command import FLAG_ONEWAY
from rmqwire.errors import RequestError

from .replies import Reply, Result, encode_reply

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from .dispatch import Request

_log = Logger()


def settle(request: Request, result: Result, out: list[bytes]) -> None:
    """Add an answer that is there to `out`; see to it that one that is not is sent when it comes."""
    if isinstance(result, Deferred):
        result.addErrback(_failed, request)
        result.addCallback(_late, request)
        result.addErrback(lambda failure: _log.failure("a late answer was lost", failure))
    elif not request.flag & FLAG_ONEWAY:
        if isinstance(result, Reply):
            out.append(encode_reply(request.opaque, result))
        elif isinstance(result, bytes):
            out.append(result)


def unexpected(request: Request, cause: BaseException | None) -> Reply:
    """Answer a request whose handler failed by a fault of ours, and log where."""
    trace = "".join(traceback.format_exception(cause)) if cause is not None else ""
    _log.error("request {name} failed: {trace}", name=name_of_request(request.code), trace=trace)
    return Reply(code=ResponseCode.SYSTEM_ERROR, remark=f"{type(cause).__name__}: {cause}"[:1024])


def _late(result: Reply | bytes | None, request: Request) -> None:
    if result is not None and not request.flag & FLAG_ONEWAY:
        request.connection.send(result if isinstance(result, bytes) else encode_reply(request.opaque, result))


def _failed(failure: Failure, request: Request) -> Reply:
    cause = failure.value
    if isinstance(cause, RequestError):
        return Reply(code=cause.code, remark=cause.remark)
    return unexpected(request, failure.value)
