"""Loading: what a person gets for what they wrote, line by line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rmqd.conf import (
    BrokerOptions,
    BrokerRole,
    ConfError,
    FlushDiskType,
    load_broker_options,
    load_namesrv_options,
)

ENVIRON = {"HOME": "/HOME"}


def broker(tmp_path: Path, text: str, overrides: dict[str, str] | None = None, **environ: str) -> BrokerOptions:
    file = tmp_path / "broker.conf"
    file.write_text(text)
    return load_broker_options(file, overrides or {}, {**ENVIRON, **environ})


def test_defaults_without_a_file() -> None:
    options = load_broker_options(environ=ENVIRON)
    assert options.server.listen_port == 10911
    assert options.store.ha_listen_port == 10912
    assert options.store.store_path_root_dir == "/HOME/store"
    assert options.store.store_path_commit_log == "/HOME/store/commitlog"
    assert options.store.broker_role is BrokerRole.ASYNC_MASTER
    assert options.store.flush_disk_type is FlushDiskType.ASYNC_FLUSH
    assert options.broker.auto_create_topic_enable is True
    assert options.broker.namesrv_addr is None
    assert options.broker.broker_ip1.count(".") == 3
    assert options.notices == []
    namesrv = load_namesrv_options(environ=ENVIRON)
    assert namesrv.server.listen_port == 9876
    assert namesrv.namesrv.kv_config_path == "/HOME/namesrv/kvConfig.json"
    assert namesrv.update_file == "/HOME/namesrv/namesrv.properties"
    assert namesrv.notices == []


def test_command_line_over_file_over_environment(tmp_path: Path) -> None:
    """As Java: NAMESRV_ADDR is only the default of `namesrvAddr`."""
    environ = {"NAMESRV_ADDR": "env:1", "ROCKETMQ_HOME": "/opt/rocketmq"}
    assert broker(tmp_path, "", **environ).broker.namesrv_addr == "env:1"
    assert broker(tmp_path, "", **environ).broker.rocketmq_home == "/opt/rocketmq"
    assert broker(tmp_path, "namesrvAddr=file:2", **environ).broker.namesrv_addr == "file:2"
    options = broker(tmp_path, "namesrvAddr=file:2", {"namesrvAddr": "line:3;line:4"}, **environ)
    assert options.broker.namesrv_addr == "line:3;line:4"
    assert options.notices == []


# text, key, then what is expected of it and what is shown of it; always in line 2
WRONG = [
    ("listenPort=eleven", "listenPort", "a whole number", "'eleven'"),
    ("listenPort=", "listenPort", "a whole number", "''"),
    ("listenPort=1.5", "listenPort", "a whole number", "'1.5'"),
    ("listenPort=1_0911", "listenPort", "a whole number", "'1_0911'"),
    ("listenPort=١٢", "listenPort", "a whole number", "'١٢'"),
    ("listenPort=10 911", "listenPort", "a whole number", "'10 911'"),
    ("listenPort=70000", "listenPort", "a number from 0 to 65535", "'70000'"),
    ("listenPort=-1", "listenPort", "a number from 0 to 65535", "'-1'"),
    ("fileReservedTime=48h", "fileReservedTime", "a whole number", "'48h'"),
    ("fileReservedTime=-1", "fileReservedTime", "a number of at least 0 h", "'-1'"),
    ("maxMessageSize=4294967296", "maxMessageSize", "from -2147483648 to 2147483647", "'4294967296'"),
    ("mapedFileSizeCommitLog=0", "mapedFileSizeCommitLog", "at least 1 bytes", "'0'"),
    ("brokerId=99999999999999999999", "brokerId", "from -9223372036854775808 to", "'99999999999999999999'"),
    ("brokerId=" + "9" * 5000, "brokerId", "from -9223372036854775808 to", "'999"),
    ("autoCreateTopicEnable=yes", "autoCreateTopicEnable", "true or false", "'yes'"),
    ("autoCreateTopicEnable=1", "autoCreateTopicEnable", "true or false", "'1'"),
    ("brokerRole=MASTER", "brokerRole", "ASYNC_MASTER, SYNC_MASTER or SLAVE", "'MASTER'"),
    ("brokerRole=slave", "brokerRole", "ASYNC_MASTER, SYNC_MASTER or SLAVE", "'slave'"),
    ("flushDiskType=SYNC", "flushDiskType", "SYNC_FLUSH or ASYNC_FLUSH", "'SYNC'"),
    ("metricsExporterType=7", "metricsExporterType", "DISABLE, OTLP_GRPC, PROM or LOG", "'7'"),
    ("defaultMessageRequestMode=PUSH", "defaultMessageRequestMode", "PULL or POP", "'PUSH'"),
    ("logicalDiskSpaceCleanForciblyThreshold=much", "logicalDiskSpaceCleanForciblyThreshold", "a decimal", "'much'"),
    ("logicalDiskSpaceCleanForciblyThreshold=NaN", "logicalDiskSpaceCleanForciblyThreshold", "a decimal", "'NaN'"),
    ("logicalDiskSpaceCleanForciblyThreshold=1e999", "logicalDiskSpaceCleanForciblyThreshold", "a decimal", "'1e999'"),
    ("deleteWhen=24", "deleteWhen", "hours from 00 to 23", "'24'"),
    ("deleteWhen=04,16", "deleteWhen", "separated by ;", "'04,16'"),
    ("messageDelayLevel=1s 5x", "messageDelayLevel", "delays as 1s 5m 2h 1d", "'1s 5x'"),
    ("messageDelayLevel=1s  5s", "messageDelayLevel", "one blank each", "'1s  5s'"),
    ("namesrvAddr=localhost", "namesrvAddr", "addresses as host:port", "'localhost'"),
    ("namesrvAddr=a:1;b:x", "namesrvAddr", "addresses as host:port", "'a:1;b:x'"),
    ("namesrvAddr=a:0", "namesrvAddr", "addresses as host:port", "'a:0'"),
    ("storeType=rocksdb", "storeType", "default or defaultRocksDB", "'rocksdb'"),
    ("brokerRole=SLAVE", "brokerId", "a number above 0", "0"),
    ("brokerName=\\u00", "brokerName", "four hexadecimal digits", "'\\u00'"),
    ("enableDLegerCommitLog=true\nenableControllerMode=true", "enableControllerMode", "false", "'true'"),
    ("enableControllerMode=true", "enableControllerMode", "controllerAddr", "'true'"),
]


@pytest.mark.parametrize(("text", "key", "expected", "got"), WRONG)
def test_a_wrong_value_is_one_clear_line(tmp_path: Path, text: str, key: str, expected: str, got: str) -> None:
    with pytest.raises(ConfError) as caught:
        broker(tmp_path, f"# a broker\n{text}\n")
    line = 2 + text.count("\n")
    shown = str(caught.value)
    assert shown.startswith(f"{tmp_path}/broker.conf:{line}: {key}: expected ")
    assert expected in caught.value.expected
    assert caught.value.got.startswith(got)
    assert "\n" not in shown


def test_a_wrong_value_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(ConfError) as caught:
        broker(tmp_path, "", {"listenPort": "x"})
    assert str(caught.value) == "command line: listenPort: expected a whole number, got 'x'"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfError) as caught:
        load_broker_options(tmp_path / "none.conf")
    expected = f"{tmp_path}/none.conf: expected a readable properties file, got No such file or directory"
    assert str(caught.value) == expected
    with pytest.raises(ConfError, match="got Is a directory"):
        load_namesrv_options(tmp_path)


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("TRUE", True), ("False", False), (" true ", True), ("\\ttrue", True)],
)
def test_booleans_in_any_case(tmp_path: Path, text: str, value: bool) -> None:
    assert broker(tmp_path, f"autoCreateTopicEnable={text}").broker.auto_create_topic_enable is value


# text, then notices without the name of the file
NOTICED = [
    (
        "autoCreatTopicEnable=false",
        ["1: unknown key autoCreatTopicEnable; the nearest known key is autoCreateTopicEnable"],
    ),
    ("FLUSHDISKTYPE=SYNC_FLUSH", ["1: unknown key FLUSHDISKTYPE; the nearest known key is flushDiskType"]),
    ("zzz=1", ["1: unknown key zzz"]),
    ("popCkStayBufferTime=5", ["1: popCkStayBufferTime is known but has no effect yet"]),
    ("popCkStayBufferTime=10000", []),
    ("timerWarmEnable=true", ["1: timerWarmEnable has no effect; the official servers do not read it"]),
    ("timerWarmEnable=false", []),
    ("isScanAvailableNameSrv=true", []),
    ("maxDelayTime=40", ["1: maxDelayTime has no effect; brokers of version 4 read it, version 5 no longer does"]),
    (
        "mapedFileSizeCommitLog=4096",
        ["1: mapedFileSizeCommitLog is an old spelling and read as mappedFileSizeCommitLog"],
    ),
    ("diskMaxUsedSpaceRatio=99", ["1: diskMaxUsedSpaceRatio 99 is not allowed, 95 is used"]),
    ("brokerName=a\nbrokerName=b", ["1: brokerName is set again at FILE:2, which counts"]),
    (
        "mapedFileSizeCommitLog=1\nmappedFileSizeCommitLog=2",
        ["1: mapedFileSizeCommitLog is set again at FILE:2, which counts"],
    ),
    ("brokerId=3", ["1: brokerId 0 is used, as a master has no other"]),
    (
        "storePathRootDir=~/store",
        ["1: storePathRootDir is taken as it stands; neither ~ nor ${} is expanded"],
    ),
]


@pytest.mark.parametrize(("text", "notices"), NOTICED)
def test_notices(tmp_path: Path, text: str, notices: list[str]) -> None:
    file = f"{tmp_path}/broker.conf"
    expected = [f"{file}:{notice.replace('FILE', file)}" for notice in notices]
    assert broker(tmp_path, text).notices == expected


def test_unknown_keys_are_kept(tmp_path: Path) -> None:
    assert broker(tmp_path, "myOwnKey = some text").extra == {"myOwnKey": "some text"}


def test_the_last_of_two_entries_counts_and_only_it_is_read(tmp_path: Path) -> None:
    assert broker(tmp_path, "listenPort=x\nlistenPort=5").server.listen_port == 5


@pytest.mark.parametrize(
    ("key", "given", "used"),
    [
        ("diskMaxUsedSpaceRatio", 5, 10),
        ("diskMaxUsedSpaceRatio", 96, 95),
        ("diskSpaceWarningLevelRatio", 95, 90),
        ("diskSpaceWarningLevelRatio", 10, 35),
        ("diskSpaceCleanForciblyRatio", 90, 85),
        ("diskSpaceCleanForciblyRatio", 10, 30),
        ("registerNameServerPeriod", 1000, 10_000),
        ("registerNameServerPeriod", 100_000, 60_000),
        ("mappedFileSizeConsumeQueue", 101, 120),
        ("mappedFileSizeConsumeQueue", 120, 120),
        ("timerPrecisionMs", 3, 100),
        ("timerPrecisionMs", 501, 500),
        ("timerPrecisionMs", 5000, 1000),
    ],
)
def test_values_that_java_adjusts(tmp_path: Path, key: str, given: int, used: int) -> None:
    options = broker(tmp_path, f"{key}={given}")
    group = next(group for group in options.groups if any(fact.key == key for fact in group.OPTIONS.values()))
    name = next(name for name, fact in group.OPTIONS.items() if fact.key == key)
    assert getattr(group, name) == used
    assert any("is not allowed" in notice for notice in options.notices) == (given != used)


@pytest.mark.parametrize(
    ("text", "listen", "ha"),
    [
        ("listenPort=30911", 30911, 30912),
        ("listenPort=0", 0, 0),
        ("listenPort=1", 1, 2),
        ("listenPort=30911\nhaListenPort=40000", 30911, 40000),
        ("listenPort=30911\nhaListenPort=0", 30911, 30912),
    ],
)
def test_ports(tmp_path: Path, text: str, listen: int, ha: int) -> None:
    options = broker(tmp_path, text)
    assert (options.server.listen_port, options.store.ha_listen_port) == (listen, ha)


@pytest.mark.parametrize(
    ("text", "broker_id"),
    [
        ("brokerRole=SLAVE\nbrokerId=2", 2),
        ("brokerRole=SYNC_MASTER\nbrokerId=0", 0),
        ("brokerRole=SYNC_MASTER\nbrokerId=4", 0),
        ("enableDLegerCommitLog=true", -1),
        ("enableControllerMode=true\ncontrollerAddr=c:9878\nbrokerId=7", -1),
    ],
)
def test_the_role_decides_about_the_number(tmp_path: Path, text: str, broker_id: int) -> None:
    assert broker(tmp_path, text).broker.broker_id == broker_id


def test_a_controller_decides_the_role(tmp_path: Path) -> None:
    text = "enableControllerMode=true\ncontrollerAddr=c:9878\nbrokerRole=SYNC_MASTER\nenableSlaveActingMaster=true"
    options = broker(tmp_path, text)
    assert options.store.broker_role is BrokerRole.SLAVE
    assert not options.broker.enable_slave_acting_master
    assert ":4: not acted upon" in options.notices[-1]


def test_paths_follow_the_root_unless_set(tmp_path: Path) -> None:
    options = broker(tmp_path, "storePathRootDir=/data")
    assert options.store.store_path_commit_log == "/data/commitlog"
    assert options.auth.auth_config_path == "/data/config"
    options = broker(tmp_path, "storePathRootDir=/data\nstorePathCommitLog=/fast/log")
    assert options.store.store_path_commit_log == "/fast/log"


def test_a_key_of_two_objects_sets_both(tmp_path: Path) -> None:
    options = broker(tmp_path, "writeBufferHighWaterMark=7\nlistenPort=5")
    assert (options.server.write_buffer_high_water_mark, options.client.write_buffer_high_water_mark) == (7, 7)
    assert (options.server.listen_port, options.broker.listen_port) == (5, 5)


def test_text_is_trimmed_and_empty_is_null(tmp_path: Path) -> None:
    options = broker(tmp_path, "brokerName =  broker-é \nnamesrvAddr=\nhaMasterAddress = \n")
    assert options.broker.broker_name == "broker-é"
    assert options.broker.namesrv_addr is None
    assert options.store.ha_master_address is None


def test_name_server_files_are_rewritten_where_they_were_read(tmp_path: Path) -> None:
    file = tmp_path / "namesrv.conf"
    file.write_text("configStorePath=/elsewhere\nlistenPort=1234\nbrokerName=x\n")
    options = load_namesrv_options(file, environ=ENVIRON)
    assert options.namesrv.config_store_path == str(file)
    assert options.server.listen_port == 1234
    assert [notice.partition(": ")[2] for notice in options.notices] == ["unknown key brokerName"]


def test_importing_stays_cheap() -> None:
    """Start-up time is promised; what only errors, tools or documentation need is imported when they need it."""
    code = (
        "import sys; before = set(sys.modules); import rmqd.conf; rmqd.conf.load_broker_options(); "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    dear = {"difflib", "importlib.resources", "dataclasses", "inspect", "construct", "twisted", "msgspec", "click"}
    assert not dear & set(loaded)
    assert not [name for name in loaded if name.startswith(("rmqwire", "rmqd.store", "rmqd.protocol"))]
