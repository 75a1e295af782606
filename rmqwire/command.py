"""`RemotingCommand`: one decoded header with its body, and how header classes are read from and written to it.

A command keeps the ext fields as they came (JSON text or a dict) and decodes them once into the declared header
class. Source: `RemotingCommand`, `RemotingSerializable` (4.7.0, 5.5.0).
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from .codes import LANGUAGE_BYTES, OUR_VERSION
from .declare import Header, NoFields
from .dialect_reader import NOT_STANDARD
from .errors import UnknownSerialization
from .frames import JSON, ROCKETMQ, Frame, encode_frame
from .header_binary import decode_binary, encode_binary
from .header_json import decode_lenient, decode_standard, ext_of, from_ext, language_of, read_ext, typed_decoder

__all__ = [
    "FLAG_ONEWAY",
    "FLAG_RESPONSE",
    "LANGUAGE",
    "RemotingCommand",
    "decode_command",
    "encode_command",
    "ext_of",
    "new_request",
]

FLAG_RESPONSE = 1
FLAG_ONEWAY = 2

LANGUAGE = "JAVA"
"""What we call ourselves on the wire: every client version knows the name, and official tools compare it."""

H = TypeVar("H", bound=Header)
C = TypeVar("C", bound="RemotingCommand")


class RemotingCommand:
    """A request or response as it stands in a frame.

    Attributes:
        code: Request or response code.
        flag: Bit 0 response, bit 1 oneway.
        opaque: The sender's number, echoed in the answer.
        version: The sender's `MQVersion` ordinal.
        language: The sender's language name, None when unknown.
        remark: Error text of a response.
        body: The opaque rest of the frame.
        serialization: 0 JSON, 1 ROCKETMQ.
    """

    __slots__ = (
        "_ext",
        "_raw",
        "body",
        "code",
        "flag",
        "language",
        "opaque",
        "remark",
        "serialization",
        "version",
    )

    def __init__(
        self,
        code: int,
        *,
        flag: int = 0,
        opaque: int = 0,
        version: int = OUR_VERSION,
        language: str | None = LANGUAGE,
        remark: str | None = None,
        ext: dict[str, str] | None = None,
        body: bytes = b"",
        serialization: int = JSON,
    ) -> None:
        self.code = code
        self.flag = flag
        self.opaque = opaque
        self.version = version
        self.language = language
        self.remark = remark
        self._ext = ext
        self._raw: bytes | msgspec.Raw = b""
        self.body = body
        self.serialization = serialization

    def __repr__(self) -> str:
        return f"<RemotingCommand code={self.code} opaque={self.opaque} flag={self.flag} body={len(self.body)} B>"

    @property
    def is_response(self) -> bool:
        return bool(self.flag & FLAG_RESPONSE)

    @property
    def is_oneway(self) -> bool:
        return bool(self.flag & FLAG_ONEWAY)

    @property
    def ext(self) -> dict[str, str]:
        """All ext fields as text, the unknown ones included.

        Raises:
            MalformedHeader: `extFields` is not an object.
        """
        if self._ext is None:
            self._ext = read_ext(self._raw) if self._raw else {}
        return self._ext

    def header(self, declared: type[H]) -> H:
        """Read the ext fields as a declared header class.

        Numbers that do not parse leave the field at its default and unknown fields are skipped, as in Java. Unlike
        Java, `1` is true as well, and whole numbers may be written `1.0`.

        Raises:
            MissingField: A required field is absent or unreadable.
            MalformedHeader: `extFields` is not an object.
        """
        if self._raw:
            try:
                return typed_decoder(declared).decode(self._raw)  # type: ignore[no-any-return]
            except NOT_STANDARD:  # numbers for text, bad numbers, absent fields: field by field
                pass
        return from_ext(declared, self.ext)


def decode_command(frame: Frame, kind: type[C] = RemotingCommand) -> C:  # type: ignore[assignment]
    """Read the header of one frame.

    Args:
        frame: What `FrameReader` gave.
        kind: A subclass of `RemotingCommand` to make instead.

    Raises:
        MalformedHeader: The header does not parse.
        UnknownSerialization: The serialization byte is neither 0 nor 1.
    """
    serialization, header, body = frame
    command = kind.__new__(kind)
    command.body = body
    command.serialization = serialization
    if serialization == JSON:
        try:
            parsed = decode_standard(header)
        except NOT_STANDARD:
            parsed = decode_lenient(header)
        command.code = parsed.code
        command.flag = parsed.flag
        command.opaque = parsed.opaque
        command.version = parsed.version
        language = parsed.language
        command.language = language if language in LANGUAGE_BYTES else language_of(language)
        command.remark = parsed.remark
        command._raw = parsed.ext_fields
        command._ext = None
    elif serialization == ROCKETMQ:
        code, language_name, version, opaque, flag, remark, ext = decode_binary(header)
        command.code = code
        command.flag = flag
        command.opaque = opaque
        command.version = version
        command.language = language_name
        command.remark = remark
        command._raw = b""
        command._ext = ext if ext is not None else {}
    else:
        raise UnknownSerialization(f"serialization {serialization}")
    return command


def encode_command(command: RemotingCommand) -> bytes:
    """Write a whole frame, members of the JSON header in the official alphabetical order."""
    ext = command.ext
    language = command.language or "OTHER"
    if command.serialization == ROCKETMQ:
        header = encode_binary(
            command.code, language, command.version, command.opaque, command.flag, command.remark, ext or None
        )
        return encode_frame(ROCKETMQ, header, command.body)
    members: dict[str, Any] = {"code": command.code}
    if ext:
        members["extFields"] = ext
    members["flag"] = command.flag
    members["language"] = language
    members["opaque"] = command.opaque
    if command.remark is not None:
        members["remark"] = command.remark
    members["serializeTypeCurrentRPC"] = "JSON"
    members["version"] = command.version
    return encode_frame(JSON, msgspec.json.encode(members), command.body)


def new_request(
    code: int, header: Header | None, opaque: int, *, body: bytes = b"", oneway: bool = False
) -> RemotingCommand:
    """Make a request of ours, to be written with `encode_command`."""
    ext = ext_of(header) if header is not None and header.__class__ is not NoFields else None
    return RemotingCommand(code, flag=FLAG_ONEWAY if oneway else 0, opaque=opaque, ext=ext, body=body)
