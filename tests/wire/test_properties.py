"""The short way to tags and keys gives what the long way gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqwire.message import encode_properties
from rmqwire.properties import decode_properties, message_keys, tags_and_keys
from tests.strategies import PROPERTIES


def the_long_way(properties: bytes) -> tuple[str | None, list[str]]:
    found = decode_properties(properties)
    return found.get("TAGS"), message_keys(found)


def short(properties: bytes) -> tuple[str | None, list[str]]:
    tags, keys = tags_and_keys(properties)
    return tags, list(keys)


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (b"UNIQ_KEY\x01U\x02WAIT\x01true\x02", (None, ["U"])),
        (b"UNIQ_KEY\x01U\x02WAIT\x01true", (None, ["U"])),
        (b"UNIQ_KEY\x01U\x02", (None, ["U"])),
        (b"UNIQ_KEY\x01U", (None, ["U"])),
        (b"UNIQ_KEY\x01\x02WAIT\x01true\x02", (None, [])),
        (b"UNIQ_KEY\x01U\x02WAIT\x01false\x02", (None, ["U"])),
        (b"UNIQ_KEY\x01U\x02WAIT\x01true\x02TAGS\x01A\x02KEYS\x01a b\x02", ("A", ["U", "a", "b", "T#A"])),
        (b"UNIQ_KEY\x01U\x01V\x02", (None, ["U\x01V"])),
        (b"UNIQ_KEY\x01\xff\x02", (None, ["\ufffd"])),
        (b"KEYS\x01a  b \x02", (None, ["a", "b"])),
        (b"", (None, [])),
    ],
)
def test_tags_and_keys(properties: bytes, expected: tuple[str | None, list[str]]) -> None:
    assert short(properties) == expected == the_long_way(properties)


@given(PROPERTIES, st.booleans())
def test_of_any_properties(properties: dict[str, str], unique_first: bool) -> None:
    if unique_first:
        properties = {"UNIQ_KEY": "7F00000100002A9F18B4AAC200000001", **properties}
    encoded = encode_properties(properties)
    assert short(encoded) == the_long_way(encoded)


@given(st.binary(max_size=40), st.sampled_from((b"", b"UNIQ_KEY\x01", b"TAGS\x01")))
def test_of_any_bytes(rest: bytes, begin: bytes) -> None:
    assert short(begin + rest) == the_long_way(begin + rest)
