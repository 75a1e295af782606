"""updateBrokerConfig and getBrokerConfig: what acts at once, what is refused, what is in the file afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld

from rmqwire.codes import ResponseCode
from rmqwire.requests import GetBrokerConfig, QueryMessage, UpdateBrokerConfig


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    yield broker
    broker.close()


def shown(world: BrokerWorld) -> tuple[dict[str, str], int]:
    answer = world.peer().ask(GetBrokerConfig())
    lines = answer.body.decode().splitlines()
    return dict(line.split("=", 1) for line in lines), json.loads(answer.ext["version"])["counter"]


def test_a_change_is_shown_stored_and_acted_upon(world: BrokerWorld) -> None:
    """An administrator stops topics from being made by typing errors, without a restart."""
    before, version = shown(world)
    assert before["autoCreateTopicEnable"] == "true"
    answer = world.peer().ask(UpdateBrokerConfig(), b"autoCreateTopicEnable=false\ndefaultQueryMaxNum=1\n")
    assert answer.code == ResponseCode.SUCCESS
    after, later = shown(world)
    assert (after["autoCreateTopicEnable"], later) == ("false", version + 1)
    assert world.parts.topics.create_for_send("X", "TBW102", 4, 0, "p") is None
    world.put("T", 0, b"1", b"2", keys=("id",))
    header = QueryMessage(topic="T", key="id", max_num=9, begin_timestamp=0, end_timestamp=2**62, unique_key_query=True)
    one = len(world.peer().ask(header).body)
    world.peer().ask(UpdateBrokerConfig(), b"defaultQueryMaxNum=2")
    assert len(world.peer().ask(header).body) == 2 * one
    stored = Path(world.options.update_file).read_text()
    assert "autoCreateTopicEnable=false" in stored
    assert "defaultQueryMaxNum=2" in stored


def test_the_permission_of_the_broker(world: BrokerWorld) -> None:
    """A broker is taken out of writing for maintenance, and slaves and name servers see a new version."""
    version = world.parts.topics.data_version
    assert world.peer().ask(UpdateBrokerConfig(), b"brokerPermission=4").code == ResponseCode.SUCCESS
    assert world.parts.send_settings.broker_permission == 4
    assert world.parts.pull_checks.broker_permission == 4
    assert world.parts.topics.data_version != version


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (b"brokerConfigPath=/tmp/x", ResponseCode.NO_PERMISSION, "Can not update config in black list."),
        (b"defaultTopicQueueNums=many", ResponseCode.SYSTEM_ERROR, "defaultTopicQueueNums"),
    ],
)
def test_a_wrong_change_is_refused(world: BrokerWorld, text: bytes, code: int, words: str) -> None:
    """A typing error changes nothing, also not the good lines beside it."""
    before = shown(world)
    answer = world.peer().ask(UpdateBrokerConfig(), b"autoCreateTopicEnable=false\n" + text)
    assert answer.code == code
    assert answer.remark is not None
    assert words in answer.remark
    assert shown(world) == before
    assert not Path(world.options.update_file).exists()


def test_unknown_and_empty_changes(world: BrokerWorld) -> None:
    """As with the official broker, an unknown key is no error."""
    assert world.peer().ask(UpdateBrokerConfig(), b"noSuchKey=1").code == ResponseCode.SUCCESS
    assert world.peer().ask(UpdateBrokerConfig()).code == ResponseCode.SUCCESS
    assert "noSuchKey" not in shown(world)[0]
