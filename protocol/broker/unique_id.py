"""Unique message ids for messages whose client made none.

Upper-case hex of: IPv4 4 bytes, process id i16, a constant i32 in place of the class loader's hash, milliseconds since
the start of the month i32, counter i16. Source: `MessageClientIDSetter` (5.5.0).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime


class UniqueIds:
    """Makes ids that are unique for this process.

    Args:
        address: The broker's IPv4 address, 4 bytes (of an IPv6 address the first four).
        wall_clock_ms: The time.
    """

    def __init__(self, address: bytes, wall_clock_ms: Callable[[], int]) -> None:
        self._prefix = (address[:4] + (os.getpid() & 0xFFFF).to_bytes(2, "big") + b"\x52\x4d\x51\x44").hex().upper()
        self._wall_clock_ms = wall_clock_ms
        self._counter = 0
        self._month_ends_ms = 0
        self._month_began_ms = 0

    def __call__(self) -> str:
        """Give the next id."""
        now_ms = self._wall_clock_ms()
        if not self._month_began_ms <= now_ms < self._month_ends_ms:
            self._enter_month(now_ms)
        self._counter = self._counter + 1 & 0xFFFF
        return f"{self._prefix}{now_ms - self._month_began_ms & 0xFFFFFFFF:08X}{self._counter:04X}"

    def _enter_month(self, now_ms: int) -> None:
        first = (
            datetime.fromtimestamp(now_ms / 1000).astimezone().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        )
        following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
        self._month_began_ms = int(first.timestamp() * 1000)
        self._month_ends_ms = int(following.timestamp() * 1000)
