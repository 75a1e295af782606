"""Every binary layout of the protocol and of the store's files, declared with `construct`.

What it is for: the manual, the engine of `rmqd dump`, and the oracle of tests that hold the fast `struct` paths equal
to it. What it must not do: be imported by what serves messages (it is a hundred times slower), or hand its
containers to other modules as values.

All numbers are big-endian and signed unless they say otherwise; `_ms` are Unix milliseconds, `_bytes` lengths, offsets
of the commit log are bytes and queue offsets are units.

Source: `RocketMQSerializable`, `RemotingCommand`, `MessageExtEncoder`, `MessageDecoder`, `ConsumeQueue`, `IndexFile`,
`IndexHeader`, `StoreCheckpoint`, `DefaultHAClient`, `DefaultHAConnection`, `AutoSwitchHAClient`,
`AutoSwitchHAConnection`, 4.7.0 and 5.3.4.
"""

from __future__ import annotations

from construct import (  # type: ignore[import-untyped]
    Adapter,
    BitsInteger,
    BitStruct,
    Bytes,
    Const,
    Default,
    Enum,
    FixedSized,
    GreedyBytes,
    GreedyRange,
    Hex,
    IfThenElse,
    Int8ub,
    Int16sb,
    Int16ub,
    Int32sb,
    Int32ub,
    Int64sb,
    Padding,
    Prefixed,
    Rebuild,
    Struct,
    Switch,
    len_,
    this,
)

__all__ = [
    "AUTO_SWITCH_MASTER_HANDSHAKE",
    "AUTO_SWITCH_MASTER_TRANSFER",
    "AUTO_SWITCH_SLAVE_HANDSHAKE",
    "AUTO_SWITCH_SLAVE_REPORT",
    "BATCH_ENTRY",
    "BINARY_HEADER",
    "BLANK",
    "CHECKPOINT",
    "CHECKPOINT_COUNTS",
    "CHECKPOINT_MARK",
    "CONSUME_QUEUE_UNIT",
    "FRAME",
    "HA_SLAVE_REPORT",
    "HA_TRANSFER",
    "HOST_V4",
    "HOST_V6",
    "INDEX_ENTRY",
    "INDEX_HEADER",
    "INDEX_SLOT",
    "MESSAGE_RECORD",
]


class _IpAddress(Adapter):  # type: ignore[misc]
    """IP bytes as text."""

    def _decode(self, obj: bytes, context: object, path: str) -> str:
        if len(obj) == 4:
            return ".".join(str(number) for number in obj)
        return ":".join(f"{obj[i] << 8 | obj[i + 1]:x}" for i in range(0, 16, 2))

    def _encode(self, obj: str, context: object, path: str) -> bytes:
        if "." in obj:
            return bytes(int(number) for number in obj.split("."))
        return b"".join(int(group, 16).to_bytes(2, "big") for group in obj.split(":"))


class _Text(Adapter):  # type: ignore[misc]
    """UTF-8 with damage kept visible: a dump must not stop at it."""

    def _decode(self, obj: bytes, context: object, path: str) -> str:
        return bytes(obj).decode("utf-8", "surrogateescape")

    def _encode(self, obj: str, context: object, path: str) -> bytes:
        return obj.encode("utf-8", "surrogateescape")


# -- remoting ------------------------------------------------------------------------------------------------------

SERIALIZE_TYPE = Enum(BitsInteger(8), JSON=0, ROCKETMQ=1)

FRAME = Struct(
    "frame_bytes" / Rebuild(Int32sb, lambda ctx: 4 + len(ctx.header) + len(ctx.body)),  # what follows this word
    "header_word" / BitStruct("serialize_type" / SERIALIZE_TYPE, "header_bytes" / BitsInteger(24)),
    "header" / Bytes(this.header_word.header_bytes),
    "body" / Bytes(this.frame_bytes - 4 - this.header_word.header_bytes),
)
"""`RemotingCommand.encode`: one request or reply on a connection."""

_EXT_FIELD = Struct("key" / Prefixed(Int16sb, _Text(GreedyBytes)), "value" / Prefixed(Int32sb, _Text(GreedyBytes)))

BINARY_HEADER = Struct(
    "code" / Int16sb,
    "language" / Int8ub,
    "version" / Int16sb,
    "opaque" / Int32sb,
    "flag" / Int32sb,
    "remark" / Prefixed(Int32sb, _Text(GreedyBytes)),  # of no bytes: null
    "ext_fields" / Prefixed(Int32sb, GreedyRange(_EXT_FIELD)),
)
"""`RocketMQSerializable.rocketMQProtocolEncode`: the header of a frame whose serialize type is ROCKETMQ."""

# -- messages ------------------------------------------------------------------------------------------------------

HOST_V4 = Struct("ip" / _IpAddress(Bytes(4)), "port" / Int32sb)
HOST_V6 = Struct("ip" / _IpAddress(Bytes(16)), "port" / Int32sb)

MAGIC_V1, MAGIC_V2, MAGIC_BLANK = 0xDAA320A7, 0xDAA320AB, 0xCBD43194

