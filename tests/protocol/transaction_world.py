"""A whole broker on a simulated clock, with a producer of transactions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from protocol.fakes import NOW_MS, BrokerWorld, Peer
from protocol.wiring import sent
from twisted.internet.defer import Deferred

from protocol import fakes
from rmqd.protocol.broker import parts
from rmqd.protocol.broker.names import TRANS_CHECK_MAX_TIME_TOPIC, TRANS_HALF_TOPIC, TRANS_OP_HALF_TOPIC
from rmqd.store.reading import GetStatus
from rmqwire.bodies import TopicConfig
from rmqwire.codes import RequestCode
from rmqwire.command import RemotingCommand
from rmqwire.message import StoredMessage, decode_message_id, decode_properties, decode_record, encode_properties
from rmqwire.requests.send import SendMessageReply, SendMessageV2
from rmqwire.requests.transaction import CheckTransactionState, EndTransaction

STEP_S = 0.5
UNKNOWN, COMMIT, ROLLBACK = 0, 8, 12


@dataclass(frozen=True, slots=True)
class Half:
    """What a producer knows of a transaction that it opened, or that it is asked about."""

    queue_offset: int
    commit_log_offset: int
    msg_id: str


@dataclass(frozen=True, slots=True)
class Check:
    """A check that a producer got: its header, the message in it, and the message's properties."""

    header: CheckTransactionState
    message: StoredMessage
    properties: dict[str, str]

    @property
    def half(self) -> Half:
        """The copy that the check is about."""
        return Half(self.header.tran_state_table_offset, self.header.commit_log_offset, self.header.msg_id or "")


class TransactionWorld:
    """A broker with topic T of two queues and a producer of group P. Rounds of checks are every 30 s."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **keys: str) -> None:
        self._folder = folder
        self._keys = keys
        self._clients = 0
        self.passed_s = 0.0
        monkeypatch.setattr(parts, "wall_clock_ms", self.now_ms)
        monkeypatch.setattr(fakes, "wall_clock_ms", self.now_ms)
        self.begin()
        self.world.parts.topics.update(TopicConfig(topic_name="T", read_queue_nums=2, write_queue_nums=2))

    def now_ms(self) -> int:
        """The wall clock."""
        return NOW_MS + round(self.passed_s * 1000)

    def begin(self) -> None:
        """Start the broker."""
        self.world = BrokerWorld(self._folder, **self._keys)
        self.transactions = self.world.parts.transactions
        self.transactions.begin()
        self.producer = self.connected()

    def connected(self, group: str = "P") -> Peer:
        """Another producer."""
        self._clients += 1
        peer = self.world.peer(f"client-{self._clients}")
        peer.beat(producers=(group,))
        return peer

    def crash(self) -> None:
        """The process dies: of its state files there is what was written by `save`."""
        self.world.close()
        self.begin()

    def save(self) -> None:
        """Write the state files, as a running broker does every few seconds."""
        done = Deferred.fromCoroutine(self.world.parts.save_all())
        assert done.called

    def stop(self) -> None:
        """An orderly stop, and the next start."""
        done = Deferred.fromCoroutine(self.transactions.stop())
        for _ in range(20):
            self.world.reactor.advance(0)
        assert done.called
        self.save()
        self.crash()

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_S)):
            self.passed_s += STEP_S
            self.world.reactor.advance(STEP_S)
            for _ in range(20):
                self.world.turn()

    def send(self, body: bytes = b"m", queue_id: int = 0, **properties: str) -> RemotingCommand:
        """Send a half message."""
        return self.producer.ask(self.half_header(body, queue_id, **properties), body)

    def half_header(self, body: bytes, queue_id: int = 0, **properties: str) -> SendMessageV2:
        """The header that sends a half message."""
        own = {"TRAN_MSG": "true", "PGROUP": "P", "UNIQ_KEY": f"U{body.decode()}", **properties}
        return SendMessageV2(
            producer_group="P",
            topic="T",
            default_topic="TBW102",
            default_topic_queue_nums=4,
            queue_id=queue_id,
            sys_flag=4,
            born_timestamp=self.now_ms(),
            flag=7,
            properties=encode_properties(own).decode(),
        )

    def open(self, body: bytes = b"m", queue_id: int = 0, **properties: str) -> Half:
        """Send a half message that is stored."""
        answer = self.send(body, queue_id, **properties)
        assert answer.code == 0, answer
        reply = answer.header(SendMessageReply)
        _, position = decode_message_id(reply.msg_id)
        return Half(reply.queue_offset, position, reply.msg_id)

    def end(self, half: Half, outcome: int, *, checked: bool = False, group: str = "P") -> RemotingCommand:
        """End a transaction, and take the answer, which a client does not ask for."""
        return self.producer.ask(self._end(half, outcome, checked=checked, group=group))

    def send_end(self, half: Half, outcome: int) -> None:
        """End a transaction, and leave the answer."""
        self.producer.send(self._end(half, outcome, checked=False, group="P"))

    @staticmethod
    def _end(half: Half, outcome: int, *, checked: bool, group: str) -> EndTransaction:
        return EndTransaction(
            producer_group=group,
            tran_state_table_offset=half.queue_offset,
            commit_log_offset=half.commit_log_offset,
            commit_or_rollback=outcome,
            msg_id=half.msg_id,
            from_transaction_check=checked,
        )

    def checks(self, peer: Peer | None = None) -> list[Check]:
        """Take the checks that a producer has got."""
        found = []
        for command in sent((peer or self.producer).wire):
            if command.code == RequestCode.CHECK_TRANSACTION_STATE and not command.is_response:
                assert command.is_oneway
                message = decode_record(command.body)
                found.append(
                    Check(command.header(CheckTransactionState), message, decode_properties(message.properties))
                )
        return found

    def read(self, topic: str, queue_id: int = 0) -> list[StoredMessage]:
        """All messages of a queue."""
        messages: list[StoredMessage] = []
        while (found := self.world.store.get_messages(topic, queue_id, len(messages), 32)).status is GetStatus.FOUND:
            messages += [decode_record(record) for record in found.records]
        return messages

    def delivered(self) -> list[bytes]:
        """The bodies that consumers of T see, sorted."""
        return sorted(message.body for queue_id in (0, 1) for message in self.read("T", queue_id))

    def halves(self) -> list[bytes]:
        """The bodies of all half messages and their copies."""
        return [message.body for message in self.read(TRANS_HALF_TOPIC)]

    def notes(self) -> list[bytes]:
        """The bodies of the notes of what has ended."""
        return [message.body for message in self.read(TRANS_OP_HALF_TOPIC)]

    def given_up(self) -> list[StoredMessage]:
        """What nobody knows the outcome of."""
        return self.read(TRANS_CHECK_MAX_TIME_TOPIC)

    def open_count(self) -> int:
        """How many transactions of T are said to be open."""
        return self.transactions.counts.count("T")

    def answer_checks(self, outcome: int) -> Counter[bytes]:
        """Answer all checks alike; give how often each body was asked about."""
        checks = self.checks()
        for check in checks:
            self.end(check.half, outcome, checked=True)
        return Counter(check.message.body for check in checks)
