"""Tables of RocksDB, read: the sorted files of a database (`.sst`), block-based, format versions 2 to 5.

What it is for: `rocksread`, which gives a whole small database. What it must not do: write, or keep a file open.

    data blocks | meta blocks | index block | footer
    block:  entries | restarts u32 * n | n u32 | compression u8 | checksum u32
    entry:  shared varint | not shared varint | value length varint | rest of key | value
    footer: checksum type u8 | metaindex and index handle, varints, filled to 40 | format version u32 | magic u64

Numbers of fixed length are little-endian. A key ends in `sequence << 8 | type`, 8 bytes. Blocks with a CRC-32C are
checked by it; other kinds of checksums are not.

Source: RocksDB 8, `table/format.cc`, `table/block_based/block.cc`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .errors import StoreDamaged

_FOOTER_BYTES = 53
_MAGIC = 0x88E241B785F4CFF7
_TRAILER_BYTES = 5
_CRC32C = 1
_NONE, _LZ4 = 0, 4
_COMPRESSIONS = {1: "Snappy", 2: "zlib", 3: "bzip2", 5: "LZ4HC", 6: "Xpress", 7: "ZSTD"}
_U32 = struct.Struct("<I")

Entry = tuple[bytes, int, int, bytes]
"""User key, sequence, type, value."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the position behind it. Raises `IndexError` at the end of the data."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def read_slice(data: bytes, at: int) -> tuple[bytes, int]:
    """Bytes with their length before them, and the position behind them.

    Raises:
        IndexError: the data ends before.
    """
    length, at = read_varint(data, at)
    if at + length > len(data):
        raise IndexError(at)
    return data[at : at + length], at + length


def read_table(data: bytes, file: str) -> Iterator[Entry]:
    """Every entry of a table, in its order.

    Raises:
        StoreDamaged: it is no such table, it is damaged, or compressed by what is not known here.
    """
    try:
        checksum, index_at, index_size, version = _footer(data, file)
        index = _block(data, index_at, index_size, checksum, file)
        for at, size in _handles(index, version):
            for key, value in _entries(_block(data, at, size, checksum, file)):
                tail = int.from_bytes(key[-8:], "little")
                yield key[:-8], tail >> 8, tail & 0xFF, value
    except (IndexError, struct.error) as cause:
        raise StoreDamaged("the table ends within an entry", file=file) from cause


def _footer(data: bytes, file: str) -> tuple[int, int, int, int]:
    footer = data[-_FOOTER_BYTES:]
    version, magic = struct.unpack_from("<IQ", footer, 41)
    if magic != _MAGIC:
        raise StoreDamaged("no block-based table of RocksDB", file=file)
    if not 2 <= version <= 5:
        raise StoreDamaged(f"a table of format version {version}, known are 2 to 5", file=file)
    at = 1
    _, at = read_varint(footer, at)
    _, at = read_varint(footer, at)
    index_at, at = read_varint(footer, at)
    index_size, _ = read_varint(footer, at)
    return footer[0], index_at, index_size, version


def _block(data: bytes, at: int, size: int, checksum: int, file: str) -> bytes:
    trailer = data[at + size : at + size + _TRAILER_BYTES]
    if len(trailer) < _TRAILER_BYTES:
        raise IndexError(at)
    block = data[at : at + size]
    if checksum == _CRC32C and masked_crc32c(block + trailer[:1]) != _U32.unpack_from(trailer, 1)[0]:
        raise StoreDamaged("a block that does not match its checksum", file=file, position=at)
    kind = trailer[0]
    if kind == _NONE:
        return block
    if kind == _LZ4:
        length, begin = read_varint(block, 0)
        return _unpacked(block, begin, length)
    raise StoreDamaged(f"compressed with {_COMPRESSIONS.get(kind, kind)}, which needs RocksDB itself", file=file)


def _unpacked(block: bytes, at: int, length: int) -> bytes:
    """An LZ4 block: runs of literals, each followed by a copy of what came before."""
    out = bytearray()
    while at < len(block):
        token = block[at]
        at += 1
        literals = token >> 4
        if literals == 15:
            at, literals = _more(block, at, literals)
        out += block[at : at + literals]
        at += literals
        if at >= len(block):
            break
        back = int.from_bytes(block[at : at + 2], "little")
        at += 2
        count = token & 15
        if count == 15:
            at, count = _more(block, at, count)
        count += 4
        if not 0 < back <= len(out):
            raise IndexError(at)
        for _ in range(count):  # may reach into what it makes
            out.append(out[-back])
    if len(out) != length:
        raise IndexError(at)
    return bytes(out)


def _more(block: bytes, at: int, value: int) -> tuple[int, int]:
    while True:
        byte = block[at]
        at += 1
        value += byte
        if byte != 255:
            return at, value


def _end(block: bytes) -> int:
    """Where the entries of a block end and its restarts begin; the highest bit says that there is a hash index.

    Raises:
        IndexError: there are more restarts than the block has space for.
    """
    count = int.from_bytes(block[-4:], "little") & 0x7FFFFFFF
    end = len(block) - 4 - count * 4
    if end < 0:
        raise IndexError(end)
    return end


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block.

    Raises:
        IndexError: one of them does not lie within the entries, or shares more than the key before it has.
    """
    at, end, key = 0, _end(block), b""
    while at < end:
        shared, at = read_varint(block, at)
        rest, at = read_varint(block, at)
        length, at = read_varint(block, at)
        if shared > len(key) or at + rest + length > end:
            raise IndexError(at)
        key = key[:shared] + block[at : at + rest]
        at += rest
        yield key, block[at : at + length]
        at += length


def _handles(block: bytes, version: int) -> Iterator[tuple[int, int]]:
    """Position and size of each data block. From version 4 on, an entry that shares tells how the size differs."""
    if version < 4:
        for _, value in _entries(block):
            position, at = read_varint(value, 0)
            yield position, read_varint(value, at)[0]
        return
    at, end, position, size = 0, _end(block), 0, 0
    while at < end:
        shared, at = read_varint(block, at)
        rest, at = read_varint(block, at)
        at += rest
        if shared:
            zigzag, at = read_varint(block, at)
            position += size + _TRAILER_BYTES
            size += (zigzag >> 1) ^ -(zigzag & 1)
        else:
            position, at = read_varint(block, at)
            size, at = read_varint(block, at)
        if at > end:
            raise IndexError(at)
        yield position, size


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """CRC-32C as RocksDB stores it, turned and with a constant added, so that sums of sums differ."""
    value, table = 0xFFFFFFFF, _CRC_TABLE
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
