"""What goes when: by hour, by age, by a disk that fills up; and what must stay."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import pytest

from rmqd.store.errors import NotWritable, StoreError
from rmqd.store.messagestore import MessageStore
from rmqwire.message import decode_record
from tests.sim.simfiles import SimFiles

from .stores import START_MS, Clock, make_store, put, put_many

HOUR_MS = 3_600_000


class Aging:
    """A store with files of different ages on a simulated disk."""

    def __init__(self, **changes: object) -> None:
        self.files = SimFiles()
        self.clock = Clock(step=0)
        hour = time.localtime(START_MS // 1000).tm_hour
        changes.setdefault("delete_when", f"{(hour + 5) % 24:02d}")
        self.store: MessageStore = make_store(Path("/store"), files=self.files, clock=self.clock, **changes)
        self.store.open()
        self.files.now_ms = START_MS
        self.puts = put_many(self.store, 400)
        put_many(self.store, 30, "Other")
        self.store.tick_checkpoint()

    def wait(self, hours: float) -> None:
        self.clock.now_ms += int(hours * HOUR_MS)

    def close(self) -> None:
        self.store.close()


def test_nothing_goes_before_its_hour_and_its_age() -> None:
    aging = Aging()
    assert aging.store.clean_expired() == 0
    aging.wait(73)  # old enough, but not the hour
    assert aging.store.clean_expired() == 0
    aging.wait(4)
    assert aging.store.clean_expired() > 0
    aging.close()


def test_at_the_hour_only_expired_files_go() -> None:
    aging = Aging()
    aging.wait(24 + 5)
    assert aging.store.clean_expired() == 0
    aging.wait(48)
    assert aging.store.clean_expired() > 0
    aging.close()


def test_several_hours_may_be_named() -> None:
    hour = time.localtime(START_MS // 1000).tm_hour
    aging = Aging(delete_when=f"{(hour + 3) % 24:02d}; {hour:02d};nonsense")
    aging.wait(72 + 24)
    assert aging.store.clean_expired() > 0
    aging.close()


def test_by_hand_the_hour_does_not_matter() -> None:
    aging = Aging()
    aging.wait(73)
    aging.store.delete_expired_by_hand()
    assert aging.store.clean_expired() > 0
    aging.close()


def test_what_is_left_can_be_read_and_what_is_gone_is_said_to_be() -> None:
    aging = Aging(delete_file_batch_max=2)
    store = aging.store
    files_before = len(store.log.starts)
    aging.wait(72 + 5)
    store.clean_expired()
    assert len(store.log.starts) == files_before - 2
    assert store.min_physical_offset == 2 * 8192
    low = store.min_offset("T", 0)
    assert low > 0
    message = decode_record(store.get_messages("T", 0, low, 1).body)
    assert message.queue_offset == low
    assert message.physical_offset >= 2 * 8192
    assert store.get_messages("T", 0, 0, 1).next_begin_offset == low
    assert store.read_record(0) is None
    assert store.query("T", "K0", 9, 0, 1 << 60).records == []
    assert len(store.query("T", f"K{low}", 9, 0, 1 << 60).records) == 1
    assert store.min_offset("Other", 0) == 0
    queue_files = store.queues.find("T", 0)
    assert queue_files is not None
    assert queue_files.starts[0] == low * 20 // 200 * 200
    assert f"/store/consumequeue/T/0/{0:020d}" not in aging.files.names
    assert f"/store/commitlog/{0:020d}" not in aging.files.names
    assert store.index is not None
    assert store.index.files[0].header.end_physical_offset >= 2 * 8192
    aging.close()
    again = make_store(Path("/store"), files=aging.files, clock=aging.clock)
    again.open()
    assert (again.min_offset("T", 0), again.max_offset("T", 0)) == (low, 400)
    again.close()


def test_a_queue_whose_messages_are_all_gone_keeps_its_end() -> None:
    aging = Aging()
    for number in range(60):
        put(aging.store, b"x" * 3000, "New", number % 2)
        aging.store.commit()
    aging.store.tick_checkpoint()
    aging.wait(72 + 5)
    for _ in range(9):
        aging.store.clean_expired()
    store = aging.store
    assert len(store.log.starts) == 1  # never the last one
    assert (store.min_offset("T", 0), store.max_offset("T", 0)) == (400, 400)
    assert put_many(store, 1, first=400)[0].queue_offset == 400
    aging.close()
    again = make_store(Path("/store"), files=aging.files, clock=aging.clock)
    again.open()
    assert (again.min_offset("T", 0), again.max_offset("T", 0)) == (400, 401)
    assert (again.min_offset("Other", 0), again.max_offset("Other", 0)) == (30, 30)
    again.close()


def test_files_that_recovery_would_need_stay() -> None:
    aging = Aging()
    aging.store._checkpoint = type(aging.store._checkpoint)(synced_offset=3 * 8192 + 5)
    aging.wait(72 + 5)
    aging.store.clean_expired()
    assert aging.store.min_physical_offset == 3 * 8192
    aging.close()


@pytest.mark.parametrize(
    ("used", "full", "goes"), [(0.50, False, False), (0.80, False, False), (0.86, False, True), (0.91, True, True)]
)
def test_a_disk_that_fills_up(used: float, full: bool, goes: bool) -> None:
    """Young files go when the disk is over the forcible level; over the warning level nothing more is taken."""
    aging = Aging()
    aging.files.used_ratio = used
    assert (aging.store.clean_expired() > 0) is goes
    assert (aging.store.not_writable is not None) is full
    assert aging.store.disk.full is full
    if full:
        with pytest.raises(NotWritable, match="disk"):
            put(aging.store, b"x")
    aging.files.used_ratio = 0.5
    aging.store.clean_expired()
    put_many(aging.store, 1)
    aging.close()


def test_a_disk_that_has_space_again_is_seen_before_the_next_cleaning() -> None:
    """Producers are refused no longer than it takes to look again."""
    aging = Aging()
    aging.files.used_ratio = 0.95
    aging.store.clean_expired()
    aging.store.tick_disk()
    with pytest.raises(NotWritable, match="95% full"):
        put(aging.store, b"1")
    aging.files.used_ratio = 0.5
    aging.store.tick_disk()
    assert aging.store.not_writable is None
    aging.close()


def test_a_disk_that_fills_up_when_young_files_must_not_go() -> None:
    aging = Aging(clean_file_forcibly_enable=False)
    aging.files.used_ratio = 0.95
    assert aging.store.clean_expired() == 0
    aging.close()


def test_over_the_usual_level_expired_files_go_at_any_hour() -> None:
    aging = Aging()
    aging.files.used_ratio = 0.76
    aging.wait(73)
    assert aging.store.clean_expired() > 0
    aging.close()


def test_a_file_that_cannot_be_deleted_is_named() -> None:
    aging = Aging()
    aging.wait(72 + 5)

    def failing(operation: str, path: str) -> None:
        if operation == "unlink":
            raise OSError(errno.EACCES, "not allowed")

    aging.files.failing = failing
    job = aging.store.clean_plan()
    assert job is not None
    with pytest.raises(StoreError, match="cannot delete") as failed:
        job()
    assert failed.value.file is not None
    aging.store.clean_failed(failed.value)
    aging.files.failing = None
    aging.close()
    again = make_store(Path("/store"), files=aging.files, clock=aging.clock)
    again.open()
    assert again.min_physical_offset == 0  # listed again, and taken by the next cleaning
    again.close()
