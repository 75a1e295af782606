"""A broker group whose master a controller elects, as cases look at it: its state, who was told, what it keeps of sends."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from interop import raw
from interop.api import Api, Consumer
from interop.case import expect, expect_bodies, expect_that
from interop.cluster import Servers, cluster_brokers
from interop.driver import until
from interop.replicas import LIVELY, can_send, expect_same_logs, send_some, wait_caught_up
from interop.server import Broker

CONTROLLER_GET_METADATA_INFO = 1005
CONTROLLER_GET_SYNC_STATE_DATA = 1006
NAME = "broker-a"
QUICK_CLIENT = {"setPollNameServerInterval": 1000, "setHeartbeatBrokerInterval": 1000}
"""Clients that look for the new master every second; by default they do every 30 s."""
CONTROLLED: dict[str, object] = {
    **LIVELY,
    "enableControllerMode": "true",
    "brokerId": -1,
    "brokerRole": "SLAVE",
    "totalReplicas": 2,
    "allAckInSyncStateSet": "true",
    "brokerHeartbeatInterval": 500,
    "controllerHeartBeatTimeoutMills": 3000,
    "syncBrokerMetadataPeriod": 1000,
    "checkSyncStateSetPeriod": 1000,
    "syncControllerMetadataPeriod": 2000,
    "haMaxTimeSlaveNotCatchup": 3000,
}


class Group:
    """The brokers of one name, and their controllers.

    Args:
        servers: Starts them.
        name_servers: Addresses separated by `;`.
        controllers: The same of controllers.
    """

    def __init__(self, servers: Servers, name_servers: str, controllers: str) -> None:
        self._servers = servers
        self.name_servers = name_servers
        self.controllers = controllers
        self.brokers: list[Broker] = []
        self._topic: str | None = None

    def add(self, which: str, properties: Mapping[str, object] | None = None) -> Broker:
        """Start one more broker, of the kind under test or of an official version."""
        given = {**CONTROLLED, "controllerAddr": self.controllers, **(properties or {})}
        kind: Any = {} if which == "tested" else {"kind": "official", "version": which}
        broker = self._servers.broker(self.name_servers, given, **kind)
        self.brokers.append(broker)
        return broker

    def revive(self) -> None:
        """Start those brokers that a case before has ended, and wait until all are in step."""
        for broker in self.brokers:
            if not runs(broker):
                broker.start()
        self.wait_in_step(*self.brokers)
        self.wait_master()

    def replicas(self) -> dict[str, Any]:
        """Return what the leading controller tells of the group: `ReplicasInfo`; empty while it tells nothing."""
        for address in filter(None, [self.leading_controller()]) if ";" in self.controllers else [self.controllers]:
            try:
                header, body = raw.request(address, CONTROLLER_GET_SYNC_STATE_DATA, body=json.dumps([NAME]).encode())
            except (OSError, raw.Closed):
                continue
            if header["code"] == 0 and body:
                told: dict[str, Any] = json.loads(re.sub(r"([{,])\s*(\d+)\s*:", r'\1"\2":', body.decode()))
                found: dict[str, Any] = told["replicasInfoTable"].get(NAME) or {}
                if found:
                    return found
        return {}

    def leading_controller(self) -> str:
        """Return the address of the controller that leads; "" while none says so."""
        for address in self.controllers.split(";"):
            try:
                header, _ = raw.request(address, CONTROLLER_GET_METADATA_INFO)
            except (OSError, raw.Closed):
                continue
            leader = str(header.get("extFields", {}).get("controllerLeaderAddress") or "")
            if leader and leader in self._reachable():
                return leader
        return ""

    def _reachable(self) -> set[str]:
        reached = set()
        for address in self.controllers.split(";"):
            try:
                raw.Connection(address).socket.close()
            except OSError:
                continue
            reached.add(address)
        return reached

    def in_step(self) -> set[str]:
        """Return the addresses in the sync state set."""
        return {replica["brokerAddress"] for replica in self.replicas().get("inSyncReplicas", [])}

    def addresses(self) -> dict[str, str]:
        """Return the number of every replica that the controller knows, by address."""
        told = self.replicas()
        replicas = [*told.get("inSyncReplicas", []), *told.get("notInSyncReplicas", [])]
        return {replica["brokerAddress"]: str(replica["brokerId"]) for replica in replicas}

    def number_of(self, broker: Broker) -> str:
        """Return the number that the controller gave a broker."""
        return self.addresses()[broker.address]

    def master(self) -> Broker | None:
        """Return the elected master, where it is a broker of this group that runs."""
        address = self.replicas().get("masterAddress")
        return next((one for one in self.brokers if one.address == address and runs(one)), None)

    def wait_master(self, *, but: Broker | None = None, timeout_s: float = 60.0) -> Broker:
        """Wait until one of the running brokers is master, at the controller and at the name server; never `but`."""

        def there() -> bool:
            master = self.master()
            return master is not None and master is not but and self.shown().get("0") == master.address

        if not until(there, timeout_s):
            expect_that(False, "a master, told by the controller and by the name server", self._state())
        master = self.master()
        assert master is not None
        return master

    def wait_in_step(self, *brokers: Broker, timeout_s: float = 60.0) -> None:
        """Wait until the sync state set is exactly these."""
        want = {broker.address for broker in brokers}
        if not until(lambda: self.in_step() == want, timeout_s):
            expect_that(False, f"{sorted(want)} in step", self._state())

    def topic(self, api: Api) -> str:
        """Return the topic of this group, made the first time."""
        if self._topic is None:
            self._topic = api.fresh("topic")
            api.create_topic(self.name_servers, self._topic, 4)
        self.wait_known(self._topic)
        return self._topic

    def wait_known(self, topic: str) -> None:
        """Wait until every broker has a topic: slaves copy it every ten seconds, and a new master knows no other."""

        def knows(broker: Broker) -> bool:
            file = broker.store / "config" / "topics.json"
            return file.exists() and f'"{topic}"' in file.read_text()

        if not until(lambda: all(map(knows, self.brokers)), 60):
            expect_that(False, f"{topic} known to all", [broker.address for broker in self.brokers if knows(broker)])

    def shown(self) -> dict[str, str]:
        """Return the group as the first name server shows it: id to address."""
        brokers: dict[str, str] = cluster_brokers(self.name_servers.split(";")[0]).get(NAME, {}).get("brokerAddrs", {})
        return brokers

    def _state(self) -> object:
        tails = {one.address: (runs(one), one.process.tail(6) if one.process else "") for one in self.brokers}
        return {"controller": self.replicas(), "name server": self.shown(), "brokers": tails}


def runs(broker: Broker) -> bool:
    """Tell whether a broker's process is there."""
    return broker.process is not None and broker.process.alive()


