"""Checkpoints of very many files: all are synced, whatever the file system can do, and errors name what they can."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from rmqd.store import manysync
from rmqd.store.files import RealFiles, file_system_type
from rmqd.store.manysync import ManySync


class Watched(RealFiles):
    """Notes what is synced."""

    def __init__(self, *, whole: bool, elsewhere: Sequence[str] = (), failing: str = "") -> None:
        self.whole = whole
        self.elsewhere = elsewhere
        self.failing = failing
        self.synced: list[str] = []
        self.asked: list[str] = []

    def open_file_system(self, folder: str) -> int | None:
        return os.open(folder, os.O_RDONLY) if self.whole else None

    def sync_file_system(self, fd: int, paths: Sequence[str]) -> list[str]:
        self.synced.append("all")
        self.asked += paths
        return [path for path in paths if path in self.elsewhere]

    def data_sync(self, fd: int) -> None:  # type: ignore[override]
        path = os.readlink(f"/proc/self/fd/{fd}")
        if self.failing and path.endswith(self.failing):
            raise OSError(errno.EIO, "Input/output error")
        self.synced.append(path)


def files_in(folder: Path, count: int) -> list[str]:
    paths = [folder / str(number) for number in range(count)]
    for path in paths:
        path.touch()
    return [str(path) for path in paths]


def synced(files: Watched, folder: Path, paths: Sequence[str]) -> list[str]:
    syncing = ManySync(files, str(folder))
    syncing.open()
    try:
        syncing.sync(paths)
    finally:
        syncing.close()
    return files.synced


def test_a_few_files_are_synced_by_themselves(tmp_path: Path) -> None:
    paths = files_in(tmp_path, manysync.ONE_BY_ONE_MAX)
    assert synced(Watched(whole=True), tmp_path, paths) == paths


def test_many_are_synced_by_one_call_and_those_on_another_file_system_besides(tmp_path: Path) -> None:
    paths = files_in(tmp_path, manysync.ONE_BY_ONE_MAX + 1)
    assert synced(Watched(whole=True, elsewhere=paths[3:5]), tmp_path, paths) == ["all", *paths[3:5]]


def test_where_a_file_is_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But again of those on another file system, and of all when there are very many."""
    paths = files_in(tmp_path, 100)
    files = Watched(whole=True, elsewhere=paths[3:5])
    syncing = ManySync(files, str(tmp_path))
    syncing.open()
    for sync, asked in ((paths[:70], paths[:70]), (paths[:80], [*paths[3:5], *paths[70:80]])):
        syncing.sync(sync)
        assert files.asked == asked
        assert files.synced == ["all", *paths[3:5]]
        files.asked.clear()
        files.synced.clear()
    monkeypatch.setattr(manysync, "_HERE_MAX", 90)
    syncing.sync(paths)
    assert files.asked == [*paths[3:5], *paths[80:]]
    files.asked.clear()
    syncing.sync(paths[:70])
    assert files.asked == paths[:70]
    syncing.close()


def test_many_are_synced_each_where_one_call_is_not_enough(tmp_path: Path) -> None:
    paths = files_in(tmp_path, 200)
    os.unlink(paths[7])
    assert sorted(synced(Watched(whole=False), tmp_path, paths)) == sorted(path for path in paths if path != paths[7])


@pytest.mark.parametrize("count", [3, 200])
def test_an_error_names_the_file(tmp_path: Path, count: int) -> None:
    paths = files_in(tmp_path, count)
    with pytest.raises(OSError) as failed:
        synced(Watched(whole=False, failing="/2"), tmp_path, paths)
    assert (failed.value.errno, failed.value.filename) == (errno.EIO, paths[2])


def test_the_system_itself_syncs_all(tmp_path: Path) -> None:
    files, paths = RealFiles(), [*files_in(tmp_path, 5), str(tmp_path / "gone")]
    fd = os.open(tmp_path, os.O_RDONLY)
    assert files.sync_file_system(fd, [*paths, "/proc/self/status"]) == ["/proc/self/status"]
    os.close(fd)
    with pytest.raises(OSError):
        files.sync_file_system(fd, [])


def test_only_file_systems_that_promise_enough_are_synced_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "23 22 254:1 / /data rw,relatime - xfs /dev/vdb rw\n"
        "broken line\n"
    )
    assert file_system_type(os.makedev(254, 0), str(mounts)) == "ext4"
    assert file_system_type(os.makedev(254, 1), str(mounts)) == "xfs"
    assert file_system_type(os.makedev(254, 2), str(mounts)) is None
    assert file_system_type(os.makedev(254, 0), str(tmp_path / "none")) is None
    monkeypatch.setattr("rmqd.store.files.file_system_type", lambda device: "xfs")
    assert RealFiles().open_file_system(str(tmp_path)) is None
    monkeypatch.setattr("rmqd.store.files.file_system_type", lambda device: "ext4")
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n", "5.7.19-x", "v", "m")))
    assert RealFiles().open_file_system(str(tmp_path)) is None
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "n", "6.1.0", "v", "m")))
    fd = RealFiles().open_file_system(str(tmp_path))
    assert fd is not None
    os.close(fd)
