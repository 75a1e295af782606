"""Numbers that Java computes too must be Java's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqwire.hashing import (
    IndexKeyHasher,
    hash_order,
    index_hash,
    java_string_hash,
    tags_code,
    unsigned_string_hash,
)
from tests.strategies import JAVA_TEXT, TOPICS


def by_the_book(text: str) -> int:
    """`String.hashCode` as its documentation defines it."""
    wide = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for at in range(0, len(wide), 2):
        value = (value * 31 + (wide[at] << 8 | wide[at + 1])) & 0xFFFFFFFF
    return value - (1 << 32) if value & 0x80000000 else value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TagA", 2_598_919),
        ("order-created", -392_709_271),
        ("polygenelubricants", -(2**31)),
        ("TopicTest#KEY1", -1_656_969_516),
    ],
)
def test_vectors_of_a_java_machine(text: str, expected: int) -> None:
    assert java_string_hash(text) == expected


@given(st.one_of(JAVA_TEXT, st.text(max_size=700)))
def test_hash_of_any_text(text: str) -> None:
    assert java_string_hash(text) == by_the_book(text)


def test_tags() -> None:
    assert tags_code(None) == tags_code("") == 0
    assert tags_code("order-created").to_bytes(8, "big", signed=True).hex() == "ffffffffe897bb69"


def test_an_index_hash_is_never_negative() -> None:
    assert index_hash(unsigned_string_hash("polygenelubricants")) == 0
    assert index_hash(unsigned_string_hash("order-created")) == 392_709_271


@given(
    TOPICS,
    st.lists(
        st.one_of(JAVA_TEXT, st.text("0123456789ABCDEF", min_size=32, max_size=32), st.text(min_size=32, max_size=32)),
        max_size=8,
    ),
)
def test_the_shared_parts_of_keys_change_no_hash(topic: str, keys: list[str]) -> None:
    hasher = IndexKeyHasher(topic)
    for key in keys * 2:
        assert hasher.index_hash(key) == index_hash(by_the_book(f"{topic}#{key}") & 0xFFFFFFFF)


def test_the_tables_of_shared_parts_are_bounded() -> None:
    hasher = IndexKeyHasher("T")
    for number in range(9000):
        key = f"{number:028X}{number % 7:02d}{number % 97:02X}"
        assert hasher.index_hash(key) == index_hash(unsigned_string_hash("T#" + key))
    assert len(IndexKeyHasher._heads) <= IndexKeyHasher._HEADS_MAX
    assert len(IndexKeyHasher._pairs) <= IndexKeyHasher._PAIRS_MAX + 2


@pytest.mark.parametrize("length", [255, 256, 257, 600])
@pytest.mark.parametrize("character", ["a", "\u00e4", "\U0001f600"])
def test_long_texts_are_summed_in_pieces(length: int, character: str) -> None:
    """Keys of a whole document; the tables of weights end at 256."""
    text = "".join(chr(ord(character) + number % 7) for number in range(length))
    assert java_string_hash(text) == by_the_book(text)


def test_the_table_of_last_letters_is_bounded_too() -> None:
    """However keys end, in ASCII without order."""
    hasher = IndexKeyHasher("T")
    for number in range(5000):
        key = "0" * 28 + chr(33 + number % 90) + chr(33 + number // 90) + "zz"
        assert hasher.index_hash(key) == index_hash(unsigned_string_hash("T#" + key))
    assert len(hasher._pairs) <= hasher._PAIRS_MAX + 2


def test_hash_order_is_that_of_java() -> None:
    # HashSet of these in Java 17: [banana, orange, apple, pear]
    assert hash_order(["apple", "banana", "pear", "orange"], unsigned_string_hash) == [
        "banana",
        "orange",
        "apple",
        "pear",
    ]


def test_hash_order_grows_its_table() -> None:
    keys = [f"key-{n}" for n in range(40)]
    assert sorted(hash_order(keys, unsigned_string_hash)) == sorted(keys)
    assert hash_order(keys, unsigned_string_hash) == hash_order(keys, unsigned_string_hash, 64)