class Sending:
    """A producer of a group's topic that looks for a new master every second.

    Args:
        group: Where to.
        api: Makes the topic and the producer.
        settings: Of the producer.

    Attributes:
        topic: The topic.
        sent: The bodies of all that was sent, each acknowledged.
    """

    def __init__(self, group: Group, api: Api, **settings: Any) -> None:
        self._group = group
        self._api = api
        self.topic = group.topic(api)
        self._producer = api.producer(group.name_servers, set=QUICK_CLIENT, **settings)
        self.sent: list[str] = []

    def send(self, word: str) -> None:
        """Send some messages."""
        self.sent += send_some(self._producer, self.topic, word)

    def send_again(self, word: str, what: str) -> None:
        """Send some once that is possible again, as it has to be before long."""
        expect(until(lambda: can_send(self._producer, self.topic), 60), True, what)
        self.send(word)

    def expect_kept(self, master: Broker, *slaves: Broker) -> None:
        """Read all that was sent anew, and expect the same logs."""
        read_all(self._group, self._api, self.topic, self.sent)
        for slave in slaves:
            expect_same_logs(master, slave, wait_caught_up(master, slave))


def read_all(group: Group, api: Api, topic: str, sent: list[str]) -> None:
    """Read everything anew, and expect what was sent."""
    consumer = api.consumer(group.name_servers, topic, set=QUICK_CLIENT)
    consumer.wait_bodies(sent)
    expect_sent(consumer, sent)


def expect_sent(consumer: Consumer, sent: list[str]) -> None:
    """Expect a consumer to have all that was sent; messages of other cases come too."""
    expect_bodies([message for message in consumer.received() if message["body"] in sent], sent, once=False)
