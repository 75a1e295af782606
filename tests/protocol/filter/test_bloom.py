"""The bits of a consumer have to be the official ones, or a file does not pass from one broker to the other."""

from __future__ import annotations

import json

import pytest

from rmqd.protocol.filter import BloomLayout
from rmqd.protocol.filter.bloom import murmur3_64

from .test_expression import golden


@pytest.mark.parametrize(("asked", "bits"), golden("B"))
def test_as_the_official_class(asked: str, bits: str) -> None:
    error_rate, consumers, text = json.loads(asked)
    layout = BloomLayout(error_rate, consumers)
    assert [layout.bit_num, *layout.bit_positions(text)] == json.loads(bits)


def test_the_default_layout() -> None:
    layout = BloomLayout(20, 32)
    assert (layout.positions, layout.bit_num) == (3, 112)


@pytest.mark.parametrize(("error_rate", "consumers"), [(0, 32), (100, 32), (20, 0)])
def test_impossible_layouts(error_rate: int, consumers: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        BloomLayout(error_rate, consumers)


def test_murmur3() -> None:
    """Known values of MurmurHash3 x64 128, seed 0, first half."""
    assert murmur3_64(b"") == 0
    assert murmur3_64(b"hello") == 0xCBD8A7B341BD9B02
    assert murmur3_64(b"The quick brown fox jumps over the lazy dog") == 0xE34BBC7BBC071B6C
