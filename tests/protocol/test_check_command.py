"""`rmqd check` as a person runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import CliRunner
from store.stores import opened, put_many

from rmqd.protocol.commands import rmqd
from rmqd.store.dirlock import DirectoryLock
from rmqd.store.files import RealFiles

SIZES = ["--slots", "64", "--entries", "64"]


def make(root: Path) -> Path:
    with opened(root) as store:
        put_many(store, 30)
    return root


def test_a_store_that_is_well_exits_0(tmp_path: Path) -> None:
    done = CliRunner().invoke(rmqd, ["check", str(make(tmp_path / "s")), *SIZES])
    assert (done.exit_code, done.output.count("\n")) == (0, 1)
    assert done.output.startswith("30 records from 0 to ")
    assert done.output.endswith(": no things are wrong\n")


def test_damage_exits_1_and_is_repaired_when_asked(tmp_path: Path) -> None:
    root = make(tmp_path / "s")
    shutil.rmtree(root / "consumequeue")
    done = CliRunner().invoke(rmqd, ["check", str(root), *SIZES, "--json"])
    assert done.exit_code == 1
    (line,) = done.output.splitlines()
    assert json.loads(line)["text"] == "30 units are missing, the first at offset 0"
    done = CliRunner().invoke(rmqd, ["check", str(root), *SIZES, "--repair"])
    assert done.exit_code == 0
    assert "no things are wrong" in done.output.splitlines()[-1]
    assert CliRunner().invoke(rmqd, ["check", str(root), *SIZES]).exit_code == 0


def test_what_cannot_be_checked_is_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(rmqd, ["check", str(tmp_path)])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert "is it the folder of a store?" in done.output
    root = make(tmp_path / "s")
    lock = DirectoryLock(RealFiles(), str(root))
    lock.acquire()
    done = CliRunner().invoke(rmqd, ["check", str(root)])
    lock.release()
    assert (done.exit_code, "open" in done.output) == (1, True)


def test_paths_and_sizes_come_from_the_broker_s_file(tmp_path: Path) -> None:
    root = make(tmp_path / "s")
    elsewhere = tmp_path / "log"
    (root / "commitlog").rename(elsewhere)
    conf = tmp_path / "broker.conf"
    lines = (f"storePathRootDir={root}", f"storePathCommitLog={elsewhere}", "maxHashSlotNum=64", "maxIndexNum=64")
    conf.write_text("\n".join(lines))
    done = CliRunner().invoke(rmqd, ["check", "-c", str(conf)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("30 records from 0 to ")
    assert CliRunner().invoke(rmqd, ["check", "-c", str(conf), "--slots", "65"]).exit_code == 1
    conf.write_text("storePathRootDir=/absent\nmaxIndexNum=x\n")
    done = CliRunner().invoke(rmqd, ["check", "-c", str(conf)])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert "maxIndexNum" in done.output
    done = CliRunner().invoke(rmqd, ["check"])
    assert (done.exit_code, done.output) == (2, "no store: give its folder, or the file of its broker by -c\n")
