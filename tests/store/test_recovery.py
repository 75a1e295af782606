"""Opening stores as crashes and other brokers leave them. Each test is named by what happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from rmqd.store.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from rmqd.store.errors import StoreDamaged, StoreLocked
from rmqd.store.files import RealFiles
from rmqd.store.messagestore import MessageStore
from rmqd.store.recovery import RecoveryReport
from rmqwire.message import decode_record, encode_record

from .stores import HOST, crash, make_store, opened, put, put_many


def reopened(root: Path, **changes: object) -> tuple[MessageStore, RecoveryReport]:
    store = make_store(root, **changes)
    return store, store.open()


def bodies(store: MessageStore, topic: str = "T", queue_id: int = 0) -> list[bytes]:
    seen = []
    offset = store.min_offset(topic, queue_id)
    while offset < store.max_offset(topic, queue_id):
        found = store.get_messages(topic, queue_id, offset, 32)
        assert found.count, found
        seen += [decode_record(each, check_crc=True).body for each in found.records]
        offset = found.next_begin_offset
    return seen


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [b"body %d" % number for number in range(first, first + count)]


def log_file(root: Path, start: int = 0) -> Path:
    return root / "commitlog" / f"{start:020d}"


# -- our own ends --------------------------------------------------------------------------------------------------


def test_a_new_folder(tmp_path: Path) -> None:
    store, report = reopened(tmp_path / "a" / "b")
    assert (report.case, report.previous_exit_ok, report.log_end) == ("without_a_log", True, 0)
    assert (tmp_path / "a" / "b" / "abort").read_text() == str(os.getpid())
    assert (tmp_path / "a" / "b" / "lock").read_text() == "lock"
    store.close()
    assert not (tmp_path / "a" / "b" / "abort").exists()


def test_after_a_clean_end_nothing_is_read_again(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 50)
        end = store.max_physical_offset
    store, report = reopened(tmp_path)
    assert report.case == "after_own_clean_exit"
    assert (report.log_end, report.scanned_records, report.truncated_bytes) == (end, 0, 0)
    assert bodies(store) == numbered(50)
    assert store.flushed_offset == end
    store.close()


def test_after_a_kill_only_what_followed_the_checkpoint_is_read_again(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.open()
    put_many(store, 30)
    store.tick_checkpoint()
    put_many(store, 12, first=30)
    put_many(store, 3, "Other")
    crash(store)
    store, report = reopened(tmp_path)
    assert (report.case, report.previous_exit_ok) == ("after_own_crash", False)
    assert report.scanned_records == 15
    assert "15 records read" in report.lines()[0]
    assert bodies(store) == numbered(42)
    assert bodies(store, "Other") == numbered(3)
    assert len(store.query("T", "K41", 9, 0, 1 << 60).records) == 1
    crash(store)  # nothing was added since: the second recovery begins where the first one ended
    store, report = reopened(tmp_path)
    assert report.scanned_records == 0
    store.close()


def test_a_kill_of_a_real_process_loses_nothing_committed(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.store.stores import make_store, put_many
store = make_store(Path(sys.argv[1]))
store.open()
number = 0
while True:
    put_many(store, 1, first=number)
    number += 1
    if number % 50 == 0:
        store.tick_consume_queues()
    if number == 700:
        store.tick_checkpoint()
    print(number, flush=True)
"""
    root = str(Path(__file__).resolve().parent.parent.parent)
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), root],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert process.stdout is not None
    last = 0
    for line in process.stdout:
        last = int(line)
        if last >= 1000:
            process.send_signal(signal.SIGKILL)
            break
    rest = process.stdout.read().split()
    process.wait()
    process.stdout.close()
    last = int(rest[-1]) if rest else last
    store, report = reopened(tmp_path)
    assert report.case == "after_own_crash"
    assert last <= len(bodies(store)) <= last + 1
    assert bodies(store)[:last] == numbered(last)
    store.close()


# -- damage --------------------------------------------------------------------------------------------------------


