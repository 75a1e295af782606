"""Commands that write what a cluster is into JSON files: exportMetadata, exportConfigs, exportMetrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rmqwire.bodies.topic import TopicConfig, TopicConfigSerializeWrapper, TopicList
from rmqwire.codes import OUR_VERSION, name_of_version
from rmqwire.requests.config import GetBrokerConfig
from rmqwire.requests.topic import GetAllTopicConfig, GetSystemTopicListFromBroker

from .asking import DLQ_PREFIX, MASTER_ID, RETRY_PREFIX
from .clients import connections_of
from .cluster import day_stats, day_sum, runtime
from .command import BROKER, CLUSTER, SWITCH, command, flag
from .configuration import read_properties
from .errors import AdminError, BadUsage
from .groups import all_groups

if TYPE_CHECKING:
    from rmqwire.bodies.group import SubscriptionGroupConfig
    from rmqwire.bodies.stats import BrokerStatsData

    from .asking import Admin
    from .command import Given
    from .output import Output

_FOLDER = flag("f", "filePath", "folder of the file [/tmp/rocketmq/export]")
_WHICH_CLUSTER = flag("c", "clusterName", "which cluster", required=True)
_DEFAULT_FOLDER = "/tmp/rocketmq/export"  # noqa: S108  as the official tool
_PERMS = range(8)

_SYSTEM_GROUPS = frozenset(
    {
        "DEFAULT_CONSUMER",
        "TOOLS_CONSUMER",
        "SCHEDULE_CONSUMER",
        "FILTERSRV_CONSUMER",
        "__MONITOR_CONSUMER",
        "CLIENT_INNER_PRODUCER",
        "SELF_TEST_P_GROUP",
        "SELF_TEST_C_GROUP",
        "CID_ONS-HTTP-PROXY",
        "CID_ONSAPI_PERMISSION",
        "CID_ONSAPI_OWNER",
        "CID_ONSAPI_PULL",
        "CID_SYS_RMQ_TRANS",
    }
)
"""Groups the brokers themselves have, those of `MixAll.PREDEFINE_GROUP_SET`."""
_SYSTEM_GROUP_PREFIX = "CID_RMQ_SYS_"

_SYSTEM_TOPICS = frozenset(
    {
        "TBW102",
        "SCHEDULE_TOPIC_XXXX",
        "BenchmarkTest",
        "RMQ_SYS_TRANS_HALF_TOPIC",
        "RMQ_SYS_TRANS_OP_HALF_TOPIC",
        "RMQ_SYS_ROCKSDB_TRANS_HALF_TOPIC",
        "RMQ_SYS_ROCKSDB_TRANS_OP_HALF_TOPIC",
        "RMQ_SYS_TRACE_TOPIC",
        "TRANS_CHECK_MAX_TIME_TOPIC",
        "SELF_TEST_TOPIC",
        "OFFSET_MOVED_EVENT",
    }
)
"""Those of `TopicValidator`; older brokers do not name all of them themselves."""

_SHOWN_PROPERTIES = (
    "brokerClusterName",
    "brokerId",
    "brokerName",
    "brokerRole",
    "fileReservedTime",
    "filterServerNums",
    "flushDiskType",
    "maxMessageSize",
    "messageDelayLevel",
    "msgTraceTopicName",
    "slaveReadEnable",
    "traceOn",
    "traceTopicEnable",
    "useTLS",
    "autoCreateTopicEnable",
    "autoCreateSubscriptionGroup",
)


def _write(given: Given, name: str, tree: object, out: Output, end: str) -> None:
    """Write a JSON file and say so."""
    path = Path(given.maybe("filePath") or _DEFAULT_FOLDER) / name
    plain = msgspec.to_builtins(tree, str_keys=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(plain, indent="\t", ensure_ascii=False, sort_keys=True), encoding="utf-8")
    except OSError as cause:
        raise BadUsage(f"cannot write {path}, {cause.strerror}", "give a folder by -f") from cause
    out.text(f"export {path} success{end}")
    out.fields(path=str(path), content=plain)


async def user_topics(admin: Admin, address: str, special: bool) -> dict[str, TopicConfig]:
    """The topics of a broker that are not its own; those of retries and dead letters only if `special`."""
    system = (await admin.ask(address, GetSystemTopicListFromBroker(), TopicList)).topic_list
    table = (
        await admin.ask(address, GetAllTopicConfig(), TopicConfigSerializeWrapper, timeout_ms=10_000)
    ).topic_config_table
    return {
        name: topic
        for name, topic in table.items()
        if name not in system
        and name not in _SYSTEM_TOPICS
        and not name.startswith("rmq_sys_")
        and (special or not name.startswith((RETRY_PREFIX, DLQ_PREFIX)))
        and topic.perm in _PERMS
    }


async def user_groups(admin: Admin, address: str) -> dict[str, SubscriptionGroupConfig]:
    """The groups of a broker that are not its own."""
    table = (await all_groups(admin, address)).subscription_group_table
    return {
        name: group
        for name, group in table.items()
        if name not in _SYSTEM_GROUPS and not name.startswith(_SYSTEM_GROUP_PREFIX)
    }


@command(
    "exportMetadata",
    CLUSTER,
    BROKER,
    _FOLDER,
    flag("t", "topic", "topics only", SWITCH),
    flag("g", "subscriptionGroup", "groups only", SWITCH),
    flag("s", "specialTopic", "topics of retries and dead letters too", SWITCH),
)
async def export_metadata(admin: Admin, given: Given, out: Output) -> None:
    """Write topics and groups into a file."""
    one = given.one_of("brokerAddr", "clusterName") == "brokerAddr"
    if one and not (given.true("topic") or given.true("subscriptionGroup")):
        raise BadUsage("of one broker either topics or groups are exported", "give -t or -g too")
    addresses = [given.text("brokerAddr")] if one else await admin.masters(given.text("clusterName"))
    topics: dict[str, TopicConfig] = {}
    groups: dict[str, SubscriptionGroupConfig] = {}
    for address in addresses:
        for name, topic in (await user_topics(admin, address, given.true("specialTopic"))).items():
            if name in topics:
                topic.write_queue_nums += topics[name].write_queue_nums
                topic.read_queue_nums += topics[name].read_queue_nums
            topics[name] = topic
        for name, group in (await user_groups(admin, address)).items():
            if name in groups:
                group.retry_queue_nums += groups[name].retry_queue_nums
            groups[name] = group
    tree: dict[str, object] = {} if one else {"exportTime": admin.now_ms()}
    file = "metadata.json"
    if not given.true("subscriptionGroup") or given.true("topic"):
        tree["topicConfigTable"] = topics
        file = "topic.json" if given.true("topic") else file
    if not given.true("topic"):
        tree["subscriptionGroupTable"] = groups
        file = "subscriptionGroup.json" if given.true("subscriptionGroup") else file
    _write(given, file, tree, out, "" if one else "\n")


@command("exportConfigs", _WHICH_CLUSTER, _FOLDER)
async def export_configs(admin: Admin, given: Given, out: Output) -> None:
    """Write the size of a cluster and the main properties of its masters into a file."""
    configs: dict[str, dict[str, str]] = {}
    masters = slaves = 0
    for broker in await admin.brokers_of(given.text("clusterName")):
        master = broker.broker_addrs.get(MASTER_ID)
        slaves += len(broker.broker_addrs) - (master is not None)
        if master is not None:
            masters += 1
            properties = await read_properties(admin, master, GetBrokerConfig())
            shown = {key: properties[key] for key in _SHOWN_PROPERTIES if key in properties}
            configs[properties.get("brokerName", broker.broker_name or "")] = shown
    scale = {"namesrvSize": len(admin.name_servers), "masterBrokerSize": masters, "slaveBrokerSize": slaves}
    _write(given, "configs.json", {"brokerConfigs": configs, "clusterScale": scale}, out, "")


@command("exportMetrics", _WHICH_CLUSTER, _FOLDER)
async def export_metrics(admin: Admin, given: Given, out: Output) -> None:
    """Write rates and sizes of a cluster into a file."""
    report: dict[str, Any] = {}
    tps = dict.fromkeys(("totalNormalInTps", "totalNormalOutTps", "totalTransInTps", "totalScheduleInTps"), 0.0)
    day = dict.fromkeys(("normalOneDayInNum", "normalOneDayOutNum", "transOneDayInNum", "scheduleOneDayInNum"), 0)
    for broker in await admin.brokers_of(given.text("clusterName")):
        address = broker.broker_addrs.get(MASTER_ID)
        if address is None:
            continue
        quota = await _quota(admin, address)
        for name, value in quota["tps"].items():
            tps[f"total{name[0].upper()}{name[1:]}"] += value
        for name, value in quota["oneDayNum"].items():
            day[name] += value
        properties = await read_properties(admin, address, GetBrokerConfig())
        environment = {
            "cpuNum": properties.get("clientCallbackExecutorThreads"),
            "totalMemKBytes": (await runtime(admin, address)).get("totalMemKBytes"),
        }
        report[broker.broker_name or ""] = {
            "runtimeEnv": {key: value for key, value in environment.items() if value is not None},
            "runtimeQuota": quota,
            "runtimeVersion": {
                "rocketmqVersion": name_of_version(OUR_VERSION),
                "clientInfo": await _client_versions(admin, address),
            },
        }
    total = {"totalTps": tps, "totalOneDayNum": day}
    _write(given, "metrics.json", {"evaluateReport": report, "totalData": total}, out, "")


async def _quota(admin: Admin, address: str) -> dict[str, Any]:
    table = await runtime(admin, address)

    def first(name: str) -> float:
        return float((table.get(name) or "0").split()[0])

    def yesterday(kind: str) -> int:
        earlier, later = f"msg{kind}TotalYesterdayMorning", f"msg{kind}TotalTodayMorning"
        return int(table.get(later, 0)) - int(table.get(earlier, 0))

    def minute(stats: BrokerStatsData | None) -> float:
        return stats.stats_minute.tps if stats and stats.stats_minute else 0.0

    transactions = await day_stats(admin, address, "TOPIC_PUT_NUMS", "RMQ_SYS_TRANS_HALF_TOPIC")
    delayed = await day_stats(admin, address, "TOPIC_PUT_NUMS", "SCHEDULE_TOPIC_XXXX")
    return {
        "diskRatio": {key: table.get(key) for key in ("commitLogDiskRatio", "consumeQueueDiskRatio") if key in table},
        "tps": {
            "normalInTps": first("putTps"),
            "normalOutTps": first("getTransferredTps"),
            "transInTps": minute(transactions),
            "scheduleInTps": minute(delayed),
        },
        "oneDayNum": {
            "normalOneDayInNum": yesterday("Put"),
            "normalOneDayOutNum": yesterday("Get"),
            "transOneDayInNum": day_sum(transactions) if transactions else 0,
            "scheduleOneDayInNum": day_sum(delayed) if delayed else 0,
        },
        "messageAverageSize": table.get("putMessageAverageSize"),
        "topicSize": len(await user_topics(admin, address, False)),
        "groupSize": len(await user_groups(admin, address)),
    }


async def _client_versions(admin: Admin, address: str) -> list[str]:
    """Language and version of every consumer that is online."""
    found = set()
    for group in await user_groups(admin, address):
        try:
            connections = await connections_of(admin, group)
        except AdminError:
            continue  # offline
        found |= {f"{one.language}%{name_of_version(one.version)}" for one in connections.connection_set}
    return sorted(found)
