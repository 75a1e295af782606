"""Check-back: who is asked about an open transaction, when, how often, and what remains of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from protocol.transaction_world import COMMIT, ROLLBACK, TransactionWorld

from rmqd.protocol.broker.names import TRANS_HALF_TOPIC
from rmqwire.message import decode_message_id, decode_properties, encode_message_id
from rmqwire.requests.transaction import ResumeCheckHalfMessage

INTERVAL_S, TIMEOUT_S = 30, 6
Make = Callable[..., TransactionWorld]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes the world with options of its own."""
    made: list[TransactionWorld] = []

    def build(**keys: str) -> TransactionWorld:
        made.append(TransactionWorld(tmp_path, monkeypatch, **keys))
        return made[-1]

    yield build
    for world in made:
        world.world.close()


@pytest.fixture
def world(make: Make) -> TransactionWorld:
    return make()


def test_rounds_come_at_the_interval_and_leave_out_what_is_too_young(world: TransactionWorld) -> None:
    """A producer has transactionTimeOut to end what it began; then the next round asks it."""
    world.open(b"old")
    world.tick(INTERVAL_S - TIMEOUT_S)
    young = world.open(b"young")
    world.tick(TIMEOUT_S - 0.5)
    assert world.checks() == [], "before the first round"
    world.tick(0.5)
    assert [check.message.body for check in world.checks()] == [b"old"], "exactly the timeout old is too young"
    world.end(young, COMMIT)
    world.tick(INTERVAL_S)
    assert [check.message.body for check in world.checks()] == [b"old"], "asked again; what ended is not"


def test_what_a_check_tells(world: TransactionWorld) -> None:
    """The producer finds the message as it sent it, and the place of the copy that it has to name."""
    half = world.open(b"body", 1, TAGS="t", KEYS="k", own="property")
    world.tick(INTERVAL_S)
    [check] = world.checks()
    assert (check.message.topic, check.message.queue_id, check.message.body) == ("T", 1, b"body")
    assert check.message.flag == 7
    assert check.message.born_timestamp == world.now_ms() - INTERVAL_S * 1000
    wanted = {"TAGS": "t", "KEYS": "k", "own": "property", "TRANSACTION_CHECK_TIMES": "1", "REAL_TOPIC": "T"}
    assert wanted.items() <= check.properties.items()
    header = check.header
    assert (header.msg_id, header.transaction_id, header.topic) == ("Ubody", "Ubody", TRANS_HALF_TOPIC)
    assert header.broker_name == "broker-a"
    assert header.tran_state_table_offset == check.message.queue_offset == half.queue_offset + 1
    host, position = decode_message_id(header.offset_msg_id or "")
    assert position == header.commit_log_offset == check.message.physical_offset > half.commit_log_offset
    copy = world.read(TRANS_HALF_TOPIC)[1]
    assert (copy.physical_offset, copy.queue_offset) == (header.commit_log_offset, header.tran_state_table_offset)
    assert host == copy.store_host


@pytest.mark.parametrize("outcome", [COMMIT, ROLLBACK])
def test_the_answer_to_a_check_ends_it(outcome: int, world: TransactionWorld) -> None:
    world.open()
    world.tick(INTERVAL_S)
    [check] = world.checks()
    assert world.end(check.half, outcome, checked=True).code == 0
    assert world.delivered() == ([b"m"] if outcome == COMMIT else [])
    world.tick(5 * INTERVAL_S)
    assert world.checks() == []
    assert len(world.halves()) == 2, "the half message and one copy"
    assert world.open_count() == 0


def test_an_answer_that_names_the_original_ends_its_copies_too(world: TransactionWorld) -> None:
    """A producer's own end and a check may cross each other."""
    half = world.open()
    world.tick(INTERVAL_S)
    assert len(world.checks()) == 1
    world.end(half, COMMIT)
    world.tick(5 * INTERVAL_S)
    assert world.checks() == []
    assert world.delivered() == [b"m"]


def test_unknown_is_asked_until_the_maximum_and_then_given_up(make: Make) -> None:
    world = make(transactionCheckMax="3")
    world.open(b"open")
    times = []
    for _ in range(6):
        world.tick(INTERVAL_S)
        times += [check.properties["TRANSACTION_CHECK_TIMES"] for check in world.checks()]
    assert times == ["1", "2", "3"]
    [message] = world.given_up()
    assert message.body == b"open"
    assert decode_properties(message.properties)["TRANSACTION_CHECK_TIMES"] == "3"
    assert (world.delivered(), world.open_count()) == ([], 0)


def test_what_was_given_up_is_asked_for_again_when_an_administrator_wants(make: Make) -> None:
    world = make(transactionCheckMax="1")
    world.open(b"open")
    world.tick(2 * INTERVAL_S)
    world.checks()
    [message] = world.given_up()
    id_ = encode_message_id(message.store_host, message.physical_offset)
    assert world.producer.ask(ResumeCheckHalfMessage(msg_id=id_, topic="T")).code == 0
    world.tick(INTERVAL_S)
    [check] = world.checks()
    assert check.properties["TRANSACTION_CHECK_TIMES"] == "1", "counted anew"
    world.end(check.half, COMMIT, checked=True)
    assert world.delivered() == [b"open"]


def test_what_is_older_than_the_files_are_kept_is_given_up(make: Make) -> None:
    world = make(fileReservedTime="1", transactionCheckInterval="1000000")
    world.open(b"old")
    world.tick(1000)
    assert len(world.checks()) == 1
    for _ in range(3):
        world.producer.beat(producers=("P",))
        world.tick(1000)
    assert [message.body for message in world.given_up()] == [b"old"], "an hour after its birth"


