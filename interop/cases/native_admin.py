"""The native mqadmin against the official one: the same arguments, the same server, the same text."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop import raw
from interop.api import Api, Drivers
from interop.case import case, expect, expect_that
from interop.cluster import Cluster, Servers, wait_route
from interop.driver import until
from interop.native import Native, Told
from interop.requests import SEND_MESSAGE, send_fields

VERSION = "5.5.0"
SOURCE = "org.apache.rocketmq.tools.command, 5.5.0"


@dataclass(frozen=True)
class Row:
    """One command line that both tools run.

    Args:
        line: its words; `{name}` is replaced from the scene, `{own}` by a name of each tool's own.
        any_order: lines come out of a hash map in Java.
        loose: numbers and the width of blanks are not compared.
        mask: a pattern that is not compared.
    """

    line: str
    any_order: bool = False
    loose: bool = False
    mask: str = ""


ROWS = [
    Row("topicList -n {ns}", any_order=True),
    Row("topicList -n {ns} -c", any_order=True),
    Row("topicRoute -n {ns} -t {topic}"),
    Row("topicRoute -n {ns} -t {topic} -l"),
    Row("topicStatus -n {ns} -t {topic}"),
    Row("topicClusterList -n {ns} -t {topic}"),
    Row("allocateMQ -n {ns} -t {topic} -i 10.0.0.1,10.0.0.2"),
    Row("clusterList -n {ns}", loose=True),
    Row("clusterList -n {ns} -m", loose=True),
    Row("brokerStatus -n {ns} -b {broker}", any_order=True, mask=r": .*"),
    Row("brokerStatus -n {ns} -c DefaultCluster", any_order=True, mask=r": .*"),
    Row("haStatus -n {ns} -b {broker}", loose=True),
    Row("statsAll -n {ns} -t {topic}", loose=True),
    Row("getBrokerConfig -n {ns} -b {broker}", any_order=True),
    Row("getBrokerConfig -n {ns} -c DefaultCluster", any_order=True),
    Row("getNamesrvConfig -n {ns}", any_order=True),
    Row("getConsumerConfig -n {ns} -g {group}"),
    Row("consumerProgress -n {ns} -g {group}", mask=r"Consume TPS.*"),
    Row("consumerProgress -n {ns} -g {group} -s true", mask=r"Consume TPS.*"),
    Row("consumerProgress -n {ns} -g {group} -t {topic}", mask=r"Consume TPS.*"),
    Row("consumerProgress -n {ns}", any_order=True, loose=True),
    Row("brokerConsumeStats -n {ns} -b {broker}", any_order=True),
    Row("consumerConnection -n {ns} -g {group}", any_order=True),
    Row("consumerStatus -n {ns} -g {group} -i {client}", any_order=True, loose=True),
    Row("producerConnection -n {ns} -g {producer} -t {topic}"),
    Row("producer -n {ns} -b {broker}", any_order=True, loose=True, mask=r"producer group \((CLIENT_INNER|admin).*"),
    Row("queryMsgById -n {ns} -t {topic} -i {offset_id}"),
    Row("queryMsgById -n {ns} -t {topic} -i {offset_id} -f UTF-8"),
    Row("queryMsgById -n {ns} -t {topic} -i {msg_id}"),
    Row("queryMsgByKey -n {ns} -t {topic} -k key-1"),
    Row("queryMsgByKey -n {ns} -t {topic} -k TagA -p T", any_order=True),
    Row("queryMsgByUniqueKey -n {ns} -t {topic} -i {msg_id}"),
    Row("queryMsgByOffset -n {ns} -t {topic} -b broker-a -i 0 -o 1"),
    Row("queryCq -n {ns} -t {topic} -q 0 -i 0 -c 2"),
    Row("queryCq -n {ns} -t {topic} -q 0 -i 0 -c 2 -g {group} -b {broker}", loose=True),
    Row("printMsg -n {ns} -t {topic}", any_order=True),
    Row("printMsg -n {ns} -t {topic} -s TagA -d false", any_order=True),
    Row("printMsgByQueue -n {ns} -t {topic} -a broker-a -i 0 -p true -d true -f true"),
    Row("consumeMessage -n {ns} -t {topic} -b broker-a -i 0 -o 1 -c 1"),
    Row("updateTopic -n {ns} -b {broker} -t {own} -r 2 -w 2 -a +message.type=FIFO"),
    Row("updateTopic -n {ns} -c DefaultCluster -t {own} -o true"),
    Row("updateTopicPerm -n {ns} -b {broker} -t {perm_topic} -p 6"),
    Row("updateTopicPerm -n {ns} -c DefaultCluster -t {perm_topic} -p 6"),
    Row("updateTopicList -n {ns} -b {broker} -f {topics_file}"),
    Row("updateOrderConf -n {ns} -t {own} -m put -v broker-a:4"),
    Row("updateOrderConf -n {ns} -t {own} -m get"),
    Row("updateOrderConf -n {ns} -t {own} -m delete"),
    Row("deleteTopic -n {ns} -c DefaultCluster -t {own}"),
    Row("updateKvConfig -n {ns} -s space -k {own} -v 1"),
    Row("deleteKvConfig -n {ns} -s space -k {own}"),
    Row("wipeWritePerm -n {ns} -b broker-a", loose=True),
    Row("addWritePerm -n {ns} -b broker-a", loose=True),
    Row("updateSubGroup -n {ns} -b {broker} -g {own} -r 3 -q 2"),
    Row("updateSubGroup -n {ns} -c DefaultCluster -g {own} -d true"),
    Row("updateSubGroupList -n {ns} -b {broker} -f {groups_file}"),
    Row("setConsumeMode -n {ns} -b {broker} -t {topic} -g {own} -m PULL"),
    Row("cloneGroupOffset -n {ns} -s {group} -d {own} -t {topic}"),
    Row("resetOffsetByTime -n {ns} -g {own} -t {topic} -s 0", any_order=True),
    Row("resetOffsetByTime -n {ns} -g {own} -t {topic} -s 1000 -b {broker} -q 0 -o 1"),
    Row("skipAccumulatedMessage -n {ns} -g {own} -t {topic}", any_order=True),
    Row("deleteSubGroup -n {ns} -b {broker} -g {own} -r true"),
    Row("updateBrokerConfig -n {ns} -b {broker} -k fileReservedTime -v 71"),
    Row("updateBrokerConfig -n {ns} -c DefaultCluster -k fileReservedTime -v 72"),
    Row("updateNamesrvConfig -n {ns} -k clusterTest -v false"),
    Row("cleanExpiredCQ -n {ns} -b {broker}"),
    Row("cleanExpiredCQ -n {ns}"),
    Row("cleanUnusedTopic -n {ns} -c DefaultCluster"),
    Row("deleteExpiredCommitLog -n {ns} -b {broker}"),
    Row("sendMessage -n {ns} -t {sent_topic} -p hello -k k -c TagA -b broker-a -i 0", mask=r"[0-9A-F]{32,}"),
    Row("sendMsgStatus -n {ns} -b broker-a -c 2", loose=True, mask=r"[0-9A-F]{32,}"),
    Row("checkMsgSendRT -n {ns} -t {sent_topic} -a 3", loose=True),
]
STATIC_ROWS = [
    Row("updateStaticTopic -n {ns} -t static-{own} -qn 2 -b broker-a", mask=r"[0-9]{13}"),
    Row("updateStaticTopic -n {ns} -t static-{own} -qn 3 -c DefaultCluster", mask=r"[0-9]{13}"),
    Row("remappingStaticTopic -n {ns} -t static-{own} -b broker-a", mask=r"[0-9]{13}"),
    Row("topicStatus -n {ns} -t static-{own}"),
    Row("topicRoute -n {ns} -t static-{own}", mask=r"[0-9]{13}"),
]


@dataclass
class Scene:
    """A server with a topic, a group that has consumed it, a producer, and both tools."""

    api: Api
    native: Native
    words: dict[str, str]

    def both(self, row: Row) -> tuple[str, Told]:
        """Run a row by both tools."""
        official = self.api.mqadmin(self.words["ns"], *self._arguments(row, "tool-o"), version=VERSION)
        native = self.native.run(*self._arguments(row, "tool-n"))
        for name in re.findall(r"mapping data is written to file (\S+)", official + native.out):
            Path(name).unlink()
        return official, native

    def _arguments(self, row: Row, own: str) -> list[str]:
        words = [word.format(**self.words, own=own) for word in row.line.split()]
        at = words.index("-n")
        return words[:at] + words[at + 2 :] if own == "tool-o" else words


@pytest.fixture(scope="module")
def scene(drivers: Drivers, shared_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The state that all rows share."""
    api = Api(drivers)
    cluster = shared_cluster
    topic, group, folder = api.fresh("seen"), api.fresh("CG"), tmp_path_factory.mktemp("files")
    other, perm_topic = api.fresh("sent"), api.fresh("perm")
    for name in (topic, other, perm_topic):
        api.create_topic(cluster.namesrv, name, 2)
    for own in ("tool-o", "tool-n"):
        api.create_topic(cluster.namesrv, own, 2)
    producer_group = api.fresh("PG")
    producer = api.producer(cluster.namesrv, VERSION, group=producer_group)
    messages = [{"body": f"m-{n}", "keys": f"key-{n}", "tag": "TagA" if n % 2 else "TagB"} for n in range(3)]
    sent = [result for queue_id in (0, 1) for result in producer.send(topic, messages, queue_id=queue_id)]
    consumer = api.consumer(cluster.namesrv, topic, VERSION, group=group)
    consumer.wait_bodies([f"m-{n}" for n in range(3)])
    topics, groups = folder / "topics.json", folder / "groups.json"
    topics.write_text(json.dumps([{"topicName": "listed", "readQueueNums": 1, "writeQueueNums": 1}]))
    groups.write_text(json.dumps([{"groupName": "listed"}]))
    with Native() as native:
        words = {
            "ns": cluster.namesrv,
            "broker": cluster.broker.address,
            "topic": topic,
            "sent_topic": other,
            "perm_topic": perm_topic,
            "group": group,
            "producer": producer_group,
            "msg_id": sent[1]["msg_id"],
            "offset_id": sent[1]["offset_msg_id"],
            "topics_file": str(topics),
            "groups_file": str(groups),
            "client": "",
        }
        scene = Scene(api, native, words)

        def settled() -> bool:
            told = native.run("consumerProgress", "-n", words["ns"], "-g", group, "--json")
            if told.code:
                return False
            progress = json.loads(told.out)  # the retry topic's offset is stored later than the others
            return progress["diffTotal"] == 0 and "%RETRY%" in told.out

        expect_that(
            until(settled, 30),
            f"{group} has consumed all and said so",
            native.run("consumerProgress", "-n", words["ns"], "-g", group),
        )
        rows = json.loads(native.run("consumerConnection", "-n", words["ns"], "-g", group, "--json").out)["rows"]
        words["client"] = rows[0]["clientId"]
        yield scene
    api.close()


