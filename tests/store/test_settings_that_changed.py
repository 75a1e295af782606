"""A store opened with other lengths than it was made with is refused in one line, and nothing of it is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmqd.store.checkpoint import Checkpoint, save_checkpoint
from rmqd.store.errors import StoreDamaged
from rmqd.store.files import RealFiles

from .stores import START_MS, crash, make_store, opened, put_many

ALWAYS = (0, 1 << 60)


def content(root: Path) -> dict[str, bytes]:
    # not the lock: it is there again after each attempt
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.mark.parametrize(
    ("changes", "folder", "said"),
    [
        ({"mapped_file_size_commit_log": 16384}, "commitlog", "has 8192 bytes, but mappedFileSizeCommitLog is 16384"),
        ({"mapped_file_size_commit_log": 8000}, "commitlog", "has 8192 bytes, but mappedFileSizeCommitLog is 8000"),
        ({"mapped_file_size_consume_queue": 400}, "consumequeue", "200 bytes, but mappedFileSizeConsumeQueue is 400"),
        ({"max_hash_slot_num": 65}, "index", "has 1576 bytes, but maxHashSlotNum 65 and maxIndexNum 64 make 1580"),
        ({"max_index_num": 63}, "index", "has 1576 bytes, but maxHashSlotNum 64 and maxIndexNum 63 make 1556"),
    ],
)
@pytest.mark.parametrize("killed", [False, True])
def test_other_lengths_are_refused_and_nothing_is_lost(
    tmp_path: Path, changes: dict[str, int], folder: str, said: str, killed: bool
) -> None:
    """Official brokers do not start either, but for the index, which they overwrite."""
    store = make_store(tmp_path)
    store.open()
    put_many(store, 100)
    store.tick_checkpoint()
    put_many(store, 3, first=100)
    if killed:
        crash(store)
    else:
        store.close()
    before = content(tmp_path)
    with pytest.raises(StoreDamaged) as refused:
        make_store(tmp_path, **changes).open()
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.file is not None
    assert Path(refused.value.file).is_relative_to(tmp_path / folder)
    assert content(tmp_path) == before
    with opened(tmp_path) as store:
        assert store.max_offset("T", 0) == 103


def test_an_empty_queue_file_does_not_speak_for_the_others(tmp_path: Path) -> None:
    """A crash between making the first file and setting its length leaves one."""
    with opened(tmp_path) as store:
        put_many(store, 1)
    empty = tmp_path / "consumequeue" / "A" / "0" / ("0" * 20)
    empty.parent.mkdir(parents=True)
    empty.touch()
    with pytest.raises(StoreDamaged, match="mappedFileSizeConsumeQueue is 400"):
        make_store(tmp_path, mapped_file_size_consume_queue=400).open()
    with opened(tmp_path) as store:
        assert store.max_offset("A", 0) == 0


@pytest.mark.parametrize("safe", [False, True])
def test_the_index_of_a_killed_official_broker_is_made_whole_where_it_is_to_be_safe(tmp_path: Path, safe: bool) -> None:
    """Its queues were written further than its index: with messageIndexSafe the log is read from where that ended."""
    store = make_store(tmp_path)
    store.open()
    put_many(store, 200)
    store.tick_consume_queues()
    written = store.queues.complete_offset(store.log.wrote_offset)
    assert len(store.log.starts) > 2
    crash(store)
    for path in (tmp_path / "index").iterdir():
        path.unlink()
    now = START_MS + 3_600_000
    told = Checkpoint(
        physic_msg_timestamp=now, logics_msg_timestamp=now, index_msg_timestamp=0, consume_queue_offset=written
    )
    save_checkpoint(RealFiles(), str(tmp_path / "checkpoint"), told)
    store = make_store(tmp_path, message_index_safe=safe)
    report = store.open()
    assert report.case == "after_official_crash"
    assert (report.scanned_from == 0) is safe
    assert len(store.query("T", "K0", 9, *ALWAYS).records) == (1 if safe else 0)
    assert len(store.query("T", "K199", 9, *ALWAYS).records) == 1
    store.close()
