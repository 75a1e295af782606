"""What can go wrong with the files, as errors that name the file, the position and the cause.

`response_code` is what a request that met the error is answered with; mapping it to the wire is data.
"""

from __future__ import annotations

from typing import ClassVar

from rmqwire.codes import ResponseCode
from rmqwire.errors import RmqError


class StoreError(RmqError):
    """Base of the store's errors.

    Args:
        text: one clear line.
        file: the path it is about, when there is one.
        position: bytes from the beginning of that file, or an offset of the commit log.
    """

    response_code: ClassVar[int] = ResponseCode.SYSTEM_ERROR

    def __init__(self, text: str, *, file: str | None = None, position: int | None = None) -> None:
        where = "" if file is None else f" [{file}" + ("]" if position is None else f" at {position}]")
        super().__init__(text + where)
        self.text = text
        self.file = file
        self.position = position


class StoreLocked(StoreError):
    """Another process (or another store of this one) serves this folder."""


class StoreDamaged(StoreError):
    """Files that cannot be opened as they are: a wrong length, a name that is no offset, an unknown layout."""


class WriteFailed(StoreError):
    """The operating system refused a write; nothing of the group is stored."""


class StoreFull(WriteFailed):
    """The file system has no space left."""

    response_code = ResponseCode.SERVICE_NOT_AVAILABLE


class DerivedWriteFailed(WriteFailed):
    """Queues or index cannot be written. The messages are safe; it is tried again, and until then no more come."""

    response_code = ResponseCode.SERVICE_NOT_AVAILABLE


class FlushFailed(StoreError):
    """A sync failed: what was written since the last one may be lost, so the store takes no more writes."""

    response_code = ResponseCode.SERVICE_NOT_AVAILABLE


class NotWritable(StoreError):
    """The store is closed, its disk is full, or an earlier failure forbids writing."""

    response_code = ResponseCode.SERVICE_NOT_AVAILABLE


class ReplicaRefused(StoreError):
    """What a master sent does not continue this log, or is no part of one."""


class MessageIllegal(StoreError):
    """The message itself breaks a limit; nothing was assigned to it."""

    response_code = ResponseCode.MESSAGE_ILLEGAL


class MessageTooLarge(MessageIllegal):
    """The body, or the record made of it, is over `maxMessageSize`."""


class PropertiesTooLarge(MessageIllegal):
    """The property string is over 32,767 bytes."""


class TopicTooLong(MessageIllegal):
    """The topic has more bytes than a record can carry."""


class ColdRead(StoreError):
    """Pages that are not in the page cache: read again in a thread, with `allow_cold=True`."""