def _compared(text: str, row: Row) -> list[str]:
    text = text.replace("tool-o", "TOOL").replace("tool-n", "TOOL")
    if row.mask:
        text = re.sub(row.mask, "*", text)
    if row.loose:
        text = re.sub(r"-?\d+(\.\d+)?", "N", text)
        text = re.sub(r"[ -]{2,}", " ", text)
    lines = [line.rstrip() for line in text.splitlines()]
    return sorted(set(lines)) if row.any_order else lines


@case("native_admin/1", "both tools print the same for the same arguments", source=SOURCE)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.line.replace(" -n {ns}", ""))
def test_same_text(row: Row, scene: Scene) -> None:
    official, native = scene.both(row)
    expect((native.code, native.err), (0, ""), "exit code and errors of the native tool")
    expect_that(re.search(r"Exception:|\n\tat ", official) is None, "the official tool succeeds", official)
    expect(_compared(native.out, row), _compared(official, row))


@case("native_admin/2", "exported files hold the same", source=SOURCE)
@pytest.mark.parametrize("command", ["exportMetadata", "exportConfigs", "exportMetrics"])
def test_exports(command: str, scene: Scene, tmp_path: Path) -> None:
    trees = []
    for tool in ("official", "native"):
        arguments = (command, "-c", "DefaultCluster", "-f", str(tmp_path / tool))
        if tool == "native":
            told = scene.native.run(*arguments, "-n", scene.words["ns"])
            expect((told.code, told.err), (0, ""))
        else:
            told_by_official = scene.api.mqadmin(scene.words["ns"], *arguments, version=VERSION)
            expect_that(list((tmp_path / tool).glob("*.json")), "a file of the official tool", told_by_official)
        text = next((tmp_path / tool).glob("*.json")).read_text()
        trees.append(json.loads(re.sub(r'"exportTime":\s*\d+', '"exportTime":0', text)))
    if command == "exportMetrics":
        trees = [_shape(tree) for tree in trees]
    expect(trees[1], trees[0])


