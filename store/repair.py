"""Building what is derived from the commit log again: `rmqd check --repair`.

What it is for: a store whose log is good and whose queues, index or checkpoint are not. What it must not do: change the
log, or touch queues that are right, since those of expired messages hold offsets that nothing else knows.

Crash guarantee: what is damaged is removed first, then the store is opened as after a crash, which reads the whole log.
A crash in between leaves a store that the next start, or the next repair, brings to the same end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from .check import CheckReport
from .dirlock import AbortFile
from .errors import StoreError
from .files import RealFiles
from .messagestore import MessageStore
from .options import StoreOptions


def repair(
    root: str,
    report: CheckReport,
    *,
    wall_clock_ms: Callable[[], int],
    log_folder: str | None = None,
    slot_num: int = 5_000_000,
    index_num: int = 20_000_000,
    delivery_time_ms: Callable[[int, int], int] | None = None,
) -> list[str]:
    """Remove what a check found damaged and can be had again, and build it.

    Args:
        root: `storePathRootDir`; nobody may have the store open.
        report: What the check found.
        wall_clock_ms: The time.
        slot_num, index_num: `maxHashSlotNum` and `maxIndexNum` of its index files.
        delivery_time_ms: As `MessageStore`'s.

    Returns:
        One line for each thing done.

    Raises:
        StoreError: Something is damaged that cannot be had again.
    """
    for finding in report.findings:
        if finding.serious and not finding.derived:
            raise StoreError(
                f"not repaired: {finding.text}; only what is derived from the log can be", file=finding.path
            )
    done = []
    queues, index = os.path.join(root, "consumequeue"), os.path.join(root, "index")
    for path in dict.fromkeys(_unit_of_repair(finding.path, queues, index) for finding in report.findings):
        if path is not None and os.path.exists(path):
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
            done.append(f"{path}: removed")
    checkpoint = os.path.join(root, "checkpoint")
    if os.path.exists(checkpoint):
        os.unlink(checkpoint)  # so that all of the log is read
    AbortFile(RealFiles(), root).create(os.getpid())
    options = StoreOptions(root=Path(root), store_host=bytes(8), max_hash_slot_num=slot_num, max_index_num=index_num)
    if log_folder:
        options = replace(options, commit_log_dir=Path(log_folder))
    if report.log_file_size:
        options = replace(options, mapped_file_size_commit_log=report.log_file_size)
    if report.queue_file_size:
        options = replace(options, mapped_file_size_consume_queue=report.queue_file_size)
    store = MessageStore(options, wall_clock_ms=wall_clock_ms, delivery_time_ms=delivery_time_ms)
    done += store.open().lines()
    store.close()
    return done


def _unit_of_repair(path: str, queues: str, index: str) -> str | None:
    """What has to go for a file to be built again: all of its queue, all of the index, or itself; None: nothing."""
    if path == index or path.startswith(index + os.sep):
        return index
    if path.startswith(queues + os.sep):
        topic, _, rest = path[len(queues) + 1 :].partition(os.sep)
        return os.path.join(queues, topic, rest.partition(os.sep)[0])
    return path if os.path.basename(path) == "checkpoint" else None
