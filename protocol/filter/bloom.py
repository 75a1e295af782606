"""The bits that a filtering consumer has in a message's bit map, as `consumerFilter.json` keeps them.

Only the bits of a consumer are worked out here; no bit maps of messages are made or read (`enableCalcFilterBitMap`).
Source: `BloomFilter` (5.5.0), which uses MurmurHash3 x64 128 (Appleby, public domain) with seed 0.
"""

from __future__ import annotations

import math
import struct

_U64 = 0xFFFFFFFFFFFFFFFF
_C1, _C2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
_BLOCK = struct.Struct("<QQ")


class BloomLayout:
    """How many bits there are, and how many of them each consumer has.

    Args:
        error_rate: Percent, 1 to 99 (`maxErrorRateOfBloomFilter`).
        consumers: For how many consumers this rate holds (`expectConsumerNumUseFilter`).

    Attributes:
        bit_num: Number of bits, a multiple of 8.
        positions: Number of bits of a consumer.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, error_rate: int, consumers: int) -> None:
        if not 1 <= error_rate < 100:
            raise ValueError(f"an error rate of {error_rate} %, expected 1 to 99")
        if consumers < 1:
            raise ValueError(f"{consumers} consumers, expected at least 1")
        rate = error_rate / 100
        self.positions = math.ceil(_log(0.5, rate))
        self.bit_num = 8 * math.ceil(math.ceil(consumers * _log(2, 1 / rate) * _log(2, math.e)) / 8)

    def bit_positions(self, text: str) -> list[int]:
        """Give the bits of a consumer, by its group, `#` and topic; a bit may occur twice."""
        first = murmur3_64(text.encode("utf-8", "replace"))
        low, high = first & 0xFFFFFFFF, first >> 32
        found = []
        for i in range(1, self.positions + 1):
            combined = low + i * high & 0xFFFFFFFF
            if combined & 0x80000000:  # negative in Java, which inverts it
                combined ^= 0xFFFFFFFF
            found.append(combined % self.bit_num)
        return found


def _log(base: float, number: float) -> float:
    return math.log(number) / math.log(base)  # as Java: math.log2 may round otherwise


def murmur3_64(data: bytes) -> int:
    """Give the first 64 bits of MurmurHash3 x64 128, seed 0."""
    one = two = 0
    size = len(data)
    whole = size - size % 16
    for at in range(0, whole, 16):
        k1, k2 = _BLOCK.unpack_from(data, at)
        one = _mixed(one, k1, 31, _C1, _C2)
        one = _rotated(one, 27) + two & _U64
        one = one * 5 + 0x52DCE729 & _U64
        two = _mixed(two, k2, 33, _C2, _C1)
        two = _rotated(two, 31) + one & _U64
        two = two * 5 + 0x38495AB5 & _U64
    k1, k2 = _BLOCK.unpack(data[whole:].ljust(16, b"\0"))
    two = _mixed(two, k2, 33, _C2, _C1) ^ size
    one = _mixed(one, k1, 31, _C1, _C2) ^ size
    one = one + two & _U64
    two = two + one & _U64
    return _finished(one) + _finished(two) & _U64


def _rotated(number: int, bits: int) -> int:
    return (number << bits | number >> 64 - bits) & _U64


def _mixed(state: int, block: int, bits: int, before: int, after: int) -> int:
    return state ^ _rotated(block * before & _U64, bits) * after & _U64


def _finished(number: int) -> int:
    number = (number ^ number >> 33) * 0xFF51AFD7ED558CCD & _U64
    number = (number ^ number >> 33) * 0xC4CEB9FE1A85EC53 & _U64
    return number ^ number >> 33