@case(
    "native_admin/12",
    "both tools do the same with static topics; after the others, as no export works where there are any: the official tool cannot read them",
    source=SOURCE,
)
@pytest.mark.parametrize("row", STATIC_ROWS, ids=lambda row: row.line.replace(" -n {ns}", ""))
def test_static_topics(row: Row, scene: Scene) -> None:
    test_same_text(row, scene)


def _shape(tree: object) -> object:
    if isinstance(tree, dict):
        return {key: _shape(value) for key, value in tree.items()}
    return type(tree).__name__


WRONG = [
    ("topicRoute -t absent -n {ns}", "no topic 'absent'"),
    ("topicStatus -t absent -n {ns}", "no topic 'absent'"),
    ("consumerProgress -g absent -n {ns}", "no consumer group 'absent'"),
    ("brokerStatus -c absent -n {ns}", "no cluster 'absent'"),
    ("brokerStatus -b 127.0.0.1:1", "cannot connect to 127.0.0.1:1"),
    ("brokerStatus -b nowhere", "'nowhere' is no address"),
    ("topicList -n 127.0.0.1:1", "cannot connect to 127.0.0.1:1"),
    ("topicList", "no name server address"),
    ("resetOffsetByTime -g {group} -t {topic} -s yesterday -n {ns}", "'yesterday' is no time"),
    ("queryMsgById -t {topic} -i 00 -n {ns}", "no message 00"),
    ("queryMsgByOffset -t {topic} -b broker-a -i 0 -o 99 -n {ns}", "no message at offset 99"),
    ("queryMsgByOffset -t {topic} -b absent -i 0 -o 0 -n {ns}", "no broker 'absent'"),
    ("updateTopic -t {topic} -n {ns}", "one of --brokerAddr, --clusterName is missing"),
    ("updateTopic -t a/b -b {broker} -n {ns}", "INVALID_PARAMETER"),
    ("wipeWritePerm -b absent -n {ns}", "no broker 'absent'"),
    ("updateStaticTopic -t T -qn 2 -n {ns}", "one of --brokers, --clusters is missing"),
    ("updateStaticTopic -t T -qn 2 -b absent -n {ns}", "no broker 'absent'"),
    ("updateStaticTopic -t {topic} -qn 2 -b broker-a -n {ns}", "Mapping info should not be null in broker broker-a"),
    ("remappingStaticTopic -t absent -b broker-a -n {ns}", "No topic route to do the remapping"),
    ("absent", "does not exist"),
]


