"""Ext fields of binary headers read by a remembered shape give what reading entry by entry gives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqwire import header_binary, speed
from rmqwire.errors import MalformedHeader
from rmqwire.header_binary import encode_binary, read_ext_bytes

from .strategies import TEXT

read_by_shape = header_binary._read_by_shape

HEAD_BYTES = 21


def ext_bytes(ext: dict[str, str]) -> bytes:
    return encode_binary(310, "JAVA", 513, 1, 0, None, ext)[HEAD_BYTES:]


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    header_binary._shapes.clear()
    yield
    header_binary._shapes.clear()


def entry_by_entry(data: bytes) -> dict[str, str] | str:
    header_binary._shapes.clear()
    return read(data)


def read(data: bytes) -> dict[str, str] | str:
    try:
        return read_by_shape(data)
    except (MalformedHeader, header_binary.error):
        return "malformed"


@given(
    st.dictionaries(TEXT, st.text(min_size=1, max_size=200), min_size=2, max_size=6).filter(
        lambda ext: not any("\ud800" <= one <= "\udfff" for text in (*ext, *ext.values()) for one in text)
    ),
    st.data(),
)
def test_any_change_of_bytes_is_read_alike(ext: dict[str, str], data: st.DataObject) -> None:
    first = ext_bytes(ext)
    others = []
    for _ in range(3):
        changed = bytearray(first)
        for _ in range(data.draw(st.integers(1, 3))):
            changed[data.draw(st.integers(0, len(first) - 1))] = data.draw(st.integers(0, 255))
        others.append(bytes(changed))
    expected = [entry_by_entry(one) for one in (first, *others)]
    header_binary._shapes.clear()
    assert read(first) == expected[0] == ext
    assert [read(one) for one in (first, *others)] == expected


@pytest.mark.skipif(speed.read_ext is None, reason="the compiled part is not built")
@given(
    ext=st.dictionaries(TEXT, TEXT, max_size=6),
    flips=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4),
)
def test_the_compiled_reader_agrees_or_abstains(ext: dict[str, str], flips: list[tuple[int, int]]) -> None:
    assert speed.read_ext is not None
    data = bytearray(ext_bytes(ext))
    for at, value in flips:
        if data:
            data[at % len(data)] = value
    for size in range(len(data) + 1) if not flips else [len(data)]:
        found = speed.read_ext(bytes(data[:size]))
        assert found is None or found == entry_by_entry(bytes(data[:size]))
    if not flips:
        assert speed.read_ext(bytes(data)) == {key: value for key, value in ext.items() if value}
    assert read_ext_bytes(ext_bytes(ext)) == {key: value for key, value in ext.items() if value}


def test_headers_of_one_client_share_a_shape() -> None:
    for number in range(1000, 1100):
        ext = {"a": "group", "e": str(number % 10), "g": str(number), "i": f"UNIQ_KEY\x01{number}\x02"}
        assert read_by_shape(ext_bytes(ext)) == ext
    (shapes,) = header_binary._shapes.values()
    assert len(shapes) == 1


def test_values_that_are_not_ascii_are_not_taken_for_ascii() -> None:
    plain, other = {"a": "abcd", "b": "xx"}, {"a": "abcd", "b": "ü"}
    assert len(ext_bytes(plain)) == len(ext_bytes(other))
    assert [read_by_shape(ext_bytes(one)) for one in (plain, other, plain)] == [plain, other, plain]


def test_repeated_and_empty_entries_make_no_shape() -> None:
    twice = ext_bytes({"a": "1", "b": "2"}) + ext_bytes({"a": "3"})
    assert read_by_shape(twice) == {"a": "3", "b": "2"}
    assert read_by_shape(ext_bytes({"a": "1", "b": "", "c": "2"})) == {"a": "1", "c": "2"}
    assert header_binary._shapes == {}


def test_what_is_remembered_is_bounded() -> None:
    for size in range(1, header_binary._SIZES_MAX + 50):
        if size < header_binary._SHAPED_BYTES_MAX:
            read_by_shape(ext_bytes({"a": "x" * (size % 500 + 1), "b" * (1 + size // 500): "1"}))
    for number in range(50):
        read_by_shape(ext_bytes({f"k{number:02}": "1", "b": "2"}))
    assert len(header_binary._shapes) <= header_binary._SIZES_MAX
    assert max(map(len, header_binary._shapes.values())) <= header_binary._SHAPES_OF_SIZE_MAX
