"""Masters and slaves: of one kind, and ours beside official ones. With --server=official: versions mixed."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from interop import raw
from interop.api import Api, Producer, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Servers, cluster_brokers
from interop.driver import DriverError, until
from interop.server import Broker, NameServer

PAIRS = ["tested-tested", "tested-4.7.0", "tested-5.5.0", "4.7.0-tested", "5.5.0-tested"]
"""Master and slave: the kind under test, or an official broker of a version."""

GET_BROKER_RUNTIME_INFO = 28
GET_BROKER_HA_STATUS = 907
LIVELY = {"haSendHeartbeatInterval": 500, "slaveReadEnable": "true"}


def start(servers: Servers, name_servers: str, which: str, **properties: object) -> Broker:
    """Start a broker of the kind under test or of an official version."""
    given = {**LIVELY, **properties}
    if which == "tested":
        return servers.broker(name_servers, given)
    return servers.broker(name_servers, given, kind="official", version=which)


def start_slave(servers: Servers, name_servers: str, which: str, **properties: object) -> Broker:
    """Start a slave and wait until the first name server lists it."""
    slave = start(servers, name_servers, which, **{"brokerRole": "SLAVE", "brokerId": 1, **properties})
    wait_slave(slave)
    return slave


def wait_slave(slave: Broker) -> None:
    """Wait until the first name server lists a slave."""
    first = slave.name_servers.split(";")[0]
    name, number = str(slave.properties["brokerName"]), str(slave.properties["brokerId"])
    listed = until(lambda: number in cluster_brokers(first).get(name, {}).get("brokerAddrs", {}), 60)
    expect(listed, True, f"slave {number} of {name} listed")


def log_end(broker: Broker) -> int:
    """Ask a broker where its commit log ends; -1 while it does not say."""
    try:
        header, body = raw.request(broker.address, GET_BROKER_RUNTIME_INFO)
        if header["code"] != 0:
            return -1
        return int(json.loads(body)["table"]["commitLogMaxOffset"])
    except (OSError, raw.Closed):
        return -1


def wait_caught_up(master: Broker, slave: Broker, timeout_s: float = 60) -> int:
    """Wait until the slave's log ends where the master's does, and return where."""
    end = log_end(master)
    if not until(lambda: log_end(slave) == end, timeout_s):
        expect(log_end(slave), end, "end of the slave's log")
    return end


def expect_same_logs(master: Broker, slave: Broker, end: int) -> None:
    """Compare the commit logs byte by byte, from where the slave's begins."""
    folder = slave.store / "commitlog"
    files = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name.isdigit())
    expect_that(bool(files), "files in the slave's commit log", files)
    compared = 0
    for name in files:
        ours, theirs = (folder / name).read_bytes(), (master.store / "commitlog" / name).read_bytes()
        size = min(len(ours), end - int(name))
        if size > 0:
            expect_that(ours[:size] == theirs[:size], f"equal bytes in commit log file {name}", f"{size} bytes differ")
            compared += size
    expect_that(compared > 0, "some bytes to compare", compared)


def send_some(producer: Producer, topic: str, word: str, count: int = 40) -> list[str]:
    """Send messages that are all acknowledged."""
    sent = bodies(count, word)
    results = producer.send(topic, [{"body": body, "keys": body} for body in sent])
    expect({result["status"] for result in results}, {"SEND_OK"}, f"sends of {word}")
    return sent


@case(
    "replication/1",
    "a slave follows its master from the beginning, over the end of a file, after it was killed and after the master was; the commit logs are equal byte for byte",
    source="DefaultHAService, DefaultHAConnection, DefaultHAClient; HAService 4.7.0",
)
@pytest.mark.parametrize("pair", PAIRS)
def test_byte_equal(pair: str, api: Api, servers: Servers) -> None:
    first, second = pair.split("-")
    name_server = servers.name_server()
    master = start(servers, name_server.address, first)
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 4)
    producer = api.producer(name_server.address)
    sent = send_some(producer, topic, "before")
    slave = start_slave(servers, name_server.address, second)
    wait_caught_up(master, slave)
    sent += send_some(producer, topic, "live")
    large = api.producer(name_server.address, compress_over=32 << 20)
    large.send(topic, [{"size": 3 << 20} for _ in range(7)])  # more than one file
    wait_caught_up(master, slave)
    slave.kill()
    sent += send_some(producer, topic, "while-away")
    slave.start()
    wait_caught_up(master, slave)
    master.kill()
    master.start()
    servers.wait_registered(master)
    until(lambda: can_send(producer, topic), 60)
    sent += send_some(producer, topic, "after")
    end = wait_caught_up(master, slave)
    master.stop()
    slave.stop()
    expect_same_logs(master, slave, end)


def can_send(producer: Producer, topic: str) -> bool:
    """Tell whether a message can be sent now."""
    try:
        return str(producer.send(topic, ["x"])[0]["status"]) == "SEND_OK"
    except DriverError:
        return False


