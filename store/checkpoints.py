"""When checkpoints are made, and what they say: how far the files tell the same, so that recovery begins there.

What it must not do: wait for the disk, except in `tick_checkpoint`; sync what `flush_plan` is there for sooner than
that. Source: `StoreCheckpoint`, `FlushConsumeQueueService` (5.5.0).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from msgspec.structs import replace

from .checkpoint import Checkpoint, checkpoint_job
from .commitlog import CommitLog
from .dispatch import DeliveryTime
from .errors import DerivedWriteFailed
from .files import Files
from .keyindex import KeyIndex
from .options import StoreOptions
from .queuetable import ConsumeQueues
from .replication import ReplicaWriter

_CHECKPOINT_INTERVAL_MS = 5_000
CHECKPOINT_MANY_FILES = 200
"""With more files than this to sync, checkpoints are rarer: a minute apart, unless much was written."""


class Checkpoints(ReplicaWriter):
    """What a store that makes checkpoints adds to a replica; arguments as `GroupWriter`.

    Attributes:
        master_flushed_offset: How far a slave was told that its master has flushed; it is only kept, and shown.
    """

    _files: Files

    def __init__(
        self,
        log: CommitLog,
        queues: ConsumeQueues,
        index: KeyIndex | None,
        options: StoreOptions,
        wall_clock_ms: Callable[[], int],
        delivery_time_ms: DeliveryTime | None = None,
    ) -> None:
        super().__init__(log, queues, index, options, wall_clock_ms, delivery_time_ms)
        self._checkpoint_path = os.path.join(str(options.root), "checkpoint")
        self._checkpoint = Checkpoint()
        self._checkpointing = False
        self._checkpoint_at_ms = 0
        self._checkpoint_puts = 0
        self._syncing_queues: dict[str, None] = {}
        self._syncing_index: dict[str, None] = {}
        self._samples: deque[tuple[int, int]] = deque()  # (end of the log, store time) at past checkpoints
        self.master_flushed_offset = 0

    def checkpoint_plan(self, *, at_once: bool = False) -> Callable[[], Checkpoint] | None:
        """The sync of log and derived files and the new checkpoint, for a thread; None when it is not due.

        Pass what it returns to `checkpointed`, or what it raises to `checkpoint_failed`. Between two checkpoints
        nothing derived is synced; what was written since the last one is what recovery reads again.

        Args:
            at_once: whenever there is anything new, not only when enough was written or time has passed.
        """
        log, queues = self.log, self.queues
        if self._checkpointing or self._failure is not None:
            return None
        unsynced = len(queues.unsynced) + (0 if self.index is None else len(self.index.unsynced))
        complete, synced = queues.complete_offset(log.wrote_offset), self._checkpoint.synced_offset
        if complete == synced and not unsynced:
            return None
        now = self._wall_clock_ms()
        if (
            not at_once
            and complete - (synced or 0) < self.options.checkpoint_log_bytes
            and self.put_count - self._checkpoint_puts < self.options.checkpoint_messages
        ):
            many = unsynced > CHECKPOINT_MANY_FILES
            interval = self.options.flush_consume_queue_thorough_interval_ms if many else _CHECKPOINT_INTERVAL_MS
            if 0 <= now - self._checkpoint_at_ms < interval:
                return None
        try:
            write_index = None if self.index is None else self.index.write_plan()
        except OSError as error:
            self._derived_failed(error)
            return None
        checkpoint = self._next_checkpoint(complete)
        self._checkpoint_at_ms = now
        self._checkpoint_puts = self.put_count
        # To the end, as the index speaks about all of it: nothing derived may outlive the log after a power loss.
        dirty_from = log.start_of(log.flushed_offset)
        paths = [log.path(start) for start in log.starts if dirty_from <= start < log.wrote_offset]
        paths.append(log.folder + "/")
        paths += queues.unsynced
        self._syncing_queues, queues.unsynced = queues.unsynced, {}
        if self.index is not None:
            paths += self.index.unsynced
            self._syncing_index, self.index.unsynced = self.index.unsynced, {}
        self._checkpointing = True
        return checkpoint_job(self._files, queues.syncing, paths, self._checkpoint_path, checkpoint, write_index)

    def _next_checkpoint(self, complete: int) -> Checkpoint:
        self._samples.append((self.log.wrote_offset, self._last_timestamp))
        timestamp = self._checkpoint.physic_msg_timestamp
        while self._samples and self._samples[0][0] <= complete:
            timestamp = self._samples.popleft()[1]
        index_timestamp, index_offset = self._checkpoint.index_msg_timestamp, complete
        file_number = count = 0
        if self.index is not None:
            file_number, count = self.index.position()
            index_timestamp, _ = self.index.last_update()
            index_offset = self.log.wrote_offset  # the job writes every key up to here
        return replace(
            self._checkpoint,
            physic_msg_timestamp=timestamp,
            logics_msg_timestamp=timestamp,
            index_msg_timestamp=index_timestamp,
            consume_queue_offset=complete,
            synced_offset=complete,
            index_offset=index_offset,
            index_file=file_number,
            index_count=count,
            queue_files=None,
            master_flushed_offset=self.master_flushed_offset,
        )

    def checkpointed(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is on disk."""
        self._checkpointing = False
        self._checkpoint = checkpoint
        if self.index is not None:
            self.index.written()
        self.log.synced(checkpoint.synced_offset or 0)

    def checkpoint_failed(self, error: BaseException) -> None:
        """A sync failed, which is final as with `flush_failed`; or the index could not be written, which is not."""
        self._checkpointing = False
        if self.index is not None:
            self.index.write_failed()
            self.index.unsynced = self._syncing_index | self.index.unsynced
        self.queues.unsynced = self._syncing_queues | self.queues.unsynced
        if isinstance(error, DerivedWriteFailed):
            self._derived_failed(error)
        else:
            self._fail(f"a sync failed: {error}", error)

    def tick_checkpoint(self) -> None:
        """Write everything and make a checkpoint now, waiting for the disk: when the store opens and closes.

        Raises:
            OSError, FlushFailed: it could not be made.
        """
        self.queues.write_tails()
        plan = self.checkpoint_plan(at_once=True)
        if plan is not None:
            try:
                self.checkpointed(plan())
            except BaseException as error:
                self.checkpoint_failed(error)
                raise
