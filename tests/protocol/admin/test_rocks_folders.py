"""rocksDBConfigToJson and exportMetadataInRocksDB of a folder whose values are not what they should be."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest

from rmqd.protocol.admin.command import Given
from rmqd.protocol.admin.errors import NotFound
from rmqd.protocol.admin.output import Output
from rmqd.protocol.admin.rocks_folders import convert_folder
from rmqd.store.rockstable import masked_crc32c


def _record(data: bytes) -> bytes:
    """A whole record of a log."""
    return struct.pack("<IHB", masked_crc32c(b"\1" + data), len(data), 1) + data


def _database(folder: Path, key: bytes, value: bytes) -> None:
    """A database of one entry, which is in its write-ahead log."""
    folder.mkdir(parents=True)
    (folder / "CURRENT").write_bytes(b"MANIFEST-000001\n")
    (folder / "MANIFEST-000001").write_bytes(_record(b"\2\0"))
    batch = struct.pack("<QI", 1, 1) + b"\1" + bytes([len(key)]) + key + bytes([len(value)]) + value
    (folder / "000002.log").write_bytes(_record(batch))


def _convert(folder: Path) -> str:
    stream = io.StringIO()
    convert_folder(Given({"configPath": str(folder)}), "consumerOffsets", Output(stream, False))
    return stream.getvalue()


def test_offsets(tmp_path: Path) -> None:
    _database(tmp_path / "consumerOffsets", b"T@g", b'{"offsetTable":{0:7}}')
    assert '"T@g":{\n\t\t\t"0":7\n\t\t}' in _convert(tmp_path)


@pytest.mark.parametrize("value", [b"[]", b"5", b"null", b'"x"'])
def test_a_value_that_is_no_object_is_named(value: bytes, tmp_path: Path) -> None:
    _database(tmp_path / "consumerOffsets", b"T@g", value)
    with pytest.raises(NotFound, match="the value of T@g is no JSON object"):
        _convert(tmp_path)


def test_a_value_that_is_no_json_is_named(tmp_path: Path) -> None:
    _database(tmp_path / "consumerOffsets", b"T@g", b"{")
    with pytest.raises(NotFound, match="the value of T@g is no JSON"):
        _convert(tmp_path)
