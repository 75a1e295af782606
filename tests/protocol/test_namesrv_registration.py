"""How brokers of all versions come to a name server, stay and leave."""

from __future__ import annotations

import json
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protocol.namesrv_wiring import NameServerWorld, Peer, register_body, topic
from protocol.wiring import sent

from rmqwire.bodies import RegisterBrokerBody
from rmqwire.codes import RequestCode, ResponseCode, Version
from rmqwire.requests.ha import NotifyMinBrokerIdChange

SYSTEM = ("SELF_TEST_TOPIC", "TBW102")
IDENTITY = {
    "brokerName": "broker-a",
    "brokerAddr": "10.0.0.1:10911",
    "clusterName": "DefaultCluster",
    "brokerId": "0",
}


@pytest.fixture
def world(tmp_path: Path) -> NameServerWorld:
    return NameServerWorld(tmp_path)


def slave(peer: Peer, *topics: str, broker_id: int = 1, **ext: str) -> dict[str, str]:
    """Register `broker-a`'s slave at 10.0.0.2; gives what it is told of its master."""
    answer = peer.register(*topics, broker_id=broker_id, address=f"10.0.0.{broker_id + 1}:10911", **ext)
    assert answer.code == ResponseCode.SUCCESS
    return answer.ext


class TestBodies:
    def test_old_broker_sends_the_bare_table(self, world: NameServerWorld) -> None:
        """A broker older than 3.0.11 is found as well."""
        table = json.loads(register_body("orders", *SYSTEM))["topicConfigSerializeWrapper"]
        answer = world.peer(Version.V3_0_11 - 1).register(body=json.dumps(table).encode())
        assert answer.code == ResponseCode.SUCCESS
        assert world.route("orders") is not None

    def test_4_2_body(self, world: NameServerWorld) -> None:
        """A 3.2.6 or 4.2.0 registration has neither checksum nor attributes, and its version no state."""

        def config(name: str) -> dict[str, object]:
            queues = {"readQueueNums": 4, "writeQueueNums": 4, "perm": 6}
            return {"order": False, "topicFilterType": "SINGLE_TAG", "topicName": name, "topicSysFlag": 0, **queues}

        table = {
            "dataVersion": {"counter": 1, "timestatmp": 9},
            "topicConfigTable": {name: config(name) for name in ("orders", "TBW102")},
        }
        body = json.dumps({"filterServerList": [], "topicConfigSerializeWrapper": table})
        fields = {**IDENTITY, "haServerAddr": "10.0.0.1:10912"}
        answer = world.peer(Version.V3_2_6).ask(RequestCode.REGISTER_BROKER, body.encode(), **fields)
        assert answer.code == ResponseCode.SUCCESS
        assert world.master_addresses("orders") == ["10.0.0.1:10911"]

    @pytest.mark.parametrize(
        ("version", "says_so"), [(Version.V4_7_0, True), (Version.V5_5_0, True), (Version.V5_5_0, False)]
    )
    def test_compressed(self, world: NameServerWorld, version: int, says_so: bool) -> None:
        """Brokers with compressedRegister are found; official 5.x ones compress without saying so."""
        plain = RegisterBrokerBody.decode(register_body("orders", topic("two", queues=2), *SYSTEM))
        body = plain.compress(version)
        answer = world.peer(version).register(body=body, compressed="true" if says_so else "false")
        assert answer.code == ResponseCode.SUCCESS
        assert world.route("two")["queueDatas"][0]["readQueueNums"] == 2

    def test_no_body(self, world: NameServerWorld) -> None:
        """A registration without topics makes the broker known."""
        assert world.peer().ask(RequestCode.REGISTER_BROKER, **IDENTITY, haServerAddr="").code == ResponseCode.SUCCESS
        cluster = json.loads(world.peer().ask(RequestCode.GET_BROKER_CLUSTER_INFO).body.replace(b"{0:", b'{"0":'))
        assert cluster["clusterAddrTable"] == {"DefaultCluster": ["broker-a"]}

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"[]",
            b"7",
            b"\xff\xfe",
            b'{"topicConfigSerializeWrapper":{"topicConfigTable":{"a":{"readQueueNums":"many"}}}}',
            zlib.compress(b"\0\0\0\x02{}\x7f\xff\xff\xff"),
            zlib.compress(b"\0\0\0\x02{}")[:-6],
            b"\x78nonsense",
        ],
    )
    def test_malformed(self, world: NameServerWorld, body: bytes) -> None:
        """A body that is none is refused with the reason; the broker is not known, the connection goes on."""
        peer = world.peer()
        answer = peer.register(body=body)
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert (answer.remark or "").startswith("Failed to decode RegisterBrokerBody: ")
        assert world.server.tables.brokers == {}
        assert peer.register("orders", *SYSTEM).code == ResponseCode.SUCCESS

    def test_inflated_size_is_bounded(self, world: NameServerWorld) -> None:
        """A small body that inflates to gigabytes is refused before it takes the memory."""
        bomb = zlib.compress(b"\0" * (65 << 20), 9)
        assert world.peer().register(body=bomb).code == ResponseCode.SYSTEM_ERROR

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
    @given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(zlib.compress)))
    def test_any_body_is_answered(self, world: NameServerWorld, body: bytes) -> None:
        """Whatever the body holds, the peer gets one answer."""
        answer = world.peer().register(body=body)
        assert answer.code in (ResponseCode.SUCCESS, ResponseCode.SYSTEM_ERROR)
        assert "Error:" not in (answer.remark or "").partition("RegisterBrokerBody: ")[0]

    @pytest.mark.parametrize("missing", sorted(IDENTITY))
    @pytest.mark.parametrize(
        "code", [RequestCode.REGISTER_BROKER, RequestCode.UNREGISTER_BROKER, RequestCode.QUERY_DATA_VERSION]
    )
    def test_missing_field(self, world: NameServerWorld, code: int, missing: str) -> None:
        """A broker that does not say who it is is refused, and nothing is known of it."""
        fields = {**IDENTITY, "haServerAddr": "h"}
        del fields[missing]
        answer = world.peer().ask(code, **fields)
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert missing in (answer.remark or "")
        assert world.server.tables.brokers == {}


