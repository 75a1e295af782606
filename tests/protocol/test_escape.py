"""An acting slave sends the delayed messages and open transactions of its dead master to another master."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld, at_once
from protocol.namesrv_wiring import topic
from protocol.test_member_group import NAME_SERVER, Member
from twisted.internet.defer import Deferred

from rmqd.protocol.broker import escape_delays
from rmqd.protocol.broker.acting import escapes
from rmqd.protocol.broker.delay import SCHEDULE_TOPIC, DelayLevels
from rmqd.protocol.broker.names import TIMER_TOPIC, TRANS_HALF_TOPIC, TRANS_OP_HALF_TOPIC
from rmqd.protocol.clocks import wall_clock_ms
from rmqd.store.reading import GetStatus
from rmqwire.bodies import TopicConfig
from rmqwire.errors import MalformedMessage
from rmqwire.message import StoredMessage, decode_properties, decode_record, encode_host, encode_properties

OTHER = "10.0.0.5:10911"


class Scene:
    """A slave that stands in, and broker-b, which has its topic too."""

    def __init__(self, folder: Path, **keys: str) -> None:
        self.now_ms = wall_clock_ms()
        self.slave = Member(folder / "s", brokerRole="SLAVE", brokerId="1", enableRemoteEscape="true", **keys)
        for name in ("m", "b"):
            (folder / name).mkdir()
        self.master = BrokerWorld(folder / "m")
        self.other = BrokerWorld(folder / "b", brokerName="broker-b")
        self.other.parts.topics.update(TopicConfig(topic_name="T", read_queue_nums=2, write_queue_nums=2))
        self.slave.network.servers[OTHER] = self.other.dispatcher
        self.register_other("T")
        self.slave.parts.members.acting = True
        self.escapes = escapes(self.slave.parts, DelayLevels("1s 5s 10s"), lambda: self.now_ms, at_once)
        for escape in self.escapes:
            escape.begin()

    def register_other(self, *topics: str) -> None:
        """Broker-b registers its topics."""
        configs = [topic(name, queues=2) for name in topics]
        self.slave.names.peer().register(*configs, "unused", cluster="C", name="broker-b", address=OTHER)

    def put(self, level: int, body: bytes, topic_name: str = "T") -> None:
        """A delayed message in the master's log, and in the slave's copy."""
        properties = {"REAL_TOPIC": topic_name, "REAL_QID": "7", "DELAY": str(level), "KEYS": "k"}
        self.stage(SCHEDULE_TOPIC, level - 1, body, properties)

    def half(self, body: bytes, **more: str) -> None:
        """An open half message, in the same places."""
        properties = {"REAL_TOPIC": "T", "REAL_QID": "7", "TRAN_MSG": "true", "PGROUP": "P", "UNIQ_KEY": "U", **more}
        self.stage(TRANS_HALF_TOPIC, 0, body, properties)

    def stage(self, of: str, queue_id: int, body: bytes, properties: dict[str, str]) -> None:
        self.master.store.stage(
            of, queue_id, body, encode_properties(properties), tags_code=0, keys=(), flag=3, sys_flag=0,
            born_timestamp=5, born_host=encode_host("127.0.0.1", 1),
        )  # fmt: skip
        self.master.store.commit()
        self.now_ms = max(self.now_ms, wall_clock_ms())  # nothing was stored later than now
        at = self.slave.store.received_offset or 0
        self.slave.store.append_received(at, self.master.store.read_log(at, 1 << 20))

    def pass_s(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        for _ in range(round(seconds / 0.25)):
            self.now_ms += 250
            self.slave.pass_s(0.25)

    def delivered(self, topic_name: str = "T") -> list[StoredMessage]:
        """What broker-b has."""
        found = [self.other.store.get_messages(topic_name, queue_id, 0, 32) for queue_id in (0, 1)]
        return [decode_record(each) for of in found if of.status is GetStatus.FOUND for each in of.records]

    def close(self) -> None:
        for each in (self.slave, self.master, self.other):
            each.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def test_what_is_due_goes_to_another_master(scene: Scene) -> None:
    """Consumers get it in its time from there, with everything but the delay."""
    scene.put(1, b"soon")
    scene.put(3, b"later")
    scene.pass_s(0.75)
    assert scene.delivered() == []
    scene.pass_s(1)
    [message] = scene.delivered()
    properties = decode_properties(message.properties)
    assert (message.body, message.flag, message.born_timestamp) == (b"soon", 3, 5)
    assert properties["KEYS"] == "k"
    assert "DELAY" not in properties
    scene.pass_s(10)
    assert {each.body for each in scene.delivered()} == {b"soon", b"later"}
    offsets = scene.slave.parts.delay_offsets
    assert [offsets.get(level) for level in (1, 2, 3)] == [1, 0, 1], "what the master takes over"
    scene.pass_s(5)
    assert len(scene.delivered()) == 2, "once"


def test_a_message_waits_while_nobody_takes_it(scene: Scene) -> None:
    """Neither lost nor overtaken; the levels beside go on."""
    scene.put(1, b"stuck", "Nowhere")
    scene.put(3, b"other")
    scene.pass_s(11)
    assert [each.body for each in scene.delivered()] == [b"other"]
    assert scene.slave.parts.delay_offsets.get(1) == 0
    scene.other.parts.topics.update(TopicConfig(topic_name="Nowhere", read_queue_nums=2, write_queue_nums=2))
    scene.register_other("T", "Nowhere")
    scene.pass_s(8)
    assert [each.body for each in scene.delivered("Nowhere")] == [b"stuck"]


def test_a_record_that_cannot_be_read_is_left_out(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, also when nothing follows it."""
    read: list[int] = []

    def damaged(record: bytes) -> StoredMessage:
        message = decode_record(record)
        if message.body == b"damaged":
            read.append(message.queue_offset)
            assert len(read) < 9, "read over and over"
            raise MalformedMessage("damaged")
        return message

    monkeypatch.setattr(escape_delays, "decode_record", damaged)
    scene.put(1, b"damaged")
    scene.put(3, b"other")
    scene.pass_s(12)
    assert (read, scene.slave.parts.delay_offsets.get(1)) == ([0], 1)
    assert [each.body for each in scene.delivered()] == [b"other"]


