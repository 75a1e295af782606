"""Masters and their slaves, as cases look at them: waiting for them, their logs, sends that they acknowledge."""

from __future__ import annotations

import json

from interop import raw
from interop.api import Producer, bodies
from interop.case import expect, expect_that
from interop.cluster import cluster_brokers
from interop.driver import DriverError, until
from interop.server import Broker

GET_BROKER_RUNTIME_INFO = 28
LIVELY = {"haSendHeartbeatInterval": 500, "slaveReadEnable": "true"}


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
    until(lambda: log_end(master) >= 0, timeout_s)  # a 4.7.0 broker that has just started may refuse to say
    end = log_end(master)
    expect_that(end >= 0, "the end of the master's log", end)
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
        if int(name) < end:  # official brokers make the next file ahead
            ours, theirs = (folder / name).read_bytes(), (master.store / "commitlog" / name).read_bytes()
            size = min(len(ours), end - int(name))
            expect_that(ours[:size] == theirs[:size], f"equal bytes in commit log file {name}", f"{size} bytes differ")
            compared += size
    expect_that(compared > 0, "some bytes to compare", compared)


def send_some(producer: Producer, topic: str, word: str, count: int = 40) -> list[str]:
    """Send messages that are all acknowledged."""
    sent = bodies(count, word)
    results = producer.send(topic, [{"body": body, "keys": body} for body in sent])
    expect({result["status"] for result in results}, {"SEND_OK"}, f"sends of {word}")
    return sent


def can_send(producer: Producer, topic: str) -> bool:
    """Tell whether a message can be sent now."""
    try:
        return str(producer.send(topic, ["x"])[0]["status"]) == "SEND_OK"
    except DriverError:
        return False


def sends_one(producer: Producer, topic: str, body: str) -> bool:
    """Send one message; tell whether it was acknowledged by whichever status says that it is stored."""
    try:
        return bool(producer.send(topic, [body])[0].get("status"))
    except DriverError:
        return False
