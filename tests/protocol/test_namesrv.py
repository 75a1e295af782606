"""What clients, brokers and admin tools get from the name server."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import msgspec
import pytest
from protocol.namesrv_wiring import NameServerWorld, register_body, topic

from rmqwire.bodies import DataVersion, TopicQueueMappingInfo
from rmqwire.codes import RequestCode, ResponseCode, Version
from rmqwire.requests.register import QueryDataVersion

SYSTEM = ("SELF_TEST_TOPIC", "TBW102")


@pytest.fixture
def world(tmp_path: Path) -> NameServerWorld:
    return NameServerWorld(tmp_path)


def names_of(body: bytes) -> list[str]:
    return sorted(json.loads(body)["topicList"])


class TestRoutes:
    def test_registered_topic_has_a_route(self, world: NameServerWorld) -> None:
        """A producer finds the broker and the number of queues of its topic."""
        answer = world.peer().register("orders", *SYSTEM)
        assert answer.code == ResponseCode.SUCCESS
        assert answer.ext == {}  # a master is told no addresses
        assert answer.body == b""
        route = world.route("orders")
        assert route["brokerDatas"] == [
            {
                "brokerAddrs": {"0": "10.0.0.1:10911"},
                "brokerName": "broker-a",
                "cluster": "DefaultCluster",
                "enableActingMaster": False,
            }
        ]
        (queues,) = route["queueDatas"]
        assert queues == {
            "brokerName": "broker-a",
            "perm": 6,
            "readQueueNums": 4,
            "topicSynFlag": 0,
            "topicSysFlag": 0,
            "writeQueueNums": 4,
        }
        assert route["filterServerTable"] == {}
        assert "orderTopicConf" not in route

    def test_unknown_topic(self, world: NameServerWorld) -> None:
        """A client is told that the topic has no route, in the words of the official server."""
        answer = world.peer().ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, topic="nobody")
        assert answer.code == ResponseCode.TOPIC_NOT_EXIST
        assert (answer.remark or "").startswith("No topic route info in name server for the topic: nobody\nSee ")
        assert answer.body == b""

    @pytest.mark.parametrize(
        ("version", "ext", "quoted"),
        [
            (Version.V3_2_6, {}, False),
            (Version.V4_7_0, {}, False),
            (Version.V4_9_3, {}, False),
            (Version.V4_9_4, {}, True),
            (Version.V5_5_0, {}, True),
            (317, {}, False),  # the Go client
            (317, {"acceptStandardJsonOnly": "true"}, True),
            (Version.V4_7_0, {"acceptStandardJsonOnly": "false"}, False),
        ],
    )
    def test_keys_as_the_client_reads_them(
        self, world: NameServerWorld, version: int, ext: dict[str, str], quoted: bool
    ) -> None:
        """Old clients get broker ids as bare keys, clients since 4.9.4 and those that ask get standard JSON."""
        world.peer().register("orders", *SYSTEM)
        body = world.peer(version).ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, topic="orders", **ext).body
        assert (b'"brokerAddrs":{"0":"10.0.0.1:10911"}' in body) is quoted
        assert (b'"brokerAddrs":{0:"10.0.0.1:10911"}' in body) is not quoted
        assert b" " not in body  # Go looks for keys by text

    def test_missing_topic_field(self, world: NameServerWorld) -> None:
        """A request without its required field is answered, and the connection goes on."""
        peer = world.peer()
        assert peer.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC).code == ResponseCode.SYSTEM_ERROR
        assert peer.ask(RequestCode.GET_BROKER_CLUSTER_INFO).code == ResponseCode.SUCCESS

    def test_unknown_code(self, world: NameServerWorld) -> None:
        """A request that is none of the name server's is refused by name."""
        answer = world.peer().ask(RequestCode.SEND_MESSAGE)
        assert answer.code == ResponseCode.REQUEST_CODE_NOT_SUPPORTED
        assert answer.remark == " request type 10 not supported"

    def test_route_is_written_once(self, world: NameServerWorld) -> None:
        """Thousands of clients that ask for one route cost one encoding; a change is seen by the next."""
        world.peer().register("orders", *SYSTEM)
        answers = world.server.answers
        first = answers.route_json("orders", quoted_keys=True)
        assert answers.route_json("orders", quoted_keys=True) is first
        world.peer().register("orders", *SYSTEM, version=2)  # nothing about this topic changed
        assert answers.route_json("orders", quoted_keys=True) is first
        world.peer().register(topic("orders", queues=8), *SYSTEM, version=3)
        assert world.route("orders")["queueDatas"][0]["readQueueNums"] == 8

    def test_two_brokers(self, world: NameServerWorld) -> None:
        """A topic on two brokers has both in its route; one leaving leaves the other."""
        one, two = world.peer(), world.peer()
        one.register("orders", *SYSTEM)
        two.register("orders", *SYSTEM, name="broker-b", address="10.0.0.2:10911")
        assert sorted(world.master_addresses("orders")) == ["10.0.0.1:10911", "10.0.0.2:10911"]
        one.drop()
        assert world.master_addresses("orders") == ["10.0.0.2:10911"]
        two.drop()
        assert world.route("orders") is None

    def test_waits_for_service(self, tmp_path: Path) -> None:
        """With needWaitForService clients keep the routes they have until brokers had time to register."""
        world = NameServerWorld(tmp_path, needWaitForService="true", waitSecondsForService="45")
        world.peer().register("orders", *SYSTEM)
        world.reactor.advance(44)
        answer = world.peer().ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, topic="orders")
        assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "name server not ready")
        world.reactor.advance(1)
        assert world.route("orders") is not None

    def test_order_configuration(self, tmp_path: Path) -> None:
        """Ordered topics' queues are in the route when the option says so, and brokers are told of them."""
        world = NameServerWorld(tmp_path, orderMessageEnable="true")
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        assert "orderTopicConf" not in world.route("orders")
        peer.ask(RequestCode.PUT_KV_CONFIG, namespace="ORDER_TOPIC_CONFIG", key="orders", value="broker-a:4")
        assert world.route("orders")["orderTopicConf"] == "broker-a:4"
        assert json.loads(peer.register("orders", *SYSTEM).body) == {"table": {"orders": "broker-a:4"}}

    def test_order_configuration_kept_from_brokers(self, tmp_path: Path) -> None:
        """With returnOrderTopicConfigToBroker=false brokers are not told."""
        world = NameServerWorld(tmp_path, returnOrderTopicConfigToBroker="false")
        peer = world.peer()
        peer.ask(RequestCode.PUT_KV_CONFIG, namespace="ORDER_TOPIC_CONFIG", key="orders", value="broker-a:4")
        assert peer.register("orders", *SYSTEM).body == b""
        assert "orderTopicConf" not in world.route("orders")

    def test_zones(self, world: NameServerWorld) -> None:
        """A client of a zone is sent to brokers of that zone, and to those elsewhere that lost their master."""
        world.peer().register("orders", *SYSTEM, __ZONE_NAME="east")
        world.peer().register("orders", *SYSTEM, name="broker-b", address="10.0.0.2:10911", __ZONE_NAME="west")
        world.peer().register(
            "orders",
            *SYSTEM,
            name="broker-c",
            address="10.0.0.3:10911",
            broker_id=1,
            enableActingMaster="false",
            __ZONE_NAME="west",
        )
        zone = {"topic": "orders", "__ZONE_MODE": "true", "__ZONE_NAME": "EAST"}
        route = json.loads(world.peer().ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, **zone).body)
        assert sorted(of["brokerName"] for of in route["brokerDatas"]) == ["broker-a", "broker-c"]
        assert sorted(of["brokerName"] for of in route["queueDatas"]) == ["broker-a", "broker-c"]
        for without in ({"__ZONE_MODE": "false", "__ZONE_NAME": "east"}, {"__ZONE_MODE": "true", "__ZONE_NAME": " "}):
            answer = world.peer().ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, topic="orders", **without)
            assert len(json.loads(answer.body)["brokerDatas"]) == 3
        assert len(world.route("orders")["brokerDatas"]) == 3

    def test_filter_servers(self, world: NameServerWorld) -> None:
        """3.x and 4.x consumers find the filter servers of a broker, until it registers without them."""
        body = json.loads(register_body("orders", *SYSTEM))
        body["filterServerList"] = ["10.0.0.1:7001"]
        peer = world.peer(Version.V3_2_6)
        peer.register(body=json.dumps(body).encode())
        assert world.route("orders")["filterServerTable"] == {"10.0.0.1:10911": ["10.0.0.1:7001"]}
        body["filterServerList"] = []
        peer.register(body=json.dumps(body).encode())
        assert world.route("orders")["filterServerTable"] == {}

    def test_static_topics(self, world: NameServerWorld) -> None:
        """5.x clients get the queue mapping of a static topic with its route."""
        mapping = TopicQueueMappingInfo(topic="orders", bname="broker-a", total_queues=1, epoch=7, curr_id_map={0: 3})
        body = register_body("orders", *SYSTEM).replace(
            b'"topicQueueMappingInfoMap":{}', b'"topicQueueMappingInfoMap":{"orders":' + mapping.encode() + b"}"
        )
        world.peer().register(body=body)
        by_broker = world.route("orders")["topicQueueMappingByBroker"]
        assert by_broker["broker-a"]["currIdMap"] == {"0": 3}
        assert by_broker["broker-a"]["epoch"] == 7
        assert "topicQueueMappingByBroker" not in world.route("TBW102")
        peer = world.peer()
        assert peer.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="orders").code == ResponseCode.SUCCESS
        peer.register("orders", "spare", version=9)
        assert "topicQueueMappingByBroker" not in world.route("orders"), "an ordinary topic of that name"
        world.peer().register(body=body)
        assert world.route("orders")["topicQueueMappingByBroker"]["broker-a"]["epoch"] == 7


