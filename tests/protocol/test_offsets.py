"""Offsets of consumer groups and the file they are in."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import NOW_MS, ManualThread, at_once, state_file

from rmqd.protocol.broker.offsets import ConsumerOffsets
from rmqd.protocol.broker.state_writer import RunInThread
from rmqd.store.errors import StoreDamaged
from rmqwire.dialect import loads, pretty

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "config"


def offsets(folder: Path, run_in_thread: RunInThread = at_once, **options: Any) -> ConsumerOffsets:
    return ConsumerOffsets(state_file(folder, "consumerOffset.json"), lambda: NOW_MS, run_in_thread, **options)


def test_a_commit_is_there_at_once_and_on_disk_after_the_tick(tmp_path: Path) -> None:
    """A consumer that starts goes on where the group was, also after a restart of the broker."""
    table = offsets(tmp_path)
    assert table.query("g", "T", 0) == -1
    table.commit("g", "T", 0, 5, "1.2.3.4:5")
    table.commit("g", "T", 1, 7)
    assert table.query("g", "T", 0) == 5
    assert not (tmp_path / "consumerOffset.json").exists()
    table.tick()
    again = offsets(tmp_path)
    assert again.query("g", "T", 0) == 5
    assert again.queues("g", "T") == {0: 5, 1: 7}


def test_nothing_is_written_when_nothing_has_changed(tmp_path: Path) -> None:
    """An idle broker leaves the disk alone, though its consumers commit the same offsets every five seconds."""
    thread = ManualThread()
    table = offsets(tmp_path, thread)
    table.commit("g", "T", 0, 5)
    table.tick()
    thread.run_one()
    table.commit("g", "T", 0, 5)
    table.commit_pull_offset("g", "T", 0, 9)
    table.tick()
    assert thread.jobs == []


def test_the_first_commit_after_a_copy_raises_the_version(tmp_path: Path) -> None:
    master, slave = offsets(tmp_path / "master"), offsets(tmp_path / "slave")
    master.commit("group", "topic", 0, 5)
    slave.copy_from(loads(master.body()))
    assert slave.data_version == master.data_version
    slave.commit("group", "topic", 0, 5)
    assert slave.data_version == master.data_version, "nothing has changed"
    slave.commit("group", "topic", 0, 6)
    slave.commit("group", "topic", 0, 7)
    assert slave.data_version.counter == master.data_version.counter + 1
    slave.tick()
    again = offsets(tmp_path / "slave")
    again.commit("group", "topic", 0, 8)
    again.commit("group", "topic", 0, 9)
    assert again.data_version.counter == master.data_version.counter + 2, "also after a restart"


@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_an_official_file_is_read(tmp_path: Path, version: str) -> None:
    """Groups go on where they were on an official broker."""
    shutil.copy(GOLDEN / version / "consumerOffset.json", tmp_path)
    table = offsets(tmp_path)
    assert table.queues("please_rename_unique_group_name_4", "TopicTest") == dict.fromkeys(range(4), 250)


def test_the_file_is_the_official_one(tmp_path: Path) -> None:
    """An official broker that takes the store over reads the offsets."""
    shutil.copy(GOLDEN / "5.5.0" / "consumerOffset.json", tmp_path)
    official = loads((tmp_path / "consumerOffset.json").read_bytes())
    table = offsets(tmp_path)
    for queue_id in range(4):
        table.commit_pull_offset("please_rename_unique_group_name_4", "TopicTest", queue_id, 250)
    table.commit("late", "%RETRY%late", 0, 1)
    table.tick()
    text = (tmp_path / "consumerOffset.json").read_bytes()
    official["offsetTable"]["%RETRY%late@late"] = {0: 1}
    official["groupTopicMap"]["late"] = ["%RETRY%late"]
    official["dataVersion"] |= {"counter": 1, "timestamp": NOW_MS}
    assert loads(text) == loads(pretty(official))
    assert b"\n\t\t\t0:250,\n" in text, "bare integer keys, as fastjson writes them"


def test_members_of_a_newer_broker_are_kept(tmp_path: Path) -> None:
    """Going back to a newer official broker loses nothing that only it knows."""
    state_file(tmp_path, "consumerOffset.json", '{"offsetTable":{"T@g":{0:1}},"lmqOffsetTable":{"x":3}}')
    table = offsets(tmp_path)
    table.commit("g", "T", 0, 2)
    table.tick()
    assert loads((tmp_path / "consumerOffset.json").read_bytes())["lmqOffsetTable"] == {"x": 3}


@pytest.mark.parametrize(
    "text", ['{"offsetTable":{"T@g":[1]}}', '{"offsetTable":{"T@g":{"a":1}}}', '{"offsetTable":7}']
)
def test_a_damaged_file_stops_the_start(tmp_path: Path, text: str) -> None:
    """Consumers do not read everything again because a file is damaged."""
    state_file(tmp_path, "consumerOffset.json", text)
    with pytest.raises(StoreDamaged, match=r"consumerOffset\.json"):
        offsets(tmp_path)


def test_a_group_may_go_back(tmp_path: Path) -> None:
    """A reset to an earlier time is a commit of a smaller offset."""
    table = offsets(tmp_path)
    table.commit("g", "T", 0, 50)
    table.commit("g", "T", 0, 10, "1.2.3.4:5")
    assert table.query("g", "T", 0) == 10


def test_a_reset_stands_until_a_pull_was_told(tmp_path: Path) -> None:
    """A running consumer does not commit its old offset over the one an administrator chose."""
    table = offsets(tmp_path)
    table.commit("g", "T", 0, 50)
    table.assign_reset_offset("g", "T", 0, 10)
    assert table.has_reset_offset("g", "T", 0)
    assert not table.has_reset_offset("g", "T", 1)
    assert table.query("g", "T", 0) == 10
    assert table.take_reset_offset("g", "T", 1) is None
    assert table.take_reset_offset("g", "T", 0) == 10
    assert table.take_reset_offset("g", "T", 0) is None
    assert table.query("g", "T", 0) == 10
    table.server_side_reset = False
    table.assign_reset_offset("g", "T", 0, 3)
    assert table.take_reset_offset("g", "T", 0) is None


def test_groups_and_topics_are_removed_whole(tmp_path: Path) -> None:
    """A deleted group or topic that is made again begins anew; others with similar names stay."""
    table = offsets(tmp_path)
    for group, topic in (("g", "T"), ("g", "U"), ("gg", "T"), ("g", "TT")):
        table.commit(group, topic, 0, 1)
        table.commit_pull_offset(group, topic, 0, 1)
        table.assign_reset_offset(group, topic, 0, 1)
    assert table.groups_of("T") == {"g", "gg"}
    assert table.topics_of("g") == {"T", "U", "TT"}
    table.remove_topic("T")
    assert set(table.table) == {"U@g", "TT@g"}
    assert table.query_pull_offset("g", "T", 0) == -1
    assert table.take_reset_offset("g", "T", 0) is None
    table.remove_group("g")
    assert table.table == {}
    table.tick()
    assert loads((tmp_path / "consumerOffset.json").read_bytes())["pullOffsetTable"] == {}


def test_a_clone_goes_its_own_way(tmp_path: Path) -> None:
    """cloneGroupOffset copies; it does not tie two groups together."""
    table = offsets(tmp_path)
    table.commit("g", "T", 0, 5)
    table.clone("g", "h", "T")
    table.clone("nobody", "i", "T")
    table.commit("g", "T", 0, 6)
    assert table.query("h", "T", 0) == 5
    assert table.topics_of("i") == set()
    table.tick()
    assert offsets(tmp_path).query("h", "T", 0) == 5


def test_the_version_rises_with_the_commits(tmp_path: Path) -> None:
    """A slave notices that offsets have moved."""
    table = offsets(tmp_path, version_step=3)
    for offset in range(7):
        table.commit("g", "T", 0, offset)
    assert table.data_version.counter == 2
    body = loads(table.body())
    assert body["offsetTable"] == {"T@g": {"0": 6}}
    assert body["dataVersion"]["counter"] == 2
