"""State files, and the port on the real system."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqd.store.errors import StoreError
from rmqd.store.fdpool import DescriptorPool
from rmqd.store.files import RealFiles, clear_from, has_content, write_all
from rmqd.store.statefile import StateFile
from tests.sim.simfiles import SimFiles, SimulatedCrash


def test_a_state_file_is_replaced_and_the_one_before_kept(tmp_path: Path) -> None:
    path = tmp_path / "config" / "topics.json"
    state = StateFile(path)
    assert state.load() is None
    state.save(b"one")
    state.save(b"two")
    assert (path.read_bytes(), Path(f"{path}.bak").read_bytes()) == (b"two", b"one")
    assert sorted(os.listdir(path.parent)) == ["topics.json", "topics.json.bak"]
    assert (state.load(), state.load_backup()) == (b"two", b"one")
    path.write_bytes(b"")  # as an official broker's crash can leave it
    assert state.load() == b"one"
    path.unlink()
    assert state.load() == b"one"
    state.remove()
    assert state.load() is None


def test_a_state_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"a file where the folder should be")
    with pytest.raises(StoreError, match="cannot save") as failed:
        StateFile(tmp_path / "config" / "x.json").save(b"1")
    assert str(failed.value.file).endswith("x.json")


@pytest.mark.parametrize("power", [False, True])
def test_a_crash_at_any_operation_leaves_the_old_text_or_the_new(power: bool) -> None:
    total = 0
    while True:
        total += 1
        files = SimFiles()
        state = StateFile("/config/x.json", files=files)
        state.save(b"old" * 3000)
        files.crash_at = files.operations + total
        try:
            state.save(b"new" * 2000)
            done = True
        except SimulatedCrash:
            done = False
        for survives in (False, True):
            for journal in range(len(files.journal) + 1):
                after = (
                    files.after_power_loss(lambda path, page, kept=survives: kept, journal)  # type: ignore[misc]
                    if power
                    else files.after_process_crash()
                )
                found = StateFile("/config/x.json", files=after).load()
                assert found in ((b"new" * 2000,) if done else (b"old" * 3000, b"new" * 2000)), (total, journal)
        if done:
            return


def test_writing_goes_on_after_a_short_count() -> None:
    class Short(SimFiles):
        def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
            return super().pwrite(fd, bytes(data[:7]), offset)

    files = Short()
    fd = files.open("/x", create=True)
    write_all(files, fd, b"a longer text", 3)
    assert files.pread(fd, 100, 0) == b"\0\0\0a longer text"


def test_a_write_that_writes_nothing_is_a_full_disk() -> None:
    class Full(SimFiles):
        def pwrite(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> int:
            return 0

    files = Full()
    with pytest.raises(OSError) as failed:
        write_all(files, files.open("/x", create=True), b"text", 0)
    assert failed.value.errno == errno.ENOSPC


@given(
    st.lists(st.tuples(st.integers(0, 300_000), st.binary(min_size=1, max_size=50)), max_size=6),
    st.integers(0, 300_000),
)
def test_clearing(writes: list[tuple[int, bytes]], cut: int) -> None:
    for files in (RealFiles(), SimFiles()):
        path = (
            "/tmp/rmqd-test-clear"
            if isinstance(files, SimFiles)
            else str(Path(os.environ.get("TMPDIR", "/tmp")) / f"rmqd-{os.getpid()}")
        )
        fd = files.open(path, create=True)
        files.truncate(fd, 400_000)
        for at, data in writes:
            write_all(files, fd, data, at)
        before = files.pread(fd, 400_000, 0)
        cleared = clear_from(files, fd, cut, 400_000)
        after = files.pread(fd, 400_000, 0)
        assert after == before[:cut] + bytes(400_000 - cut)
        dirty = before[cut:].rstrip(b"\0")
        assert (cleared > 0) == bool(dirty)
        assert has_content(files, fd, 400_000) == any(after)
        files.close(fd)
        files.unlink(path)


def test_descriptors_are_closed_when_there_are_too_many(tmp_path: Path) -> None:
    closed = []

    class Watching(RealFiles):
        def close(self, fd: int) -> None:  # type: ignore[override]
            closed.append(fd)
            os.close(fd)

    pool = DescriptorPool(Watching(), 2)
    paths = [str(tmp_path / name) for name in "abc"]
    first, second = (pool.get(path, create=True) for path in paths[:2])
    assert pool.get(paths[0]) == first
    pool.get(paths[2], create=True)
    assert closed == [second]  # the one that was used least recently
    pool.drop(paths[0])
    pool.drop(paths[0])
    assert closed == [second, first]
    pool.close()
    assert len(pool) == 0


def test_reading_what_is_in_the_page_cache(tmp_path: Path) -> None:
    files = RealFiles()
    fd = files.open(str(tmp_path / "x"), create=True)
    files.truncate(fd, 100_000)
    write_all(files, fd, b"text", 50_000)
    assert files.pread_cached(fd, 4, 50_000) == b"text"
    assert files.pread_cached(fd, 10, 99_995) == bytes(5)
    assert files.pread(fd, 10, 99_995) == bytes(5)
    assert files.next_data(fd, 90_000) is None
    assert files.size(str(tmp_path / "x")) == 100_000
    assert 0 < files.disk_used_ratio(str(tmp_path)) < 1
    assert files.entries(str(tmp_path / "nowhere")) == []
    files.close(fd)