def test_immunity_defers_the_first_check(world: TransactionWorld) -> None:
    """A message that asks for immunity does not hold up those behind it."""
    immune = world.open(b"immune", CHECK_IMMUNITY_TIME_IN_SECONDS="70")
    world.open(b"other")
    world.tick(INTERVAL_S)
    assert world.answer_checks(ROLLBACK) == Counter([b"other"])
    world.tick(INTERVAL_S)
    assert world.checks() == [], "60 s"
    world.tick(INTERVAL_S)
    [check] = world.checks()
    assert (check.message.body, check.properties["TRANSACTION_CHECK_TIMES"]) == (b"immune", "1")
    assert check.properties["TRAN_PREPARED_QUEUE_OFFSET"] == str(immune.queue_offset)
    world.end(check.half, COMMIT, checked=True)
    assert world.delivered() == [b"immune"]


def test_an_end_within_the_immunity_ends_the_copies(world: TransactionWorld) -> None:
    """The producer knows the original only; copies were made meanwhile."""
    half = world.open(b"immune", CHECK_IMMUNITY_TIME_IN_SECONDS="100")
    world.tick(2 * INTERVAL_S)
    assert len(world.halves()) > 1
    assert world.end(half, COMMIT).code == 0
    world.tick(5 * INTERVAL_S)
    assert world.checks() == []
    assert world.delivered() == [b"immune"]


def test_an_end_after_the_immunity_has_to_wait_for_the_check(world: TransactionWorld) -> None:
    half = world.open(b"immune", CHECK_IMMUNITY_TIME_IN_SECONDS="10")
    world.tick(10.5)
    refused = world.end(half, COMMIT)
    assert refused.code == 604
    assert world.delivered() == []
    world.tick(INTERVAL_S)
    [check] = world.checks()
    assert world.end(check.half, COMMIT, checked=True).code == 0
    assert world.delivered() == [b"immune"]


def test_producers_of_the_group_are_asked_in_turn_and_nobody_else(world: TransactionWorld) -> None:
    second, stranger = world.connected(), world.connected("other")
    for number in range(6):
        world.open(str(number).encode())
    world.tick(INTERVAL_S)
    first, others = world.checks(), world.checks(second)
    assert (len(first), len(others)) == (3, 3)
    assert world.checks(stranger) == []
    assert {check.message.body for check in (*first, *others)} == {b"0", b"1", b"2", b"3", b"4", b"5"}


def test_a_check_that_nobody_could_be_asked_counts(make: Make) -> None:
    """As the official broker: a group that stays away for all its checks loses the transaction to an administrator."""
    world = make(transactionCheckMax="2")
    world.open()
    world.producer.leave()
    world.tick(3 * INTERVAL_S)
    assert [message.body for message in world.given_up()] == [b"m"]


def test_a_producer_that_comes_later_is_asked(world: TransactionWorld) -> None:
    world.open()
    world.producer.leave()
    world.tick(2 * INTERVAL_S)
    world.producer = world.connected()
    world.tick(INTERVAL_S)
    assert world.answer_checks(COMMIT) == Counter([b"m"])
    assert world.delivered() == [b"m"]


def test_many_open_transactions_are_each_asked_once_a_round(world: TransactionWorld) -> None:
    """More than one slice and more than one read; those that ended in between are passed over."""
    for number in range(300):
        half = world.open(str(number).encode())
        if number % 3 == 0:
            world.end(half, COMMIT if number % 2 else ROLLBACK)
    world.tick(INTERVAL_S)
    still = Counter(str(number).encode() for number in range(300) if number % 3)
    assert world.answer_checks(ROLLBACK) == still
    world.tick(3 * INTERVAL_S)
    assert world.checks() == []
    assert world.open_count() == 0
    assert len(world.delivered()) == 50


def test_a_crash_asks_again_and_forgets_no_end(world: TransactionWorld) -> None:
    """Offsets of the check are older than the store: what was copied is seen twice, what ended stays ended."""
    ended, _ = world.open(b"ended"), world.open(b"open")
    world.end(ended, COMMIT)
    world.tick(4)
    assert len(world.notes()) == 1
    world.save()
    world.tick(INTERVAL_S)
    assert [check.message.body for check in world.checks()] == [b"open"]
    world.crash()
    world.tick(INTERVAL_S)
    bodies = [check.message.body for check in world.checks()]
    assert set(bodies) == {b"open"}
    assert world.delivered() == [b"ended"]


def test_a_crash_before_the_note_asks_for_what_had_ended(world: TransactionWorld) -> None:
    """As the official broker: the end was only in memory; the producer says it again, and the message comes twice."""
    half = world.open()
    world.end(half, COMMIT)
    world.crash()
    world.tick(INTERVAL_S)
    assert world.answer_checks(COMMIT) == Counter([b"m"])
    assert world.delivered() == [b"m", b"m"]


def test_an_orderly_stop_forgets_nothing(world: TransactionWorld) -> None:
    ended = [world.open(b"commit"), world.open(b"rollback")]
    world.open(b"open")
    world.end(ended[0], COMMIT)
    world.end(ended[1], ROLLBACK)
    world.stop()
    assert world.notes() == [b"0,1,"], "written at the stop"
    assert world.open_count() == 1
    world.tick(INTERVAL_S)
    assert world.answer_checks(COMMIT) == Counter([b"open"])
    world.stop()
    world.tick(3 * INTERVAL_S)
    assert world.checks() == []
    assert world.delivered() == [b"commit", b"open"]
    assert world.open_count() == 0
