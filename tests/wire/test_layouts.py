"""The declared layouts and the fast paths say the same."""

from __future__ import annotations

import struct
from typing import Any
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rmqd.store.checkpoint import Checkpoint
from rmqd.store.commitlog import CommitLog
from rmqd.store.consumequeue import UNIT
from rmqd.store.files import RealFiles
from rmqd.store.indexfile import _ENTRY, _HEADER
from rmqwire import layouts
from rmqwire.frames import encode_frame
from rmqwire.header_binary import decode_binary, encode_binary
from rmqwire.message import BLANK_MAGIC, BatchEntry, decode_record, encode_batch, encode_record
from tests.strategies import BODIES, I32, I64, record_fields


@given(record_fields())
def test_records(fields: dict[str, Any]) -> None:
    fields["properties"] = fields["properties"].decode("latin-1").encode()[:200].decode("utf-8", "ignore").encode()
    record = encode_record(**fields)
    declared = layouts.MESSAGE_RECORD.parse(record)
    decoded = decode_record(record)
    assert layouts.MESSAGE_RECORD.build(declared) == record
    same = {
        "queue_id": decoded.queue_id,
        "flag": decoded.flag,
        "queue_offset": decoded.queue_offset,
        "physical_offset": decoded.physical_offset,
        "sys_flag": decoded.sys_flag,
        "born_timestamp_ms": decoded.born_timestamp,
        "store_timestamp_ms": decoded.store_timestamp,
        "reconsume_times": decoded.reconsume_times,
        "prepared_transaction_offset": decoded.prepared_transaction_offset,
        "body": decoded.body,
        "topic": decoded.topic,
        "properties": decoded.properties.decode(),
        "body_crc": decoded.body_crc,
        "size_bytes": len(record),
    }
    for name, value in same.items():
        assert declared[name] == value, name
    assert declared.magic == decoded.magic & 0xFFFFFFFF
    born = layouts.HOST_V4 if len(decoded.born_host) == 8 else layouts.HOST_V6
    assert born.build(declared.born_host) == decoded.born_host


@given(st.lists(st.builds(BatchEntry, flag=I32, body=BODIES, properties=BODIES), max_size=4))
def test_batch_entries(entries: list[BatchEntry]) -> None:
    declared = b"".join(
        layouts.BATCH_ENTRY.build({"flag": entry.flag, "body": entry.body, "properties": entry.properties})
        for entry in entries
    )
    assert declared == encode_batch(entries)


@given(st.sampled_from([0, 1]), st.binary(max_size=50), st.binary(max_size=50))
def test_frames(serialization: int, header: bytes, body: bytes) -> None:
    frame = encode_frame(serialization, header, body)
    declared = layouts.FRAME.parse(frame)
    assert (declared.header, declared.body) == (header, body)
    assert int(declared.header_word.serialize_type) == serialization
    assert layouts.FRAME.build(declared) == frame


TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=10)


@given(st.integers(0, 32767), st.integers(0, 32767), I32, I32, TEXT, st.dictionaries(TEXT, TEXT, max_size=4))
def test_binary_headers(code: int, version: int, opaque: int, flag: int, remark: str, fields: dict[str, str]) -> None:
    declared = layouts.BINARY_HEADER.build(
        {
            "code": code,
            "language": 0,
            "version": version,
            "opaque": opaque,
            "flag": flag,
            "remark": remark,
            "ext_fields": [{"key": key, "value": value} for key, value in fields.items()],
        }
    )
    assert decode_binary(declared) == (code, "JAVA", version, opaque, flag, remark, fields or None)
    assert encode_binary(code, "JAVA", version, opaque, flag, remark, fields or None) == declared


@given(I64, I32, I64)
def test_consume_queue_units(physical_offset: int, size: int, code: int) -> None:
    unit = {"physical_offset": physical_offset, "size_bytes": size, "tags_code": code}
    assert layouts.CONSUME_QUEUE_UNIT.build(unit) == UNIT.pack(physical_offset, size, code)


@given(I64, I64, I64, I64, I32, I32)
def test_index_files(begin: int, end: int, first: int, last: int, slots: int, count: int) -> None:
    header = {
        "begin_timestamp_ms": begin,
        "end_timestamp_ms": end,
        "begin_physical_offset": first,
        "end_physical_offset": last,
        "slot_count": slots,
        "index_count": count,
    }
    assert layouts.INDEX_HEADER.build(header) == _HEADER.pack(begin, end, first, last, slots, count)
    entry = {"key_hash": slots, "physical_offset": first, "seconds_since_begin": count, "previous_entry": slots}
    assert layouts.INDEX_ENTRY.build(entry) == _ENTRY.pack(slots, first, count, slots)


