"""How far each delay level has been delivered: `config/delayOffset.json`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rmqwire.bodies import DataVersion
from rmqwire.dialect import pretty
from rmqwire.errors import MalformedBody

from .state_text import VERSION, load_state, table_of, version_of
from .state_writer import RunInThread, StateWriter
from .topics import next_version

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.store.statefile import StateFile


class DelayOffsets:
    """Progress by level.

    Args:
        file: `config/delayOffset.json`.
        wall_clock_ms: Stamps the version.
        run_in_thread: Runs blocking writes.
        version_step: `delayOffsetUpdateVersionStep`: changes between two versions.

    Raises:
        StoreDamaged: Neither the file nor its backup can be read.
    """

    def __init__(
        self,
        file: StateFile,
        wall_clock_ms: Callable[[], int],
        run_in_thread: RunInThread,
        version_step: int = 200,
    ) -> None:
        self._wall_clock_ms = wall_clock_ms
        self._version_step = version_step
        self._changes = 0
        self._table: dict[int, int] = {}
        self._version = DataVersion(timestamp=wall_clock_ms())
        self._writer = StateWriter(file, lambda: pretty(self.tree()), run_in_thread)
        load_state(file, self._load)

    def _load(self, tree: dict[str, Any]) -> None:
        table = {}
        for level, offset in table_of(tree, "offsetTable").items():
            try:
                table[int(level)] = int(offset)
            except (TypeError, ValueError) as cause:
                raise MalformedBody(f"offsetTable: {level!r}: {offset!r} is no level and offset") from cause
        self._table = table
        self._version = version_of(tree, self._version)

    def tree(self) -> dict[str, Any]:
        """Give the content of the file, as a slave asks for it too (45)."""
        return {VERSION: self._version, "offsetTable": self._table}

    def copy_from(self, tree: dict[str, Any]) -> None:
        """Take a master's progress, as slaves are sent it (45).

        Raises:
            MalformedBody: It is none; nothing has changed.
        """
        before = self._table
        self._load(tree)
        if self._table != before:
            self._writer.mark()

    @property
    def data_version(self) -> DataVersion:
        """What slaves compare."""
        return self._version

    def get(self, level: int) -> int:
        """The next queue offset to deliver of a level."""
        return self._table.get(level, 0)

    def set(self, level: int, offset: int) -> None:
        """Note progress."""
        if self._table.get(level) == offset:
            return
        self._table[level] = offset
        self._changes += 1
        if self._changes % self._version_step == 0:
            self._version = next_version(self._version, self._wall_clock_ms())
        self._writer.mark()

    def tick(self) -> None:
        """Write what has changed. Call every `flushDelayOffsetInterval`."""
        self._writer.write()

    def saved(self) -> Deferred[None]:
        """Wait until all progress so far is on disk.

        Raises:
            StoreError: By the Deferred: the file could not be written.
        """
        return self._writer.saved()
