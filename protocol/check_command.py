"""`rmqd check`: verify a store that is not open, and build its derived files again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from rmqd.store.check import CheckReport, StoreCheck
from rmqd.store.dirlock import DirectoryLock
from rmqd.store.errors import StoreError
from rmqd.store.files import RealFiles
from rmqd.store.repair import repair

from .broker.delay import BadDelayLevels, DelayLevels
from .clocks import wall_clock_ms
from .logs import say


def run_check(
    root: Path, log_folder: Path | None, slots: int, entries: int, levels: str, *, mend: bool, as_json: bool
) -> None:
    """Print one line for each thing that is wrong; exit 1 when any is damage.

    Args:
        levels: `messageDelayLevel`, which the queues of delayed messages depend on.
        mend: Repair as well.
    """
    folder = str(log_folder) if log_folder is not None else None
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
                delivery_time_ms=DelayLevels(levels).deliver_at_ms,
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


def _fail(text: str) -> NoReturn:
    sys.stderr.write(text + "\n")
    sys.exit(1)
