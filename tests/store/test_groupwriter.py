"""Putting messages: where they go, what a group is, and what is refused."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rmqd.store.consumequeue import append_units
from rmqd.store.errors import (
    MessageIllegal,
    MessageTooLarge,
    NotWritable,
    PropertiesTooLarge,
    StoreFull,
    TopicTooLong,
    WriteFailed,
)
from rmqd.store.reading import GetStatus
from rmqwire import speed
from rmqwire.codes import ResponseCode
from rmqwire.message import (
    BLANK_MAGIC,
    MESSAGE_MAGIC_V2,
    BatchEntry,
    decode_message_id,
    decode_record,
    encode_host,
    encode_message_id,
)
from tests.sim.simfiles import SimFiles

from .stores import BORN, HOST, START_MS, Clock, crash, make_store, opened, put, put_many


def test_a_message_is_stored_as_it_was_staged(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        first = put(store, b"one", properties={"TAGS": "A", "KEYS": "k"})
        second = put(store, b"", queue_id=3)
        store.commit()
        assert (first.physical_offset, first.queue_offset) == (0, 0)
        assert (second.physical_offset, second.queue_offset) == (first.size, 0)
        record = store.read_record(0)
        assert record is not None
        message = decode_record(record, check_crc=True)
        assert message.body == b"one"
        assert message.properties == b"TAGS\x01A\x02KEYS\x01k\x02"
        assert (message.flag, message.born_host, message.store_host) == (7, BORN, HOST)
        assert message.store_timestamp == first.store_timestamp > START_MS
        host, offset = decode_message_id(encode_message_id(message.store_host, second.physical_offset))
        assert store.read_record(offset) is not None
        assert host == HOST


def test_nothing_is_visible_before_the_commit(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, b"x")
        assert store.max_offset("T", 0) == 0
        assert store.max_physical_offset == 0
        assert store.get_messages("T", 0, 0, 1).status is GetStatus.NO_MESSAGE_IN_QUEUE
        store.commit()
        assert store.max_offset("T", 0) == 1


def test_messages_of_one_group_have_one_store_time_that_never_goes_back(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, clock=clock) as store:
        times = {put(store, b"x").store_timestamp for _ in range(3)}
        store.commit()
        assert len(times) == 1
        clock.now_ms -= 60_000
        assert put(store, b"y").store_timestamp == times.pop()


def test_who_waits_is_told_once_per_queue_and_group(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        told: list[tuple[str, int, int, list[int]]] = []
        store.tell_arrivals(lambda topic, queue, offset, tags: told.append((topic, queue, offset, list(tags))))
        put(store, b"1", properties={"TAGS": "TagA"})
        put(store, b"2", queue_id=1)
        put(store, b"3")
        store.commit()
        assert told == [("T", 0, 2, [2_598_919, 0]), ("T", 1, 1, [0])]
        store.commit()
        assert len(told) == 2


def test_who_waits_for_some_topics_is_told_of_those(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        told: list[tuple[int, str]] = []
        awaited: dict[str, object] = {}
        store.tell_arrivals(lambda topic, *_: told.append((1, topic)), awaited)
        store.tell_arrivals(lambda topic, *_: told.append((2, topic)), {"U": 1})
        for topic in "TUV":
            put(store, b"1", topic=topic)
        store.commit()
        assert told == [(2, "U")]
        awaited |= {"U": 1, "V": 1}
        for topic in "TUV":
            put(store, b"1", topic=topic)
        store.commit()
        assert told[1:] == [(1, "U"), (2, "U"), (1, "V")]


def test_a_file_that_is_full_ends_with_a_blank_and_the_record_goes_to_the_next(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        sizes = [put(store, b"x" * 1500).size for _ in range(6)]
        store.commit()
        size = sizes[0]
        per_file = (8192 - 8) // size
        rolled = store.get_messages("T", 0, per_file, 1)
        assert decode_record(rolled.body).physical_offset == 8192
        data = (tmp_path / "commitlog" / ("0" * 20)).read_bytes()
        blank_at = per_file * size
        assert int.from_bytes(data[blank_at : blank_at + 4], "big") == 8192 - blank_at
        assert int.from_bytes(data[blank_at + 4 : blank_at + 8], "big", signed=True) == BLANK_MAGIC
        assert store.get_messages("T", 0, 0, 32).count == 6


@pytest.mark.parametrize("spare", range(7, 10))
def test_eight_bytes_stay_free_at_a_files_end(tmp_path: Path, spare: int) -> None:
    with opened(tmp_path, max_message_size=8192) as store:
        overhead = put(store, b"").size
        store._drop_group()
        put(store, b"x" * (8192 - overhead - spare - overhead))
        fits = put(store, b"")
        store.commit()
        assert fits.physical_offset == (8192 if spare < 8 else 8192 - overhead - spare)


def test_a_batch_lies_in_one_file(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, b"x" * 3990)
        put(store, b"x" * 2000)
        entries = [BatchEntry(n, b"y" * 900, b"") for n in range(3)]
        batch = store.stage_batch(
            "T",
            0,
            entries,
            tags_codes=[1, 2, 3],
            keys=[(), ("a",), ("b", "c")],
            sys_flag=0,
            born_timestamp=1,
            born_host=BORN,
        )
        store.commit()
        assert (batch.queue_offset, batch.size, batch.end) == (2, 3 * (batch.size // 3), 8192 + batch.size)
        assert batch.physical_offsets == [8192 + n * batch.size // 3 for n in range(3)]
        found = store.get_messages("T", 0, 2, 32)
        assert [decode_record(record).flag for record in found.records] == [0, 1, 2]
        assert len(store.query("T", "c", 10, 0, 1 << 60).records) == 1
        with pytest.raises(MessageTooLarge):
            store.stage_batch(
                "T",
                0,
                [BatchEntry(0, b"y" * 3000, b"")] * 3,
                tags_codes=[0] * 3,
                keys=[()] * 3,
                sys_flag=0,
                born_timestamp=1,
                born_host=BORN,
            )
        assert store.max_offset("T", 0) == 5


def test_prepared_and_rolled_back_messages_are_in_no_queue(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        prepared = put(store, b"half", properties={"KEYS": "p"}, sys_flag=4)
        rolled_back = put(store, b"no", properties={"KEYS": "r"}, sys_flag=12)
        committed = put(store, b"yes", sys_flag=8)
        store.commit()
        assert (prepared.queue_offset, rolled_back.queue_offset, committed.queue_offset) == (0, 0, 0)
        assert [decode_record(each).body for each in store.get_messages("T", 0, 0, 9).records] == [b"yes"]
        assert len(store.query("T", "p", 9, 0, 1 << 60).records) == 1
        assert not store.query("T", "r", 9, 0, 1 << 60).records


def test_a_group_of_only_prepared_messages_is_written(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, b"half", sys_flag=4)
        store.commit()
        assert store.max_physical_offset > 0
        assert store.max_offset("T", 0) == 0


def test_ipv6_hosts(tmp_path: Path) -> None:
    host = encode_host("fe80::1", 10911)
    with opened(tmp_path, store_host=host) as store:
        first = put(store, b"six", born_host=host)
        second = put(store, b"four")
        store.commit()
        for each, born in ((first, host), (second, BORN)):
            record = store.read_record(each.physical_offset, each.size)
            assert record is not None
            message = decode_record(record)
            assert (message.born_host, message.store_host) == (born, host)
            assert store.store_timestamp("T", 0, each.queue_offset) == each.store_timestamp


def test_a_long_topic_makes_a_record_of_version_2(tmp_path: Path) -> None:
    topic = "%RETRY%" + "g" * 200
    with opened(tmp_path) as store:
        put(store, b"x", topic)
        store.commit()
        message = decode_record(store.get_messages(topic, 0, 0, 1).body)
        assert (message.topic, message.magic) == (topic, MESSAGE_MAGIC_V2)
    with opened(tmp_path / "old", auto_message_version_on_topic_len=False) as store, pytest.raises(TopicTooLong):
        put(store, b"x", topic)


@pytest.mark.parametrize("topic", ["", ".", "..", "a/b", "a\0b"])
def test_a_topic_that_cannot_be_a_folder_is_refused(tmp_path: Path, topic: str) -> None:
    with opened(tmp_path) as store:
        with pytest.raises(MessageIllegal):
            put(store, b"x", topic)
        with pytest.raises(MessageIllegal):
            put(store, b"x", "T", -1)
        assert store.topics() == []


def test_what_is_over_a_limit_is_refused_and_nothing_assigned(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, b"fits" * 1000)
        with pytest.raises(MessageTooLarge) as refused:
            put(store, b"x" * 4001)
        assert refused.value.response_code == ResponseCode.MESSAGE_ILLEGAL
        with pytest.raises(PropertiesTooLarge) as refused_too:
            put(store, b"x", properties={"a": "b" * 32_767})
        assert refused_too.value.response_code == ResponseCode.MESSAGE_ILLEGAL
        with pytest.raises(MessageTooLarge):
            put(store, b"x", properties={"a": "b" * 9000})  # the file is shorter
        last = put(store, b"y")
        store.commit()
        assert last.queue_offset == 1


def test_the_time_of_delivery_is_the_units_code_of_a_delayed_message(tmp_path: Path) -> None:
    with opened(tmp_path, delivery_time_ms=lambda level, stored: stored + level * 1000) as store:
        delayed = put(store, b"x", "SCHEDULE_TOPIC_XXXX", 2, properties={"DELAY": "3", "TAGS": "A"})
        plain = put(store, b"x", "SCHEDULE_TOPIC_XXXX", 2, properties={"TAGS": "A"})
        store.commit()
        queue = store.queues.find("SCHEDULE_TOPIC_XXXX", 2)
        assert queue is not None
        assert store.queues.unit(queue, 0, store.queues.waiting)[2] == delayed.store_timestamp + 3000
        assert store.queues.unit(queue, 1, store.queues.waiting)[2] == 65
        assert plain.queue_offset == 1


def test_before_opening_and_after_closing_nothing_is_taken(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    with pytest.raises(NotWritable):
        put(store, b"x")
    store.open()
    put(store, b"x")
    store.close()
    with pytest.raises(NotWritable) as refused:
        put(store, b"x")
    assert refused.value.response_code == ResponseCode.SERVICE_NOT_AVAILABLE
    store.close()  # a second time is harmless


class TestFailures:
    """The file system refuses; nothing of the group is stored, and nothing acknowledged is lost."""

    def test_a_full_disk(self) -> None:
        files = SimFiles()
        store = make_store(Path("/store"), files=files)
        store.open()
        put_many(store, 3)
        end, queue_end = store.max_physical_offset, store.max_offset("T", 0)
        files.capacity_pages = files.used_pages()
        puts = [put(store, b"z" * 1900) for _ in range(3)]  # over the page that is there
        with pytest.raises(StoreFull) as refused:
            store.commit()
        assert refused.value.response_code == ResponseCode.SERVICE_NOT_AVAILABLE
        assert refused.value.file is not None
        assert (store.max_physical_offset, store.max_offset("T", 0)) == (end, queue_end)
        files.capacity_pages = None
        again = put(store, b"z" * 1900)
        assert (again.physical_offset, again.queue_offset) == (puts[0].physical_offset, puts[0].queue_offset)
        store.commit()
        assert decode_record(store.get_messages("T", 0, again.queue_offset, 1).body).body == b"z" * 1900
        store.close()

    def test_a_group_that_failed_half_written_is_not_found_after_a_crash(self) -> None:
        files = SimFiles()
        store = make_store(Path("/store"), files=files)
        store.open()
        put_many(store, 1)
        files.capacity_pages = files.used_pages()
        for _ in range(3):
            put(store, b"z" * 1900)
        with pytest.raises(StoreFull):
            store.commit()
        store._lock._held.clear()
        again = make_store(Path("/store"), files=files.after_process_crash())
        report = again.open()
        assert again.max_offset("T", 0) == 1
        assert report.truncated_bytes == 0, report.lines()
        again.close()

    def test_a_failing_disk_that_cannot_be_cleared_ends_writing(self) -> None:
        files = SimFiles()
        store = make_store(Path("/store"), files=files)
        store.open()
        put_many(store, 1)

        def failing(operation: str, path: str) -> None:
            if operation == "write" and "commitlog" in path:
                failing_after.append(1)
                if len(failing_after) > 1:
                    raise OSError(errno.EIO, "broken")
                files.capacity_pages = files.used_pages()

        failing_after: list[int] = []
        files.failing = failing
        for _ in range(3):
            put(store, b"z" * 1900)
        with pytest.raises(WriteFailed):
            store.commit()
        with pytest.raises(NotWritable, match="could not be undone"):
            put(store, b"x")
        assert store.get_messages("T", 0, 0, 9).count == 1
        store._lock._held.clear()

    def test_queues_that_cannot_be_written_stop_writing_until_they_can(self) -> None:
        files = SimFiles()
        store = make_store(Path("/store"), files=files)
        store.open()

        def failing(operation: str, path: str) -> None:
            if "consumequeue" in path:
                raise OSError(errno.ENOSPC, "full")

        put_many(store, 2)
        files.failing = failing
        assert store.tick_consume_queues() == 1
        with pytest.raises(NotWritable):
            put(store, b"x")
        assert store.get_messages("T", 0, 0, 9).count == 2
        files.failing = None
        assert store.tick_consume_queues() == 0
        put_many(store, 1)
        assert store.max_offset("T", 0) == 3
        store.close()

    def test_a_failed_sync_ends_writing_and_leaves_the_abort_file(self) -> None:
        files = SimFiles()
        store = make_store(Path("/store"), files=files)
        store.open()
        put_many(store, 1)

        def failing(operation: str, path: str) -> None:
            if operation == "sync":
                raise OSError(errno.EIO, "broken")

        files.failing = failing
        job = store.flush_plan()
        assert job is not None
        assert store.flush_plan() is None  # one at a time
        with pytest.raises(Exception, match="cannot sync") as failed:
            job()
        store.flush_failed(failed.value)
        assert store.flushed_offset == 0
        with pytest.raises(NotWritable, match="sync"):
            put(store, b"x")
        assert store.checkpoint_plan(at_once=True) is None
        files.failing = None
        store.close()
        assert "/store/abort" in files.names


@pytest.mark.parametrize("held_back", [False, True])
def test_queues_that_were_changed_in_part_end_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_back: bool
) -> None:
    """Nothing is acknowledged, nothing more is taken, and the next start has all that is in the log."""
    store = make_store(tmp_path)
    store.open()
    put_many(store, 1)

    def breaking(append: Callable[..., Any]) -> Callable[..., Any]:
        def broken(touched: list[Any], *more: Any) -> Any:
            append(touched[:1], *more)
            raise MemoryError

        return broken

    monkeypatch.setattr(speed, "append_units", breaking(append_units))
    if held_back:
        store.hold_back()
        assert store.held_back is not None
        monkeypatch.setattr(store.held_back, "append_units", breaking(store.held_back.append_units))
    told: list[Exception | None] = []
    store.when_committed(told.append)
    for queue_id in (0, 1):
        put(store, b"next", queue_id=queue_id)
    with pytest.raises(NotWritable, match="in part"):
        store.commit()
    assert isinstance(told[0], NotWritable)
    with pytest.raises(NotWritable):
        put(store, b"more")
    for queue_id in (0, 1):
        queue = store.queues.find("T", queue_id)
        assert queue is not None
        assert (bytes(queue.staged), queue.staged_next) == (b"", queue.end_offset)
    crash(store)
    with opened(tmp_path) as again:
        assert [again.max_offset("T", queue_id) for queue_id in (0, 1)] == [2, 1]
