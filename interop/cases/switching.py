"""Logs that part and come together again in controller mode, with official brokers on either side. Of 5.x alone."""

from __future__ import annotations

import base64
import os
import signal
from typing import Any

import pytest

from interop.api import Api
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Servers
from interop.controlled import QUICK_CLIENT, Group
from interop.driver import until
from interop.replicas import can_send, expect_same_logs, log_end, send_some, wait_caught_up

PATIENT = {"allAckInSyncStateSet": "false", "haMaxTimeSlaveNotCatchup": 30_000}
"""A slave that stands still stays in sync, and its master answers without it."""
PARTED = 160
BODY_BYTES = 65_536
"""More than what the sockets between two brokers hold."""


@case(
    "switching/1",
    "a master that dies with messages that its slave never got comes back, cuts them, and has the log of the new master",
    source="EpochFileCache.findConsistentPoint, AutoSwitchHAClient.doTruncate 5.5.0",
)
@pytest.mark.parametrize("kinds", ["tested-tested", "tested-5.5.0", "5.5.0-tested"])
@pytest.mark.long
def test_logs_part(kinds: str, api: Api, servers: Servers, official_version: str) -> None:
    if official_version < "5":
        pytest.skip("there is no such mode before 5.0")
    group = Group(servers, servers.name_server().address, servers.controller().address)
    for which in kinds.split("-"):
        group.add(which, PATIENT)
        group.wait_in_step(*group.brokers)
    old, new = group.brokers
    topic = api.fresh("topic")
    api.create_topic(group.name_servers, topic, 4)
    group.wait_known(topic)
    producer = api.producer(group.name_servers, set=QUICK_CLIENT, retries=0)
    sent = send_some(producer, topic, "before")
    wait_caught_up(old, new)

    end = part(old, new, producer, topic)
    expect(group.wait_master(but=old).address, new.address, "the master once the first one is dead")
    expect(until(lambda: can_send(producer, topic), 60), True, "sends with the new master")
    expect_that(log_end(new) < end, f"a log that is shorter than the {end} bytes of the old master's", log_end(new))
    sent += send_some(producer, topic, "after")

    old.start()
    group.wait_in_step(old, new)
    sent += send_some(producer, topic, "again")
    expect_same_logs(new, old, wait_caught_up(new, old))
    new.kill()
    group.wait_master(but=new)
    consumer = api.consumer(group.name_servers, topic, set=QUICK_CLIENT)
    consumer.wait_bodies(sent)
    expect_bodies([message for message in consumer.received() if message["body"] in sent], sent, once=False)


def part(old: Any, new: Any, producer: Any, topic: str) -> int:
    """Have the master take messages while its slave stands still, and die; return where its log ended."""
    assert new.process is not None
    os.kill(new.process.pid, signal.SIGSTOP)
    try:
        messages = [{"body": base64.b64encode(os.urandom(BODY_BYTES)).decode()} for _ in range(PARTED)]
        results = producer.send(topic, messages)
        expect({result["status"] for result in results}, {"SEND_OK"}, "sends while the slave stands still")
        end = log_end(old)
        old.kill()
    finally:
        os.kill(new.process.pid, signal.SIGCONT)
    return end