class TestLists:
    def test_lists(self, world: NameServerWorld) -> None:
        """An admin tool sees topics, clusters and members as the official server shows them."""
        world.peer().register("orders", topic("unit", flag=1), topic("sub", flag=2), topic("both", flag=3))
        world.peer().register(
            "orders", "more", name="broker-b", address="10.0.0.2:10911", cluster="Other", enableActingMaster="true"
        )
        world.peer().register("orders", "more", name="broker-b", address="10.0.0.3:10911", cluster="Other", broker_id=1)
        peer = world.peer()
        every = peer.ask(RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER).body
        assert names_of(every) == ["both", "more", "orders", "sub", "unit"]
        assert names_of(peer.ask(RequestCode.GET_TOPICS_BY_CLUSTER, cluster="Other").body) == ["more", "orders"]
        assert names_of(peer.ask(RequestCode.GET_TOPICS_BY_CLUSTER, cluster="Nowhere").body) == []
        assert names_of(peer.ask(RequestCode.GET_UNIT_TOPIC_LIST).body) == ["both", "unit"]
        assert names_of(peer.ask(RequestCode.GET_HAS_UNIT_SUB_TOPIC_LIST).body) == ["both", "sub"]
        assert names_of(peer.ask(RequestCode.GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST).body) == ["sub"]
        system = json.loads(peer.ask(RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS).body)
        assert system["topicList"] == ["DefaultCluster", "broker-a", "Other", "broker-b"]
        assert system["brokerAddr"] == "10.0.0.1:10911"
        cluster = peer.ask(RequestCode.GET_BROKER_CLUSTER_INFO).body
        assert b'"brokerAddrs":{0:"10.0.0.2:10911",1:"10.0.0.3:10911"}' in cluster  # always bare keys
        members = peer.ask(RequestCode.GET_BROKER_MEMBER_GROUP, clusterName="Other", brokerName="broker-b").body
        assert members == (
            b'{"brokerMemberGroup":{"brokerAddrs":{0:"10.0.0.2:10911",1:"10.0.0.3:10911"},'
            b'"brokerName":"broker-b","cluster":"Other"}}'
        )

    def test_empty(self, world: NameServerWorld) -> None:
        """Before any broker registers, lists are empty and nothing fails."""
        peer = world.peer()
        assert names_of(peer.ask(RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER).body) == []
        assert peer.ask(RequestCode.GET_BROKER_CLUSTER_INFO).body == b'{"brokerAddrTable":{},"clusterAddrTable":{}}'
        assert peer.ask(RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS).body == b'{"topicList":[]}'
        members = peer.ask(RequestCode.GET_BROKER_MEMBER_GROUP, clusterName="c", brokerName="b").body
        assert members == b'{"brokerMemberGroup":{"brokerAddrs":{},"brokerName":"b","cluster":"c"}}'

    def test_lists_can_be_refused(self, tmp_path: Path) -> None:
        """Operators of huge clusters turn the lists off."""
        world = NameServerWorld(tmp_path, enableAllTopicList="false", enableTopicList="false")
        peer = world.peer()
        for code, ext in (
            (RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER, {}),
            (RequestCode.GET_TOPICS_BY_CLUSTER, {"cluster": "c"}),
            (RequestCode.GET_UNIT_TOPIC_LIST, {}),
            (RequestCode.GET_HAS_UNIT_SUB_TOPIC_LIST, {}),
            (RequestCode.GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST, {}),
        ):
            answer = peer.ask(code, **ext)
            assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "disable")


