"""Subscription groups of a broker and the file they are in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import NOW_MS, at_once, state_file

from rmqd.protocol.broker.groups import SubscriptionGroups
from rmqd.store.errors import StoreDamaged
from rmqwire.bodies import SubscriptionGroupConfig
from rmqwire.dialect import loads

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "config"


def groups(folder: Path, **options: Any) -> SubscriptionGroups:
    return SubscriptionGroups(state_file(folder, "subscriptionGroup.json"), lambda: NOW_MS, at_once, **options)


def test_a_new_broker_has_the_official_groups(tmp_path: Path) -> None:
    """Tools that consume by a group of their own find it."""
    written = json.loads((GOLDEN / "5.5.0" / "subscriptionGroup.json").read_text())["subscriptionGroupTable"]
    made_later = {"groupA", "gg", "please_rename_unique_group_name_4"}
    expected = {name: entry for name, entry in written.items() if name not in made_later}
    made = {name: json.loads(config.encode()) for name, config in groups(tmp_path).table.items()}
    assert made == expected


@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_an_official_file_is_read_and_written_back(tmp_path: Path, version: str) -> None:
    """A broker that takes over the store of an official one keeps its groups, and can give the store back."""
    shutil.copy(GOLDEN / version / "subscriptionGroup.json", tmp_path)
    before = loads((tmp_path / "subscriptionGroup.json").read_bytes())
    table = groups(tmp_path)
    assert table.find("groupA") is not None
    table.delete("TOOLS_CONSUMER")
    after = loads((tmp_path / "subscriptionGroup.json").read_bytes())
    del before["subscriptionGroupTable"]["TOOLS_CONSUMER"]
    for name, entry in before["subscriptionGroupTable"].items():
        assert after["subscriptionGroupTable"][name].items() >= entry.items()
    assert after["forbiddenTable"] == before.get("forbiddenTable", {})


def test_an_unknown_group_is_made_when_it_consumes(tmp_path: Path) -> None:
    """A consumer starts without anybody making its group, unless the broker forbids it or the name is illegal."""
    table = groups(tmp_path)
    made = table.find("new-group")
    assert made == SubscriptionGroupConfig(group_name="new-group")
    assert table.find("bad group") is None
    assert table.find("") is None
    assert groups(tmp_path).contains("new-group"), "there after a restart"
    strict = groups(tmp_path, auto_create=False)
    assert strict.find("another") is None
    assert strict.find("CID_RMQ_SYS_x") is not None
    assert groups(tmp_path, auto_create=False, create_system_groups=False).find("CID_RMQ_SYS_y") is None
    assert not strict.contains("another")


def test_a_topic_taken_from_a_group(tmp_path: Path) -> None:
    """setConsumeMode-like bans survive a restart, and lifting one leaves the others."""
    table = groups(tmp_path)
    table.forbid_read("g", "T", True)
    table.forbid_read("g", "U", True)
    version = table.data_version
    table.forbid_read("g", "U", True)
    assert table.data_version is version, "nothing has changed"
    table.forbid_read("g", "U", False)
    again = groups(tmp_path)
    assert again.is_read_forbidden("g", "T")
    assert not again.is_read_forbidden("g", "U")
    assert not again.is_read_forbidden("h", "T")
    again.delete("g")
    assert not again.is_read_forbidden("g", "T")


def test_a_ban_of_an_official_broker_is_followed(tmp_path: Path) -> None:
    """The bits of forbiddenTable mean what they mean to Java."""
    shutil.copy(GOLDEN / "5.5.0" / "subscriptionGroup.json", tmp_path)
    assert groups(tmp_path).is_read_forbidden("gg", "TopicTest")


def test_members_of_a_newer_broker_are_kept(tmp_path: Path) -> None:
    """Going back to a newer official broker loses nothing that only it knows."""
    state_file(
        tmp_path,
        "subscriptionGroup.json",
        '{"later":1,"subscriptionGroupTable":{"g":{"groupName":"g","retryMaxTimes":3,"lite":{"x":[1]}}}}',
    )
    table = groups(tmp_path)
    found = table.find("g")
    assert found is not None
    assert found.retry_max_times == 3
    table.find("other")
    after = loads((tmp_path / "subscriptionGroup.json").read_bytes())
    assert after["later"] == 1
    assert after["subscriptionGroupTable"]["g"]["lite"] == {"x": [1]}


def test_a_damaged_file_stops_the_start(tmp_path: Path) -> None:
    """Groups that were switched off do not come back because their file is damaged."""
    state_file(tmp_path, "subscriptionGroup.json", '{"forbiddenTable":{"g":["T"]}}')
    with pytest.raises(StoreDamaged, match=r"subscriptionGroup\.json"):
        groups(tmp_path)
