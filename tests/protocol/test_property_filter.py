"""SQL92 subscriptions from the client's side: checked at first, pulled by, waited with, kept over a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from protocol.fakes import NOW_MS, BrokerWorld, Peer, consumer
from protocol.wiring import sent

from rmqwire.bodies import CheckClientRequestBody, HeartbeatData, SubscriptionData
from rmqwire.codes import ResponseCode
from rmqwire.command import RemotingCommand
from rmqwire.message import decode_record, encode_host
from rmqwire.properties import encode_properties
from rmqwire.requests import CheckClientConfig, HeartBeat, QueryConsumeQueue
from rmqwire.requests.pull import PullMessage

SUSPEND, SUBSCRIPTION, CLASS_FILTER = 2, 4, 8


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path, enablePropertyFilter="true")
    broker.parts.topics.create_for_send_back("T", 4, 6, 0)
    yield broker
    broker.close()


def sql(expression: str, version: int = 1, topic: str = "T", kind: str = "SQL92") -> SubscriptionData:
    return SubscriptionData(topic=topic, sub_string=expression, sub_version=version, expression_type=kind)


def beat(peer: Peer, *subscriptions: SubscriptionData, group: str = "g") -> None:
    data = consumer(group)
    data.subscription_data_set = list(subscriptions)
    answer = peer.ask(HeartBeat(), HeartbeatData(client_id=peer.client_id, consumer_data_set=[data]))
    assert answer.code == ResponseCode.SUCCESS, answer.remark


def put(world: BrokerWorld, *all_properties: Mapping[str, str], topic: str = "T") -> None:
    """Store messages of one read of a socket."""
    for properties in all_properties:
        world.store.stage(
            topic, 0, b"body", encode_properties(properties), tags_code=0, keys=(), flag=0, sys_flag=0,
            born_timestamp=NOW_MS, born_host=encode_host("127.0.0.1", 1),
        )  # fmt: skip
    world.store.commit()


def pull(
    offset: int = 0,
    *,
    flags: int = 0,
    version: int = 0,
    expression: str | None = None,
    kind: str | None = None,
    topic: str = "T",
) -> PullMessage:
    return PullMessage(
        consumer_group="g",
        topic=topic,
        queue_id=0,
        queue_offset=offset,
        max_msg_nums=32,
        sys_flag=flags,
        commit_offset=0,
        suspend_timeout_millis=15_000,
        sub_version=version,
        subscription=expression,
        expression_type=kind,
    )


def offsets(answer: RemotingCommand) -> list[int]:
    assert answer.code == ResponseCode.SUCCESS, answer.remark
    found, position = [], 0
    while position < len(answer.body):
        message = decode_record(answer.body, position)
        found.append(message.queue_offset)
        position += message.size
    return found


def check(peer: Peer, subscription: SubscriptionData) -> RemotingCommand:
    return peer.ask(
        CheckClientConfig(), CheckClientRequestBody(client_id="c", group="g", subscription_data=subscription)
    )


def test_an_expression_is_checked_before_its_consumer_starts(world: BrokerWorld) -> None:
    peer = world.peer()
    assert check(peer, sql("a > 5")).code == ResponseCode.SUCCESS
    assert check(peer, sql("a >", kind="TAG")).code == ResponseCode.SUCCESS
    refused = check(peer, sql("a > 'x'"))
    assert refused.code == ResponseCode.SUBSCRIPTION_PARSE_FAILED
    assert refused.remark == "java.lang.RuntimeException: Value ''x'' cannot be compared."
    unknown = check(peer, sql("a > 5", kind="XPATH"))
    assert (unknown.code, unknown.remark) == (
        ResponseCode.SUBSCRIPTION_PARSE_FAILED,
        "there is no filter of the type XPATH, only TAG and SQL92",
    )


def test_a_broker_without_property_filters_says_so(tmp_path: Path) -> None:
    world = BrokerWorld(tmp_path)
    world.parts.topics.create_for_send_back("T", 4, 6, 0)
    peer = world.peer()
    beat(peer, sql("a > 5"))
    text = "The broker does not support consumer to filter message by SQL92"
    for answer in (
        check(peer, sql("a > 5")),
        peer.ask(pull()),
        peer.ask(pull(flags=SUBSCRIPTION, expression="a > 5", kind="SQL92")),
    ):
        assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, text)
    world.close()


def test_a_consumer_gets_what_its_expression_accepts(world: BrokerWorld) -> None:
    peer = world.peer()
    put(world, *({"a": str(number)} for number in range(10)), {"b": "7"}, {"a": "text"})
    beat(peer, sql("a > 6 OR b = '7'", 5))
    answer = peer.ask(pull(version=5))
    assert offsets(answer) == [7, 8, 9, 10]
    assert answer.ext["nextBeginOffset"] == "12"
    assert offsets(peer.ask(pull(8))) == [8, 9, 10]


def test_what_nobody_wants_is_passed_over(world: BrokerWorld) -> None:
    peer = world.peer()
    put(world, *({"a": str(number)} for number in range(10)))
    beat(peer, sql("a > 50"))
    answer = peer.ask(pull(3, flags=SUSPEND))
    assert (answer.code, answer.remark) == (ResponseCode.PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE")
    assert answer.ext["nextBeginOffset"] == "10"


def test_a_pull_can_bring_its_own_expression(world: BrokerWorld) -> None:
    peer = world.peer()
    put(world, *({"a": str(number)} for number in range(5)))
    assert offsets(peer.ask(pull(flags=SUBSCRIPTION, expression="a BETWEEN 1 AND 2", kind="SQL92"))) == [1, 2]
    for expression in ("a >", None, ""):
        refused = peer.ask(pull(flags=SUBSCRIPTION, expression=expression, kind="SQL92"))
        assert refused.code == ResponseCode.SUBSCRIPTION_PARSE_FAILED
        assert refused.remark is not None
        assert refused.remark.startswith("parse the consumer's subscription failed")


def test_an_expression_that_was_wrong_or_is_old(world: BrokerWorld) -> None:
    """27: the heartbeat's expression did not compile; 25, 28: the client has changed it since."""
    peer = world.peer()
    beat(peer, sql("a >", 5))
    answer = peer.ask(pull(version=5))
    assert answer.code == ResponseCode.FILTER_DATA_NOT_EXIST
    assert answer.remark == "The broker's consumer filter data is not exist!Your expression may be wrong!"
    assert answer.ext == {}
    beat(peer, sql("a > 5", 6))
    assert peer.ask(pull(version=7)).code == ResponseCode.SUBSCRIPTION_NOT_LATEST
    filter_data = world.parts.filters.get("T", "g")
    assert filter_data is not None
    filter_data.client_version = 4
    answer = peer.ask(pull(version=6))
    assert (answer.code, answer.remark) == (
        ResponseCode.FILTER_DATA_NOT_LATEST,
        "the consumer's consumer filter data not latest",
    )


