"""A broker that cannot keep up says so at once, and what it refused is not stored."""

from __future__ import annotations

import threading
from collections import Counter

from interop import raw
from interop.api import Api
from interop.case import case, expect, expect_that
from interop.cluster import Servers
from interop.requests import SEND_MESSAGE, bounds, send_fields

SYSTEM_BUSY = 2
BURST = 4000
OVERLOAD = "[OVERLOAD]system busy, start flow control for a while"


def send_at_once(broker: str, topic: str) -> Counter[tuple[int, str]]:
    """Send many requests without waiting for answers; count codes and remarks of the answers."""
    requests = b"".join(
        raw.frame(
            {"code": SEND_MESSAGE, "flag": 0, "language": "JAVA", "opaque": opaque, "version": 353,
             "serializeTypeCurrentRPC": "JSON", "extFields": send_fields(topic)},
            b"x" * 100,
        )
        for opaque in range(BURST)
    )  # fmt: skip
    answers: Counter[tuple[int, str]] = Counter()
    with raw.Connection(broker) as connection:
        writing = threading.Thread(target=connection.send, args=(requests,))
        writing.start()
        for _ in range(BURST):
            header, _ = connection.read_frame()
            answers[header["code"], str(header.get("remark") or "")] += 1
        writing.join()
    return answers


@case(
    "flow_control/1",
    "more sends than sendThreadPoolQueueCapacity that wait are refused with SYSTEM_BUSY, and only the others are stored",
    source="NettyRemotingAbstract.processRequestCommand, sendThreadPoolQueueCapacity",
)
def test_overload(api: Api, servers: Servers) -> None:
    cluster = servers.cluster(
        {"sendThreadPoolQueueCapacity": 1, "sendMessageThreadPoolNums": 1, "flushDiskType": "SYNC_FLUSH"}
    )
    topic = api.fresh("topic")
    api.create_topic(cluster.namesrv, topic, 1)
    answers = send_at_once(cluster.broker.address, topic)
    expect_that(set(answers) <= {(0, ""), (SYSTEM_BUSY, OVERLOAD)}, f"SUCCESS, or {SYSTEM_BUSY}: {OVERLOAD}", answers)
    expect_that(answers[SYSTEM_BUSY, OVERLOAD] > 0, "some are refused", answers)
    expect(
        bounds(cluster.broker.address, topic, 0),
        (0, answers[0, ""]),
        "bounds of the queue: as many as were not refused",
    )
    header, _ = raw.request(cluster.broker.address, SEND_MESSAGE, send_fields(topic), b"later")
    expect(header["code"], 0, "code of a send when nothing waits")
