"""A store that is written by another one: byte for byte the same log, and everything derived from it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from store.stores import crash, make_store, opened, put, put_many

from rmqd.store.errors import NotWritable, ReplicaRefused
from rmqd.store.messagestore import MessageStore


def log_bytes(store: MessageStore) -> bytes:
    """Everything from the first file to the end of the log."""
    parts, at = [], store.log.min_offset
    while at < store.max_physical_offset:
        parts.append(store.read_log(at, 1 << 20, allow_cold=True))
        at += len(parts[-1])
    return b"".join(parts)


def feed(master: MessageStore, slave: MessageStore, chunk: Random | int, *, start: int | None = None) -> None:
    """Send what the slave lacks, in pieces."""
    at = slave.received_offset
    if at is None:
        at = master.log.min_offset if start is None else start
    while at < master.max_physical_offset:
        size = chunk if isinstance(chunk, int) else chunk.randrange(1, 700)
        data = master.read_log(at, size, allow_cold=True)
        slave.append_received(at, data)
        at += len(data)


def records(store: MessageStore, topic: str, queue_id: int, at: int) -> bytes:
    """What consumers get of a queue from an offset on."""
    parts = []
    while at < store.max_offset(topic, queue_id):
        found = store.get_messages(topic, queue_id, at, 32, allow_cold=True)
        assert found.next_begin_offset > at
        parts.append(found.body)
        at = found.next_begin_offset
    return b"".join(parts)


def same(master: MessageStore, slave: MessageStore) -> None:
    """Both hold the same messages, in the log, in the queues and in the index."""
    assert log_bytes(slave) == log_bytes(master)[slave.log.min_offset - master.log.min_offset :]
    assert sorted(slave.topics()) == sorted(master.topics())
    for topic in master.topics():
        for queue_id in master.queue_ids(topic):
            assert slave.max_offset(topic, queue_id) == master.max_offset(topic, queue_id)
            low = slave.min_offset(topic, queue_id)
            assert slave.queue_units(topic, queue_id, low, 1000) == master.queue_units(topic, queue_id, low, 1000)
            assert records(slave, topic, queue_id, low) == records(master, topic, queue_id, low)


@pytest.mark.parametrize("chunk", [1, 7, 333, 5000, Random(5)], ids=str)
def test_a_slave_has_the_same_log_queues_and_keys_whatever_the_pieces(tmp_path: Path, chunk: Random | int) -> None:
    with opened(tmp_path / "m") as master, opened(tmp_path / "s", slave=True) as slave:
        for number in range(60):
            put(
                master, b"x" * (number * 13 % 300), "T", number % 3, properties={"TAGS": "a", "KEYS": f"k{number} both"}
            )
            put(master, b"y", "Other", 0)
            if number % 4 == 0:
                master.commit()
        master.commit()
        assert master.max_physical_offset > 2 * 8192, "more than two files"
        feed(master, slave, chunk)
        same(master, slave)
        assert slave.put_count == master.put_count
        assert len(slave.query("T", "both", 64, 0, 1 << 62).records) == 60
        assert slave.query("T", "k31", 10, 0, 1 << 62).records == master.query("T", "k31", 10, 0, 1 << 62).records


def test_consumers_are_told_of_what_arrives(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as master, opened(tmp_path / "s", slave=True) as slave:
        told: list[tuple[str, int, int]] = []
        slave.tell_arrivals(lambda topic, queue_id, end, tags: told.append((topic, queue_id, end)))
        put_many(master, 3)
        feed(master, slave, 5000)
        assert told == [("T", 0, 3)]


def test_the_end_of_the_log_is_the_end_of_a_record(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as master, opened(tmp_path / "s", slave=True) as slave:
        first, second = put_many(master, 2)
        data = master.read_log(0, 1 << 20)
        assert slave.append_received(0, data[: first.size + 30]) == first.size
        assert slave.received_offset == first.size + 30
        assert slave.append_received(first.size + 30, data[first.size + 30 :]) == first.size + second.size
        slave_end = slave.max_physical_offset
        assert slave_end == master.max_physical_offset


def test_what_had_come_of_a_record_is_sent_again_after_the_connection_broke(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as master, opened(tmp_path / "s", slave=True) as slave:
        put_many(master, 3)
        slave.append_received(0, master.read_log(0, 150))
        slave.forget_incomplete()
        assert slave.received_offset == slave.max_physical_offset
        feed(master, slave, 40)
        same(master, slave)


def test_a_slave_that_stops_or_dies_goes_on_where_it_was(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as master:
        for round_number in range(6):
            put_many(master, 25, first=25 * round_number)
            slave = make_store(tmp_path / "s", slave=True)
            report = slave.open()
            assert not report.truncated_bytes
            at = slave.received_offset or 0
            cut = master.read_log(at, 500)
            slave.append_received(at, cut)
            feed(master, slave, 777)
            slave.append_received(slave.received_offset or 0, b"")
            same(master, slave)
            if round_number % 2:
                crash(slave)
            else:
                slave.close()


def test_an_empty_slave_may_begin_at_a_later_file(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as master:
        put_many(master, 120)
        start = master.log.starts[-1]
        assert start > 0
        with opened(tmp_path / "s", slave=True) as slave:
            assert slave.received_offset is None
            feed(master, slave, 300, start=start)
            same(master, slave)
            assert slave.log.min_offset == start
            assert 0 < slave.min_offset("T", 0) < slave.max_offset("T", 0) == 120
        with opened(tmp_path / "s", slave=True) as slave:
            put_many(master, 5, first=120)
            feed(master, slave, 300)
            same(master, slave)


def test_a_topic_that_was_deleted_and_made_anew_begins_at_zero_on_the_slave_too(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as master, opened(tmp_path / "s", slave=True) as slave:
        put_many(master, 5)
        feed(master, slave, 5000)
        master.destroy_topic("T")
        put_many(master, 2, first=5)
        feed(master, slave, 5000)
        assert slave.max_offset("T", 0) == 2
        same(master, slave)


@pytest.mark.parametrize("offset", [0, 50, 10_000])
def test_bytes_of_another_place_are_refused(tmp_path: Path, offset: int) -> None:
    with opened(tmp_path / "m") as master, opened(tmp_path / "s", slave=True) as slave:
        put_many(master, 3)
        feed(master, slave, 5000)
        end = slave.max_physical_offset
        with pytest.raises(ReplicaRefused, match=f"the master sent offset {offset}, but this log continues at {end}"):
            slave.append_received(offset, b"anything")
        assert slave.max_physical_offset == end


def test_files_of_another_length_are_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "s", slave=True) as slave, pytest.raises(ReplicaRefused, match="mappedFileSizeCommitLog"):
        slave.append_received(5000, b"x")


def test_bytes_that_are_no_record_of_this_place_are_refused_and_not_written(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as master, opened(tmp_path / "s", slave=True) as slave:
        first, _ = put_many(master, 2)
        data = master.read_log(0, 1 << 20)
        with pytest.raises(ReplicaRefused, match="offset 0 is no record"):
            slave.append_received(0, b"\0" * 200)
        with pytest.raises(ReplicaRefused, match="offset 0 says it is at"):
            slave.append_received(0, data[first.size :])
        assert slave.received_offset is None or slave.max_physical_offset == 0
        slave.append_received(0, data)
        same(master, slave)


def test_a_slave_takes_no_messages_of_its_own(tmp_path: Path) -> None:
    with opened(tmp_path / "s", slave=True) as slave, pytest.raises(NotWritable, match="slave"):
        put(slave, b"x")


def test_the_last_record_is_found_without_reading_all(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as master:
        assert master.last_record_offset() is None
        puts = put_many(master, 70)
        assert master.last_record_offset() == puts[-1].physical_offset
    with opened(tmp_path / "m", message_index_enable=False) as master:
        assert master.last_record_offset() == puts[-1].physical_offset
        assert master.last_received is None


def test_a_slave_becomes_a_master_and_a_slave_again(tmp_path: Path) -> None:
    with opened(tmp_path / "m") as first, opened(tmp_path / "s", slave=True) as second:
        put_many(first, 5)
        feed(first, second, 5000)
        second.set_slave(False)
        put_many(second, 5)
        first.set_slave(True)
        with pytest.raises(NotWritable, match="slave"):
            put(first, b"x")
        feed(second, first, 333)
        same(second, first)
        first.set_slave(False)
        put_many(first, 5)
        second.set_slave(True)
        feed(first, second, 5000)
        same(first, second)
