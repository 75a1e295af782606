"""A slave broker beside a master broker on a simulated network: what it copies, what it serves, what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld, at_once
from protocol.network import Network
from protocol.wiring import sent as taken
from twisted.internet.defer import Deferred

from rmqd.protocol.broker.ha_check import divergence
from rmqd.protocol.broker.registration import MasterAddresses
from rmqd.protocol.broker.slave_sync import SlaveSync, slave_sync
from rmqd.protocol.client import RemotingClient
from rmqd.protocol.dispatch import Dispatcher
from rmqwire.bodies import HARuntimeInfo, SetMessageRequestModeRequestBody, SubscriptionGroupConfig, TopicConfig
from rmqwire.codes import ResponseCode
from rmqwire.declare import Role
from rmqwire.requests.ha import GetBrokerHaStatus, ResetMasterFlushOffset
from rmqwire.requests.offset import UpdateConsumerOffset
from rmqwire.requests.pull import PullMessage
from rmqwire.requests.send import SendMessage

MASTER = "10.0.0.1:10911"


class Two:
    """A master and its slave."""

    def __init__(self, folder: Path, **keys: str) -> None:
        self.master = BrokerWorld(folder / "m")
        self.slave = BrokerWorld(folder / "s", brokerRole="SLAVE", brokerId="1", **keys)
        self.network = Network(self.slave.reactor)
        self.network.servers[MASTER] = self.master.dispatcher
        self.client = RemotingClient(self.network.endpoint, Dispatcher(Role.CLIENT, ()), self.slave.reactor)
        self.slave.parts.client = self.client
        self.sync: SlaveSync = slave_sync(self.slave.parts)
        self.sync.start()

    def copy(self) -> None:
        """Let a round of copying pass."""
        self.sync.set_master(MASTER)
        self.network.run()
        self.slave.reactor.advance(10)
        self.network.run()

    def divergence(self) -> str | None:
        """Ask whether the slave may follow the master."""
        told: list[str | None] = []
        Deferred.fromCoroutine(divergence(self.slave.store, self.client, MASTER, at_once)).addCallback(told.append)
        self.network.run()
        assert told, "an answer"
        return told[0]

    def replicate(self) -> None:
        """Bring the master's log to the slave."""
        slave, master = self.slave.store, self.master.store
        at = slave.received_offset or 0
        while at < master.max_physical_offset:
            data = master.read_log(at, 1 << 20)
            slave.append_received(at, data)
            at += len(data)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    made = Two(tmp_path)
    yield made
    made.sync.stop()
    made.master.close()
    made.slave.close()


def test_a_slave_has_its_masters_topics_groups_and_offsets(two: Two) -> None:
    master, slave = two.master.parts, two.slave.parts
    master.topics.update(TopicConfig(topic_name="T", read_queue_nums=3, write_queue_nums=5))
    master.groups.update(SubscriptionGroupConfig(group_name="G", retry_max_times=3))
    master.groups.forbid_read("G", "T", True)
    master.offsets.commit("G", "T", 2, 17)
    master.delay_offsets.set(3, 9)
    master.modes.set(SetMessageRequestModeRequestBody(topic="T", consumer_group="G", mode="POP"))
    assert master.timers is not None
    assert slave.timers is not None
    master.timers.counts.add("T", 1)
    slave.timers.begin(leads=False)
    master.timers.files.queue_offset, master.timers.files.read_ms = 4, 5_000
    slave.topics.update(TopicConfig(topic_name="Only", read_queue_nums=1, write_queue_nums=1))
    slave.offsets.commit("Own", "T", 0, 4)
    two.copy()
    assert slave.topics.table == master.topics.table
    assert slave.topics.data_version == master.topics.data_version
    assert slave.groups.table == master.groups.table
    assert slave.groups.is_read_forbidden("G", "T")
    assert slave.offsets.query("G", "T", 2) == 17
    assert slave.offsets.query("Own", "T", 0) == 4, "what the master does not know stays"
    assert slave.delay_offsets.get(3) == 9
    assert slave.modes.get("T", "G").mode == "POP"
    assert slave.timers.counts.count("T") == 1
    assert slave.timers.files.elsewhere.furthest == (4, 5_000)
    slave.timers.files.close()


def test_changes_follow_and_deletions_too(two: Two) -> None:
    master, slave = two.master.parts, two.slave.parts
    master.topics.update(TopicConfig(topic_name="T", read_queue_nums=3, write_queue_nums=5))
    two.copy()
    master.topics.delete("T")
    master.offsets.commit("G", "T", 2, 18)
    two.copy()
    assert slave.topics.get("T") is None
    assert slave.offsets.query("G", "T", 2) == 18


