"""Syncs by the compiled thread: what it is given, and how it tells."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
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


class World:
    """The syncs of a reactor, and files to sync, all closed in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reactor, self.thread = Reactor(), ManualThread()
        syncs = disk_syncs(self.reactor, self.thread)
        assert syncs is not None
        self.syncs = syncs
        self._opened: list[int] = []

    def file(self, name: str) -> int:
        fd = os.open(self.folder / name, os.O_RDWR | os.O_CREAT)
        self._opened.append(fd)
        return fd

    def close(self) -> None:
        self.syncs.close()
        for fd in self._opened:
            os.close(fd)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


@compiled
def test_syncs_end_one_after_the_other(world: World) -> None:
    files = [(start, world.file(str(start))) for start in (0, 4096)]
    told: list[int] = []
    for end in (100, 200):
        for _, fd in files:
            os.write(fd, b"x" * 5000)
        world.syncs.run(SyncJob(RealFiles(), files, str, None, end)).addCallback(told.append)
        with pytest.raises(RuntimeError, match="under way"):
            world.syncs.run(SyncJob(RealFiles(), files, str, None, end))
        world.reactor.turn()
    assert told == [100, 200]
    assert not world.thread.jobs
    world.syncs.close()
    assert not world.reactor.readers


@compiled
def test_a_sync_that_fails_names_the_file(world: World) -> None:
    good = world.file("good")
    reading, writing = os.pipe()  # cannot be synced
    failures: list[FlushFailed] = []
    job = SyncJob(RealFiles(), [(0, good), (4096, writing)], lambda start: f"file {start}", None, 100)
    world.syncs.run(job).addErrback(lambda failure: failures.append(failure.value))
    world.reactor.turn()
    (failure,) = failures
    assert isinstance(failure, FlushFailed)
    assert "file 4096" in str(failure)
    assert os.strerror(errno.EINVAL) in str(failure)
    with pytest.raises(FlushFailed, match="file 4096"):
        job()
    for fd in (reading, writing):
        os.close(fd)


class Watched(RealFiles):
    """Syncs in its own way, as tests of failing disks do."""

    def data_sync(self, fd: int) -> None:  # type: ignore[override]
        raise OSError(errno.EIO, "Input/output error")


@compiled
def test_names_and_other_file_systems_are_synced_by_a_thread(world: World) -> None:
    fd = world.file("log")
    told: list[int] = []
    failures: list[Any] = []
    world.syncs.run(SyncJob(RealFiles(), [(0, fd)], str, str(world.folder), 100)).addCallback(told.append)
    world.syncs.run(SyncJob(Watched(), [(0, fd)], str, None, 200)).addErrback(failures.append)
    world.thread.run_one()
    world.thread.run_one()
    assert told == [100]
    assert "Input/output error" in str(failures[0].value)


@compiled
def test_more_files_than_the_compiled_part_takes_are_synced_by_a_thread(world: World) -> None:
    fd = world.file("log")
    told: list[int] = []
    for count in (64, 65):
        job = SyncJob(RealFiles(), [(start, fd) for start in range(count)], str, None, count)
        world.syncs.run(job).addCallback(told.append)
        if count == 64:
            world.reactor.turn()
    world.thread.run_one()
    assert told == [64, 65]


def test_a_reactor_that_watches_no_descriptors_has_none() -> None:
    assert disk_syncs(Clock(), ManualThread()) is None


def test_nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "Syncs", None)
    assert disk_syncs(Reactor(), ManualThread()) is None


@compiled
def test_a_reactor_that_gives_up_fails_the_sync(world: World) -> None:
    fd = world.file("log")
    failures: list[Any] = []
    world.syncs.run(SyncJob(RealFiles(), [(0, fd)], str, None, 1)).addErrback(failures.append)
    why = Failure(OSError("poll"))
    world.syncs.connectionLost(why)
    assert failures == [why]
