"""The table of a run, printed and written to RESULTS.md: medians, spread, ratios and goals, the lost rows included."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable

from bench.rows import ROWS, Value

Samples = dict[tuple[str, str, str], list[float]]
"""By row, value and side."""

OTHER_WORK_MAX = 0.08


class Results:
    """What was measured so far."""

    def __init__(self) -> None:
        self.samples: Samples = defaultdict(list)
        self.failures: list[str] = []
        self.notes: list[str] = []
        self.others: dict[str, list[float]] = defaultdict(list)
        """By side, the share of the machine that other work took while each row was measured."""

    def add(self, row: str, side: str, values: dict[str, float]) -> None:
        """Keep the values of one measurement."""
        for name, value in values.items():
            if name in ROWS[row].values:
                self.samples[row, name, side].append(value)
        if values.get("failed"):
            self.notes.append(f"{row}, {side}: {values['failed']:.0f} requests were refused or lost")

    def fail(self, row: str, side: str, error: Exception) -> None:
        """Keep that a row could not be measured."""
        self.failures.append(f"{row}, {side}: {' '.join(str(error).split())[:300]}")

    def other_work(self) -> str:
        """Say how much of the machine other work took; more than a few percent spoils a comparison."""
        said = [
            f"{side} {statistics.mean(shares):.0%} (worst row {max(shares):.0%})"
            for side, shares in self.others.items()
        ]
        spoilt = any(statistics.mean(shares) > OTHER_WORK_MAX for shares in self.others.values())
        return ", ".join(said) + (": **too much, do not trust this run**" if spoilt else "")


def number(value: float) -> str:
    """Print three significant digits at least, and no more than needed."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def summary(samples: list[float]) -> str:
    """Print the median, and the range when there is one."""
    if not samples:
        return "-"
    middle = number(statistics.median(samples))
    return middle if len(samples) == 1 else f"{middle} ({number(min(samples))} - {number(max(samples))})"


def verdict(value: Value, official: list[float], ours: list[float]) -> tuple[str, str, str]:
    """Return ratio, goal and whether it was reached, as printed."""
    goals, reached = [], []
    ratio = None
    if official and ours and statistics.median(official) > 0:
        ratio = statistics.median(ours) / statistics.median(official)
    sign = ">=" if value.more_is_better else "<="
    if value.ratio_goal is not None:
        goals.append(f"{sign} {value.ratio_goal:g} x")
        if ratio is not None:
            reached.append(ratio >= value.ratio_goal if value.more_is_better else ratio <= value.ratio_goal)
    if value.ours_goal is not None:
        goals.append(f"{sign} {value.ours_goal:g} {value.unit}")
        if ours:
            middle = statistics.median(ours)
            reached.append(middle >= value.ours_goal if value.more_is_better else middle <= value.ours_goal)
    outcome = "" if not goals else "not measured" if len(reached) < len(goals) else "yes" if all(reached) else "**no**"
    return (f"{ratio:.2f} x" if ratio is not None else "-"), " and ".join(goals), outcome


def table(results: Results) -> list[list[str]]:
    """Return the cells, a heading first."""
    lines = [["row", "value", "official", "ours", "ratio", "goal", "reached"]]
    for row in ROWS.values():
        for name, value in row.values.items():
            official, ours = (results.samples.get((row.name, name, side), []) for side in ("official", "ours"))
            if official or ours:
                cells = [row.name, f"{name}, {value.unit}", summary(official), summary(ours)]
                lines.append([*cells, *verdict(value, official, ours)])
    return lines


def text(lines: Iterable[list[str]]) -> str:
    """Lay the cells out for a terminal."""
    lines = list(lines)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(results: Results, facts: dict[str, str]) -> str:
    """Return RESULTS.md."""
    lines = table(results)
    measured = {line[0] for line in lines[1:]}
    out = ["# Ours beside the official broker", ""]
    out += [
        "Written by `make bench` (or `make bench-quick`). Medians, and the range over the alternations in brackets.",
        "",
    ]
    out += ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items()), ""]
    out += ["| " + " | ".join(line) + " |" for line in lines[:1]]
    out += ["|" + "---|" * len(lines[0])]
    out += ["| " + " | ".join(line) + " |" for line in lines[1:]]
    out += [
        "",
        "What the rows are:",
        "",
        *(f"- `{row.name}`: {row.says}" for row in ROWS.values() if row.name in measured),
    ]
    if results.notes:
        out += [
            "",
            "Requests without success (their messages do not count):",
            "",
            *(f"- {note}" for note in results.notes),
        ]
    if results.failures:
        out += ["", "Not measured:", "", *(f"- {failure}" for failure in results.failures)]
    return "\n".join(out) + "\n"