@case(
    "replication/2",
    "SYNC_MASTER acknowledges what a slave has; without a slave it says SLAVE_NOT_AVAILABLE, with one that does not answer FLUSH_SLAVE_TIMEOUT",
    source="CommitLog.handleHA, HAService.GroupTransferService 4.7.0 (5.x answers SEND_OK unless inSyncReplicas is set)",
)
def test_sync_master(api: Api, servers: Servers, kind: str) -> None:
    which = "4.7.0" if kind == "official" else "tested"
    name_server = servers.name_server()
    master = start(servers, name_server.address, which, brokerRole="SYNC_MASTER", syncFlushTimeout=1500)
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 4)
    producer = api.producer(name_server.address, retries=0, timeout_ms=10_000)
    expect(statuses(producer, topic), ["SLAVE_NOT_AVAILABLE"], "without a slave")
    slave = start_slave(servers, name_server.address, which)
    expect(until(lambda: statuses(producer, topic) == ["SEND_OK"], 30), True, "SEND_OK once the slave is there")
    send_some(producer, topic, "synced")
    expect(log_end(slave), log_end(master), "the slave's log when the last send was acknowledged")
    assert slave.process is not None
    os.kill(slave.process.pid, signal.SIGSTOP)
    try:
        expect(statuses(producer, topic), ["FLUSH_SLAVE_TIMEOUT"], "with a slave that does not answer")
        expect(statuses(producer, topic, waits=False), ["SEND_OK"], "a message with WAIT=false")
    finally:
        os.kill(slave.process.pid, signal.SIGCONT)
    expect(until(lambda: statuses(producer, topic) == ["SEND_OK"], 30), True, "SEND_OK once it answers again")
    slave.kill()
    expect(until(lambda: statuses(producer, topic) == ["SLAVE_NOT_AVAILABLE"], 30), True, "after the slave died")


def statuses(producer: Producer, topic: str, *, waits: bool = True) -> list[str]:
    """Send one message and return its status; WAIT=false asks not to wait for the store."""
    message: dict[str, object] = {"body": "one"} if waits else {"body": "one", "properties": {"WAIT": "false"}}
    return [str(result["status"]) for result in producer.send(topic, [message])]


@case(
    "replication/3",
    "with inSyncReplicas=2 in the file a SYNC_MASTER waits slaveTimeout for a slave and then says FLUSH_SLAVE_TIMEOUT, as 5.x; with a slave SEND_OK",
    source="GroupTransferService 5.3.4; MessageStoreConfig.inSyncReplicas",
)
def test_in_sync_replicas(api: Api, servers: Servers, kind: str) -> None:
    which = "5.5.0" if kind == "official" else "tested"
    name_server = servers.name_server()
    master = start(
        servers, name_server.address, which, brokerRole="SYNC_MASTER", inSyncReplicas=2, slaveTimeout=1000,
        totalReplicas=2,
    )  # fmt: skip
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 4)
    producer = api.producer(name_server.address, retries=0, timeout_ms=10_000)
    expect(statuses(producer, topic), ["FLUSH_SLAVE_TIMEOUT"], "without a slave")
    slave = start_slave(servers, name_server.address, which)
    expect(until(lambda: statuses(producer, topic) == ["SEND_OK"], 30), True, "SEND_OK once the slave is there")
    send_some(producer, topic, "synced")
    expect(log_end(slave), log_end(master), "the slave's log when the last send was acknowledged")


@case(
    "replication/4",
    "haStatus shows a master's slaves with their positions, and a slave its master",
    source="AdminBrokerProcessor.getBrokerHaStatus 5.5.0; HAStatusSubCommand",
)
def test_status(api: Api, servers: Servers, kind: str) -> None:
    which = "5.5.0" if kind == "official" else "tested"
    name_server = servers.name_server()
    master = start(servers, name_server.address, which)
    slave = start_slave(servers, name_server.address, which)
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 4)
    send_some(api.producer(name_server.address), topic, "m")
    end = wait_caught_up(master, slave)
    acknowledged = until(lambda: [row["slaveAckOffset"] for row in ha(master)["haConnectionInfo"]] == [end], 30)
    expect(acknowledged, True, f"the slave's acknowledgement {end} in {ha(master)}")
    told = ha(master)
    row = told["haConnectionInfo"][0]  # type: ignore[index]
    expect((told["master"], told["masterCommitLogMaxOffset"], told["inSyncSlaveNums"]), (True, end, 1), "the master")
    expect((row["diff"], row["inSync"], row["transferFromWhere"]), (0, True, end), "its slave")
    expect_that(re.fullmatch(r"127\.0\.0\.1:\d+", row["addr"]) is not None, "the slave's address", row["addr"])
    told = ha(slave)
    own = told["haClientRuntimeInfo"]
    expect((told["master"], own["maxOffset"]), (False, end), "the slave")  # type: ignore[index]
    expect(own["masterAddr"], f"127.0.0.1:{master.port + 1}", "where it replicates from")  # type: ignore[index]
    printed = api.mqadmin(name_server.address, "haStatus", "-b", master.address)
    expect_that(str(end) in printed and "SlaveAckPosition" in printed.replace(" ", ""), "haStatus prints it", printed)


def ha(broker: Broker) -> dict[str, object]:
    """Ask for the state of replication."""
    header, body = raw.request(broker.address, GET_BROKER_HA_STATUS)
    expect(header["code"], 0, "answer to 907")
    told: dict[str, object] = json.loads(body)
    return told
