"""Single fields of a stored record, read without decoding the rest of it.

For whoever looks at many records and wants few of them; the whole is `message.decode_record`.
"""

from __future__ import annotations

from .errors import MalformedMessage
from .message import MESSAGE_MAGIC_V1, SYS_FLAG_BORN_HOST_V6, SYS_FLAG_STORE_HOST_V6

_MAGIC_AT, _SYS_FLAG_LOW_BYTE_AT = 4, 39
_BODY_LENGTH_AT = 84
"""Of a record with two IPv4 hosts; an IPv6 host takes 12 bytes more."""
_MAGIC_V1 = (MESSAGE_MAGIC_V1 & 0xFFFFFFFF).to_bytes(4, "big")


def record_properties(record: bytes) -> bytes:
    """Give the property string of one record.

    Raises:
        MalformedMessage: Its lengths contradict each other.
    """
    if len(record) <= _BODY_LENGTH_AT:
        raise MalformedMessage(f"{len(record)} bytes are no record")
    flags = record[_SYS_FLAG_LOW_BYTE_AT]
    at = _BODY_LENGTH_AT
    if flags & (SYS_FLAG_BORN_HOST_V6 | SYS_FLAG_STORE_HOST_V6):
        at += 12 * (bool(flags & SYS_FLAG_BORN_HOST_V6) + bool(flags & SYS_FLAG_STORE_HOST_V6))
    at += 4 + int.from_bytes(record[at : at + 4], "big")
    if record[_MAGIC_AT : _MAGIC_AT + 4] == _MAGIC_V1:
        at += 1 + int.from_bytes(record[at : at + 1], "big")
    else:
        at += 2 + int.from_bytes(record[at : at + 2], "big")
    properties = record[at + 2 :]
    if at + 2 > len(record) or len(properties) != int.from_bytes(record[at : at + 2], "big"):
        raise MalformedMessage(f"the lengths in a record of {len(record)} bytes do not add up to it")
    return properties
