"""`mqbroker` on a disk that fails as the file `fault` in its home folder says: a program, not a module to import.

`full`, `write` and `sync` have the system refuse (ENOSPC, EIO on write, EIO on sync); `slow SECONDS` has each sync take
so long. An absent or empty file is a disk that is well. Only files of the store are concerned.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from pathlib import Path

from rmqd.protocol.commands import mqbroker
from rmqd.store.files import RealFiles

CONTROL = Path(os.environ["HOME"]) / "fault"
_pwrite, _data_sync, _sync_directory = os.pwrite, os.fdatasync, RealFiles.sync_directory
_sync_file_system = RealFiles.sync_file_system


def fault() -> list[str]:
    try:
        return CONTROL.read_text().split()
    except FileNotFoundError:
        return []


def pwrite(fd: int, data: bytes, offset: int) -> int:
    match fault():
        case ["full"]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case ["write"]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
    return _pwrite(fd, data, offset)


def before_sync() -> None:
    match fault():
        case ["sync"]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        case ["slow", seconds]:
            time.sleep(float(seconds))


def data_sync(fd: int) -> None:
    before_sync()
    _data_sync(fd)


def sync_directory(files: RealFiles, path: str) -> None:
    before_sync()
    _sync_directory(files, path)


def sync_file_system(files: RealFiles, fd: int, paths: Sequence[str]) -> list[str]:
    before_sync()
    return _sync_file_system(files, fd, paths)


RealFiles.pwrite = staticmethod(pwrite)
RealFiles.data_sync = staticmethod(data_sync)
RealFiles.sync_directory = sync_directory  # type: ignore[method-assign]
RealFiles.sync_file_system = sync_file_system  # type: ignore[method-assign]
mqbroker()
