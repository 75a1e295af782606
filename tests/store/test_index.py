"""The index by key: entries, chains, several files, and what is found."""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqd.store.errors import StoreDamaged
from rmqd.store.files import RealFiles
from rmqd.store.indexfile import _ENTRY, _HEADER, ENTRY_BYTES, HEADER_BYTES
from rmqd.store.indexslots import SlotTable, read_slots, to_big_endian
from rmqd.store.keyindex import index_file_name
from rmqd.store.messagestore import MessageStore
from rmqwire.hashing import IndexKeyHasher
from rmqwire.message import decode_record

from .stores import START_MS, Clock, crash, make_store, opened, put, put_many

ALWAYS = (0, 1 << 60)


def found(store: MessageStore, key: str, topic: str = "T", maximum: int = 64) -> list[bytes]:
    result = store.query(topic, key, maximum, *ALWAYS)
    return [decode_record(record).body for record in result.records]


def test_the_official_layout(tmp_path: Path) -> None:
    clock = Clock(step=0)
    with opened(tmp_path, clock=clock) as store:
        first = put(store, b"1", properties={"KEYS": "KEY1"})
        store.commit()
        store.tick_consume_queues()  # keys wait until there are many of them or a tick
        clock.now_ms += 2500
        second = put(store, b"2", properties={"KEYS": "KEY1 b"})
        store.commit()
    (path,) = (tmp_path / "index").iterdir()
    assert path.name == index_file_name(START_MS)
    data = path.read_bytes()
    assert len(data) == 40 + 64 * 4 + 64 * 20
    header = _HEADER.unpack_from(data)
    assert header == (START_MS, START_MS + 2500, 0, second.physical_offset, 2, 4)
    key_hash = IndexKeyHasher("T").index_hash("KEY1")
    slot = struct.unpack_from(">i", data, HEADER_BYTES + key_hash % 64 * 4)[0]
    assert slot == 2
    entries = [_ENTRY.unpack_from(data, 40 + 64 * 4 + number * ENTRY_BYTES) for number in (1, 2, 3)]
    assert entries[0] == (key_hash, first.physical_offset, 0, 0)
    assert entries[1] == (key_hash, second.physical_offset, 2, 1)
    assert entries[2] == (IndexKeyHasher("T").index_hash("b"), second.physical_offset, 2, 0)


def test_a_file_that_becomes_full_while_it_is_written_keeps_all_its_keys(tmp_path: Path) -> None:
    """The job of a checkpoint writes what was there at its plan; what came meanwhile is for the next one."""
    with opened(tmp_path) as store:
        put(store, b"0", properties={"KEYS": "K0"})
        store.commit()
        store.tick_consume_queues()
        job = store.checkpoint_plan(at_once=True)
        assert job is not None
        for number in range(1, 80):
            put(store, b"%d" % number, properties={"KEYS": f"K{number}"})
            store.commit()
        store.tick_consume_queues()
        store.checkpointed(job())
        assert len(store.index.files if store.index else []) == 2
    with opened(tmp_path) as store:
        for number in range(80):
            assert found(store, f"K{number}") == [b"%d" % number]


def test_messages_are_found_by_each_key_over_several_files(tmp_path: Path) -> None:
    with opened(tmp_path, mapped_file_size_commit_log=1 << 20) as store:
        for number in range(300):
            put(store, b"%d" % number, properties={"KEYS": f"K{number} M{number % 50}", "UNIQ_KEY": f"U{number}"})
            if number % 7 == 0:
                store.commit()
        store.commit()
        for number in range(300):
            assert found(store, f"K{number}") == found(store, f"U{number}") == [b"%d" % number]
        assert found(store, "M7") == [b"%d" % number for number in range(7, 300, 50)]
        assert found(store, "M7", maximum=2) == [b"207", b"257"]  # the newest ones, oldest first
        assert found(store, "K1", topic="Other") == []
        assert len(store.index.files if store.index else []) >= 14
        result = store.query("T", "K1", 9, *ALWAYS)
        last = store.store_timestamp("T", 0, 299)
        assert (result.index_last_update_timestamp, result.index_last_update_phyoffset) == (
            last,
            store.physical_offset("T", 0, 299),
        )
    names = sorted(os.listdir(tmp_path / "index"))
    assert len(names) == len(set(names))
    with opened(tmp_path, mapped_file_size_commit_log=1 << 20) as store:
        assert all(found(store, f"K{number}") == [b"%d" % number] for number in range(300))
        put(store, b"new", properties={"KEYS": "K3"})
        store.commit()
        assert found(store, "K3") == [b"3", b"new"]


def test_a_span_of_time(tmp_path: Path) -> None:
    clock = Clock(step=0)
    with opened(tmp_path, clock=clock) as store:
        for second in range(5):
            clock.now_ms = START_MS + second * 1000
            put(store, b"%d" % second, properties={"KEYS": "k"})
            store.commit()

        def between(begin: int, end: int) -> list[bytes]:
            records = store.query("T", "k", 64, START_MS + begin, START_MS + end).records
            return [decode_record(record).body for record in records]

        assert between(1000, 3000) == [b"1", b"2", b"3"]
        assert between(5000, 9000) == []
        assert between(-5000, -1) == []
        assert between(-5000, 0) == [b"0"]


