"""What a value must look like beyond its type, and what Java silently makes of some values.

Checks raise `ValueError` holding what was expected; adjustments return the value that is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMER_PRECISIONS_MS = (1000, 500, 200, 100)


def clamp(low: int, high: int) -> Callable[[int], int]:
    """The nearest value from `low` to `high`."""
    return lambda value: min(max(value, low), high)


def round_up(step: int) -> Callable[[int], int]:
    """The next multiple of `step`."""
    return lambda value: -(-value // step) * step


def timer_precision(value: int) -> int:
    """Source: `MessageStoreConfig.setTimerPrecisionMs`, 5.5.0: the next smaller of four values, else the smallest."""
    return next((step for step in _TIMER_PRECISIONS_MS if step <= value), _TIMER_PRECISIONS_MS[-1])


def check_addresses(addresses: str) -> None:
    """`host:port`, several separated by `;`; empty is none."""
    for address in filter(None, map(str.strip, addresses.split(";"))):
        host, _, port = address.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise ValueError("addresses as host:port;host:port")


def check_hours(hours: str) -> None:
    """Hours as `04` or `04;16`; a word that is no number makes Java's cleaning fail at every look."""
    for hour in hours.split(";"):
        if not (hour.isascii() and hour.isdigit()) or int(hour) > 23:
            raise ValueError("hours from 00 to 23, separated by ;")


def check_delay_levels(levels: str) -> None:
    """Source: `ScheduleMessageService.parseDelayLevel`, 5.5.0, with which a broker does not start if it fails."""
    for level in levels.split(" "):
        count = level[:-1]
        if level[-1:] not in ("s", "m", "h", "d") or not (count.isascii() and count.isdigit()):
            raise ValueError("delays as 1s 5m 2h 1d, separated by one blank each")


def check_store_type(store_type: str) -> None:
    if store_type not in ("default", "defaultRocksDB"):
        raise ValueError("default or defaultRocksDB")
