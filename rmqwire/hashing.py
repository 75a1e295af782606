"""Java's `String.hashCode`, and what is built from it: tags codes, index keys, the order of a `HashMap`.

What it is for: the server compares these numbers with the ones Java clients and stores compute, so they must be
equal bit for bit. What it must not do: use Python's `hash`, which differs in every process.

Source: `java.lang.String.hashCode`; `MessageExtBrokerInner.tagsString2tagsCode` and
`IndexFile.indexKeyHashMethod`, 4.7.0 and 5.5.0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import mul
from typing import ClassVar, TypeVar

_T = TypeVar("_T")

_MASK = 0xFFFFFFFF
_POWERS_LENGTH = 256
# _POWERS[-n:] are the weights 31^(n-1) ... 31^0 of an n character text, modulo 2^32.
_POWERS: tuple[int, ...] = tuple(pow(31, n, 1 << 32) for n in range(_POWERS_LENGTH - 1, -1, -1))
_WEIGHTS: tuple[tuple[int, ...], ...] = tuple(_POWERS[_POWERS_LENGTH - n :] for n in range(_POWERS_LENGTH + 1))


def _code_units(text: str) -> Sequence[int]:
    """The UTF-16 code units of a text; for plain ASCII the bytes themselves, which is the fast case."""
    if text.isascii():
        return text.encode("ascii")
    wide = text.encode("utf-16-be", "surrogatepass")
    return [(wide[i] << 8) | wide[i + 1] for i in range(0, len(wide), 2)]


def unsigned_string_hash(text: str) -> int:
    """`String.hashCode` modulo 2^32, as an unsigned number."""
    units = _code_units(text)
    count = len(units)
    if count <= _POWERS_LENGTH:
        short: int = sum(map(mul, units, _WEIGHTS[count]))
        return short & _MASK
    total = 0
    for start in range(0, count, _POWERS_LENGTH):
        piece = units[start : start + _POWERS_LENGTH]
        total = (total * power_of_31(len(piece)) + sum(map(mul, piece, _WEIGHTS[len(piece)]))) & _MASK
    return total


def power_of_31(exponent: int) -> int:
    """31^exponent modulo 2^32: what a prefix's hash is multiplied by when `exponent` characters follow it."""
    return pow(31, exponent, 1 << 32)


def java_string_hash(text: str) -> int:
    """`String.hashCode`: over UTF-16 code units, as a signed 32-bit number."""
    unsigned = unsigned_string_hash(text)
    return unsigned - (1 << 32) if unsigned & 0x80000000 else unsigned


def hash_order(items: Iterable[_T], hash_of: Callable[[_T], int], buckets: int = 16) -> list[_T]:
    """Put items in the order in which a `HashMap` or `HashSet` of them goes.

    Args:
        items: Distinct, in the order of insertion.
        hash_of: `hashCode` modulo 2^32.
        buckets: Size of the table to begin with, a power of two.
    """
    known = list(items)
    while len(known) > buckets * 3 // 4:
        buckets *= 2

    def bucket(item: _T) -> int:
        code = hash_of(item)
        return (code ^ code >> 16) & buckets - 1

    return sorted(known, key=bucket)


def tags_code(tags: str | None) -> int:
    """The number that a consume queue unit carries for a message's whole TAGS text; 0 when there is none.

    Source: `MessageExtBrokerInner.tagsString2tagsCode`: a Java int, sign-extended to eight bytes in the unit.
    """
    return _tag_hash(tags) if tags else 0


@lru_cache(maxsize=4096)
def _tag_hash(tags: str) -> int:
    return java_string_hash(tags)


def index_hash(unsigned: int) -> int:
    """The key hash an index entry carries, from an unsigned `String.hashCode`.

    As Java: `abs` of the signed number, and 0 for the one value whose `abs` stays negative.
    """
    if unsigned < 0x80000000:
        return unsigned
    if unsigned == 0x80000000:
        return 0
    return (1 << 32) - unsigned


class IndexKeyHasher:
    """Index hashes of `topic#key` texts of one topic, sharing what neighbouring keys have in common.

    Client made unique ids are 32 characters: 20 that are fixed for a client process, 8 of time and 4 of a counter.
    So the hash of the first 28 is remembered (many messages share their millisecond), and that of the last 4 is
    looked up as two pairs. The tables are shared by all topics, since
    `hash(prefix + rest) = hash(prefix) * 31^len(rest) + hash(rest)`.

    Args:
        topic: the topic whose keys are hashed.
    """

    __slots__ = ("_after_32", "_topic_hash")

    _heads: ClassVar[dict[str, int]] = {}
    _pairs: ClassVar[dict[str, int]] = {}
    _HEADS_MAX = 4096
    _PAIRS_MAX = 4096

    def __init__(self, topic: str) -> None:
        self._topic_hash = unsigned_string_hash(topic + "#")
        self._after_32 = self._topic_hash * power_of_31(32)

    def index_hash(self, key: str) -> int:
        """`IndexFile.indexKeyHashMethod(topic + "#" + key)`: 0 to 2^31 - 1."""
        if len(key) == 32 and key.isascii():
            head = key[:28]
            head_hash = self._heads.get(head)
            if head_hash is None:
                head_hash = self._remember_head(head)
            pairs = self._pairs
            try:
                unsigned = (self._after_32 + head_hash + pairs[key[28:30]] * 961 + pairs[key[30:]]) & 0xFFFFFFFF
            except KeyError:
                unsigned = (self._after_32 + head_hash + self._remember_pairs(key[28:])) & 0xFFFFFFFF
        else:
            # A character outside the basic plane is two code units, so the length is taken from these.
            length = len(key) if key.isascii() else len(key.encode("utf-16-be", "surrogatepass")) // 2
            unsigned = (self._topic_hash * power_of_31(length) + unsigned_string_hash(key)) & 0xFFFFFFFF
        if unsigned < 0x80000000:
            return unsigned
        return (0x100000000 - unsigned) & 0x7FFFFFFF

    def _remember_head(self, head: str) -> int:
        heads = self._heads
        if len(heads) >= self._HEADS_MAX:
            heads.clear()
        heads[head] = value = unsigned_string_hash(head) * 923521
        return value

    def _remember_pairs(self, tail: str) -> int:
        pairs = self._pairs
        if len(pairs) >= self._PAIRS_MAX:
            pairs.clear()
        for pair in (tail[:2], tail[2:]):
            pairs[pair] = unsigned_string_hash(pair)
        return unsigned_string_hash(tail)
