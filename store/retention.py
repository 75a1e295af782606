"""Which files are old enough to go, and what a full disk means.

Log files go from the oldest on, never the last one; then queue and index files that speak only about what is gone.
The files are taken out of the store's lists at once, and unlinked by whoever runs the returned job: a crash in between
leaves a file that the next start lists again, and the next cleaning takes again.

Source: `DefaultMessageStore.CleanCommitLogService`, `CleanConsumeQueueService`, 4.7.0 and 5.3.4.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import msgspec

from .commitlog import CommitLog
from .consumequeue import ConsumeQueue
from .errors import StoreError
from .files import Files, remove_file
from .keyindex import KeyIndex
from .options import StoreOptions
from .queuetable import ConsumeQueues

MANUAL_ROUNDS = 20
"""As Java: a deletion asked for by hand is tried in so many rounds."""
_QUEUES_PER_ROUND = 200


class DiskState(msgspec.Struct, frozen=True):
    """Used parts of the file systems, 0 to 1."""

    commit_log_ratio: float
    consume_queue_ratio: float
    full: bool
    """Over the warning level: messages are refused."""

    @property
    def ratio(self) -> float:
        """Of the fuller one."""
        return max(self.commit_log_ratio, self.consume_queue_ratio)


class Retention:
    """Decides, round by round, what a store lets go."""

    def __init__(
        self, files: Files, log: CommitLog, queues: ConsumeQueues, index: KeyIndex | None, options: StoreOptions
    ) -> None:
        self._files = files
        self._log = log
        self._queues = queues
        self._index = index
        self._options = options
        self._manual_rounds = 0
        self._cleaned_to = -1  # the log's begin when all queues were last gone through
        self._walk: Iterator[ConsumeQueue] | None = None
        self._walk_to = 0
        self.disk = DiskState(0.0, 0.0, full=False)

    def ask_by_hand(self) -> None:
        """Let expired files go in the next rounds, whatever the hour."""
        self._manual_rounds = MANUAL_ROUNDS

    def ask_all_queues(self) -> None:
        """Go through all consume queues again in the next rounds, also when the log's begin has not moved."""
        self._walk, self._cleaned_to = None, -1

    def look_at_disk(self) -> DiskState:
        """Measure. Raises `OSError`."""
        log_ratio = self._files.disk_used_ratio(self._log.folder)
        queue_ratio = self._files.disk_used_ratio(self._queues.root)
        level = _clamp(self._options.disk_space_warning_level_ratio, 0.35, 0.90)
        self.disk = DiskState(log_ratio, queue_ratio, full=max(log_ratio, queue_ratio) > level)
        return self.disk

    def plan(self, now_ms: int, keep_from: int) -> Callable[[], int] | None:
        """Take out what may go; the returned job unlinks it and says how many files those were.

        Args:
            now_ms: the wall clock.
            keep_from: log files that hold this offset or a later one stay, however old: recovery begins there.

        Raises:
            OSError: the disk or a file could not be looked at.
        """
        disk = self.look_at_disk()
        paths = self._expired_log_files(now_ms, keep_from, disk)
        paths += self._expired_derived_files()
        if not paths:
            return None
        files = self._files

        def unlink() -> int:
            for path in paths:
                try:
                    remove_file(files, path)
                except OSError as error:
                    raise StoreError(f"cannot delete: {error.strerror}", file=path) from error
            return len(paths)

        return unlink

    def _expired_log_files(self, now_ms: int, keep_from: int, disk: DiskState) -> list[str]:
        options, log = self._options, self._log
        fullest = max(disk.commit_log_ratio, disk.consume_queue_ratio)
        forcibly = _clamp(options.disk_space_clean_forcibly_ratio, 0.30, 0.85)
        at_once = options.clean_file_forcibly_enable and (disk.full or fullest > forcibly)
        by_hand = self._manual_rounds > 0
        if by_hand:
            self._manual_rounds -= 1
        used_too_much = fullest > _clamp(options.disk_max_used_space_ratio / 100, 0.10, 0.95)
        if not (at_once or by_hand or used_too_much or self._is_hour(now_ms)):
            return []
        reserved_ms = options.file_reserved_time_hours * 3_600_000
        paths: list[str] = []
        while len(paths) < options.delete_file_batch_max and len(log.starts) > 1:
            start = log.starts[0]
            expired = self._files.modified_at_ms(log.path(start)) + reserved_ms < now_ms
            if start + log.file_size > keep_from or not (expired or at_once):
                break
            path = log.remove_first()
            if path is None:
                break
            paths.append(path)
        return paths

    def _is_hour(self, now_ms: int) -> bool:
        hour = time.localtime(now_ms // 1000).tm_hour
        wanted = [part.strip() for part in self._options.delete_when.split(";")]
        return any(part.isdigit() and int(part) == hour for part in wanted)

    def _expired_derived_files(self) -> list[str]:
        """Files of the index, and of some queues a round: there may be tens of thousands of them."""
        log_min = self._log.min_offset
        if self._walk is None:
            if log_min == self._cleaned_to:
                return []
            self._walk, self._walk_to = self._queues.all(), log_min
        paths = [] if self._index is None else self._index.remove_expired(log_min)
        for _ in range(_QUEUES_PER_ROUND):
            queue = next(self._walk, None)
            if queue is None:
                self._walk, self._cleaned_to = None, self._walk_to
                break
            paths += self._queues.remove_expired(queue)
        return paths


def _clamp(ratio: float, low: float, high: float) -> float:
    return min(max(ratio, low), high)
