"""Commands against servers in memory: those that no interop case has a server for, and what happens over time."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from protocol.network import Network
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater

from rmqd.protocol.admin.command import Invocation
from rmqd.protocol.admin.main import parse
from rmqd.protocol.admin.service import run_by
from rmqd.protocol.client import RemotingClient
from rmqd.protocol.dispatch import Dispatcher, Request, handles
from rmqd.protocol.replies import Reply
from rmqwire.bodies import (
    BrokerData,
    BrokerReplicasInfo,
    ClusterInfo,
    DataVersion,
    HAClientRuntimeInfo,
    HARuntimeInfo,
    ReplicaIdentity,
    ReplicasInfo,
    SubscriptionGroupConfig,
    SubscriptionGroupWrapper,
    TopicList,
)
from rmqwire.codes import ResponseCode
from rmqwire.declare import Role
from rmqwire.errors import RequestError
from rmqwire.requests.controller import (
    ControllerGetMetadataInfo,
    ControllerGetMetadataInfoReply,
    ControllerGetSyncStateData,
)
from rmqwire.requests.group import GetAllSubscriptionGroupConfig, GetAllSubscriptionGroupConfigReply
from rmqwire.requests.ha import GetBrokerHaStatus
from rmqwire.requests.maintenance import GetColdDataFlowCtrInfo, UpdateColdDataFlowCtrConfig
from rmqwire.requests.route import GetAllTopicListFromNameserver, GetBrokerClusterInfo, WipeWritePermOfBroker

T = TypeVar("T")

NAMESRV, BROKER, CONTROLLER = "10.0.0.1:9876", "10.0.0.2:10911", "10.0.0.3:9878"


class NameServer:
    """One cluster of one broker."""

    def __init__(self) -> None:
        self.topics = ["a"]
        self.body: bytes | None = None

    @handles(GetAllTopicListFromNameserver)
    def all_topics(self, request: Request, header: GetAllTopicListFromNameserver) -> Reply:
        return Reply(body=self.body or TopicList(topic_list=self.topics).encode())

    @handles(GetBrokerClusterInfo)
    def clusters(self, request: Request, header: GetBrokerClusterInfo) -> Reply:
        broker = BrokerData(cluster="C", broker_name="b", broker_addrs={0: BROKER})
        return Reply(body=ClusterInfo(broker_addr_table={"b": broker}, cluster_addr_table={"C": ["b"]}).encode())


class Broker:
    """A slave with limits on cold data and groups that come in pages of two."""

    def __init__(self) -> None:
        self.limits: list[bytes] = []
        self.groups = [f"g{number}" for number in range(5)]
        self.versions = [1, 1, 2, 2, 2, 2, 2]

    @handles(UpdateColdDataFlowCtrConfig)
    def limit(self, request: Request, header: UpdateColdDataFlowCtrConfig) -> Reply:
        self.limits.append(request.body)
        return Reply()

    @handles(GetColdDataFlowCtrInfo)
    def cold(self, request: Request, header: GetColdDataFlowCtrInfo) -> Reply:
        raise RequestError("no cold data flow control", ResponseCode.REQUEST_CODE_NOT_SUPPORTED)

    @handles(GetBrokerHaStatus)
    def ha(self, request: Request, header: GetBrokerHaStatus) -> Reply:
        client = HAClientRuntimeInfo(master_addr="10.0.0.9:10912", max_offset=7, transferred_byte_in_second=2048)
        return Reply(body=HARuntimeInfo(ha_client_runtime_info=client).encode())

    @handles(GetAllSubscriptionGroupConfig)
    def page(self, request: Request, header: GetAllSubscriptionGroupConfig) -> Reply:
        first = header.group_seq or 0
        table = {name: SubscriptionGroupConfig(group_name=name) for name in self.groups[first : first + 2]}
        version = DataVersion(counter=self.versions.pop(0))
        body = SubscriptionGroupWrapper(subscription_group_table=table, data_version=version).encode()
        return Reply(GetAllSubscriptionGroupConfigReply(total_group_num=len(self.groups)), body=body)


class Controller:
    """The leader of a group of two."""

    @handles(ControllerGetMetadataInfo)
    def metadata(self, request: Request, header: ControllerGetMetadataInfo) -> Reply:
        return Reply(
            ControllerGetMetadataInfoReply(
                group="G",
                controller_leader_id="n0",
                controller_leader_address=CONTROLLER,
                is_leader=True,
                peers=f"n0:{CONTROLLER};n1:x",
            )
        )

    @handles(ControllerGetSyncStateData)
    def replicas(self, request: Request, header: ControllerGetSyncStateData) -> Reply:
        assert json.loads(request.body) == ["b"]
        replica = ReplicaIdentity(broker_name="b", broker_id=1, broker_address=BROKER, alive=True)
        info = ReplicasInfo(master_broker_id=1, master_address=BROKER, master_epoch=3, in_sync_replicas=[replica])
        return Reply(body=BrokerReplicasInfo(replicas_info_table={"b": info}).encode())


class Connections:
    """Connections of the simulated network; what runs side by side elsewhere comes one after the other."""

    def __init__(self, client: RemotingClient) -> None:
        self.call = client.call

    async def together(self, works: Sequence[Callable[[], Coroutine[Any, Any, T]]]) -> list[T]:
        return [await work() for work in works]


class World:
    """Three servers and a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.network = Network(self.clock)
        self.name_server, self.broker = NameServer(), Broker()
        self.network.servers[NAMESRV] = Dispatcher(Role.NAMESRV, [self.name_server])
        self.network.servers[BROKER] = Dispatcher(Role.BROKER, [self.broker])
        self.network.servers[CONTROLLER] = Dispatcher(Role.CONTROLLER, [Controller()])
        self.out, self.err = io.StringIO(), io.StringIO()

    def begin(self, line: str) -> Deferred[int]:
        """Start a command line."""
        invocation = parse(line.split())
        assert isinstance(invocation, Invocation)
        client = RemotingClient(self.network.endpoint, Dispatcher(Role.CLIENT, ()), self.clock)

        def sleep(seconds: float) -> Deferred[None]:
            return deferLater(self.clock, seconds)

        done = Deferred.fromCoroutine(run_by(Connections(client), sleep, invocation, self.out, self.err))
        self.network.run()
        return done

    def run(self, line: str) -> tuple[int, str, str]:
        """Run a command line to its end; give its exit code and what it printed."""
        codes: list[int] = []
        self.begin(line).addCallback(codes.append)
        for _ in range(20):
            if not codes:
                self.clock.advance(1)
                self.network.run()
        return codes[0], self.out.getvalue(), self.err.getvalue()


