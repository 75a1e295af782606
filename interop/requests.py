"""Requests that cases write themselves, on `interop.raw`, where no client asks for what they want to see."""

from __future__ import annotations

import json
import re
import select
import time
from typing import Any

from interop import raw

SEND_MESSAGE, PULL_MESSAGE, QUERY_CONSUMER_OFFSET, UPDATE_CONSUMER_OFFSET = 10, 11, 14, 15
GET_ALL_TOPIC_CONFIG, GET_MAX_OFFSET, GET_MIN_OFFSET = 21, 30, 31
HEART_BEAT, UNREGISTER_CLIENT, CONSUMER_SEND_MSG_BACK, GET_CONSUMER_LIST_BY_GROUP = 34, 35, 36, 38
NOTIFY_CONSUMER_IDS_CHANGED, LOCK_BATCH_MQ, UNLOCK_BATCH_MQ = 40, 41, 42

SUCCESS, SYSTEM_ERROR, NO_PERMISSION, TOPIC_NOT_EXIST = 0, 1, 16, 17
QUERY_NOT_FOUND, SUBSCRIPTION_GROUP_NOT_EXIST = 22, 26

MODERN_VERSION = 513
QUIET_S = 0.2
"""So long must nothing come for notifications to be counted as one."""


def send_fields(topic: str, queue_id: int = 0, properties: dict[str, str] | None = None, **more: str) -> dict[str, str]:
    """Return the header fields of SEND_MESSAGE."""
    text = "".join(f"{name}\x01{value}\x02" for name, value in (properties or {}).items())
    return {
        "producerGroup": "PG", "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
        "queueId": str(queue_id), "sysFlag": "0", "bornTimestamp": str(int(time.time() * 1000)), "flag": "0",
        "properties": text, "reconsumeTimes": "0", "unitMode": "false", **more,
    }  # fmt: skip


def topic_config(broker: str, topic: str) -> dict[str, Any] | None:
    """Return a topic as the broker keeps it."""
    header, body = raw.request(broker, GET_ALL_TOPIC_CONFIG, version=MODERN_VERSION)
    assert header["code"] == SUCCESS, header
    # Brokers with static topics write numbers as names, as FastJSON does.
    text = re.sub(r"([{,])\s*(-?\d+)\s*:", r'\1"\2":', body.decode())
    found: dict[str, Any] | None = json.loads(text)["topicConfigTable"].get(topic)
    return found


def bounds(broker: str, topic: str, queue_id: int) -> tuple[int, int]:
    """Return the min and max offset of a queue."""
    fields = {"topic": topic, "queueId": str(queue_id)}
    with raw.Connection(broker) as connection:
        low, _ = connection.request(GET_MIN_OFFSET, fields)
        high, _ = connection.request(GET_MAX_OFFSET, fields)
    return int(low["extFields"]["offset"]), int(high["extFields"]["offset"])


def heartbeat(client_id: str, group: str, *topics: str, model: str = "CLUSTERING", **members: Any) -> bytes:
    """Return the body of a heartbeat of one push consumer."""
    subscriptions = [
        {"classFilterMode": False, "codeSet": [], "subString": "*", "subVersion": 1, "tagsSet": [], "topic": topic}
        for topic in topics
    ]
    consumer = {
        "consumeFromWhere": "CONSUME_FROM_LAST_OFFSET", "consumeType": "CONSUME_PASSIVELY", "groupName": group,
        "messageModel": model, "subscriptionDataSet": subscriptions, "unitMode": False, **members,
    }  # fmt: skip
    return json.dumps({"clientID": client_id, "consumerDataSet": [consumer], "producerDataSet": []}).encode()


class Member(raw.Connection):
    """One consumer of a group, at the wire."""

    def __init__(self, address: str, client_id: str) -> None:
        super().__init__(address)
        self.client_id = client_id
        self.notified: list[str] = []
        """The groups that codes 40 named since the last look."""

    def join(self, group: str, *topics: str, **members: Any) -> dict[str, Any]:
        """Send a heartbeat."""
        answer, _ = self.request(HEART_BEAT, body=heartbeat(self.client_id, group, *topics, **members))
        return answer

    def leave(self, group: str) -> dict[str, Any]:
        """Unregister."""
        answer, _ = self.request(UNREGISTER_CLIENT, {"clientID": self.client_id, "consumerGroup": group})
        return answer

    def members(self, group: str) -> list[str]:
        """Return the client ids of a group; empty when it has none."""
        answer, body = self.request(GET_CONSUMER_LIST_BY_GROUP, {"consumerGroup": group})
        return sorted(json.loads(body)["consumerIdList"]) if answer["code"] == SUCCESS else []

    def read_frame(self) -> tuple[dict[str, Any], bytes]:
        """Read one frame, and note it when it is a notification: one may come before the answer to a request."""
        header, body = super().read_frame()
        if header["code"] == NOTIFY_CONSUMER_IDS_CHANGED and not header.get("flag", 0) & raw.FLAG_RESPONSE:
            self.notified.append(header["extFields"]["consumerGroup"])
        return header, body

    def wait_notified(self, timeout_s: float = 20.0, quiet_s: float = QUIET_S) -> bool:
        """Say whether there was a notification since the last call, or one comes in time; further ones are read too."""
        deadline = time.monotonic() + timeout_s
        while not self.notified and self._readable(deadline - time.monotonic()):
            self.read_frame()
        while self._readable(quiet_s):
            self.read_frame()
        told = bool(self.notified)
        self.notified.clear()
        return told

    def _readable(self, timeout_s: float) -> bool:
        return bool(select.select([self.socket], [], [], max(0.0, timeout_s))[0])

    def locked(self, group: str, *queues: tuple[str, int], broker_name: str = "broker-a") -> list[int]:
        """Ask for the locks of queues (topic and number) and return the numbers of those that are ours."""
        answer, body = self.request(LOCK_BATCH_MQ, body=self._lock_body(group, queues, broker_name))
        assert answer["code"] == SUCCESS, answer
        return sorted(queue["queueId"] for queue in json.loads(body)["lockOKMQSet"])

    def unlock(self, group: str, *queues: tuple[str, int], broker_name: str = "broker-a") -> None:
        """Give locks back."""
        answer, _ = self.request(UNLOCK_BATCH_MQ, body=self._lock_body(group, queues, broker_name))
        assert answer["code"] == SUCCESS, answer

    def _lock_body(self, group: str, queues: tuple[tuple[str, int], ...], broker_name: str) -> bytes:
        named = [{"brokerName": broker_name, "queueId": number, "topic": topic} for topic, number in queues]
        return json.dumps({"clientId": self.client_id, "consumerGroup": group, "mqSet": named}).encode()
