"""updateStaticTopic and remappingStaticTopic with arguments and plans that are wrong: one line, and nothing sent."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rmqd.protocol.admin.asking import Admin
from rmqd.protocol.admin.command import Given
from rmqd.protocol.admin.errors import BadUsage
from rmqd.protocol.admin.output import Output
from rmqd.protocol.admin.static_plan import grown, remapped
from rmqd.protocol.admin.static_topics import remapping_static_topic, update_static_topic
from rmqd.protocol.blocking import drive
from rmqwire.bodies import BrokerData, ClusterInfo
from rmqwire.command import RemotingCommand
from rmqwire.declare import Header
from rmqwire.dialect_reader import quote_integer_keys
from rmqwire.requests.route import GetBrokerClusterInfo

T = TypeVar("T")


class Servers:
    """A name server that knows brokers a and b, which nothing may be sent to."""

    async def together(self, works: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        return [await work() for work in works]

    async def call(self, address: str, header: Header, body: bytes = b"", *, timeout_ms: int = 0) -> RemotingCommand:
        assert isinstance(header, GetBrokerClusterInfo), header
        brokers = {name: BrokerData(broker_name=name, broker_addrs={0: "10.0.0.2:10911"}) for name in "ab"}
        info = ClusterInfo(broker_addr_table=brokers, cluster_addr_table={"C": ["a", "b"]})
        return RemotingCommand(0, body=info.encode())


async def _no_sleep(seconds: float) -> None:
    pytest.fail(f"sleeps {seconds}")


@pytest.fixture(params=[update_static_topic, remapping_static_topic], ids=["update", "remap"])
def refusal(request: pytest.FixtureRequest) -> Callable[..., str]:
    """Run a command that has to fail; give its line."""

    def run(**given: object) -> str:
        admin = Admin(Servers(), ("10.0.0.1:9876",), lambda: 1, _no_sleep)
        values = {"topic": "T", "totalQueueNum": 2, **given}
        with pytest.raises(BadUsage) as caught:
            drive(request.param(admin, Given(values), Output(io.StringIO(), False)))
        return caught.value.line

    return run


def _plan(**members: object) -> dict[str, Any]:
    """A plan that holds, less what is replaced: queues of a go to b."""
    brokers = grown("T", 2, {"a"}, {}, 1).brokers
    tree: dict[str, Any] = json.loads(quote_integer_keys(remapped("T", {"b"}, brokers, 1).text()))
    return {**tree, **members}


@pytest.mark.parametrize("brokers", [",", " , ", ",,"])
def test_no_broker_between_commas(refusal: Callable[..., str], brokers: str) -> None:
    assert refusal(brokers=brokers) == "brokers names no broker: give names joined by commas by -b"


def _without(broker: str) -> dict[str, Any]:
    table = _plan()["brokerConfigMap"]
    return {"brokerConfigMap": {name: of for name, of in table.items() if name != broker}}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"brokerConfigMap": {}}, "it has no brokerConfigMap, or an empty one"),
        ({"brokerConfigMap": [1]}, "it has no brokerConfigMap, or an empty one"),
        ({"brokerConfigMap": {"a": 5}}, "TopicConfigAndQueueMapping"),
        ({"brokerConfigMap": {"a": None}}, "TopicConfigAndQueueMapping"),
        ({"brokerConfigMap": {"a": {"topicName": "T"}}, "brokerToMapIn": [], "brokerToMapOut": []}, "in broker a"),
        ({"epoch": "x"}, "its epoch is no number but 'x'"),
        ({"epoch": {}}, "its epoch is no number"),
        ({"brokerToMapIn": 5}, "brokerToMapIn is no list of names"),
        ({"brokerToMapOut": [["a"]]}, "brokerToMapOut is no list of names"),
        ({"brokerToMapIn": ["c"]}, "brokerToMapIn names c, of which brokerConfigMap says nothing"),
        ({"brokerToMapOut": ["c"]}, "brokerToMapOut names c, of which brokerConfigMap says nothing"),
        ({**_without("b"), "brokerToMapIn": []}, "a has b lead queue 0, of which brokerConfigMap says nothing"),
        ({"topic": None}, "it names no topic"),
        ({"topic": "Other"}, "it is of topic Other"),
    ],
)
def test_what_is_no_plan(refusal: Callable[..., str], members: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "plan"
    path.write_text(json.dumps(_plan(**members)))
    line = refusal(mapFile=str(path))
    assert line.startswith(f"{path} is no mapping of T: ")
    assert words in line


@pytest.mark.parametrize("text", [b"", b"[]", b"5", b"\xff\xfe", b"[" * 1000, b"{"])
def test_what_is_no_object(refusal: Callable[..., str], text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "plan"
    path.write_bytes(text)
    assert refusal(mapFile=str(path)).startswith(f"{path} is no mapping of T: ")