class TestAdministration:
    def test_wipe_and_add_write_permission(self, world: NameServerWorld) -> None:
        """A broker wiped before maintenance is sent nothing; adding brings producers back."""
        peer = world.peer()
        peer.register("orders", topic("sealed", perm=4))
        answer = peer.ask(RequestCode.WIPE_WRITE_PERM_OF_BROKER, brokerName="broker-a")
        assert answer.ext == {"wipeTopicCount": "2"}
        assert world.route("orders")["queueDatas"][0]["perm"] == 4
        peer.register("orders", topic("sealed", perm=4))  # the periodic registration does not undo it
        assert world.route("orders")["queueDatas"][0]["perm"] == 4
        answer = peer.ask(RequestCode.ADD_WRITE_PERM_OF_BROKER, brokerName="broker-a")
        assert answer.ext == {"addTopicCount": "2"}
        assert world.route("orders")["queueDatas"][0]["perm"] == 6
        assert world.route("sealed")["queueDatas"][0]["perm"] == 6  # exactly 6, as in Java
        assert peer.ask(RequestCode.WIPE_WRITE_PERM_OF_BROKER, brokerName="none").ext == {"wipeTopicCount": "0"}

    def test_wipe_is_undone_by_a_changed_table(self, world: NameServerWorld) -> None:
        """A changed topic table brings the broker's own permissions back."""
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        peer.ask(RequestCode.WIPE_WRITE_PERM_OF_BROKER, brokerName="broker-a")
        peer.register("orders", *SYSTEM, version=2)
        assert world.route("orders")["queueDatas"][0]["perm"] == 6

    def test_delete_topic(self, world: NameServerWorld) -> None:
        """A deleted topic has no route any more, until a broker that still has it registers."""
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        assert peer.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="orders").code == ResponseCode.SUCCESS
        assert world.route("orders") is None
        assert peer.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="orders").code == ResponseCode.SUCCESS
        peer.register("orders", *SYSTEM)
        assert world.route("orders") is not None

    def test_delete_topic_of_one_cluster(self, world: NameServerWorld) -> None:
        """Deleting in one cluster leaves the topic in the others."""
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        world.peer().register("orders", *SYSTEM, name="broker-b", cluster="Other", address="10.0.0.2:10911")
        peer.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="orders", clusterName="Other")
        assert world.master_addresses("orders") == ["10.0.0.1:10911"]
        peer.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="orders", clusterName="Nowhere")
        assert world.master_addresses("orders") == ["10.0.0.1:10911"]
        peer.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, topic="orders", clusterName="DefaultCluster")
        assert world.route("orders") is None

    def test_register_topic(self, world: NameServerWorld) -> None:
        """A 5.x broker with enableSingleTopicRegister adds one topic; one of an unknown broker changes nothing."""
        peer = world.peer()
        peer.register(*SYSTEM)
        queues = {"brokerName": "broker-a", "perm": 6, "readQueueNums": 3, "topicSysFlag": 0, "writeQueueNums": 3}
        body = json.dumps({"queueDatas": [queues]}).encode()
        assert peer.ask(RequestCode.REGISTER_TOPIC_IN_NAMESRV, body, topic="new").code == ResponseCode.SUCCESS
        assert world.route("new")["queueDatas"][0]["readQueueNums"] == 3
        body = json.dumps({"queueDatas": [queues, {**queues, "brokerName": "stranger"}]}).encode()
        assert peer.ask(RequestCode.REGISTER_TOPIC_IN_NAMESRV, body, topic="other").code == ResponseCode.SUCCESS
        assert world.route("other") is None
        answer = peer.ask(RequestCode.REGISTER_TOPIC_IN_NAMESRV, b"{nonsense", topic="other")
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert peer.ask(RequestCode.REGISTER_TOPIC_IN_NAMESRV, topic="other").code == ResponseCode.SUCCESS


