"""Our servers beside official ones, and several name servers. With --server=official: versions mixed."""

from __future__ import annotations

import pytest

from interop.api import Api, Producer, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Servers, cluster_brokers, route, wait_route
from interop.driver import DriverError, until

OFFICIAL = ["4.7.0", "5.5.0"]


def serve(api: Api, namesrv: str, version: str = "5.5.0") -> None:
    """Send and consume through a name server, by automatic creation and by a created topic."""
    topic = api.fresh("topic")
    producer = api.producer(namesrv, version)
    producer.send(topic, bodies(20))
    wait_route(namesrv.split(";")[0], topic)
    expect_bodies(api.consumer(namesrv, topic, version).wait(20), bodies(20))
    made = api.fresh("topic")
    api.create_topic(namesrv, made, 2)
    producer.send(made, bodies(20))
    expect_bodies(api.consumer(namesrv, made, version).wait(20), bodies(20))


@case(
    "mixed/1",
    "an official broker registers with the name server; clients of old and new versions find it there; it is unlisted when it stops",
    source="RequestCode 103, 104, 105; DefaultRequestProcessor",
)
@pytest.mark.parametrize("version", OFFICIAL)
def test_official_broker(version: str, api: Api, servers: Servers) -> None:
    name_server = servers.name_server()
    broker = servers.broker(name_server.address, kind="official", version=version)
    for client in ("3.2.6", "5.5.0"):
        serve(api, name_server.address, client)
    entry = cluster_brokers(name_server.address)["broker-a"]
    expect((entry["cluster"], entry["brokerAddrs"]), ("DefaultCluster", {"0": broker.address}), "cluster information")
    broker.stop()
    expect(until(lambda: cluster_brokers(name_server.address) == {}, 60), True, "unlisted after a graceful stop")


@case(
    "mixed/2",
    "the broker registers with an official name server and clients find it there",
    source="BrokerOuterAPI; code 103",
)
@pytest.mark.parametrize("version", OFFICIAL)
def test_official_name_server(version: str, api: Api, servers: Servers) -> None:
    name_server = servers.name_server(kind="official", version=version)
    broker = servers.broker(name_server.address)
    for client in ("3.2.6", "5.5.0"):
        serve(api, name_server.address, client)
    entry = cluster_brokers(name_server.address)["broker-a"]
    expect((entry["cluster"], entry["brokerAddrs"]), ("DefaultCluster", {"0": broker.address}), "cluster information")
    broker.stop()
    expect(until(lambda: cluster_brokers(name_server.address) == {}, 60), True, "unlisted after a graceful stop")


@case(
    "mixed/3",
    "a broker given several name servers separated by `;` registers with each, of whatever kind; clients go on when one dies",
    source="BrokerOuterAPI.updateNameServerAddressList; NettyRemotingClient",
)
def test_several_name_servers(api: Api, servers: Servers) -> None:
    first = servers.name_server()
    second = servers.name_server(kind="official", version="4.7.0")
    both = f"{first.address};{second.address}"
    servers.broker(both)
    listed = until(lambda: all("broker-a" in cluster_brokers(n.address) for n in (first, second)), 60)
    expect(listed, True, "the broker is listed by both")
    serve(api, both)
    first.kill()
    topic = api.fresh("topic")
    producer = api.producer(both)
    expect(until(lambda: sends(producer, topic), 60), True, "a send with one name server left")
    wait_route(second.address, topic)


def sends(producer: Producer, topic: str) -> bool:
    """Tell whether a message can be sent now."""
    try:
        return producer.send(topic, ["x"])[0]["status"] == "SEND_OK"
    except DriverError:
        return False


@case(
    "mixed/4",
    "an official broker and the broker under test serve one topic side by side; a client sends to and reads from both",
    source="TopicRouteData with two brokers",
)
@pytest.mark.parametrize("version", OFFICIAL)
def test_side_by_side(version: str, api: Api, servers: Servers) -> None:
    name_server = servers.name_server()
    servers.broker(name_server.address, {"brokerName": "broker-a"})
    servers.broker(name_server.address, {"brokerName": "broker-b"}, kind="official", version=version)
    topic = api.fresh("topic")
    api.create_topic(name_server.address, topic, 2)
    wait_route(name_server.address, topic, brokers=2)
    expect(route(name_server.address, topic), ["broker-a", "broker-b"], "brokers of the topic")
    results = api.producer(name_server.address).send(topic, bodies(80))
    expect_that({r["broker"] for r in results} == {"broker-a", "broker-b"}, "messages on both brokers", results[:3])
    group = api.fresh("CG")
    first = api.consumer(name_server.address, topic, "4.7.0", group=group)
    second = api.consumer(name_server.address, topic, "4.7.0", group=group)
    until(lambda: {m["body"] for c in (first, second) for m in c.received()} >= set(bodies(80)), 60)
    expect_bodies([*first.received(), *second.received()], bodies(80), once=False)


@case(
    "mixed/5",
    "a broker that is killed disappears from the route when its registration has expired or its connection is seen closed",
    source="RouteInfoManager.onChannelDestroy, scanNotActiveBroker",
)
def test_dead_broker(api: Api, servers: Servers) -> None:
    cluster = servers.cluster()
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    expect(route(cluster.namesrv, topic), ["broker-a"], "route")
    cluster.broker.kill()
    expect(until(lambda: route(cluster.namesrv, topic) == [], 60), True, "no route after the broker's connection broke")