def crashed(root: Path, count: int = 20) -> int:
    """A store that was killed with nothing checkpointed but its beginning; returns its end."""
    store = make_store(root)
    store.open()
    put_many(store, count)
    end = store.max_physical_offset
    crash(store)
    return end


@pytest.mark.parametrize("at", [0, 4, 88 + 3, -1])
def test_a_damaged_tail_is_cut_with_one_line(tmp_path: Path, at: int) -> None:
    """A power loss in the middle of writing: bytes of the last record are not what they were."""
    end = crashed(tmp_path)
    with log_file(tmp_path).open("r+b") as file:
        store_size = 91 + 1 + 7 + 9
        begin = end - store_size
        file.seek((begin if at >= 0 else end) + at)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes((byte[0] ^ 0xFF,)))
    store, report = reopened(tmp_path)
    kept = len(bodies(store))
    if at == -1:  # the last byte of the properties is under no checksum, and is not zero
        assert kept == 20
    else:
        assert kept == 19
        assert [line for line in report.notes if line.startswith("commit log cut at")] == report.notes
        assert report.truncated_bytes > 0
        assert not any(log_file(tmp_path).read_bytes()[report.log_end :])
    assert put_many(store, 1)[0].queue_offset == kept
    store.close()


def test_a_flipped_bit_cuts_there_and_not_behind(tmp_path: Path) -> None:
    crashed(tmp_path)
    data = bytearray(log_file(tmp_path).read_bytes())
    at = data.index(b"body 7")
    data[at] ^= 1
    log_file(tmp_path).write_bytes(data)
    store, report = reopened(tmp_path)
    assert bodies(store) == numbered(7)
    assert "checksum" in report.notes[0]
    store.close()


def test_without_the_checksum_a_flipped_bit_is_not_found(tmp_path: Path) -> None:
    crashed(tmp_path)
    data = bytearray(log_file(tmp_path).read_bytes())
    data[data.index(b"body 7")] ^= 1
    log_file(tmp_path).write_bytes(data)
    store, _ = reopened(tmp_path, check_crc_on_recover=False)
    assert store.max_offset("T", 0) == 20
    store.close()


def test_a_page_of_properties_that_was_never_written_is_found(tmp_path: Path) -> None:
    """The body's checksum does not cover properties; a page of zeros in them is what a power loss leaves."""
    store = make_store(tmp_path, mapped_file_size_commit_log=1 << 16)
    store.open()
    put_many(store, 1)
    long = put(store, b"long", properties={"a": "x" * 9000})
    store.commit()
    crash(store)
    with log_file(tmp_path).open("r+b") as file:
        file.seek(4096)
        file.write(bytes(4096))
    store, report = reopened(tmp_path, mapped_file_size_commit_log=1 << 16)
    assert bodies(store) == numbered(1)
    assert report.log_end == long.physical_offset
    assert "page" in report.notes[0]
    store.close()


def test_records_behind_a_cut_are_not_found_by_the_next_crash(tmp_path: Path) -> None:
    """Records of equal sizes line up: after a cut and a new message the old next record would look good again."""
    store = make_store(tmp_path)
    store.open()
    puts = [put(store, b"old %d" % number) for number in range(5)]
    store.commit()
    crash(store)
    with log_file(tmp_path).open("r+b") as file:
        file.seek(puts[2].physical_offset)
        file.write(bytes(4))
    store, _ = reopened(tmp_path)
    assert bodies(store) == [b"old 0", b"old 1"]
    put(store, b"new 2")
    store.commit()
    crash(store)
    store, _ = reopened(tmp_path)
    assert bodies(store) == [b"old 0", b"old 1", b"new 2"]
    store.close()