def test_what_was_copied_is_there_after_a_restart(tmp_path: Path) -> None:
    two = Two(tmp_path)
    two.master.parts.topics.update(TopicConfig(topic_name="T", read_queue_nums=3, write_queue_nums=5))
    two.master.parts.offsets.commit("G", "T", 2, 17)
    two.copy()
    Deferred.fromCoroutine(two.slave.parts.save_all())
    two.sync.stop()
    two.slave.close()
    again = BrokerWorld(tmp_path / "s", brokerRole="SLAVE", brokerId="1")
    config = again.parts.topics.get("T")
    assert config is not None
    assert config.write_queue_nums == 5
    assert again.parts.offsets.query("G", "T", 2) == 17
    again.close()
    two.master.close()


def test_a_master_that_is_gone_leaves_the_slave_what_it_has(two: Two) -> None:
    two.master.parts.topics.update(TopicConfig(topic_name="T", read_queue_nums=3, write_queue_nums=5))
    two.copy()
    two.network.shut(MASTER)
    two.copy()
    assert two.slave.parts.topics.get("T") is not None


# What a slave serves


def pull(two: Two, offset: int = 0, group: str = "G") -> tuple[int, dict[str, str]]:
    answer = two.slave.peer().ask(
        PullMessage(
            consumer_group=group,
            topic="T",
            queue_id=0,
            queue_offset=offset,
            max_msg_nums=10,
            sys_flag=4,
            commit_offset=0,
            suspend_timeout_millis=0,
            subscription="*",
            sub_version=0,
        )
    )
    return answer.code, dict(answer.ext)


def filled(two: Two) -> None:
    two.master.parts.topics.update(TopicConfig(topic_name="T", read_queue_nums=1, write_queue_nums=1))
    two.master.parts.groups.update(SubscriptionGroupConfig(group_name="G", broker_id=1))
    two.copy()
    two.master.put("T", 0, b"a", b"b")
    two.replicate()


def test_a_slave_serves_reads_and_sends_consumers_back_to_a_master_that_is_there(two: Two) -> None:
    filled(two)
    assert pull(two)[0] == ResponseCode.SUCCESS
    assert pull(two, 2)[0] == ResponseCode.PULL_NOT_FOUND
    assert pull(two, 77)[0] == ResponseCode.PULL_RETRY_IMMEDIATELY, "a slave does not correct offsets"
    two.slave.parts.pull_settings.master_is_alive = lambda: True
    two.slave.parts.pull_settings.slave_read_enable = True
    code, ext = pull(two)
    assert (code, ext["suggestWhichBrokerId"]) == (ResponseCode.SUCCESS, "0")
    code, ext = pull(two, 2)
    assert (code, ext["suggestWhichBrokerId"]) == (ResponseCode.PULL_RETRY_IMMEDIATELY, "0")


def test_a_slave_whose_file_says_so_serves_no_reads(tmp_path: Path) -> None:
    two = Two(tmp_path, slaveReadEnable="false")
    filled(two)
    assert pull(two)[0] == ResponseCode.SYSTEM_BUSY
    two.sync.stop()
    two.master.close()
    two.slave.close()


def test_a_slave_takes_no_messages_but_offsets(two: Two) -> None:
    filled(two)
    peer = two.slave.peer()
    answer = peer.ask(
        SendMessage(
            producer_group="P",
            topic="T",
            default_topic="TBW102",
            default_topic_queue_nums=4,
            queue_id=0,
            sys_flag=0,
            born_timestamp=1,
            flag=0,
        ),
        b"x",
    )
    assert answer.code == ResponseCode.SYSTEM_BUSY
    answer = peer.ask(UpdateConsumerOffset(consumer_group="G", topic="T", queue_id=0, commit_offset=1))
    assert answer.code == ResponseCode.SUCCESS
    assert two.slave.parts.offsets.query("G", "T", 0) == 1


def test_the_state_of_replication_is_told(two: Two) -> None:
    filled(two)
    master = HARuntimeInfo.decode(two.master.peer().ask(GetBrokerHaStatus()).body)
    assert (master.master, master.in_sync_slave_nums) == (True, 0)
    assert master.master_commit_log_max_offset == two.master.store.max_physical_offset
    slave = HARuntimeInfo.decode(two.slave.peer().ask(GetBrokerHaStatus()).body)
    assert (slave.master, slave.ha_client_runtime_info.max_offset) == (False, two.slave.store.max_physical_offset)


def test_how_far_the_master_has_flushed_is_kept_and_shown(two: Two) -> None:
    """By a slave; a master knows it better."""
    for broker in (two.master, two.slave):
        assert broker.peer().ask(ResetMasterFlushOffset(master_flush_offset=77)).code == ResponseCode.SUCCESS
    slave = HARuntimeInfo.decode(two.slave.peer().ask(GetBrokerHaStatus()).body)
    assert slave.ha_client_runtime_info.master_flush_offset == 77
    assert two.master.store.master_flushed_offset == 0
    two.slave.store.tick_checkpoint()
    filled(two)
    two.slave.store.tick_checkpoint()
    page = (Path(two.slave.options.store.store_path_root_dir) / "checkpoint").read_bytes()
    assert int.from_bytes(page[24:32], "big") == 77


