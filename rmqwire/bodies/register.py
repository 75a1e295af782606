"""The body of a broker's registration, as JSON or as the compressed form."""

from __future__ import annotations

import zlib
from struct import Struct, error

import msgspec

from rmqwire.codes import OUR_VERSION, Version
from rmqwire.errors import MalformedBody
from rmqwire.fields import I32_MAX

from .base import Body, new_list, read_list
from .topic import (
    TopicConfig,
    TopicConfigAndMappingSerializeWrapper,
    TopicConfigSerializeWrapper,
    TopicQueueMappingInfo,
)
from .version import DataVersion

INFLATED_SIZE_MAX_BYTES = 64 * 1024 * 1024
"""Largest compressed body once inflated; a million topics take about as much."""

_LENGTH = Struct(">i")
_ZLIB_FIRST_BYTE = 0x78


class RegisterBrokerBody(Body):
    """All topics of a broker, or those that changed, and its filter servers."""

    topic_config_serialize_wrapper: TopicConfigAndMappingSerializeWrapper = msgspec.field(
        default_factory=TopicConfigAndMappingSerializeWrapper
    )
    filter_server_list: list[str] = msgspec.field(default_factory=new_list)

    @classmethod
    def read(cls, data: bytes, version: int) -> RegisterBrokerBody:
        """Read a registration in whichever form a broker of `version` sent it.

        The header's `compressed` is not asked: 5.x brokers compress without saying so.

        Raises:
            MalformedBody: Neither form.
        """
        if not data:
            return cls()
        if data[0] == _ZLIB_FIRST_BYTE:
            return cls.decompress(data, version)
        if version >= Version.V3_0_11:
            return cls.decode(data)
        wrapper = TopicConfigSerializeWrapper.decode(data)
        return cls(
            topic_config_serialize_wrapper=TopicConfigAndMappingSerializeWrapper(
                data_version=wrapper.data_version, topic_config_table=wrapper.topic_config_table
            )
        )

    @classmethod
    def decompress(cls, data: bytes, version: int) -> RegisterBrokerBody:
        """Read the compressed form.

        `length i32, data version | count i32, (length i32, topic)* | length i32, filter servers`, from version 413 on
        `| count i32, (length i32, mapping)*`; everything but topics is JSON. Source: `RegisterBrokerBody.decode` 5.3.4.

        Raises:
            MalformedBody: Not that form, or more than `INFLATED_SIZE_MAX_BYTES` of it.
        """
        items = _Items(_inflate(data))
        wrapper = TopicConfigAndMappingSerializeWrapper(data_version=DataVersion.decode(items.item()))
        for _ in range(items.count()):
            topic = _read_topic(items.item())
            wrapper.topic_config_table[topic.topic_name or ""] = topic
        filter_servers = read_list(str, items.item())
        if version >= Version.V5_0_0:
            for _ in range(items.count()):
                mapping = TopicQueueMappingInfo.decode(items.item())
                wrapper.topic_queue_mapping_info_map[mapping.topic or ""] = mapping
        return cls(topic_config_serialize_wrapper=wrapper, filter_server_list=filter_servers)

    def compress(self, version: int = OUR_VERSION) -> bytes:
        """Write the compressed form for a name server that reads it as sent by `version`."""
        wrapper = self.topic_config_serialize_wrapper
        parts = [_item(wrapper.data_version.encode()), _LENGTH.pack(len(wrapper.topic_config_table))]
        parts += [_item(_write_topic(topic)) for topic in wrapper.topic_config_table.values()]
        parts.append(_item(msgspec.json.encode(self.filter_server_list)))
        if version >= Version.V5_0_0:
            parts.append(_LENGTH.pack(len(wrapper.topic_queue_mapping_info_map)))
            parts += [_item(mapping.encode()) for mapping in wrapper.topic_queue_mapping_info_map.values()]
        return zlib.compress(b"".join(parts), 9)


def _item(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(data, INFLATED_SIZE_MAX_BYTES)
    except zlib.error as cause:
        raise MalformedBody(f"compressed registration: {cause}") from cause
    if inflater.unconsumed_tail:
        raise MalformedBody(f"compressed registration of more than {INFLATED_SIZE_MAX_BYTES} bytes")
    return content


class _Items:
    """The length-prefixed items of an inflated registration, in turn."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def count(self) -> int:
        try:
            (number,) = _LENGTH.unpack_from(self.data, self.at)
        except error as cause:
            raise MalformedBody(f"compressed registration ends at {len(self.data)}") from cause
        self.at += 4
        if not 0 <= number <= I32_MAX:
            raise MalformedBody(f"compressed registration with a length of {number}")
        return int(number)

    def item(self) -> bytes:
        size = self.count()
        start = self.at
        self.at += size
        if self.at > len(self.data):
            raise MalformedBody(f"compressed registration with an item of {size} bytes at {start}")
        return self.data[start : self.at]


def _read_topic(data: bytes) -> TopicConfig:
    """Read `name read write perm filterType [attributes]`; attributes that do not parse are none, as in Java."""
    words = str(data, "utf-8", "replace").split(" ")
    if len(words) < 5:
        raise MalformedBody(f"topic of {len(words)} words in a compressed registration")
    name, read_queue_nums, write_queue_nums, perm, filter_type = words[:5]
    tree = {
        "topicName": name,
        "readQueueNums": read_queue_nums,
        "writeQueueNums": write_queue_nums,
        "perm": perm,
        "topicFilterType": filter_type,
    }
    topic = TopicConfig.of_tree(tree)
    if len(words) > 5:
        try:
            topic.attributes = msgspec.json.decode(words[5], type=dict[str, str])
        except msgspec.MsgspecError:  # as Java: attributes with a blank are lost
            topic.attributes = {}
    return topic


def _write_topic(topic: TopicConfig) -> bytes:
    """Write a topic; without attributes in five words, since 4.x name servers fail at a sixth."""
    attributes = f" {msgspec.json.encode(topic.attributes).decode()}" if topic.attributes else ""
    return (
        f"{topic.topic_name} {topic.read_queue_nums} {topic.write_queue_nums} {topic.perm} "
        f"{topic.topic_filter_type}{attributes}"
    ).encode()
