"""Pops from a slave that stands in: nothing is given out that could be lost, nothing is written to its own log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import Peer
from protocol.namesrv_wiring import topic
from protocol.test_escape import OTHER, Scene
from protocol.test_member_group import SLAVE
from protocol.wiring import sent
from twisted.internet.defer import Deferred

from rmqd.protocol.broker.escape import Escape
from rmqd.protocol.broker.names import TIMER_TOPIC
from rmqd.protocol.broker.pop_log import Posted
from rmqd.protocol.clocks import wall_clock_ms
from rmqd.protocol.remoting import PeerError
from rmqd.store.reading import GetStatus
from rmqwire.bodies import BatchAck, BatchAckMessageRequestBody, PopAck, PopCheckPoint
from rmqwire.codes import ResponseCode
from rmqwire.command import RemotingCommand
from rmqwire.declare import Header
from rmqwire.message import StoredMessage, decode_properties, decode_record
from rmqwire.requests.pop import AckMessage, BatchAckMessage, ChangeMessageInvisibleTime, PopMessage

REVIVE = "rmq_sys_REVIVE_LOG_C"


class PopScene(Scene):
    """The slave of a dead master has messages, and broker-b takes check points."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.register_other("T", REVIVE)
        self.slave.names.peer().register(topic("T", queues=1), "unused", cluster="C", name="broker-a", address=SLAVE)
        self.slave.network.servers[SLAVE] = self.slave.dispatcher
        self.slave.parts.topics.update(topic("T", queues=1))
        self.peer: Peer = self.slave.peer()
        for body in (b"a", b"b"):
            self.stage("T", 0, body, {})

    def ask(self, header: Header, body: bytes = b"") -> RemotingCommand:
        opaque = self.peer.send(header, body)
        for _ in range(20):
            self.slave.pass_s(0.25)
            answers = [each for each in sent(self.peer.wire) if each.is_response and each.opaque == opaque]
            if answers:
                return answers[0]
        raise AssertionError("no answer")

    def pop(self) -> RemotingCommand:
        return self.ask(self.request())

    @staticmethod
    def request() -> PopMessage:
        return PopMessage(
            consumer_group="G",
            topic="T",
            queue_id=0,
            max_msg_nums=1,
            invisible_time=60_000,
            born_time=wall_clock_ms(),
        )

    @staticmethod
    def receipt(popped: RemotingCommand, offset: int = 0) -> str:
        ext = popped.ext
        return f"{offset} {ext['popTime']} {ext['invisibleTime']} {ext['reviveQid']} 0 broker-a 0 {offset}"

    def notes(self) -> list[tuple[str, str, bytes]]:
        """What broker-b was given: real queue, tag and body."""
        found = self.other.store.get_messages(TIMER_TOPIC, 0, 0, 32)
        notes = []
        for record in found.records if found.status is GetStatus.FOUND else ():
            message = decode_record(record)
            properties = decode_properties(message.properties)
            assert properties["REAL_TOPIC"] == REVIVE
            notes.append((properties["REAL_QID"], properties["TAGS"], message.body))
        return notes

    def offset(self) -> int:
        return self.slave.parts.offsets.query("G", "T", 0)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[PopScene]:
    made = PopScene(tmp_path)
    yield made
    made.close()


def test_a_pop_is_answered_when_its_check_point_is_elsewhere(scene: PopScene) -> None:
    end = scene.slave.store.max_physical_offset
    popped = scene.pop()
    assert (popped.code, decode_record(popped.body).body) == (ResponseCode.SUCCESS, b"a")
    [(_, tag, body)] = scene.notes()
    point = PopCheckPoint.decode(body)
    assert (tag, point.broker_name, point.start_offset, point.count) == ("ck", "broker-a", 0, 1)
    assert (scene.offset(), scene.slave.store.max_physical_offset) == (1, end)


def test_an_acknowledgement_meets_its_check_point(scene: PopScene) -> None:
    popped = scene.pop()
    ack = AckMessage(consumer_group="G", topic="T", queue_id=0, extra_info=scene.receipt(popped), offset=0)
    assert scene.ask(ack).code == ResponseCode.SUCCESS
    [(at, _, _), (ack_at, tag, body)] = scene.notes()
    assert (ack_at, tag, PopAck.decode(body).ack_offset) == (at, "ack", 0)