def test_a_slave_may_ask_how_far_the_master_has_flushed(tmp_path: Path) -> None:
    two = Two(tmp_path, syncMasterFlushOffsetWhenStartup="true")
    filled(two)
    two.master.store.flushed(two.master.store.max_physical_offset)
    replication = two.slave.parts.replication
    replication._requests = two.client
    replication.master = MASTER
    done = Deferred.fromCoroutine(replication._check())
    two.network.run()
    assert done.called
    assert two.slave.store.master_flushed_offset == two.master.store.flushed_offset > 0
    two.sync.stop()
    two.master.close()
    two.slave.close()


def test_a_slave_follows_the_master_that_name_servers_tell(two: Two) -> None:
    replication = two.slave.parts.replication
    assert replication.client is not None
    replication.master_changed(MasterAddresses(MASTER, "10.0.0.1:10912"))
    assert replication.client.address == "10.0.0.1:10912"
    replication.master_changed(None)
    assert (replication.master, replication.client.address) == (None, "10.0.0.1:10912")


# Whether the logs are the same


def test_a_slave_may_follow_a_master_that_has_all_it_has(two: Two) -> None:
    assert two.divergence() is None, "nothing here yet"
    filled(two)
    assert two.divergence() is None
    two.master.put("T", 0, b"more")
    assert two.divergence() is None


def test_a_shorter_master_is_not_followed(two: Two) -> None:
    filled(two)
    two.replicate()
    end = two.master.store.max_physical_offset
    two.master.store.log.wrote_offset = end - 50  # as after a crash that lost its last message
    told = two.divergence()
    two.master.store.log.wrote_offset = end
    assert told is not None
    assert "is shorter than this slave: its log ends at" in told
    assert "The 50 bytes" in told


def test_a_master_with_other_messages_at_the_same_place_is_not_followed(two: Two, tmp_path: Path) -> None:
    filled(two)
    before = two.slave.store.max_physical_offset
    two.master.put("T", 0, b"lost")
    two.replicate()
    two.master.store.log.set_end(before)
    two.master.store._drop_group()
    two.master.put("T", 0, b"else")
    two.master.put("T", 0, b"and more")
    assert two.master.store.max_physical_offset > two.slave.store.max_physical_offset
    told = two.divergence()
    assert told is not None
    assert f"the logs differ: the master {MASTER} has another record at {before}" in told


def test_a_master_that_does_not_answer_is_not_followed(two: Two) -> None:
    filled(two)
    two.network.shut(MASTER)
    told = two.divergence()
    assert told is not None
    assert "does not say where its log ends" in told


def test_the_last_record_is_looked_for_after_a_restart(two: Two) -> None:
    filled(two)
    two.slave.store.last_received = None
    assert two.divergence() is None


def sent(world: BrokerWorld, properties: str = "") -> int:
    """Send one message; give the code of the answer, -1 while there is none."""
    peer = world.peer()
    opaque = peer.send(
        SendMessage(
            producer_group="P",
            topic="T",
            default_topic="TBW102",
            default_topic_queue_nums=4,
            queue_id=0,
            sys_flag=0,
            born_timestamp=1,
            flag=0,
            properties=properties,
        ),
        b"x",
    )
    return next((command.code for command in taken(peer.wire) if command.opaque == opaque), -1)


def test_a_send_to_a_sync_master_without_a_slave_is_stored_and_says_so(tmp_path: Path) -> None:
    world = BrokerWorld(tmp_path, brokerRole="SYNC_MASTER")
    assert sent(world) == ResponseCode.SLAVE_NOT_AVAILABLE
    assert world.store.max_offset("T", 0) == 1
    assert sent(world, "WAIT\x01false\x02") == ResponseCode.SUCCESS
    world.close()


def test_options_of_5_in_the_file_rule_a_sync_master(tmp_path: Path) -> None:
    one = BrokerWorld(tmp_path / "one", brokerRole="SYNC_MASTER", inSyncReplicas="1")
    assert sent(one) == ResponseCode.SUCCESS
    one.close()
    two = BrokerWorld(tmp_path / "two", brokerRole="SYNC_MASTER", inSyncReplicas="2")
    assert sent(two) == -1, "it waits"
    two.close()


def test_an_async_master_does_not_wait(tmp_path: Path) -> None:
    world = BrokerWorld(tmp_path)
    assert sent(world) == ResponseCode.SUCCESS
    world.close()


def test_options_changed_at_run_time_act(tmp_path: Path) -> None:
    world = BrokerWorld(tmp_path, brokerRole="SYNC_MASTER", haTransferBatchSize="100", slaveTimeout="700")
    replication = world.parts.replication
    assert replication.acks is not None
    assert (replication.service.settings.batch_bytes, replication.acks.rules.timeout_ms) == (100, 700)
    world.options.store.ha_transfer_batch_size = 200
    world.options.store.slave_timeout = 800
    replication.follow()
    assert (replication.service.settings.batch_bytes, replication.acks.rules.timeout_ms) == (200, 800)
    world.close()