class TestChanges:
    def test_single_topic_before_the_table(self, world: NameServerWorld) -> None:
        """A changed topic that reaches a restarted name server first is refused, so that the table follows."""
        peer = world.peer()
        answer = peer.register("orders")
        assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "register broker failed")
        assert world.server.tables.brokers == world.server.tables.clusters == {}
        peer.register("orders", *SYSTEM)
        assert peer.register("new", version=2).code == ResponseCode.SUCCESS
        assert world.route("new") is not None
        assert world.route("orders") is not None  # the others stay

    def test_missing_topics_stay(self, world: NameServerWorld) -> None:
        """A topic that a broker deleted stays in routes until mqadmin deletes it there too."""
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        peer.register(*SYSTEM, version=2)
        assert world.route("orders") is not None

    def test_missing_topics_go_when_asked_for(self, tmp_path: Path) -> None:
        """With deleteTopicWithBrokerRegistration the routes follow the broker's table."""
        world = NameServerWorld(tmp_path, deleteTopicWithBrokerRegistration="true")
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        world.peer().register("orders", *SYSTEM, name="broker-b", address="10.0.0.2:10911")
        peer.register(*SYSTEM, version=2)
        assert world.master_addresses("orders") == ["10.0.0.2:10911"]

    def test_same_version_changes_nothing(self, world: NameServerWorld) -> None:
        """As Java: topics are compared by the table's version, except those that are not known."""
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        peer.register(topic("orders", queues=9), "other", *SYSTEM)
        assert world.route("orders")["queueDatas"][0]["readQueueNums"] == 4
        assert world.route("other") is not None

    def test_smaller_version_counts_too(self, world: NameServerWorld) -> None:
        """A broker whose files were restored registers an older version, and is believed."""
        peer = world.peer()
        peer.register("orders", *SYSTEM, version=9)
        peer.register(topic("orders", queues=9), *SYSTEM, version=2)
        assert world.route("orders")["queueDatas"][0]["readQueueNums"] == 9

    def test_latest_state_keeps_the_id(self, world: NameServerWorld) -> None:
        """Of two masters of one name the one of the later election stays in routes."""
        new, old = world.peer(), world.peer()
        new.register("orders", *SYSTEM, state_version=2)
        answer = old.register("orders", *SYSTEM, state_version=1, address="10.0.0.9:10911")
        assert (answer.code, answer.ext) == (ResponseCode.SUCCESS, {})
        assert world.master_addresses("orders") == ["10.0.0.1:10911"]
        world.peer().register("orders", *SYSTEM, state_version=3, address="10.0.0.8:10911")
        assert world.master_addresses("orders") == ["10.0.0.8:10911"]


