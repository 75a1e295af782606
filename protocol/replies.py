"""What a handler may answer: a `Reply`, ready bytes, a staged reply, or a Deferred of a `Reply`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec
from twisted.internet.defer import Deferred

from rmqwire.codes import OUR_VERSION, ResponseCode
from rmqwire.command import FLAG_RESPONSE, LANGUAGE, ext_of
from rmqwire.declare import Header
from rmqwire.frames import JSON, encode_frame


class Reply(msgspec.Struct):
    """An answer that the dispatcher encodes.

    Attributes:
        header: The reply's fields; None leaves `extFields` out unless `ext` has some.
        code: Response code.
        remark: Error text, left out when None.
        body: The frame's body.
        ext: Ext fields that no header class declares (MSG_REGION, TRACE_ON).
    """

    header: Header | None = None
    code: int = ResponseCode.SUCCESS
    remark: str | None = None
    body: bytes = b""
    ext: dict[str, str] | None = None


class Staged:
    """A reply that stands once the store has committed what the request staged.

    Called exactly once: with None after the commit, with the error when the commit failed.
    """

    __slots__ = ("finish",)

    def __init__(self, finish: Callable[[Exception | None], Result]) -> None:
        self.finish = finish


Result: TypeAlias = "Reply | bytes | Staged | Deferred[Reply | bytes | None] | None"
"""`bytes` is a whole frame; None means that nothing is ever answered (oneway, or dropped on purpose)."""


def encode_reply(opaque: int, reply: Reply) -> bytes:
    """Write the answer to request `opaque`.

    Always a JSON header: the official servers answer so by default, and every client version reads it (3.2.6 knows
    no other).
    """
    members: dict[str, object] = {"code": reply.code}
    ext = ext_of(reply.header) if reply.header is not None else None
    if reply.ext:
        ext = {**ext, **reply.ext} if ext else reply.ext
    if ext:
        members["extFields"] = ext
    members["flag"] = FLAG_RESPONSE
    members["language"] = LANGUAGE
    members["opaque"] = opaque
    if reply.remark is not None:
        members["remark"] = reply.remark
    members["serializeTypeCurrentRPC"] = "JSON"
    members["version"] = OUR_VERSION
    return encode_frame(JSON, msgspec.json.encode(members), reply.body)