@case("native_admin/3", "what is wrong is told in one line, with an exit code that is not 0", source="issue 6")
@pytest.mark.parametrize(("line", "cause"), WRONG)
def test_wrong(line: str, cause: str, scene: Scene) -> None:
    told = scene.native.run(*(word.format(**scene.words) for word in line.split()))
    expect_that(told.code != 0, "an exit code other than 0", told)
    expect_that(cause in told.err and told.err.count("\n") == 1, f"one line with `{cause}`", told)


@case("native_admin/4", "every list comes as JSON too", source="issue 6")
def test_json(scene: Scene) -> None:
    topics = json.loads(scene.native.run("topicList", "-n", scene.words["ns"], "--json").out)
    expect_that(scene.words["topic"] in topics, "the topic in the list", topics)
    status = json.loads(
        scene.native.run("topicStatus", "-n", scene.words["ns"], "-t", scene.words["topic"], "--json").out
    )
    expect([(row["queueId"], row["minOffset"], row["maxOffset"]) for row in status["rows"]], [(0, 0, 3), (1, 0, 3)])


@case("native_admin/5", "messages sent by the native tool can be consumed, and their time is shown", source=SOURCE)
def test_sent(scene: Scene) -> None:
    body = f"native-{time.monotonic_ns()}"
    ns, topic = scene.words["ns"], scene.words["sent_topic"]
    told = scene.native.run("sendMessage", "-n", ns, "-t", topic, "-p", body, "--json")
    sent = json.loads(told.out)
    printed = scene.api.mqadmin(
        ns, "queryMsgById", "-t", topic, "-i", sent["offsetMsgId"], "-f", "UTF-8", version=VERSION
    )
    expect_that(body in printed and sent["msgId"] in printed, f"body {body} and id {sent['msgId']}", printed)
    told = scene.native.run("clusterRT", "-n", ns, "-a", "2", "--json")
    expect([row["successCount"] for row in json.loads(told.out)], [2], "messages that clusterRT sent")