@pytest.fixture
def world() -> World:
    return World()


def test_controllers(world: World) -> None:
    code, out, err = world.run(f"getControllerMetaData -a {CONTROLLER}")
    assert (code, err) == (0, "")
    assert out == (
        f"\n#ControllerGroup\tG\n#ControllerLeaderId\tn0\n#ControllerLeaderAddress\t{CONTROLLER}"
        f"\n#Peer:\tn0:{CONTROLLER}\n#Peer:\tn1:x\n"
    )


def test_replicas_in_step(world: World) -> None:
    code, out, _ = world.run(f"getSyncStateSet -a {CONTROLLER} -c C -n {NAMESRV}")
    assert code == 0
    assert "\n#brokerName\tb\n#MasterBrokerId\t1\n" in out
    replica = f"ReplicaIdentity{{brokerName='b', brokerId=1, brokerAddress='{BROKER}', alive=true}}"
    assert f"InSyncReplica:\t{replica}\n" in out


def test_a_slave_shows_itself(world: World) -> None:
    code, out, _ = world.run(f"haStatus -b {BROKER}")
    assert code == 0
    assert "#CommitLogMaxOffset\t7\n#TransferSpeed(KB/s)\t2.00\n" in out


def test_limits_are_properties(world: World) -> None:
    code, out, _ = world.run(f"updateColdDataFlowCtrGroupConfig -b {BROKER} -g g -v 100")
    assert (code, out) == (0, f"updateColdDataFlowCtrGroupConfig success, {BROKER}\n")
    assert world.broker.limits == [b"g=100\n"]


def test_a_request_that_is_not_served_is_one_line(world: World) -> None:
    code, _, err = world.run(f"getColdDataFlowCtrInfo -b {BROKER}")
    assert code == 1
    assert err.startswith(f"{BROKER} answered 3 REQUEST_CODE_NOT_SUPPORTED, no cold data flow control: ")
    assert err.count("\n") == 1


def test_groups_in_pages_begin_anew_when_they_change(world: World) -> None:
    code, out, _ = world.run(f"getConsumerConfig -g g4 -n {NAMESRV} --json")
    assert code == 0
    assert [row["broker"] for row in json.loads(out)] == ["b"]
    assert world.broker.versions == [2]


def test_the_next_name_server_is_asked_when_one_is_gone(world: World) -> None:
    assert world.run(f"topicList -n 10.9.9.9:9876;{NAMESRV}") == (0, "a\n", "")


def test_nobody_there(world: World) -> None:
    code, out, err = world.run("topicList -n 10.9.9.9:9876")
    assert (code, out) == (1, "")
    assert "10.9.9.9:9876" in err
    assert "Give its address by -n host:port" in err


def test_an_answer_that_does_not_parse_is_one_line(world: World) -> None:
    world.name_server.body = b"<html>"
    code, out, err = world.run(f"topicList -n {NAMESRV}")
    assert (code, out) == (1, "")
    assert err == f"{NAMESRV} answered what is no TopicList: is it a RocketMQ server?\n"


def test_an_answer_without_its_fields_is_one_line(world: World) -> None:
    class Bare(NameServer):
        @handles(WipeWritePermOfBroker)
        def wipe(self, request: Request, header: WipeWritePermOfBroker) -> Reply:
            return Reply()

    world.network.servers[NAMESRV] = Dispatcher(Role.NAMESRV, [Bare()])
    code, out, err = world.run(f"wipeWritePerm -b b -n {NAMESRV}")
    assert (code, out) == (1, "")
    assert err.startswith("an answer does not parse, ")
    assert err.count("\n") == 1


def test_watching_prints_again(world: World) -> None:
    done = world.begin(f"topicList -n {NAMESRV} --watch 2 --json")
    world.name_server.topics = ["a", "b"]
    world.clock.advance(2)
    world.network.run()
    assert [json.loads(line) for line in world.out.getvalue().splitlines()] == [["a"], ["a", "b"]]
    done.addErrback(lambda failure: failure.trap(CancelledError))
    done.cancel()
    world.clock.advance(1)
    world.network.run()
    assert done.called
