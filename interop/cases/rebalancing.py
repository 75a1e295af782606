"""Groups whose members come and go: who is told, who takes over, and that no message falls between them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from interop import raw
from interop.api import Api, Consumer, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Cluster
from interop.driver import until
from interop.requests import (
    GET_CONSUMER_LIST_BY_GROUP,
    HEART_BEAT,
    SUCCESS,
    SYSTEM_ERROR,
    UNREGISTER_CLIENT,
    Member,
    heartbeat,
)

CROWD = 500


@case(
    "rebalancing/1",
    "members are told when one joins, unregisters, loses its connection or subscribes to another topic, and not for a heartbeat as before",
    source="ConsumerManager, DefaultConsumerIdsChangeListener; NOTIFY_CONSUMER_IDS_CHANGED (40)",
)  # fmt: skip
def test_notifications(api: Api, cluster: Cluster) -> None:
    group, topic, other = api.fresh("CG"), api.fresh("topic"), api.fresh("topic")
    address = cluster.broker.address
    with Member(address, "a") as a, Member(address, "b") as b:
        expect(a.join(group, topic)["code"], SUCCESS)
        expect(a.wait_notified(), True, "the first member is told of itself")
        expect(a.members(group), ["a"])
        b.join(group, topic)
        expect((a.wait_notified(), b.wait_notified()), (True, True), "both are told when one joins")
        expect(a.members(group), ["a", "b"])
        a.join(group, topic)
        b.join(group, topic)
        expect((a.wait_notified(1), b.wait_notified(0.5)), (False, False), "nobody is told of a heartbeat as before")
        a.join(group, topic, other)
        expect((a.wait_notified(), b.wait_notified()), (True, True), "both are told of a new topic")
        b.join(group, topic, other)
        expect(a.wait_notified(1), False, "told when the other subscribes to what the group has")
        with Member(address, "c") as c:
            c.join(group, topic, other)
            expect((a.wait_notified(), b.wait_notified(), c.wait_notified()), (True, True, True), "a third joins")
            expect(a.members(group), ["a", "b", "c"])
            expect(c.leave(group)["code"], SUCCESS)
            expect((a.wait_notified(), b.wait_notified()), (True, True), "it unregisters")
            expect(c.wait_notified(0.5), False, "the one that left is told")
            expect(a.members(group), ["a", "b"])
        expect(a.wait_notified(1), False, "told of the connection of one that has left")
        b.socket.close()
        expect(a.wait_notified(), True, "the other's connection is gone")
        expect(a.members(group), ["a"])
    expect(until(lambda: not list_of(cluster, group)), True, "no member left")
    answer, _ = raw.request(address, GET_CONSUMER_LIST_BY_GROUP, {"consumerGroup": group})
    expect((answer["code"], answer["remark"]), (SYSTEM_ERROR, f"no consumer for this group, {group}"))


def list_of(cluster: Cluster, group: str) -> list[str]:
    with Member(cluster.broker.address, "asks") as member:
        return member.members(group)


@case(
    "rebalancing/2",
    "broadcasting groups are not told, nor groups whose notifyConsumerIdsChangedEnable is off; another group is not concerned",
    source="DefaultConsumerIdsChangeListener; SubscriptionGroupConfig.notifyConsumerIdsChangedEnable",
)  # fmt: skip
def test_not_notified(api: Api, cluster: Cluster) -> None:
    topic, silent, others = api.fresh("topic"), api.fresh("CG"), api.fresh("CG")
    address = cluster.broker.address
    printed = api.mqadmin(cluster.namesrv, "updateSubGroup", "-b", address, "-g", silent, "-a", "false")
    expect_that("success" in printed, "updateSubGroup succeeds", printed)
    with Member(address, "a") as a, Member(address, "b") as b, Member(address, "x") as x:
        x.join(others, topic)
        expect(x.wait_notified(), True)
        a.join(silent, topic)
        b.join(silent, topic)
        expect(
            (a.wait_notified(1), b.wait_notified(0.2)), (False, False), "told with notifyConsumerIdsChangedEnable=false"
        )
        loud = api.fresh("CG")
        a.join(loud, topic, model="BROADCASTING")
        b.join(loud, topic, model="BROADCASTING")
        expect((a.wait_notified(1), b.wait_notified(0.2)), (False, False), "told in a broadcasting group")
        expect(x.wait_notified(0.2), False, "another group is told")


@case(
    "rebalancing/3",
    "when consumers join, leave and are killed while messages are sent, every message is consumed and none is skipped",
    source="RebalanceImpl; ClientHousekeepingService.onChannelClose",
)
@pytest.mark.parametrize("version", ["3.2.6", "5.5.0"])
def test_churn(version: str, api: Api, cluster: Cluster, tmp_path: Path) -> None:
    topic, group = api.fresh("topic"), api.fresh("CG")
    api.create_topic(cluster.namesrv, topic, 8)
    producer = api.producer(cluster.namesrv)
    driver = api.drivers.start(version, folder=tmp_path / "mortal")
    sent: list[str] = []

    def send(word: str) -> list[str]:
        new = bodies(80, word)
        failed = [r for r in producer.send(topic, new, "async") if r.get("status") != "SEND_OK"]
        expect(failed, [], "sends that failed")
        sent.extend(new)
        return new

    def got(*consumers: Consumer) -> set[str]:
        return {m["body"] for c in consumers for m in c.received()}

    try:
        first = api.consumer(cluster.namesrv, topic, version, group=group)
        send("alone")
        mortal = api.consumer(cluster.namesrv, topic, version, driver=driver, group=group)
        third = api.consumer(cluster.namesrv, topic, "5.5.0", group=group)

        def all_work() -> bool:
            before = [len(c.received()) for c in (first, mortal, third)]
            send(f"three{len(sent)}")
            return until(
                lambda: all(len(c.received()) > n for c, n in zip((first, mortal, third), before, strict=True)), 3
            )

        expect_that(
            until(all_work, 90), "each of three gets messages", [len(c.received()) for c in (first, mortal, third)]
        )
    finally:
        driver.kill()
        mortal.running = False
    send("killed")
    killed_at = time.monotonic()
    everyone = (first, mortal, third)
    until(lambda: got(*everyone) >= set(sent), 90)
    expect_bodies([m for c in everyone for m in c.received()], sent, once=False)
    took_s = time.monotonic() - killed_at
    expect_that(took_s < 60, "the dead one's queues are taken over at once, not when its heartbeats are missed", took_s)
    third.stop()
    after = send("left")
    first.wait_bodies(after, 90)
    expect_bodies([m for c in everyone for m in c.received()], sent, once=False)
    expect(list_of(cluster, group), [first.started["client_id"]], "members at the end")


@case(
    "rebalancing/4",
    "many clients in one group: all are listed, all hear of a change, and the last one left hears that it is alone",
    source="ConsumerManager; ConsumerGroupInfo",
)
def test_crowd(api: Api, cluster: Cluster) -> None:
    group, topic = api.fresh("CG"), api.fresh("topic")
    address = cluster.broker.address
    members: list[Member] = []
    try:
        for number in range(CROWD):
            member = Member(address, f"client-{number:04}")
            members.append(member)
            member.send(raw.frame({"code": HEART_BEAT, "flag": 0, "opaque": 1, "language": "JAVA", "version": 353},
                                  heartbeat(member.client_id, group, topic)))  # fmt: skip
        expect(
            until(lambda: len(list_of(cluster, group)) == CROWD, 60),
            True,
            f"{CROWD} members: {len(list_of(cluster, group))}",
        )
        time.sleep(1.5)  # the last announcement of a crowd may come a second after the join
        for member in members:
            member.wait_notified(0, 0)
        with Member(address, "one more") as another:
            another.join(group, topic)
            deaf = [m.client_id for m in members if not m.wait_notified(5, 0)]
            expect(deaf, [], "members that are not told of one more")
        for member in members[1:]:
            member.socket.close()
        last = members[0]
        expect(until(lambda: last.members(group) == [last.client_id], 60), True, "one member is left")
    finally:
        for member in members:
            member.socket.close()


@case(
    "rebalancing/5",
    "what no member would send is answered with the official code and leaves the group as it was",
    source="ClientManageProcessor",
)
def test_bad_input(api: Api, cluster: Cluster) -> None:
    group, topic = api.fresh("CG"), api.fresh("topic")
    address = cluster.broker.address
    with Member(address, "a") as a:
        a.join(group, topic)
        for body in (b"", b"[]", b"no json", b'{"clientID":'):
            answer, _ = raw.request(address, HEART_BEAT, body=body)
            expect(answer["code"], SYSTEM_ERROR, f"code of a heartbeat {body!r}")
        answer, _ = raw.request(address, GET_CONSUMER_LIST_BY_GROUP)
        expect(answer["code"], SYSTEM_ERROR, "code of 38 without a group")
        answer, _ = raw.request(address, UNREGISTER_CLIENT, {"clientID": "nobody", "consumerGroup": group})
        expect(answer["code"], SUCCESS, "code when one leaves who was not there")
        expect(a.members(group), ["a"])
