"""Pulls, sends and settings as a case writes them at the wire, where it wants to see codes and fields exactly."""

from __future__ import annotations

import contextlib
import json
import re
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from interop import raw
from interop.api import Api
from interop.case import CaseFailure, shown
from interop.cluster import Cluster

PULL_MESSAGE, QUERY_CONSUMER_OFFSET, UPDATE_CONSUMER_OFFSET, UPDATE_AND_CREATE_TOPIC = 11, 14, 15, 17
UPDATE_AND_CREATE_GROUP, SEND_MESSAGE_V2, SEND_BATCH_MESSAGE = 200, 310, 320

COMMIT_OFFSET, SUSPEND, SUBSCRIPTION, CLASS_FILTER = 1, 2, 4, 8

Answer = tuple[dict[str, Any], bytes]


def text_of(properties: Mapping[str, str]) -> str:
    """Return properties as messages carry them."""
    return "".join(f"{name}\x01{value}\x02" for name, value in properties.items())


def send(
    connection: raw.Connection, topic: str, body: bytes = b"x", *, queue_id: int = 0,
    properties: Mapping[str, str] | None = None, sys_flag: int = 0, batch: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Send one message (310), or a batch (320), and return the header of the answer."""
    fields = {
        "a": "PG", "b": topic, "c": "TBW102", "d": "4", "e": str(queue_id), "f": str(sys_flag),
        "g": str(int(time.time() * 1000)), "h": "0", "i": text_of(properties or {}), "j": "0", "k": "false",
        "m": "true" if batch else "false",
    }  # fmt: skip
    header, _ = connection.request(SEND_BATCH_MESSAGE if batch else SEND_MESSAGE_V2, fields, body)
    return header


def batch_body(messages: Iterable[tuple[bytes, Mapping[str, str]]]) -> bytes:
    """Return messages (body, properties) as the body of a batch."""
    parts = []
    for body, properties in messages:
        text = text_of(properties).encode()
        parts.append(struct.pack(">iiiii", 22 + len(body) + len(text), 0, 0, 0, len(body)) + body)
        parts.append(struct.pack(">h", len(text)) + text)
    return b"".join(parts)


def pull_fields(
    group: str, topic: str, queue_id: int = 0, offset: int = 0, *, flags: int = SUBSCRIPTION, expression: str = "*",
    suspend_ms: int = 0, max_nums: int = 32, **more: str,
) -> dict[str, str]:  # fmt: skip
    """Return the header fields of a pull."""
    return {
        "consumerGroup": group, "topic": topic, "queueId": str(queue_id), "queueOffset": str(offset),
        "maxMsgNums": str(max_nums), "sysFlag": str(flags), "commitOffset": "0", "suspendTimeoutMillis": str(suspend_ms),
        "subscription": expression, "subVersion": "0", "expressionType": "TAG", **more,
    }  # fmt: skip


def pull(connection: raw.Connection, *arguments: Any, **more: Any) -> Answer:
    """Pull with `pull_fields` and return header and body of the answer."""
    return connection.request(PULL_MESSAGE, pull_fields(*arguments, **more))


def told(answer: Answer) -> tuple[int, str | None, int, int, int]:
    """Return code, remark, next, min and max offset of the answer to a pull."""
    header, _ = answer
    fields = header["extFields"]
    return (
        header["code"], header.get("remark"), int(fields["nextBeginOffset"]), int(fields["minOffset"]),
        int(fields["maxOffset"]),
    )  # fmt: skip


def make_topic(broker: str, topic: str, queues: int = 1, *, perm: int = 6, kind: str = "SINGLE_TAG") -> None:
    """Make or change a topic at its broker.

    Raises:
        CaseFailure: the broker refuses it.
    """
    fields = {
        "topic": topic, "defaultTopic": "TBW102", "readQueueNums": str(queues), "writeQueueNums": str(queues),
        "perm": str(perm), "topicFilterType": kind, "topicSysFlag": "0", "order": "false",
    }  # fmt: skip
    header, _ = raw.request(broker, UPDATE_AND_CREATE_TOPIC, fields)
    if header["code"] != 0:
        raise CaseFailure(f"the topic {topic} made", shown(header))


def make_group(broker: str, group: str, **members: Any) -> None:
    """Make or change a subscription group at its broker.

    Raises:
        CaseFailure: the broker refuses it.
    """
    config = {
        "groupName": group, "consumeEnable": True, "consumeBroadcastEnable": True, "consumeFromMinEnable": True,
        "retryQueueNums": 1, "retryMaxTimes": 16, "brokerId": 0, "whichBrokerWhenConsumeSlowly": 1,
        "notifyConsumerIdsChangedEnable": True, **members,
    }  # fmt: skip
    header, _ = raw.request(broker, UPDATE_AND_CREATE_GROUP, body=json.dumps(config).encode())
    if header["code"] != 0:
        raise CaseFailure(f"the group {group} made", shown(header))


@contextlib.contextmanager
def option(api: Api, cluster: Cluster, key: str, value: str, back: str) -> Iterator[None]:
    """Set an option of a running broker, as mqadmin does it, until the block ends.

    Raises:
        CaseFailure: mqadmin does not say that it succeeded.
    """

    def update(to: str) -> None:
        printed = api.mqadmin(cluster.namesrv, "updateBrokerConfig", "-b", cluster.broker.address, "-k", key, "-v", to)
        if re.search(r"update broker config success", printed) is None:
            raise CaseFailure(f"{key} set to {to}", shown(printed))

    update(value)
    try:
        yield
    finally:
        update(back)
