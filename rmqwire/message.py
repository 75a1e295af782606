"""A message as it is stored and as a pull reply carries it, and the entries of a client's batch.

What it is for: bytes to values and back, one pass, with `struct`. What it must not do: know files, queues or
clocks. The layouts are stated once more, declaratively, in `rmqwire.layouts`; a test holds the two equal.

Every number is big-endian and signed. A record is
`size i32 | magic i32 | body crc i32 | queue id i32 | flag i32 | queue offset i64 | physical offset i64 |
sys flag i32 | born timestamp i64 | born host 8 or 20 | store timestamp i64 | store host 8 or 20 |
reconsume times i32 | prepared transaction offset i64 | body length i32, body | topic length u8 or i16, topic |
properties length i16, properties`.

Source: `MessageExtEncoder`, `MessageDecoder`, `CommitLog.checkMessageAndReturnSize`, 4.7.0 and 5.5.0.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec

from .checksum import crc32
from .errors import MalformedMessage
from .hashing import java_string_hash, tags_code
from .properties import (
    PROPERTY_DELAY,
    PROPERTY_KEYS,
    PROPERTY_TAGS,
    PROPERTY_UNIQ_KEY,
    decode_properties,
    encode_properties,
    message_keys,
)

__all__ = [
    "BLANK_MAGIC",
    "MESSAGE_MAGIC_V1",
    "MESSAGE_MAGIC_V2",
    "PROPERTIES_SIZE_MAX_BYTES",
    "PROPERTY_DELAY",
    "PROPERTY_KEYS",
    "PROPERTY_TAGS",
    "PROPERTY_UNIQ_KEY",
    "BatchEntry",
    "StoredMessage",
    "body_crc",
    "decode_host",
    "decode_message_id",
    "decode_properties",
    "decode_record",
    "encode_batch",
    "encode_host",
    "encode_message_id",
    "encode_properties",
    "encode_record",
    "iter_records",
    "java_string_hash",
    "message_keys",
    "record_size",
    "split_batch",
    "tags_code",
]

MESSAGE_MAGIC_V1 = -626843481
"""0xDAA320A7: the topic's length is one byte."""
MESSAGE_MAGIC_V2 = -626843477
"""0xDAA320AB, 5.x: the topic's length is two bytes; a 4.x broker cannot read it."""
BLANK_MAGIC = -875286124
"""0xCBD43194: filler from here to the end of the file."""

SYS_FLAG_COMPRESSED = 0x1
SYS_FLAG_MULTI_TAGS = 0x2
SYS_FLAG_TRANSACTION_NOT = 0x0
SYS_FLAG_TRANSACTION_PREPARED = 0x4
SYS_FLAG_TRANSACTION_COMMIT = 0x8
SYS_FLAG_TRANSACTION_ROLLBACK = 0xC
SYS_FLAG_TRANSACTION_MASK = 0xC
SYS_FLAG_BORN_HOST_V6 = 0x10
SYS_FLAG_STORE_HOST_V6 = 0x20
SYS_FLAG_NEED_UNWRAP = 0x40
SYS_FLAG_INNER_BATCH = 0x80
SYS_FLAG_COMPRESSION_TYPE_MASK = 0x700

PROPERTIES_SIZE_MAX_BYTES = 32767
"""The properties' length is a Java short."""
TOPIC_V1_MAX_BYTES = 127
RECORD_FIXED_BYTES = 91
"""A version 1 record with both hosts IPv4, without body, topic and properties."""

_HEADER = {(born, store): struct.Struct(f">iiiiiqqiq{born}sq{store}siqi") for born in (8, 20) for store in (8, 20)}
_SIZE_MAGIC = struct.Struct(">ii")
_SYS_FLAG = struct.Struct(">i")
_SHORT = struct.Struct(">h")
_BATCH_HEAD = struct.Struct(">iiiii")
_PORT = struct.Struct(">i")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """One record of the commit log.

    Times are Unix milliseconds, hosts are IP bytes followed by a port i32, offsets of the log are bytes.
    """

    queue_id: int
    flag: int
    """The producer's own number; the server does not look at it."""
    queue_offset: int
    physical_offset: int
    sys_flag: int
    born_timestamp: int
    born_host: bytes
    store_timestamp: int
    store_host: bytes
    reconsume_times: int
    prepared_transaction_offset: int
    body: bytes
    topic: str
    properties: bytes
    """The property string as stored; `decode_properties` reads it."""
    body_crc: int
    """CRC-32 of the body as stored, without the top bit."""
    size: int
    """Bytes of the whole record."""
    magic: int = MESSAGE_MAGIC_V1


class BatchEntry(msgspec.Struct, frozen=True, gc=False):
    """One message inside the body of a client's batch."""

    flag: int
    body: bytes
    properties: bytes


def body_crc(body: bytes) -> int:
    """CRC-32 without the top bit, as `UtilAll.crc32`."""
    return crc32(body) & 0x7FFFFFFF