def test_a_batch_and_a_change_go_there_too(scene: PopScene) -> None:
    popped = scene.pop()
    ext = popped.ext
    batch = BatchAck(
        consumer_group="G", topic="T", retry="0", start_offset=0, queue_id=0, revive_queue_id=int(ext["reviveQid"]),
        pop_time=int(ext["popTime"]), invisible_time=int(ext["invisibleTime"]), bit_set=b"\x01",
    )  # fmt: skip
    body = BatchAckMessageRequestBody(broker_name="broker-a", acks=[batch]).encode()
    assert scene.ask(BatchAckMessage(), body).code == ResponseCode.SUCCESS
    change = ChangeMessageInvisibleTime(
        consumer_group="G", topic="T", queue_id=0, extra_info=scene.receipt(popped), offset=0, invisible_time=9_000
    )
    assert scene.ask(change).code == ResponseCode.SUCCESS
    assert [tag for _, tag, _ in scene.notes()] == ["ck", "bAck", "ck", "ack"]


def test_what_cannot_be_noted_is_not_given_out(scene: PopScene) -> None:
    """It is popped again when somebody takes the check point."""
    there = scene.slave.network.servers.pop(OTHER)
    refused = scene.pop()
    assert (refused.code, refused.body) == (ResponseCode.SYSTEM_ERROR, b"")
    assert scene.offset() <= 0
    scene.slave.network.servers[OTHER] = there
    scene.slave.pass_s(6)
    assert decode_record(scene.pop().body).body == b"a"


def test_an_acknowledgement_that_gets_nowhere_is_refused(scene: PopScene) -> None:
    popped = scene.pop()
    scene.slave.network.shut(OTHER)
    ack = AckMessage(consumer_group="G", topic="T", queue_id=0, extra_info=scene.receipt(popped), offset=0)
    assert scene.ask(ack).code == ResponseCode.SYSTEM_ERROR


class Posts:
    """What is sent elsewhere, until the test lets it arrive."""

    acting = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, Deferred[str | None]]] = []

    def post(self, topic: str, queue_id: int, body: bytes, properties: dict[str, str]) -> Posted:
        done: Deferred[str | None] = Deferred()
        self.sent.append((properties["TAGS"], done))
        return Posted(done)


@pytest.fixture
def posts(scene: PopScene, monkeypatch: pytest.MonkeyPatch) -> Posts:
    made = Posts()
    monkeypatch.setattr(scene.slave.parts.pops.shared.log, "elsewhere", made)
    return made