class TestConfiguration:
    def test_show_and_update(self, tmp_path: Path) -> None:
        """mqadmin sees the properties, changes one, and the file has it after a restart."""
        world = NameServerWorld(tmp_path)
        peer = world.peer()
        peer.register("orders", *SYSTEM)
        shown = peer.ask(RequestCode.GET_NAMESRV_CONFIG).body.decode().splitlines()
        assert "enableTopicList=true" in shown
        assert "listenPort=0" in shown
        answer = peer.ask(RequestCode.UPDATE_NAMESRV_CONFIG, b"enableAllTopicList=false\nnoSuchKey=1\n")
        assert answer.code == ResponseCode.SUCCESS
        assert peer.ask(RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER).code == ResponseCode.SYSTEM_ERROR
        assert "enableAllTopicList=false" in (tmp_path / "namesrv.properties").read_text()
        assert b"enableAllTopicList=false" in peer.ask(RequestCode.GET_NAMESRV_CONFIG).body

    @pytest.mark.parametrize("key", ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"])
    def test_black_list(self, world: NameServerWorld, key: str) -> None:
        """Keys that would move files cannot be changed from afar, and nothing else of such an update is done."""
        peer = world.peer()
        answer = peer.ask(RequestCode.UPDATE_NAMESRV_CONFIG, f"enableTopicList=false\n{key}=x".encode())
        assert (answer.code, answer.remark) == (
            ResponseCode.NO_PERMISSION,
            "Can not update config in black list.",
        )
        assert b"enableTopicList=true" in peer.ask(RequestCode.GET_NAMESRV_CONFIG).body

    def test_wrong_value(self, world: NameServerWorld) -> None:
        """A value that is none changes nothing, and the answer says what was expected."""
        peer = world.peer()
        answer = peer.ask(RequestCode.UPDATE_NAMESRV_CONFIG, b"scanNotActiveBrokerInterval=soon")
        assert answer.code == ResponseCode.SYSTEM_ERROR
        assert "scanNotActiveBrokerInterval" in (answer.remark or "")
        assert peer.ask(RequestCode.UPDATE_NAMESRV_CONFIG).code == ResponseCode.SUCCESS

    def test_update_reaches_routes(self, world: NameServerWorld) -> None:
        """An option that shapes routes shapes them from then on, also those asked for before."""
        peer = world.peer()
        peer.ask(RequestCode.PUT_KV_CONFIG, namespace="ORDER_TOPIC_CONFIG", key="orders", value="broker-a:4")
        peer.register("orders", *SYSTEM)
        assert "orderTopicConf" not in world.route("orders")
        peer.ask(RequestCode.UPDATE_NAMESRV_CONFIG, b"orderMessageEnable=true")
        assert world.route("orders")["orderTopicConf"] == "broker-a:4"


def test_version_query(world: NameServerWorld) -> None:
    """A broker that does not force registration learns whether it has to register; the question keeps it alive."""
    peer = world.peer()
    header = QueryDataVersion(
        broker_name="broker-a", broker_addr="10.0.0.1:10911", cluster_name="DefaultCluster", broker_id=0
    )
    ext = {key: str(value) for key, value in msgspec.to_builtins(header).items()}
    same, other = (DataVersion(counter=of, timestamp=of).encode() for of in (1, 2))
    answer = peer.ask(RequestCode.QUERY_DATA_VERSION, same, **ext)
    assert (answer.ext, answer.body) == ({"changed": "true"}, b"")
    peer.register("orders", *SYSTEM)
    for _ in range(3):
        world.reactor.advance(100)
        answer = peer.ask(RequestCode.QUERY_DATA_VERSION, same, **ext)
        assert answer.ext == {"changed": "false"}
        assert DataVersion.decode(answer.body) == DataVersion(counter=1, timestamp=1)
        world.server.scan()
        assert world.route("orders") is not None
    assert peer.ask(RequestCode.QUERY_DATA_VERSION, other, **ext).ext == {"changed": "true"}
    assert peer.ask(RequestCode.QUERY_DATA_VERSION, **ext).ext == {"changed": "true"}
    assert peer.ask(RequestCode.QUERY_DATA_VERSION, b"[", **ext).code == ResponseCode.SYSTEM_ERROR


def test_wrong_checksum(world: NameServerWorld) -> None:
    """A registration damaged on its way is refused; without a checksum it is taken."""
    peer = world.peer()
    body = register_body("orders", *SYSTEM)
    answer = peer.register(body=body, bodyCrc32=str(zlib.crc32(body) & 0x7FFFFFFF ^ 1))
    assert (answer.code, answer.remark) == (ResponseCode.SYSTEM_ERROR, "crc32 not match")
    assert world.route("orders") is None
    assert peer.register(body=body, bodyCrc32="0").code == ResponseCode.SUCCESS
    assert world.route("orders") is not None
