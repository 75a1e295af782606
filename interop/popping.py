"""A consumer that pops, written at the wire."""

from __future__ import annotations

import struct
import time
from typing import Any

from interop.case import expect
from interop.driver import until
from interop.raw import Connection
from interop.requests import GET_MAX_OFFSET, MODERN_VERSION, SEND_MESSAGE, send_fields

POP, ACK, BATCH_ACK, PEEK, CHANGE, NOTIFICATION, POLLING_INFO = 200050, 200051, 200151, 200052, 200053, 200054, 200055
FOUND = 0
COMES_BACK_S = 15.0
"""Longest time after its invisible time that a message may take to come back: two rounds of the reviver, and the timer."""


def now_ms() -> int:
    """The time as clients tell it."""
    return int(time.time() * 1000)


class Message(dict[str, Any]):
    """A record: body, topic, queue_id, offset, reconsume, properties."""


def records(body: bytes) -> list[Message]:
    """Read records back to back."""
    found = []
    while body:
        (size,) = struct.unpack_from(">i", body)
        queue_id, _, offset = struct.unpack_from(">iiq", body, 12)
        (reconsume,) = struct.unpack_from(">i", body, 72)
        (length,) = struct.unpack_from(">i", body, 84)
        at = 88 + length
        topic_end = at + 1 + body[at]
        properties = body[topic_end + 2 : size].decode()
        found.append(
            Message(
                body=body[88:at].decode(),
                topic=body[at + 1 : topic_end].decode(),
                queue_id=queue_id,
                offset=offset,
                reconsume=reconsume,
                properties=dict(pair.split("\x01") for pair in properties.split("\x02") if pair),
            )
        )
        body = body[size:]
    return found


class Popped:
    """The answer to a pop.

    Attributes:
        code, remark, ext: As answered.
        messages: Each with its `receipt`, as a client makes it.
    """

    def __init__(self, header: dict[str, Any], body: bytes, broker: str = "broker-a") -> None:
        self.code: int = header["code"]
        self.remark = header.get("remark")
        self.ext: dict[str, str] = header.get("extFields", {})
        self.messages = records(body)
        starts = dict(part.rsplit(" ", 1) for part in self.ext.get("startOffsetInfo", "").split(";") if part)
        offsets = [
            (flag, queue, offset)
            for part in self.ext.get("msgOffsetInfo", "").split(";")
            if part
            for flag, queue, all_offsets in [part.split(" ")]
            for offset in all_offsets.split(",")
        ]
        if self.code != FOUND:
            return
        expect(len(offsets), len(self.messages), "messages that msgOffsetInfo names")
        for message, (flag, queue, offset) in zip(self.messages, offsets, strict=True):
            expect(
                (message["queue_id"], message["offset"]), (int(queue), int(offset)), "queue and offset by msgOffsetInfo"
            )
            e = self.ext
            receipt = (
                f"{starts[f'{flag} {queue}']} {e['popTime']} {e['invisibleTime']} {e['reviveQid']}"
                f" {flag} {broker} {queue} {offset}"
            )
            if flag != "0":
                expect(message["properties"].get("POP_CK"), receipt, "POP_CK of a message of the retry topic")
            message["receipt"] = receipt
            message["flag"] = flag

    @property
    def bodies(self) -> list[str]:
        return [message["body"] for message in self.messages]


class Popper:
    """A group's client, on one connection."""

    def __init__(self, broker: str, topic: str, group: str, broker_name: str = "broker-a") -> None:
        self.connection = Connection(broker)
        self.broker_name = broker_name
        self.topic = topic
        self.group = group

    def ask(self, code: int, body: bytes = b"", **fields: object) -> tuple[dict[str, Any], bytes]:
        """Send a request of this group and topic."""
        ext = {"topic": self.topic, "consumerGroup": self.group, **fields}
        return self.connection.request(
            code, {name: str(value) for name, value in ext.items()}, body, version=MODERN_VERSION
        )

    def send(self, *bodies: str, queue_id: int = 0, **properties: str) -> None:
        """Send messages."""
        for body in bodies:
            header, _ = self.connection.request(
                SEND_MESSAGE, send_fields(self.topic, queue_id, properties), body.encode(), version=MODERN_VERSION
            )
            expect(header["code"], 0, "code of a send")
            stored = int(header["extFields"]["queueOffset"])

            def dispatched(stored: int = stored) -> bool:
                told, _ = self.ask(GET_MAX_OFFSET, queueId=queue_id)
                return int(told["extFields"]["offset"]) > stored

            assert until(dispatched, 20), "a message that was stored is in its queue"

    def pop(self, invisible_ms: int = 60_000, *, count: int = 32, poll_ms: int = 0, **more: object) -> Popped:
        """Pop from all queues."""
        fields = {"queueId": -1, "bornTime": now_ms(), "initMode": 0, **more}
        return Popped(
            *self.ask(POP, maxMsgNums=count, invisibleTime=invisible_ms, pollTime=poll_ms, **fields), self.broker_name
        )

    def pop_all(
        self, wanted: int, invisible_ms: int = 60_000, timeout_s: float = COMES_BACK_S, **more: object
    ) -> list[Message]:
        """Pop until so many messages have come."""
        found: list[Message] = []

        def enough() -> bool:
            found.extend(self.pop(invisible_ms, **more).messages)
            return len(found) >= wanted

        until(enough, timeout_s)
        return found

    def _place(self, message: Message) -> dict[str, object]:
        topics = {"0": self.topic, "1": f"%RETRY%{self.group}_{self.topic}", "2": f"%RETRY%{self.group}+{self.topic}"}
        return {"topic": topics[message["flag"]], "queueId": message["queue_id"], "offset": message["offset"]}

    def ack(self, message: Message, **more: object) -> dict[str, Any]:
        """Acknowledge."""
        fields = {**self._place(message), "extraInfo": message["receipt"], **more}
        return self.ask(ACK, **fields)[0]

    def change(self, message: Message, invisible_ms: int, **more: object) -> dict[str, Any]:
        """Hide for another time; the message's receipt is the new one then."""
        fields = {**self._place(message), "extraInfo": message["receipt"], "invisibleTime": invisible_ms, **more}
        header = self.ask(CHANGE, **fields)[0]
        if header["code"] == 0:
            e = header["extFields"]
            message["receipt"] = (
                f"{message['offset']} {e['popTime']} {e['invisibleTime']} {e['reviveQid']} {message['flag']}"
                f" {self.broker_name} {message['queue_id']} {message['offset']}"
            )
        return header

    def quiet(self, for_s: float) -> None:
        """See to it that nothing comes for a while."""
        end = time.monotonic() + for_s
        while time.monotonic() < end:
            expect(self.pop().bodies, [], "bodies of a pop when all is acknowledged")
            time.sleep(0.2)