class TestLeaving:
    def test_unregister(self, world: NameServerWorld) -> None:
        """A broker that stops is out of all routes and lists at once."""
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        assert peer.ask(RequestCode.UNREGISTER_BROKER, **IDENTITY).code == ResponseCode.SUCCESS
        assert world.route("orders") is None
        cluster = peer.ask(RequestCode.GET_BROKER_CLUSTER_INFO).body
        assert cluster == b'{"brokerAddrTable":{},"clusterAddrTable":{}}'
        assert peer.ask(RequestCode.UNREGISTER_BROKER, **IDENTITY).code == ResponseCode.SUCCESS
        peer.drop()

    def test_connection_lost(self, world: NameServerWorld) -> None:
        """A broker that dies is out of all routes when its connection breaks, without waiting for its timeout."""
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        peer.drop()
        assert world.route("orders") is None
        assert world.server.tables.live == {}

    def test_old_connection_lost(self, world: NameServerWorld) -> None:
        """A broker that has registered by a new connection does not go with the old one."""
        old, new = world.peer(), world.peer()
        old.register("orders", *SYSTEM)
        new.register("orders", *SYSTEM)
        old.drop()
        assert world.route("orders") is not None
        new.drop()
        assert world.route("orders") is None

    def test_several_brokers_on_one_connection(self, world: NameServerWorld) -> None:
        """A container's brokers all go with its connection."""
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        peer.register("orders", *SYSTEM, name="broker-b", address="10.0.0.1:10921")
        peer.drop()
        assert world.route("orders") is None

    def test_silence(self, world: NameServerWorld) -> None:
        """A broker that hangs is given up after two minutes, and its connection closed."""
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        world.reactor.advance(120)
        world.server.scan()
        assert world.route("orders") is not None
        world.reactor.advance(0.001)
        world.server.scan()
        assert world.route("orders") is None
        assert peer.wire.aborted

    def test_timeout_of_the_broker(self, world: NameServerWorld) -> None:
        """A 5.x broker that names a shorter timeout is given up by that, unless its heartbeats come."""
        peer = world.peer()
        peer.register("orders", *SYSTEM, heartbeatTimeoutMillis="10000")
        beat = {key: IDENTITY[key] for key in ("brokerName", "brokerAddr", "clusterName")}
        for _ in range(5):
            world.reactor.advance(9)
            peer.send(RequestCode.BROKER_HEARTBEAT, oneway=True, **beat)
            assert sent(peer.wire) == []  # oneway
            world.server.scan()
        assert world.route("orders") is not None
        stranger = {**beat, "brokerAddr": "10.9.9.9:1"}
        assert peer.ask(RequestCode.BROKER_HEARTBEAT, **stranger).code == ResponseCode.SUCCESS
        world.reactor.advance(11)
        world.server.scan()
        assert world.route("orders") is None

    def test_scan_runs_by_itself(self, tmp_path: Path) -> None:
        """The name server looks for dead brokers every scanNotActiveBrokerInterval."""
        world = NameServerWorld(tmp_path, scanNotActiveBrokerInterval="2000")
        world.server.start()
        world.peer().register("orders", *SYSTEM, heartbeatTimeoutMillis="6000")
        world.reactor.pump([1.0] * 8)
        assert world.route("orders") is None


