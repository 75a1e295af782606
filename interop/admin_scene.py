"""A cluster in a known state, the official mqadmin of one version run on it line by line, and what it is to print.

`expected/mqadmin-VERSION.txt` holds what the lines of `admin_table` print on official servers of 5.5.0, without what
changes from run to run. `python -m interop.admin_scene` writes it.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from pathlib import Path

from interop import raw
from interop.admin_table import ROWS, VERSIONS, Row
from interop.api import Api, Drivers
from interop.case import CaseFailure
from interop.cluster import Kind, Servers
from interop.driver import until
from interop.requests import SUCCESS, UPDATE_CONSUMER_OFFSET

SERVER_VERSION = "5.5.0"
EXPECTED = Path(__file__).parent / "expected"
REPEAT_S = 12.0
SETTLE_S = 1.0
ATTEMPTS = 3
MISSED = "RemotingTimeoutException: wait response on the channel"
MESSAGES = 3
"""In each of the two queues of topic Orders."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d[ #]\d\d:\d\d:\d\d(?:[,:.]\d{3})?")
_IDS = re.compile(r"\b[0-9A-F]{32,}\b")
_MILLISECONDS = re.compile(r"\b1[6-9]\d{11}\b")
_ADDRESS = re.compile(r"/?\b(?!10\.0\.0\.)\d{1,3}(?:\.\d{1,3}){3}(?::\d+|@[\w#-]+)?")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_PROPERTIES = re.compile(r"\{([A-Z_]+=[^{}]*)\}")
_TEMPORARY = re.compile(r"mapping data is written to file (\S+)")
_NOISE = re.compile(r"^(?:\tat |\t\.\.\. |RocketMQLog:WARN|SLF4J|WARNING: |\d\d:\d\d:\d\d[.,]\d{3} |\s*$)")


def _sorted(match: re.Match[str]) -> str:
    """Properties of a message in one order: Java's is that of a hash map, and depends on which came first."""
    return "{" + ", ".join(sorted(match[1].split(", "))) + "}"


