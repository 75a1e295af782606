"""Statistics, exported metrics, cold reads: a part of `BrokerConfig`."""

from __future__ import annotations

from rmqd.conf.enums import MetricsExporterType
from rmqd.conf.option import OptionGroup, boolean, choice, int32, int64, text


class BrokerMetrics(OptionGroup):
    """Statistics, exported metrics, cold reads."""

    enable_detail_stat = boolean(True, "Count by queue too.")
    auto_delete_unused_stats = boolean(True, "Drop the counters of what has been deleted.")
    max_stats_idle_time_in_minutes = int32(-1, "min", "Drop a counter that has not moved for so long; -1 never.")
    commercial_base_count = int32(1, "messages", "Factor of the counts for billing.")
    commercial_size_per_msg = int32(4096, "bytes", "Size that counts as one message for billing.")
    account_stats_enable = boolean(True, "Count by account.")
    account_stats_print_zero_values = boolean(True, "Log counts by account that are 0.")
    enable_lmq_stats = boolean(False, "Count by light queue.")
    print_channel_groups = boolean(False, "Log which groups share a connection.")
    print_channel_groups_min_num = int32(5, "groups", "From so many groups on.")
    metrics_exporter_type = choice(MetricsExporterType.DISABLE, "Where metrics go.", by_place=True)
    metrics_otel_cardinality_limit = int32(50_000, "series", "Most series of one metric.")
    metrics_grpc_exporter_target = text("", "Collector for OTLP_GRPC.")
    metrics_grpc_exporter_header = text("", "Headers for that collector as name:value,name:value.")
    metric_grpc_exporter_time_out_in_mills = int64(3000, "ms", "Longest wait for that collector.")
    metric_grpc_exporter_interval_in_mills = int64(60_000, "ms", "Time between two exports to it.")
    metric_logging_exporter_interval_in_mills = int64(10_000, "ms", "Time between two exports to the log.")
    metrics_prom_exporter_port = int32(5557, "", "Port for Prometheus.", low=0, high=65_535)
    metrics_prom_exporter_host = text("", "Address for Prometheus; all addresses if empty.")
    metrics_label = text("", "Labels of every metric as name:value,name:value.")
    metrics_export_batch_max_data_points = int32(1000, "points", "Most points in one export.")
    metrics_in_delta = boolean(False, "Export differences rather than totals.")
    enable_remoting_metrics = boolean(True, "Export those of the network layer.")
    enable_message_store_metrics = boolean(True, "Export those of the store.")
    enable_pop_metrics = boolean(True, "Export those of pop consumers.")
    enable_connection_metrics = boolean(True, "Export those of connections.")
    enable_transaction_metrics = boolean(True, "Export those of transactions.")
    enable_stats_metrics = boolean(True, "Export throughput.")
    enable_request_metrics = boolean(True, "Export those of requests.")
    enable_lag_and_dlq_metrics = boolean(True, "Export lags and dead letters.")
    cold_ctr_strategy_enable = boolean(False, "Slow down groups that read much from disk.", acted=True)
    use_pid_cold_ctr_strategy = boolean(
        True, "Choose how much by a PID controller.", key="usePIDColdCtrStrategy", acted=True
    )
    cg_cold_read_threshold = int64(3_145_728, "bytes/s", "Most that one group reads from disk.", acted=True)
    global_cold_read_threshold = int64(104_857_600, "bytes/s", "Most that all groups read from disk.", acted=True)
    use_single_rocksdb_for_all_configs = boolean(
        False, "Keep all of config/ in one RocksDB, where it is kept in one.", key="useSingleRocksDBForAllConfigs"
    )
