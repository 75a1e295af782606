"""From the configuration's names to the store's: the store does not read configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rmqd.conf import BrokerRole, FlushDiskType
from rmqd.store.options import StoreOptions

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Give what names this life of the machine; "" where the system does not tell."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""


def store_options(options: BrokerOptions, store_host: bytes) -> StoreOptions:
    """Give the store its values.

    Args:
        options: The broker's configuration.
        store_host: `brokerIP1:listenPort` as records store it.
    """
    store = options.store
    return StoreOptions(
        root=Path(store.store_path_root_dir),
        store_host=store_host,
        commit_log_dir=Path(store.store_path_commit_log),
        mapped_file_size_commit_log=store.mapped_file_size_commit_log,
        mapped_file_size_consume_queue=store.mapped_file_size_consume_queue,
        max_hash_slot_num=store.max_hash_slot_num,
        max_index_num=store.max_index_num,
        message_index_enable=store.message_index_enable,
        message_index_safe=store.message_index_safe,
        max_message_size=store.max_message_size,
        auto_message_version_on_topic_len=store.auto_message_version_on_topic_len,
        check_crc_on_recover=store.check_crc_on_recover,
        flush_disk_type="SYNC_FLUSH" if store.flush_disk_type is FlushDiskType.SYNC_FLUSH else "ASYNC_FLUSH",
        flush_interval_commit_log_ms=store.flush_interval_commit_log,
        flush_commit_log_least_pages=store.flush_commit_log_least_pages,
        flush_commit_log_thorough_interval_ms=store.flush_commit_log_thorough_interval,
        flush_consume_queue_thorough_interval_ms=store.flush_consume_queue_thorough_interval,
        max_transfer_bytes_on_message_in_memory=store.max_transfer_bytes_on_message_in_memory,
        max_transfer_count_on_message_in_memory=store.max_transfer_count_on_message_in_memory,
        max_transfer_bytes_on_message_in_disk=store.max_transfer_bytes_on_message_in_disk,
        max_transfer_count_on_message_in_disk=store.max_transfer_count_on_message_in_disk,
        max_filter_message_size=store.max_filter_message_size,
        access_message_in_memory_max_ratio=store.access_message_in_memory_max_ratio,
        max_msgs_num_batch=store.max_msgs_num_batch,
        offset_check_in_slave=store.offset_check_in_slave,
        slave=store.broker_role is BrokerRole.SLAVE,
        boot_id=boot_id(),
        delete_when=store.delete_when,
        file_reserved_time_hours=store.file_reserved_time,
        delete_file_batch_max=store.delete_file_batch_max,
        disk_max_used_space_ratio=store.disk_max_used_space_ratio,
        disk_space_warning_level_ratio=store.disk_space_warning_level_ratio / 100,
        disk_space_clean_forcibly_ratio=store.disk_space_clean_forcibly_ratio / 100,
        clean_file_forcibly_enable=store.clean_file_forcibly_enable,
    )
