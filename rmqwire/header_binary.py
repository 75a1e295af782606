"""The binary header (`ROCKETMQ` serialization).

`code i16 | language u8 | version i16 | opaque i32 | flag i32 | remark length i32, remark | ext length i32, entries`,
an entry being `key length i16, key | value length i32, value`. Source: `RocketMQSerializable` (4.7.0, 5.5.0).
"""

from __future__ import annotations

from operator import itemgetter
from struct import Struct, error
from typing import Any

from . import speed
from .codes import LANGUAGE_BYTES, LANGUAGES
from .errors import MalformedHeader

_HEAD = Struct(">hBhiii")
_LENGTH = Struct(">i")
_ENTRY = Struct(">h")
_unpack_length = _LENGTH.unpack_from
_unpack_key_length = _ENTRY.unpack_from

BinaryHeader = tuple[int, "str | None", int, int, int, "str | None", "dict[str, str] | None"]
"""`(code, language, version, opaque, flag, remark, ext)`."""


def decode_binary(header: bytes) -> BinaryHeader:
    """Read a binary header.

    Returns:
        Code, language (None when the byte is unknown), version, opaque, flag, remark, ext fields. An entry of zero
        length reads back as absent, and bytes that are not UTF-8 as U+FFFD, as in Java.

    Raises:
        MalformedHeader: Lengths that leave the header.
    """
    try:
        code, language, version, opaque, flag, remark_size = _HEAD.unpack_from(header)
        at = 17
        remark = None
        if remark_size:
            remark = str(_take(header, at, remark_size), "utf-8", "replace")
            at += remark_size
        (ext_size,) = _unpack_length(header, at)
        at += 4
        ext = read_ext_bytes(_take(header, at, ext_size)) if ext_size else None
    except error as cause:
        raise MalformedHeader(f"binary header of {len(header)} bytes: {cause}") from cause
    return (
        code,
        LANGUAGES[language] if language < len(LANGUAGES) else None,
        version,
        opaque,
        flag,
        remark,
        ext,
    )


def _take(data: bytes, at: int, size: int) -> bytes:
    if size < 0 or at + size > len(data):
        raise MalformedHeader(f"binary header of {len(data)} bytes holds a field of {size} bytes at {at}")
    return data[at : at + size]


class _Shape:
    """Where keys and values stand in ext fields of one length, remembered from a header that was read entry by entry.

    A client's headers differ in values and seldom in lengths. All bytes that are no values (lengths and keys) make one
    big number under a mask, and so does the high bit of each byte of a value: one comparison proves that another header
    has the same entries, of the same lengths, in ASCII.
    """

    __slots__ = ("expected", "keys", "mask", "values")

    def __init__(self, data: bytes, entries: list[tuple[str, int, int]]) -> None:
        mask = bytearray(b"\xff" * len(data))
        for _, begin, end in entries:
            mask[begin:end] = b"\x80" * (end - begin)
        self.mask = int.from_bytes(mask, "big")
        self.expected = int.from_bytes(data, "big") & self.mask
        self.keys = [key for key, _, _ in entries]
        self.values: Any = itemgetter(*[slice(begin, end) for _, begin, end in entries])


_SHAPES_OF_SIZE_MAX = 4
_SIZES_MAX = 1024
_SHAPED_BYTES_MAX = 1024
_shapes: dict[int, list[_Shape]] = {}


def read_ext_bytes(data: bytes) -> dict[str, str]:
    """Read the ext fields of a binary header.

    Raises:
        MalformedHeader, struct.error: Lengths that leave the header.
    """
    if speed.read_ext is not None:
        ext = speed.read_ext(data)
        if ext is not None:
            return ext
    return _read_by_shape(data)


def _read_by_shape(data: bytes) -> dict[str, str]:
    shapes = _shapes.get(len(data))
    if shapes is not None:
        number = int.from_bytes(data, "big")
        for shape in shapes:
            if number & shape.mask == shape.expected:
                return dict(zip(shape.keys, shape.values(str(data, "latin-1")), strict=True))
    try:
        ext = _decode_ext(data, "strict")
    except UnicodeDecodeError:
        return _decode_ext(data, "replace")
    if (shapes is None or len(shapes) < _SHAPES_OF_SIZE_MAX) and len(data) <= _SHAPED_BYTES_MAX:
        _remember_shape(data, ext)
    return ext


def _remember_shape(data: bytes, ext: dict[str, str]) -> None:
    """Note where the entries of `data`, which read as `ext`, stand; not if any value is not ASCII."""
    if len(ext) < 2 or not all(map(str.isascii, ext.values())):
        return
    entries = []
    at, end = 0, len(data)
    for key, value in ext.items():
        size = len(value)
        head = _ENTRY.pack(len(key.encode())) + key.encode() + _LENGTH.pack(size)
        at += len(head)
        if data[at - len(head) : at] != head:  # an entry without a value, or a key that comes twice
            return
        entries.append((key, at, at + size))
        at += size
    if at == end:
        if len(_shapes) >= _SIZES_MAX:
            _shapes.clear()
        _shapes.setdefault(len(data), []).append(_Shape(data, entries))


def _decode_ext(data: bytes, errors: str) -> dict[str, str]:
    ext: dict[str, str] = {}
    at, end = 0, len(data)
    while at < end:
        (key_size,) = _unpack_key_length(data, at)
        value_at = at + 6 + key_size
        (value_size,) = _unpack_length(data, value_at - 4)
        if key_size < 0 or value_size < 0 or value_at + value_size > end:
            raise MalformedHeader(f"ext fields of {end} bytes hold an entry of {key_size}+{value_size} bytes at {at}")
        next_at = value_at + value_size
        if value_size:
            key = str(data[at + 2 : value_at - 4], "utf-8", errors)
            ext[key] = str(data[value_at:next_at], "utf-8", errors)
        at = next_at
    return ext


def encode_binary(
    code: int,
    language: str,
    version: int,
    opaque: int,
    flag: int,
    remark: str | None,
    ext: dict[str, str] | None,
) -> bytes:
    """Write a binary header. Codes above 32767 are truncated to 16 bits, as in Java."""
    entries = []
    for key, value in (ext or {}).items():
        key_bytes, value_bytes = key.encode(), value.encode()
        entries.append(_ENTRY.pack(len(key_bytes)) + key_bytes + _LENGTH.pack(len(value_bytes)) + value_bytes)
    ext_bytes = b"".join(entries)
    remark_bytes = remark.encode() if remark else b""
    short_code = (code + 0x8000 & 0xFFFF) - 0x8000
    short_version = (version + 0x8000 & 0xFFFF) - 0x8000
    head = _HEAD.pack(
        short_code,
        LANGUAGE_BYTES.get(language, LANGUAGE_BYTES["OTHER"]),
        short_version,
        opaque,
        flag,
        len(remark_bytes),
    )
    return head + remark_bytes + _LENGTH.pack(len(ext_bytes)) + ext_bytes
