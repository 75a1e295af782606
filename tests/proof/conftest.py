"""What every row of the proof says at its end."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from .sizes import SEED

Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Print the figures of a row, with the seed and the time it took."""
    begun = time.monotonic()

    def printed(figures: str) -> None:
        with capsys.disabled():
            print(f"\n{figures} (seed {SEED}, {time.monotonic() - begun:.0f} s)")

    return printed