def test_two_pops_of_one_turn_do_not_overtake_each_other(
    scene: PopScene, posts: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one's check point counts for nothing if the first one's gets nowhere."""
    reads: list[bytes] = []
    with monkeypatch.context() as together:
        together.setattr(scene.peer.connection, "dataReceived", reads.append)
        opaques = [scene.peer.send(scene.request()) for _ in range(2)]
    scene.peer.connection.dataReceived(b"".join(reads))
    for index, (_, done) in enumerate(posts.sent):
        done.callback(None if index else "nobody took it")
    codes = {answer.opaque: answer.code for answer in sent(scene.peer.wire)}
    assert codes == {opaques[0]: ResponseCode.SYSTEM_ERROR, opaques[1]: ResponseCode.POLLING_TIMEOUT}
    assert scene.offset() <= 0
    posts.sent.clear()
    scene.peer.send(scene.request())
    posts.sent.pop()[1].callback(None)
    assert decode_record(sent(scene.peer.wire)[0].body).body == b"a"


def test_a_post_that_breaks_locks_nothing_for_ever(scene: PopScene, posts: Posts) -> None:
    scene.peer.send(scene.request())
    posts.sent.pop()[1].errback(RuntimeError("a fault of ours"))
    [answer] = sent(scene.peer.wire)
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "RuntimeError: a fault of ours")
    assert scene.slave.parts.pops.shared.offsets.locked == set()
    scene.peer.send(scene.request())
    posts.sent.pop()[1].callback(None)
    assert decode_record(sent(scene.peer.wire)[0].body).body == b"a"


@pytest.mark.parametrize("problem", [None, "nobody took it"])
def test_a_change_acknowledges_once_the_new_check_point_is_stored(
    scene: PopScene, posts: Posts, problem: str | None
) -> None:
    """With the acknowledgement alone the message would be nobody's."""
    scene.peer.send(scene.request())
    posts.sent.pop()[1].callback(None)
    [popped] = sent(scene.peer.wire)
    change = ChangeMessageInvisibleTime(
        consumer_group="G", topic="T", queue_id=0, extra_info=scene.receipt(popped), offset=0, invisible_time=9_000
    )
    scene.peer.send(change)
    [(tag, done)] = posts.sent
    assert tag == "ck"
    posts.sent.clear()
    done.callback(problem)
    if problem is not None:
        assert posts.sent == []
        assert [(answer.code, answer.remark) for answer in sent(scene.peer.wire)] == [(1, problem)]
        return
    assert sent(scene.peer.wire) == []
    [(tag, done)] = posts.sent
    assert tag == "ack"
    done.callback(None)
    assert [answer.code for answer in sent(scene.peer.wire)] == [ResponseCode.SUCCESS]


def test_who_does_not_stand_in_gives_nothing_out(scene: PopScene) -> None:
    scene.slave.parts.members.acting = False
    assert scene.pop().code == ResponseCode.SERVICE_NOT_AVAILABLE


def test_what_the_master_had_popped_comes_back_elsewhere(scene: PopScene) -> None:
    """From the slave's copy of the master's revive topic, into a retry topic that broker-b makes."""
    slave = scene.slave
    shared = slave.parts.pops.shared
    now_ms = wall_clock_ms()
    shared.wall_clock_ms = lambda: now_ms
    slave.parts.groups.find("G")
    timers = slave.parts.timers
    assert timers is not None
    point = PopCheckPoint(
        broker_name="broker-a", consumer_group="G", offset_differences=[0, 1], invisible_time=1000, count=2,
        pop_time=now_ms, queue_id=0, start_offset=0, topic="T",
    )  # fmt: skip
    ack = PopAck(
        ack_offset=1, broker_name="broker-a", consumer_group="G", pop_time=now_ms, queue_id=0, start_offset=0, topic="T"
    )
    for tag, body in (("ck", point.encode()), ("ack", ack.encode())):
        scene.stage(REVIVE, 0, body, {"TAGS": tag, "TIMER_DELIVER_MS": str(now_ms + 1000)})
    scene.slave.pass_s(2)
    assert scene.delivered("%RETRY%G_T") == []
    now_ms += 60_000
    scene.slave.pass_s(5)
    [back] = scene.delivered("%RETRY%G_T")
    assert (back.body, back.reconsume_times) == (b"a", 1)
    assert slave.parts.offsets.query("CID_RMQ_SYS_REVIVE_GROUP", REVIVE, 0) == 0
    scene.slave.pass_s(5)
    assert len(scene.delivered("%RETRY%G_T")) == 1


class TestReadingElsewhere:
    """A broker reads what it has to bring back from whoever has it."""

    @staticmethod
    def read(scene: PopScene, broker_name: str, offset: int) -> StoredMessage | BaseException | None:
        parts = scene.slave.parts
        escape = Escape("broker-b", 0, lambda: parts.registration.name_servers, parts.client, scene.slave.reactor)
        results: list[StoredMessage | BaseException | None] = []
        reading = Deferred.fromCoroutine(escape.read(broker_name, "T", 0, offset))
        reading.addCallbacks(results.append, lambda failure: results.append(failure.value))
        scene.slave.pass_s(1)
        [result] = results
        return result

    def test_a_message_that_is_there(self, scene: PopScene) -> None:
        found = self.read(scene, "broker-a", 1)
        assert isinstance(found, StoredMessage)
        assert found.body == b"b"

    def test_one_that_is_there_no_more(self, scene: PopScene) -> None:
        assert self.read(scene, "broker-a", 9) is None

    def test_a_broker_that_nobody_knows(self, scene: PopScene) -> None:
        assert isinstance(self.read(scene, "broker-z", 0), PeerError)