@given(I64, I64, I64, I64, I64, I64, st.none() | st.tuples(I64, I64, I64, I32))
def test_checkpoints(
    physic: int, logics: int, index: int, master: int, confirm: int, queues: int, mark: tuple[int, ...] | None
) -> None:
    fields: dict[str, Any] = {}
    if mark is not None:
        names = ("synced_offset", "index_offset", "index_file", "index_count")
        fields = dict(zip(names, mark, strict=True))
    checkpoint = Checkpoint(
        physic_msg_timestamp=physic,
        logics_msg_timestamp=logics,
        index_msg_timestamp=index,
        master_flushed_offset=master,
        confirm_physical_offset=confirm,
        consume_queue_offset=queues,
        **fields,
    )
    page = checkpoint.encode()
    assert Checkpoint.decode(page) == checkpoint
    declared = layouts.CHECKPOINT.parse(page)
    assert declared.logics_msg_timestamp_ms == logics
    assert declared.consume_queue_offset == queues
    if mark is not None:
        found = layouts.CHECKPOINT_MARK.parse(declared.mark_bytes)
        assert (found.synced_offset, found.index_offset, found.index_file, found.index_count) == mark
        assert found.crc == crc32(declared.mark_bytes[:40]) & 0x7FFFFFFF
        counted = replace(checkpoint, queue_files=7, index_files=2)
        closed = counted.encode()
        assert Checkpoint.decode(closed) == counted
        declared = layouts.CHECKPOINT.parse(closed)
        counts = layouts.CHECKPOINT_COUNTS.parse(declared.counts_bytes)
        assert (counts.queue_files, counts.index_files) == (7, 2)
        covered = closed[:48] + declared.counts_bytes[:8] + declared.mark_bytes
        assert counts.crc == crc32(covered) & 0x7FFFFFFF
        assert layouts.CHECKPOINT.build(declared) == closed
        assert Checkpoint.decode(b"\1" + closed[1:]).queue_files is None, "another broker wrote its fields since"
    else:
        assert layouts.CHECKPOINT.build(declared) == page


@given(st.integers(0, 1 << 40))
def test_blanks(offset: int) -> None:
    log = CommitLog(RealFiles(), "/nowhere", 1 << 20)
    blank = layouts.BLANK.parse(log.blank(offset))
    assert blank.size_bytes == log.file_size - offset % log.file_size
    assert blank.magic == BLANK_MAGIC & 0xFFFFFFFF


@given(I64, st.binary(max_size=40))
def test_replication_of_the_plain_kind(offset: int, body: bytes) -> None:
    assert layouts.HA_SLAVE_REPORT.build({"max_physical_offset": offset}) == struct.pack(">q", offset)
    transfer = layouts.HA_TRANSFER.build({"physical_offset": offset, "body": body})
    assert transfer == struct.pack(">qi", offset, len(body)) + body
    assert len(transfer) == 12 + len(body)


@given(I64, I32, st.lists(st.tuples(I32, I64), max_size=3), st.binary(max_size=20))
def test_replication_of_the_controller_kind(
    offset: int, epoch: int, epochs: list[tuple[int, int]], body: bytes
) -> None:
    """The sizes are the official ones: 16, 20 + 12 k, 12 and 36 + n."""
    handshake = layouts.AUTO_SWITCH_SLAVE_HANDSHAKE.build(
        {"state": "HANDSHAKE", "sync_from_last_file": 1, "async_learner": 0, "broker_id": offset}
    )
    assert handshake == struct.pack(">ihhq", 1, 1, 0, offset)
    answer = layouts.AUTO_SWITCH_MASTER_HANDSHAKE.build(
        {
            "state": "HANDSHAKE",
            "max_physical_offset": offset,
            "epoch": epoch,
            "epochs": [{"epoch": number, "start_offset": start} for number, start in epochs],
        }
    )
    assert len(answer) == 20 + 12 * len(epochs)
    assert [
        (each.epoch, each.start_offset) for each in layouts.AUTO_SWITCH_MASTER_HANDSHAKE.parse(answer).epochs
    ] == epochs
    report = layouts.AUTO_SWITCH_SLAVE_REPORT.build({"state": "TRANSFER", "max_physical_offset": offset})
    assert report == struct.pack(">iq", 2, offset)
    transfer = layouts.AUTO_SWITCH_MASTER_TRANSFER.build(
        {
            "state": "TRANSFER",
            "physical_offset": offset,
            "epoch": epoch,
            "epoch_start_offset": 0,
            "confirm_offset": offset,
            "body": body,
        }
    )
    assert transfer == struct.pack(">iiqiqq", 2, len(body), offset, epoch, 0, offset) + body
