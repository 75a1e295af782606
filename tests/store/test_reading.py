"""What a pull gets: each status with its next offset, limits, filters, time search, lookups, cold pages."""

from __future__ import annotations

from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from rmqd.store.errors import ColdRead
from rmqd.store.messagestore import MessageStore
from rmqd.store.reading import GetStatus
from rmqwire.message import decode_record
from tests.sim.simfiles import SimFiles

from .stores import START_MS, Clock, make_store, opened, put, put_many


def bodies(store: MessageStore, offset: int, count: int = 32, **arguments: Any) -> list[bytes]:
    return [decode_record(each).body for each in store.get_messages("T", 0, offset, count, **arguments).records]


def test_each_status_and_where_it_sends_the_consumer(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 3)
        put(store, b"half", "E", sys_flag=4)  # its queue exists and is empty
        store.commit()

        def ask(topic: str, queue_id: int, offset: int) -> tuple[GetStatus, int, int, int]:
            found = store.get_messages(topic, queue_id, offset, 9)
            return found.status, found.next_begin_offset, found.min_offset, found.max_offset

        assert ask("N", 0, 5) == (GetStatus.NO_MATCHED_LOGIC_QUEUE, 0, 0, 0)
        assert ask("T", 9, 5) == (GetStatus.NO_MATCHED_LOGIC_QUEUE, 0, 0, 0)
        assert ask("E", 0, 5) == (GetStatus.NO_MESSAGE_IN_QUEUE, 0, 0, 0)
        assert ask("T", 0, 0) == (GetStatus.FOUND, 3, 0, 3)
        assert ask("T", 0, 3) == (GetStatus.OFFSET_OVERFLOW_ONE, 3, 0, 3)
        assert ask("T", 0, 4) == (GetStatus.OFFSET_OVERFLOW_BADLY, 3, 0, 3)
        assert ask("T", 0, -1) == (GetStatus.OFFSET_TOO_SMALL, 0, 0, 3)


def test_a_slave_does_not_correct_offsets(tmp_path: Path) -> None:
    with opened(tmp_path) as master:
        put_many(master, 1)
    with opened(tmp_path, slave=True) as store:
        assert store.get_messages("T", 0, 9, 9).next_begin_offset == 9
        assert store.get_messages("N", 0, 9, 9).next_begin_offset == 9
    with opened(tmp_path, slave=True, offset_check_in_slave=True) as store:
        assert store.get_messages("T", 0, 9, 9).next_begin_offset == 1


def test_messages_from_memory_and_files_in_order(tmp_path: Path) -> None:
    with opened(tmp_path, mapped_file_size_commit_log=65536) as store:
        put_many(store, 25)
        store.tick_consume_queues()
        put_many(store, 10, first=25)
        seen = []
        offset = 0
        while True:
            found = store.get_messages("T", 0, offset, 7)
            if found.status is not GetStatus.FOUND:
                break
            assert found.count == len(found.sizes) == len(found.records) <= 7
            seen += [decode_record(each).body for each in found.records]
            offset = found.next_begin_offset
        assert seen == [b"body %d" % number for number in range(35)]
    with opened(tmp_path, mapped_file_size_commit_log=65536) as store:
        assert bodies(store, 8, 2) == [b"body 8", b"body 9"]


def test_other_queues_records_in_between_are_left_out(tmp_path: Path) -> None:
    with opened(tmp_path, mapped_file_size_commit_log=1 << 20) as store:
        for number in range(40):
            put(store, b"%d" % number, queue_id=number % 4)
            put(store, b"x" * (3000 if number % 16 == 3 else 10), "Other")
        store.commit()
        assert bodies(store, 0) == [b"%d" % number for number in range(0, 40, 4)]


def test_limits_of_messages_in_memory(tmp_path: Path) -> None:
    with opened(
        tmp_path,
        mapped_file_size_commit_log=1 << 20,
        mapped_file_size_consume_queue=20_000,
        max_transfer_bytes_on_message_in_memory=1000,
        max_transfer_count_on_message_in_memory=5,
    ) as store:
        put_many(store, 20)
        assert len(bodies(store, 0, 100)) == 5
        assert len(bodies(store, 0, 3)) == 3
        assert len(bodies(store, 0, 0)) == 1  # at least one
        put(store, b"x" * 950)
        store.commit()
        assert len(bodies(store, 18, 100)) == 2  # the long one would be over the bytes
        assert len(bodies(store, 20, 100)) == 1  # alone it is given
        size = store.get_messages("T", 0, 0, 1).sizes[0]
        assert len(bodies(store, 0, 100, max_bytes=2 * size + 10)) == 2
        assert len(bodies(store, 0, 100, max_bytes=1)) == 1


def test_limits_of_messages_that_are_only_on_disk(tmp_path: Path) -> None:
    store = make_store(tmp_path, mapped_file_size_consume_queue=20_000, max_transfer_count_on_message_in_disk=3)
    store._reading._memory_bytes = 2000
    store.open()
    put_many(store, 60)
    assert store.in_memory(store.max_physical_offset - 2000)
    assert not store.in_memory(store.max_physical_offset - 2001)
    far = store.get_messages("T", 0, 0, 32)
    assert (far.count, far.suggest_slave) == (3, True)
    near = store.get_messages("T", 0, 55, 32)
    assert (near.count, near.suggest_slave) == (5, False)
    store.close()


