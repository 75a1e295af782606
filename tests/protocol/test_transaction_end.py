"""The end of a transaction: what consumers see, what is noted for later, and which ends are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from protocol.transaction_world import COMMIT, ROLLBACK, UNKNOWN, Half, TransactionWorld

from rmqd.protocol.broker.delay import SCHEDULE_TOPIC
from rmqd.protocol.broker.names import TRANS_HALF_TOPIC, TRANS_OP_HALF_TOPIC
from rmqwire.codes import ResponseCode
from rmqwire.hashing import tags_code
from rmqwire.message import decode_properties
from rmqwire.requests.transaction import EndTransaction, ResumeCheckHalfMessage


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TransactionWorld]:
    world = TransactionWorld(tmp_path, monkeypatch)
    yield world
    world.world.close()


def test_a_half_message_is_not_seen(world: TransactionWorld) -> None:
    """It lies in its own topic as the official broker lays it there, its real place in its properties."""
    half = world.open(b"body", 1, TAGS="t", KEYS="k")
    assert world.delivered() == []
    [stored] = world.read(TRANS_HALF_TOPIC)
    assert (stored.queue_id, stored.queue_offset, stored.physical_offset) == (
        0,
        half.queue_offset,
        half.commit_log_offset,
    )
    assert stored.sys_flag & 12 == 0, "so that it has a place in the queue"
    properties = decode_properties(stored.properties)
    assert (properties["REAL_TOPIC"], properties["REAL_QID"], properties["TAGS"]) == ("T", "1", "t")
    assert world.open_count() == 1


def test_a_commit_delivers_the_message_as_it_was_sent(world: TransactionWorld) -> None:
    half = world.open(b"body", 1, TAGS="t", KEYS="k", own="property")
    world.tick(2)
    assert world.end(half, COMMIT).code == 0
    [message] = world.read("T", 1)
    assert (message.body, message.flag, message.sys_flag & 12) == (b"body", 7, COMMIT)
    assert message.prepared_transaction_offset == half.commit_log_offset
    assert message.born_timestamp == world.now_ms() - 2000
    assert message.store_timestamp == world.now_ms()
    properties = decode_properties(message.properties)
    assert {"TAGS": "t", "KEYS": "k", "own": "property", "UNIQ_KEY": "Ubody"}.items() <= properties.items()
    assert not {"REAL_TOPIC", "REAL_QID"} & properties.keys()
    found = world.world.store.get_messages("T", 1, 0, 10, tags=frozenset((tags_code("t"),)))
    assert len(found.records) == 1, "its tag is in the queue"
    assert world.open_count() == 0


def test_a_rollback_delivers_nothing(world: TransactionWorld) -> None:
    assert world.end(world.open(), ROLLBACK).code == 0
    world.tick(60)
    assert (world.delivered(), world.checks(), world.open_count()) == ([], [], 0)


def test_a_producer_that_does_not_know_is_not_answered(world: TransactionWorld) -> None:
    half = world.open()
    header = EndTransaction(
        producer_group="P", tran_state_table_offset=half.queue_offset, commit_log_offset=half.commit_log_offset,
        commit_or_rollback=UNKNOWN, msg_id=half.msg_id,
    )  # fmt: skip
    world.producer.send(header)
    assert world.producer.wire.value() == b""
    assert (world.delivered(), world.open_count()) == ([], 1)


def test_a_committed_message_may_be_delayed(world: TransactionWorld) -> None:
    """The delay counts from the commit, and the level does not delay the half message."""
    half = world.open(b"later", DELAY="3")
    assert world.halves() == [b"later"]
    world.end(half, COMMIT)
    assert world.delivered() == []
    [waiting] = world.read(SCHEDULE_TOPIC, 2)
    assert decode_properties(waiting.properties)["REAL_TOPIC"] == "T"


def test_ends_are_noted_together(world: TransactionWorld) -> None:
    """One note per transactionOpBatchInterval names what ended meanwhile."""
    halves = [world.open(str(number).encode()) for number in range(4)]
    for half in halves[:3]:
        world.end(half, ROLLBACK)
    world.tick(2.5)
    assert world.notes() == []
    world.tick(0.5)
    assert world.notes() == [b"0,1,2,"]
    [note] = world.read(TRANS_OP_HALF_TOPIC)
    assert decode_properties(note.properties)["TAGS"] == "d"
    world.end(halves[3], COMMIT)
    world.tick(3)
    assert world.notes() == [b"0,1,2,", b"3,"]


def test_a_note_that_is_full_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = TransactionWorld(tmp_path, monkeypatch, transactionOpMsgMaxSize="10")
    for number in range(7):
        world.end(world.open(str(number).encode()), ROLLBACK)
    world.world.turn()
    assert world.notes()[0] == b"0,1,2,3,4,"
    world.tick(3)
    assert b"".join(world.notes()) == b"0,1,2,3,4,5,6,"
    world.world.close()


def test_the_same_end_twice(world: TransactionWorld) -> None:
    """A client may repeat itself; it is noted once."""
    half = world.open()
    assert [world.end(half, ROLLBACK).code for _ in range(2)] == [0, 0]
    world.tick(3)
    assert world.notes() == [b"0,"]


@pytest.mark.parametrize(
    ("changed", "group", "remark"),
    [
        ({}, "other", "The producer group wrong"),
        ({"queue_offset": 7}, "P", "The transaction state table offset wrong"),
        ({"commit_log_offset": 1 << 40}, "P", "Find prepared transaction message failed"),
        ({"commit_log_offset": -1}, "P", "Find prepared transaction message failed"),
    ],
)
def test_ends_of_what_is_not_so(changed: dict[str, int], group: str, remark: str, world: TransactionWorld) -> None:
    """A wrong end is told what is wrong, and changes nothing."""
    half = world.open()
    for outcome in (COMMIT, ROLLBACK):
        refused = world.end(replace(half, **changed), outcome, group=group)  # type: ignore[arg-type]
        assert (refused.code, refused.remark) == (ResponseCode.SYSTEM_ERROR, remark)
    world.tick(4)
    assert (world.delivered(), world.notes(), world.open_count()) == ([], [], 1)


def test_what_lies_elsewhere_is_no_half_message(world: TransactionWorld) -> None:
    """A committed message still has the group's name; it is not delivered once more."""
    half = world.open()
    world.end(half, COMMIT)
    [message] = world.read("T")
    refused = world.end(Half(message.queue_offset, message.physical_offset, half.msg_id), COMMIT)
    assert (refused.code, refused.remark) == (ResponseCode.SYSTEM_ERROR, "Find prepared transaction message failed")
    assert world.delivered() == [b"m"]


def test_half_messages_can_be_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = TransactionWorld(tmp_path, monkeypatch, rejectTransactionMessage="true")
    refused = world.send()
    assert refused.code == ResponseCode.NO_PERMISSION
    assert refused.remark is not None
    assert "sending transaction message is forbidden" in refused.remark
    assert world.halves() == []
    world.world.close()


@pytest.mark.parametrize("msg_id", ["", "no id", "7F00000100002A9F0000000000FFFFFF"])
def test_what_cannot_be_resumed(msg_id: str, world: TransactionWorld) -> None:
    refused = world.producer.ask(ResumeCheckHalfMessage(msg_id=msg_id, topic="T"))
    assert refused.code == ResponseCode.SYSTEM_ERROR
    assert refused.remark is not None
    assert refused.remark.startswith("Exception was thrown when putting message back to RMQ_SYS_TRANS_HALF_TOPIC.")
    assert world.halves() == []