class Scene:
    """One cluster and what is known of it."""

    def __init__(self, drivers: Drivers, servers: Servers, version: str) -> None:
        self.version = version
        self._api = Api(drivers)
        self._driver = drivers.get(version)
        self._cluster = servers.cluster()
        folder = servers.folder / f"tool-{version}"
        folder.mkdir()
        (folder / "topics.json").write_text(
            json.dumps([{"topicName": "Listed", "readQueueNums": 1, "writeQueueNums": 1}])
        )
        (folder / "groups.json").write_text(json.dumps([{"groupName": "CG_Listed"}]))
        self.words = {
            "ns": self._cluster.namesrv,
            "broker": self._cluster.broker.address,
            "folder": str(folder),
            "topics_file": str(folder / "topics.json"),
            "groups_file": str(folder / "groups.json"),
            "absent_id": f"7F000001{self._cluster.broker.port:08X}00000000000FFFFF",
        }
        self._places = {str(self._cluster.broker.folder): "FOLDER", str(self._cluster.name_server.folder): "FOLDER",
                        str(folder): "TOOL"}  # fmt: skip
        self._populate()

    def _populate(self) -> None:
        ns = self._cluster.namesrv
        for topic, queues in (("Orders", 2), ("Spare", 2)):
            self._api.create_topic(ns, topic, queues, version=self.version)
        fast = {"setHeartbeatBrokerInterval": 500}
        producer = self._api.producer(ns, self.version, group="PG_Orders", set=fast)
        messages = [{"body": f"m-{n}", "keys": f"key-{n}", "tag": "TagA" if n % 2 else "TagB"} for n in range(MESSAGES)]
        sent = [result for queue_id in (0, 1) for result in producer.send("Orders", messages, queue_id=queue_id)]
        self.words |= {"msg_id": sent[1]["msg_id"], "offset_id": sent[1]["offset_msg_id"]}
        consumer = self._api.consumer(ns, "Orders", self.version, group="CG_Orders", set=fast)
        consumer.wait(2 * MESSAGES)
        self.words["client"] = str(consumer.started["client_id"])
        consumer.acknowledged("Orders", 2 * MESSAGES)
        self._wait("topicList", "%RETRY%CG_Orders")
        self._wait(f"consumerStatus -g CG_Orders -i {self.words['client']}", r"%RETRY%CG_Orders\s+broker-a\s+0")
        for topic, queue_id, offset in (("Orders", 0, MESSAGES), ("Orders", 1, MESSAGES), ("%RETRY%CG_Orders", 0, 0)):
            self._commit(topic, queue_id, offset)
        self.words["now"] = str(int(time.time() * 1000) + 1000)
        self._wait("producerConnection -g PG_Orders -t Orders", "JAVA")
        self._wait("queryMsgByKey -t Orders -k key-1", r"[0-9A-F]{32}", 2)

    def _commit(self, topic: str, queue_id: int, offset: int) -> None:
        """Say what the consumer says ten seconds after its start."""
        fields = {"consumerGroup": "CG_Orders", "topic": topic, "queueId": str(queue_id), "commitOffset": str(offset)}
        header, _ = raw.request(self.words["broker"], UPDATE_CONSUMER_OFFSET, fields)
        assert header["code"] == SUCCESS, header

    def _wait(self, line: str, pattern: str, times: int = 1) -> None:
        printed = ""

        def told() -> bool:
            nonlocal printed
            printed = self.printed(Row(line))
            return len(re.findall(pattern, printed)) >= times

        if not until(told, 40, 0.2):
            raise CaseFailure(f"`{line}` prints /{pattern}/", printed)

    def printed(self, row: Row) -> str:
        """Run a line and give what it prints on both streams.

        Two threads of the client of 4.2.0 may connect to a name server at once; one then closes the other's connection,
        and its answer never comes, from official servers as from ours. Then the line runs again.
        """
        for _ in range(ATTEMPTS - 1):
            printed = self._printed(row)
            if self.version != "4.2.0" or MISSED not in printed:
                return printed
        return self._printed(row)

    def _printed(self, row: Row) -> str:
        words = [word.format(**self.words) for word in row.line.split()]
        if row.command == "call":
            answer = self._driver.call("admin_call", args=words[1:], namesrv=self._cluster.namesrv)
            return re.sub(r",|(?<=[{\[])", "\n", re.sub(r"[\]}]", "", str(answer["out"])))
        if "-n" not in words and "-ns" not in words:
            words += ["-n", self._cluster.namesrv]
        answer = self._driver.call("mqadmin", args=words, limit_ms=row.limit_ms)
        text = str(answer["out"]) + str(answer["err"])
        for name in _TEMPORARY.findall(text):
            Path(name).unlink()
        return text + "\n" + (Path(self.words["folder"]) / row.file).read_text() if row.file else text

    def compared(self, row: Row) -> list[str]:
        """Run a line and give what is compared."""
        text = self.printed(row)
        for place, word in self._places.items():
            text = text.replace(place, word)
        text = text.replace(self._cluster.broker.address, "BROKER").replace(self._cluster.namesrv, "NAMESRV")
        for port, word in ((self._cluster.broker.port, "PORT"), (self._cluster.name_server.port, "NAMESRV_PORT")):
            text = re.sub(rf"\b{port}\b", word, text)
        text = _IDS.sub("ID", _TIME.sub("TIME", text))
        text = _PROPERTIES.sub(_sorted, _ADDRESS.sub("ADDRESS", _MILLISECONDS.sub("MS", text)))
        if row.mask:
            text = re.sub(row.mask, "*", text)
        lines = [line for line in text.splitlines() if not _NOISE.match(line)]
        if not row.numbers:
            lines = [_NUMBER.sub("N", line) for line in lines]
        lines = [re.sub(r"[ \t-]{2,}|\t", " ", line).strip() for line in lines]
        if row.leave:
            lines = [line for line in lines if not re.search(row.leave, line)]
        if row.keep:
            lines = [line for line in lines if re.search(row.keep, line)]
        return sorted(lines) if row.any_order else lines

    def transcript(self, expected: dict[str, list[str]] | None = None) -> dict[str, list[str]]:
        """Run all lines of the version and give what each printed; what only looks is repeated until it is as expected."""
        told: dict[str, list[str]] = {}
        for row in (row for row in ROWS if row.of(self.version)):
            if expected is None and row.command == "statsAll":
                self._wait("statsAll -t Orders", rf"{2 * MESSAGES}\s+{2 * MESSAGES}\b")
            told[row.line] = self.compared(row)
            if not row.reads:
                if expected is None:
                    time.sleep(SETTLE_S)  # nothing says when what was changed is told
                continue
            refused = row.refused and any(_refusal(row) in line for line in told[row.line])
            if expected is not None and told[row.line] != expected.get(row.line) and not refused:

                def again(row: Row = row) -> bool:
                    told[row.line] = self.compared(row)
                    return told[row.line] == expected.get(row.line)

                until(again, REPEAT_S, 0.1)
        return told

    def close(self) -> None:
        """Stop the clients."""
        self._api.close()


def _refusal(row: Row) -> str:
    return f"request type {row.refused} not supported"


def as_expected(version: str, row: Row, told: list[str]) -> list[str]:
    """What a line is to print; of a request that our broker does not serve yet, its refusal will do."""
    if row.refused and any(_refusal(row) in line for line in told):
        return told
    return expected(version)[row.line]


def _path(version: str) -> Path:
    return EXPECTED / f"mqadmin-{version}.txt"


def expected(version: str) -> dict[str, list[str]]:
    """What the lines of a version print on official servers."""
    table: dict[str, list[str]] = {}
    for part in _path(version).read_text().split("\n$ ")[1:]:
        line, *printed = part.rstrip("\n").split("\n")
        table[line.removesuffix("|")] = [text[2:] for text in printed]
    return table


def write(version: str, told: dict[str, list[str]], path: Path | None = None) -> None:
    """Write what the lines printed."""
    text = f"# mqadmin {version} on official servers of {SERVER_VERSION}; written by python -m interop.admin_scene\n"
    for line, printed in told.items():
        text += f"\n$ {line}|\n" + "".join(f"  {one}\n" for one in printed)
    (path or _path(version)).write_text(text)


def run(kind: Kind, version: str, folder: Path, drivers: Drivers, *, compare: bool) -> dict[str, list[str]]:
    """Make the scene, run the lines and end it."""
    servers = Servers(folder, kind, SERVER_VERSION)
    try:
        scene = Scene(drivers, servers, version)
        try:
            return scene.transcript(expected(version) if compare else None)
        finally:
            scene.close()
    finally:
        servers.close()


def _main() -> None:
    EXPECTED.mkdir(exist_ok=True)
    for version in sys.argv[1:] or VERSIONS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            drivers = Drivers(folder / "clients", False)
            try:
                (folder / "servers").mkdir()
                write(version, run("official", version, folder / "servers", drivers, compare=False))
            finally:
                drivers.close()


if __name__ == "__main__":
    _main()
