"""Topics of a broker: those it has, those that messages and administrators make, and the file they are in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import NOW_MS, ManualThread, at_once, state_file
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rmqd.protocol.broker.state_writer import RunInThread
from rmqd.protocol.broker.topics import TopicSettings, TopicTable
from rmqd.store.errors import StoreDamaged
from rmqwire.bodies import TopicConfig
from rmqwire.dialect import loads
from rmqwire.errors import RequestError

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "config"
waits = SynchronousTestCase()


def table(folder: Path, run_in_thread: RunInThread = at_once, **settings: Any) -> TopicTable:
    return TopicTable(
        state_file(folder, "topics.json"),
        TopicSettings("broker-a", "DefaultCluster", **settings),
        lambda: NOW_MS,
        run_in_thread,
    )


def test_a_new_broker_has_the_official_topics(tmp_path: Path) -> None:
    """mqadmin and clients find the topics of the broker itself, as the official 5.5.0 makes them."""
    written = json.loads((GOLDEN / "5.5.0" / "topics.json").read_text())["topicConfigTable"]
    made_later = {"TopicTest", "TopicFifo", "ab"}
    expected = {name: entry for name, entry in written.items() if name not in made_later and "%RETRY%" not in name}
    topics = table(tmp_path)
    assert {name: json.loads(config.encode()) for name, config in topics.table.items()} == expected
    assert not (tmp_path / "topics.json").exists(), "nothing has changed yet"


@pytest.mark.parametrize("version", ["4.7.0", "5.5.0"])
def test_an_official_file_is_read_and_written_back(tmp_path: Path, version: str) -> None:
    """A broker that takes over the store of an official one keeps its topics, and can give the store back."""
    shutil.copy(GOLDEN / version / "topics.json", tmp_path)
    before = loads((tmp_path / "topics.json").read_bytes())
    topics = table(tmp_path)
    topics.bump_version()
    after = loads((tmp_path / "topics.json").read_bytes())
    assert after["dataVersion"]["counter"] == before["dataVersion"]["counter"] + 1
    for name, entry in before["topicConfigTable"].items():
        assert after["topicConfigTable"][name] == {"attributes": {}, **entry}


def test_the_text_is_the_official_one(tmp_path: Path) -> None:
    """People and scripts that read the file see the same lines as before."""
    shutil.copy(GOLDEN / "5.5.0" / "topics.json", tmp_path)
    before = (tmp_path / "topics.json").read_text().replace(",\n", "\n").splitlines()
    table(tmp_path).bump_version()
    after = (tmp_path / "topics.json").read_text().replace(",\n", "\n").splitlines()
    unversioned = [line for line in before if "counter" not in line and "timestamp" not in line]
    assert sorted(line for line in after if "counter" not in line and "timestamp" not in line) == sorted(unversioned)
    assert after[:2] == ["{", '\t"dataVersion":{']


def test_what_a_newer_broker_wrote_is_kept(tmp_path: Path) -> None:
    """Going back to a newer official broker loses nothing that only it knows."""
    text = (
        '{"dataVersion":{"counter":7,"stateVersion":0,"timestamp":1},"future":{0:[1]},'
        '"topicConfigTable":{"T":{"topicName":"T","perm":6,"readQueueNums":4,"writeQueueNums":4,"quota":{"a":1}}}}'
    )
    state_file(tmp_path, "topics.json", text)
    topics = table(tmp_path)
    config = topics.get("T")
    assert config is not None
    topics.update(TopicConfig(topic_name="T", read_queue_nums=8, write_queue_nums=8))
    after = loads((tmp_path / "topics.json").read_bytes())
    assert after["future"] == {"0": [1]}
    assert after["topicConfigTable"]["T"]["quota"] == {"a": 1}
    assert after["topicConfigTable"]["T"]["readQueueNums"] == 8
    topics.delete("T")
    assert "T" not in loads((tmp_path / "topics.json").read_bytes())["topicConfigTable"]


@pytest.mark.parametrize("text", ["[]", '{"topicConfigTable":[]}', '{"topicConfigTable":{"T":{"perm":"x"}}}'])
def test_a_file_of_another_shape_stops_the_start(tmp_path: Path, text: str) -> None:
    """A broker does not start with an empty table in place of one that it cannot read."""
    state_file(tmp_path, "topics.json", text)
    with pytest.raises(StoreDamaged, match=r"topics\.json"):
        table(tmp_path)


def test_the_first_message_makes_a_topic(tmp_path: Path) -> None:
    """The quickstart works without anybody making TopicTest: 4 queues, as the client wants."""
    topics = table(tmp_path)
    config = topics.create_for_send("TopicTest", "TBW102", 4, 1, "1.2.3.4:5")
    assert config is not None
    assert (config.read_queue_nums, config.write_queue_nums, config.perm, config.topic_sys_flag) == (4, 4, 6, 1)
    assert topics.create_for_send("TopicTest", "TBW102", 8, 0, "1.2.3.4:5") is config, "the first one counts"
    many = topics.create_for_send("Many", "TBW102", 100, 0, "1.2.3.4:5")
    assert many is not None
    assert many.write_queue_nums == 8, "no more than the default topic has"
    assert table(tmp_path).get("TopicTest") == config, "there after a restart"


def test_no_topic_is_made_where_it_must_not(tmp_path: Path) -> None:
    """With autoCreateTopicEnable=false, or of a default topic that passes nothing on, a typing error makes no topic."""
    topics = table(tmp_path)
    assert topics.create_for_send("X", "NoSuch", 4, 0, "p") is None
    assert topics.create_for_send("X", "BenchmarkTest", 4, 0, "p") is None
    assert table(tmp_path, auto_create_topic_enable=False).get("TBW102") is None
    topics.bump_version()  # writes TBW102 to the file, as a broker that once allowed it did
    strict = table(tmp_path, auto_create_topic_enable=False)
    assert strict.get("TBW102") is not None
    assert strict.create_for_send("X", "TBW102", 4, 0, "p") is None
    assert strict.create_for_send("X", "broker-a", 4, 0, "p") is not None, "other default topics still pass it on"


def test_a_retry_topic_follows_its_group(tmp_path: Path) -> None:
    """A group that reads an ordered topic retries in order; sends to the retry topic do not change that."""
    topics = table(tmp_path)
    config = topics.create_for_send_back("%RETRY%g", 1, 6, 2, order=True)
    assert (config.order, config.topic_sys_flag, config.write_queue_nums) == (True, 2, 1)
    version = topics.data_version
    assert topics.create_for_send_back("%RETRY%g", 3, 2, 0).order is True
    assert topics.data_version is version
    assert topics.create_for_send_back("%RETRY%g", 3, 2, 0, order=False).order is False
    assert topics.data_version != version


def test_an_administrator_changes_a_topic_and_its_attributes(tmp_path: Path) -> None:
    """updateTopic replaces the numbers; attributes are only changed as they are named."""
    topics = table(tmp_path)
    topics.update(TopicConfig(topic_name="T", attributes={"+message.type": "FIFO"}))
    topics.update(TopicConfig(topic_name="T", perm=4, attributes={}))
    config = topics.get("T")
    assert config is not None
    assert (config.perm, config.attributes) == (4, {"message.type": "FIFO"})
    version = topics.data_version
    with pytest.raises(RequestError):
        topics.update_all([TopicConfig(topic_name="Good"), TopicConfig(topic_name="Bad", attributes={"+no.such": "1"})])
    assert topics.get("Good") is None, "all or none"
    assert topics.data_version is version


def test_changes_are_told_and_versions_differ(tmp_path: Path) -> None:
    """Name servers hear of each new topic; a slave sees that the table has changed."""
    topics = table(tmp_path)
    told: list[list[str | None]] = []
    topics.on_changed.append(lambda configs: told.append([config.topic_name for config in configs]))
    versions = [topics.data_version]
    topics.create_for_send("A", "TBW102", 4, 0, "p")
    versions.append(topics.data_version)
    topics.update_all([TopicConfig(topic_name="B"), TopicConfig(topic_name="C")])
    versions.append(topics.data_version)
    topics.set_order(["B", "NoSuch"])
    versions.append(topics.data_version)
    assert topics.set_order(["B"]) is None
    assert topics.data_version is versions[-1]
    topics.delete("C")
    versions.append(topics.data_version)
    assert told == [["A"], ["B", "C"]]
    assert [version.counter for version in versions] == [0, 1, 2, 3, 4]
    assert topics.delete("C") is False


def test_settled_waits_for_disk_and_name_servers(tmp_path: Path) -> None:
    """mqadmin updateTopic returns when the topic survives a crash and its route can be asked for."""
    thread = ManualThread()
    topics = table(tmp_path, thread)
    name_servers: Deferred[None] = Deferred()
    topics.on_changed.append(lambda configs: name_servers)
    topics.update(TopicConfig(topic_name="T"))
    settled = topics.settled()
    thread.run_one()
    waits.assertNoResult(settled)
    name_servers.callback(None)
    waits.successResultOf(settled)
    waits.successResultOf(topics.settled())


def test_system_topics_are_known(tmp_path: Path) -> None:
    """An administrator cannot change the broker's own topics by mistake."""
    topics = table(tmp_path)
    for name in ("TBW102", "broker-a", "DefaultCluster", "rmq_sys_anything", "SCHEDULE_TOPIC_XXXX"):
        assert topics.is_system(name)
    assert not topics.is_system("TopicTest")


def test_a_topic_made_by_a_send_is_unsaved_until_it_is_on_disk(tmp_path: Path) -> None:
    """The first message of a topic is acknowledged when a crash would not take the topic away."""
    thread = ManualThread()
    topics = table(tmp_path, thread)
    topics.create_for_send("A", "TBW102", 4, 0, "p")
    topics.create_for_send("B", "TBW102", 4, 0, "p")
    assert topics.unsaved == {"A", "B"}
    thread.run_one()
    assert topics.unsaved == {"B"}
    thread.run_one()
    assert topics.unsaved == set()
    topics.update(TopicConfig(topic_name="C"))
    assert topics.unsaved == set(), "an administrator is answered after the topic is saved"
