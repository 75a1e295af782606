"""A test that fails must not leave the lock of a simulated folder to the next one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rmqd.store.dirlock import DirectoryLock


@pytest.fixture(autouse=True)
def _locks_of_simulated_folders() -> Iterator[None]:
    yield
    DirectoryLock._held.difference_update([key for key in DirectoryLock._held if key.startswith("/store")])