def test_a_master_that_is_gone_is_tried_again(scene: Scene) -> None:
    scene.put(1, b"m")
    scene.slave.network.servers.pop(OTHER)
    scene.pass_s(3)
    assert scene.slave.parts.delay_offsets.get(1) == 0
    scene.slave.network.servers[OTHER] = scene.other.dispatcher
    scene.pass_s(3)
    assert [each.body for each in scene.delivered()] == [b"m"]


def test_a_slave_with_a_master_delivers_nothing(scene: Scene) -> None:
    scene.slave.parts.members.acting = False
    scene.put(1, b"m")
    scene.pass_s(5)
    assert scene.delivered() == []
    scene.slave.network.servers.pop(NAME_SERVER)
    scene.slave.parts.members.acting = True
    scene.pass_s(5)
    assert scene.delivered() == [], "without a name server it knows no other master"


def test_open_transactions_become_those_of_another_master(scene: Scene) -> None:
    """Their producer is asked there; what has ended is not sent."""
    scene.half(b"open")
    scene.half(b"ended")
    scene.half(b"open too", TRAN_PREPARED_QUEUE_OFFSET="4")
    scene.stage(TRANS_OP_HALF_TOPIC, 0, b"1,", {"TAGS": "d"})
    scene.pass_s(31)
    found = scene.other.store.get_messages(TRANS_HALF_TOPIC, 0, 0, 32)
    assert found.status is GetStatus.FOUND
    halves = [decode_record(record) for record in found.records]
    assert [half.body for half in halves] == [b"open", b"open too"]
    properties = decode_properties(halves[1].properties)
    assert (properties["REAL_TOPIC"], properties["PGROUP"], properties["UNIQ_KEY"]) == ("T", "P", "U")
    assert "TRAN_PREPARED_QUEUE_OFFSET" not in properties
    offsets = scene.slave.parts.offsets
    group = "CID_RMQ_SYS_TRANS"
    assert offsets.query(group, TRANS_HALF_TOPIC, 0) == 3, "what the master takes over"
    assert offsets.query(group, TRANS_OP_HALF_TOPIC, 0) == 1
    scene.pass_s(31)
    assert scene.other.store.max_offset(TRANS_HALF_TOPIC, 0) == 2, "once"