OWN_FLAGS = {"startMonitoring": ("interval", "rounds")}
"""Flags that the official tool lacks."""


@case("native_admin/6", "every command has the official flags", source=SOURCE)
def test_flags(scene: Scene) -> None:
    from importlib import import_module

    from rmqd.protocol.admin.catalogue import BUILT
    from rmqd.protocol.admin.command import COMMANDS

    driver = scene.api.drivers.get(VERSION)
    for name, (module, _) in BUILT.items():
        import_module(f"rmqd.protocol.admin.{module}")
        text = str(driver.call("mqadmin", args=["help", name])["out"])
        found = re.findall(r"^ *(?:-(\w+),)?--?([\w ]+?)(?: <arg>| {2}|$)", text, re.MULTILINE)
        official = {re.sub(r" (\w)", lambda m: m[1].upper(), long.strip()): short for short, long in found}
        native = {one.long: one.short for one in COMMANDS[name].flags if one.long not in OWN_FLAGS.get(name, ())}
        common = {"help": "h", "namesrvAddr": "n"}
        expect(native | common, official | common, f"flags of {name}")


@pytest.fixture(scope="module")
def guarded(shared_servers: Servers, shared_cluster: Cluster) -> Iterator[str]:
    """The address of an official broker that keeps users and policies, which ours does not yet."""
    local = "org.apache.rocketmq.auth.{0}.provider.Local{1}MetadataProvider"
    broker = shared_servers.broker(
        shared_cluster.namesrv,
        {
            "brokerName": "broker-guarded",
            "brokerClusterName": "Guarded",
            "authenticationMetadataProvider": local.format("authentication", "Authentication"),
            "authorizationMetadataProvider": local.format("authorization", "Authorization"),
        },
        kind="official",
        version=VERSION,
    )
    yield broker.address
    broker.stop()


@case("native_admin/8", "both tools print the same of files, and have brokers do the same with RocksDB", source=SOURCE)
def test_files_and_rocks(scene: Scene, guarded: str, tmp_path: Path) -> None:
    import tarfile

    with tarfile.open(Path(__file__).parent.parent.parent / "tests/golden/store/5.5.0.tar.xz") as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    log = next((tmp_path / "store" / "commitlog").iterdir())
    for line in (
        f"dumpCompactionLog -f {log}",
        "checkRocksdbCqWriteProgress -c Guarded -n {ns}",
        f"rocksDBConfigToJson -b {guarded} -t topics",
    ):
        words = line.format(**scene.words).split()
        answer = scene.api.drivers.get(VERSION).call("mqadmin", args=words)
        native = scene.native.run(*words)
        expect((native.code, native.err), (0, ""), f"exit code and errors of {line}")
        expect(_compared(native.out, Row(line)), _compared(str(answer["out"]), Row(line)), line)


