"""Replies reach their requester, are stored for the record, and the responder is told what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import NOW_MS, BrokerWorld
from protocol.wiring import sent

from rmqd.protocol.broker import parts
from rmqd.protocol.broker.delay import SCHEDULE_TOPIC
from rmqd.protocol.broker.request_reply import PUSH_TIMEOUT_MS
from rmqd.store.reading import GetStatus
from rmqwire.codes import RequestCode, ResponseCode
from rmqwire.command import FLAG_RESPONSE, RemotingCommand, encode_command
from rmqwire.message import StoredMessage, decode_message_id, decode_properties, decode_record, encode_properties
from rmqwire.requests.send import PushReplyMessageToClient, SendMessageReply, SendReplyMessage, SendReplyMessageV2

REPLY_TOPIC = "C_REPLY_TOPIC"


class Exchange:
    """A broker, a requester that it knows, and a responder."""

    def __init__(self, folder: Path, **keys: str) -> None:
        self.world = BrokerWorld(folder, **keys)
        self.requester = self.world.peer("asker")
        self.requester.beat(producers=("PG",))
        self.responder = self.world.peer("responder")

    def reply(self, properties: dict[str, str] | None = None, *, v2: bool = True, **fields: object) -> int:
        """Send a reply, by default to the requester; give its opaque number."""
        if properties is None:
            properties = {"REPLY_TO_CLIENT": "asker", "CORRELATION_ID": "42", "MSG_TYPE": "reply"}
        known: dict[str, object] = {
            "producer_group": "RG", "topic": REPLY_TOPIC, "default_topic": "TBW102", "default_topic_queue_nums": 4,
            "queue_id": 0, "sys_flag": 1, "born_timestamp": NOW_MS, "flag": 7,
            "properties": encode_properties(properties).decode(),
        }  # fmt: skip
        kind = SendReplyMessageV2 if v2 else SendReplyMessage
        return self.responder.send(kind(**{**known, **fields}), b"the reply")  # type: ignore[arg-type]

    def pushed(self) -> RemotingCommand:
        """Take the push that the requester has got."""
        [push] = [command for command in sent(self.requester.wire) if not command.is_response]
        assert push.code == RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT
        return push

    def answer(self, push: RemotingCommand, code: int = 0) -> None:
        """Let the requester answer a push."""
        command = RemotingCommand(code, opaque=push.opaque, flag=FLAG_RESPONSE)
        self.requester.connection.dataReceived(encode_command(command))
        self.world.turn()

    def told(self, opaque: int) -> RemotingCommand:
        """Take the answer to a reply."""
        self.world.turn()
        [answer] = sent(self.responder.wire)
        assert answer.opaque == opaque
        return answer

    def stored(self, topic: str = REPLY_TOPIC, queue_id: int = 0) -> list[StoredMessage]:
        """What a topic holds."""
        found = self.world.store.get_messages(topic, queue_id, 0, 32)
        return [decode_record(record) for record in found.records] if found.status is GetStatus.FOUND else []


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    exchange = Exchange(tmp_path)
    yield exchange
    exchange.world.close()


@pytest.mark.parametrize("v2", [False, True])
def test_a_reply_is_handed_over_and_stored(v2: bool, exchange: Exchange) -> None:
    """The requester gets it as it was sent; the responder is answered when the requester has answered."""
    opaque = exchange.reply(v2=v2)
    push = exchange.pushed()
    header = push.header(PushReplyMessageToClient)
    assert push.body == b"the reply"
    assert (header.topic, header.producer_group, header.queue_id) == (REPLY_TOPIC, "RG", 0)
    assert (header.flag, header.sys_flag, header.born_timestamp) == (7, 1, NOW_MS)
    assert header.store_host == "127.0.0.1:10911"
    properties = decode_properties((header.properties or "").encode())
    assert properties.pop("PUSH_REPLY_TIME") == str(header.store_timestamp)
    wanted = {"REPLY_TO_CLIENT": "asker", "CORRELATION_ID": "42", "MSG_TYPE": "reply"}
    assert wanted.items() <= properties.items()
    assert sent(exchange.responder.wire) == [], "nothing before the requester has it"
    assert exchange.stored() == []
    exchange.answer(push)
    answer = exchange.told(opaque)
    assert answer.code == ResponseCode.SUCCESS
    [message] = exchange.stored()
    assert (message.body, message.flag) == (b"the reply", 7)
    reply = answer.header(SendMessageReply)
    assert decode_message_id(reply.msg_id)[1] == message.physical_offset
    assert (reply.queue_id, reply.queue_offset) == (0, 0)
    assert wanted.items() <= decode_properties(message.properties).items()
    assert "PUSH_REPLY_TIME" not in decode_properties(message.properties)


@pytest.mark.parametrize(
    ("properties", "remark"),
    [
        ({"CORRELATION_ID": "1"}, "reply message properties[REPLY_TO_CLIENT] is null"),
        ({"REPLY_TO_CLIENT": "nobody"}, "push reply message fail, channel of <nobody> not found."),
    ],
)
def test_a_requester_that_cannot_be_found(properties: dict[str, str], remark: str, exchange: Exchange) -> None:
    """The responder learns why; what it sent is stored all the same."""
    answer = exchange.told(exchange.reply(properties))
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, remark)
    assert [message.body for message in exchange.stored()] == [b"the reply"]


def test_a_requester_that_has_left(exchange: Exchange) -> None:
    exchange.requester.leave()
    answer = exchange.told(exchange.reply())
    assert answer.remark == "push reply message fail, channel of <asker> not found."


def test_a_requester_that_refuses(exchange: Exchange) -> None:
    opaque = exchange.reply()
    exchange.answer(exchange.pushed(), code=ResponseCode.SYSTEM_ERROR)
    answer = exchange.told(opaque)
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "push reply message to askerfail.")


def test_a_requester_that_does_not_answer(exchange: Exchange) -> None:
    """It has its time, and no longer."""
    opaque = exchange.reply()
    exchange.pushed()
    exchange.world.reactor.advance(PUSH_TIMEOUT_MS / 1000 - 0.1)
    assert sent(exchange.responder.wire) == []
    exchange.world.reactor.advance(0.2)
    answer = exchange.told(opaque)
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "push reply message to askerfail.")
    assert len(exchange.stored()) == 1


def test_a_requester_that_leaves_meanwhile(exchange: Exchange) -> None:
    """The responder does not wait for the time to pass."""
    opaque = exchange.reply()
    exchange.pushed()
    exchange.requester.leave()
    assert exchange.told(opaque).remark == "push reply message to askerfail."


def test_replies_that_are_not_to_be_stored(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, storeReplyMessageEnable="false")
    opaque = exchange.reply()
    exchange.answer(exchange.pushed())
    answer = exchange.told(opaque)
    assert answer.code == ResponseCode.SUCCESS
    assert answer.header(SendMessageReply).msg_id == "0"
    assert exchange.stored() == []
    exchange.world.close()


def test_the_record_may_be_delayed_the_push_is_not(exchange: Exchange) -> None:
    opaque = exchange.reply({"REPLY_TO_CLIENT": "asker", "DELAY": "2"})
    exchange.answer(exchange.pushed())
    assert exchange.told(opaque).code == ResponseCode.SUCCESS
    assert exchange.stored() == []
    assert [message.body for message in exchange.stored(SCHEDULE_TOPIC, 1)] == [b"the reply"]


def test_a_reply_that_is_refused_is_not_handed_over(exchange: Exchange) -> None:
    """A queue that does not exist, a topic that may not be written."""
    for fields, code in (
        ({"queue_id": 99}, ResponseCode.INVALID_PARAMETER),
        ({"topic": "a b"}, ResponseCode.INVALID_PARAMETER),
        ({"topic": "RMQ_SYS_TRANS_HALF_TOPIC"}, ResponseCode.NO_PERMISSION),
    ):
        answer = exchange.told(exchange.reply(**fields))  # type: ignore[arg-type]
        assert answer.code == code, fields
        assert [command for command in sent(exchange.requester.wire) if not command.is_response] == []


def test_a_broker_that_does_not_accept_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "wall_clock_ms", lambda: NOW_MS)
    exchange = Exchange(tmp_path, startAcceptSendRequestTimeStamp=str(NOW_MS + 1))
    answer = exchange.told(exchange.reply())
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, f"broker unable to service, until {NOW_MS + 1}")
    exchange.world.close()


def test_replies_and_sends_of_one_turn_do_not_mix(exchange: Exchange) -> None:
    """Several replies wait for their requester at the same time, and each gets its own answer."""
    opaques = [exchange.reply({"REPLY_TO_CLIENT": "asker", "CORRELATION_ID": str(number)}) for number in range(3)]
    pushes = [command for command in sent(exchange.requester.wire) if not command.is_response]
    for push in reversed(pushes):
        exchange.answer(push)
    exchange.world.turn()
    answers = sent(exchange.responder.wire)
    assert [answer.opaque for answer in answers] == opaques[::-1]
    offsets = {answer.header(SendMessageReply).queue_offset for answer in answers}
    assert offsets == {0, 1, 2}
