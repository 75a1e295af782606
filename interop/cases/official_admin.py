"""The official mqadmin of 4.2.0, 4.7.0 and 5.5.0, every subcommand: it prints what it prints on official servers of 5.5.0."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from interop import admin_scene
from interop.admin_table import EXCUSED, ROWS, VERSIONS
from interop.api import Drivers
from interop.case import case, expect
from interop.cluster import Kind

SOURCE = "org.apache.rocketmq.tools.command"
LINES = [(version, row) for version in VERSIONS for row in ROWS if row.of(version)]


@pytest.fixture(scope="module")
def told(
    drivers: Drivers, kind: Kind, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], dict[str, list[str]]]]:
    """What the lines of a version printed; they run once, all of them, since one follows from the other."""
    with ThreadPoolExecutor() as pool:
        transcripts = {}
        for version in VERSIONS:
            drivers.get(version)
            folder = tmp_path_factory.mktemp(f"admin-{version}")
            transcripts[version] = pool.submit(admin_scene.run, kind, version, folder, drivers, compare=True)
        yield lambda version: transcripts[version].result()


@case("official_admin/1", "mqadmin prints what it prints on official servers of 5.5.0", source=SOURCE)
@pytest.mark.parametrize(("version", "row"), LINES, ids=[f"{version} {row.line}" for version, row in LINES])
def test_line(version: str, row: admin_scene.Row, told: Callable[[str], dict[str, list[str]]]) -> None:
    printed = told(version)[row.line]
    expect(printed, admin_scene.as_expected(version, row, printed))


@case("official_admin/2", "every subcommand of a version has a line in the table, or a reason", source=SOURCE)
@pytest.mark.parametrize("version", VERSIONS)
def test_complete(version: str, drivers: Drivers) -> None:
    listed = set(re.findall(r"(?m)^   (\w+)\s", str(drivers.get(version).call("mqadmin", args=[])["out"])))
    rows = {row.command for row in ROWS if row.of(version) and row.command != "call"}
    expect(rows & set(EXCUSED), set(), "excused and yet in the table")
    expect(listed - set(EXCUSED), rows, "subcommands in the table")