@case("native_admin/9", "a round of startMonitoring reports the same of each group", source="MonitorService 5.5.0")
def test_monitoring(scene: Scene) -> None:
    official = scene.api.drivers.get(VERSION).call("monitor", namesrv=scene.words["ns"])["lines"]
    told = scene.native.run("startMonitoring", "-n", scene.words["ns"], "-r", "1")
    expect((told.code, told.err), (0, ""), "exit code and errors of the native tool")
    native = [re.sub(r"^\[MONITOR\] =*", "", line) for line in told.out.splitlines() if "[NOTIFY]" not in line]
    expect((native[0], native[-1]), ("beginRound", "endRound"), "first and last line")

    def reports(lines: list[str]) -> list[str]:  # the tools' own groups have consumers with the official tool alone
        own = r"consumerGroup=(TOOLS_CONSUMER|__MONITOR_CONSUMER)"
        return sorted(line for line in lines if "Round" not in line and not re.search(own, line))

    expect_that(any(scene.words["group"] in line for line in native), "a report of the group", native)
    expect(reports(native), reports(official))


@case(
    "native_admin/10", "what a broker kept in RocksDB is read from its folder", source="ExportMetadataInRocksDBCommand"
)
@pytest.mark.long
def test_rocks_folder(scene: Scene, shared_servers: Servers, shared_cluster: Cluster, tmp_path: Path) -> None:
    properties = {"brokerName": "rocks", "brokerClusterName": "Rocks", "storeType": "defaultRocksDB"}
    broker = shared_servers.broker(shared_cluster.namesrv, properties, kind="official", version=VERSION)
    for name in ("first", "second"):
        scene.api.mqadmin(shared_cluster.namesrv, "updateTopic", "-b", broker.address, "-t", name, version=VERSION)
        scene.api.mqadmin(shared_cluster.namesrv, "updateSubGroup", "-b", broker.address, "-g", name, version=VERSION)
    scene.api.mqadmin(shared_cluster.namesrv, "deleteTopic", "-c", "Rocks", "-t", "second", version=VERSION)
    broker.stop()
    folder = broker.store / "config"

    def both(line: str) -> tuple[str, str]:
        official = str(scene.api.drivers.get(VERSION).call("mqadmin", args=line.split())["out"])
        native = scene.native.run(*line.split())
        expect((native.code, native.err), (0, ""), f"exit code and errors of {line}")
        return official, native.out

    for kind in ("topics", "subscriptionGroups"):
        official, native = both(f"exportMetadataInRocksDB -p {folder} -t {kind}")
        expect_that("Key: first, " in native and "Key: second, " not in native[: 0 if kind != "topics" else None],
                    "what was made, without what was deleted", native)  # fmt: skip
        expect(native.splitlines(), official.strip().splitlines(), kind)
        official, native = both(f"exportMetadataInRocksDB -p {folder} -t {kind} -j true")
        expect(json.loads(native), json.loads(official), f"{kind} as JSON")
    for kind in ("topics", "subscriptionGroups", "consumerOffsets"):
        trees = []
        for tool, told in zip(("official", "native"), both(f"rocksDBConfigToJson -p {folder} -t {kind}"), strict=True):
            expect_that("[local mode]" in told, f"the {tool} tool reads the folder", told)
            trees.append(json.loads(re.sub(r"([{,]\s*)(\d+):", r'\1"\2":', told.partition("file")[2])))
        expect(trees[1], trees[0], f"{kind} converted")


