"""The three deployments of the official distribution on one machine, by the shipped files: two name servers and two
masters, alone or with a slave each. A master and a name server die in each, and clients carry on.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from interop.api import Api, Producer
from interop.case import case, expect
from interop.cluster import Servers
from interop.driver import DriverError, until
from interop.replicas import LIVELY, expect_same_logs, send_some, sends_one, wait_caught_up, wait_slave
from interop.server import Broker

SHIPPED = Path(__file__).parent.parent.parent / "conf"
FOLDERS = ["2m-noslave", "2m-2s-async", "2m-2s-sync"]


def shipped(folder: str, name: str) -> dict[str, str]:
    """Read a shipped example."""
    lines = (SHIPPED / folder / f"{name}.properties").read_text().splitlines()
    pairs = (line.partition("=") for line in lines if line.strip() and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def deployed(servers: Servers, name_servers: str, folder: str, other: str | None) -> tuple[list[Broker], list[Broker]]:
    """Start the brokers of a folder, of each pair of master and slave one by an official broker if a version is given.

    Returns:
        The masters and their slaves.
    """

    def broker(name: str, *, official: bool) -> Broker:
        given = {**LIVELY, **shipped(folder, name)}
        if official and other is not None:
            return servers.broker(name_servers, given, kind="official", version=other)
        return servers.broker(name_servers, given)

    masters = [broker("broker-a", official=False), broker("broker-b", official=True)]
    if folder == "2m-noslave":
        return masters, []
    slaves = [broker("broker-a-s", official=True), broker("broker-b-s", official=False)]
    for master, slave in zip(masters, slaves, strict=True):
        wait_slave(slave)
        wait_caught_up(master, slave)
    return masters, slaves


def all_ok(producer: Producer, topic: str) -> bool:
    """Tell whether sends to all queues are SEND_OK; a slave may have to find its master before."""
    try:
        return {one["status"] for one in producer.send(topic, ["probe"] * 16)} == {"SEND_OK"}
    except DriverError:
        return False


def carry_on(api: Api, servers: Servers, folder: str, other: str | None, killed: int) -> None:
    """Send and consume while one master and one name server are gone and when the master is back."""
    first = servers.name_server()
    second = servers.name_server() if other is None else servers.name_server(kind="official", version=other)
    both = f"{first.address};{second.address}"
    masters, slaves = deployed(servers, both, folder, other)
    topic = api.fresh("topic")
    api.create_topic(both, topic, 4)
    producer = api.producer(both, retries=3)
    expect(until(lambda: all_ok(producer, topic), 60), True, "sends on both masters, and on their slaves")
    consumer = api.consumer(both, topic)
    sent = send_some(producer, topic, "before", 80)
    consumer.wait_bodies(sent)
    masters[killed].kill()
    second.kill()
    going_on: list[str] = []
    for number in range(20):
        body = f"meanwhile-{number}"
        if until(lambda body=body: sends_one(producer, topic, body), 60):  # type: ignore[misc]
            going_on.append(body)
    expect(len(going_on), 20, "messages sent with one master left")
    consumer.wait_bodies(going_on)
    masters[killed].start()
    wait_slave(masters[killed])
    expect(until(lambda: all_ok(producer, topic), 60), True, "sends on both masters again, and on their slaves")
    more = send_some(producer, topic, "after")
    got = {message["body"] for message in consumer.wait_bodies(more)}
    expect(set(sent) | set(going_on) | set(more) <= got, True, "all consumed")
    for master, slave in zip(masters, slaves, strict=False):
        expect_same_logs(master, slave, wait_caught_up(master, slave))


@case(
    "deployments/1",
    "two name servers and the brokers of a shipped folder: when a master and a name server are killed, clients carry on with the others; when the master is back it is used again, and nothing is lost",
    source="conf/2m-noslave, conf/2m-2s-async, conf/2m-2s-sync",
)
@pytest.mark.parametrize("folder", FOLDERS)
def test_one_kind(folder: str, api: Api, servers: Servers) -> None:
    carry_on(api, servers, folder, None, 0)


@case(
    "deployments/2",
    "the same where one name server, one master and the slave of the other master are official, whichever master dies",
    source="conf/2m-noslave, conf/2m-2s-async, conf/2m-2s-sync",
)
@pytest.mark.parametrize("killed", ["ours", "official"])
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
@pytest.mark.long
def test_mixed(version: str, folder: str, killed: str, api: Api, servers: Servers) -> None:
    carry_on(api, servers, folder, version, 0 if killed == "ours" else 1)
