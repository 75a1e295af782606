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

    __slots__ = ("_body_at", "_max", "_need", "_rest", "completed_bytes", "error", "waits")

    def __init__(self, frame_size_max_bytes: int = FRAME_SIZE_MAX_BYTES) -> None:
        self._rest = bytearray()  # of the frame that waits for more
        self._need = 0  # what it will have; 0 until both words are there
        self._body_at = 0
        self._max = frame_size_max_bytes
        self.completed_bytes = 0
        """Of the frames that the last read completed, with what came of them before."""
        self.waits = False
        """Whether a frame has come in part."""
        self.error: WireError | None = None
        """Set when the stream cannot be read on; the connection has to be closed after what came before is answered."""

    def receive(self, data: bytes | memoryview) -> list[Frame]:
        """Take the bytes of one read; give the frames they complete.

        After an error (`self.error`) further bytes are dropped.

        Args:
            data: what is kept of it is copied, so its memory may be used again.
        """
        if self.error is not None:
            return []
        frames: list[Frame] = []
        begin, end = 0, len(data)
        self.completed_bytes = 0
        if self._rest:
            begin = self._complete(data, frames)
            if begin == end:
                self.waits = bool(self._rest)
                return frames
        position = begin
        if speed.cut_frames is not None:
            found, position = speed.cut_frames(data, self._max, position)
            frames = frames + found if frames else found
        else:
            while end - position >= 8:
                length, word = _unpack_words(data, position)
                body_at = position + 8 + (word & HEADER_SIZE_MAX_BYTES)
                stop = position + 4 + length
                if not 4 <= length <= self._max or body_at > stop or stop > end:
                    break
                frames.append((word >> 24, bytes(data[position + 8 : body_at]), bytes(data[body_at:stop])))
                position = stop
        self.completed_bytes += position - begin
        self.waits = position < end
        if self.waits:
            self._rest += data[position : position + 8]
            if self._look():
                self._rest += data[position + 8 :]
        return frames

    def _look(self) -> bool:
        """Read the words of the frame that waits; False when the stream cannot be read on."""
        rest = self._rest
        if len(rest) >= 4:
            length = int.from_bytes(rest[:4], "big", signed=True)
            if not 4 <= length <= self._max:
                self.error = FrameTooLarge(f"declared frame length {length}, allowed are 4 to {self._max}")
            elif len(rest) >= 8:
                header_size = int.from_bytes(rest[4:8], "big") & HEADER_SIZE_MAX_BYTES
                if header_size > length - 4:
                    self.error = MalformedFrame(f"header length {header_size} in a frame of {length} bytes")
                self._need, self._body_at = 4 + length, 8 + header_size
        if self.error is not None:
            rest.clear()
        return self.error is None

    def _complete(self, data: bytes | memoryview, frames: list[Frame]) -> int:
        """Add to the frame that waits what it lacks of a read; give the place where the next one begins."""
        rest, end = self._rest, len(data)
        position = 0
        if not self._need:
            position = min(8 - len(rest), end)
            rest += data[:position]
            if not self._look():
                return end
            if not self._need:
                return end
        stop = position + self._need - len(rest)
        if stop > end:
            rest += data[position:]
            return end
        if len(rest) < self._body_at:
            whole = position + self._body_at - len(rest)
            rest += data[position:whole]
            position = whole
        # A large body is put together at once: it is copied from where its parts are.
        body = b"".join((memoryview(rest)[self._body_at :], memoryview(data)[position:stop]))
        frames.append((rest[4], bytes(rest[8 : self._body_at]), body))
        self.completed_bytes = self._need
        self._rest = bytearray()
        self._need = 0
        return stop


def encode_frame(serialization: int, header: bytes, body: bytes = b"") -> bytes:
    """Put a header and a body into one frame.

    Raises:
        FrameTooLarge: The header is longer than 24 bits can say.
    """
    size = len(header)
    if size > HEADER_SIZE_MAX_BYTES:
        raise FrameTooLarge(f"header of {size} bytes, the most is {HEADER_SIZE_MAX_BYTES}")
    return _WORDS.pack(4 + size + len(body), serialization << 24 | size) + header + body