def test_class_filters_are_refused(world: BrokerWorld) -> None:
    peer = world.peer()
    subscription = SubscriptionData(topic="T", sub_string="com.example.Filter", class_filter_mode=True)
    beat(peer, subscription)
    for request in (pull(), pull(flags=SUBSCRIPTION | CLASS_FILTER, expression="com.example.Filter")):
        answer = peer.ask(request)
        assert answer.code == ResponseCode.SUBSCRIPTION_PARSE_FAILED
        assert answer.remark is not None
        assert "class filters" in answer.remark


def test_a_waiting_pull_is_woken_by_what_it_wants_only(world: BrokerWorld) -> None:
    peer = world.peer()
    beat(peer, sql("a > 5"))
    put(world, {"a": "1"})
    peer.send(pull(1, flags=SUSPEND))
    assert sent(peer.wire) == []
    put(world, {"a": "2"})
    put(world, {"a": "text"}, {}, {"a": "3"})
    put(world, {"a": "9"}, topic="U")
    assert sent(peer.wire) == []
    put(world, {"a": "4"}, {"a": "6"}, {"a": "5"})
    (answer,) = sent(peer.wire)
    assert offsets(answer) == [6]
    assert answer.ext["nextBeginOffset"] == "8"


def test_many_arrivals_at_once_wake_whoever_waits(world: BrokerWorld) -> None:
    """Looking at each of them on arrival would hold up whoever sent them; the consumer asks again by itself."""
    peer = world.peer()
    beat(peer, sql("a > 5"))
    put(world, {"a": "1"})
    peer.send(pull(1, flags=SUSPEND))
    put(world, *({"a": "2"} for _ in range(40)))
    (answer,) = sent(peer.wire)
    assert (answer.code, answer.ext["nextBeginOffset"]) == (ResponseCode.PULL_RETRY_IMMEDIATELY, "41")