def test_no_more_than_one_calls_number(tmp_path: Path) -> None:
    with opened(tmp_path, max_msgs_num_batch=4) as store:
        for _ in range(9):
            put(store, b"x", properties={"KEYS": "k"})
        store.commit()
        assert len(found(store, "k", maximum=100)) == 4


def test_without_an_index_nothing_is_found_and_nothing_written(tmp_path: Path) -> None:
    with opened(tmp_path, message_index_enable=False) as store:
        put_many(store, 3)
        assert found(store, "K1") == []
    assert not (tmp_path / "index").exists()


def test_a_message_with_more_keys_than_a_file_has_entries(tmp_path: Path) -> None:
    keys = " ".join(f"k{number}" for number in range(150))
    with opened(tmp_path, mapped_file_size_commit_log=1 << 16) as store:
        put(store, b"many", properties={"KEYS": keys})
        store.commit()
        for number in (0, 62, 63, 64, 149):
            assert found(store, f"k{number}") == [b"many"]


def test_a_file_of_another_size_is_named(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 3)
    store = make_store(tmp_path, max_index_num=65)
    with pytest.raises(StoreDamaged) as refused:
        store.open()
    assert "index" in str(refused.value.file)


def test_an_empty_file_is_what_a_crash_leaves(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 3)
    (tmp_path / "index" / "99991231235959999").touch()
    with opened(tmp_path) as store:
        assert found(store, "K1") == [b"body 1"]
    assert not (tmp_path / "index" / "99991231235959999").exists()


def test_names_ascend_whatever_the_clock_does(tmp_path: Path) -> None:
    clock = Clock(step=-5000)
    with opened(tmp_path, clock=clock, mapped_file_size_commit_log=1 << 20) as store:
        put_many(store, 200)
        store.tick_consume_queues()
        assert store.index is not None
        names = [os.path.basename(file.path) for file in store.index.files]
        assert names == sorted(set(names))
        assert len(names) == 4
        assert all(len(name) == 17 for name in names)


def test_slots_that_point_behind_the_entries_are_followed_back(tmp_path: Path) -> None:
    """A kill between the writing of slots and the mark: the entries behind it are there, and lead back."""
    store = make_store(tmp_path, mapped_file_size_commit_log=1 << 20)
    store.open()
    put_many(store, 20)
    store.tick_checkpoint()
    put_many(store, 20, first=20)
    assert store.index is not None
    job = store.index.write_plan()
    assert job is not None
    job()
    crash(store)
    again = make_store(tmp_path, mapped_file_size_commit_log=1 << 20)
    report = again.open()
    assert report.scanned_records == 20
    assert not [line for line in report.notes if "anew" in line]
    assert all(found(again, f"K{number}") == [b"body %d" % number] for number in range(40))
    again.close()


def test_slots_are_built_anew_when_the_entries_they_point_to_are_lost(tmp_path: Path) -> None:
    """A power loss: slots survived that point to entries that did not."""
    store = make_store(tmp_path, mapped_file_size_commit_log=1 << 20)
    store.open()
    put_many(store, 20)
    store.tick_checkpoint()
    put_many(store, 20, first=20)
    assert store.index is not None
    job = store.index.write_plan()
    assert job is not None
    job()
    path = store.index.files[0].path
    crash(store)
    with open(path, "r+b") as file:
        file.seek(40 + 64 * 4 + 21 * ENTRY_BYTES)
        file.write(bytes(19 * ENTRY_BYTES))
    again = make_store(tmp_path, mapped_file_size_commit_log=1 << 20)
    report = again.open()
    assert [line for line in report.notes if "anew" in line]
    assert all(found(again, f"K{number}") == [b"body %d" % number] for number in range(40))
    again.close()


@given(st.lists(st.tuples(st.integers(0, 4999), st.integers(1, 2**31 - 1)), max_size=40), st.integers(1, 5000))
def test_slot_tables_are_written_and_read_back(changes: list[tuple[int, int]], slot_num: int) -> None:
    table = SlotTable(slot_num)
    expected: dict[int, int] = {}
    files = RealFiles()
    with tempfile.TemporaryDirectory() as folder:
        fd = files.open(os.path.join(folder, "slots"), create=True)
        files.truncate(fd, 40 + slot_num * 4)
        for slot, value in changes:
            if slot < slot_num:
                table.values[slot] = expected[slot] = value
                table.changed_pages[slot >> 10] = 1
        for first, values in table.take_changed():
            os.pwrite(fd, to_big_endian(values), 40 + first * 4)
        assert table.take_changed() == []
        assert table.used() == len(expected)
        seen = {}
        for first, values in read_slots(files, fd, 40, slot_num):
            seen.update({first + at: value for at, value in enumerate(values) if value})
        files.close(fd)
    assert seen == expected
