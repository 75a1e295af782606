"""Syncs by the compiled thread: what it is given, and how it tells."""

from __future__ import annotations

import errno
import os
import select
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import ManualThread
from twisted.internet.interfaces import IReactorFDSet
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from rmqd.protocol.broker.disk_syncs import DiskSyncs, disk_syncs
from rmqd.store.errors import FlushFailed
from rmqd.store.files import RealFiles
from rmqd.store.syncjob import SyncJob
from rmqwire import speed

compiled = pytest.mark.skipif(speed.Syncs is None, reason="nothing compiled")


@implementer(IReactorFDSet)
class Reactor:
    """Watches one descriptor."""

    def __init__(self) -> None:
        self.readers: list[DiskSyncs] = []

    def addReader(self, reader: DiskSyncs) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: DiskSyncs) -> None:
        self.readers.remove(reader)

    def turn(self) -> None:
        (reader,) = self.readers
        ready, _, _ = select.select([reader.fileno()], [], [], 10)
        assert ready, "no sync has ended"
        reader.doRead()

    def addWriter(self, writer: Any) -> None: ...
    def removeWriter(self, writer: Any) -> None: ...
    def removeAll(self) -> None: ...
    def getReaders(self) -> None: ...
    def getWriters(self) -> None: ...


@compiled
def test_syncs_end_one_after_the_other(tmp_path: Path) -> None:
    reactor, thread = Reactor(), ManualThread()
    syncs = disk_syncs(reactor, thread)
    assert syncs is not None
    files = [(start, os.open(tmp_path / str(start), os.O_RDWR | os.O_CREAT)) for start in (0, 4096)]
    told: list[int] = []
    for end in (100, 200):
        for _, fd in files:
            os.write(fd, b"x" * 5000)
        syncs.run(SyncJob(RealFiles(), files, str, None, end)).addCallback(told.append)
        with pytest.raises(RuntimeError, match="under way"):
            syncs.run(SyncJob(RealFiles(), files, str, None, end))
        reactor.turn()
    assert told == [100, 200]
    assert not thread.jobs
    for _, fd in files:
        os.close(fd)
    syncs.close()
    syncs.close()
    assert not reactor.readers


@compiled
def test_a_sync_that_fails_names_the_file(tmp_path: Path) -> None:
    reactor = Reactor()
    syncs = disk_syncs(reactor, ManualThread())
    assert syncs is not None
    good = os.open(tmp_path / "good", os.O_RDWR | os.O_CREAT)
    reading, writing = os.pipe()  # cannot be synced
    failures: list[FlushFailed] = []
    job = SyncJob(RealFiles(), [(0, good), (4096, writing)], lambda start: f"file {start}", None, 100)
    syncs.run(job).addErrback(lambda failure: failures.append(failure.value))
    reactor.turn()
    (failure,) = failures
    assert isinstance(failure, FlushFailed)
    assert "file 4096" in str(failure)
    assert os.strerror(errno.EINVAL) in str(failure)
    with pytest.raises(FlushFailed, match="file 4096"):
        job()
    for fd in (good, reading, writing):
        os.close(fd)
    syncs.close()


class Watched(RealFiles):
    """Syncs in its own way, as tests of failing disks do."""

    def data_sync(self, fd: int) -> None:  # type: ignore[override]
        raise OSError(errno.EIO, "Input/output error")


@compiled
def test_names_and_other_file_systems_are_synced_by_a_thread(tmp_path: Path) -> None:
    thread = ManualThread()
    syncs = disk_syncs(Reactor(), thread)
    assert syncs is not None
    fd = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    told: list[int] = []
    failures: list[Any] = []
    syncs.run(SyncJob(RealFiles(), [(0, fd)], str, str(tmp_path), 100)).addCallback(told.append)
    syncs.run(SyncJob(Watched(), [(0, fd)], str, None, 200)).addErrback(failures.append)
    thread.run_one()
    thread.run_one()
    assert told == [100]
    assert "Input/output error" in str(failures[0].value)
    os.close(fd)
    syncs.close()


@compiled
def test_more_files_than_the_compiled_part_takes_are_synced_by_a_thread(tmp_path: Path) -> None:
    reactor, thread = Reactor(), ManualThread()
    syncs = disk_syncs(reactor, thread)
    assert syncs is not None
    fd = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    told: list[int] = []
    for count in (64, 65):
        job = SyncJob(RealFiles(), [(start, fd) for start in range(count)], str, None, count)
        syncs.run(job).addCallback(told.append)
        if count == 64:
            reactor.turn()
    thread.run_one()
    assert told == [64, 65]
    os.close(fd)
    syncs.close()


def test_a_reactor_that_watches_no_descriptors_has_none() -> None:
    assert disk_syncs(Clock(), ManualThread()) is None


def test_nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "Syncs", None)
    assert disk_syncs(Reactor(), ManualThread()) is None


@compiled
def test_a_reactor_that_gives_up_fails_the_sync(tmp_path: Path) -> None:
    reactor = Reactor()
    syncs = disk_syncs(reactor, ManualThread())
    assert syncs is not None
    fd = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    failures: list[Any] = []
    syncs.run(SyncJob(RealFiles(), [(0, fd)], str, None, 1)).addErrback(failures.append)
    why = Failure(OSError("poll"))
    syncs.connectionLost(why)
    assert failures == [why]
    os.close(fd)
    syncs.close()
