"""Pops on a simulated clock: hiding, acknowledging, coming back, order, waiting, crashes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import ManualThread
from protocol.pop_world import Popped, PopWorld
from protocol.wiring import sent

from rmqd.protocol.broker import pop_plan
from rmqd.protocol.broker.pop_offsets import PopQueue
from rmqd.store import heldback
from rmqd.store.errors import ColdRead, WriteFailed
from rmqwire.bodies import BatchAck, BatchAckMessageRequestBody, PopCheckPoint, TopicConfig
from rmqwire.codes import ResponseCode
from rmqwire.message import (
    StoredMessage,
    decode_properties,
    decode_record,
    encode_host,
    encode_properties,
    iter_records,
)
from rmqwire.requests.pop import BatchAckMessage, Notification, PeekMessage, PollingInfo

REVIVE_TOPIC = "rmq_sys_REVIVE_LOG_C"
REVIVE_GROUP = "CID_RMQ_SYS_REVIVE_GROUP"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PopWorld]:
    world = PopWorld(tmp_path, monkeypatch, popFromRetryProbability="0")
    yield world
    world.timers.files.close()
    world.world.close()


def test_popped_messages_are_hidden_and_come_back(world: PopWorld) -> None:
    world.put(b"a", b"b", b"c", TAGS="X", own="1")
    first = world.pop()
    assert (first.bodies, first.remark, first.ext["msgOffsetInfo"]) == ([b"a", b"b", b"c"], "FOUND", "0 0 0,1,2")
    second = world.pop()
    assert (second.code, second.remark) == (ResponseCode.POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE")
    assert world.ack(first.messages[1], first.receipt(1)).code == 0
    world.tick(5)
    assert world.pop().bodies == []
    back = world.wait_back()
    assert back.bodies == [b"a", b"c"]
    message = back.messages[0]
    properties = decode_properties(message.properties)
    assert (message.topic, message.reconsume_times, message.flag) == ("T", 1, 7)
    assert (properties["own"], properties["1ST_POP_TIME"], properties["ORIGIN_GROUP"]) == (
        "1",
        first.ext["popTime"],
        "G",
    )
    for index in range(2):
        assert world.ack(back.messages[index], back.receipt(index), "%RETRY%G_T").code == 0
    world.tick(80)
    assert world.pop().bodies == []
    offsets = world.world.parts.offsets
    assert [offsets.query(REVIVE_GROUP, REVIVE_TOPIC, queue) for queue in range(4)].count(0) >= 2
    assert offsets.query("G", "T", 0) == 3


def test_a_batch_acknowledges_by_a_bit_set(world: PopWorld) -> None:
    world.put(b"a", b"b", b"c")
    popped = world.pop()
    entry = BatchAck(
        consumer_group="G",
        topic="T",
        retry="0",
        revive_queue_id=int(popped.ext["reviveQid"]),
        pop_time=int(popped.ext["popTime"]),
        invisible_time=5000,
        bit_set=bytes([0b101, 0xFF]),
    )
    body = BatchAckMessageRequestBody(broker_name="broker-a", acks=[entry])
    assert base64.b64encode(bytes([0b101, 0xFF])) in body.encode()
    assert world.peer.ask(BatchAckMessage(), body).code == 0
    assert world.wait_back().bodies == [b"b"]
    assert world.peer.ask(BatchAckMessage()).code == ResponseCode.NO_MESSAGE
    entry.retry = "7"
    assert world.peer.ask(BatchAckMessage(), body).code == ResponseCode.SYSTEM_ERROR


def test_another_invisible_time_counts_from_now(world: PopWorld) -> None:
    world.put(b"soon", b"late")
    popped = world.pop(5000)
    assert world.change(popped.messages[0], popped.receipt(0), 1000).code == 0
    answer = world.change(popped.messages[1], popped.receipt(1), 20_000, suspend=True)
    assert answer.ext["invisibleTime"] == "20000"
    assert world.wait_back(8).bodies == [b"soon"]
    back = world.wait_back(30)
    assert (back.bodies, back.messages[0].reconsume_times) == ([b"late"], 0)
    assert world.passed_s > 20


def test_a_change_in_the_millisecond_of_its_pop_hides_nothing_for_good(world: PopWorld) -> None:
    world.put(b"soon", b"late")
    popped = world.pop(3000)
    receipt = popped.receipt(0)
    for _ in range(2):  # nor one in the millisecond of the change before
        answer = world.change(popped.messages[0], receipt, 1000)
        words = receipt.split()
        words[0], words[1:4] = "0", [answer.ext[name] for name in ("popTime", "invisibleTime", "reviveQid")]
        receipt = " ".join(words)
    assert world.ack(popped.messages[1], popped.receipt(1)).code == 0
    assert world.wait_back(12).bodies == [b"soon"]


def test_a_filter_passes_others_by_for_good(world: PopWorld) -> None:
    world.put(b"x", TAGS="X", a="1")
    world.put(b"y", TAGS="Y", a="2")
    assert world.pop(exp="Y", exp_type="TAG").bodies == [b"y"]
    assert world.pop(consumer_group="H", exp="a = 1", exp_type="SQL92").bodies == [b"x"]
    assert world.pop(consumer_group="I", exp="Z", exp_type="TAG").bodies == []
    assert world.world.parts.offsets.query("I", "T", 0) == 2
    assert world.pop(consumer_group="I").bodies == []


def test_an_ordered_pop_closes_its_queue(world: PopWorld) -> None:
    world.put(b"a", b"b", b"c")

    def pop(attempt: str) -> Popped:
        return world.pop(4000, max_msg_nums=2, order=True, attempt_id=attempt, queue_id=0)

    first = pop("1")
    assert (first.bodies, first.ext["orderCountInfo"], first.ext["reviveQid"]) == ([b"a", b"b"], "0 0 0", "999")
    assert pop("2").bodies == []
    assert pop("1").bodies == [b"a", b"b"]
    first = pop("1")
    assert world.ack(first.messages[0], first.receipt(0)).code == 0
    refused = world.ack(first.messages[0], first.receipt(0).replace(" 999 ", " 999 "))
    assert refused.code == 0  # behind the group's offset
    waiting = world.held(queue_id=0, order=True, attempt_id="3", max_msg_nums=2)
    world.tick(3)
    assert sent(waiting.wire) == []
    world.tick(2)
    (answer,) = sent(waiting.wire)
    woken = Popped(answer)
    assert (woken.bodies, woken.ext["orderCountInfo"]) == ([b"b", b"c"], "0 qo0%1 1;0 0 0")
    changed = world.change(woken.messages[0], woken.receipt(0), 20_000)
    assert changed.code == 0
    world.tick(6)
    assert pop("4").bodies == []
    for index in range(2):
        assert world.ack(woken.messages[index], woken.receipt(index)).code == 0
    world.put(b"d")
    assert pop("4").bodies == [b"d"]


def test_what_is_out_of_an_ordered_queue_outlives_the_broker(world: PopWorld) -> None:
    world.put(b"a", b"b")
    popped = world.pop(30_000, order=True, queue_id=0, attempt_id="1")
    world.pops.orders.tick()
    world.crash()
    assert world.pop(order=True, queue_id=0, attempt_id="2").bodies == []
    for index in range(2):
        assert world.ack(popped.messages[index], popped.receipt(index)).code == 0
    world.put(b"c")
    assert world.pop(order=True, queue_id=0, attempt_id="2").bodies == [b"c"]


def test_a_wrong_acknowledgement_in_order_is_refused(world: PopWorld) -> None:
    world.put(b"a", b"b", b"c")
    popped = world.pop(order=True, queue_id=0, max_msg_nums=1)
    rest = world.pop(consumer_group="H")
    answer = world.ack(rest.messages[2], popped.receipt(0))
    assert (answer.code, answer.remark) == (
        ResponseCode.MESSAGE_ILLEGAL,
        f"offset is illegal, key:T@G@0, old:0, commit:2, next:-1, /{world.peer.connection.peer}",
    )


def test_a_waiting_pop_is_woken_by_what_it_wants(world: PopWorld) -> None:
    waiting = world.held(exp="B", exp_type="TAG")
    other = world.held(consumer_group="H", queue_id=1)
    assert world.peer.ask(PollingInfo(consumer_group="G", topic="T", queue_id=-1)).ext["pollingNum"] == "1"
    world.put(b"no", TAGS="A")
    world.tick()
    assert sent(waiting.wire) == []
    assert sent(other.wire) == []
    world.put(b"yes", TAGS="B")
    world.tick()
    assert Popped(sent(waiting.wire)[0]).bodies == [b"yes"]
    world.put(b"there", queue_id=1)
    world.tick()
    assert Popped(sent(other.wire)[0]).bodies == [b"there"]


def test_a_waiting_pop_gets_what_comes_back(world: PopWorld) -> None:
    world.put(b"a")
    world.pop(3000)
    waiting = world.held(poll_time=30_000)
    world.tick(12)
    assert Popped(sent(waiting.wire)[0]).bodies == [b"a"]


def test_a_waiting_pop_ends_with_its_time(world: PopWorld) -> None:
    waiting = world.held(poll_time=2000)
    world.tick(1.5)
    assert sent(waiting.wire) == []
    world.tick(1)
    answer = Popped(sent(waiting.wire)[0])
    assert (answer.code, answer.remark) == (ResponseCode.POLLING_TIMEOUT, "NO_MESSAGE_IN_QUEUE")
    gone = world.held(poll_time=2000)
    gone.leave()
    assert world.peer.ask(PollingInfo(consumer_group="G", topic="T", queue_id=-1)).ext["pollingNum"] == "0"
    world.tick(3)


def test_too_many_must_not_wait(world: PopWorld) -> None:
    world.world.options.broker.pop_polling_size = 1
    world.pops.follow()
    peers = [world.held() for _ in range(2)]
    assert world.pop(poll_time=5000).code == ResponseCode.POLLING_FULL
    world.pops.release_all()
    assert [Popped(sent(peer.wire)[0]).code for peer in peers] == [ResponseCode.POLLING_TIMEOUT] * 2


def test_a_notification_tells_and_waits(world: PopWorld) -> None:
    def ask(**fields: int) -> Notification:
        return Notification(consumer_group="G", topic="T", queue_id=-1, born_time=world.now_ms(), **fields)

    assert world.peer.ask(ask()).ext["hasMsg"] == "false"
    peer = world.world.peer("notified")
    peer.send(ask(poll_time=5000))
    assert sent(peer.wire) == []
    world.put(b"a")
    world.tick()
    assert sent(peer.wire)[0].ext["hasMsg"] == "true"
    assert world.peer.ask(ask(poll_time=5000)).ext["hasMsg"] == "true"


def test_a_peek_hides_nothing(world: PopWorld) -> None:
    peek = PeekMessage(consumer_group="G", topic="T", queue_id=-1, max_msg_nums=5)
    assert world.peer.ask(peek).code == ResponseCode.PULL_NOT_FOUND
    world.put(b"a")
    for _ in range(2):
        assert Popped(world.peer.ask(peek)).bodies == [b"a"]
    assert world.pop().bodies == [b"a"]


def test_a_crash_loses_neither_messages_nor_acknowledgements(world: PopWorld) -> None:
    world.put(b"a", b"b")
    popped = world.pop(5000)
    world.world.parts.offsets.tick()
    assert world.ack(popped.messages[0], popped.receipt(0)).code == 0
    world.crash()
    assert world.pop().bodies == []
    assert world.wait_back().bodies == [b"b"]
    world.crash()
    again = world.wait_back(90)
    assert again.bodies == [b"b"]


def test_a_write_that_fails_hides_nothing(world: PopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put(b"a")

    def fail(*_: object) -> None:
        raise WriteFailed("no disk", file="log")

    with monkeypatch.context() as broken:
        broken.setattr(world.world.store.log, "write", fail)
        assert world.pop().code == ResponseCode.SYSTEM_ERROR
    assert world.pop().bodies == [b"a"]


def test_a_cold_queue_is_read_in_a_thread_and_passed_by_meanwhile(
    world: PopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(b"a")
    thread = ManualThread()
    store = world.world.store
    read = store.get_messages

    def cold(*args: object, allow_cold: bool = False, **more: object) -> object:
        if not allow_cold:
            raise ColdRead("cold")
        return read(*args, allow_cold=True, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "get_messages", cold)
    monkeypatch.setattr(world.pops.shared, "run_in_thread", lambda *a, **k: thread(lambda: a[0](*a[1:], **k)))
    waiting = world.world.peer("slow")
    waiting.send(world.request(queue_id=0))
    passed_by = world.world.peer("fast")
    passed_by.send(world.request(queue_id=0, poll_time=0))
    (answer,) = sent(passed_by.wire)
    assert answer.code == 210, answer.remark
    assert (answer.remark, answer.ext["restNum"]) == ("NO_MESSAGE_IN_QUEUE", "1")
    thread.run_one()
    assert Popped(sent(waiting.wire)[0]).bodies == [b"a"]


def cold_from(world: PopWorld, monkeypatch: pytest.MonkeyPatch, queue_id: int) -> ManualThread:
    """Pops take queue 0 first; one queue of T has to be read in the thread that is given."""
    thread, store = ManualThread(), world.world.store
    read = store.get_messages

    def cold(topic: str, of: int, *args: Any, allow_cold: bool = False, **more: Any) -> object:
        if not allow_cold and (topic, of) == ("T", queue_id):
            raise ColdRead("cold")
        return read(topic, of, *args, allow_cold=True, **more)

    monkeypatch.setattr(store, "get_messages", cold)
    monkeypatch.setattr(pop_plan.random, "randrange", lambda _: 0)
    monkeypatch.setattr(world.pops.shared, "run_in_thread", lambda *a, **k: thread(lambda: a[0](*a[1:], **k)))
    return thread


def test_what_comes_in_the_turn_of_a_pop_that_will_wait_wakes_it(
    world: PopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It passed others by, so that it waits only after the commit, which tells of what came before."""
    world.put(b"no", TAGS="A")
    with monkeypatch.context() as later:
        later.setattr(world.world.store, "commit", lambda: None)
        world.put(b"yes", TAGS="B")
    waiting = world.held(exp="B", exp_type="TAG", queue_id=0)
    world.tick()
    assert Popped(sent(waiting.wire)[0]).bodies == [b"yes"]


