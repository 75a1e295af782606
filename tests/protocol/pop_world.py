"""A whole broker with its timer on a simulated clock, and a client that pops from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from protocol.fakes import NOW_MS, BrokerWorld, Peer
from protocol.wiring import sent

from protocol import fakes
from rmqd.protocol.broker import parts
from rmqwire.bodies import TopicConfig
from rmqwire.command import RemotingCommand
from rmqwire.hashing import tags_code
from rmqwire.message import StoredMessage, decode_properties, encode_host, encode_properties, iter_records
from rmqwire.requests.pop import AckMessage, ChangeMessageInvisibleTime, PopMessage

STEP_S = 0.1


class PopWorld:
    """A broker with topic T of two queues; `crash` and `restart` begin it anew on the same store."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **keys: str) -> None:
        self._folder = folder
        self._keys = keys
        self.passed_s = 0.0
        monkeypatch.setattr(parts, "wall_clock_ms", self.now_ms)
        monkeypatch.setattr(fakes, "wall_clock_ms", self.now_ms)
        self.begin()
        for topic in ("T", "%RETRY%unused"):
            self.world.parts.topics.update(TopicConfig(topic_name=topic, read_queue_nums=2, write_queue_nums=2))

    def now_ms(self) -> int:
        """The wall clock."""
        return NOW_MS + round(self.passed_s * 1000)

    def begin(self) -> None:
        """Start the broker."""
        self.world = BrokerWorld(self._folder, **self._keys)
        timers = self.world.parts.timers
        assert timers is not None
        timers.begin()
        self.timers = timers
        self.pops = self.world.parts.pops
        self.pops.begin()
        self.pops.begin_reviving()
        self.peer = self.world.peer()

    def crash(self) -> None:
        """The process dies."""
        self.timers.files.close()
        self.world.close()
        self.begin()

    def tick(self, seconds: float = STEP_S) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.passed_s += STEP_S
            self.world.reactor.advance(STEP_S)
            self.timers.tick()
            for _ in range(4):
                self.world.turn()

    def put(self, *bodies: bytes, queue_id: int = 0, **properties: str) -> None:
        """Store messages in T."""
        for body in bodies:
            self.world.store.stage(
                "T",
                queue_id,
                body,
                encode_properties(properties),
                tags_code=tags_code(properties.get("TAGS")),
                keys=(),
                flag=7,
                sys_flag=0,
                born_timestamp=NOW_MS - 5,
                born_host=encode_host("127.0.0.1", 1),
            )
        self.world.store.commit()

    def request(self, invisible_ms: int = 5000, **fields: object) -> PopMessage:
        """A pop of all queues."""
        known: dict[str, object] = {
            "consumer_group": "G",
            "topic": "T",
            "queue_id": -1,
            "max_msg_nums": 32,
            "invisible_time": invisible_ms,
            "born_time": self.now_ms(),
        }
        return PopMessage(**{**known, **fields})  # type: ignore[arg-type]

    def pop(self, invisible_ms: int = 5000, **fields: object) -> Popped:
        """Pop, and take the answer."""
        return Popped(self.peer.ask(self.request(invisible_ms, **fields)))

    @staticmethod
    def pop_of(answer: RemotingCommand) -> Popped:
        """What an answer to a pop brought."""
        return Popped(answer)

    def held(self, peer: Peer | None = None, **fields: object) -> Peer:
        """Let a pop wait, on a connection of its own."""
        peer = peer or self.world.peer("another")
        peer.send(self.request(**{"poll_time": 10_000, **fields}))  # type: ignore[arg-type]
        assert sent(peer.wire) == []
        return peer

    def ack(self, message: StoredMessage, receipt: str, topic: str = "T") -> RemotingCommand:
        """Acknowledge."""
        return self.peer.ask(self._ack(message, receipt, topic))

    def send_ack(self, message: StoredMessage, receipt: str) -> None:
        """Acknowledge, and leave the answer."""
        self.peer.send(self._ack(message, receipt, "T"))

    @staticmethod
    def _ack(message: StoredMessage, receipt: str, topic: str) -> AckMessage:
        return AckMessage(
            consumer_group="G",
            topic=topic,
            queue_id=message.queue_id,
            extra_info=receipt,
            offset=message.queue_offset,
        )

    def change(self, message: StoredMessage, receipt: str, invisible_ms: int, **more: bool) -> RemotingCommand:
        """Hide for another time."""
        return self.peer.ask(self._change(message, receipt, invisible_ms, **more))

    def send_change(self, message: StoredMessage, receipt: str, invisible_ms: int) -> None:
        """Hide for another time, and leave the answer."""
        self.peer.send(self._change(message, receipt, invisible_ms))

    @staticmethod
    def _change(message: StoredMessage, receipt: str, invisible_ms: int, **more: bool) -> ChangeMessageInvisibleTime:
        return ChangeMessageInvisibleTime(
            consumer_group="G",
            topic="T",
            queue_id=message.queue_id,
            extra_info=receipt,
            offset=message.queue_offset,
            invisible_time=invisible_ms,
            **more,
        )

    def wait_back(self, seconds: float = 15.0, **fields: object) -> Popped:
        """Let time pass until a pop finds something."""
        for _ in range(round(seconds / 0.5)):
            self.tick(0.5)
            popped = self.pop(60_000, **fields)
            if popped.messages:
                return popped
        raise AssertionError(f"nothing came back in {seconds} s")


class Popped:
    """The answer to a pop."""

    def __init__(self, answer: RemotingCommand) -> None:
        self.code = answer.code
        self.remark = answer.remark
        self.ext = {str(key): str(value) for key, value in answer.ext.items()}
        self.messages = list(iter_records(answer.body))

    @property
    def bodies(self) -> list[bytes]:
        return [message.body for message in self.messages]

    def receipt(self, index: int) -> str:
        """The receipt of one message."""
        message = self.messages[index]
        ready = decode_properties(message.properties).get("POP_CK")
        if ready is not None:
            return ready
        starts = dict(part.rsplit(" ", 1) for part in self.ext["startOffsetInfo"].split(";"))
        start = starts[f"0 {message.queue_id}"]
        return (
            f"{start} {self.ext['popTime']} {self.ext['invisibleTime']} {self.ext['reviveQid']} 0 broker-a"
            f" {message.queue_id} {message.queue_offset}"
        )