def test_unwanted_messages_move_a_waiting_consumer_on(world: BrokerWorld) -> None:
    peer = world.peer()
    beat(peer, sql("a > 5"))
    put(world, {"a": "1"})
    peer.send(pull(1, flags=SUSPEND))
    put(world, {"a": "2"})
    for _ in range(6):
        world.reactor.advance(1)
        world.parts.holds.sweep()
    (answer,) = [command for command in sent(peer.wire) if command.is_response]
    assert (answer.code, answer.ext["nextBeginOffset"]) == (ResponseCode.PULL_RETRY_IMMEDIATELY, "2")


def test_a_changed_expression_counts_from_its_heartbeat_on(world: BrokerWorld) -> None:
    peer = world.peer()
    put(world, *({"a": str(number)} for number in range(5)))
    beat(peer, sql("a = 1", 1))
    assert offsets(peer.ask(pull(version=1))) == [1]
    beat(peer, sql("a = 2", 2))
    assert offsets(peer.ask(pull(version=2))) == [2]
    beat(peer, sql("*", 3, kind="TAG"))
    assert offsets(peer.ask(pull(version=3))) == [0, 1, 2, 3, 4]


def test_a_group_that_is_gone_is_noted(world: BrokerWorld) -> None:
    peer = world.peer("one")
    other = world.peer("two")
    beat(peer, sql("a > 5"))
    beat(other, sql("a > 5"))
    peer.leave()
    filter_data = world.parts.filters.get("T", "g")
    assert filter_data is not None
    assert not filter_data.is_dead
    other.leave()
    assert filter_data.is_dead
    beat(world.peer("three"), sql("a > 5"))
    assert not filter_data.is_dead


def test_expressions_are_kept_over_a_restart(world: BrokerWorld, tmp_path: Path) -> None:
    beat(world.peer(), sql("a = 'ü'", 5))
    world.parts.filters.tick()
    stored = json.loads((tmp_path / "store" / "config" / "consumerFilter.json").read_text())
    entry = stored["filterDataByTopic"]["T"]["groupFilterData"]["g"]
    assert (entry["expression"], entry["clientVersion"], entry["dead"]) == ("a = 'ü'", 5, False)
    assert entry["bloomFilterData"] == {"bitNum": 112, "bitPos": world.parts.filters.get("T", "g").bits}  # type: ignore[union-attr]
    world.store.close()
    again = BrokerWorld(tmp_path, enablePropertyFilter="true")
    found = again.parts.filters.get("T", "g")
    assert found is not None
    assert (found.expression, found.client_version, found.is_dead) == ("a = 'ü'", 5, True)
    again.store.close()
    world.store.open()


def test_retry_topics_by_the_filter_of_the_first_topic(tmp_path: Path) -> None:
    """filterSupportRetry: what failed once is not given to a group that has since asked for less."""
    world = BrokerWorld(tmp_path, enablePropertyFilter="true", filterSupportRetry="true")
    peer = world.peer()
    beat(peer, sql("a > 5"), sql("TRUE", topic="%RETRY%g"))
    put(
        world,
        {"a": "1", "RETRY_TOPIC": "T"},
        {"a": "6", "RETRY_TOPIC": "T"},
        {"a": "1", "RETRY_TOPIC": "U"},
        {"a": "1"},
        topic="%RETRY%g",
    )
    assert offsets(peer.ask(pull(topic="%RETRY%g"))) == [1, 2, 3]
    world.close()


def test_administrators_see_the_filter_of_a_queue(world: BrokerWorld) -> None:
    peer = world.peer()
    put(world, {"a": "1"})

    def filter_data() -> str:
        request = QueryConsumeQueue(topic="T", queue_id=0, index=0, count=1, consumer_group="g")
        return str(json.loads(peer.ask(request).body)["filterData"])

    assert filter_data() == "g@T is not online!"
    beat(peer, sql("*", kind="TAG"))
    assert filter_data() == "null"
    beat(peer, sql("a > 5", 2))
    assert json.loads(filter_data())["expression"] == "a > 5"