def test_an_open_transaction_waits_while_nobody_takes_it(scene: Scene) -> None:
    scene.slave.network.servers.pop(OTHER)
    scene.half(b"open")
    scene.pass_s(31)
    assert scene.slave.parts.offsets.query("CID_RMQ_SYS_TRANS", TRANS_HALF_TOPIC, 0) <= 0
    scene.slave.network.servers[OTHER] = scene.other.dispatcher
    scene.pass_s(31)
    assert scene.other.store.max_offset(TRANS_HALF_TOPIC, 0) == 1


@pytest.mark.parametrize("off", ["enableRemoteEscape", "enableSlaveActingMaster"])
def test_both_options_are_needed(tmp_path: Path, off: str) -> None:
    slave = Member(
        tmp_path / "s", **{"brokerRole": "SLAVE", "brokerId": "1", "enableRemoteEscape": "true", off: "false"}
    )
    assert escapes(slave.parts, DelayLevels("1s"), lambda: 0, at_once) == []
    slave.close()


class TestTimer:
    """Messages of the timer."""

    @pytest.fixture
    def timed(self, tmp_path: Path) -> Iterator[Scene]:
        scene = Scene(tmp_path)
        timers = scene.slave.parts.timers
        assert timers is not None
        timers.begin(leads=False)
        yield scene
        stopped = Deferred.fromCoroutine(timers.stop())
        assert stopped.called
        scene.close()

    @staticmethod
    def put(scene: Scene, body: bytes, delay_ms: int) -> None:
        due_ms = (wall_clock_ms() + delay_ms) // 1000 * 1000
        properties = {"TIMER_OUT_MS": str(due_ms), "REAL_TOPIC": "T", "REAL_QID": "7", "KEYS": "k"}
        scene.stage(TIMER_TOPIC, 0, body, {**properties, "TIMER_DELAY_MS": str(delay_ms)})

    @staticmethod
    def tick(scene: Scene) -> None:
        scene.pass_s(0.5)
        timers = scene.slave.parts.timers
        assert timers is not None
        for _ in range(20):
            timers.tick()
            scene.pass_s(0.25)

    def test_what_is_due_goes_to_another_master_once(self, timed: Scene) -> None:
        """What is not due stays, and so does the slave's log."""
        self.put(timed, b"due", -5_000)
        self.put(timed, b"far", 3_600_000)
        end = timed.slave.store.max_physical_offset
        self.tick(timed)
        [message] = timed.delivered()
        properties = decode_properties(message.properties)
        assert (message.body, properties["KEYS"]) == (b"due", "k")
        timers = timed.slave.parts.timers
        assert timers is not None
        assert (timers.files.pending, timers.files.queue_offset) == (1, 2)
        assert timed.slave.store.max_physical_offset == end
        timed.slave.parts.members.acting = False
        self.tick(timed)
        assert timers.follows
        self.put(timed, b"more", -5_000)
        self.tick(timed)
        assert len(timed.delivered()) == 1

    def test_a_message_waits_while_nobody_takes_it(self, timed: Scene) -> None:
        timed.slave.network.servers.pop(OTHER)
        self.put(timed, b"due", -5_000)
        self.tick(timed)
        assert timed.delivered() == []
        timed.slave.network.servers[OTHER] = timed.other.dispatcher
        self.tick(timed)
        assert [each.body for each in timed.delivered()] == [b"due"]
