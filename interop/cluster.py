"""Servers for cases: `Cluster` (a name server and a broker), and `Servers`, which starts them and ends them."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from interop import raw
from interop.driver import until
from interop.official import OfficialBroker, OfficialController, OfficialNameServer
from interop.ours import OurBroker, OurNameServer
from interop.server import Broker, NameServer, Server

Kind = Literal["ours", "official"]

GET_ROUTEINFO_BY_TOPIC = 105
GET_BROKER_CLUSTER_INFO = 106
MODERN_VERSION = 513
"""The version word of 5.5.0: name servers then write the route as standard JSON."""


@dataclass
class Cluster:
    """A running name server and a running broker."""

    name_server: NameServer
    broker: Broker

    @property
    def namesrv(self) -> str:
        """What clients are given as name server address."""
        return self.name_server.address

    def wait_route(self, topic: str) -> None:
        """Wait until the name server tells a route of the topic."""
        wait_route(self.namesrv, topic)


def wait_route(namesrv: str, topic: str, *, brokers: int = 1, timeout_s: float = 60.0) -> None:
    """Wait until a name server's route of `topic` names so many brokers.

    Raises:
        AssertionError: the time is over.
    """
    assert until(lambda: len(route(namesrv, topic)) >= brokers, timeout_s), f"no route of {topic} in {timeout_s} s"


def route(namesrv: str, topic: str) -> list[str]:
    """Return the sorted broker names of a topic's route; empty when there is none."""
    return sorted(route_queues(namesrv, topic))


def route_queues(namesrv: str, topic: str) -> dict[str, tuple[int, int]]:
    """Return the numbers of read and write queues that a topic's route tells of each broker; empty when there is none."""
    header, body = raw.request(namesrv, GET_ROUTEINFO_BY_TOPIC, {"topic": topic}, version=MODERN_VERSION)
    if header["code"] != 0:
        return {}
    rows = _quoted(body)["queueDatas"]
    return {row["brokerName"]: (row["readQueueNums"], row["writeQueueNums"]) for row in rows}


def wait_topic(namesrv: str, cluster: str, topic: str, queues: int, timeout_s: float = 60.0) -> None:
    """Wait until every name server tells of a topic with so many queues on each broker of a cluster.

    A broker answers updateTopic first and registers the topic then. A producer that sends in between goes by the
    route of TBW102 and may pick a queue that the topic does not have; clients before 4 do not send again.

    Raises:
        AssertionError: the time is over.
    """
    for address in namesrv.split(";"):
        table = cluster_brokers(address)
        masters = [name for name in table if table[name]["cluster"] == cluster and "0" in table[name]["brokerAddrs"]]
        _wait_queues(address, topic, dict.fromkeys(masters, (queues, queues)), timeout_s)


def _wait_queues(address: str, topic: str, want: dict[str, tuple[int, int]], timeout_s: float) -> None:
    told = until(lambda: want.items() <= route_queues(address, topic).items(), timeout_s)
    assert told, f"{address} tells of {topic} {route_queues(address, topic)} and not {want}"


def cluster_brokers(namesrv: str) -> dict[str, Any]:
    """Return `brokerAddrTable` of the cluster information with its integer keys quoted, or an empty one."""
    header, body = raw.request(namesrv, GET_BROKER_CLUSTER_INFO, version=MODERN_VERSION)
    if header["code"] != 0:
        return {}
    table: dict[str, Any] = _quoted(body).get("brokerAddrTable", {})
    return table


def _quoted(body: bytes) -> Any:
    """Return a body's JSON; name servers before 4.9 leave integer keys unquoted."""
    return json.loads(re.sub(r"([{,])\s*(\d+)\s*:", r'\1"\2":', body.decode()))


class Servers:
    """Starts servers of either kind below one folder. `close` kills whatever still runs."""

    def __init__(self, folder: Path, kind: Kind, version: str) -> None:
        self.folder = folder
        self.kind = kind
        self.version = version
        self._running: list[Server] = []
        self._numbers = itertools.count(1)

    def _folder(self, word: str) -> Path:
        return self.folder / f"{word}{next(self._numbers)}"

    def name_server(
        self, kind: Kind | None = None, version: str | None = None, properties: Mapping[str, object] | None = None
    ) -> NameServer:
        """Start a name server; by default of the kind under test."""
        folder = self._folder("n")
        ours = (kind or self.kind) == "ours"
        server = OurNameServer(folder) if ours else OfficialNameServer(version or self.version, folder)
        server.properties.update(properties or {})
        return self._start(server)

    def broker(
        self, name_servers: str, properties: Mapping[str, object] | None = None, *, kind: Kind | None = None,
        version: str | None = None, like: Broker | None = None,
    ) -> Broker:  # fmt: skip
        """Start a broker and wait until the first name server lists it.

        Args:
            name_servers: addresses separated by `;`.
            properties: overrule those of `interop.server.Broker`.
            kind: by default the kind under test.
            version: of an official one.
            like: a broker that was stopped, whose store and port this one takes over.
        """
        folder = self._folder("b") if like is None else like.folder
        port = None if like is None else like.port
        ours = (kind or self.kind) == "ours"
        server = (
            OurBroker(folder, name_servers, properties, port)
            if ours
            else OfficialBroker(version or self.version, folder, name_servers, properties, port)
        )
        self._start(server)
        self.wait_registered(server)
        return server

    def controller(
        self, version: str = "5.5.0", port: int | None = None, ports: Sequence[int] = ()
    ) -> OfficialController:
        """Start a controller, alone or one of a group; there are official ones only, since 5.0."""
        controller: OfficialController = self._start(OfficialController(version, self._folder("c"), port, ports))
        return controller

    def wait_registered(self, broker: Broker) -> None:
        """Wait until the broker's first name server lists it."""
        first = broker.name_servers.split(";")[0]
        name = str(broker.properties["brokerName"])
        assert until(lambda: name in cluster_brokers(first), 60), (
            f"{name} did not register at {first}: {broker.process and broker.process.tail()}"
        )

    def cluster(self, properties: Mapping[str, object] | None = None) -> Cluster:
        """Start a name server and a broker of the kind under test."""
        name_server = self.name_server()
        return Cluster(name_server, self.broker(name_server.address, properties))

    def _start(self, server: Any) -> Any:
        self._running.append(server)
        server.start()
        return server

    def close(self) -> None:
        """Kill every server that was started here."""
        for server in reversed(self._running):
            server.kill()
