"""The abort file tells how the previous run ended, and whether the machine went down with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .stores import crash, make_store


@pytest.mark.parametrize(
    ("before", "after", "same"), [("a-1", "a-1", True), ("a-1", "b-2", False), ("", "", False), ("", "a-1", False)]
)
def test_a_crash_of_the_process_is_told_from_one_of_the_machine(
    tmp_path: Path, before: str, after: str, same: bool
) -> None:
    store = make_store(tmp_path, boot_id=before)
    assert not store.open().same_boot
    crash(store)
    store = make_store(tmp_path, boot_id=after)
    report = store.open()
    assert not report.previous_exit_ok
    assert report.same_boot == same
    store.close()
