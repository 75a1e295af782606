"""RocksDB and stores put together of two kinds: none of it is served here: a part of `MessageStoreConfig`."""

from __future__ import annotations

from rmqd.conf.option import OptionGroup, boolean, int32, int64, text


class StoreRocksdb(OptionGroup):
    """RocksDB and stores put together of two kinds: none of it is served here."""

    trans_rocksdb_enable = boolean(False, "Keep open transactions in RocksDB.", key="transRocksDBEnable")
    trans_write_origin_trans_half_enable = boolean(True, "Write them to their topic as well.")
    index_rocksdb_enable = boolean(False, "Keep the index in RocksDB.", key="indexRocksDBEnable")
    max_rocksdb_index_query_days = int32(7, "days", "How far back that index is asked.", key="maxRocksDBIndexQueryDays")
    iterator_when_use_rocksdb_consume_queue = boolean(True, "Read consume queues in RocksDB by iterators.")
    rocksdb_cq_double_write_enable = boolean(
        False, "Write consume queues to files and to RocksDB.", key="rocksdbCQDoubleWriteEnable"
    )
    combine_cq_loading_cq_types = text(
        "default;defaultRocksDB", "Kinds of consume queues that are loaded.", key="combineCQLoadingCQTypes"
    )
    combine_cq_prefer_cq_type = text("default", "Kind that is read.", key="combineCQPreferCQType")
    combine_assign_offset_cq_type = text("default", "Kind that gives offsets.", key="combineAssignOffsetCQType")
    combine_cq_enable_check_self = boolean(False, "Compare the kinds.", key="combineCQEnableCheckSelf")
    combine_cq_max_extra_search_commit_log_files = int32(
        3, "files", "How far a kind may be behind at the start.", key="combineCQMaxExtraSearchCommitLogFiles"
    )
    combine_cq_use_rocksdb_for_lmq = boolean(
        False, "Keep light queues in RocksDB only.", key="combineCQUseRocksdbForLmq"
    )
    use_separate_store_path_for_rocksdb_cq = boolean(
        False, "Keep them in a folder of their own.", key="useSeparateStorePathForRocksdbCQ"
    )
    bottom_most_compression_type_for_consume_queue_store = text("zstd", "Compression of the oldest consume queues.")
    rocksdb_compression_type = text("lz4", "Compression.")
    rocksdb_flush_wal_frequency = int32(1024, "writes", "Flush the write-ahead log after so many.")
    rocksdb_wal_file_rolling_threshold = int64(1_073_741_824, "bytes", "Length at which a new one is begun.")
    clean_rocksdb_dirty_cq_interval_min = int64(
        60, "min", "Time between two looks for consume queues without a topic.", key="cleanRocksDBDirtyCQIntervalMin"
    )
    stat_rocksdb_cq_interval_sec = int64(
        10, "s", "Time between two lines of statistics.", key="statRocksDBCQIntervalSec"
    )
    mem_table_flush_interval_ms = int64(3_600_000, "ms", "Time between two flushes of what is in memory.")
    real_time_persist_rocksdb_config = boolean(
        True, "Write each change of config/ at once.", key="realTimePersistRocksDBConfig"
    )
    enable_rocksdb_log = boolean(False, "Let RocksDB write its log.", key="enableRocksDBLog")
