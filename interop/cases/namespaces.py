"""Namespaces: the client's, which are part of names, and those of 5.x, which are fields of requests."""

from __future__ import annotations

import pytest

from interop.api import Api, bodies
from interop.case import case, expect, expect_bodies
from interop.cluster import Cluster, route


@case(
    "namespaces/1",
    "a client with a namespace writes to `NAMESPACE%TOPIC`, and only clients of that namespace read it by the short name",
    source="NamespaceUtil.wrapNamespace; ClientConfig.namespace",
)
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_namespace(version: str, api: Api, cluster: Cluster) -> None:
    topic, group, space = api.fresh("topic"), api.fresh("CG"), api.fresh("NS")
    api.create_topic(cluster.namesrv, f"{space}%{topic}", 2)
    sent = bodies(20)
    api.producer(cluster.namesrv, version, set={"setNamespace": space}).send(topic, sent)
    consumer = api.consumer(cluster.namesrv, topic, version, group=group, set={"setNamespace": space})
    got = consumer.wait_bodies(sent)
    expect_bodies(got, sent)
    expect({m["topic"] for m in got}, {topic}, "topic as the listener sees it")
    expect(route(cluster.namesrv, topic), [], "route of the short name")
    consumer.acknowledged(f"{space}%{topic}", 20)
    expect(len(api.pull_consumer(cluster.namesrv, version).read_all(f"{space}%{topic}")), 20, "read by the whole name")
    printed = api.mqadmin(cluster.namesrv, "consumerConnection", "-g", f"{space}%{group}")
    expect(
        f"{space}%{topic}" in printed and f"%RETRY%{space}%{group}" in printed,
        True,
        f"group of the namespace: {printed}",
    )


@case(
    "namespaces/2",
    "a client with a namespace of 5.x names it in fields of its requests, and is served under the topic's own name",
    source="ClientConfig.namespaceV2; NamespaceRpcHook; fields `ns`, `nsd`",
)
def test_namespace_v2(api: Api, cluster: Cluster) -> None:
    topic, space = api.fresh("topic"), api.fresh("NS")
    api.create_topic(cluster.namesrv, topic, 2)
    sent = bodies(20)
    api.producer(cluster.namesrv, set={"setNamespaceV2": space}).send(topic, sent)
    expect_bodies(api.consumer(cluster.namesrv, topic, set={"setNamespaceV2": space}).wait_bodies(sent), sent)
    expect_bodies(api.pull_consumer(cluster.namesrv).read_all(topic), sent)
