"""How limits on cold reads adapt while `coldCtrStrategyEnable` is set: raised by half, lowered by a fifth.

Source: `SimpleColdCtrStrategy`, `PIDAdaptiveColdCtrStrategy`, `ColdDataCgCtrService.sortAndDecelerate` (5.5.0).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cold_data import ColdData, ColdSettings

ADAPTIVE = "||adaptive"
"""Ends the names of limits that were chosen here, and not by an administrator."""

_DECELERATED_MAX = 3
_HISTORY = 10
_PROPORTIONAL, _INTEGRAL, _DIFFERENTIAL = 0.5, 0.3, 0.2
_TARGET_PERCENT = 80


class Strategy:
    """Raises always, lowers while all groups together read too much."""

    def collect(self, total_bytes: int) -> None:
        """Note what all groups read in a round."""

    def raises(self) -> bool:
        """Whether a group that reached its limit may read more."""
        return True

    def lowers(self, cold: ColdData) -> bool:
        """Whether the highest limits go down."""
        return cold.over_total

    def promote(self, cold: ColdData, group: str) -> None:
        """Let a group read more."""
        if self.raises():
            cold.limits[group + ADAPTIVE] = int(cold.limit_of(group) * 1.5)

    def decelerate_most(self, cold: ColdData) -> None:
        """Lower the highest limits, those of administrators excepted; none below the general one."""
        if not self.lowers(cold):
            return
        least = cold.settings.group_limit_bytes
        adaptive = [name for name in cold.limits if name.endswith(ADAPTIVE)]
        adaptive = [name for name in adaptive if name.removesuffix(ADAPTIVE) not in cold.limits]
        for name in sorted(adaptive, key=lambda name: -cold.limits[name])[:_DECELERATED_MAX]:
            cold.limits[name] = max(int(cold.limits[name] * 0.8), least)


class PidStrategy(Strategy):
    """Goes by how far the last ten rounds were from four fifths of the total limit.

    Args:
        target_bytes: Wanted in a round.
    """

    def __init__(self, target_bytes: int) -> None:
        self._target_bytes = target_bytes
        self._errors: deque[int] = deque(maxlen=_HISTORY)

    def collect(self, total_bytes: int) -> None:
        """Note what all groups read in a round."""
        self._errors.append(self._target_bytes - total_bytes)

    def _factor(self) -> float:
        errors = self._errors
        if len(errors) < _HISTORY:
            return 0.0
        last = errors[-1]
        return _PROPORTIONAL * last + _INTEGRAL * sum(errors) + _DIFFERENTIAL * (last - errors[-2])

    def raises(self) -> bool:
        """Whether less is read than wanted."""
        return self._factor() > 0

    def lowers(self, cold: ColdData) -> bool:
        """Whether more is read than wanted."""
        return self._factor() < 0


def strategy_for(settings: ColdSettings) -> Strategy:
    """Choose one, as a broker does at its start."""
    if settings.by_pid:
        return PidStrategy(settings.total_limit_bytes * _TARGET_PERCENT // 100)
    return Strategy()
