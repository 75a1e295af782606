"""A broker's registration is read in all forms that brokers send, and written in those that name servers read."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqwire.bodies import DataVersion, RegisterBrokerBody, TopicConfig, TopicQueueMappingInfo
from rmqwire.bodies import register as register_module
from rmqwire.codes import Version
from rmqwire.errors import MalformedBody


def body() -> RegisterBrokerBody:
    whole = RegisterBrokerBody(filter_server_list=["f:1"])
    wrapper = whole.topic_config_serialize_wrapper
    wrapper.data_version = DataVersion(counter=3, timestamp=1)
    wrapper.topic_config_table["T"] = TopicConfig(
        topic_name="T", read_queue_nums=1, write_queue_nums=2, perm=6, attributes={"+k": "v"}
    )
    wrapper.topic_config_table["é"] = TopicConfig(topic_name="é", topic_filter_type="MULTI_TAG")
    wrapper.topic_queue_mapping_info_map["S"] = TopicQueueMappingInfo(topic="S", curr_id_map={0: 1})
    return whole


def inflated(data: bytes) -> bytes:
    return zlib.decompress(data)


def test_compressed_both_ways() -> None:
    assert RegisterBrokerBody.read(body().compress(), Version.V5_5_0) == body()


def test_the_compressed_bytes() -> None:
    """`length, data version | count, topics | length, filter servers | count, mappings`."""
    items = [
        b'{"counter":3,"stateVersion":0,"timestamp":1}',
        2,
        b'T 1 2 6 SINGLE_TAG {"+k":"v"}',
        "é 16 16 6 MULTI_TAG".encode(),
        b'["f:1"]',
        1,
        b'{"currIdMap":{0:1},"dirty":false,"epoch":0,"scope":"__global__","topic":"S","totalQueues":0}',
    ]
    want = b"".join(
        struct.pack(">i", item) if isinstance(item, int) else struct.pack(">i", len(item)) + item for item in items
    )
    assert inflated(body().compress()) == want
    before_5 = want[: want.rindex(struct.pack(">i", 1))]
    assert inflated(body().compress(Version.V4_9_4)) == before_5
    plain = RegisterBrokerBody.read(zlib.compress(before_5), Version.V4_7_0)
    assert plain.topic_config_serialize_wrapper.topic_queue_mapping_info_map == {}
    assert (
        plain.topic_config_serialize_wrapper.topic_config_table
        == body().topic_config_serialize_wrapper.topic_config_table
    )


def test_json_forms() -> None:
    assert RegisterBrokerBody.read(body().encode(), Version.V5_0_0) == body()
    wrapper = body().topic_config_serialize_wrapper
    oldest = RegisterBrokerBody.read(wrapper.encode(), Version.V3_0_7_SNAPSHOT)
    assert oldest.topic_config_serialize_wrapper.topic_config_table == wrapper.topic_config_table
    assert oldest.filter_server_list == []
    assert RegisterBrokerBody.read(b"", Version.V5_0_0) == RegisterBrokerBody()


def compressed(*items: bytes | int) -> bytes:
    return zlib.compress(
        b"".join(
            struct.pack(">i", item) if isinstance(item, int) else struct.pack(">i", len(item)) + item for item in items
        )
    )


def test_attributes_with_a_blank_are_lost_as_in_java() -> None:
    for text in (b'T 1 2 6 SINGLE_TAG {"k": "v"}', b"T 1 2 6 SINGLE_TAG", b"T 1 2 6 SINGLE_TAG x"):
        got = RegisterBrokerBody.decompress(compressed(b"{}", 1, text, b"[]"), Version.V4_7_0)
        (topic,) = got.topic_config_serialize_wrapper.topic_config_table.values()
        assert (topic.topic_name, topic.write_queue_nums, topic.attributes) == ("T", 2, {})


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 9,
        b"x\x9c" + b"\xff" * 9,
        compressed(),
        compressed(b"{}"),
        compressed(b"{}", 1),
        compressed(b"{}", -1),
        compressed(b"{}", 2**31 - 1),
        compressed(b"{}", 1, b"T 1 2", b"[]", 0),
        compressed(b"{}", 1, b"T 1 x 6 SINGLE_TAG", b"[]", 0),
        compressed(b"{}", 0, b"{}", 0),
        compressed(b"{}", 0, b"[]"),
        compressed(b"{}", 0, b"[]", 1),
        compressed(b"{}", 0, b"[]", 1, b"["),
        compressed(b"[]", 0, b"[]", 0),
        zlib.compress(struct.pack(">i", 100) + b"{}"),
    ],
)
def test_malformed_registrations(data: bytes) -> None:
    with pytest.raises(MalformedBody):
        RegisterBrokerBody.read(data, Version.V5_0_0)


def test_a_zip_bomb_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register_module, "INFLATED_SIZE_MAX_BYTES", 1000)
    with pytest.raises(MalformedBody, match="more than 1000 bytes"):
        RegisterBrokerBody.read(zlib.compress(bytes(5000)), Version.V5_0_0)


@given(st.binary(max_size=40), st.booleans(), st.sampled_from([0, Version.V4_7_0, Version.V5_5_0]))
def test_any_bytes_give_a_registration_or_malformed_body(data: bytes, deflate: bool, version: int) -> None:
    try:
        RegisterBrokerBody.read(zlib.compress(data) if deflate else b"\x78" + data, version)
    except MalformedBody:
        pass
