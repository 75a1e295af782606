"""Consume queues on disk: layout, beginnings above zero, rolls, many queues with few descriptors, deletion."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rmqd.store.consumequeue import FILLER, UNIT, ConsumeQueue
from rmqd.store.errors import StoreDamaged
from rmqd.store.messagestore import MessageStore

from .stores import make_store, opened, put, put_many


def queue_of(store: MessageStore, topic: str = "T", queue_id: int = 0) -> ConsumeQueue:
    queue = store.queues.find(topic, queue_id)
    assert queue is not None
    return queue


def test_units_are_the_official_ones(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        puts = put_many(store, 12)
    folder = tmp_path / "consumequeue" / "T" / "0"
    assert sorted(os.listdir(folder)) == ["00000000000000000000", "00000000000000000200"]
    data = b"".join((folder / name).read_bytes() for name in sorted(os.listdir(folder)))
    assert len(data) == 400
    assert data[:240] == b"".join(UNIT.pack(each.physical_offset, each.size, 0) for each in puts)
    assert not any(data[240:])


def test_a_file_size_that_is_no_multiple_of_a_unit_is_rounded_up(tmp_path: Path) -> None:
    with opened(tmp_path, mapped_file_size_consume_queue=190) as store:
        put_many(store, 1)
    assert (tmp_path / "consumequeue" / "T" / "0" / ("0" * 20)).stat().st_size == 200


def test_a_queue_that_begins_above_zero_has_filler_before_it(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        queue = store.queues.find_or_make("T", 0)
        queue.begin_at(25)
        puts = put_many(store, 3)
        assert [each.queue_offset for each in puts] == [25, 26, 27]
        assert (store.min_offset("T", 0), store.max_offset("T", 0)) == (25, 28)
    data = (tmp_path / "consumequeue" / "T" / "0" / "00000000000000000400").read_bytes()
    assert data[:100] == FILLER * 5
    with opened(tmp_path) as store:
        assert (store.min_offset("T", 0), store.max_offset("T", 0)) == (25, 28)
        assert store.get_messages("T", 0, 25, 9).count == 3


def test_many_queues_share_few_descriptors(tmp_path: Path) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    with opened(tmp_path, open_files_max=4, mapped_file_size_commit_log=1 << 20) as store:
        for number in range(300):
            put(store, b"%d" % number, f"T{number % 30}", number % 5)
        store.commit()
        left = store.tick_consume_queues(10)
        assert left == 27, "a new file counts for four"
        while store.tick_consume_queues(10):
            pass
        assert open_files() - before < 12
        for number in range(30):
            assert store.get_messages(f"T{number}", number % 5, 0, 20).count == 10
        assert open_files() - before < 12
        assert len(store.queues._pool) <= 4
    with opened(tmp_path, open_files_max=4, mapped_file_size_commit_log=1 << 20) as store:
        assert not list(store.queues.loaded())  # looked at when they are asked for
        assert store.max_offset("T3", 3) == 10
        assert len(list(store.queues.loaded())) == 1
        assert store.queue_ids("T3") == [3]
        assert len(store.topics()) == 30
    assert open_files() == before


def test_a_tail_that_grows_is_written_without_a_tick(tmp_path: Path) -> None:
    with opened(tmp_path, mapped_file_size_commit_log=1 << 20, mapped_file_size_consume_queue=60_000) as store:
        for number in range(900):
            put(store, b"%d" % number)
            if number % 10 == 9:
                store.commit()
        queue = queue_of(store)
        assert queue.memory[0] > 800
        assert len(queue.memory[1]) < 2000


def test_deleting_a_topic(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 12)
        put_many(store, 2, "Other")
        store.tick_consume_queues()
        assert store.destroy_topic("T")
        assert not store.destroy_topic("T")
        assert store.topics() == ["Other"]
        assert not (tmp_path / "consumequeue" / "T").exists()
        assert put_many(store, 1)[0].queue_offset == 0
        assert store.get_messages("T", 0, 0, 9).count == 1
    with opened(tmp_path) as store:
        assert store.max_offset("T", 0) == 1


@pytest.mark.parametrize(
    ("name", "length"), [("0" * 19 + "1", 100), ("notanumber", 200), ("00000000000000000007", 200)]
)
def test_a_file_that_does_not_belong_is_named(tmp_path: Path, name: str, length: int) -> None:
    with opened(tmp_path) as store:
        put_many(store, 12)
    path = tmp_path / "consumequeue" / "T" / "0" / name
    path.write_bytes(bytes(length))
    store = make_store(tmp_path)
    store.open()
    with pytest.raises(StoreDamaged) as refused:
        store.max_offset("T", 0)
    assert refused.value.file == str(path)
    store.close()


def test_an_empty_last_file_is_what_a_crash_leaves(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 10)
    (tmp_path / "consumequeue" / "T" / "0" / "00000000000000000200").touch()
    with opened(tmp_path) as store:
        assert store.max_offset("T", 0) == 10
        assert put_many(store, 1)[0].queue_offset == 10


def test_units_behind_a_cut_that_another_broker_left_are_not_taken(tmp_path: Path) -> None:
    """The official broker does not clear what it cuts off; once the log grew past them such units look good."""
    with opened(tmp_path) as store:
        puts = put_many(store, 6)
    path = tmp_path / "consumequeue" / "T" / "0" / ("0" * 20)
    with path.open("r+b") as file:
        file.seek(6 * 20)
        for number in range(3):
            file.write(UNIT.pack(puts[2].physical_offset + number, puts[2].size, 0))
    with opened(tmp_path) as store:
        assert store.max_offset("T", 0) == 6
        assert store.get_messages("T", 0, 0, 32).count == 6


def test_a_gap_between_files_hides_what_is_before_it(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 35)
    (tmp_path / "consumequeue" / "T" / "0" / "00000000000000000200").unlink()
    (tmp_path / "checkpoint").unlink()  # as another broker leaves it; ours says how many files there have to be
    with opened(tmp_path) as store:
        assert (store.min_offset("T", 0), store.max_offset("T", 0)) == (20, 35)
