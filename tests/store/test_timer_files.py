"""The timer's files: their official bytes, full files, damaged ends."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from rmqd.store.errors import StoreDamaged
from rmqd.store.fdpool import ColdReader
from rmqd.store.files import RealFiles
from rmqd.store.timercheckpoint import TimerCheckpoint, load_timer_checkpoint, save_timer_checkpoint
from rmqd.store.timerlog import BLANK_MAGIC, UNIT_BYTES, TimerLog, Unit, decode_unit
from rmqd.store.timerwheel import SLOTS_PER_TURN, Slot, TimerWheel

FILES = RealFiles()
NOW_MS = 1_795_000_000_000
DUE = NOW_MS + 5000, NOW_MS + 6000


def wheel_at(tmp_path: Path, precision_ms: int = 1000, slots: int = 256) -> TimerWheel:
    wheel = TimerWheel(FILES, str(tmp_path / "timerwheel"), precision_ms, slots)
    wheel.load()
    return wheel


def write_pages(wheel: TimerWheel) -> None:
    fd = FILES.open(wheel.path)
    for position, page in wheel.take_dirty():
        FILES.pwrite(fd, page, position)
    FILES.close(fd)


def test_the_official_length_and_bytes_of_the_wheel(tmp_path: Path) -> None:
    """An official broker maps 38,707,200 bytes and finds the slot at (time / precision) modulo 1,209,600."""
    wheel = wheel_at(tmp_path, slots=2 * SLOTS_PER_TURN)
    assert (tmp_path / "timerwheel").stat().st_size == 38_707_200
    wheel.put(NOW_MS, 52, 104, 2)
    write_pages(wheel)
    data = (tmp_path / "timerwheel").read_bytes()
    at = NOW_MS // 1000 % 1_209_600 * 32
    assert data[at : at + 32] == struct.pack(">qqqii", NOW_MS // 1000, 52, 104, 2, 0)
    assert data.count(0) > len(data) - 32
    again = wheel_at(tmp_path, slots=2 * SLOTS_PER_TURN)
    assert again.slot(NOW_MS + 999) == Slot(NOW_MS, 52, 104, 2, 0)
    assert list(again.slots_from(NOW_MS - 5000)) == [Slot(NOW_MS, 52, 104, 2, 0)]
    assert list(again.slots_from(NOW_MS + 1000)) == []


def test_a_slot_of_another_turn_is_empty(tmp_path: Path) -> None:
    """What was delivered a turn ago is not delivered again."""
    wheel = wheel_at(tmp_path, precision_ms=100)
    wheel.put(NOW_MS, 0, 0, 1)
    assert wheel.count(NOW_MS) == 1
    assert wheel.slot(NOW_MS + 256 * 100) is None
    wheel.clear(NOW_MS)
    assert wheel.slot(NOW_MS) is None


def test_a_wheel_of_another_length_is_refused(tmp_path: Path) -> None:
    """A file that is no wheel is not overwritten."""
    (tmp_path / "timerwheel").write_bytes(b"x" * 100)
    with pytest.raises(StoreDamaged, match="100 bytes"):
        wheel_at(tmp_path)
    assert (tmp_path / "timerwheel").read_bytes() == b"x" * 100


def test_pages_that_were_not_written_are_written_next_time(tmp_path: Path) -> None:
    """After a failed flush nothing is forgotten."""
    wheel = wheel_at(tmp_path)
    wheel.put(NOW_MS, 1, 2, 3)
    pages = wheel.take_dirty()
    assert not wheel.dirty
    wheel.not_written(pages)
    assert wheel.take_dirty() == pages


def unit(number: int, previous: int = -1, magic: int = 1) -> Unit:
    return Unit(previous, magic, NOW_MS, NOW_MS + 5000, number * 100, 100, -7)


def append(log: TimerLog, numbers: range) -> list[int]:
    position, units, places = log.end, [], []
    for number in numbers:
        position = log.place(position)
        units.append((position, unit(number, places[-1] if places else -1).encode()))
        places.append(position)
        position += UNIT_BYTES
    log.append(units)
    return places


def log_at(tmp_path: Path, file_size: int = 300) -> TimerLog:
    log = TimerLog(FILES, str(tmp_path / "timerlog"), file_size)
    log.load()
    return log


def test_the_official_bytes_of_a_unit() -> None:
    """Field by field as `TimerMessageStore.doEnqueue` writes them."""
    expected = struct.pack(">iqiqiqiiq", 52, -1, 1, NOW_MS, 5000, 300, 100, -7, 0)
    assert unit(3).encode() == expected
    assert decode_unit(expected) == unit(3)
    assert decode_unit(bytes(52)) is None
    assert decode_unit(struct.pack(">iqi", 52, 0, BLANK_MAGIC) + bytes(36)) is None


def test_full_files_end_with_a_filler_and_are_read_on_behind_it(tmp_path: Path) -> None:
    """300 bytes hold five units of 52 and a filler that says 40; the chain goes through all files."""
    log = log_at(tmp_path)
    places = append(log, range(12))
    assert places == [0, 52, 104, 156, 208, 300, 352, 404, 456, 508, 600, 652]
    data = (tmp_path / "timerlog" / "00000000000000000000").read_bytes()
    assert len(data) == 300
    assert data[260:276] == struct.pack(">iqi", 40, 0, BLANK_MAGIC)
    log.close()
    again = log_at(tmp_path)
    assert [position for position, _ in again.recover(0, lambda _: True)] == places
    assert again.end == 704
    reader = ColdReader(FILES)
    found = [position for position, _ in again.chain(652, *DUE, reader)]
    reader.close()
    assert found == places[::-1]


@pytest.mark.parametrize("count", [4, 5, 6, 10])
def test_a_log_goes_on_where_it_ended(tmp_path: Path, count: int) -> None:
    """However full the last file was."""
    log = log_at(tmp_path)
    places = append(log, range(count))
    log.close()
    again = log_at(tmp_path)
    assert len(list(again.recover(places[-1] + UNIT_BYTES, lambda _: True))) == 0
    assert again.end == places[-1] + UNIT_BYTES
    assert again.last_position == places[-1]
    places += append(again, range(count, count + 3))
    again.close()
    third = log_at(tmp_path)
    assert [position for position, _ in third.recover(0, lambda _: True)] == places


def test_what_is_behind_a_broken_unit_is_gone_for_good(tmp_path: Path) -> None:
    """It cannot come back when later units have filled the gap."""
    log = log_at(tmp_path)
    append(log, range(9))
    log.close()
    path = tmp_path / "timerlog" / "00000000000000000000"
    data = bytearray(path.read_bytes())
    data[104] = 0x55
    path.write_bytes(data)
    again = log_at(tmp_path)
    assert [position for position, _ in again.recover(0, lambda _: True)] == [0, 52]
    assert again.end == 104
    assert path.read_bytes()[104:] == bytes(196)
    assert sorted(each.name for each in (tmp_path / "timerlog").iterdir()) == ["00000000000000000000"]
    again.close()


def test_a_chain_that_leads_forward_or_elsewhere_ends(tmp_path: Path) -> None:
    """A damaged chain is no endless loop."""
    log = log_at(tmp_path)
    log.append([(0, unit(0, previous=52).encode()), (52, unit(1, previous=0).encode())])
    reader = ColdReader(FILES)
    assert [position for position, _ in log.chain(52, *DUE, reader)] == [52, 0]
    assert list(log.chain(5000, *DUE, reader)) == []
    assert list(log.chain(52, NOW_MS, NOW_MS + 5000, reader)) == []
    reader.close()
    log.close()


def test_files_of_expired_messages_are_found_and_the_last_is_kept(tmp_path: Path) -> None:
    """A file goes when the message of its last unit has left the commit log."""
    log = log_at(tmp_path)
    append(log, range(12))
    reader = ColdReader(FILES)
    assert log.expired(400, reader) == 0
    assert log.expired(401, reader) == 1
    assert log.expired(10_000, reader) == 2
    reader.close()
    paths = log.forget(2)
    assert [Path(path).name for path in paths] == ["00000000000000000000", "00000000000000000300"]
    assert log.begin == 600
    assert not log.has(599)
    log.close()


@pytest.mark.parametrize("name", ["00000000000000000001", "x", "00000000000000000600"])
def test_files_that_cannot_be_its_own_are_refused(tmp_path: Path, name: str) -> None:
    """A missing or foreign file is named."""
    log = log_at(tmp_path)
    append(log, range(2))
    log.close()
    (tmp_path / "timerlog" / name).write_bytes(bytes(300))
    with pytest.raises(StoreDamaged, match=name):
        log_at(tmp_path)


def test_the_checkpoint_has_the_official_fields_and_a_mark_that_an_official_broker_breaks(tmp_path: Path) -> None:
    """After an official broker wrote its fields, ours promises nothing any more."""
    path = str(tmp_path / "timercheck")
    assert load_timer_checkpoint(FILES, path) is None
    written = TimerCheckpoint(
        read_ms=NOW_MS, log_end=520, queue_offset=10, master_queue_offset=10, complete=True, precision_ms=1000
    )
    save_timer_checkpoint(FILES, path, written)
    data = bytearray(Path(path).read_bytes())
    assert len(data) == 4096
    assert data[:56] == struct.pack(">qqqqqqq", NOW_MS, 520, 10, 10, 0, 0, 0)
    assert load_timer_checkpoint(FILES, path) == written
    data[16:24] = struct.pack(">q", 11)
    Path(path).write_bytes(data)
    found = load_timer_checkpoint(FILES, path)
    assert found is not None
    assert (found.queue_offset, found.complete) == (11, False)
    Path(path).write_bytes(data[:32])
    assert load_timer_checkpoint(FILES, path) == TimerCheckpoint(
        read_ms=NOW_MS, log_end=520, queue_offset=11, master_queue_offset=10
    )


def test_a_file_that_was_made_and_has_no_length_yet_is_no_damage(tmp_path: Path) -> None:
    """A kill between the two leaves it; a file in between that is empty is damage."""
    (tmp_path / "timerlog").mkdir()
    for start in (0, 300):
        (tmp_path / "timerlog" / f"{start:020d}").write_bytes(b"" if start else bytes(300))
    log = TimerLog(FILES, str(tmp_path / "timerlog"), 300)
    log.load()
    assert [path.name for path in (tmp_path / "timerlog").iterdir()] == [f"{0:020d}"]
    (tmp_path / "timerlog" / f"{300:020d}").write_bytes(bytes(300))
    (tmp_path / "timerlog" / f"{0:020d}").write_bytes(b"")
    with pytest.raises(StoreDamaged, match="0 bytes, expected 300"):
        TimerLog(FILES, str(tmp_path / "timerlog"), 300).load()
