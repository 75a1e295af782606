"""Controller mode: an official controller elects the master, among official brokers, ours, and both. Of 5.x alone."""

from __future__ import annotations

import pytest

from interop.api import Api
from interop.case import case, expect, expect_bodies
from interop.cluster import Servers
from interop.controlled import Group
from interop.driver import until
from interop.replicas import can_send, expect_same_logs, send_some, wait_caught_up


@pytest.fixture(autouse=True)
def _modern(official_version: str) -> None:
    if official_version < "5":
        pytest.skip("there is no such mode before 5.0")


@case(
    "controller/1",
    "the first broker is elected master; when it dies another one in step takes over without a person, producer and consumer carry on, no acknowledged message is lost; the old master comes back as a slave with the same log",
    source="ReplicasManager, AutoSwitchHAService, ReplicasInfoManager.electMaster 5.5.0",
)
@pytest.mark.parametrize("kinds", ["tested-tested"])
def test_master_dies(kinds: str, api: Api, servers: Servers) -> None:
    name_server = servers.name_server()
    group = Group(servers, name_server.address, servers.controller().address)
    first, second = (group.add(which) for which in kinds.split("-"))
    group.wait_in_step(first, second)
    expect(group.wait_master().address, first.address, "the master")
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 4)
    producer = api.producer(name_server.address)
    sent = send_some(producer, topic, "before")
    consumer = api.consumer(name_server.address, topic)
    consumer.wait_bodies(sent)

    first.kill()
    expect(group.wait_master(but=first).address, second.address, "the master once the first one is dead")
    expect(until(lambda: can_send(producer, topic), 60), True, "sends with the new master")
    sent += send_some(producer, topic, "after")
    consumer.wait_bodies(sent, 60)

    first.start()
    group.wait_in_step(first, second)
    expect(group.wait_master().address, second.address, "the master once the old one is back")
    sent += send_some(producer, topic, "again")
    end = wait_caught_up(second, first)
    consumer.wait_bodies(sent)
    expect_bodies([message for message in consumer.received() if message["body"] in sent], sent, once=False)
    second.stop()
    first.stop()
    expect_same_logs(second, first, end)
