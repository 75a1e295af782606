"""Frames: `frame length i32 | header word i32 | header | body`, big-endian.

The header word's high byte is the serialization, its low 24 bits the header's length. The frame length counts what
follows it. Source: `RemotingCommand.decode`, `NettyDecoder` (4.7.0, 5.5.0).
"""

from __future__ import annotations

from struct import Struct

from . import speed
from .errors import FrameTooLarge, MalformedFrame, WireError

FRAME_SIZE_MAX_BYTES = 16_777_216
"""Largest frame length word accepted, in bytes (`com.rocketmq.remoting.frameMaxLength`)."""

HEADER_SIZE_MAX_BYTES = 0xFFFFFF
"""The header's length has 24 bits."""

JSON = 0
ROCKETMQ = 1

_WORDS = Struct(">iI")
_unpack_words = _WORDS.unpack_from

Frame = tuple[int, bytes, bytes]
"""`(serialization, header, body)`."""


class FrameReader:
    """Cut the bytes of one connection into frames, in one pass per read.

    Bytes of an incomplete frame are kept until the rest arrives; nothing is kept for a frame whose declared length
    is over the limit.
    """

    __slots__ = ("_max", "_need", "_rest", "error")

    def __init__(self, frame_size_max_bytes: int = FRAME_SIZE_MAX_BYTES) -> None:
        self._rest = bytearray()
        self._need = 0
        self._max = frame_size_max_bytes
        self.error: WireError | None = None
        """Set when the stream cannot be read on; the connection has to be closed after what came before is answered."""

    def receive(self, data: bytes) -> list[Frame]:
        """Take the bytes of one read; give the frames they complete.

        After an error (`self.error`) further bytes are dropped.
        """
        if self.error is not None:
            return []
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._need:
                return []
            data = bytes(rest)
            rest.clear()
        frames: list[Frame] = []
        position, end = 0, len(data)
        if speed.cut_frames is not None:
            frames, position = speed.cut_frames(data, self._max)
            if position == end:
                return frames
        while end - position >= 8:
            length, word = _unpack_words(data, position)
            if not 4 <= length <= self._max:
                self.error = FrameTooLarge(f"declared frame length {length}, allowed are 4 to {self._max}")
                return frames
            body_at = position + 8 + (word & HEADER_SIZE_MAX_BYTES)
            stop = position + 4 + length
            if body_at > stop:
                self.error = MalformedFrame(f"header length {body_at - position - 8} in a frame of {length} bytes")
                return frames
            if stop > end:
                self._need = stop - position
                rest += data[position:]
                return frames
            frames.append((word >> 24, data[position + 8 : body_at], data[body_at:stop]))
            position = stop
        if position < end:
            self._need = 8
            if end - position >= 4:
                length = int.from_bytes(data[position : position + 4], "big", signed=True)
                if not 4 <= length <= self._max:
                    self.error = FrameTooLarge(f"declared frame length {length}, allowed are 4 to {self._max}")
                    return frames
            rest += data[position:]
        return frames


def encode_frame(serialization: int, header: bytes, body: bytes = b"") -> bytes:
    """Put a header and a body into one frame.

    Raises:
        FrameTooLarge: The header is longer than 24 bits can say.
    """
    size = len(header)
    if size > HEADER_SIZE_MAX_BYTES:
        raise FrameTooLarge(f"header of {size} bytes, the most is {HEADER_SIZE_MAX_BYTES}")
    return _WORDS.pack(4 + size + len(body), serialization << 24 | size) + header + body