class TestSlaves:
    def test_slave_is_told_its_master(self, world: NameServerWorld) -> None:
        """A slave learns where to copy from, and clients see it beside its master."""
        assert slave(world.peer(), "orders", *SYSTEM) == {}
        world.peer().register("orders", *SYSTEM)
        told = slave(world.peer(), "orders", *SYSTEM)
        assert told == {"haServerAddr": "10.0.0.1:10912", "masterAddr": "10.0.0.1:10911"}
        assert world.route("orders")["brokerDatas"][0]["brokerAddrs"] == {
            "0": "10.0.0.1:10911",
            "1": "10.0.0.2:10911",
        }

    def test_topics_of_a_slave_do_not_count(self, world: NameServerWorld) -> None:
        """The master says which topics there are."""
        world.peer().register("orders", *SYSTEM)
        slave(world.peer(), "mine", *SYSTEM, enableActingMaster="false")
        assert world.route("mine") is None

    def test_old_slave_alone(self, world: NameServerWorld) -> None:
        """The topics of a 4.x slave never count, those of a 5.x slave do when it is alone."""
        four, five = world.peer(), world.peer()
        slave(four, "orders", *SYSTEM)
        assert world.route("orders") is None
        slave(five, "orders", *SYSTEM, enableActingMaster="false")
        assert world.route("orders")["queueDatas"][0]["perm"] == 6

    def test_repeated_body_of_a_slave_that_now_counts(self, world: NameServerWorld) -> None:
        """A slave whose topics did not count beside the master brings those that are missing once it is alone."""
        master, other = world.peer(), world.peer()
        master.register(*SYSTEM)
        slave(other, "mine", *SYSTEM, enableActingMaster="false")
        master.drop()
        assert world.route("mine") is None
        slave(other, "mine", *SYSTEM, enableActingMaster="false")
        assert world.route("mine") is not None

    def test_slave_becomes_master(self, world: NameServerWorld) -> None:
        """An address that registers as master is no slave any more."""
        slave(world.peer(), "orders", *SYSTEM)
        world.peer().register("orders", *SYSTEM, address="10.0.0.2:10911")
        assert world.route("orders")["brokerDatas"][0]["brokerAddrs"] == {"0": "10.0.0.2:10911"}

    def test_acting_master(self, tmp_path: Path) -> None:
        """With supportActingMaster consumers go on at a slave of a dead master, and nobody sends to it."""
        world = NameServerWorld(tmp_path, supportActingMaster="true")
        master = world.peer()
        master.register("orders", "rmq_sys_SYNC_BROKER_MEMBER_broker-a", enableActingMaster="true")
        for broker_id in (2, 1):
            slave(world.peer(), "orders", *SYSTEM, broker_id=broker_id, enableActingMaster="true")
        master.drop()
        route = world.route("orders")
        assert route["brokerDatas"][0]["brokerAddrs"] == {"0": "10.0.0.2:10911", "2": "10.0.0.3:10911"}
        assert route["brokerDatas"][0]["enableActingMaster"] is True
        assert route["queueDatas"][0]["perm"] == 4
        members = world.route("rmq_sys_SYNC_BROKER_MEMBER_broker-a")
        assert members["brokerDatas"][0]["brokerAddrs"] == {"1": "10.0.0.2:10911", "2": "10.0.0.3:10911"}
        world.peer().register("orders", *SYSTEM, enableActingMaster="true", version=2)
        route = world.route("orders")
        assert route["brokerDatas"][0]["brokerAddrs"]["0"] == "10.0.0.1:10911"
        assert route["queueDatas"][0]["perm"] == 6

    def test_no_acting_master(self, world: NameServerWorld) -> None:
        """Without the option, or without the broker's consent, a slave stays a slave and keeps its permissions."""
        for consent in ("true", "false"):
            master = world.peer()
            master.register("orders", *SYSTEM, enableActingMaster=consent)
            slave(world.peer(), "orders", *SYSTEM, enableActingMaster=consent)
            master.drop()
            route = world.route("orders")
            assert route["brokerDatas"][0]["brokerAddrs"] == {"1": "10.0.0.2:10911"}
            assert route["queueDatas"][0]["perm"] == (4 if consent == "true" else 6)

    def test_members_are_told_of_the_smallest_id(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With notifyMinBrokerIdChanged slaves hear that their master left or came back."""
        world = NameServerWorld(tmp_path, notifyMinBrokerIdChanged="true")
        told: list[tuple[str, NotifyMinBrokerIdChange]] = []

        class Recorder:
            def addErrback(self, *args: object) -> None:
                pass

        def tell(address: str, header: NotifyMinBrokerIdChange) -> Recorder:
            told.append((address, header))
            return Recorder()

        monkeypatch.setattr(world.server._client, "tell", tell)
        master = world.peer()
        master.register("orders", *SYSTEM, enableActingMaster="true")
        for broker_id in (1, 2):
            slave(world.peer(), "orders", *SYSTEM, broker_id=broker_id, enableActingMaster="true")
        assert told == []
        master.drop()
        assert [address for address, _ in told] == ["10.0.0.2:10911", "10.0.0.3:10911"]
        assert told[0][1] == NotifyMinBrokerIdChange(
            min_broker_id=1,
            broker_name="broker-a",
            min_broker_addr="10.0.0.2:10911",
            offline_broker_addr="10.0.0.1:10911",
        )
        told.clear()
        world.peer().register("orders", *SYSTEM, enableActingMaster="true")
        assert [address for address, _ in told] == ["10.0.0.2:10911", "10.0.0.3:10911"]
        assert told[0][1].min_broker_id == 0
        assert told[0][1].ha_broker_addr == "10.0.0.1:10912"


class TestScale:
    def test_repeated_table_is_not_read(self, world: NameServerWorld, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same registration every 30 s costs neither parsing nor a walk over the topics."""
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        route = world.server.answers.route_json("orders", quoted_keys=True)

        def not_again(*args: object) -> RegisterBrokerBody:
            raise AssertionError("parsed again")

        monkeypatch.setattr(RegisterBrokerBody, "read", not_again)
        assert peer.register("orders", *SYSTEM).code == ResponseCode.SUCCESS
        assert world.peer().register("orders", *SYSTEM).code == ResponseCode.SUCCESS  # by a new connection
        assert world.server.answers.route_json("orders", quoted_keys=True) is route
        world.reactor.advance(100)
        peer.register("orders", *SYSTEM)
        world.reactor.advance(100)
        world.server.scan()
        assert world.route("orders") is not None

    def test_twenty_thousand_topics(self, world: NameServerWorld) -> None:
        """A broker with 20,000 topics registers and one topic more is added without the reactor standing still."""
        peer = world.peer()
        body = register_body(*(f"topic-{number}" for number in range(20_000)))
        assert peer.register(body=body).code == ResponseCode.SUCCESS
        assert len(world.server.tables.topics) == 20_000
        began = time.process_time()
        for _ in range(10):
            peer.register(body=body)
        repeated_s = (time.process_time() - began) / 10
        began = time.process_time()
        assert peer.register("topic-new", version=2).code == ResponseCode.SUCCESS
        changed_s = time.process_time() - began
        # 4 MB are compared by their digest; an order of magnitude above what it takes on a slow machine
        assert repeated_s < 0.3
        assert changed_s < 0.1
        assert len(world.server.tables.topics) == 20_001
