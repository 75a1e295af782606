"""Subscription groups as mqadmin makes, changes, deletes and lists them, by the wire."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld

from rmqwire.bodies import SubscriptionGroupConfig, SubscriptionGroupList
from rmqwire.codes import ResponseCode
from rmqwire.requests import (
    DeleteSubscriptionGroup,
    GetAllSubscriptionGroupConfig,
    GetSubscriptionGroupConfig,
    UpdateAndCreateSubscriptionGroup,
    UpdateAndCreateSubscriptionGroupList,
    UpdateAndGetGroupForbidden,
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[BrokerWorld]:
    broker = BrokerWorld(tmp_path)
    yield broker
    broker.close()


def test_a_group_is_made_and_shown(world: BrokerWorld) -> None:
    """updateSubGroup of a 4.x tool, which knows fewer members, then the group as tools show it."""
    peer = world.peer()
    body = b'{"brokerId":0,"consumeEnable":false,"groupName":"g","retryMaxTimes":3}'
    assert peer.ask(UpdateAndCreateSubscriptionGroup(), body).code == 0
    shown = json.loads(peer.ask(GetSubscriptionGroupConfig(group="g")).body)
    assert (shown["groupName"], shown["consumeEnable"], shown["retryMaxTimes"]) == ("g", False, 3)
    assert shown["consumeTimeoutMinute"] == 15
    assert peer.ask(GetSubscriptionGroupConfig(group="bad name")).code == ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST


@pytest.mark.parametrize("body", [b"{}", b'{"groupName":"a.b"}', b'{"groupName":"' + b"g" * 121 + b'"}'])
def test_a_wrong_name_is_refused(world: BrokerWorld, body: bytes) -> None:
    """An administrator reads what was wrong, and nothing was made."""
    known = set(world.parts.groups.table)
    assert world.peer().ask(UpdateAndCreateSubscriptionGroup(), body).code == ResponseCode.INVALID_PARAMETER
    assert set(world.parts.groups.table) == known


def test_a_list_of_groups_is_made_whole(world: BrokerWorld) -> None:
    """updateSubGroupList makes all its groups or none."""
    peer = world.peer()

    def ask(*names: str) -> int:
        body = SubscriptionGroupList(group_config_list=[SubscriptionGroupConfig(group_name=name) for name in names])
        return peer.ask(UpdateAndCreateSubscriptionGroupList(), body).code

    assert ask("a", "bad name") == ResponseCode.INVALID_PARAMETER
    assert not world.parts.groups.contains("a")
    assert ask("a", "b") == 0
    assert world.parts.groups.contains("b")


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (DeleteSubscriptionGroup(group_name="g"), True),
        (DeleteSubscriptionGroup(group_name="g", clean_offset=True), False),
        (DeleteSubscriptionGroup(group_name="g", remove_offset=True), False),
    ],
)
def test_a_group_is_deleted(world: BrokerWorld, header: DeleteSubscriptionGroup, kept: bool) -> None:
    """deleteSubGroup takes the offsets along if it is told to, by the word of 4.9 as by that of 5.x."""
    world.parts.groups.find("g")
    world.parts.offsets.commit("g", "T", 0, 5)
    assert world.peer().ask(header).code == 0
    assert not world.parts.groups.contains("g")
    assert (world.parts.offsets.query("g", "T", 0) == 5) is kept


def test_the_whole_table_and_pages(tmp_path: Path) -> None:
    """Slaves read the table at once or in parts, each with the bans of its groups."""
    world = BrokerWorld(tmp_path, splitMetadataSize="3")
    peer = world.peer()
    world.parts.groups.forbid_read("TOOLS_CONSUMER", "T", True)
    whole = peer.ask(GetAllSubscriptionGroupConfig())
    assert whole.ext == {}
    body = json.loads(whole.body)
    assert set(body["subscriptionGroupTable"]) == set(world.parts.groups.table)
    assert body["forbiddenTable"] == {"TOOLS_CONSUMER": {"T": 4}}
    page = peer.ask(GetAllSubscriptionGroupConfig(group_seq=0, max_group_num=100))
    assert page.ext == {"totalGroupNum": str(len(world.parts.groups.table))}
    first = json.loads(page.body)
    assert list(first["subscriptionGroupTable"]) == sorted(world.parts.groups.table)[:3]
    assert first["forbiddenTable"] == {}
    world.close()


def test_a_topic_is_taken_from_a_group_and_given_back(world: BrokerWorld) -> None:
    """An administrator bans a group from a topic, looks, and lifts the ban."""
    peer = world.peer()

    def ask(readable: bool | None) -> bool:
        answer = peer.ask(UpdateAndGetGroupForbidden(group="g", topic="T", readable=readable))
        assert (answer.code, answer.remark) == (0, "")
        body = json.loads(answer.body)
        assert (body["group"], body["topic"]) == ("g", "T")
        return bool(body["readable"])

    assert ask(None) is True
    assert ask(False) is False
    assert ask(None) is False
    assert ask(True) is True
