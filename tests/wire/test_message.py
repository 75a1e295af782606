"""Records, batches, properties, hosts and ids: bytes to values and back, and errors only from any other bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rmqwire.errors import MalformedMessage
from rmqwire.message import (
    MESSAGE_MAGIC_V1,
    MESSAGE_MAGIC_V2,
    BatchEntry,
    body_crc,
    decode_host,
    decode_message_id,
    decode_properties,
    decode_record,
    encode_batch,
    encode_host,
    encode_message_id,
    encode_properties,
    encode_record,
    iter_records,
    message_keys,
    record_size,
    split_batch,
)
from tests.strategies import BODIES, I32, PROPERTIES, record_fields

HOST = encode_host("127.0.0.1", 10911)
FIELDS: dict[str, Any] = {
    "topic": "T",
    "queue_id": 3,
    "body": b"hi",
    "properties": b"TAGS\x01A\x02",
    "queue_offset": 5,
    "physical_offset": 1024,
    "flag": 0,
    "sys_flag": 0,
    "born_timestamp": 1_600_000_000_000,
    "born_host": HOST,
    "store_timestamp": 1_600_000_000_001,
    "store_host": HOST,
}
# Read alike by the MessageDecoder of 4.7.0 and of 5.5.0.
RECORD = bytes.fromhex(
    "00000065 daa320a7 58932aac 00000003 00000000 0000000000000005 0000000000000400 00000000 00000174876e8000"
    "7f00000100002a9f 00000174876e8001 7f00000100002a9f 00000000 0000000000000000 00000002 6869 01 54 0007"
    "54414753014102"
)


def test_the_official_decoders_vector() -> None:
    assert encode_record(**FIELDS) == RECORD
    message = decode_record(RECORD, check_crc=True)
    assert message.size == len(RECORD) == 101
    assert message.magic == MESSAGE_MAGIC_V1
    for name, value in FIELDS.items():
        assert getattr(message, name) == value
    assert encode_message_id(HOST, 1024) == "7F00000100002A9F0000000000000400"


@given(record_fields(), st.binary(max_size=20), st.binary(max_size=20))
def test_a_record_is_read_back_wherever_it_lies(fields: dict[str, Any], before: bytes, after: bytes) -> None:
    record = encode_record(**fields)
    message = decode_record(before + record + after, len(before), check_crc=True)
    assert message.size == len(record)
    long_topic = len(fields["topic"]) > 127
    assert message.magic == (MESSAGE_MAGIC_V2 if long_topic else MESSAGE_MAGIC_V1)
    flags = fields.pop("sys_flag")
    assert message.sys_flag & ~0x30 == flags
    for name, value in fields.items():
        assert getattr(message, name) == value
    lengths = (len(fields["body"]), len(fields["topic"]), len(fields["properties"]))
    assert record_size(*lengths, sys_flag=message.sys_flag, v2=long_topic) == len(record)


@given(record_fields(), st.data())
def test_a_record_that_is_cut_off_is_an_error(fields: dict[str, Any], data: st.DataObject) -> None:
    record = encode_record(**fields)
    cut = data.draw(st.integers(0, len(record) - 1))
    with pytest.raises(MalformedMessage):
        decode_record(record[:cut])


@given(st.binary(max_size=300), st.booleans())
@example(RECORD[:84] + b"\xff\xff\xff\xff" + RECORD[88:], False)
@example(RECORD[:90] + b"\xff" + RECORD[91:], False)
def test_any_bytes_are_a_record_or_an_error(data: bytes, begins_well: bool) -> None:
    data = RECORD[:8] + data if begins_well else data
    try:
        decode_record(data, check_crc=True)
    except MalformedMessage:
        return


@given(st.integers(0, len(RECORD) - 1), st.integers(0, 7))
def test_a_flipped_bit_in_the_body_is_found(position: int, bit: int) -> None:
    damaged = bytearray(RECORD)
    damaged[position] ^= 1 << bit
    if 88 <= position < 90:
        with pytest.raises(MalformedMessage):
            decode_record(bytes(damaged), check_crc=True)
        assert decode_record(bytes(damaged)).body != b"hi"


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="host"):
        encode_record(**{**FIELDS, "born_host": b"1234"})
    with pytest.raises(MalformedMessage, match="properties"):
        encode_record(**{**FIELDS, "properties": bytes(32768)})
    with pytest.raises(MalformedMessage, match="topic"):
        encode_record(**{**FIELDS, "topic": "t" * 32768})


@given(st.lists(record_fields(), max_size=4))
def test_a_pull_body_is_records_and_nothing_else(several: list[dict[str, Any]]) -> None:
    body = b"".join(encode_record(**fields) for fields in several)
    assert [message.body for message in iter_records(body)] == [fields["body"] for fields in several]


ENTRIES = st.builds(BatchEntry, flag=I32, body=BODIES, properties=st.binary(max_size=100))


@given(st.lists(ENTRIES, max_size=8))
def test_a_batch_is_split_as_it_was_made(entries: list[BatchEntry]) -> None:
    assert split_batch(encode_batch(entries)) == entries


@given(st.lists(ENTRIES, min_size=1, max_size=3), st.data())
def test_a_batch_that_is_cut_off_is_an_error(entries: list[BatchEntry], data: st.DataObject) -> None:
    body = encode_batch(entries)
    whole = {len(encode_batch(entries[:count])) for count in range(len(entries) + 1)}
    cut = data.draw(st.integers(0, len(body)).filter(lambda length: length not in whole))
    with pytest.raises(MalformedMessage):
        split_batch(body[:cut])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_an_error(body: bytes) -> None:
    try:
        entries = split_batch(body)
    except MalformedMessage:
        return
    assert sum(22 + len(entry.body) + len(entry.properties) for entry in entries) == len(body)


@given(PROPERTIES)
def test_properties_are_read_as_they_were_written(properties: dict[str, str]) -> None:
    assert decode_properties(encode_properties(properties)) == properties


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", {}),
        (b"a\x01b", {"a": "b"}),  # the last separator may be missing
        (b"a\x01b\x01c\x02", {"a": "b\x01c"}),  # 5.x keeps what 4.7 loses
        (b"a\x01\x02b\x01c\x02", {"b": "c"}),
        (b"\x01a\x02b\x01c\x02", {"b": "c"}),
        (b"nonsense\x02b\x01c\x02", {"b": "c"}),
    ],
)
def test_properties_are_read_as_5_reads_them(text: bytes, expected: dict[str, str]) -> None:
    assert decode_properties(text) == expected


@given(st.binary(max_size=60))
def test_any_bytes_are_properties(text: bytes) -> None:
    decode_properties(text)


def test_a_message_is_found_under_its_unique_key_and_each_of_its_keys() -> None:
    assert message_keys({"UNIQ_KEY": "U", "KEYS": "a  b ", "TAGS": "T"}) == ["U", "a", "b", "T#T"]
    assert message_keys({}) == []


@pytest.mark.parametrize(("ip", "port"), [("127.0.0.1", 10911), ("0.0.0.0", 0), ("::1", 65535), ("fe80::1", 9876)])
def test_hosts(ip: str, port: int) -> None:
    assert decode_host(encode_host(ip, port)) == (ip, port)


def test_hosts_that_are_none() -> None:
    with pytest.raises(ValueError, match="no numeric address"):
        encode_host("localhost", 1)
    with pytest.raises(MalformedMessage):
        decode_host(b"123456789")


@pytest.mark.parametrize("host", [HOST, encode_host("::1", 10911)])
def test_message_ids(host: bytes) -> None:
    message_id = encode_message_id(host, 1 << 40)
    assert message_id == message_id.upper()
    assert decode_message_id(message_id) == (host, 1 << 40)


@pytest.mark.parametrize("text", ["", "00", "Z" * 32, "0" * 33, "00 " * 10 + "00"])
def test_message_ids_that_are_none(text: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_message_id(text)


def test_the_checksum_has_no_top_bit() -> None:
    assert body_crc(b"Hello RocketMQ") == 1_774_740_973
    assert body_crc(b"abc") == 891_568_578


@pytest.mark.parametrize(
    ("at", "data", "said"),
    [
        (36, b"\x00\x00\x00\x30", "shorter than its header"),  # both hosts with 16 bytes: they leave no room
        (91 - 7, b"\x7f", "do not add up|body of"),
        (91, b"\xff", "not UTF-8"),
        (90, b"\x80", "topic of 128 bytes"),
    ],
)
def test_a_record_whose_parts_contradict_each_other_is_an_error(at: int, data: bytes, said: str) -> None:
    record = bytearray(RECORD)
    record[at : at + len(data)] = data
    if at == 36:
        record[:4] = (92).to_bytes(4, "big")
    with pytest.raises(MalformedMessage, match=said):
        decode_record(bytes(record))
