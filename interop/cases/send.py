"""Sending in every mode, by every client version, and reading back what was stored."""

from __future__ import annotations

import pytest

from interop.api import JAVA, Api
from interop.case import case, expect, expect_that
from interop.cluster import Cluster


@case(
    "send/1",
    "a message of any client version to a topic that it creates is stored, and a consumer of that version gets it unchanged",
    source="SendMessageProcessor, PullMessageProcessor; codes 310, 11",
)
@pytest.mark.parametrize("version", JAVA)
def test_send_and_consume(version: str, api: Api, cluster: Cluster) -> None:
    topic = api.fresh("topic")
    producer = api.producer(cluster.namesrv, version)
    message = {"body": "grüße-世界", "tag": "TagA", "keys": "k1 k2", "flag": 7, "properties": {"colour": "green"}}
    (result,) = producer.send(topic, [message])
    expect(result["status"], "SEND_OK")
    expect(result["queue_offset"], 0, "queue offset of the first message of a queue")
    expect(result["broker"], "broker-a")
    cluster.wait_route(topic)
    (got, *more) = api.consumer(cluster.namesrv, topic, version).wait(1) or [{}]
    expect(more, [], "further messages")
    told = {key: got.get(key) for key in ("body", "tag", "keys", "flag", "queue_id", "queue_offset", "reconsume_times")}
    expect(
        told,
        {"body": "grüße-世界", "tag": "TagA", "keys": "k1 k2", "flag": 7, "queue_id": result["queue_id"],
         "queue_offset": 0, "reconsume_times": 0},
    )  # fmt: skip
    expect(got["properties"].get("colour"), "green", "user property")
    expect(got["store_host"], cluster.broker.address, "store host")
    expect_that(0 <= got["stored_at_ms"] - got["born_at_ms"] < 60_000, "store time at or after birth time", got)
