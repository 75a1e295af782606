"""The `checkpoint` file: how far the log is flushed and the files derived from it are complete.

4096 bytes, big-endian: `0 store time of the last flushed record i64 | 8 store time of the last record in a consume
queue i64 | 16 store time of the index i64 | 24 master flushed offset i64 | 32 confirm offset i64 | 40 physical
offset up to which the consume queues are complete i64`, then zeros. 4.7 knows the first three, 5.3 five, 5.5 six;
what is beyond is ignored by all.

The last 48 bytes are ours: `mark 8 | synced offset i64 | index offset i64 | index file i64 | index count i32 | 0 i32 |
crc i32 | 0 i32`. Below these offsets log, queues and index were synced, which the official fields do not promise.
A broker that does not know the mark leaves it; it stays true, as what was complete remains so, unless that broker cut
the log: recovery checks that a record really begins there.

Before the mark are 16 bytes of ours, written when the store is closed in order: `consume queue files i32 | index files
i32 | crc i32 | 0 i32`, the crc being that of all other fields. So files that a person removed meanwhile are missed.

Crash guarantee: the file is one page and written at once, after the sync of what it speaks about. A torn one is found
by the crc, and recovery then trusts nothing.

Source: `StoreCheckpoint`, 4.7.0, 5.3.4 and 5.5.0.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from zlib import crc32

import msgspec

from .errors import DerivedWriteFailed, FlushFailed, StoreDamaged
from .files import Files, save_page
from .manysync import ManySync

CHECKPOINT_SIZE_BYTES = 4096
_FIELDS = struct.Struct(">qqqqqq")
_MARK = struct.Struct(">8sqqqiiii")
_MARK_TEXT = b"rmqd-cq1"
_MARK_AT = CHECKPOINT_SIZE_BYTES - _MARK.size
_COUNTS = struct.Struct(">iiii")
_COUNTS_AT = _MARK_AT - _COUNTS.size


def _mark_checksum(page: bytes | bytearray) -> int:
    return crc32(page[_MARK_AT : _MARK_AT + 40]) & 0x7FFFFFFF


def _counts_checksum(page: bytes | bytearray) -> int:
    return crc32(page[: _FIELDS.size] + page[_COUNTS_AT : _COUNTS_AT + 8] + page[_MARK_AT:]) & 0x7FFFFFFF


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The content; times are Unix milliseconds, offsets are bytes of the commit log."""

    physic_msg_timestamp: int = 0
    logics_msg_timestamp: int = 0
    index_msg_timestamp: int = 0
    master_flushed_offset: int = 0
    confirm_physical_offset: int = 0
    consume_queue_offset: int = 0
    synced_offset: int | None = None
    """Ours: below it, log and consume queues are synced and complete; None when the mark is absent or torn."""
    index_offset: int = 0
    """Ours: below it, the index is synced and complete."""
    index_file: int = 0
    """Ours: the name of the newest index file as a number; 0 when there was none."""
    index_count: int = 0
    """Ours: the entry count of that file."""
    queue_files: int | None = None
    """Ours: how many files the consume queues had when the store was closed in order; None when that is not known."""
    index_files: int = 0
    """Ours: how many the index had."""

    def min_timestamp(self) -> int:
        """The store time up to which an official broker takes log and queues as complete.

        Source: `StoreCheckpoint.getMinTimestamp`.
        """
        return max(min(self.physic_msg_timestamp, self.logics_msg_timestamp) - 3000, 0)

    def encode(self) -> bytes:
        """The whole file."""
        page = bytearray(CHECKPOINT_SIZE_BYTES)
        _FIELDS.pack_into(
            page,
            0,
            self.physic_msg_timestamp,
            self.logics_msg_timestamp,
            self.index_msg_timestamp,
            self.master_flushed_offset,
            self.confirm_physical_offset,
            self.consume_queue_offset,
        )
        if self.synced_offset is not None:
            mark = (_MARK_TEXT, self.synced_offset, self.index_offset, self.index_file, self.index_count, 0)
            _MARK.pack_into(page, _MARK_AT, *mark, 0, 0)
            _MARK.pack_into(page, _MARK_AT, *mark, _mark_checksum(page), 0)
            if self.queue_files is not None:
                _COUNTS.pack_into(page, _COUNTS_AT, self.queue_files, self.index_files, 0, 0)
                counts = (self.queue_files, self.index_files, _counts_checksum(page), 0)
                _COUNTS.pack_into(page, _COUNTS_AT, *counts)
        return bytes(page)

    @classmethod
    def decode(cls, page: bytes) -> Checkpoint:
        """Read a file of any length up to 4096 bytes; what is missing is 0."""
        page = page.ljust(CHECKPOINT_SIZE_BYTES, b"\0")
        physic, logics, index, master, confirm, queues = _FIELDS.unpack_from(page, 0)
        text, synced, index_offset, index_file, index_count, _, checksum, _ = _MARK.unpack_from(page, _MARK_AT)
        valid = text == _MARK_TEXT and checksum == _mark_checksum(page)
        queue_files, index_files, checksum, _ = _COUNTS.unpack_from(page, _COUNTS_AT)
        counted = valid and checksum == _counts_checksum(page)
        return cls(
            physic_msg_timestamp=physic,
            logics_msg_timestamp=logics,
            index_msg_timestamp=index,
            master_flushed_offset=master,
            confirm_physical_offset=confirm,
            consume_queue_offset=queues,
            synced_offset=synced if valid else None,
            index_offset=index_offset if valid else 0,
            index_file=index_file if valid else 0,
            index_count=index_count if valid else 0,
            queue_files=queue_files if counted else None,
            index_files=index_files if counted else 0,
        )


def load_checkpoint(files: Files, path: str) -> Checkpoint:
    """Read the file; an absent one says nothing is known.

    Raises:
        StoreDamaged: it cannot be read.
    """
    try:
        fd = files.open(path)
    except FileNotFoundError:
        return Checkpoint()
    except OSError as error:
        raise StoreDamaged(f"cannot open: {error.strerror}", file=path) from error
    try:
        return Checkpoint.decode(files.pread(fd, CHECKPOINT_SIZE_BYTES, 0))
    except OSError as error:
        raise StoreDamaged(f"cannot read: {error.strerror}", file=path) from error
    finally:
        files.close(fd)


def save_checkpoint(files: Files, path: str, checkpoint: Checkpoint) -> None:
    """Write and sync the file; raises `OSError`."""
    save_page(files, path, checkpoint.encode())


def checkpoint_job(
    files: Files,
    syncing: ManySync,
    paths: Iterable[str],
    checkpoint_path: str,
    checkpoint: Checkpoint,
    write_index: Callable[[], None] | None,
) -> Callable[[], Checkpoint]:
    """The blocking work of a checkpoint: sync what it speaks about, then write it. For a thread; it shares nothing.

    Args:
        paths: as of `ManySync.sync`.
        write_index: what of the index has to be written before it is synced.

    Returns:
        The job. It raises `DerivedWriteFailed` when the index cannot be written and `FlushFailed` for the rest.
    """
    paths = list(paths)

    def run() -> Checkpoint:
        if write_index is not None:
            try:
                write_index()
            except OSError as error:
                raise DerivedWriteFailed(f"the index cannot be written: {error}") from error
        try:
            syncing.sync(paths)
        except OSError as error:
            raise FlushFailed(f"cannot sync: {error.strerror}", file=error.filename) from error
        try:
            save_checkpoint(files, checkpoint_path, checkpoint)
        except OSError as error:
            raise FlushFailed(f"cannot write the checkpoint: {error.strerror}", file=checkpoint_path) from error
        return checkpoint

    return run
