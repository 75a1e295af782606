"""One store, opened in turn by official brokers and by the broker under test."""

from __future__ import annotations

import pytest

from interop.api import Api, bodies
from interop.case import case, expect, expect_bodies
from interop.cluster import Servers, wait_route
from interop.server import Broker, NameServer, wait_offsets_written

OFFICIAL = ["4.7.0", "5.5.0"]
FIRST_GROUP = 60


def write(api: Api, namesrv: str, topic: str, group: str) -> list[str]:
    """Write what uses every file of a store: keys, tags, a batch, a large body, topics, a group's offsets."""
    api.create_topic(namesrv, topic, 4)
    producer = api.producer(namesrv)
    keyed = [
        {"body": b, "keys": f"key-{b}", "tag": "TagA" if n % 2 else "TagB"} for n, b in enumerate(bodies(FIRST_GROUP))
    ]
    producer.send(topic, keyed)
    consumer = api.consumer(namesrv, topic, group=group)
    expect_bodies(consumer.wait(FIRST_GROUP), bodies(FIRST_GROUP))
    consumer.acknowledged(topic, FIRST_GROUP)
    consumer.stop()
    producer.send(topic, bodies(20, "batch"), "batch")
    # Two more files of the commit log.
    producer_of_large = api.producer(namesrv, compress_over=32 << 20)
    producer_of_large.send(topic + "-large", [{"size": 3 << 20} for _ in range(8)])
    wait_route(namesrv, topic + "-large")
    producer.stop()
    producer_of_large.stop()
    return bodies(FIRST_GROUP) + bodies(20, "batch")


def check(api: Api, namesrv: str, topic: str, group: str, sent: list[str], fresh: list[str]) -> None:
    """Read everything back in each way that uses another file, then write on."""
    reader = api.pull_consumer(namesrv)
    got = reader.read_all(topic)
    expect_bodies(got, sent)
    tagged = reader.read_all(topic, expression="TagA")
    expect_bodies(tagged, [b for n, b in enumerate(bodies(FIRST_GROUP)) if n % 2])
    expect_bodies(reader.query(topic, "key-m-33"), ["m-33"])
    message = next(m for m in got if m["body"] == "m-7")
    expect(reader.view(topic, message["properties"]["UNIQ_KEY"])["body"], "m-7", "message by unique key")
    expect([m["size"] for m in reader.read_all(topic + "-large")], [3 << 20] * 8, "sizes of the large bodies")
    consumer = api.consumer(namesrv, topic, group=group)
    behind = [b for b in sent if b not in bodies(FIRST_GROUP)]
    consumer.wait_bodies(behind)
    expect_bodies(consumer.received(), behind)
    consumer.stop()
    producer = api.producer(namesrv)
    results = producer.send(topic, [{"body": b, "keys": b} for b in fresh])
    expect({r["status"] for r in results}, {"SEND_OK"}, "sends to the store taken over")
    everything = reader.read_all(topic)
    expect_bodies(everything, sent + fresh)
    for queue_id in range(4):
        offsets = [m["queue_offset"] for m in everything if m["queue_id"] == queue_id]
        expect(offsets, list(range(len(offsets))), f"queue offsets of queue {queue_id}")
    expect_bodies(reader.query(topic, fresh[0]), [fresh[0]])
    reader.stop()
    producer.stop()


def hand_over(servers: Servers, name_server: NameServer, old: Broker, *, crash: bool, **of: str) -> Broker:
    """Stop or kill a broker and start one of another kind on its store."""
    if crash:
        old.kill()
    else:
        old.stop()
        expect(old.abort_file.exists(), False, "abort file after a graceful stop")
    return servers.broker(name_server.address, like=old, **of)  # type: ignore[arg-type]


@case(
    "store_exchange/1",
    "a store written by an official broker is opened by the broker under test with all messages, indexes and offsets",
    source="commitlog, consumequeue, index, checkpoint, abort, config/*.json of 4.7.0 and 5.5.0",
)
@pytest.mark.parametrize(("version", "crash"), [("4.7.0", True), ("5.5.0", False)])
def test_from_official(version: str, crash: bool, api: Api, servers: Servers) -> None:
    name_server = servers.name_server()
    topic, group = api.fresh("topic"), api.fresh("CG")
    official = servers.broker(name_server.address, kind="official", version=version)
    sent = write(api, name_server.address, topic, group)
    if crash:
        # Offsets are written every 5 s; a crash may lose the last of them. Here the files, not the timer, are looked at.
        wait_offsets_written(official, topic, group, FIRST_GROUP)
    hand_over(servers, name_server, official, crash=crash)
    check(api, name_server.address, topic, group, sent, bodies(12, "ours"))


@case(
    "store_exchange/2",
    "a store written by the broker under test is opened by an official broker with all messages, indexes and offsets",
    source="commitlog, consumequeue, index, checkpoint, abort, config/*.json of 4.7.0 and 5.5.0",
)
@pytest.mark.parametrize(("version", "crash"), [("4.7.0", False), ("5.5.0", True)])
def test_to_official(version: str, crash: bool, api: Api, servers: Servers) -> None:
    name_server = servers.name_server()
    topic, group = api.fresh("topic"), api.fresh("CG")
    ours = servers.broker(name_server.address, version=version)
    sent = write(api, name_server.address, topic, group)
    if crash:
        wait_offsets_written(ours, topic, group, FIRST_GROUP)
    hand_over(servers, name_server, ours, crash=crash, kind="official", version=version)
    check(api, name_server.address, topic, group, sent, bodies(12, "official"))


@case(
    "store_exchange/3",
    "a store that went to the broker under test and back is whole for the official broker",
    source="commitlog, consumequeue, index, checkpoint, abort, config/*.json of 4.7.0 and 5.5.0",
)
@pytest.mark.long
@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_there_and_back(version: str, api: Api, servers: Servers) -> None:
    name_server = servers.name_server()
    topic, group = api.fresh("topic"), api.fresh("CG")
    official = servers.broker(name_server.address, kind="official", version=version)
    sent = write(api, name_server.address, topic, group)
    ours = hand_over(servers, name_server, official, crash=False, version=version)
    producer = api.producer(name_server.address)
    more = bodies(24, "ours")
    producer.send(topic, more)
    producer.stop()
    hand_over(servers, name_server, ours, crash=False, kind="official", version=version)
    check(api, name_server.address, topic, group, sent + more, bodies(12, "last"))
