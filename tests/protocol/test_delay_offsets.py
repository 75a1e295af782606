"""`config/delayOffset.json`: read and written as the official broker does."""

from __future__ import annotations

from pathlib import Path

import pytest
from protocol.fakes import NOW_MS, at_once, state_file
from twisted.trial.unittest import SynchronousTestCase

from rmqd.protocol.broker.delay_offsets import DelayOffsets
from rmqd.store.errors import StoreDamaged

OFFICIAL = """{
\t"dataVersion":{
\t\t"counter":3,
\t\t"stateVersion":0,
\t\t"timestamp":1700000000000
\t},
\t"offsetTable":{3:12,4:0,18:7}
}"""


def offsets(folder: Path, text: str | None = None, step: int = 200) -> DelayOffsets:
    return DelayOffsets(state_file(folder, "delayOffset.json", text), lambda: NOW_MS, at_once, step)


def test_the_official_file(tmp_path: Path) -> None:
    """A broker that takes a store over goes on where the official one stopped."""
    read = offsets(tmp_path, OFFICIAL)
    assert [read.get(level) for level in (1, 3, 4, 18)] == [0, 12, 0, 7]
    tree = read.tree()
    assert (tree["dataVersion"].counter, tree["dataVersion"].timestamp) == (3, 1_700_000_000_000)


def test_written_and_read(tmp_path: Path) -> None:
    table = offsets(tmp_path)
    table.set(1, 5)
    table.set(18, 6)
    SynchronousTestCase().successResultOf(table.saved())
    again = offsets(tmp_path)
    assert (again.get(1), again.get(18), again.get(2)) == (5, 6, 0)


def test_only_changes_are_written(tmp_path: Path) -> None:
    table = offsets(tmp_path)
    table.set(1, 5)
    table.tick()
    file = tmp_path / "delayOffset.json"
    file.unlink()
    table.set(1, 5)
    table.tick()
    assert not file.exists()
    table.set(1, 6)
    table.tick()
    assert file.exists()


def test_the_version_rises_by_steps(tmp_path: Path) -> None:
    """Slaves copy the table when its version has changed, which may not be at each message."""
    table = offsets(tmp_path, step=10)
    before = table.tree()["dataVersion"].counter
    for offset in range(1, 31):
        table.set(1, offset)
    assert table.tree()["dataVersion"].counter == before + 3


@pytest.mark.parametrize(
    "text", ["{", '{"offsetTable":{"1":"many"}}', '{"offsetTable":{"x":1}}', '{"offsetTable":[1]}']
)
def test_a_file_that_cannot_be_read(text: str, tmp_path: Path) -> None:
    """Delivering everything again because of a broken file would be worse than not starting."""
    with pytest.raises(StoreDamaged):
        offsets(tmp_path, text)
