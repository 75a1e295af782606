"""Masters and slaves: of one kind, and ours beside official ones. With --server=official: versions mixed."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from interop import raw
from interop.api import Api, Producer, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Servers, route
from interop.driver import DriverError, until
from interop.replicas import LIVELY, can_send, expect_same_logs, log_end, send_some, wait_caught_up, wait_slave
from interop.requests import send_fields
from interop.server import Broker


def pairs(usual: list[str], longer: list[str]) -> list[Any]:
    """Pairs of master and slave; the longer ones run with --long."""
    return [*usual, *(pytest.param(pair, marks=pytest.mark.long) for pair in longer)]


EVERY_PAIR = pairs(["tested-tested", "4.7.0-tested"], ["tested-4.7.0", "tested-5.5.0", "5.5.0-tested"])
FEWER_PAIRS = pairs(["tested-tested"], ["tested-4.7.0", "4.7.0-tested", "5.5.0-tested"])
"""Master and slave: the kind under test, or an official broker of a version."""

SEND_MESSAGE = 10
GET_BROKER_HA_STATUS = 907


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


@case(
    "replication/1",
    "a slave follows its master from the beginning, over the end of a file, after it was killed and after the master was; the commit logs are equal byte for byte",
    source="DefaultHAService, DefaultHAConnection, DefaultHAClient; HAService 4.7.0",
)
@pytest.mark.parametrize("pair", EVERY_PAIR)
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
        # On a busy machine the signal arrives when one of its threads gets to run.
        status = Path(f"/proc/{slave.process.pid}/status")
        expect(until(lambda: "State:\tT" in status.read_text(), 30), True, "the slave stopped")
        expect(statuses(producer, topic), ["FLUSH_SLAVE_TIMEOUT"], "with a slave that does not answer")
        fields = send_fields(topic, properties={"WAIT": "false"})
        header, _ = raw.request(master.address, SEND_MESSAGE, fields, b"not waited for")
        expect(header["code"], 0, "code for a message with WAIT=false")
    finally:
        os.kill(slave.process.pid, signal.SIGCONT)
    expect(until(lambda: statuses(producer, topic) == ["SEND_OK"], 30), True, "SEND_OK once it answers again")
    slave.kill()
    expect(until(lambda: statuses(producer, topic) == ["SLAVE_NOT_AVAILABLE"], 30), True, "after the slave died")


def statuses(producer: Producer, topic: str) -> list[str]:
    """Send one message and return its status."""
    return [str(result["status"]) for result in producer.send(topic, ["one"])]


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
    expect_that(re.search(rf"SlaveAckOffset.*\s{end}\s", printed, re.DOTALL) is not None, "haStatus prints it", printed)


def ha(broker: Broker) -> dict[str, object]:
    """Ask for the state of replication."""
    header, body = raw.request(broker.address, GET_BROKER_HA_STATUS)
    expect(header["code"], 0, "answer to 907")
    told: dict[str, object] = json.loads(body)
    return told


@case(
    "replication/5",
    "a slave has its master's topics, groups, consumer offsets and progress of delay levels in its files some seconds later",
    source="SlaveSynchronize 4.7.0, 5.3.4 (an official 5.x slave begins with it a minute after its start)",
)
@pytest.mark.parametrize("pair", FEWER_PAIRS)
def test_metadata(pair: str, api: Api, servers: Servers) -> None:
    first, second = pair.split("-")
    name_server = servers.name_server()
    master = start(servers, name_server.address, first)
    slave = start_slave(servers, name_server.address, second)
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(name_server.address, topic, 4)
    producer = api.producer(name_server.address)
    sent = send_some(producer, topic, "m")
    producer.send(topic, [{"body": "later", "delay_level": 1}])
    consumer = api.consumer(name_server.address, topic, group=group)
    consumer.wait_bodies([*sent, "later"])
    consumer.acknowledged(topic, len(sent) + 1)
    consumer.stop()
    until(lambda: sum(offsets_of(master, topic, group).values()) == len(sent) + 1, 30)
    expect(sum(offsets_of(master, topic, group).values()), len(sent) + 1, "offsets in the master's file")
    wanted = offsets_of(master, topic, group)
    if not until(lambda: offsets_of(slave, topic, group) == wanted, 100):
        expect(offsets_of(slave, topic, group), wanted, "offsets in the slave's file")
    config = state(slave, "topics")["topicConfigTable"].get(topic, {})
    expect((config.get("readQueueNums"), config.get("writeQueueNums")), (4, 4), "the topic in the slave's file")
    expect(group in state(slave, "subscriptionGroup")["subscriptionGroupTable"], True, "the group in the slave's file")
    delayed = until(lambda: "1" in state(slave, "delayOffset").get("offsetTable", {}), 30)
    expect(delayed, True, "delay level 1 in the slave's file")
    end = wait_caught_up(master, slave)
    expect_same_logs(master, slave, end)  # the slave delivered nothing itself


def state(broker: Broker, name: str) -> dict[str, Any]:
    """Return a state file of a broker, whose integer keys may be bare; an empty object while there is none."""
    try:
        text = (broker.store / "config" / f"{name}.json").read_text()
    except FileNotFoundError:
        return {}
    tree: dict[str, Any] = json.loads(re.sub(r"([{,])(\s*)(\d+)\s*:", r'\1\2"\3":', text) or "{}")
    return tree


def offsets_of(broker: Broker, topic: str, group: str) -> dict[str, int]:
    """Return a group's offsets of a topic as a broker's file has them, by queue."""
    offsets: dict[str, int] = state(broker, "consumerOffset").get("offsetTable", {}).get(f"{topic}@{group}", {})
    return offsets


@case(
    "replication/6",
    "when the master is killed, groups old and new read from the slave what it has; when it is back, they read on; nothing is lost",
    source="MQClientInstance.findBrokerAddressInSubscribe; PullMessageProcessor 4.7.0",
)
@pytest.mark.parametrize("pair", FEWER_PAIRS)
def test_reading_from_the_slave(pair: str, api: Api, servers: Servers) -> None:
    first, second = pair.split("-")
    name_server = servers.name_server()
    master = start(servers, name_server.address, first)
    slave = start_slave(servers, name_server.address, second)
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 4)
    producer = api.producer(name_server.address)
    old = api.consumer(name_server.address, topic, "4.7.0")
    sent = send_some(producer, topic, "before")
    old.wait_bodies(sent)
    expect(until(lambda: topic in state(slave, "topics").get("topicConfigTable", {}), 100), True, "the topic copied")
    wait_caught_up(master, slave)
    master.kill()
    fresh = api.consumer(name_server.address, topic, "5.5.0")
    expect_bodies(fresh.wait_bodies(sent), sent, once=False)
    master.start()
    servers.wait_registered(master)
    expect(until(lambda: can_send(producer, topic), 60), True, "sends once the master is back")
    more = send_some(producer, topic, "after")
    for consumer in (old, fresh):
        consumer.wait_bodies(more)
        got = [message for message in consumer.received() if message["body"] != "x"]
        expect_bodies(got, sent + more, once=False)
    end = wait_caught_up(master, slave)
    expect_same_logs(master, slave, end)


@case(
    "replication/8",
    "a master whose log comes back shorter and goes on with other messages is not followed: the logs do not mix, and one line says why",
    source="ours alone: official servers mix them, DefaultHAClient compares nothing but positions",
)
@pytest.mark.parametrize("pair", pairs(["tested-tested"], ["5.5.0-tested", "tested-5.5.0"]))
def test_divergence(pair: str, api: Api, servers: Servers, kind: str) -> None:
    if kind == "official":
        pytest.skip("official servers mix the logs")
    first, second = pair.split("-")
    name_server = servers.name_server()
    master = start(servers, name_server.address, first)
    slave = start_slave(servers, name_server.address, second)
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 4)
    producer = api.producer(name_server.address)
    send_some(producer, topic, "kept")
    wait_caught_up(master, slave)
    master.stop()
    early = master.folder / "early"
    shutil.copytree(master.store, early)
    master.start()
    servers.wait_registered(master)
    until(lambda: can_send(producer, topic), 60)
    send_some(producer, topic, "lost")
    end = wait_caught_up(master, slave)
    master.stop()
    shutil.rmtree(master.store)
    early.rename(master.store)
    master.start()
    servers.wait_registered(master)
    until(lambda: can_send(producer, topic), 60)
    send_some(producer, topic, "other", 80)
    expect_that(until(lambda: log_end(master) > end, 60), f"a master beyond {end}", log_end(master))
    refuses = slave if second == "tested" else master
    words = ("logs differ", "is shorter than this slave", "is not served")
    told = until(lambda: any(word in log_text(refuses) for word in words), 60)
    expect(told, True, "a line that says why")
    expect(log_end(slave), end, "end of the slave's log")


def log_text(broker: Broker) -> str:
    """Return what our broker has logged."""
    files = (broker.folder / "home" / "logs").rglob("*.log")
    return "".join(path.read_text(errors="replace") for path in files)


@case(
    "replication/9",
    "when a SYNC_MASTER dies under load, all it answered SEND_OK for is on the slave, though that was killed and stood still before",
    source="HAService.GroupTransferService 4.7.0",
)
def test_acknowledged_is_on_the_slave(api: Api, servers: Servers, kind: str) -> None:
    which = "4.7.0" if kind == "official" else "tested"
    name_server = servers.name_server()
    master = start(servers, name_server.address, which, brokerRole="SYNC_MASTER", syncFlushTimeout=1000)
    slave = start_slave(servers, name_server.address, which)
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 4)
    expect(until(lambda: topic in state(slave, "topics").get("topicConfigTable", {}), 100), True, "the topic copied")
    kept: set[str] = set()
    over = threading.Event()

    def load(word: str) -> None:
        producer = api.producer(name_server.address, retries=0, timeout_ms=3000)
        for number in itertools.count():
            if over.is_set():
                return
            wanted = bodies(50, f"{word}-{number}")
            try:
                results = producer.send(topic, wanted, "async")
            except DriverError:
                continue
            kept.update(
                body for body, result in zip(wanted, results, strict=False) if result.get("status") == "SEND_OK"
            )

    def grows() -> bool:
        before = len(kept)
        return until(lambda: len(kept) > before + 200, 60)

    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, f"p{number}") for number in range(4)]
        try:
            expect(grows(), True, "SEND_OK with a slave")
            slave.kill()
            time.sleep(0.5)
            slave.start()
            expect(grows(), True, "SEND_OK after the slave was killed")
            assert slave.process is not None
            os.kill(slave.process.pid, signal.SIGSTOP)
            time.sleep(1.5)
            os.kill(slave.process.pid, signal.SIGCONT)
            expect(grows(), True, "SEND_OK after the slave stood still")
            master.kill()
        finally:
            over.set()
        for each in loads:
            each.result(60)
    expect(until(lambda: route(name_server.address, topic) == ["broker-a"], 30), True, "the slave's route")
    reader = api.consumer(name_server.address, topic, "4.7.0")
    reader.wait_bodies(kept)
    expect_bodies([m for m in reader.received() if m["body"] in kept], kept, once=False)
