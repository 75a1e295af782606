"""Messages as the official client shows them: ids, properties, the body uncompressed, `toString`.

Source: `MessageDecoder`, `MessageExt`, `MessageClientExt` (5.5.0).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from rmqwire.errors import RmqError
from rmqwire.hashing import hash_order, unsigned_string_hash
from rmqwire.message import decode_host, encode_message_id, iter_records
from rmqwire.properties import PROPERTY_KEYS, PROPERTY_TAGS, PROPERTY_UNIQ_KEY, decode_properties

from .errors import AdminError
from .text import human_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rmqwire.message import StoredMessage

_COMPRESSED = 0x1
_COMPRESSION_TYPE = 0x7 << 8
_ZLIB = (0, 3 << 8)
_PROPERTY_BUCKETS = 128
_BODY_SIZE_MAX_BYTES = 64 * 1024 * 1024


class Message:
    """One stored message.

    Args:
        stored: The record.
        broker_name: Where it was pulled from; None when it was looked up.
    """

    def __init__(self, stored: StoredMessage, broker_name: str | None = None) -> None:
        self.stored = stored
        self.broker_name = broker_name
        self.properties = decode_properties(stored.properties)
        self.body = _inflated(stored)

    @property
    def offset_id(self) -> str:
        """The id made of store host and physical offset."""
        return encode_message_id(self.stored.store_host, self.stored.physical_offset)

    @property
    def message_id(self) -> str:
        """The id that the client made, else the offset id."""
        return self.properties.get(PROPERTY_UNIQ_KEY) or self.offset_id

    @property
    def tags(self) -> str | None:
        """The tags."""
        return self.properties.get(PROPERTY_TAGS)

    @property
    def keys(self) -> str | None:
        """The keys, separated by blanks."""
        return self.properties.get(PROPERTY_KEYS)

    def properties_text(self) -> str:
        """The properties as a `HashMap` prints them."""
        names = hash_order(self.properties, unsigned_string_hash, _PROPERTY_BUCKETS)
        return "{" + ", ".join(f"{name}={self.properties[name]}" for name in names) + "}"

    def text(self, *, with_body: bool = True) -> str:
        """`MessageExt.toString`; without a body, that of one which was not read."""
        stored = self.stored
        signed = ", ".join(str(byte - 256 if byte > 127 else byte) for byte in self.body)
        body = f"[{signed}]" if with_body else "null"
        transaction = self.properties.get(PROPERTY_UNIQ_KEY) if stored.prepared_transaction_offset else None
        return (
            f"MessageExt [brokerName={self.broker_name or 'null'}, queueId={stored.queue_id}, "
            f"storeSize={stored.size}, queueOffset={stored.queue_offset}, sysFlag={stored.sys_flag}, "
            f"bornTimestamp={stored.born_timestamp}, bornHost=/{host_text(stored.born_host)}, "
            f"storeTimestamp={stored.store_timestamp}, storeHost=/{host_text(stored.store_host)}, "
            f"msgId={self.offset_id}, commitLogOffset={stored.physical_offset}, bodyCRC={stored.body_crc}, "
            f"reconsumeTimes={stored.reconsume_times}, "
            f"preparedTransactionOffset={stored.prepared_transaction_offset}, "
            f"toString()=Message{{topic='{stored.topic}', flag={stored.flag}, "
            f"properties={self.properties_text()}, body={body}, transactionId='{transaction or 'null'}'}}]"
        )

    def facts(self) -> dict[str, Any]:
        """What `--json` shows of it."""
        stored = self.stored
        return {
            "msgId": self.message_id,
            "offsetMsgId": self.offset_id,
            "topic": stored.topic,
            "tags": self.tags,
            "keys": self.keys,
            "brokerName": self.broker_name,
            "queueId": stored.queue_id,
            "queueOffset": stored.queue_offset,
            "commitLogOffset": stored.physical_offset,
            "reconsumeTimes": stored.reconsume_times,
            "bornTimestamp": stored.born_timestamp,
            "bornHost": host_text(stored.born_host),
            "storeTimestamp": stored.store_timestamp,
            "storeHost": host_text(stored.store_host),
            "sysFlag": stored.sys_flag,
            "properties": self.properties,
            "body": self.body.decode("utf-8", "replace"),
        }

    def shown(self) -> list[tuple[str, object]]:
        """The lines in which lookups show it."""
        stored = self.stored
        return [
            ("Topic:", stored.topic),
            ("Tags:", f"[{self.tags or 'null'}]"),
            ("Keys:", f"[{self.keys or 'null'}]"),
            ("Queue ID:", stored.queue_id),
            ("Queue Offset:", stored.queue_offset),
            ("CommitLog Offset:", stored.physical_offset),
            ("Reconsume Times:", stored.reconsume_times),
            ("Born Timestamp:", human_time(stored.born_timestamp)),
            ("Store Timestamp:", human_time(stored.store_timestamp)),
            ("Born Host:", host_text(stored.born_host)),
            ("Store Host:", host_text(stored.store_host)),
            ("System Flag:", stored.sys_flag),
            ("Properties:", self.properties_text()),
        ]


def host_text(host: bytes) -> str:
    """`ip:port` of a packed address."""
    ip, port = decode_host(host)
    return f"{ip}:{port}"


def read_messages(body: bytes, broker_name: str | None = None) -> Iterator[Message]:
    """Read the records of an answer.

    Raises:
        AdminError: They are none.
    """
    try:
        for stored in iter_records(body):
            yield Message(stored, broker_name)
    except RmqError as cause:
        raise AdminError("the broker answered records that do not parse", str(cause)) from cause


def _inflated(stored: StoredMessage) -> bytes:
    """The body as the producer gave it; one in LZ4 or ZSTD as it is stored."""
    if not stored.sys_flag & _COMPRESSED or stored.sys_flag & _COMPRESSION_TYPE not in _ZLIB:
        return stored.body
    inflater = zlib.decompressobj()
    try:
        return inflater.decompress(stored.body, _BODY_SIZE_MAX_BYTES)
    except zlib.error:
        return stored.body
