"""The errors of the wire: what the peer's bytes or fields got wrong.

`WireError`: the bytes cannot be read as frames, the connection is closed.
`RequestError`: the frame is fine, the request is not; it is answered with `response_code`.
"""

from __future__ import annotations

from typing import ClassVar

from .codes import ResponseCode


class RmqError(Exception):
    """Base of every error this project raises on purpose."""


class WireError(RmqError):
    """The peer's bytes are not RocketMQ remoting; the connection has to be closed."""


class FrameTooLarge(WireError):
    """A declared frame length over the limit, found before anything is buffered for it."""


class MalformedFrame(WireError):
    """Lengths that contradict each other."""


class MalformedHeader(WireError):
    """A JSON or binary header that does not parse."""


class UnknownSerialization(WireError):
    """The high byte of the header word names neither JSON (0) nor ROCKETMQ (1)."""


class MalformedMessage(WireError):
    """A stored record or batch entry whose lengths contradict each other."""


class MalformedBody(WireError):
    """A request body that is not what its request code promises."""


class RequestError(RmqError):
    """A request that is answered with an error code; the connection goes on."""

    response_code: ClassVar[int] = ResponseCode.SYSTEM_ERROR

    def __init__(self, remark: str, code: int | None = None) -> None:
        super().__init__(remark)
        self.remark = remark
        self.code = self.response_code if code is None else code


class MissingField(RequestError):
    """A required header field is absent or unreadable; Java answers SYSTEM_ERROR."""
