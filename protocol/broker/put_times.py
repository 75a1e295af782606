"""How long puts take: the official distribution, the slowest, and what 99 of 100 stay below.

A message takes as long as the commit that wrote it. Source: `StoreStatsService.setPutMessageEntireTimeMax`,
`findPutMessageEntireTimePX` (5.5.0).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter

_SPANS = (
    "[<=0ms]", "[0~10ms]", "[10~50ms]", "[50~100ms]", "[100~200ms]", "[200~500ms]", "[500ms~1s]",
    "[1~2s]", "[2~3s]", "[3~4s]", "[4~5s]", "[5~10s]", "[10s~]",
)  # fmt: skip
_BOUNDS_MS = (1, 10, 50, 100, 200, 500, 1000, 2000, 3000, 4000, 5000, 10_000)

EVERY_S = 60
"""What is told is of the last whole minute."""


class PutTimes:
    """Messages by the milliseconds they took.

    Attributes:
        max_ms: The slowest since the start.
    """

    def __init__(self) -> None:
        self.max_ms = 0
        self._current: Counter[int] = Counter()
        self._last: Counter[int] | None = None

    def add(self, took_ms: int, count: int) -> None:
        """Count messages."""
        self._current[took_ms] += count
        if took_ms > self.max_ms:
            self.max_ms = took_ms

    def turn(self) -> None:
        """Begin the next minute."""
        self._last, self._current = self._current, Counter()

    def distribution(self) -> str:
        """Give the messages of each span, as `putMessageDistributeTime`; "null" in the first minute, as Java."""
        if self._last is None:
            return "null"
        counts = [0] * len(_SPANS)
        for took_ms, count in self._last.items():
            counts[bisect_right(_BOUNDS_MS, took_ms)] += count
        return "".join(f"{span}:{count} " for span, count in zip(_SPANS, counts, strict=True))

    def share_below(self, share: float) -> float:
        """Give the milliseconds that a share of the messages, 0 to 1, stay at or below; 0 without messages."""
        last = self._last or Counter()
        wanted, passed = int(sum(last.values()) * share), 0
        for took_ms in sorted(last):
            passed += last[took_ms]
            if wanted <= passed:
                return float(took_ms)
        return 0.0
