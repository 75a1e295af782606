"""Bytes of a connection become frames however they are cut, and nothing is kept for a frame that is too large."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqwire import speed
from rmqwire.errors import FrameTooLarge, MalformedFrame, WireError
from rmqwire.frames import FRAME_SIZE_MAX_BYTES, JSON, ROCKETMQ, Frame, FrameReader, encode_frame

ROUTE_REQUEST = (
    b'{"code":105,"extFields":{"topic":"T"},"flag":0,"language":"JAVA","opaque":7,'
    b'"serializeTypeCurrentRPC":"JSON","version":513}'
)
BINARY_REQUEST = bytes.fromhex("0069000201000000070000000000000000" + "0000000c0005746f7069630000000154")

TABLE: list[tuple[Frame, bytes]] = [
    ((JSON, ROUTE_REQUEST, b""), bytes.fromhex("0000007f0000007b") + ROUTE_REQUEST),
    ((ROCKETMQ, BINARY_REQUEST, b""), bytes.fromhex("0000002501000021") + BINARY_REQUEST),
    ((JSON, b"{}", b"body"), bytes.fromhex("0000000a00000002") + b"{}body"),
    ((JSON, b"", b""), bytes.fromhex("0000000400000000")),
    ((255, b"", b"x"), bytes.fromhex("00000005ff00000078")),
]

FRAMES = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40), st.binary(max_size=60)), max_size=6)


@pytest.mark.parametrize(("frame", "data"), TABLE)
def test_table_both_ways(frame: Frame, data: bytes) -> None:
    assert encode_frame(*frame) == data
    assert FrameReader().receive(data) == [frame]


@pytest.mark.parametrize(("frame", "data"), TABLE)
def test_one_byte_at_a_time(frame: Frame, data: bytes) -> None:
    reader = FrameReader()
    got = [reader.receive(data[at : at + 1]) for at in range(len(data))]
    assert got == [[]] * (len(data) - 1) + [[frame]]


@pytest.mark.parametrize(("frame", "data"), TABLE)
def test_trailing_bytes_wait_for_the_rest(frame: Frame, data: bytes) -> None:
    reader = FrameReader()
    assert reader.receive(data + data[:5]) == [frame]
    assert reader.receive(data[5:] + data) == [frame, frame]
    assert reader.error is None


@given(FRAMES, st.lists(st.integers(0, 700), max_size=8), st.booleans())
def test_any_cutting_gives_the_same_frames(frames: list[Frame], cuts: list[int], compiled: bool) -> None:
    data = b"".join(encode_frame(*frame) for frame in frames)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(speed, "cut_frames", None)
        plain, shared = FrameReader(), FrameReader()
        buffer = bytearray(len(data))
        for_plain: list[Frame] = []
        for_shared: list[Frame] = []
        for start, stop in itertools.pairwise(edges):
            for_plain += plain.receive(data[start:stop])
            buffer[: stop - start] = data[start:stop]
            for_shared += shared.receive(memoryview(buffer)[: stop - start])
            buffer[:] = b"\xff" * len(buffer)  # as the next read does
    assert for_plain == for_shared == frames
    assert all(type(part) is bytes for _, *parts in for_shared for part in parts)
    assert plain.error is shared.error is None


@pytest.mark.parametrize("size", [1, 1000, 65_536, 70_001])
def test_a_large_frame_in_pieces(size: int) -> None:
    """However it arrives, between two others."""
    body = bytes(range(256)) * 1200
    frame = (JSON, ROUTE_REQUEST * 300, body)
    data = TABLE[2][1] + encode_frame(*frame) + TABLE[0][1]
    reader = FrameReader()
    got = [found for at in range(0, len(data), size) for found in reader.receive(memoryview(data)[at : at + size])]
    assert got == [TABLE[2][0], frame, TABLE[0][0]]
    assert not reader._rest


@pytest.mark.parametrize("length", [FRAME_SIZE_MAX_BYTES + 1, 2**31 - 1, 3, 0, -1, -(2**31)])
@pytest.mark.parametrize("known", [4, 8])
def test_a_bad_length_is_refused_before_anything_is_kept(length: int, known: int) -> None:
    """A peer that announces 2 GiB costs no memory: the connection ends with the length word."""
    reader = FrameReader()
    words = struct.pack(">ii", length, 0)[:known]
    assert reader.receive(TABLE[2][1] + words) == [TABLE[2][0]]
    assert isinstance(reader.error, FrameTooLarge)
    assert not reader._rest
    assert reader.receive(TABLE[2][1]) == []


def test_the_largest_frame_is_accepted() -> None:
    data = encode_frame(JSON, b"{}", bytes(FRAME_SIZE_MAX_BYTES - 6))
    assert len(data) == FRAME_SIZE_MAX_BYTES + 4
    ((_, header, body),) = FrameReader().receive(data)
    assert (header, len(body)) == (b"{}", FRAME_SIZE_MAX_BYTES - 6)


def test_a_limit_of_ones_own() -> None:
    reader = FrameReader(frame_size_max_bytes=10)
    assert reader.receive(TABLE[2][1]) == [TABLE[2][0]]
    reader.receive(TABLE[0][1])
    assert isinstance(reader.error, FrameTooLarge)


def test_a_header_longer_than_its_frame_is_refused() -> None:
    reader = FrameReader()
    assert reader.receive(struct.pack(">ii", 10, 7) + bytes(6)) == []
    assert isinstance(reader.error, MalformedFrame)


def test_a_header_over_24_bits_is_not_written() -> None:
    with pytest.raises(FrameTooLarge):
        encode_frame(JSON, bytes(1 << 24))


@given(st.lists(st.binary(max_size=64), max_size=6))
def test_any_bytes_give_frames_or_an_error(chunks: list[bytes]) -> None:
    reader = FrameReader(1000)
    for chunk in chunks:
        for serialization, header, body in reader.receive(chunk):
            assert 0 <= serialization <= 255
            assert len(header) + len(body) <= 996
    assert reader.error is None or isinstance(reader.error, WireError)
    assert len(reader._rest) <= 1004


@pytest.mark.skipif(speed.cut_frames is None, reason="the compiled part is not built")
@given(FRAMES, st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=3), st.integers(0, 80), st.integers(0))
def test_compiled_cutting(frames: list[Frame], flips: list[tuple[int, int]], limit: int, end: int) -> None:
    data = bytearray(b"".join(encode_frame(*frame) for frame in frames))
    for at, value in flips:
        if data:
            data[at % len(data)] = value
    read = bytes(data[: end % (len(data) + 1)]) if end % 2 else bytes(data)
    outcomes = []
    for compiled in (speed.cut_frames, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(speed, "cut_frames", compiled)
            reader = FrameReader(limit)
            got = reader.receive(read), reader.receive(b"\0")
            outcomes.append((got, str(reader.error), bytes(reader._rest), reader._need))
    assert outcomes[0] == outcomes[1]


@pytest.mark.skipif(speed.cut_frames is None, reason="the compiled part is not built")
def test_compiled_cutting_refuses_other_types() -> None:
    assert speed.cut_frames is not None
    for arguments in ((b"",), ("", 8, 0), (b"", "8"), (b"", 1 << 80), (b"", 8, "0"), (b"", 8, -1), (b"", 8, 1 << 80)):
        with pytest.raises((TypeError, OverflowError, ValueError)):
            speed.cut_frames(*arguments)  # type: ignore[call-arg, arg-type]
    assert speed.cut_frames(b"", 8, 0) == ([], 0)
    assert speed.cut_frames(b"", 8, 3) == ([], 3)
    assert speed.cut_frames(TABLE[2][1] * 2, 9, 0) == ([], 0)
    assert speed.cut_frames(TABLE[2][1] * 2, 10, 0) == ([TABLE[2][0]] * 2, 28)
    assert speed.cut_frames(memoryview(TABLE[2][1] * 2), 10, 14) == ([TABLE[2][0]], 28)