def test_files_behind_the_cut_go(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.open()
    puts = put_many(store, 200)
    assert puts[-1].physical_offset > 2 * 8192
    crash(store)
    with log_file(tmp_path).open("r+b") as file:
        file.seek(puts[10].physical_offset)
        file.write(bytes(4))
    store, report = reopened(tmp_path)
    assert sorted(os.listdir(tmp_path / "commitlog")) == ["0" * 20]
    assert report.truncated_bytes > 8192
    assert bodies(store) == numbered(10)
    store.close()


def test_a_next_file_made_ahead_is_no_damage(tmp_path: Path) -> None:
    """The official broker makes files ahead, and a crash leaves them."""
    crashed(tmp_path)
    log_file(tmp_path, 8192).write_bytes(bytes(8192))
    store, report = reopened(tmp_path)
    assert bodies(store) == numbered(20)
    assert report.notes == []
    store.close()


def test_the_abort_file_alone_means_a_crash(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 5)
    (tmp_path / "abort").touch()  # empty, as 4.7 leaves it
    store, report = reopened(tmp_path)
    assert report.case == "after_own_crash"
    assert bodies(store) == numbered(5)
    store.close()


# -- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "length"), [("00000000000000008192", 100), ("0" * 20, 9000), ("x" * 20, 8192)])
def test_a_log_file_of_a_wrong_length_or_name_is_named(tmp_path: Path, name: str, length: int) -> None:
    with opened(tmp_path) as store:
        put_many(store, 2)
    (tmp_path / "commitlog" / name).write_bytes(bytes(length))
    store = make_store(tmp_path)
    with pytest.raises(StoreDamaged) as refused:
        store.open()
    assert refused.value.file == str(tmp_path / "commitlog" / name)
    (tmp_path / "commitlog" / name).unlink()
    store, _ = reopened(tmp_path)  # the refusal let go of the lock
    store.close()


def test_two_stores_in_one_folder(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(StoreLocked):
        make_store(tmp_path).open()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl, sys; f = open(sys.argv[1], 'r+b'); fcntl.lockf(f, fcntl.LOCK_EX, 1, 0);"
            "print(1, flush=True); sys.stdin.read()",
            str(tmp_path / "lock"),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(StoreLocked, match="another process"):
        make_store(tmp_path).open()
    holder.communicate(b"")
    with opened(tmp_path):
        pass


def test_stores_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "dledger-n0").mkdir(parents=True)
    with pytest.raises(StoreDamaged, match="DLedger"):
        make_store(tmp_path).open()


# -- what derived files may look like ------------------------------------------------------------------------------


@pytest.mark.parametrize("clean", [True, False])
def test_queues_and_index_that_were_deleted_are_built_anew(tmp_path: Path, clean: bool) -> None:
    store = make_store(tmp_path)
    store.open()
    put_many(store, 60)
    put_many(store, 15, "Other", 3)
    if clean:
        store.close()
    else:
        store.tick_checkpoint()
        crash(store)
    shutil.rmtree(tmp_path / "consumequeue")
    shutil.rmtree(tmp_path / "index")
    (tmp_path / "checkpoint").unlink()
    store, report = reopened(tmp_path)
    assert report.case == ("after_official_clean_exit" if clean else "after_official_crash")
    assert bodies(store) == numbered(60)
    assert bodies(store, "Other", 3) == numbered(15)
    assert all(len(store.query("T", f"K{number}", 9, 0, 1 << 60).records) == 1 for number in range(60))
    store.close()


def test_one_queue_that_lacks_units_makes_all_derived_files_anew(tmp_path: Path) -> None:
    """Units from before the mark are gone, by whatever damage; what follows it does not join on."""
    with opened(tmp_path) as store:
        put_many(store, 12)
        put_many(store, 5, "Other")
        puts = put_many(store, 3, first=12)
    folder = tmp_path / "consumequeue" / "T" / "0"
    first_file = folder / ("0" * 20)
    first_file.write_bytes(first_file.read_bytes()[:100] + bytes(100))  # five units are left
    (folder / "00000000000000000200").unlink()
    checkpoint = load_checkpoint(RealFiles(), str(tmp_path / "checkpoint"))
    mark = replace(checkpoint, synced_offset=puts[0].physical_offset)
    save_checkpoint(RealFiles(), str(tmp_path / "checkpoint"), mark)
    (tmp_path / "abort").touch()
    store, report = reopened(tmp_path)
    assert report.case == "after_own_crash, rebuild"
    assert "built again" in report.notes[0]
    assert bodies(store) == numbered(15)
    assert bodies(store, "Other") == numbered(5)
    assert all(len(store.query("T", f"K{number}", 9, 0, 1 << 60).records) == 1 for number in range(15))
    store.close()


def test_a_log_that_was_removed_takes_the_queues_with_it(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 12)
    shutil.rmtree(tmp_path / "commitlog")
    store, report = reopened(tmp_path)
    assert report.case == "without_a_log"
    assert "removed" in report.notes[0]
    assert store.topics() == []
    assert put_many(store, 1)[0].queue_offset == 0
    assert store.query("T", "K5", 9, 0, 1 << 60).records == []
    store.close()


def test_a_topic_deleted_and_made_anew_is_rebuilt_as_the_new_one(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    store.open()
    put_many(store, 12)
    store.destroy_topic("T")
    put_many(store, 4, first=100)
    crash(store)
    (tmp_path / "checkpoint").unlink()
    store, _ = reopened(tmp_path)
    assert bodies(store) == numbered(4, 100)
    store.close()


def test_a_log_that_begins_with_high_offsets_as_on_a_slave(tmp_path: Path) -> None:
    """An empty slave gets only the last file of its master: log and queues begin above zero."""
    folder = tmp_path / "commitlog"
    folder.mkdir(parents=True)
    data = b""
    for number in range(3):
        data += encode_record(
            topic="T",
            queue_id=0,
            body=b"body %d" % number,
            properties=b"",
            queue_offset=700 + number,
            physical_offset=81920 + len(data),
            flag=0,
            sys_flag=0,
            born_timestamp=1,
            born_host=HOST,
            store_timestamp=1000,
            store_host=HOST,
        )
    (folder / f"{81920:020d}").write_bytes(data.ljust(8192, b"\0"))
    store, report = reopened(tmp_path)
    assert report.log_begin == store.min_physical_offset == 81920
    assert (store.min_offset("T", 0), store.max_offset("T", 0)) == (700, 703)
    assert bodies(store) == numbered(3)
    store.close()
    store, _ = reopened(tmp_path)
    assert (store.min_offset("T", 0), store.max_offset("T", 0)) == (700, 703)
    store.close()


def test_a_torn_checkpoint_is_not_trusted(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 12)
    path = tmp_path / "checkpoint"
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)
    (tmp_path / "abort").touch()
    store, report = reopened(tmp_path)
    assert report.case == "after_official_crash"
    assert bodies(store) == numbered(12)
    store.close()


def test_a_mark_that_is_no_records_beginning_is_not_trusted(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 12)
    path = str(tmp_path / "checkpoint")
    for mark in (7, 1 << 40):
        save_checkpoint(RealFiles(), path, Checkpoint(synced_offset=mark, index_offset=mark))
        store, report = reopened(tmp_path)
        assert report.case == "after_official_clean_exit"
        assert bodies(store) == numbered(12)
        store.close()


def test_a_checkpoint_cut_short_by_an_old_broker_is_read() -> None:
    page = Checkpoint(physic_msg_timestamp=5000, logics_msg_timestamp=6000).encode()[:24]
    checkpoint = Checkpoint.decode(page)
    assert checkpoint.min_timestamp() == 2000
    assert checkpoint.synced_offset is None


@pytest.mark.parametrize("damage", [lambda data: data[:0], lambda data: data[:10]])
def test_a_checkpoint_of_any_length_does_not_stop_the_start(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    with opened(tmp_path) as store:
        put_many(store, 3)
    path = tmp_path / "checkpoint"
    path.write_bytes(damage(path.read_bytes()))
    store, _ = reopened(tmp_path)
    assert bodies(store) == numbered(3)
    store.close()
