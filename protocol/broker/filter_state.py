"""The filters of consumer groups, kept in `config/consumerFilter.json`.

Source: `ConsumerFilterManager` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rmqd.protocol.filter import BloomLayout, ConsumerFilters

from .state_text import load_state
from .state_writer import RunInThread, StateWriter

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.store.statefile import StateFile


class StoredFilters(ConsumerFilters):
    """Filters that outlive the broker.

    Args:
        file: `config/consumerFilter.json`.
        wall_clock_ms: Stamps filters.
        run_in_thread: Runs blocking writes.
        bloom: Layout of the bits that the file holds.
        kept_ms: `filterDataCleanTimeSpan`.

    Raises:
        StoreDamaged: Neither the file nor its backup can be read.
    """

    def __init__(
        self,
        file: StateFile,
        wall_clock_ms: Callable[[], int],
        run_in_thread: RunInThread,
        bloom: BloomLayout,
        kept_ms: int,
    ) -> None:
        self._writer = StateWriter(file, self.encode, run_in_thread)
        super().__init__(wall_clock_ms, bloom, kept_ms, self._writer.mark)
        load_state(file, self.load)

    def tick(self) -> None:
        """Forget what is old, and write what has changed. Call every 10 s."""
        self.clean()
        self._writer.write()

    def saved(self) -> Deferred[None]:
        """Wait until all changes so far are on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        return self._writer.saved()
