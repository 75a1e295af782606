"""SYNC_MASTER: which answers wait for a slave, and what they say when it is late or gone.

The slave is one that reports what the test says; the official sources at 5.5.0 name the puts that wait.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld, Peer
from protocol.pop_world import PopWorld
from protocol.test_request_reply import Exchange
from protocol.transaction_world import COMMIT, ROLLBACK, Half, TransactionWorld
from protocol.wiring import Wire, sent

from rmqd.protocol.broker.ha_master import REPORT
from rmqwire.bodies import BatchAck, BatchAckMessageRequestBody, SubscriptionGroupConfig
from rmqwire.codes import ResponseCode
from rmqwire.command import RemotingCommand
from rmqwire.message import BatchEntry, decode_message_id, encode_batch, encode_properties
from rmqwire.requests import ConsumerSendMsgBack, RecallMessage, SendMessage
from rmqwire.requests.pop import BatchAckMessage
from rmqwire.requests.send import SendBatchMessage, SendMessageReply

SYNC = {"brokerRole": "SYNC_MASTER"}


class Reporter:
    """A slave that has what it says it has."""

    def __init__(self, world: BrokerWorld) -> None:
        self._store = world.store
        self._link = world.parts.replication.service.buildProtocol(None)
        self._link.makeConnection(Wire())
        self._link.dataReceived(REPORT.pack(0))
        self.has_all()

    def leave(self) -> None:
        self._link.connectionLost()

    def has_all(self) -> None:
        self._link.dataReceived(REPORT.pack(self._store.max_physical_offset))


def only_when_the_slave_has_it(world: BrokerWorld, slave: Reporter, peer: Peer) -> RemotingCommand:
    """The answer to what was just asked: none before the slave has reported, one then."""
    for _ in range(3):
        world.turn()
    assert not [each for each in sent(peer.wire) if each.is_response], "nothing may be answered yet"
    slave.has_all()
    world.turn()
    [answer] = [each for each in sent(peer.wire) if each.is_response]
    return answer


def send(**properties: str) -> SendMessage:
    return SendMessage(
        producer_group="p", topic="T", default_topic="TBW102", default_topic_queue_nums=4, queue_id=0, sys_flag=0,
        born_timestamp=1, flag=0, properties=encode_properties(properties).decode(),
    )  # fmt: skip


def batch(**properties: str) -> SendBatchMessage:
    return SendBatchMessage(
        producer_group="p", topic="T", default_topic="TBW102", default_topic_queue_nums=4, queue_id=0, sys_flag=0,
        born_timestamp=1, flag=0, properties=encode_properties(properties).decode(), batch=True,
    )  # fmt: skip


TWO = encode_batch([BatchEntry(0, b"one", b""), BatchEntry(0, b"two", b"")])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PopWorld:
    return PopWorld(tmp_path, monkeypatch, popFromRetryProbability="0", recallMessageEnable="true", **SYNC)


@pytest.mark.parametrize(
    ("header", "body"),
    [(send(), b"x"), (send(TIMER_DELAY_SEC="60"), b"x"), (send(DELAY="3"), b"x"), (batch(), TWO)],
    ids=["one", "timer", "delayed", "batch"],
)
def test_a_send_waits(world: PopWorld, header: SendMessage | SendBatchMessage, body: bytes) -> None:
    """Messages for later are in the log like any others."""
    slave = Reporter(world.world)
    world.peer.send(header, body)
    assert only_when_the_slave_has_it(world.world, slave, world.peer).code == ResponseCode.SUCCESS
    world.peer.send(header, body)
    world.world.reactor.advance(5.2)
    world.world.parts.replication.acks.expire()  # type: ignore[union-attr]
    [late] = [each for each in sent(world.peer.wire) if each.is_response]
    assert late.code == ResponseCode.FLUSH_SLAVE_TIMEOUT


@pytest.mark.parametrize("header", [send(WAIT="false"), batch(WAIT="false")], ids=["one", "batch"])
def test_a_producer_may_choose_not_to_wait(world: PopWorld, header: SendMessage | SendBatchMessage) -> None:
    """`setWaitStoreMsgOK(false)`; of a batch that of the whole counts."""
    Reporter(world.world)
    assert world.peer.ask(header, TWO).code == ResponseCode.SUCCESS


def test_pops_and_their_acknowledgements_wait(world: PopWorld) -> None:
    """A slave that takes over knows who has which messages, and what is done with."""
    slave = Reporter(world.world)
    world.put(b"a", b"b", b"c")
    slave.has_all()
    opaque = world.peer.send(world.request())
    popped = only_when_the_slave_has_it(world.world, slave, world.peer)
    assert (popped.opaque, popped.code) == (opaque, ResponseCode.SUCCESS)

    first = world.pop_of(popped)
    world.send_ack(first.messages[0], first.receipt(0))
    assert only_when_the_slave_has_it(world.world, slave, world.peer).code == ResponseCode.SUCCESS

    world.send_change(first.messages[1], first.receipt(1), 9000)
    changed = only_when_the_slave_has_it(world.world, slave, world.peer)
    assert (changed.code, changed.ext["invisibleTime"]) == (ResponseCode.SUCCESS, "9000")

    acks = BatchAck(
        consumer_group="G", topic="T", retry="0", start_offset=0, queue_id=0,
        revive_queue_id=int(changed.ext["reviveQid"]), pop_time=int(popped.ext["popTime"]),
        invisible_time=5000, bit_set=b"\x04",
    )  # fmt: skip
    world.peer.send(BatchAckMessage(), BatchAckMessageRequestBody(broker_name="broker-a", acks=[acks]).encode())
    assert only_when_the_slave_has_it(world.world, slave, world.peer).code == ResponseCode.SUCCESS


def test_a_late_slave_keeps_no_pop_back_for_good(world: PopWorld) -> None:
    """As Java: what is stored counts, and the answer says nothing of slaves."""
    slave = Reporter(world.world)
    world.put(b"a")
    slave.has_all()
    world.peer.send(world.request())
    assert sent(world.peer.wire) == []
    world.world.reactor.advance(5.2)
    world.world.parts.replication.acks.expire()  # type: ignore[union-attr]
    [popped] = sent(world.peer.wire)
    assert popped.code == ResponseCode.SUCCESS
    first = world.pop_of(popped)
    assert first.bodies == [b"a"]


def test_without_a_slave_pops_are_answered_at_once(world: PopWorld) -> None:
    world.put(b"a")
    popped = world.pop()
    assert popped.bodies == [b"a"]
    assert world.ack(popped.messages[0], popped.receipt(0)).code == ResponseCode.SUCCESS


def test_a_recall_waits(world: PopWorld) -> None:
    slave = Reporter(world.world)
    world.peer.send(send(TIMER_DELAY_SEC="60", UNIQ_KEY="ID"), b"later")
    handle = only_when_the_slave_has_it(world.world, slave, world.peer).ext["recallHandle"]
    world.peer.send(RecallMessage(topic="T", recall_handle=handle, producer_group="PG"))
    recalled = only_when_the_slave_has_it(world.world, slave, world.peer)
    assert (recalled.code, recalled.ext["msgId"]) == (ResponseCode.SUCCESS, "ID")


def test_a_message_that_is_sent_back_does_not_wait(world: PopWorld) -> None:
    """As Java since 3.x, which marks it as one that nobody waits for."""
    Reporter(world.world)
    [offset] = world.world.put("T", 0, b"again")
    world.world.parts.groups.update(SubscriptionGroupConfig(group_name="G"))
    assert world.peer.ask(ConsumerSendMsgBack(offset=offset, group="G", delay_level=0)).code == ResponseCode.SUCCESS


def test_a_reply_waits(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, **SYNC)
    slave = Reporter(exchange.world)
    exchange.reply()
    exchange.answer(exchange.pushed())
    assert only_when_the_slave_has_it(exchange.world, slave, exchange.responder).code == ResponseCode.SUCCESS


@pytest.mark.parametrize(
    ("outcome", "wait", "waits"),
    [(COMMIT, None, True), (COMMIT, "true", True), (COMMIT, "false", False), (ROLLBACK, None, False)],
)
def test_a_commit_waits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outcome: int,
    wait: str | None,
    waits: bool,
) -> None:
    """What counts is the half message's WAIT: the official code clears its own by copying the properties after it."""
    world = TransactionWorld(tmp_path, monkeypatch, **SYNC)
    answer = world.send(b"m", **({} if wait is None else {"WAIT": wait}))  # stored, although there is no slave yet
    reply = answer.header(SendMessageReply)
    _, position = decode_message_id(reply.msg_id)
    half = Half(reply.queue_offset, position, reply.msg_id)
    slave = Reporter(world.world)
    if not waits:
        assert world.end(half, outcome).code == ResponseCode.SUCCESS
        return
    world.send_end(half, outcome)
    assert only_when_the_slave_has_it(world.world, slave, world.producer).code == ResponseCode.SUCCESS
    assert world.delivered() == [b"m"]
    assert world.open_count() == 0


