"""The file `config/timercheck`: how far the timer has read its queue and delivered its slots.

4096 bytes, big-endian: `0 time of the next slot to deliver i64 | 8 end of the flushed timer log i64 | 16 next queue
offset to take i64 | 24 the same of the master i64 | 32 data version: state version i64, timestamp i64, counter i64`.

The last 40 bytes are ours: `mark 8 | end of the timer log i64 | next queue offset i64 | precision ms i32 | 0 i32 |
crc i32 | 0 i32`. They promise what the official fields do not: that when the file was written wheel and log were on
disk up to there, and nothing of the queue before the offset is missing in them. A broker that does not know the mark
changes the fields before it, and the mark does not agree any more.

Source: `TimerCheckpoint` (5.5.0).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from zlib import crc32

import msgspec

from .errors import FlushFailed, StoreError
from .files import Files, save_page, sync_path, write_all

CHECKPOINT_BYTES = 4096
WIRE_BYTES = 56
"""So much of it is sent to a slave that asks (60)."""

_FIELDS = struct.Struct(">qqqqqqq")
_MARK = struct.Struct(">8sqqiiii")
_MARK_TEXT = b"rmqd-tm1"
_MARK_AT = CHECKPOINT_BYTES - _MARK.size
_MARKED_BYTES = 28


class TimerCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The content."""

    read_ms: int = 0
    log_end: int = 0
    queue_offset: int = 0
    master_queue_offset: int = 0
    state_version: int = 0
    version_timestamp: int = 0
    version_counter: int = 0
    complete: bool = False
    """Ours: log and wheel are on disk up to here."""
    precision_ms: int = 0
    """Ours: of the wheel; 0 when the file does not tell."""

    def fields(self) -> bytes:
        """The official 56 bytes."""
        return _FIELDS.pack(
            self.read_ms,
            self.log_end,
            self.queue_offset,
            self.master_queue_offset,
            self.state_version,
            self.version_timestamp,
            self.version_counter,
        )

    def encode(self) -> bytes:
        """The whole file."""
        page = bytearray(CHECKPOINT_BYTES)
        page[:WIRE_BYTES] = self.fields()
        if self.complete:
            mark = (_MARK_TEXT, self.log_end, self.queue_offset, self.precision_ms, 0)
            _MARK.pack_into(page, _MARK_AT, *mark, 0, 0)
            _MARK.pack_into(page, _MARK_AT, *mark, _checksum(page), 0)
        return bytes(page)

    @classmethod
    def decode(cls, page: bytes) -> TimerCheckpoint:
        """Read a file of any length; what is missing is 0."""
        page = page[:CHECKPOINT_BYTES].ljust(CHECKPOINT_BYTES, b"\0")
        read_ms, log_end, queue_offset, master, state_version, timestamp, counter = _FIELDS.unpack_from(page, 0)
        text, marked_end, marked_offset, precision_ms, _, checksum, _ = _MARK.unpack_from(page, _MARK_AT)
        valid = text == _MARK_TEXT and checksum == _checksum(page)
        return cls(
            read_ms=read_ms,
            log_end=log_end,
            queue_offset=queue_offset,
            master_queue_offset=master,
            state_version=state_version,
            version_timestamp=timestamp,
            version_counter=counter,
            complete=valid and (marked_end, marked_offset) == (log_end, queue_offset),
            precision_ms=precision_ms if valid else 0,
        )


def _checksum(page: bytes | bytearray) -> int:
    return crc32(page[_MARK_AT : _MARK_AT + _MARKED_BYTES]) & 0x7FFFFFFF


def load_timer_checkpoint(files: Files, path: str) -> TimerCheckpoint | None:
    """Read the file; None when there is none.

    Raises:
        OSError: it cannot be read.
    """
    try:
        fd = files.open(path)
    except FileNotFoundError:
        return None
    try:
        return TimerCheckpoint.decode(files.pread(fd, CHECKPOINT_BYTES, 0))
    finally:
        files.close(fd)


def save_timer_checkpoint(files: Files, path: str, checkpoint: TimerCheckpoint) -> None:
    """Write and sync the file, which is one page; raises `OSError`."""
    save_page(files, path, checkpoint.encode())


def flush_job(
    files: Files,
    paths: Iterable[str],
    wheel_path: str,
    pages: Iterable[tuple[int, bytes]],
    checkpoint_path: str,
    checkpoint: TimerCheckpoint,
) -> Callable[[], TimerCheckpoint]:
    """The blocking work of a flush: the log, then the wheel, then the checkpoint that speaks of both.

    For a thread; it shares nothing.

    Args:
        paths: files of the log, and its folder with a slash at the end.
        pages: of the wheel, by their positions.

    Returns:
        The job; it gives the checkpoint, or raises `FlushFailed`: nobody knows what of the log is on disk; or another
        `StoreError`: what could not be written can be written again.
    """
    paths, pages = list(paths), list(pages)

    def run() -> TimerCheckpoint:
        try:
            for path in paths:
                sync_path(files, path)
        except OSError as error:
            raise FlushFailed(f"the timer's log cannot be synced: {error}", file=wheel_path) from error
        try:
            if pages:
                fd = files.open(wheel_path)
                try:
                    for position, page in pages:
                        write_all(files, fd, page, position)
                    files.data_sync(fd)
                finally:
                    files.close(fd)
            save_timer_checkpoint(files, checkpoint_path, checkpoint)
        except OSError as error:
            raise StoreError(f"the timer cannot be flushed: {error}", file=wheel_path) from error
        return checkpoint

    return run
