"""`enableSlaveActingMaster`: a slave stands in for its master for those who consume. Of 5.x alone."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from interop import raw
from interop.api import Api, Producer, bodies, steady, transaction
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import GET_ROUTEINFO_BY_TOPIC, MODERN_VERSION, Servers
from interop.driver import DriverError, until
from interop.popping import Popper
from interop.replicas import LIVELY, expect_same_logs, send_some, wait_caught_up, wait_slave
from interop.requests import send_fields
from interop.server import Broker, wait_offsets_written

ACTING = {
    **LIVELY,
    "enableSlaveActingMaster": "true",
    "totalReplicas": 2,
    "brokerHeartbeatInterval": 500,
    "brokerNotActiveTimeoutMillis": 5000,
}
PERM_READ, PERM_READ_WRITE = 4, 6
SEND_MESSAGE, GET_MAX_OFFSET = 10, 30


def group_of(name_server: str, topic: str) -> tuple[dict[str, str], int]:
    """Return the addresses that a route shows for broker-a, and the permission of its queues."""
    header, body = raw.request(name_server, GET_ROUTEINFO_BY_TOPIC, {"topic": topic}, version=MODERN_VERSION)
    if header["code"] != 0:
        return {}, 0
    route: dict[str, Any] = json.loads(re.sub(r"([{,])\s*(\d+)\s*:", r'\1"\2":', body.decode()))
    [addresses] = [each["brokerAddrs"] for each in route["brokerDatas"] if each["brokerName"] == "broker-a"] or [{}]
    [perm] = [each["perm"] for each in route["queueDatas"] if each["brokerName"] == "broker-a"] or [0]
    return addresses, perm


def wait_group(name_server: str, topic: str, addresses: dict[str, str], perm: int, why: str) -> None:
    """Wait until a route shows these brokers and this permission."""
    if not until(lambda: group_of(name_server, topic) == (addresses, perm), 60):
        expect(group_of(name_server, topic), (addresses, perm), why)


def knows(slave: Broker, topic: str) -> bool:
    """Tell whether a slave has copied a topic."""
    file = slave.store / "config" / "topics.json"
    return file.exists() and f'"{topic}"' in file.read_text()


def sends(producer: Producer, topic: str) -> bool:
    """Tell whether a message can be sent now."""
    try:
        return producer.send(topic, ["probe"])[0]["status"] == "SEND_OK"
    except DriverError:
        return False


@case(
    "acting/1",
    "when the master dies the route shows its slave as master with queues that can only be read; orderly consumers lock there, read on and keep their offsets; when the master is back it has those offsets before clients find it, and nothing is read twice",
    source="RouteInfoManager.pickupTopicRouteData, BrokerController.updateMinBroker, BrokerPreOnlineService 5.3.4",
)
@pytest.mark.parametrize(
    "kinds",
    [
        "tested-tested-tested",
        *(
            pytest.param(kinds, marks=pytest.mark.long)
            for kinds in ("5.5.0-tested-tested", "tested-5.5.0-tested", "tested-tested-5.5.0")
        ),
    ],
)
def test_reading_on(kinds: str, api: Api, servers: Servers, kind: str, official_version: str) -> None:
    if official_version < "5":
        pytest.skip("there is no such mode before 5.0")
    of_name_server, of_master, of_slave = (
        {} if which == "tested" else {"kind": "official", "version": which} for which in kinds.split("-")
    )
    shows = {"supportActingMaster": "true", "scanNotActiveBrokerInterval": 1000}
    name_server = servers.name_server(properties=shows, **of_name_server)  # type: ignore[arg-type]
    master = servers.broker(name_server.address, ACTING, **of_master)  # type: ignore[arg-type]
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(name_server.address, topic, 4)
    slave = servers.broker(
        name_server.address, {**ACTING, "brokerRole": "SLAVE", "brokerId": 1}, **of_slave  # type: ignore[arg-type]
    )  # fmt: skip
    wait_slave(slave)
    producer = api.producer(name_server.address)
    sent = send_some(producer, topic, "before")
    wait_caught_up(master, slave)
    expect(until(lambda: knows(slave, topic), 100), True, "the topic copied")
    both = {"0": master.address, "1": slave.address}
    wait_group(name_server.address, topic, both, PERM_READ_WRITE, "the route with a master")

    master.kill()
    wait_group(name_server.address, topic, {"0": slave.address}, PERM_READ, "the route with the slave alone")
    reader = api.consumer(name_server.address, topic, group=group, orderly=True)
    expect_bodies(reader.wait_bodies(sent), sent)
    reader.acknowledged(topic, len(sent))
    reader.stop()
    wait_offsets_written(slave, topic, group, len(sent))

    if kind == "official":
        return  # 5.5.0 as master cannot read what 5.5.0 as slave tells of offsets, and does not come back
    master.start()
    wait_group(name_server.address, topic, both, PERM_READ_WRITE, "the route with the master back")
    again = api.consumer(name_server.address, topic, group=group, orderly=True)
    expect(until(lambda: sends(producer, topic), 60), True, "sends once the master is back")
    more = send_some(producer, topic, "after")
    again.wait_bodies(more)
    steady(lambda: len(again.received()))
    repeated = [message["body"] for message in again.received() if message["body"] in sent]
    expect_that(not repeated, "nothing read twice", f"{len(repeated)} of {len(sent)} read again")
    expect_same_logs(master, slave, wait_caught_up(master, slave))


@case(
    "acting/2",
    "with enableRemoteEscape the slave of a dead master sends delayed messages, when their time has come, to another master, each once",
    source="EscapeBridge.asyncPutMessage, ScheduleMessageService 5.3.4",
)
def test_delayed_messages_escape(api: Api, servers: Servers, official_version: str) -> None:
    if official_version < "5":
        pytest.skip("there is no such mode before 5.0")
    escaping = {**ACTING, "enableRemoteEscape": "true"}
    name_server = servers.name_server(properties={"supportActingMaster": "true", "scanNotActiveBrokerInterval": 1000})
    master = servers.broker(name_server.address, escaping)
    other = servers.broker(name_server.address, {**ACTING, "brokerName": "broker-b", "totalReplicas": 1})
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 2)
    slave = servers.broker(name_server.address, {**escaping, "brokerRole": "SLAVE", "brokerId": 1})
    wait_slave(slave)
    expect(until(lambda: knows(slave, topic), 100), True, "the topic copied")
    producer = api.producer(name_server.address)
    sent = bodies(10, "later")
    producer.send(topic, [{"body": body, "delay_level": 3} for body in sent], broker="broker-a", queue_id=0)
    wait_caught_up(master, slave)
    master.kill()
    consumer = api.consumer(name_server.address, topic)
    consumer.wait_bodies(sent, 60)
    steady(lambda: len(consumer.received()))
    expect_bodies(consumer.received(), sent)
    expect_that(other.process is not None and other.process.alive(), "the other master", "ended")


@case(
    "acting/3",
    "with inSyncReplicas=2 in such a group a send without a slave is refused and not stored, one that does not wait is stored; with a slave both are",
    source="CommitLog.asyncPutMessage, SendMessageProcessor (IN_SYNC_REPLICAS_NOT_ENOUGH) 5.3.4",
)
def test_replicas_not_enough(api: Api, servers: Servers, official_version: str) -> None:
    if official_version < "5":
        pytest.skip("there is no such mode before 5.0")
    name_server = servers.name_server(properties={"supportActingMaster": "true"})
    master = servers.broker(name_server.address, {**ACTING, "brokerRole": "SYNC_MASTER", "inSyncReplicas": 2})
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 1)

    def send(**properties: str) -> tuple[int, str | None]:
        header, _ = raw.request(master.address, SEND_MESSAGE, send_fields(topic, properties=properties), b"x")
        return header["code"], header.get("remark")

    expect(send(), (1, "in-sync replicas not enough"), "without a slave")
    expect(send(WAIT="false")[0], 0, "code of one that does not wait")
    slave = servers.broker(name_server.address, {**ACTING, "brokerRole": "SLAVE", "brokerId": 1, "inSyncReplicas": 2})
    wait_slave(slave)
    expect(until(lambda: send()[0] == 0, 60), True, "a send with a slave")
    header, _ = raw.request(master.address, GET_MAX_OFFSET, {"topic": topic, "queueId": "0"})
    expect(header["extFields"]["offset"], "2", "messages stored")


@case(
    "acting/4",
    "with enableRemoteEscape the slave of a dead master hands open transactions to another master, which asks their producer; what was ended is not asked about",
    source="TransactionalMessageServiceImpl.check, EscapeBridge.putMessageToRemoteBroker 5.3.4",
)
@pytest.mark.long
def test_transactions_escape(api: Api, servers: Servers, official_version: str) -> None:
    if official_version < "5":
        pytest.skip("there is no such mode before 5.0")
    impatient = {"transactionTimeOut": 2000, "transactionCheckInterval": 1000, "transactionCheckMax": 60}
    patient = {**ACTING, "transactionTimeOut": 600_000, "transactionOpBatchInterval": 300, "enableRemoteEscape": "true"}
    name_server = servers.name_server(properties={"supportActingMaster": "true", "scanNotActiveBrokerInterval": 1000})
    master = servers.broker(name_server.address, patient)
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 2)  # on broker-a alone: that is where the transactions are
    slave = servers.broker(
        name_server.address,
        {**patient, "brokerRole": "SLAVE", "brokerId": 1, "transactionCheckInterval": 1000},
    )  # fmt: skip
    wait_slave(slave)
    producer = api.transaction_producer(name_server.address)
    producer.send(topic, [transaction("ended", "commit"), transaction("open", "unknown", "commit")])
    consumer = api.consumer(name_server.address, topic)
    consumer.wait_bodies(["ended"])
    servers.broker(name_server.address, {**ACTING, **impatient, "brokerName": "broker-b", "totalReplicas": 1})
    api.create_topic(name_server.address, topic, 2)
    expect(until(lambda: knows(slave, topic), 100), True, "the topic copied")
    wait_caught_up(master, slave)
    master.kill()
    consumer.wait_bodies(["open"], 120)
    steady(lambda: len(consumer.received()) + len(producer.checks()))
    expect({check["body"] for check in producer.checks()}, {"open"}, "messages that were asked about")
    expect({message["body"] for message in consumer.received()}, {"ended", "open"}, "messages delivered")


@case(
    "acting/5",
    "with enableRemoteEscape the slave of a dead master sends messages of the timer, when their time has come, to another master, each once; the master that comes back does not deliver them again",
    source="TimerMessageStore.setShouldRunningDequeue, EscapeBridge.putMessage, BrokerPreOnlineService 5.3.4",
)
@pytest.mark.long
def test_timer_messages_escape(api: Api, servers: Servers, official_version: str, kind: str) -> None:
    if official_version < "5":
        pytest.skip("there is no such mode before 5.0")
    escaping = {**ACTING, "enableRemoteEscape": "true"}
    name_server = servers.name_server(properties={"supportActingMaster": "true", "scanNotActiveBrokerInterval": 1000})
    master = servers.broker(name_server.address, escaping)
    servers.broker(name_server.address, {**ACTING, "brokerName": "broker-b", "totalReplicas": 1})
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 2)
    slave = servers.broker(name_server.address, {**escaping, "brokerRole": "SLAVE", "brokerId": 1})
    wait_slave(slave)
    expect(until(lambda: knows(slave, topic), 100), True, "the topic copied")
    producer = api.producer(name_server.address)
    early, sent, late = bodies(5, "early"), bodies(10, "later"), bodies(5, "last")
    consumer = api.consumer(name_server.address, topic)
    for group, delay_ms in ((early, 3_000), (sent, 45_000), (late, 100_000)):
        messages = [{"body": body, "delay_ms": delay_ms} for body in group]
        producer.send(topic, messages, broker="broker-a", queue_id=0)
    consumer.wait_bodies(early, 30)
    wait_caught_up(master, slave)
    time.sleep(12)  # until the slave has asked how far the timer is
    master.kill()
    consumer.wait_bodies(sent, 90)
    if kind != "official":  # 5.5.0 cannot read its own slave's offsets, and does not come back
        master.start()
    consumer.wait_bodies(late, 120)
    steady(lambda: len(consumer.received()))
    expect_bodies(consumer.received(), [*early, *sent, *late])


@case(
    "acting/6",
    "with enableRemoteEscape pops go on at the slave of a dead master; what is not acknowledged comes back from another master, what is does not",
    source="EscapeBridge.putMessageToSpecificQueue, PopReviveService 5.3.4",
)
@pytest.mark.long
def test_pops_escape(api: Api, servers: Servers, official_version: str) -> None:
    if official_version < "5":
        pytest.skip("there are no pops before 5.0")
    escaping = {**ACTING, "enableRemoteEscape": "true", "popFromRetryProbability": 50}
    name_server = servers.name_server(properties={"supportActingMaster": "true", "scanNotActiveBrokerInterval": 1000})
    master = servers.broker(name_server.address, escaping)
    other = servers.broker(name_server.address, {**ACTING, "brokerName": "broker-b", "totalReplicas": 1})
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(name_server.address, topic, 1)
    slave = servers.broker(name_server.address, {**escaping, "brokerRole": "SLAVE", "brokerId": 1})
    wait_slave(slave)
    sender = Popper(master.address, topic, group)
    with sender.connection:
        sender.send(*"abcd")
    expect(until(lambda: knows(slave, topic), 100), True, "the topic copied")
    wait_caught_up(master, slave)
    master.kill()
    wait_group(name_server.address, topic, {"0": slave.address}, PERM_READ, "the route with the slave alone")
    here, there = Popper(slave.address, topic, group), Popper(other.address, topic, group, "broker-b")
    with here.connection, there.connection:
        popped = here.pop_all(4, 10_000, timeout_s=60)  # once the slave knows that it stands in
        expect([message["body"] for message in popped], list("abcd"), "popped from the slave")
        for message in popped[::2]:
            expect(here.ack(message)["code"], 0, "code of an acknowledgement")
        back = there.pop_all(2, timeout_s=60)
        expect_bodies(back, ["b", "d"])
        for message in back:
            expect(there.ack(message)["code"], 0, "code of an acknowledgement of what came back")
        there.quiet(15)
        expect(here.pop().bodies, [], "what the slave has left")