def test_what_comes_while_a_pop_reads_another_queue_wakes_it(world: PopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    thread = cold_from(world, monkeypatch, 1)
    waiting = world.held()
    world.put(b"a")
    thread.run_one()
    world.tick()
    thread.run_one()
    assert Popped(sent(waiting.wire)[0]).bodies == [b"a"]


def test_a_queue_that_is_unlocked_while_a_pop_reads_another_one_wakes_it(
    world: PopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = cold_from(world, monkeypatch, 1)
    world.put(b"a")
    world.pops.shared.offsets.commit(PopQueue("T", "G", 1), 0)
    locked = world.pops.shared.offsets.locked
    locked.add(PopQueue("T", "G", 0))
    waiting = world.held()
    locked.clear()
    thread.run_one()
    world.tick()
    thread.run_one()
    assert Popped(sent(waiting.wire)[0]).bodies == [b"a"]


def test_a_pop_that_found_nothing_new_goes_on_waiting(world: PopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    world.put(b"no", TAGS="A")
    waiting = world.held(exp="B", exp_type="TAG")
    looked: list[str] = []
    read = world.world.store.get_messages

    def spied(topic: str, *args: Any, **more: Any) -> object:
        looked.append(topic)
        return read(topic, *args, **more)

    monkeypatch.setattr(world.world.store, "get_messages", spied)
    world.tick(2)
    assert looked.count("T") == 0
    assert sent(waiting.wire) == []


def test_a_commit_of_others_that_fails_while_a_pop_reads_hides_nothing(
    world: PopWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its check point went with their messages, and its own commit has nothing left to write."""
    thread = cold_from(world, monkeypatch, 1)
    world.put(b"a")
    world.put(b"b", queue_id=1)
    slow = world.world.peer("slow")
    slow.send(world.request())
    with monkeypatch.context() as broken:

        def fail(*_: object) -> None:
            raise WriteFailed("no disk", file="log")

        broken.setattr(world.world.store.log, "write", fail)
        with pytest.raises(WriteFailed):
            world.put(b"x")
    assert world.pop(queue_id=0).bodies == [b"a"]
    thread.run_one()
    [answer] = sent(slow.wire)
    assert (answer.code, answer.body) == (ResponseCode.SYSTEM_ERROR, b"")
    again = world.world.peer("again")
    again.send(world.request())
    thread.run_one()
    assert Popped(sent(again.wire)[0]).bodies == [b"b"]
    assert [world.world.parts.offsets.query("G", "T", queue_id) for queue_id in (0, 1)] == [1, 1]


def test_arrivals_of_unknown_tags_wake_whoever_waits(world: PopWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """As very many messages that are confirmed late are shown."""
    monkeypatch.setattr(heldback, "GROUPS_MAX", 2)
    store = world.world.store
    by_tag = world.held(exp="B", exp_type="TAG", queue_id=0)
    by_property = world.held(world.world.peer("sql"), exp="a = 1", exp_type="SQL92", queue_id=0, consumer_group="H")
    store.hold_back()
    for tag in "AABA":
        world.put(tag.encode(), TAGS=tag, a="1")
    assert sent(by_tag.wire) == sent(by_property.wire) == []
    store.confirm(store.max_physical_offset)
    world.tick()
    assert Popped(sent(by_tag.wire)[0]).bodies == [b"B"]
    assert Popped(sent(by_property.wire)[0]).bodies == [b"A", b"A", b"B", b"A"]


def test_an_administrator_moves_a_group(world: PopWorld) -> None:
    world.put(b"a", b"b", b"c")
    assert len(world.pop().bodies) == 3
    world.world.parts.offsets.assign_reset_offset("G", "T", 0, 1)
    assert world.pop().bodies == [b"b", b"c"]


def test_a_new_group_at_the_end(world: PopWorld) -> None:
    world.put(b"a", b"b")
    assert world.pop(init_mode=1, queue_id=0).bodies == [b"a", b"b"]
    world.world.options.broker.init_pop_offset_by_check_msg_in_mem = False
    world.pops.follow()
    assert world.pop(init_mode=1, queue_id=0, consumer_group="H").bodies == [b"b"]


def test_not_more_than_the_threshold_is_out(world: PopWorld) -> None:
    world.world.options.broker.enable_pop_message_threshold = True
    world.world.options.broker.pop_inflight_message_threshold = 1
    world.pops.follow()
    world.put(b"a", b"b", b"c")
    popped = world.pop(max_msg_nums=2)
    held_back = world.pop()
    assert (held_back.bodies, held_back.ext["restNum"]) == ([], "1")
    assert world.ack(popped.messages[0], popped.receipt(0)).code == 0
    assert world.pop().bodies == [b"c"]


def test_retry_topics_of_the_second_form(world: PopWorld) -> None:
    world.world.options.broker.enable_retry_topic_v2 = True
    world.pops.follow()
    world.put(b"a")
    world.pop()
    back = world.wait_back()
    assert (back.bodies, back.receipt(0).split()[4]) == ([b"a"], "2")
    assert world.world.parts.topics.get("%RETRY%G+T") is not None


def test_nothing_comes_back_for_a_topic_that_is_gone(world: PopWorld) -> None:
    world.put(b"a")
    world.pop(2000)
    world.world.parts.topics.delete("T")
    world.tick(10)
    assert world.world.parts.topics.get("%RETRY%G_T") is None
    assert world.world.parts.offsets.query(REVIVE_GROUP, REVIVE_TOPIC, 0) == 0


@pytest.mark.parametrize(("skip", "back"), [("true", 0), ("false", 1)])
def test_what_a_deleted_group_had_popped(world: PopWorld, skip: str, back: int) -> None:
    """With `popReviveSkipIfGroupAbsent=false` it waits in the retry topic for a group of that name."""
    world.world.options.broker.pop_revive_skip_if_group_absent = skip == "true"
    world.pops.follow()
    world.put(b"a")
    world.pop(2000)
    world.world.parts.groups.auto_create = False
    world.world.parts.groups.delete("G")
    world.tick(10)
    assert world.world.store.max_offset("%RETRY%G_T", 0) == back


@pytest.mark.parametrize(
    ("fields", "code", "remark"),
    [
        ({"max_msg_nums": 33}, 29, "the broker[127.0.0.1] pop message's num is greater than 32"),
        ({"max_msg_nums": -1}, 1, "maxMsgNums is negative: -1"),
        ({"topic": "nowhere"}, 17, "topic[nowhere] not exist, apply first please! \nSee "),
        ({"queue_id": 2}, 29, "queueId[2] is illegal, topic:[T] topicConfig.readQueueNums:[2] consumer:[/"),
        ({"born_time": 1}, 210, "the broker[127.0.0.1] pop message is timeout too much"),
        ({"exp": "a >", "exp_type": "SQL92"}, 23, "parse the consumer's subscription failed"),
        ({"exp": "a", "exp_type": "JAVA"}, 23, "parse the consumer's subscription failed"),
        ({"topic": "W"}, 16, "the topic[W] peeking message is forbidden"),
    ],
)
def test_refusals(world: PopWorld, fields: dict[str, object], code: int, remark: str) -> None:
    world.world.parts.topics.update(TopicConfig(topic_name="W", perm=2))
    answer = world.pop(**fields)
    assert (answer.code, (answer.remark or "")[: len(remark)]) == (code, remark)
    assert answer.ext["popTime"] == "0"


def staged_in_revive_log(world: PopWorld, tag: str, body: bytes, deliver_at_ms: int) -> None:
    properties = {"TAGS": tag, "TIMER_DELIVER_MS": str(deliver_at_ms)}
    world.world.store.stage(
        REVIVE_TOPIC,
        0,
        body,
        encode_properties(properties),
        tags_code=0,
        keys=(),
        flag=0,
        sys_flag=0,
        born_timestamp=world.now_ms(),
        born_host=encode_host("127.0.0.1", 1),
    )
    world.world.store.commit()


def check_point(world: PopWorld, **members: object) -> PopCheckPoint:
    known: dict[str, object] = {
        "broker_name": "broker-a",
        "consumer_group": "G",
        "offset_differences": [0, 1],
        "invisible_time": 1000,
        "count": 2,
        "pop_time": world.now_ms(),
        "topic": "T",
    }
    return PopCheckPoint(**{**known, **members})  # type: ignore[arg-type]


def test_an_acknowledgement_of_an_older_broker_counts(world: PopWorld) -> None:
    world.put(b"a", b"b")
    world.world.parts.groups.find("G")
    point = check_point(world, broker_name=None)
    staged_in_revive_log(world, "ck", point.encode(), point.pop_time)
    old = {
        "ackOffset": 0,
        "startOffset": 0,
        "consumerGroup": "G",
        "topic": "T",
        "queueId": 0,
        "popTime": point.pop_time,
    }
    staged_in_revive_log(world, "ack", json.dumps(old).encode(), point.pop_time + 1000)
    staged_in_revive_log(world, "ack", b'{"ackOffset":[]}', point.pop_time)
    staged_in_revive_log(world, "ck", b"no check point", point.pop_time)
    world.tick(8)
    store = world.world.store
    found = store.get_messages("%RETRY%G_T", 0, 0, 32)
    assert [message.body for message in iter_records(found.body)] == [b"b"]


def test_what_belongs_to_another_broker_is_asked_for_again_later(world: PopWorld) -> None:
    world.put(b"a", b"b")
    world.world.parts.groups.find("G")
    point = check_point(world, broker_name="broker-b", count=1, offset_differences=[0])
    staged_in_revive_log(world, "ck", point.encode(), point.pop_time)
    world.tick(20)
    found = world.world.store.get_messages(REVIVE_TOPIC, 0, 1, 32)
    (again,) = [PopCheckPoint.decode(message.body) for message in iter_records(found.body)]
    assert (again.put_again_times, again.invisible_time, again.start_offset) == ("1", 11_000, 0)
    assert world.world.parts.topics.get("%RETRY%G_T") is None


def test_what_another_broker_has_is_read_there(world: PopWorld) -> None:
    """A slave that stood in left its check points here; what its consumers did not acknowledge comes back here."""
    world.put(b"a", b"b")
    world.world.parts.groups.find("G")
    [record] = world.world.store.get_messages("T", 0, 1, 1).records
    asked: list[tuple[str, str, int, int]] = []

    class Elsewhere:
        async def read(self, *where: Any) -> StoredMessage:
            asked.append(where)
            return decode_record(record)

    world.pops.shared.elsewhere = Elsewhere()  # type: ignore[assignment]
    point = check_point(world, broker_name="broker-b", count=1, offset_differences=[0], start_offset=7)
    staged_in_revive_log(world, "ck", point.encode(), point.pop_time)
    world.tick(20)
    assert asked == [("broker-b", "T", 0, 7)]
    found = world.world.store.get_messages("%RETRY%G_T", 0, 0, 32)
    assert [message.body for message in iter_records(found.body)] == [b"b"]


def test_a_message_that_has_no_room_for_more_properties_is_tried_again(world: PopWorld) -> None:
    world.put(b"full", big="x" * 32_745)
    world.put(b"b")
    popped = world.pop(2000)
    assert popped.bodies == [b"full", b"b"]
    back = world.wait_back()
    assert back.bodies == [b"b"]
    world.tick(14)
    found = world.world.store.get_messages(REVIVE_TOPIC, 0, 1, 32)
    assert [PopCheckPoint.decode(each.body).put_again_times for each in iter_records(found.body)] == ["1"]


def test_a_slave_gives_nothing_out(world: PopWorld) -> None:
    """Until it becomes the master."""
    world.put(b"a")
    world.world.store.set_slave(True)
    assert world.pop().code == ResponseCode.SERVICE_NOT_AVAILABLE
    world.world.store.set_slave(False)
    assert world.pop().bodies == [b"a"]


def test_check_points_and_acknowledgements_are_stored_as_the_official_broker_does(world: PopWorld) -> None:
    """The bytes are those that a 5.5.0 broker wrote, less its times."""
    world.put(b"a", b"b")
    popped = world.pop(3000)
    world.ack(popped.messages[1], popped.receipt(1))
    found = world.world.store.get_messages("rmq_sys_wheel_timer", 0, 0, 32)
    at = popped.ext["popTime"]
    point, ack = iter_records(found.body)
    assert point.body.decode() == (
        f'{{"bm":0,"bn":"broker-a","c":"G","d":[0,1],"it":3000,"n":2,"pt":{at},"q":0,'
        f'"reviveTime":{int(at) + 3000},"ro":0,"so":0,"sp":false,"t":"T"}}'
    )
    assert ack.body.decode() == f'{{"ao":1,"bn":"broker-a","c":"G","pt":{at},"q":0,"so":0,"t":"T"}}'
    properties = decode_properties(point.properties)
    assert properties["UNIQ_KEY"] == f"T@0@0@G@{at}@broker-a@ck"
    assert (properties["REAL_TOPIC"], properties["TAGS"]) == (REVIVE_TOPIC, "ck")
    assert properties["TIMER_DELIVER_MS"] == str(int(at) + 2000)
    properties = decode_properties(ack.properties)
    assert properties["UNIQ_KEY"] == f"T@0@1@G@{at}@broker-a@ack"
    assert properties["TIMER_DELIVER_MS"] == str(int(at) + 3000)
