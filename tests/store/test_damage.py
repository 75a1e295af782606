"""Files of a store that are damaged in one place: what is cut, what is said, and how a dump shows it."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rmqd.store.checkpoint import load_checkpoint, save_checkpoint
from rmqd.store.dump import dump_file
from rmqd.store.errors import MessageIllegal, StoreError
from rmqd.store.files import RealFiles
from rmqd.store.recovery import RecoveryReport
from rmqd.store.statefile import StateFile
from tests.sim.simfiles import SimFiles

from .stores import crash, make_store, opened, put, put_many
from .test_recovery import bodies, crashed, log_file, numbered, reopened

ALWAYS = (0, 1 << 60)
LAST = 91 + 1 + 7 + 9  # bytes of the last record: "T", "body 19", "KEYS" and its value
BLANK_MAGIC = -875286124
QUEUE_OFFSET_AT, PHYSICAL_OFFSET_AT, TOPIC_AT = 20, 28, 88 + 7 + 1


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


@pytest.mark.parametrize(
    ("at", "data", "said"),
    [
        (0, struct.pack(">i", 8000), "a record of 8000 bytes does not fit into the file"),
        (0, struct.pack(">i", -5), "a record of -5 bytes does not fit into the file"),
        (0, struct.pack(">ii", 16, BLANK_MAGIC), "a blank of 16 bytes that does not end the file"),
        (4, struct.pack(">i", 1), "no record begins there"),
        (PHYSICAL_OFFSET_AT, struct.pack(">q", 7), "the record there says it is at 7"),
        (TOPIC_AT, b"\0", "a page of the record was never written"),
        (TOPIC_AT, b"\xff", "the topic is not UTF-8"),
    ],
)
def test_each_kind_of_damage_is_named_and_costs_what_follows_alone(
    tmp_path: Path, at: int, data: bytes, said: str
) -> None:
    begin = crashed(tmp_path) - LAST
    overwrite(log_file(tmp_path), begin + at, data)
    store, report = reopened(tmp_path)
    (note,) = report.notes
    assert note.startswith(f"commit log cut at {begin} ({said})")
    assert bodies(store) == numbered(19)
    store.close()


def without_derived(root: Path) -> None:
    """As after another broker, or a person who deleted what can be built again."""
    (root / "checkpoint").unlink()
    for path in sorted((root / "consumequeue").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


@pytest.mark.parametrize(("offset", "missing"), [(25, 6), (1000, 981)])
def test_messages_that_the_log_lacks_leave_a_gap_that_is_told(tmp_path: Path, offset: int, missing: int) -> None:
    """A small gap is filled in the queue's file, behind a large one the queue begins anew."""
    begin = crashed(tmp_path) - LAST
    overwrite(log_file(tmp_path), begin + QUEUE_OFFSET_AT, struct.pack(">q", offset))
    without_derived(tmp_path)
    store, report = reopened(tmp_path)
    assert f"T queue 0: the log has no messages 19 to {19 + missing - 1}" in report.notes
    assert (store.min_offset("T", 0), store.max_offset("T", 0)) == (offset, offset + 1)
    (record,) = store.get_messages("T", 0, offset, 9).records
    assert b"body 19" in record
    store.close()


def test_units_about_a_record_that_is_cut_go_with_it(tmp_path: Path) -> None:
    """The queue was written and the log's last page was not, and no checkpoint says so."""
    store = make_store(tmp_path)
    store.open()
    put_many(store, 20)
    store.tick_consume_queues()
    begin = store.max_physical_offset - LAST
    crash(store)
    (tmp_path / "checkpoint").unlink()
    overwrite(log_file(tmp_path), begin + 88, b"B")
    store, report = reopened(tmp_path)
    assert f"T queue 0: cut from 20 to 19, as the log ends at {begin}" in report.notes
    assert bodies(store) == numbered(19)
    assert put_many(store, 1)[0].queue_offset == 19
    store.close()


@pytest.mark.parametrize("mark", [8192 - 4, 10 * 8192, 3])
def test_a_checkpoint_about_no_place_in_the_log_is_not_trusted(tmp_path: Path, mark: int) -> None:
    """Such as one copied from another store."""
    crashed(tmp_path)
    change_checkpoint(tmp_path, synced_offset=mark)
    store, report = reopened(tmp_path)
    assert report.case == "after_official_crash"
    assert bodies(store) == numbered(20)
    store.close()


def change_checkpoint(root: Path, **changes: int) -> None:
    from msgspec.structs import replace

    path = str(root / "checkpoint")
    save_checkpoint(RealFiles(), path, replace(load_checkpoint(RealFiles(), path), **changes))


def test_an_index_that_ends_nowhere_is_made_from_the_whole_log(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 5)
    store = make_store(tmp_path)
    store.open()
    put_many(store, 5, first=5)
    crash(store)
    change_checkpoint(tmp_path, index_offset=3)
    store, report = reopened(tmp_path)
    assert (report.case, report.scanned_from) == ("after_own_crash", 0)
    assert all(len(store.query("T", f"K{number}", 9, *ALWAYS).records) == 1 for number in range(10))
    store.close()


def test_the_report_says_how_the_last_run_ended() -> None:
    assert RecoveryReport(case="x").lines()[0].startswith("store opened (closed in order, x)")


