"""What a check makes of a half message that has not ended.

Source: `TransactionalMessageServiceImpl.check`, `needDiscard`, `needSkip` (5.5.0).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .transaction_messages import HalfMessage
    from .transaction_settings import TransactionSettings


class Verdict(enum.Enum):
    """What is to be done with a half message that has not ended."""

    LATER = "too young, and so are those behind it"
    IMMUNE = "asks not to be checked yet"
    CHECK = "its producer is to be asked"
    GIVE_UP = "asked often enough, or too old"


def judge(half: HalfMessage, settings: TransactionSettings, began_ms: int, now_ms: int) -> Verdict:
    """Decide about a half message that has not ended.

    Args:
        half: It.
        settings: Limits.
        began_ms: When the round began; what was stored since is left to the next one.
        now_ms: The time.
    """
    if half.message.store_timestamp >= began_ms:
        return Verdict.LATER
    age_ms = now_ms - half.message.born_timestamp
    # Only what was checked counts, as in Java: with a maximum of 0, everything is checked once.
    if 0 < half.check_times >= settings.check_max or age_ms > settings.file_reserved_time_ms:
        return Verdict.GIVE_UP
    immunity_ms = half.immunity_ms(settings.timeout_ms)
    if immunity_ms is not None:
        return Verdict.IMMUNE if age_ms <= immunity_ms else Verdict.CHECK
    # A negative age is that of a producer whose clock is ahead: asked at once, as in Java.
    return Verdict.LATER if 0 <= age_ms <= settings.timeout_ms else Verdict.CHECK
