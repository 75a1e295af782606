"""What every row of the proof says at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from rmqd.store.dirlock import DirectoryLock

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


@pytest.fixture(autouse=True)
def _locks_of_simulated_folders() -> Iterator[None]:
    yield
    DirectoryLock._held.difference_update([key for key in DirectoryLock._held if key.startswith("/store")])