def test_a_topic_that_no_record_can_carry(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        with pytest.raises(MessageIllegal):
            put(store, b"", topic="x" * 40_000)
        assert put(store, b"1").queue_offset == 0
        store.commit()


# -- dumps ---------------------------------------------------------------------------------------------------------


def kinds(path: Path, **arguments: Any) -> list[str]:
    return [values["kind"] for values in dump_file(str(path), **arguments)]


def test_a_dump_shows_damage_where_it_is(tmp_path: Path) -> None:
    end = crashed(tmp_path)
    log = log_file(tmp_path)
    overwrite(log, end - LAST + 88, b"\xff\xfe\0")
    *_, last, rest = dump_file(str(log))
    assert (last["kind"], last["body_crc_right"]) == ("message", False)
    assert set(last["body"]) == {"base64"}
    assert (rest["kind"], rest["position"]) == ("end", end)
    overwrite(log, end - LAST + 84, struct.pack(">i", 5000))
    *_, last = dump_file(str(log))
    assert (last["kind"], last["position"]) == ("damage", end - LAST)
    assert "a record that cannot be read" in last["remark"]
    overwrite(log, end - LAST, b"\x7f")
    *_, last = dump_file(str(log))
    assert "no record begins here" in last["remark"]


def test_a_dump_of_a_queue_that_begins_above_its_file(tmp_path: Path) -> None:
    path = tmp_path / "0" / ("0" * 20)
    path.parent.mkdir()
    filler, unit = struct.pack(">qiq", 0, 0x7FFFFFFF, 0), struct.pack(">qiq", 100, 91, 5)
    path.write_bytes(filler * 3 + unit + bytes(20))
    first, second, third = dump_file(str(path))
    assert first == {"kind": "filler", "position": 0, "units": 3}
    assert (second["queue_offset"], second["physical_offset"], second["size_bytes"]) == (3, 100, 91)
    assert (third["kind"], third["position"]) == ("end", 80)
    path.write_bytes(unit)
    assert kinds(path) == ["unit"]


def test_a_dump_of_an_index_file_that_was_cut(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 3)
    (path,) = (tmp_path / "index").iterdir()
    assert kinds(path, slot_num=64) == ["index_header", *["index_slot"] * 3, *["index_entry"] * 3]
    os.truncate(path, 40 + 64 * 4 + 2 * 20)
    assert kinds(path, slot_num=64)[-2:] == ["index_entry", "damage"]


def test_a_dump_of_checkpoints(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 3)
    path = tmp_path / "checkpoint"
    assert kinds(path) == ["checkpoint", "checkpoint_mark", "checkpoint_counts"]
    counts = list(dump_file(str(path)))[2]
    assert (counts["queue_files"], counts["index_files"], counts["crc_right"]) == (1, 1, True)
    page = bytearray(path.read_bytes())
    page[4096 - 40] ^= 1
    path.write_bytes(page)
    assert list(dump_file(str(path)))[1]["crc_right"] is False
    page[4096 - 48] ^= 1
    path.write_bytes(page)
    assert kinds(path) == ["checkpoint", "damage"]
    page[-48:] = bytes(48)
    page[-52] ^= 1
    path.write_bytes(page)
    assert kinds(path) == ["checkpoint", "damage"]
    path.write_bytes(page[:100])
    assert kinds(path) == ["damage"]


def test_a_dump_of_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot read: No such file"):
        list(dump_file(str(tmp_path / "checkpoint")))


# -- the system's answers ------------------------------------------------------------------------------------------


def test_reads_that_give_less_than_asked_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal, or more than one call can give."""
    (tmp_path / "x").write_bytes(b"a longer text")
    fd = RealFiles().open(str(tmp_path / "x"))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: pread(fd, min(size, 5), at))
    try:
        assert RealFiles().pread(fd, 13, 0) == b"a longer text"
        assert RealFiles().pread(fd, 99, 2) == b"longer text"
        assert RealFiles().pread(fd, 99, 13) == b""
    finally:
        os.close(fd)


def raising(number: int) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_file_system_that_cannot_promise_not_to_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read from all the same; any other refusal is one."""
    (tmp_path / "x").write_bytes(b"text")
    fd = RealFiles().open(str(tmp_path / "x"))
    try:
        monkeypatch.setattr(os, "preadv", raising(errno.EOPNOTSUPP))
        assert RealFiles().pread_cached(fd, 4, 0) == b"text"
        monkeypatch.setattr(os, "preadv", raising(errno.EAGAIN))
        assert RealFiles().pread_cached(fd, 4, 0) is None
        monkeypatch.setattr(os, "preadv", raising(errno.EIO))
        with pytest.raises(OSError, match="Input/output error"):
            RealFiles().pread_cached(fd, 4, 0)
    finally:
        os.close(fd)


def test_a_file_system_without_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_bytes(b"text")
    fd = RealFiles().open(str(tmp_path / "x"))
    try:
        monkeypatch.setattr(os, "lseek", raising(errno.EINVAL))
        assert [RealFiles().next_data(fd, at) for at in (0, 3, 4)] == [0, 3, None]
        monkeypatch.setattr(os, "lseek", raising(errno.EIO))
        with pytest.raises(OSError, match="Input/output error"):
            RealFiles().next_data(fd, 0)
    finally:
        os.close(fd)


def test_a_state_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """It must not count as an absent one, which would be an empty table."""
    (tmp_path / "topics.json").mkdir()
    with pytest.raises(StoreError, match="cannot open: Is a directory") as refused:
        StateFile(tmp_path / "topics.json").load()
    assert refused.value.file == str(tmp_path / "topics.json")

    class Unreadable(SimFiles):
        def pread(self, fd: int, size: int, offset: int) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    files = Unreadable()
    files.open("/topics.json", create=True)
    with pytest.raises(StoreError, match=r"cannot read: Input/output error \[/topics.json\]"):
        StateFile("/topics.json", files=files).load()
