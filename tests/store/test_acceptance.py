"""Pulls by the properties of messages: nothing wanted is passed over, nothing else is given, and no pull takes long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from rmqd.store import acceptance
from rmqd.store.fdpool import ColdRead
from rmqd.store.messagestore import MessageStore, StoreOptions
from rmqd.store.reading import GetResult, GetStatus
from rmqwire.message import decode_record, encode_host
from rmqwire.properties import encode_properties

HOST = encode_host("127.0.0.1", 10911)


class Queue:
    """One queue of a store."""

    def __init__(self, root: Path, **options: int) -> None:
        self.now_ms = 1_700_000_000_000
        self.store = MessageStore(
            StoreOptions(root=root, store_host=HOST, mapped_file_size_commit_log=1 << 20, **options),  # type: ignore[arg-type]
            wall_clock_ms=lambda: self.now_ms,
        )
        self.store.open()
        self.asked = 0

    def put(self, properties: Mapping[str, str], body: bytes = b"body", queue_id: int = 0) -> None:
        self.store.stage(
            "T", queue_id, body, encode_properties(properties), tags_code=7, keys=(), flag=0, sys_flag=0,
            born_timestamp=1, born_host=HOST,
        )  # fmt: skip

    def pull(self, offset: int, wanted: str, count: int = 32, **more: int) -> GetResult:
        def accepts(properties: Mapping[str, str]) -> bool:
            self.asked += 1
            return properties.get("a") == wanted

        return self.store.get_messages("T", 0, offset, count, accepts=accepts, allow_cold=True, **more)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    queue = Queue(tmp_path)
    yield queue
    queue.store.close()


def offsets(found: GetResult) -> list[int]:
    return [decode_record(record).queue_offset for record in found.records]


def test_only_what_is_wanted_is_given(queue: Queue) -> None:
    for number in range(100):
        queue.put({"a": str(number % 10)})
        queue.put({"a": "other queue"}, queue_id=1)
    queue.store.commit()
    found = queue.pull(0, "3")
    assert found.status is GetStatus.FOUND
    assert offsets(found) == list(range(3, 100, 10))
    assert found.next_begin_offset == 100
    assert (found.min_offset, found.max_offset) == (0, 100)
    found = queue.pull(14, "3", 2)
    assert offsets(found) == [23, 33]
    assert found.next_begin_offset == 34


def test_a_pull_goes_on_behind_what_nobody_wanted(queue: Queue) -> None:
    for _ in range(10):
        queue.put({"b": "3"})
    queue.put({})
    queue.store.commit()
    found = queue.pull(4, "3")
    assert (found.status, found.next_begin_offset, found.body) == (GetStatus.NO_MATCHED_MESSAGE, 11, b"")


def test_one_pull_looks_at_800_messages(queue: Queue) -> None:
    for number in range(1700):
        queue.put({"a": str(number)})
    queue.store.commit()
    assert queue.pull(0, "1650").next_begin_offset == 800
    assert queue.asked == 800
    assert queue.pull(800, "1650").next_begin_offset == 1600
    assert offsets(queue.pull(1600, "1650")) == [1650]


def test_large_messages_bound_a_pull_too(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "LOOKED_AT_MAX_BYTES", 450_000)
    for number in range(20):
        queue.put({"a": str(number)}, b"x" * 100_000)
    queue.store.commit()
    found = queue.pull(0, "19")
    assert (found.status, found.next_begin_offset) == (GetStatus.NO_MATCHED_MESSAGE, 5)
    for _ in range(3):
        found = queue.pull(found.next_begin_offset, "19")
    assert offsets(found) == [19]


def test_the_limits_of_an_answer_hold(queue: Queue) -> None:
    for _ in range(50):
        queue.put({"a": "1"}, b"x" * 1000)
    queue.store.commit()
    assert offsets(queue.pull(0, "1", 100)) == list(range(32))
    found = queue.pull(0, "1", 100, max_bytes=5000)
    assert offsets(found) == list(range(4))
    assert found.next_begin_offset == 4


def test_without_a_reader_that_waits(queue: Queue) -> None:
    queue.put({"a": "1"})
    queue.store.commit()
    try:
        found = queue.store.get_messages("T", 0, 0, 1, accepts=lambda properties: True)
    except ColdRead:
        return  # the page cache may have let go of it
    assert offsets(found) == [0]


def test_messages_whose_file_is_gone(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    for _ in range(30):
        queue.put({"a": "1"}, b"x" * 100_000)
    queue.store.commit()
    queue.store.close()
    queue = Queue(tmp_path)
    first = sorted((tmp_path / "commitlog").iterdir())[0]
    first.unlink()
    found = queue.pull(0, "1")
    assert found.status in (GetStatus.MESSAGE_WAS_REMOVING, GetStatus.FOUND)
    while found.status is not GetStatus.FOUND:
        found = queue.pull(found.next_begin_offset, "1")
    assert offsets(found)[0] == 10
    queue.store.close()


def test_a_unit_that_points_at_no_record_is_not_wanted(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        queue.put({"a": "1"})
    queue.store.commit()
    real = acceptance.record_properties
    monkeypatch.setattr(acceptance, "record_properties", lambda record: real(record[:-1]))
    assert queue.pull(0, "1").status is GetStatus.NO_MATCHED_MESSAGE
