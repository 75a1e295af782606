"""How many transactions of each topic are open: `config/transactionMetrics`.

Only counted, never acted upon, and as inexact after a crash as the official broker's own. Source: `TransactionMetrics`
(5.5.0), which writes it in one line.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rmqwire.bodies import DataVersion
from rmqwire.dialect import dumps
from rmqwire.errors import MalformedBody

from .state_text import load_state, table_of
from .state_writer import RunInThread, StateWriter

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.store.statefile import StateFile

_COUNTS, _VERSION, _COUNT, _AT = "transactionCount", "dataVersion", "count", "timeStamp"


class TransactionCounts:
    """Open transactions by real topic.

    Args:
        file: `config/transactionMetrics`.
        wall_clock_ms: Stamps changes.
        run_in_thread: Runs blocking writes.

    Raises:
        StoreDamaged: Neither the file nor its backup can be read.
    """

    def __init__(self, file: StateFile, wall_clock_ms: Callable[[], int], run_in_thread: RunInThread) -> None:
        self._wall_clock_ms = wall_clock_ms
        self._table: dict[str, list[int]] = {}
        """By topic: the count, and when it changed."""
        self._changes = 0
        self._changed_at_ms = wall_clock_ms()
        self._state_version = 0
        self._writer = StateWriter(file, self._encode, run_in_thread)
        load_state(file, self._load)

    def _load(self, tree: dict[str, Any]) -> None:
        table = {}
        for topic, entry in table_of(tree, _COUNTS).items():
            try:
                table[topic] = [int(entry[_COUNT]), int(entry[_AT])]
            except (KeyError, TypeError, ValueError) as cause:
                raise MalformedBody(f"{_COUNTS}: {topic}: {entry!r} is no count") from cause
        self._table = table
        if tree.get(_VERSION) is not None:
            version = DataVersion.of_tree(tree[_VERSION])
            self._changes, self._changed_at_ms = version.counter, version.timestamp
            self._state_version = version.state_version

    def _encode(self) -> bytes:
        version = DataVersion(counter=self._changes, state_version=self._state_version, timestamp=self._changed_at_ms)
        counts = {topic: {_COUNT: count, _AT: at_ms} for topic, (count, at_ms) in self._table.items()}
        return dumps({_VERSION: version, _COUNTS: counts})

    def add(self, topic: str, change: int) -> None:
        """Count a transaction that began (1) or ended (-1)."""
        now_ms = self._wall_clock_ms()
        entry = self._table.get(topic)
        if entry is None:
            entry = self._table[topic] = [0, now_ms]
        entry[0] += change
        entry[1] = self._changed_at_ms = now_ms
        self._changes += 1
        self._writer.mark()

    def count(self, topic: str) -> int:
        """How many are open."""
        entry = self._table.get(topic)
        return 0 if entry is None else entry[0]

    def tick(self) -> None:
        """Write what has changed. Call every `transactionMetricFlushInterval`."""
        self._writer.write()

    def saved(self) -> Deferred[None]:
        """Wait until all counts so far are on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        return self._writer.saved()
