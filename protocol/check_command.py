"""`rmqd check`: verify a store that is not open, and build its derived files again."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec

from rmqd.conf import ConfError, load_broker_options
from rmqd.store.check import CheckReport, StoreCheck
from rmqd.store.dirlock import DirectoryLock
from rmqd.store.errors import StoreError
from rmqd.store.files import RealFiles
from rmqd.store.repair import repair

from .broker.delay import BadDelayLevels, DelayLevels
from .clocks import wall_clock_ms
from .logs import say


@dataclass(frozen=True)
class StorePlace:
    """Where a store is and what its files depend on; None is as the broker's file says, or as Java's default.

    Attributes:
        root: `storePathRootDir`.
        config_file: A broker's properties file.
        log_folder: `storePathCommitLog`.
        slots: `maxHashSlotNum`.
        entries: `maxIndexNum`.
        levels: `messageDelayLevel`, which the queues of delayed messages depend on.
    """

    root: Path | None
    config_file: Path | None = None
    log_folder: Path | None = None
    slots: int | None = None
    entries: int | None = None
    levels: str | None = None


def run_check(place: StorePlace, *, mend: bool, as_json: bool) -> None:
    """Print one line for each thing that is wrong; exit 1 when any is damage, 2 when the configuration is wrong.

    Args:
        place: The store.
        mend: Repair as well.
        as_json: Print objects.
    """
    if place.root is None and place.config_file is None:
        _fail("no store: give its folder, or the file of its broker by -c", 2)
    try:
        broker = load_broker_options(place.config_file)
    except ConfError as cause:
        _fail(str(cause), 2)
    options = broker.store
    root = place.root or Path(options.store_path_root_dir)
    log_folder = place.log_folder
    if log_folder is None and (place.root is None or "storePathCommitLog" in broker.source):
        log_folder = Path(options.store_path_commit_log)
    folder = None if log_folder is None else str(log_folder)
    slots, entries = place.slots or options.max_hash_slot_num, place.entries or options.max_index_num
    try:
        report = _locked_check(str(root), folder, slots)
        _show(report, as_json)
        if mend and report.damaged:
            done = repair(
                str(root),
                report,
                wall_clock_ms=wall_clock_ms,
                log_folder=folder,
                slot_num=slots,
                index_num=entries,
                delivery_time_ms=DelayLevels(place.levels or options.message_delay_level).deliver_at_ms,
            )
            for line in done:
                say(line)
            report = _locked_check(str(root), folder, slots)
            _show(report, as_json)
    except (StoreError, BadDelayLevels, OSError) as cause:
        _fail(str(cause))
    sys.exit(1 if report.damaged else 0)


def _locked_check(root: str, log_folder: str | None, slots: int) -> CheckReport:
    lock = DirectoryLock(RealFiles(), root)
    if not Path(root).is_dir():
        raise StoreError("no such folder", file=root)
    lock.acquire()
    try:
        return StoreCheck(root, log_folder, slots).run()
    finally:
        lock.release()


def _show(report: CheckReport, as_json: bool) -> None:
    for finding in report.findings:
        say(msgspec.json.encode(finding).decode() if as_json else finding.line)
    total = sum(finding.serious for finding in report.findings)
    if not as_json:
        say(f"{report.records} records from {report.log_begin} to {report.log_end}: {total or 'no'} things are wrong")


def _fail(text: str, code: int = 1) -> NoReturn:
    sys.stderr.write(text + "\n")
    sys.exit(code)