def record_size(
    body_length: int, topic_length: int, properties_length: int, *, sys_flag: int = 0, v2: bool = False
) -> int:
    """Bytes of a record; lengths in bytes."""
    size = RECORD_FIXED_BYTES + body_length + topic_length + properties_length + (1 if v2 else 0)
    if sys_flag & SYS_FLAG_BORN_HOST_V6:
        size += 12
    if sys_flag & SYS_FLAG_STORE_HOST_V6:
        size += 12
    return size


def encode_record(
    *,
    topic: str,
    queue_id: int,
    body: bytes,
    properties: bytes,
    queue_offset: int,
    physical_offset: int,
    flag: int,
    sys_flag: int,
    born_timestamp: int,
    born_host: bytes,
    store_timestamp: int,
    store_host: bytes,
    reconsume_times: int = 0,
    prepared_transaction_offset: int = 0,
) -> bytes:
    """One record. The two host bits of `sys_flag` are set from the hosts' lengths.

    Raises:
        MalformedMessage: a host that is neither 8 nor 20 bytes, properties over 32,767 bytes, or a topic over
            32,767 bytes.
    """
    header = _HEADER.get((len(born_host), len(store_host)))
    if header is None:
        raise MalformedMessage(f"hosts of {len(born_host)} and {len(store_host)} bytes, expected 8 or 20")
    if len(properties) > PROPERTIES_SIZE_MAX_BYTES:
        raise MalformedMessage(f"properties of {len(properties)} bytes, the limit is {PROPERTIES_SIZE_MAX_BYTES}")
    field, magic = topic_field(topic)
    if len(born_host) == 20:
        sys_flag |= SYS_FLAG_BORN_HOST_V6
    if len(store_host) == 20:
        sys_flag |= SYS_FLAG_STORE_HOST_V6
    size = header.size + len(body) + len(field) + 2 + len(properties)
    head = header.pack(
        size,
        magic,
        crc32(body) & 0x7FFFFFFF,
        queue_id,
        flag,
        queue_offset,
        physical_offset,
        sys_flag,
        born_timestamp,
        born_host,
        store_timestamp,
        store_host,
        reconsume_times,
        prepared_transaction_offset,
        len(body),
    )
    return b"".join((head, body, field, _SHORT.pack(len(properties)), properties))


def topic_field(topic: str) -> tuple[bytes, int]:
    """The topic with its length in front, and the magic number that goes with that length's width.

    Raises:
        MalformedMessage: the topic has more than 32,767 bytes.
    """
    raw = topic.encode("utf-8")
    if len(raw) <= TOPIC_V1_MAX_BYTES:
        return bytes((len(raw),)) + raw, MESSAGE_MAGIC_V1
    if len(raw) > 32767:
        raise MalformedMessage(f"topic of {len(raw)} bytes")
    return _SHORT.pack(len(raw)) + raw, MESSAGE_MAGIC_V2


def decode_record(data: bytes, position: int = 0, *, check_crc: bool = False) -> StoredMessage:
    """Read the record that begins at `position`.

    Raises:
        MalformedMessage: it is cut off, its magic is not a message's, its lengths contradict each other, or
            (`check_crc`) its body is not the one it was written with.
    """
    available = len(data) - position
    if available < 8:
        raise MalformedMessage(f"{available} bytes are no record")
    size, magic = _SIZE_MAGIC.unpack_from(data, position)
    if magic == MESSAGE_MAGIC_V1:
        topic_width = 1
    elif magic == MESSAGE_MAGIC_V2:
        topic_width = 2
    else:
        raise MalformedMessage(f"magic {magic & 0xFFFFFFFF:08x} is not a message's")
    if size < RECORD_FIXED_BYTES or size > available:
        raise MalformedMessage(f"record of {size} bytes where {available} are left")
    (sys_flag,) = _SYS_FLAG.unpack_from(data, position + 36)
    header = _HEADER[20 if sys_flag & SYS_FLAG_BORN_HOST_V6 else 8, 20 if sys_flag & SYS_FLAG_STORE_HOST_V6 else 8]
    end = position + size
    if header.size + topic_width + 2 > size:
        raise MalformedMessage(f"record of {size} bytes is shorter than its header")
    fields = header.unpack_from(data, position)
    body_at = position + header.size
    topic_length_at = body_at + fields[14]
    if fields[14] < 0 or topic_length_at + topic_width + 2 > end:
        raise MalformedMessage(f"body of {fields[14]} bytes in a record of {size}")
    if topic_width == 1:
        topic_length = data[topic_length_at]
    else:
        (topic_length,) = _SHORT.unpack_from(data, topic_length_at)
    topic_at = topic_length_at + topic_width
    properties_length_at = topic_at + topic_length
    # Java reads the one byte as signed, so a length over 127 is damage there too.
    if topic_length < 0 or (topic_width == 1 and topic_length > 127) or properties_length_at + 2 > end:
        raise MalformedMessage(f"topic of {topic_length} bytes in a record of {size}")
    (properties_length,) = _SHORT.unpack_from(data, properties_length_at)
    if properties_length < 0 or properties_length_at + 2 + properties_length != end:
        raise MalformedMessage(f"the lengths in a record of {size} bytes do not add up to it")
    body = bytes(data[body_at:topic_length_at])
    if check_crc and crc32(body) & 0x7FFFFFFF != fields[2]:
        raise MalformedMessage("the body's checksum is wrong")
    try:
        topic = bytes(data[topic_at:properties_length_at]).decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedMessage("the topic is not UTF-8") from error
    return StoredMessage(
        size=size,
        magic=magic,
        body_crc=fields[2],
        queue_id=fields[3],
        flag=fields[4],
        queue_offset=fields[5],
        physical_offset=fields[6],
        sys_flag=sys_flag,
        born_timestamp=fields[8],
        born_host=fields[9],
        store_timestamp=fields[10],
        store_host=fields[11],
        reconsume_times=fields[12],
        prepared_transaction_offset=fields[13],
        body=body,
        topic=topic,
        properties=bytes(data[properties_length_at + 2 : end]),
    )


