"""The one place that reads the wall clock; everything else takes `wall_clock_ms` as an argument."""

from __future__ import annotations

import time


def wall_clock_ms() -> int:
    """Milliseconds since 1970, as Java's `System.currentTimeMillis`."""
    return time.time_ns() // 1_000_000
