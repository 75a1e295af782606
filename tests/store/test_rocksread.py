"""Databases of RocksDB that 5.5.0 wrote, read without RocksDB."""

from __future__ import annotations

import struct
import tarfile
from pathlib import Path

import pytest

from rmqd.store.errors import StoreDamaged
from rmqd.store.rocksread import read_database
from rmqd.store.rockstable import masked_crc32c, read_table

GOLDEN = Path(__file__).parent.parent / "golden" / "rocks" / "5.5.0.tar.xz"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(GOLDEN) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    return tmp_path


def _value(number: int, queues: int) -> bytes:
    return b'{"topicName":"topic-%d","readQueueNums":%d}' % (number, queues)


def _wanted() -> dict[bytes, bytes]:
    table = {b"topic-%d" % number: _value(number, number % 8) for number in range(1000) if number % 3}
    table.update({b"topic-%d" % number: _value(number, 77) for number in range(1, 1000, 5)})
    return table


@pytest.mark.parametrize("kind", ["logs", "closed", "tables"])
def test_what_was_put_and_not_deleted_is_read_by_key(kind: str, folder: Path) -> None:
    rows = read_database(folder / kind)
    assert dict(rows) == _wanted()
    assert [key for key, _ in rows] == sorted(_wanted())
    assert read_database(folder / kind, "kvDataVersion") == [(b"kvDataVersionKey", b"{}")]


def test_tables_compressed_with_lz4(folder: Path) -> None:
    rows = read_database(folder / "LZ4_COMPRESSION")
    assert dict(rows) == {b"topic-%d" % number: _value(number, 8) * 3 for number in range(300)}


def test_other_compressions_are_refused_by_name(folder: Path) -> None:
    with pytest.raises(StoreDamaged, match="compressed with ZSTD, which needs RocksDB itself"):
        read_database(folder / "ZSTD_COMPRESSION")


def test_a_damaged_manifest_is_told(folder: Path) -> None:
    manifest = next((folder / "tables").glob("MANIFEST-*"))
    data = bytearray(manifest.read_bytes())
    data[40] ^= 1
    manifest.write_bytes(data)
    with pytest.raises(StoreDamaged, match="does not match its checksum"):
        read_database(folder / "tables")


def test_a_log_cut_short_gives_what_is_before(folder: Path) -> None:
    log = max((folder / "logs").glob("*.log"), key=lambda path: path.stat().st_size)
    log.write_bytes(log.read_bytes()[:-20_000])
    rows = dict(read_database(folder / "logs"))
    assert rows[b"topic-1"] in (_value(1, 1), _value(1, 77))
    assert rows != _wanted()


@pytest.mark.parametrize("kind", ["tables", "LZ4_COMPRESSION"])
def test_any_flipped_byte_of_a_table_is_an_error_or_another_value_never_a_crash(kind: str, folder: Path) -> None:
    table = next((folder / kind).glob("*.sst"))
    data = table.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 150)):
        damaged = bytearray(data)
        damaged[at] ^= 0x55
        table.write_bytes(damaged)
        try:
            read_database(folder / kind)
        except StoreDamaged:
            continue


def test_no_database(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_database(tmp_path)


@pytest.mark.parametrize("text", [b"\0" * 16, b"", b"../topics/MANIFEST-000001\n", b"MANIFEST-\n", b"\xff"])
def test_a_current_that_names_no_manifest(text: bytes, folder: Path) -> None:
    """As after a power cut, which may leave a file its size and none of its bytes."""
    (folder / "tables" / "CURRENT").write_bytes(text)
    with pytest.raises(StoreDamaged, match="names no manifest"):
        read_database(folder / "tables")


@pytest.mark.parametrize("size", [0, 6, 7])
def test_a_manifest_without_an_edit_is_no_empty_database(size: int, folder: Path) -> None:
    manifest = next((folder / "tables").glob("MANIFEST-*"))
    manifest.write_bytes(bytes(size))
    with pytest.raises(StoreDamaged, match="a manifest without an edit"):
        read_database(folder / "tables")


def test_a_family_that_is_not_there(folder: Path) -> None:
    with pytest.raises(StoreDamaged, match="no column family other"):
        read_database(folder / "tables", "other")


@pytest.mark.parametrize(
    "entry",
    [b"\0\x40\0", b"\0\x0c\x01" + b"k" * 12, b"\1\x0b\0" + b"k" * 11],
    ids=["a key past the end", "a value past the end", "a key that shares what is not there"],
)
def test_an_entry_that_ends_past_its_block_is_no_entry(entry: bytes) -> None:
    """Where there is no checksum, what is cut short would pass for another key or value."""
    restarts = (0).to_bytes(4, "little") + (1).to_bytes(4, "little")
    with pytest.raises(StoreDamaged, match="ends within an entry"):
        list(read_table(_table(entry + restarts), "file"))


def test_a_block_with_more_restarts_than_it_has_space_for() -> None:
    with pytest.raises(StoreDamaged, match="ends within an entry"):
        list(read_table(_table(b"\0\x0c\0" + b"k" * 12 + (9).to_bytes(4, "little")), "file"))


def test_a_table_without_checksums() -> None:
    restarts = (0).to_bytes(4, "little") + (1).to_bytes(4, "little")
    tail = (5 << 8 | 1).to_bytes(8, "little")
    assert list(read_table(_table(b"\0\x0b\1key" + tail + b"v" + restarts), "file")) == [(b"key", 5, 1, b"v")]


def _table(block: bytes) -> bytes:
    """A table of one data block, without checksums."""
    restarts = (0).to_bytes(4, "little") + (1).to_bytes(4, "little")
    index = b"\0\1\2z" + bytes((0, len(block))) + restarts
    handles = bytes((0, 0, len(block) + 5, len(index)))
    footer = b"\0" + handles.ljust(40, b"\0") + struct.pack("<IQ", 2, 0x88E241B785F4CFF7)
    return block + bytes(5) + index + bytes(5) + footer


def test_the_checksum_is_the_masked_crc_32c() -> None:
    crc = 0xE3069283  # of "123456789"
    assert masked_crc32c(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
