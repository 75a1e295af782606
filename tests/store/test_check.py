"""A store that is well has no findings; each damage has a line that names it, and what is derived is built again."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from store.stores import Clock, opened, put

from rmqd.store.check import CheckReport, StoreCheck
from rmqd.store.errors import StoreError
from rmqd.store.repair import repair

SLOTS, ENTRIES = 64, 64
MESSAGES = 246
GOLDEN = Path(__file__).parent.parent / "golden" / "store"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store that was closed in order: two queues over several files, keys over several index files."""
    root = tmp_path / "store"
    with opened(root) as store:
        for number in range(MESSAGES):
            put(store, b"body %d" % number, queue_id=number % 2, properties={"KEYS": f"key-{number}", "TAGS": "A"})
            store.commit()
    (root / "config").mkdir(exist_ok=True)
    (root / "config" / "topics.json").write_text('{"topicConfigTable":{"T":{"topicName":"T"}}}')
    return root


def check(root: Path) -> CheckReport:
    return StoreCheck(str(root), slot_num=SLOTS).run()


def lines(root: Path) -> list[str]:
    return [finding.line.removeprefix(f"{root}/") for finding in check(root).findings]


def write(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def first(folder: Path) -> Path:
    return sorted(folder.iterdir())[0]


def test_a_store_that_is_well(root: Path) -> None:
    report = check(root)
    assert report.findings == []
    assert (report.records, report.log_begin, report.clean) == (MESSAGES, 0, True)


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is it the folder of a store"):
        check(tmp_path)


def _flip_body(root: Path) -> None:
    path = first(root / "commitlog")
    at = path.read_bytes().index(b"body 3")
    write(path, at, b"BODY")


def _lose_log_file(root: Path) -> None:
    sorted((root / "commitlog").iterdir())[1].unlink()


def _write_behind_the_end(root: Path) -> None:
    write(sorted((root / "commitlog").iterdir())[-1], 8190, b"x")


def _wrong_unit(root: Path) -> None:
    write(first(root / "consumequeue/T/0"), 40, b"\0\0\0\0\0\0\0\1")


def _wrong_tags(root: Path) -> None:
    write(first(root / "consumequeue/T/1"), 12, b"\7" * 8)


def _lose_queue_file(root: Path) -> None:
    first(root / "consumequeue/T/0").unlink()


def _lose_queue(root: Path) -> None:
    shutil.rmtree(root / "consumequeue/T/1")


def _short_queue_file(root: Path) -> None:
    with first(root / "consumequeue/T/0").open("r+b") as file:
        file.truncate(100)


def _unit_behind_the_end(root: Path) -> None:
    write(sorted((root / "consumequeue/T/0").iterdir())[-1], 3 * 20, b"\0" * 6 + b"\1\1" + b"\0\0\0\1" + b"\0" * 8)


def _wrong_index_entry(root: Path) -> None:
    write(first(root / "index"), 40 + SLOTS * 4 + 20, b"\1\2\3\4")


def _lose_index_file(root: Path) -> None:
    sorted((root / "index").iterdir())[-1].unlink()


def _broken_chain(root: Path) -> None:
    path = first(root / "index")
    write(path, 40, b"\0" * SLOTS * 4)


def _checkpoint_ahead(root: Path) -> None:
    with (root / "checkpoint").open("r+b") as file:
        file.truncate(100)


DERIVED: list[tuple[Callable[[Path], None], str]] = [
    (_wrong_unit, "consumequeue/T/0: 1 units are wrong; that of offset 2 says 1, "),
    (_wrong_tags, "consumequeue/T/1: 1 units are wrong; "),
    (_lose_queue_file, "consumequeue/T/0: 10 units are missing, the first at offset 0"),
    (_lose_queue, "consumequeue/T/1: 123 units are missing, the first at offset 0"),
    (_short_queue_file, ": 100 bytes at that name, where others have 200"),
    (_wrong_index_entry, ": 1 entries tell of records that have no such key; entry 1 tells of "),
    (_lose_index_file, "keys are missing"),
    (_broken_chain, "chains of entries are broken"),
    (_checkpoint_ahead, "checkpoint: position 0: 100 bytes, a checkpoint has 4096"),
]


@pytest.mark.parametrize(("damage", "text"), DERIVED, ids=lambda value: getattr(value, "__name__", ""))
def test_damage_of_what_is_derived_is_told_and_repaired(root: Path, damage: Callable[[Path], None], text: str) -> None:
    whole = _derived(root)
    damage(root)
    report = check(root)
    assert any(text in line for line in lines(root)), lines(root)
    assert report.damaged
    repair(str(root), report, wall_clock_ms=Clock(), slot_num=SLOTS, index_num=ENTRIES)
    assert lines(root) == []
    assert _derived(root) == whole


def _derived(root: Path) -> dict[str, bytes]:
    """The queues; index files have names of the time they were made."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted((root / "consumequeue").rglob("*"))
        if path.is_file()
    }


LOG: list[tuple[Callable[[Path], None], str]] = [
    (_flip_body, "the body's checksum is wrong, and records follow"),
    (_lose_log_file, "commitlog: the files from 8192 to 16384 are missing"),
    (_write_behind_the_end, ": bytes that are no record behind the end of the log at "),
]


@pytest.mark.parametrize(("damage", "text"), LOG, ids=lambda value: getattr(value, "__name__", ""))
def test_damage_of_the_log_is_told_and_left(root: Path, damage: Callable[[Path], None], text: str) -> None:
    damage(root)
    before = {path: path.read_bytes() for path in (root / "commitlog").iterdir()}
    report = check(root)
    assert any(text in line for line in lines(root)), lines(root)
    with pytest.raises(StoreError, match="not repaired"):
        repair(str(root), report, wall_clock_ms=Clock(), slot_num=SLOTS, index_num=ENTRIES)
    assert {path: path.read_bytes() for path in (root / "commitlog").iterdir()} == before


def test_a_unit_that_tells_of_no_record(root: Path) -> None:
    _unit_behind_the_end(root)
    assert any("where the log has no record of it" in line for line in lines(root)), lines(root)


def test_state_that_is_no_json(root: Path) -> None:
    (root / "config" / "consumerOffset.json").write_text('{"offsetTable":')
    (root / "config" / "subscriptionGroup.json").write_text("")
    told = lines(root)
    assert any("config/consumerOffset.json: position 0: not what the broker writes" in line for line in told)
    assert "config/subscriptionGroup.json: empty" in told


def test_a_store_that_was_killed_lacks_what_the_next_start_derives(root: Path) -> None:
    (root / "abort").write_text("1")
    _lose_queue_file(root)
    report = check(root)
    assert not report.damaged
    assert [finding.line.endswith("(no damage)") for finding in report.findings] == [True, True]


def test_messages_of_deleted_topics_need_no_queue(root: Path) -> None:
    (root / "config" / "topics.json").write_text('{"topicConfigTable":{}}')
    shutil.rmtree(root / "consumequeue")
    assert lines(root) == []


@pytest.mark.parametrize("name", ["4.7.0", "4.7.0-killed", "5.5.0", "5.5.0-killed"])
def test_stores_of_official_brokers_are_well(name: str, tmp_path: Path) -> None:
    with tarfile.open(GOLDEN / f"{name}.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # without one 3.12 and 3.13 warn
        archive.extractall(tmp_path)
    report = StoreCheck(str(tmp_path / "store"), slot_num=100).run()
    assert not report.damaged, report.findings
    assert (report.records, report.clean) == (124, "killed" not in name)