MESSAGE_RECORD = Struct(
    "size_bytes" / Int32sb,  # of the whole record
    "magic" / Hex(Int32ub),
    "body_crc" / Int32sb,  # CRC-32 of the stored body without the top bit
    "queue_id" / Int32sb,
    "flag" / Int32sb,  # the producer's own
    "queue_offset" / Int64sb,
    "physical_offset" / Int64sb,  # of this record's first byte
    "sys_flag" / Int32sb,
    "born_timestamp_ms" / Int64sb,
    "born_host" / IfThenElse(this.sys_flag & 0x10, HOST_V6, HOST_V4),
    "store_timestamp_ms" / Int64sb,
    "store_host" / IfThenElse(this.sys_flag & 0x20, HOST_V6, HOST_V4),
    "reconsume_times" / Int32sb,
    "prepared_transaction_offset" / Int64sb,
    "body" / Prefixed(Int32sb, GreedyBytes),
    "topic"
    / Switch(this.magic, {MAGIC_V1: Prefixed(Int8ub, _Text(GreedyBytes))}, Prefixed(Int16sb, _Text(GreedyBytes))),
    "properties" / Prefixed(Int16sb, _Text(GreedyBytes)),  # name 0x01 value 0x02 ...
)
"""`MessageExtEncoder.encode`: a record of the commit log, and of a pull reply's body."""

BLANK = Struct("size_bytes" / Int32sb, "magic" / Hex(Const(MAGIC_BLANK, Int32ub)))
"""What ends a file of the commit log: `size_bytes` reach to its end."""

BATCH_ENTRY = Struct(
    "size_bytes" / Rebuild(Int32sb, lambda ctx: 22 + len(ctx.body) + len(ctx.properties)),
    "magic" / Default(Int32sb, 0),
    "body_crc" / Default(Int32sb, 0),
    "flag" / Int32sb,
    "body" / Prefixed(Int32sb, GreedyBytes),
    "properties" / Prefixed(Int16sb, GreedyBytes),
)
"""`MessageDecoder.encodeMessage`: one message in the body of SEND_BATCH_MESSAGE."""

# -- derived files -------------------------------------------------------------------------------------------------

CONSUME_QUEUE_UNIT = Struct("physical_offset" / Int64sb, "size_bytes" / Int32sb, "tags_code" / Int64sb)
"""20 bytes; filler before the first unit of a queue that begins above 0 is (0, 2^31-1, 0)."""

INDEX_HEADER = Struct(
    "begin_timestamp_ms" / Int64sb,
    "end_timestamp_ms" / Int64sb,
    "begin_physical_offset" / Int64sb,
    "end_physical_offset" / Int64sb,
    "slot_count" / Int32sb,  # used slots (4.7: entries)
    "index_count" / Int32sb,  # begins at 1
)
INDEX_SLOT = Struct("newest_entry" / Int32sb)
INDEX_ENTRY = Struct(
    "key_hash" / Int32sb,  # abs(hashCode("topic#key"))
    "physical_offset" / Int64sb,
    "seconds_since_begin" / Int32sb,
    "previous_entry" / Int32sb,
)

CHECKPOINT_MARK = Struct(
    "mark" / Const(b"rmqd-cq1"),
    "synced_offset" / Int64sb,
    "index_offset" / Int64sb,
    "index_file" / Int64sb,  # its name as a number
    "index_count" / Int32sb,
    "reserved" / Const(0, Int32sb),
    "crc" / Int32sb,  # CRC-32 of the 40 bytes before, without the top bit
    "padding" / Const(0, Int32sb),
)
"""This project's own, in the last 48 bytes of `checkpoint`; the official broker leaves zeros there."""

CHECKPOINT_COUNTS = Struct(
    "queue_files" / Int32sb,
    "index_files" / Int32sb,
    "crc" / Int32sb,  # CRC-32 of the official fields, these counts and the mark, without the top bit
    "padding" / Const(0, Int32sb),
)
"""This project's own, before the mark: zeros unless the store was closed in order."""

CHECKPOINT = Struct(
    "physic_msg_timestamp_ms" / Int64sb,
    "logics_msg_timestamp_ms" / Int64sb,
    "index_msg_timestamp_ms" / Int64sb,
    "master_flushed_offset" / Int64sb,  # 5.x
    "confirm_physical_offset" / Int64sb,  # 5.x
    "consume_queue_offset" / Int64sb,  # 5.5
    "unused" / Padding(4096 - 48 - 16 - 48),
    "counts_bytes" / Bytes(16),
    "mark_bytes" / Bytes(48),
)

# -- replication ---------------------------------------------------------------------------------------------------

HA_SLAVE_REPORT = Struct("max_physical_offset" / Int64sb)
"""Slave to master: its first request, and its acknowledgements."""

HA_TRANSFER = Struct("physical_offset" / Int64sb, "body" / Prefixed(Int32sb, GreedyBytes))
"""Master to slave: raw bytes of the commit log; without any, a heartbeat."""

HA_STATE = Enum(Int32sb, READY=0, HANDSHAKE=1, TRANSFER=2, SUSPEND=3, SHUTDOWN=4)

AUTO_SWITCH_SLAVE_HANDSHAKE = Struct(
    "state" / HA_STATE, "sync_from_last_file" / Int16ub, "async_learner" / Int16ub, "broker_id" / Int64sb
)

EPOCH_ENTRY = Struct("epoch" / Int32sb, "start_offset" / Int64sb)

AUTO_SWITCH_MASTER_HANDSHAKE = Struct(
    "state" / HA_STATE,
    "body_bytes" / Rebuild(Int32sb, len_(this.epochs) * 12),
    "max_physical_offset" / Int64sb,
    "epoch" / Int32sb,  # the newest
    "epochs" / FixedSized(this.body_bytes, GreedyRange(EPOCH_ENTRY)),
)

AUTO_SWITCH_SLAVE_REPORT = Struct("state" / HA_STATE, "max_physical_offset" / Int64sb)

AUTO_SWITCH_MASTER_TRANSFER = Struct(
    "state" / HA_STATE,
    "body_bytes" / Rebuild(Int32sb, len_(this.body)),
    "physical_offset" / Int64sb,
    "epoch" / Int32sb,
    "epoch_start_offset" / Int64sb,
    "confirm_offset" / Int64sb,
    "body" / Bytes(this.body_bytes),
)
