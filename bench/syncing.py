"""SYNC_FLUSH: the sides with it set, and what the disk itself can do."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.servers import Official, Ours, Side
from interop.ours import program
from interop.process import Process

THREADS = 64
RECORD_BYTES = 300
"""About what a message of 128 B takes in the log."""
PROBE_BYTES = 1 << 30


class OfficialSyncFlush(Official):
    """The official side, whose broker syncs before it answers."""

    def prepare(self) -> None:
        super().prepare()
        self._broker.properties = {**self._broker.properties, "flushDiskType": "SYNC_FLUSH"}


class OursSyncFlush(Ours):
    """Our broker by itself, syncing before it answers."""

    def launch(self) -> list[Process]:
        configuration = self.folder / "broker.conf"
        lines = {
            "listenPort": self.port, "brokerIP1": "127.0.0.1", "bindAddress": "127.0.0.1",
            "storePathRootDir": self.folder / "data", "flushDiskType": "SYNC_FLUSH",
        }  # fmt: skip
        configuration.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        argv = [program("mqbroker"), "-c", str(configuration)]
        return [Process(argv, log=self.folder / "mqbroker.out", cwd=self.folder)]


def with_sync_flush(side: Side) -> Side:
    """Give a second side like this one, in a folder beside it; not running yet."""
    kind = OfficialSyncFlush if isinstance(side, Official) else OursSyncFlush
    return kind(side.folder.with_name(f"{side.folder.name}-sync"))


def syncs_per_second(folder: Path, probe_s: float) -> float:
    """Append to a sparse file as a log grows by a whole group of messages, and sync each."""
    path = folder / "probe"
    group = bytes(range(256)) * (THREADS * RECORD_BYTES // 256)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(descriptor, PROBE_BYTES)
        count = 0
        began_at = time.monotonic()
        while (passed_s := time.monotonic() - began_at) < probe_s and (count + 1) * len(group) <= PROBE_BYTES:
            os.pwrite(descriptor, group, count * len(group))
            os.fdatasync(descriptor)
            count += 1
        return count / passed_s
    finally:
        os.close(descriptor)
        path.unlink()
