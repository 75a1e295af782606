"""Every way to sum bytes gives what zlib gives."""

from __future__ import annotations

import subprocess
import sys
import threading
import zlib
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqwire import checksum, speed

if speed.crc32 is not None:
    from rmqwire._speed import CRC32_WAYS, crc32_by
else:
    CRC32_WAYS = ()

WAYS = pytest.mark.parametrize("way", CRC32_WAYS)
BYTES = Random(7).randbytes(70_000)


def test_the_reference_where_nothing_is_compiled() -> None:
    assert checksum.crc32 is (speed.crc32 or zlib.crc32)
    program = "import zlib; from rmqwire import checksum; print(checksum.crc32 is zlib.crc32)"
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, env={"RMQD_PURE": "1"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"


@given(data=st.binary(max_size=600))
def test_the_one_that_is_used(data: bytes) -> None:
    assert checksum.crc32(data) == zlib.crc32(data)


@WAYS
def test_every_length(way: str) -> None:
    for size in range(601):
        assert crc32_by(way, BYTES[:size]) == zlib.crc32(BYTES[:size])


@WAYS
def test_every_alignment(way: str) -> None:
    view = memoryview(BYTES)
    for begin in range(65):
        for size in (*range(0, 130, 13), 1000, 65_535, 65_536):
            assert crc32_by(way, view[begin : begin + size]) == zlib.crc32(view[begin : begin + size])


@WAYS
@given(size=st.integers(0, 70_000), byte=st.integers(0, 255))
def test_equal_bytes(way: str, size: int, byte: int) -> None:
    data = bytes([byte]) * size
    assert crc32_by(way, data) == zlib.crc32(data)


@WAYS
@given(data=st.binary(max_size=300))
def test_any_bytes(way: str, data: bytes) -> None:
    assert crc32_by(way, bytearray(data)) == zlib.crc32(data)


@WAYS
def test_large_ones_in_several_threads(way: str) -> None:
    data = BYTES * 20  # summed without the interpreter's lock
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(crc32_by(way, data))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [zlib.crc32(data)] * 4


@pytest.mark.skipif(not CRC32_WAYS, reason="the compiled part is not built")
def test_what_is_refused() -> None:
    assert "table" in CRC32_WAYS
    assert speed.crc32 is not None
    with pytest.raises(TypeError):
        speed.crc32("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        speed.crc32(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no way"):
        crc32_by("other", b"")
    with pytest.raises(TypeError):
        crc32_by(b"table", b"")  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        speed.crc32(memoryview(b"abcdef")[::2])