def test_with_the_options_of_5_one_copy_is_enough_for_pops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`inSyncReplicas=1` in the file: nothing waits for slaves, as 5.x does."""
    world = PopWorld(tmp_path, monkeypatch, inSyncReplicas="1", **SYNC)
    Reporter(world.world)
    assert world.peer.ask(send(), b"x").code == ResponseCode.SUCCESS
    assert world.pop().bodies == [b"x"]


ACTING = {"enableSlaveActingMaster": "true", "inSyncReplicas": "2", **SYNC}


@pytest.mark.parametrize(("header", "body"), [(send(), b"x"), (batch(), TWO)], ids=["one", "batch"])
def test_with_acting_slaves_a_message_without_enough_replicas_is_not_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: SendMessage | SendBatchMessage, body: bytes
) -> None:
    """Another master may take it; as 5.x. One that does not wait is stored all the same."""
    world = PopWorld(tmp_path, monkeypatch, **ACTING)
    for _ in range(2):
        refused = world.peer.ask(header, body)
        assert (refused.code, refused.remark) == (ResponseCode.SYSTEM_ERROR, "in-sync replicas not enough")
    assert world.world.store.max_offset("T", 0) == 0
    header.properties = encode_properties({"WAIT": "false"}).decode()
    assert world.peer.ask(header, body).code == ResponseCode.SUCCESS
    header.properties = ""
    slave = Reporter(world.world)
    world.peer.send(header, body)
    assert only_when_the_slave_has_it(world.world, slave, world.peer).code == ResponseCode.SUCCESS


def test_fewer_replicas_may_do_while_some_are_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`enableAutoInSyncReplicas`, down to `minInSyncReplicas`."""
    world = PopWorld(tmp_path, monkeypatch, enableAutoInSyncReplicas="true", **ACTING)
    assert world.peer.ask(send(), b"x").code == ResponseCode.SUCCESS
    world.world.options.store.min_in_sync_replicas = 2
    world.world.parts.replication.follow()
    assert world.peer.ask(send(), b"x").code == ResponseCode.SYSTEM_ERROR


def test_a_commit_without_enough_replicas_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not lost: the half message stays open."""
    world = TransactionWorld(tmp_path, monkeypatch, **ACTING)
    header = world.half_header(b"m", WAIT="true")
    slave = Reporter(world.world)
    world.producer.send(header, b"m")
    reply = only_when_the_slave_has_it(world.world, slave, world.producer).header(SendMessageReply)
    _, position = decode_message_id(reply.msg_id)
    half = Half(reply.queue_offset, position, reply.msg_id)
    slave.leave()
    answer = world.end(half, COMMIT)
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "in-sync replicas not enough")
    assert (world.delivered(), world.open_count()) == ([], 1)