LITE = [
    "getBrokerLiteInfo -b {b}",
    "getBrokerLiteInfo -b {b} -d",
    "getBrokerLiteInfo -c Guarded",
    "getParentTopicInfo -p LiteParent",
    "getParentTopicInfo -p {topic}",
    "getLiteTopicInfo -p LiteParent -l one",
    "getLiteTopicInfo -p LiteParent -l one -s",
    "getLiteClientInfo -p LiteParent -g LiteGroup -c absent -s",
    "getLiteGroupInfo -p LiteParent -g LiteGroup",
    "getLiteGroupInfo -p LiteParent -g LiteGroup -l one",
    "getLiteGroupInfo -p LiteParent -g absent",
    "triggerLiteDispatch -p LiteParent -g LiteGroup",
    "triggerLiteDispatch -p LiteParent -g LiteGroup -b elsewhere",
]


@case(
    "native_admin/11",
    "both tools print the same of lite topics",
    source="org.apache.rocketmq.tools.command.lite, 5.5.0",
)
def test_lite(guarded: str, scene: Scene) -> None:
    ns = scene.words["ns"]
    made = scene.native.run("updateTopic", "-n", ns, "-b", guarded, "-t", "LiteParent", "-a", "+message.type=LITE")
    expect((made.code, made.err), (0, ""), "making the parent topic")
    attributes = "+lite.bind.topic=LiteParent"
    made = scene.native.run("updateSubGroup", "-n", ns, "-b", guarded, "-g", "LiteGroup", "--attributes", attributes)
    expect((made.code, made.err), (0, ""), "making the group")
    fields = {"__LITE_TOPIC": "one", "INNER_MULTI_DISPATCH": "%LMQ%$LiteParent$one"}
    header, _ = raw.request(guarded, SEND_MESSAGE, send_fields("LiteParent", 0, fields), b"lite")
    expect(header["code"], 0, "a message for a lite topic")
    wait_route(ns, "LiteParent")
    for line in LITE:
        words = line.format(**scene.words, b=guarded).split()
        official = scene.api.mqadmin(ns, *words, version=VERSION)
        native = scene.native.run(*words, "-n", ns)
        failed = re.search(r"\] error\.|error *$", official, re.MULTILINE) is not None
        expect((native.code, native.err.count("\n")), (int(failed), int(failed)), f"{line}: {native.err} {official}")
        row = Row(line, mask=r"Timestamp: \d+|\d{4}-\d\d-\d\d [\d:]+")
        expect(_compared(native.out, row), _compared(official, row), line)


GUARDED = [
    "listUser -b {b}",
    "createUser -b {b} -u {own} -p secret12 -t Normal",
    "getUser -b {b} -u {own}",
    "getUser -b {b} -u absent",
    "updateUser -b {b} -u {own} -p secret13",
    "updateUser -c Guarded -u {own} -s disable",
    "listUser -c Guarded -f {own}",
    "createAcl -b {b} -s User:{own} -r Topic:a,Group:b* -a Pub,Sub -d Allow",
    "getAcl -b {b} -s User:{own}",
    "updateAcl -b {b} -s User:{own} -r Topic:a -a Pub -d Deny -i 10.0.0.1,10.0.0.2",
    "listAcl -c Guarded -s {own}",
    "listAcl -b {b} -s absent",
    "copyUser -f {b} -t {b} -u {own}",
    "copyAcl -f {b} -t {b} -s User:{own}",
    "deleteAcl -b {b} -s User:{own} -r Topic:a",
    "getAcl -b {b} -s User:{own}",
    "deleteAcl -b {b} -s User:{own}",
    "deleteUser -c Guarded -u {own}",
]


@case("native_admin/7", "both tools print the same of users and policies", source=SOURCE)
def test_guarded(guarded: str, scene: Scene) -> None:
    for line in GUARDED:
        told = []
        for own in ("tool-o", "tool-n"):
            words = line.format(b=guarded, own=own).split()
            if own == "tool-o":
                told.append(scene.api.mqadmin(scene.words["ns"], *words, version=VERSION))
            else:
                native = scene.native.run(*words, "-n", scene.words["ns"])
                expect((native.code, native.err), (0, ""), f"exit code and errors of {line}")
                told.append(native.out)
        row = Row(line)
        expect(_compared(told[1], row), _compared(told[0], row), line)
