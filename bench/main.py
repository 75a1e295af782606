"""One run: official and ours in alternation, never both at once, then the table."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

from bench import procfs
from bench.builds import CACHE, HERE, java_load, raw_load
from bench.loads import LoadFailed
from bench.report import Results, markdown, table, text
from bench.rows import FULL, JAVA_ROWS, QUICK, ROWS, Bench, Row, warm, warm_client
from bench.servers import OFFICIAL_VERSION, Official, Ours, Side
from bench.wire import WireError
from interop.process import ProcessFailed
from interop.toolchain import ToolFailed, missing

ROUNDS_MAX = 20
MEASURING_FAILED = (LoadFailed, WireError, ProcessFailed, OSError, subprocess.TimeoutExpired)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; 0 when every row could be measured, whatever the ratios."""
    arguments = _arguments(argv)
    lacking = missing("java", "javac", "mvn", "go")
    if lacking:
        print(f"bench: {lacking}", file=sys.stderr)
        return 2
    try:
        raw_load()
        java_load()
    except ToolFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    folder = CACHE / f"run-{time.time_ns()}"
    folder.mkdir(parents=True)
    durations = QUICK if arguments.quick else FULL
    bench, results = Bench(durations, folder / "clients"), Results()
    facts = _facts(arguments)
    sides: list[type[Side]] = [one for one in (Official, Ours) if one.name in arguments.sides]
    try:
        if JAVA_ROWS.intersection(arguments.rows):
            _warm_client(bench, sides[-1](folder / "warm"), results)
        for number in range(arguments.rounds):
            for kind in sides if number % 2 == 0 else reversed(sides):
                _session(bench, kind(folder / kind.name), arguments.rows, results, number)
    except KeyboardInterrupt:
        results.failures.append("the run was interrupted")
    finally:
        bench.forget_java()
        shutil.rmtree(folder, ignore_errors=True)
    facts["CPU of other work meanwhile"] = results.other_work()
    print("\n" + text(table(results)))
    print(f"\nCPU of other work meanwhile: {facts['CPU of other work meanwhile']}")
    for failure in results.failures:
        print(f"not measured: {failure}")
    if arguments.output is not None:
        arguments.output.write_text(markdown(results, facts))
        print(f"\nwritten to {arguments.output}")
    return 1 if results.failures else 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench/run.py", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short alternation, under three minutes")
    parser.add_argument("--rows", default=None, help=f"of: {','.join(ROWS)} [all; with --quick those that are short]")
    parser.add_argument("--rounds", type=int, default=None, help="alternations, at most 20 [3, with --quick 1]")
    parser.add_argument("--sides", default="official,ours", help="measure one side only")
    parser.add_argument("--output", type=Path, default=None, help="[bench/RESULTS.md; none for a quick or partial run]")
    arguments = parser.parse_args(argv)
    whole = arguments.rows is None and arguments.sides == "official,ours"
    if arguments.rows is None:
        arguments.rows = [name for name, row in ROWS.items() if row.quick or not arguments.quick]
    else:
        arguments.rows = [name for name in arguments.rows.split(",") if name]
    unknown = [name for name in arguments.rows if name not in ROWS]
    if unknown:
        parser.error(f"unknown rows {', '.join(unknown)}; there are {', '.join(ROWS)}")
    arguments.sides = arguments.sides.split(",")
    if not set(arguments.sides) <= {"official", "ours"}:
        parser.error("sides are official and ours")
    if arguments.rounds is None:
        arguments.rounds = 1 if arguments.quick else 3
    if not 1 <= arguments.rounds <= ROUNDS_MAX:
        parser.error(f"rounds are 1 to {ROUNDS_MAX}")
    if arguments.output is None and whole and not arguments.quick:
        arguments.output = HERE / "RESULTS.md"
    return arguments


def _facts(arguments: argparse.Namespace) -> dict[str, str]:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=False
    )
    length = "quick: short and one alternation, for a look only" if arguments.quick else "full"
    return {
        "date": datetime.now(tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "run": f"{length}; alternations: {arguments.rounds}",
        **procfs.machine(),
        "official": f"{OFFICIAL_VERSION}, 2 GB heap, ASYNC_FLUSH, default settings, fresh store",
        "ours": f"{done.stdout.strip() or 'no commit'}, default settings, fresh store",
    }


def _warm_client(bench: Bench, side: Side, results: Results) -> None:
    """Let the client's JVM compile its paths before anything is measured: the first side should not pay for it."""
    print(f"warming the client, on {side.name}", flush=True)
    try:
        side.start()
        warm_client(bench, side)
    except MEASURING_FAILED as error:
        results.fail("warming the client", side.name, error)
    finally:
        side.stop()


def _session(bench: Bench, side: Side, names: list[str], results: Results, number: int) -> None:
    """Start one side, measure its rows and end it."""
    print(f"round {number + 1}, {side.name}", flush=True)
    rows = [ROWS[name] for name in ROWS if name in names and side.name in ROWS[name].sides]
    try:
        try:
            side.start()
            for row in [row for row in rows if row.at_start]:
                _measure(bench, side, row, results)
            others = [row for row in rows if not row.at_start]
            if others:
                warm(bench, side)
        except MEASURING_FAILED as error:
            results.fail("all", side.name, error)
            return
        for row in others:
            time.sleep(bench.durations.settle_s)
            _measure(bench, side, row, results)
    finally:
        side.stop()


def _measure(bench: Bench, side: Side, row: Row, results: Results) -> None:
    meter = OtherWork(bench, side)
    try:
        values = row.measure(bench, side)
        share = meter.share()
        if share is not None:
            results.others[side.name].append(share)
    except MEASURING_FAILED as error:
        bench.forget_java()  # it may still be busy with what failed
        results.fail(row.name, side.name, error)
        print(f"  {row.name}: {error}", flush=True)
        return
    results.add(row.name, side.name, values)
    print(f"  {row.name}: " + ", ".join(f"{name} {value:,.3f}" for name, value in values.items()), flush=True)


_JUDGED_S = 1.0
"""Rows that last less are not judged: CPU time comes in ticks of 10 ms."""


class OtherWork:
    """Tells which share of the machine's CPU went to processes that are no part of the benchmark."""

    def __init__(self, bench: Bench, side: Side) -> None:
        self._bench, self._side = bench, side
        self._began_at, self._before = time.monotonic(), self._seconds()

    def _seconds(self) -> float:
        running = [process.pid for process in self._side.processes]
        if self._bench.java_pid is not None:
            running.append(self._bench.java_pid)
        return procfs.machine_busy_seconds() - procfs.own_seconds() - sum(map(procfs.cpu_seconds, running))

    def share(self) -> float | None:
        """Return the share since this was made: 1.0 is all cores. None when it lasted too little."""
        passed_s = time.monotonic() - self._began_at
        if passed_s < _JUDGED_S:
            return None
        return max((self._seconds() - self._before) / (passed_s * (os.cpu_count() or 1)), 0.0)