def iter_records(data: bytes) -> Iterator[StoredMessage]:
    """The records of a pull reply's body, which is nothing but records one after the other.

    Raises:
        MalformedMessage: as `decode_record`.
    """
    position = 0
    while position < len(data):
        message = decode_record(data, position)
        yield message
        position += message.size


def encode_host(ip: str, port: int) -> bytes:
    """IP bytes (4 or 16) and the port as an i32.

    Raises:
        ValueError: `ip` is no numeric address.
    """
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        return socket.inet_pton(family, ip) + _PORT.pack(port)
    except (OSError, struct.error) as error:
        raise ValueError(f"{ip}:{port} is no numeric address and port") from error


def decode_host(host: bytes) -> tuple[str, int]:
    """The address and port of 8 (IPv4) or 20 (IPv6) bytes.

    Raises:
        MalformedMessage: any other length.
    """
    if len(host) not in (8, 20):
        raise MalformedMessage(f"a host of {len(host)} bytes, expected 8 or 20")
    family = socket.AF_INET if len(host) == 8 else socket.AF_INET6
    return socket.inet_ntop(family, host[:-4]), _PORT.unpack(host[-4:])[0]


def encode_message_id(store_host: bytes, physical_offset: int) -> str:
    """The offset id that replies carry as `msgId`: upper-case hexadecimal of store host and physical offset.

    Source: `MessageDecoder.createMessageId`.
    """
    return (store_host + physical_offset.to_bytes(8, "big", signed=True)).hex().upper()


def decode_message_id(message_id: str) -> tuple[bytes, int]:
    """Store host bytes and physical offset of an offset id.

    Raises:
        MalformedMessage: it is not 32 or 56 hexadecimal digits.
    """
    if len(message_id) not in (32, 56):
        raise MalformedMessage(f"a message id of {len(message_id)} characters, expected 32 or 56")
    try:
        raw = bytes.fromhex(message_id)
    except ValueError as error:
        raise MalformedMessage("a message id that is not hexadecimal") from error
    if len(raw) * 2 != len(message_id):
        raise MalformedMessage("a message id with blanks")
    return raw[:-8], int.from_bytes(raw[-8:], "big", signed=True)


def split_batch(body: bytes) -> list[BatchEntry]:
    """The entries of a batch's body; magic and checksum in them are ignored, as Java does.

    An entry is `size i32 | magic i32 | body crc i32 | flag i32 | body length i32, body | properties length i16,
    properties`.

    Raises:
        MalformedMessage: lengths that are negative or reach over the end of the body.

    Source: `MessageExtEncoder.encode(MessageExtBatch, ...)`, `MessageDecoder.decodeMessage`.
    """
    entries: list[BatchEntry] = []
    append = entries.append
    position, end = 0, len(body)
    unpack_head = _BATCH_HEAD.unpack_from
    unpack_short = _SHORT.unpack_from
    try:
        while position < end:
            _, _, _, flag, body_length = unpack_head(body, position)
            body_at = position + 20
            properties_at = body_at + body_length + 2
            if body_length < 0 or properties_at > end:
                raise MalformedMessage(f"batch entry at {position}: body of {body_length} bytes")
            (properties_length,) = unpack_short(body, properties_at - 2)
            position = properties_at + properties_length
            if properties_length < 0 or position > end:
                raise MalformedMessage(f"batch entry: properties of {properties_length} bytes")
            append(BatchEntry(flag, body[body_at : properties_at - 2], body[properties_at:position]))
    except struct.error as error:
        raise MalformedMessage(f"batch entry at {position} is cut off") from error
    return entries


def encode_batch(entries: Iterable[BatchEntry]) -> bytes:
    """A batch's body as a client makes it: magic and checksum 0.

    Source: `MessageDecoder.encodeMessage`.
    """
    parts = []
    for entry in entries:
        size = 22 + len(entry.body) + len(entry.properties)
        parts.append(_BATCH_HEAD.pack(size, 0, 0, entry.flag, len(entry.body)))
        parts.append(entry.body)
        parts.append(_SHORT.pack(len(entry.properties)))
        parts.append(entry.properties)
    return b"".join(parts)
