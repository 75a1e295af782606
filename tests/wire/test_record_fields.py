"""Properties read without the rest are those that the whole record has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqwire.errors import MalformedMessage
from rmqwire.message import encode_record
from rmqwire.record_fields import record_properties


def record(
    topic: str = "T", body: bytes = b"body", properties: bytes = b"a\x01b\x02", born: int = 8, stored: int = 8
) -> bytes:
    return encode_record(
        topic=topic,
        queue_id=1,
        body=body,
        properties=properties,
        queue_offset=2,
        physical_offset=3,
        flag=4,
        sys_flag=0,
        born_timestamp=5,
        born_host=bytes(born),
        store_timestamp=6,
        store_host=bytes(stored),
    )


@given(
    st.sampled_from(["T", "x" * 127, "y" * 128, "z" * 255]),
    st.binary(max_size=40),
    st.binary(max_size=40) | st.just(b"p" * 32767),
    st.sampled_from([8, 20]),
    st.sampled_from([8, 20]),
)
def test_as_written(topic: str, body: bytes, properties: bytes, born: int, stored: int) -> None:
    assert record_properties(record(topic, body, properties, born, stored)) == properties


@given(st.integers(0, 100))
def test_cut_off(length: int) -> None:
    data = record()
    with pytest.raises(MalformedMessage):
        record_properties(data[: length % len(data)])


@given(st.binary(max_size=200))
def test_any_bytes_give_properties_or_an_error(data: bytes) -> None:
    try:
        assert data.endswith(record_properties(data))
    except MalformedMessage:
        pass
