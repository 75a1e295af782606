"""Reading state files: either copy, never an empty table in place of a damaged one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import state_file

from rmqd.protocol.broker.state_text import EntryTexts, document, indented, load_state
from rmqd.store.errors import StoreDamaged
from rmqwire.dialect import loads, pretty


def _same(tree: dict[str, Any]) -> dict[str, Any]:
    return tree


def test_a_missing_file_is_a_first_start(tmp_path: Path) -> None:
    """A new broker starts with nothing."""
    assert load_state(state_file(tmp_path, "x.json"), _same) is None


def test_the_backup_stands_in_for_a_damaged_file(tmp_path: Path) -> None:
    """After a crash in the middle of the official broker's writing, its .bak is taken."""
    state_file(tmp_path, "x.json.bak", '{"a":1}')
    assert load_state(state_file(tmp_path, "x.json", '{"a":1,"b'), _same) == {"a": 1}
    assert load_state(state_file(tmp_path, "x.json", ""), _same) == {"a": 1}


@pytest.mark.parametrize("backup", [None, "{{{", "[]"])
def test_two_damaged_copies_stop_the_start(tmp_path: Path, backup: str | None) -> None:
    """A person reads one line that names the file; consumers do not begin anew silently."""
    if backup is not None:
        state_file(tmp_path, "x.json.bak", backup)
    file = state_file(tmp_path, "x.json", '{"a":')
    with pytest.raises(StoreDamaged, match=r"x\.json") as caught:
        load_state(file, _same)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "x.json").read_text() == '{"a":', "the damaged file stays for a person to look at"


def test_a_table_is_written_as_the_pretty_writer_writes_it() -> None:
    """The joined text of many entries is the text that the official broker would write."""
    table: dict[str, Any] = {f'T"{number}@g': {0: number, 7: 2 * number} for number in range(5)}
    texts = EntryTexts(lambda name: indented(table[name], 2))
    texts.touch_all(table)
    tree = {"aFirst": [1, {"b": None}], "table": table, "zLast": {}}

    def written() -> bytes:
        return document(
            {"table": texts.text(), "zLast": pretty({}), "aFirst": pretty([1, {"b": None}]).replace(b"\n", b"\n\t")}
        )

    assert written() == pretty(tree)
    table['T"1@g'][0] = 99
    texts.touch('T"1@g')
    del table['T"4@g']
    texts.drop('T"4@g')
    assert written() == pretty(tree)
    table.clear()
    for number in range(4):
        texts.drop(f'T"{number}@g')
    assert written() == pretty(tree)
    assert loads(written()) == {"aFirst": [1, {"b": None}], "table": {}, "zLast": {}}
