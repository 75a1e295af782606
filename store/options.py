"""The values the store works by, as plain arguments: whoever reads configuration files fills them in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec


class StoreOptions(msgspec.Struct, kw_only=True):
    """Names are those of `MessageStoreConfig`, in snake_case; defaults are its defaults (5.5.0)."""

    root: Path
    """`storePathRootDir`."""
    store_host: bytes
    """`brokerIP1` and `listenPort` as 8 (or 20) bytes: the store host of each record and message id."""
    commit_log_dir: Path | None = None
    """`storePathCommitLog`; None means `commitlog` under the root."""
    mapped_file_size_commit_log: int = 1 << 30
    mapped_file_size_consume_queue: int = 6_000_000
    max_hash_slot_num: int = 5_000_000
    max_index_num: int = 20_000_000
    message_index_enable: bool = True
    message_index_safe: bool = False
    """After an official broker's crash read the log from where the index was safe too, not only the queues."""
    max_message_size: int = 4 << 20
    """Bytes of a body; the record around it may have 64 KiB more."""
    auto_message_version_on_topic_len: bool = True
    check_crc_on_recover: bool = True

    flush_disk_type: Literal["ASYNC_FLUSH", "SYNC_FLUSH"] = "ASYNC_FLUSH"
    flush_interval_commit_log_ms: int = 500
    flush_commit_log_least_pages: int = 4
    flush_commit_log_thorough_interval_ms: int = 10_000
    flush_consume_queue_thorough_interval_ms: int = 60_000
    checkpoint_log_bytes: int = 256 << 20
    """Make a checkpoint when so much was written since the last one: bounds what recovery has to read again."""
    checkpoint_messages: int = 150_000
    """The same by number, which is what reading again costs for small messages."""

    max_transfer_bytes_on_message_in_memory: int = 256 * 1024
    max_transfer_count_on_message_in_memory: int = 32
    max_transfer_bytes_on_message_in_disk: int = 64 * 1024
    max_transfer_count_on_message_in_disk: int = 8
    max_filter_message_size: int = 16_000
    """Bytes of consume queue that one read scans at most (800 units)."""
    access_message_in_memory_max_ratio: int = 40
    """Percent of the physical memory: how far behind the end of the log still counts as in memory."""
    max_msgs_num_batch: int = 64
    """Messages of one query by key."""
    offset_check_in_slave: bool = False
    slave: bool = False
    boot_id: str = ""
    """What names this life of the machine: after a crash of the process alone nothing that was written is missing."""

    delete_when: str = "04"
    """Hours of local time at which expired files go, separated by `;`."""
    file_reserved_time_hours: int = 72
    delete_file_batch_max: int = 10
    disk_max_used_space_ratio: int = 75
    disk_space_warning_level_ratio: float = 0.90
    disk_space_clean_forcibly_ratio: float = 0.85
    clean_file_forcibly_enable: bool = True

    open_files_max: int = 512
    """File descriptors kept for consume queues."""

    def commit_log_path(self) -> Path:
        """The folder of the commit log."""
        return self.commit_log_dir if self.commit_log_dir is not None else self.root / "commitlog"
