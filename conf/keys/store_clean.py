"""Deleting old files, and what happens when the disk fills: a part of `MessageStoreConfig`."""

from __future__ import annotations

from rmqd.conf.checks import check_hours, clamp
from rmqd.conf.option import OptionGroup, boolean, float64, int32, text


class StoreClean(OptionGroup):
    """Deleting old files, and what happens when the disk fills."""

    delete_when = text(
        "04",
        "Hours of the day, separated by ;, at which old files are deleted.",
        important=True,
        acted=True,
        check=check_hours,
    )
    file_reserved_time = int32(
        72, "h", "Age at which a file of the commit log is old.", important=True, acted=True, low=0
    )
    clean_resource_interval = int32(10_000, "ms", "Time between two looks for old files.", acted=True, low=1)
    delete_commit_log_files_interval = int32(100, "ms", "Pause between two deletions of commit log files.", low=0)
    delete_consume_queue_files_interval = int32(100, "ms", "Pause between two deletions of consume queue files.", low=0)
    delete_file_batch_max = int32(10, "files", "Most files deleted in one go.", important=True, acted=True, low=1)
    destroy_maped_file_interval_forcibly = int32(120_000, "ms", "How long a file that is still read is left undeleted.")
    redelete_hanged_file_interval = int32(120_000, "ms", "Time between two attempts to delete such a file.")
    disk_max_used_space_ratio = int32(
        75, "%", "From this much used disk on, old files go at any hour; 10 to 95.", acted=True, adjust=clamp(10, 95)
    )
    disk_space_warning_level_ratio = int32(
        90, "%", "From this much used disk on, messages are refused; 35 to 90.", acted=True, adjust=clamp(35, 90)
    )
    disk_space_clean_forcibly_ratio = int32(
        85,
        "%",
        "From this much used disk on, files that are not old go too; 30 to 85.",
        acted=True,
        adjust=clamp(30, 85),
    )
    clean_file_forcibly_enable = boolean(True, "Allow that.", important=True, acted=True)
    logical_disk_space_clean_forcibly_threshold = float64(
        0.8, "", "The same for the disk of one folder of several, as a fraction."
    )
    replicas_per_disk_partition = int32(1, "brokers", "Brokers that share the disk.")
    enable_clean_expired_offset = boolean(False, "Never read by 5.5.", important=True)
    max_batch_delete_files_num = int32(50, "files", "Never read by 5.5.")
    correct_logic_min_offset_sleep_interval = int32(
        1, "ms", "Pause between two queues while smallest offsets are corrected."
    )
    correct_logic_min_offset_force_interval = int32(
        300_000, "ms", "Correct them after so long even if no file was deleted."
    )
