"""How much of something each topic has: waiting timer messages, open transactions.

`config/timermetrics` and `config/transactionMetrics` have one form, in one line. Only counted, never acted upon, and as
inexact after a crash as the official broker's own. Source: `TimerMetrics`, `TransactionMetrics` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rmqwire.bodies import DataVersion
from rmqwire.dialect import dumps
from rmqwire.errors import MalformedBody

from .state_text import VERSION, load_state, table_of, version_of
from .state_writer import RunInThread, StateWriter

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.store.statefile import StateFile

_COUNT, _AT = "count", "timeStamp"


class TopicCounts:
    """Counts by real topic.

    Args:
        file: The state file.
        member: The name of its table: `timingCount`, `transactionCount`.
        wall_clock_ms: Stamps changes.
        run_in_thread: Runs blocking writes.

    Raises:
        StoreDamaged: Neither the file nor its backup can be read.
    """

    def __init__(
        self, file: StateFile, member: str, wall_clock_ms: Callable[[], int], run_in_thread: RunInThread
    ) -> None:
        self._member = member
        self._wall_clock_ms = wall_clock_ms
        self._table: dict[str, list[int]] = {}
        """By topic: the count, and when it changed."""
        self._version = DataVersion(timestamp=wall_clock_ms())
        self._changes = 0
        self._writer = StateWriter(file, self.encode, run_in_thread)
        load_state(file, self._load)

    def _load(self, tree: dict[str, Any]) -> None:
        table = {}
        for topic, entry in table_of(tree, self._member).items():
            try:
                table[topic] = [int(entry[_COUNT]), int(entry[_AT])]
            except (KeyError, TypeError, ValueError) as cause:
                raise MalformedBody(f"{self._member}: {topic}: {entry!r} is no count") from cause
        self._table = table
        self._version = version_of(tree, self._version)

    def encode(self) -> bytes:
        """The content of the file, and of the answer to a slave."""
        before = self._version
        version = DataVersion(
            counter=before.counter + self._changes,
            state_version=before.state_version,
            timestamp=max([before.timestamp, *(at_ms for _, at_ms in self._table.values())]),
        )
        counts = {topic: {_COUNT: count, _AT: at_ms} for topic, (count, at_ms) in self._table.items()}
        return dumps({VERSION: version, self._member: counts})

    def copy_from(self, tree: dict[str, Any]) -> None:
        """Take a master's counts, as slaves are sent them.

        Raises:
            MalformedBody: They are none; nothing has changed.
        """
        before = self._table
        self._load(tree)
        if self._table != before:
            self._changes = 0
            self._writer.mark()

    def add(self, topic: str, change: int) -> None:
        """Count what began to wait or to be open (1 or more), or is so no more (-1 or less)."""
        now_ms = self._wall_clock_ms()
        entry = self._table.get(topic)
        if entry is None:
            entry = self._table[topic] = [0, now_ms]
        entry[0] += change
        entry[1] = now_ms
        self._changes += abs(change)
        self._writer.mark()

    def count(self, topic: str) -> int:
        """How many there are."""
        entry = self._table.get(topic)
        return 0 if entry is None else entry[0]

    def tick(self) -> None:
        """Write what has changed. Called at the interval of the file's own option."""
        self._writer.write()

    def saved(self) -> Deferred[None]:
        """Wait until all counts so far are on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        return self._writer.saved()