def test_tags_are_filtered_in_the_queue(tmp_path: Path) -> None:
    with opened(tmp_path, mapped_file_size_commit_log=1 << 20, max_filter_message_size=200) as store:
        for number in range(30):
            put(store, b"%d" % number, properties={"TAGS": f"Tag{number % 3}"})
        store.commit()
        tag = 2_598_919 - ord("A") + ord("1")  # of Tag1
        found = store.get_messages("T", 0, 0, 5, tags=frozenset({tag}))
        # 200 bytes are 10 units; what lies behind is another call's.
        assert [decode_record(each).body for each in found.records] == [b"1", b"4", b"7"]
        assert found.next_begin_offset == 10
        none = store.get_messages("T", 0, 0, 5, tags=frozenset({1}))
        assert (none.status, none.next_begin_offset) == (GetStatus.NO_MATCHED_MESSAGE, 10)
        first = store.get_messages("T", 0, 0, 1, tags=frozenset({tag}))
        assert (first.count, first.next_begin_offset) == (1, 2)  # as Java, full is full before the filter


def test_a_record_that_was_removed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 100)
        queue = store.queues.find("T", 0)
        assert queue is not None
        store.log.starts = store.log.starts[1:]
        path = store.log.path(0)
        Path(path).unlink()
        store.log.pool.drop(path)
        queue.log_begin = store.log.min_offset  # before its beginning was corrected
        found = store.get_messages("T", 0, 0, 5)
        assert found.status is GetStatus.MESSAGE_WAS_REMOVING
        assert found.next_begin_offset == 5
        queue.log_begin = 0
        gone = store.get_messages("T", 0, 0, 5)
        assert gone.status is GetStatus.OFFSET_TOO_SMALL
        assert decode_record(store.get_messages("T", 0, gone.min_offset, 1).body).physical_offset == 8192


def test_a_queue_file_that_is_missing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 35)
        store.tick_consume_queues()
        queue = store.queues.find("T", 0)
        assert queue is not None
        store.queues._pool.drop(queue.path(0))
        Path(queue.path(0)).unlink()
        found = store.get_messages("T", 0, 3, 5)
        assert (found.status, found.next_begin_offset) == (GetStatus.OFFSET_FOUND_NULL, 10)


def test_search_by_time(tmp_path: Path) -> None:
    clock = Clock(step=0)
    with opened(tmp_path, clock=clock) as store:
        assert store.search_offset_by_time("T", 0, 0) == 0
        for second in (10, 20, 20, 20, 30):
            clock.now_ms = START_MS + second
            put_many(store, 1)

        def lower(second: int) -> int:
            return store.search_offset_by_time("T", 0, START_MS + second)

        def upper(second: int) -> int:
            return store.search_offset_by_time("T", 0, START_MS + second, "UPPER")

        assert [lower(second) for second in (5, 10, 15, 20, 25, 30, 31)] == [0, 0, 1, 1, 4, 4, 5]
        assert [upper(second) for second in (5, 10, 15, 20, 25, 30, 31)] == [0, 0, 0, 3, 3, 4, 4]
        assert store.store_timestamp("T", 0, 2) == START_MS + 20
        assert store.store_timestamp("T", 0, 5) == store.store_timestamp("N", 0, 0) == -1


def test_records_by_offset(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        big = put(store, b"x" * 3900)
        small = put_many(store, 1)[0]
        assert decode_record(store.read_record(big.physical_offset) or b"").body == b"x" * 3900
        assert store.read_record(small.physical_offset, small.size) is not None
        assert store.read_record(small.physical_offset, small.size - 1) is None
        for nowhere in (-1, 1, small.physical_offset + 1, store.max_physical_offset, 1 << 40):
            assert store.read_record(nowhere) is None


def test_pages_that_are_not_in_the_cache_are_read_in_a_thread() -> None:
    files = SimFiles()
    store = make_store(Path("/store"), files=files)
    store.open()
    put_many(store, 30)
    store.tick_consume_queues()
    files.cold = True
    with pytest.raises(ColdRead):
        store.get_messages("T", 0, 0, 9)
    with pytest.raises(ColdRead):
        store.search_offset_by_time("T", 0, START_MS, allow_cold=False)
    with pytest.raises(ColdRead):
        store.read_record(0, allow_cold=False)
    with pytest.raises(ColdRead):
        store.query("T", "K1", 9, 0, 1 << 60, allow_cold=False)
    seen: list[Any] = []

    def read() -> None:
        seen.append(store.get_messages("T", 0, 0, 9, allow_cold=True).count)
        seen.append(store.search_offset_by_time("T", 0, START_MS, allow_cold=True))
        seen.append(store.read_record(0, allow_cold=True) is not None)
        seen.append(len(store.query("T", "K1", 9, 0, 1 << 60, allow_cold=True).records))

    thread = Thread(target=read)
    thread.start()
    thread.join()
    assert seen == [9, 0, True, 1]
    files.cold = False
    store.close()


def test_a_thread_reads_a_queue_that_was_never_looked_at(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_many(store, 12)
    with opened(tmp_path) as store:
        seen: list[int] = []
        thread = Thread(target=lambda: seen.append(store.get_messages("T", 0, 2, 5, allow_cold=True).count))
        thread.start()
        thread.join()
        assert seen == [5]
        assert not list(store.queues.loaded())
