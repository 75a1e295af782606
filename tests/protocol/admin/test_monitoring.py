"""startMonitoring: what is told of groups whose consumers are stuck, and of offsets that moved."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest

from rmqd.protocol.admin.asking import Admin
from rmqd.protocol.admin.command import COMMANDS, Given
from rmqd.protocol.admin.errors import Unreachable
from rmqd.protocol.admin.monitoring import start_monitoring
from rmqd.protocol.admin.output import Output
from rmqd.protocol.blocking import drive
from rmqd.protocol.peer_errors import ConnectFailed
from rmqwire.bodies import (
    BrokerData,
    ClusterInfo,
    Connection,
    ConsumerConnection,
    ConsumerRunningInfo,
    ConsumeStats,
    MessageQueue,
    OffsetMovedEvent,
    OffsetWrapper,
    ProcessQueueInfo,
    TopicList,
    TopicRouteData,
)
from rmqwire.codes import ResponseCode
from rmqwire.command import RemotingCommand
from rmqwire.declare import Header
from rmqwire.message import encode_record
from rmqwire.requests.heartbeat import GetConsumerConnectionList, GetConsumerRunningInfo
from rmqwire.requests.offset import GetMaxOffset, QueryConsumerOffset, UpdateConsumerOffset
from rmqwire.requests.pull import PullMessage
from rmqwire.requests.route import GetAllTopicListFromNameserver, GetBrokerClusterInfo, GetRouteInfoByTopic
from rmqwire.requests.stats import GetConsumeStats

T = TypeVar("T")
NOW_MS = 1_700_000_000_000
HOST = bytes((10, 0, 0, 2)) + (10911).to_bytes(4, "big")
QUEUE = MessageQueue(topic="T", broker_name="b", queue_id=0)


class Servers:
    """A broker with a group that has not consumed three of five messages, and one event of a moved offset."""

    def __init__(self) -> None:
        self.committed: int | None = None
        self.events = [OffsetMovedEvent(consumer_group="g", message_queue=QUEUE, offset_request=9, offset_new=1)]
        self.rounds = 0
        self.refused: set[int] = set()
        """Rounds at which the name server is gone."""
        self.strange: set[int] = set()
        """Rounds at which it answers what is no list of topics."""

    async def together(self, works: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        return [await work() for work in works]

    async def call(self, address: str, header: Header, body: bytes = b"", *, timeout_ms: int = 0) -> RemotingCommand:
        return self._answer(header)

    def _answer(self, header: Header) -> RemotingCommand:
        if isinstance(header, GetAllTopicListFromNameserver):
            self.rounds += 1
            if self.rounds in self.refused:
                raise ConnectFailed("Connection refused")
            if self.rounds in self.strange:
                return RemotingCommand(0, body=b"<html>")
            return _body(TopicList(topic_list=["T", "%RETRY%g", "%RETRY%offline", "OFFSET_MOVED_EVENT"]))
        if isinstance(header, GetRouteInfoByTopic):
            return _body(TopicRouteData(broker_datas=[BrokerData(broker_name="b", broker_addrs={0: "10.0.0.2:10911"})]))
        if isinstance(header, GetBrokerClusterInfo):
            return _body(ClusterInfo(broker_addr_table={"b": BrokerData(broker_addrs={0: "10.0.0.2:10911"})}))
        if isinstance(header, GetConsumeStats):
            offsets = OffsetWrapper(broker_offset=5, consumer_offset=2, last_timestamp=NOW_MS - 5000)
            return _body(ConsumeStats(offset_table={QUEUE: offsets}))
        if isinstance(header, GetConsumerConnectionList):
            online = [Connection(client_id="c1", version=493)] if header.consumer_group == "g" else []
            return _body(ConsumerConnection(connection_set=online))
        if isinstance(header, GetConsumerRunningInfo):
            state = ProcessQueueInfo(last_consume_timestamp=NOW_MS - 61_000, cached_msg_count=1)
            properties = {"PROP_CONSUME_TYPE": "CONSUME_PASSIVELY", "consumerGroup": "g"}
            return _body(ConsumerRunningInfo(properties=properties, mq_table={QUEUE: state}))
        if isinstance(header, GetMaxOffset):
            return RemotingCommand(0, ext={"offset": "5" if header.topic == "T" else "0"})
        if isinstance(header, QueryConsumerOffset):
            if self.committed is None:
                return RemotingCommand(ResponseCode.QUERY_NOT_FOUND)
            return RemotingCommand(0, ext={"offset": str(self.committed)})
        if isinstance(header, UpdateConsumerOffset):
            self.committed = header.commit_offset
            return RemotingCommand(0)
        assert isinstance(header, PullMessage)
        return self._pulled(header)

    def _pulled(self, header: PullMessage) -> RemotingCommand:
        bodies = [b"m"] * 5 if header.topic == "T" else [event.encode() for event in self.events]
        wanted = bodies[header.queue_offset : header.queue_offset + header.max_msg_nums]
        records = b"".join(_record(header.topic, body) for body in wanted)
        end = header.queue_offset + len(wanted)
        ext = {
            "nextBeginOffset": str(end),
            "minOffset": "0",
            "maxOffset": str(len(bodies)),
            "suggestWhichBrokerId": "0",
        }
        return RemotingCommand(0 if wanted else ResponseCode.PULL_NOT_FOUND, ext=ext, body=records)


def _body(body: Any) -> RemotingCommand:
    return RemotingCommand(0, body=body.encode())


def _record(topic: str, body: bytes) -> bytes:
    return encode_record(
        topic=topic,
        queue_id=0,
        body=body,
        properties=b"",
        queue_offset=0,
        physical_offset=0,
        flag=0,
        sys_flag=0,
        born_timestamp=NOW_MS,
        born_host=HOST,
        store_timestamp=NOW_MS,
        store_host=HOST,
    )


def _run(servers: Servers, rounds: int, as_json: bool = False) -> tuple[str, list[float]]:
    stream, slept = io.StringIO(), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    out = Output(stream, as_json)
    admin = Admin(servers, ("10.0.0.1:9876",), lambda: NOW_MS, sleep)
    given = Given({"rounds": rounds, "interval": 7})
    run: Awaitable[None] = start_monitoring(admin, given, out)

    async def whole() -> None:
        await run
        out.finish()

    drive(whole())
    return stream.getvalue(), slept


def test_a_group_behind_and_a_consumer_that_is_stuck_are_reported() -> None:
    servers = Servers()
    servers.events = []
    text, _ = _run(servers, 1)
    assert text.splitlines() == [
        "[MONITOR] =========================================beginRound",
        "[MONITOR] reportUndoneMsgs: UndoneMsgs [consumerGroup=g, topic=T, undoneMsgsTotal=3, undoneMsgsSingleMQ=3, "
        "undoneMsgsDelayTimeMills=5000]",
        "[MONITOR]  [NOTIFY] reportConsumerRunningInfo: ConsumerGroup: g, ClientId: c1, c1 MessageQueue [topic=T, "
        "brokerName=b, queueId=0] can't consume for a while, maybe blocked, 61000ms",
        "",
        "[MONITOR] =========================================endRound",
    ]


def test_events_are_reported_once_from_the_first_round_on() -> None:
    servers = Servers()
    servers.events = []
    assert "reportDeleteMsgsEvent" not in _run(servers, 1)[0]
    servers.events = Servers().events
    text, slept = _run(servers, 2)
    assert (servers.rounds, slept) == (3, [7])
    told = [line for line in text.splitlines() if "reportDeleteMsgsEvent" in line]
    assert told == [
        "[MONITOR] reportDeleteMsgsEvent: DeleteMsgsEvent [offsetMovedEvent=OffsetMovedEvent [consumerGroup=g, "
        "messageQueue=MessageQueue [topic=T, brokerName=b, queueId=0], offsetRequest=9, offsetNew=1], "
        f"eventTimestamp={NOW_MS}]"
    ]


def test_each_round_is_a_json_list() -> None:
    text, _ = _run(Servers(), 2, as_json=True)
    rounds = [json.loads(line) for line in text.splitlines()]
    assert [[row["report"] for row in one][:2] for one in rounds] == [["undoneMsgs", "stuck"]] * 2
    assert "startMonitoring" in COMMANDS


def test_a_round_that_fails_is_reported_and_the_next_one_comes() -> None:
    """A name server that is gone for a minute, or a proxy's page in its place, ends no watch."""
    servers = Servers()
    servers.refused, servers.strange = {2}, {3}
    text, slept = _run(servers, 4)
    assert (servers.rounds, slept) == (4, [7, 7, 7])
    assert [line for line in text.splitlines() if "10.0.0.1" in line] == [
        "[MONITOR] cannot connect to 10.0.0.1:9876, connection refused: is a name server running there? "
        "Give its address by -n host:port",
        "[MONITOR] 10.0.0.1:9876 answered what is no TopicList: is it a RocketMQ server?",
    ]
    assert text.count("endRound") == 2
    servers = Servers()
    servers.refused = {2}
    second = json.loads(_run(servers, 2, as_json=True)[0].splitlines()[1])
    assert [row["report"] for row in second] == ["failed"]


@pytest.mark.parametrize("what", ["refused", "strange"])
def test_a_first_round_that_fails_ends_it(what: str) -> None:
    servers = Servers()
    setattr(servers, what, {1})
    with pytest.raises(Unreachable):
        _run(servers, 2)
