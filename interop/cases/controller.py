"""Controller mode: an official controller elects the master, among official brokers, ours, and both. Of 5.x alone."""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from interop.api import Api, Producer, bodies
from interop.case import case, expect, expect_bodies, expect_that
from interop.cluster import Kind, Servers
from interop.controlled import NAME, QUICK_CLIENT, Group, Sending, expect_sent, read_all
from interop.driver import DriverError, until
from interop.native import Native
from interop.official import controller_properties
from interop.popping import Popper
from interop.ports import free_port
from interop.replicas import expect_same_logs, wait_caught_up
from interop.server import Broker, wait_offsets_written


@pytest.fixture(scope="module", autouse=True)
def since_5(official_version: str) -> None:
    """Nothing here is for older servers."""
    if official_version < "5":
        pytest.skip("there is no such mode before 5.0")


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory, kind: Kind, official_version: str) -> Iterator[Group]:
    """A controller and two brokers of the kind under test; what cases end, the next one revives."""
    servers = Servers(tmp_path_factory.mktemp("controlled"), kind, official_version)
    try:
        yield group_of(servers, "tested-tested")
    finally:
        servers.close()


def group_of(servers: Servers, kinds: str, name_server: str | None = None, controller: str | None = None) -> Group:
    """Start a group, brokers one after the other, so that the first one is elected."""
    group = Group(servers, name_server or servers.name_server().address, controller or servers.controller().address)
    for which in kinds.split("-"):
        group.add(which)
        group.wait_in_step(*group.brokers)
    return group


def other_of(group: Group, broker: Broker) -> Broker:
    """The other one of two."""
    return next(one for one in group.brokers if one is not broker)


@case(
    "controller/1",
    "when the master dies the other broker in step takes over without a person, producer and consumer carry on, no acknowledged message is lost; the old master comes back as a slave with the same log",
    source="ReplicasManager, AutoSwitchHAService, ReplicasInfoManager.electMaster 5.5.0",
)
def test_master_dies(group: Group, api: Api) -> None:
    group.revive()
    change_masters(group, api)


def change_masters(group: Group, api: Api) -> None:
    """Kill the master under a producer and a consumer, and start it again."""
    first = group.wait_master()
    second = other_of(group, first)
    sending = Sending(group, api)
    sending.send("before")
    consumer = api.consumer(group.name_servers, sending.topic, set=QUICK_CLIENT)
    consumer.wait_bodies(sending.sent)

    first.kill()
    expect(group.wait_master(but=first).address, second.address, "the master once the first one is dead")
    sending.send_again("after", "sends with the new master")
    consumer.wait_bodies(sending.sent, 60)

    first.start()
    group.wait_in_step(first, second)
    expect(group.wait_master().address, second.address, "the master once the old one is back")
    sending.send("again")
    end = wait_caught_up(second, first)
    consumer.wait_bodies(sending.sent)
    expect_sent(consumer, sending.sent)
    expect_same_logs(second, first, end)


@case(
    "controller/3",
    "masters die one after the other under a producer, each time the other broker takes over; nothing acknowledged is lost, and the logs are the same in the end",
    source="MessageStoreConfig.allAckInSyncStateSet, GroupTransferService, AutoSwitchHAClient 5.5.0",
)
def test_nothing_acknowledged_is_lost(group: Group, api: Api) -> None:
    group.revive()
    kill_under_load(group, api, kills=2)


def kill_under_load(group: Group, api: Api, kills: int) -> None:
    """Kill master after master while a producer sends, and read everything in the end."""
    topic = group.topic(api)
    load = Load(api.producer(group.name_servers, set=QUICK_CLIENT, retries=0), topic)
    load.start()
    try:
        for _ in range(kills):
            group.wait_in_step(*group.brokers)
            before = len(load.acknowledged)
            expect(until(lambda before=before: len(load.acknowledged) > before + 100, 60), True, "sends go on")  # type: ignore[misc]
            master = group.wait_master()
            master.kill()
            group.wait_master(but=master)
            master.start()
        group.wait_in_step(*group.brokers)
    finally:
        load.stop()
    read_all(group, api, topic, list(load.acknowledged))
    master = group.wait_master()
    slave = other_of(group, master)
    expect_same_logs(master, slave, wait_caught_up(master, slave))


class Load(threading.Thread):
    """Sends until it is stopped, whatever fails.

    Attributes:
        acknowledged: Bodies whose sends were SEND_OK.
    """

    def __init__(self, producer: Producer, topic: str) -> None:
        super().__init__(daemon=True)
        self._producer = producer
        self._topic = topic
        self._ended = threading.Event()
        self.acknowledged: list[str] = []

    def run(self) -> None:
        for number in itertools.count():
            if self._ended.is_set():
                return
            sent = bodies(20, f"load-{number}")
            try:
                results = self._producer.send(self._topic, sent)
            except DriverError:
                self._ended.wait(0.2)
                continue
            self.acknowledged += [
                body for body, result in zip(sent, results, strict=True) if result.get("status") == "SEND_OK"
            ]

    def stop(self) -> None:
        """Send no more."""
        self._ended.set()
        self.join(60)


@case(
    "controller/2",
    "official and native mqadmin tell the same of controllers and replicas, change a controller's configuration, have a replica elected, and have a dead one forgotten, which comes back with another number",
    source="org.apache.rocketmq.tools.command.controller, ...command.ha.GetSyncStateSetSubCommand 5.5.0",
)
def test_tools(group: Group, api: Api) -> None:
    group.revive()
    namesrv, controller = group.name_servers, group.controllers

    def official(*words: str) -> str:
        return told(api.mqadmin(namesrv, *words))

    with Native() as native:

        def ours(*words: str) -> str:
            answer = native.run(*words, "-n", namesrv)
            expect(answer.code, 0, f"exit code of {' '.join(words)}: {answer.err}")
            return told(answer.out)

        for words in (
            ("getControllerMetaData", "-a", controller),
            ("getSyncStateSet", "-a", controller, "-b", NAME),
            ("getBrokerEpoch", "-b", NAME),
            ("getControllerConfig", "-a", controller),
        ):
            expect(ours(*words), official(*words), f"what {words[0]} prints")
        for tool, value in ((ours, "1100"), (official, "1200")):
            tool("updateControllerConfig", "-a", controller, "-k", "scanInactiveMasterInterval", "-v", value)
            shown = ours("getControllerConfig", "-a", controller)
            expect_that(bool(re.search(rf"scanInactiveMasterInterval\W+{value}", shown)), f"{value} shown", shown)
        for tool in (ours, official):
            elect_other(group, tool)
        gone = other_of(group, group.wait_master())
        number = group.number_of(gone)
        gone.kill()
        group.wait_in_step(group.wait_master())
        words = ("cleanBrokerMetadata", "-a", controller, "-b", number, "-bn", NAME, "-c", "DefaultCluster")
        expect(until(lambda: "success" in native.run(*words, "-n", namesrv).out, 30), True, "the dead one forgotten")
        expect_that(gone.address not in group.addresses(), "one replica left", group.addresses())
        (gone.store / "brokerIdentity").unlink()
        gone.start()
        group.wait_in_step(*group.brokers)
        expect_that(group.number_of(gone) not in ("1", "2"), "a new number", group.number_of(gone))


@case(
    "controller/6",
    "a master that is ended in order is replaced at once",
    source="BrokerHousekeepingService.onChannelClose 5.5.0",
)
def test_master_ends(group: Group, api: Api) -> None:
    group.revive()
    sending = Sending(group, api)
    sending.send("before-end")
    ended = group.wait_master()
    ended.stop()
    master = group.wait_master(but=ended, timeout_s=20)
    sending.send_again("after-end", "sends once it has ended")
    ended.start()
    group.wait_in_step(*group.brokers)
    sending.expect_kept(master, ended)


@case(
    "controller/9",
    "of three controllers the one that leads dies: brokers go by the next one, which replaces a dead master",
    source="ReplicasManager.schedulingSyncControllerMetadata, DLedgerController 5.5.0",
)
@pytest.mark.long
def test_three_controllers(api: Api, servers: Servers) -> None:
    ports = [free_port() for _ in range(3)]
    controllers = [servers.controller(port=port, ports=ports) for port in ports]
    addresses = ";".join(controller.address for controller in controllers)
    group = group_of(servers, "tested-tested", controller=addresses)
    sending = Sending(group, api)
    sending.send("before")
    leader = group.leading_controller()
    next(controller for controller in controllers if controller.address == leader).kill()
    expect(until(lambda: group.leading_controller() not in ("", leader), 60), True, "another controller leads")
    first = group.wait_master()
    group.wait_in_step(*group.brokers)
    first.kill()
    second = group.wait_master(but=first, timeout_s=120)
    sending.send_again("after", "sends with the new master")
    first.start()
    group.wait_in_step(*group.brokers, timeout_s=120)
    sending.expect_kept(second, first)


@case(
    "controller/8",
    "a master that stands still (SIGSTOP) and goes on finds that it is a slave, cuts what it alone has and follows",
    source="DefaultBrokerHeartbeatManager, AutoSwitchHAClient 5.5.0",
)
@pytest.mark.long
def test_master_stands_still(group: Group, api: Api) -> None:
    group.revive()
    sending = Sending(group, api, retries=0)
    sending.send("before-still")
    still = group.wait_master()
    assert still.process is not None
    os.kill(still.process.pid, signal.SIGSTOP)
    try:
        group.wait_master(but=still)
        sending.send_again("while-still", "sends while it stands still")
    finally:
        os.kill(still.process.pid, signal.SIGCONT)
    group.wait_in_step(*group.brokers)
    master = group.wait_master(but=still)
    sending.send("in-the-end")
    sending.expect_kept(master, still)


@case(
    "controller/7",
    "of three brokers each follows whoever is elected; the controller may be away meanwhile, a master that dies then is replaced when it is back",
    source="ReplicasManager.schedulingSyncBrokerMetadata 5.5.0",
)
@pytest.mark.long
def test_three(api: Api, servers: Servers) -> None:
    controller = servers.controller()
    group = group_of(servers, "tested-tested-tested", controller=controller.address)
    sending = Sending(group, api)
    sending.send("before")
    first = group.wait_master()
    first.kill()
    second = group.wait_master(but=first)
    sending.send_again("second", "sends with the second master")
    first.start()
    group.wait_in_step(*group.brokers)
    controller.kill()
    sending.send("no-controller")
    second.kill()
    controller.start()
    third = group.wait_master(but=second, timeout_s=120)
    sending.send_again("third", "sends with the third master")
    second.start()
    group.wait_in_step(*group.brokers, timeout_s=120)
    sending.expect_kept(third, *(broker for broker in group.brokers if broker is not third))


@case(
    "controller/4",
    "official brokers and ours in one group take over from each other in both directions, under load, and end with the same log",
    source="AutoSwitchHAConnection, AutoSwitchHAClient 5.5.0",
)
@pytest.mark.parametrize("kinds", ["tested-5.5.0", "5.5.0-tested"])
@pytest.mark.long
def test_mixed(kinds: str, api: Api, servers: Servers) -> None:
    group = group_of(servers, kinds)
    change_masters(group, api)
    kill_under_load(group, api, kills=2)


@case(
    "controller/5",
    "a controller in an official name server (enableControllerInNamesrv) elects among brokers as one alone does",
    source="NamesrvStartup.controllerManagerMain 5.5.0",
)
@pytest.mark.long
def test_controller_in_a_name_server(api: Api, servers: Servers) -> None:
    port = free_port()
    properties = {"enableControllerInNamesrv": "true", **controller_properties(servers.folder / "in-namesrv", port)}
    name_server = servers.name_server("official", "5.5.0", properties)
    change_masters(group_of(servers, "tested-tested", name_server.address, f"127.0.0.1:{port}"), api)


def elect_other(group: Group, tool: Callable[..., str]) -> None:
    """Have the broker elected that is not master."""
    group.wait_in_step(*group.brokers)
    before = group.wait_master()
    after = other_of(group, before)
    words = ("-a", group.controllers, "-b", group.number_of(after), "-bn", NAME, "-c", "DefaultCluster")
    printed = tool("electMaster", *words)
    expect_that(after.address in printed, f"{after.address} told as the master", printed)
    expect(group.wait_master(but=before).address, after.address, "the elected master")
    group.wait_in_step(*group.brokers)


def told(printed: str) -> str:
    """What a tool printed, lines in one order and without what is its logging's."""
    noise = re.compile(r"RocketMQLog:WARN|SLF4J|WARNING: |^\d\d:\d\d:\d\d[.,]\d{3} |^\s*$")
    return "\n".join(sorted(line.rstrip() for line in printed.splitlines() if not noise.search(line)))


@case(
    "controller/10",
    "pops go on over a change of the master: what was acknowledged does not come back, what was not does, from the new master",
    source="PopMessageProcessor, PopReviveService, ReplicasManager.changeToMaster 5.5.0",
)
@pytest.mark.long
def test_pops_over_a_change(group: Group, api: Api) -> None:
    group.revive()
    first = group.wait_master()
    second = other_of(group, first)
    topic, consumers = api.fresh("topic"), api.fresh("CG")
    api.create_topic(group.name_servers, topic, 1)
    group.wait_known(topic)
    at_first = Popper(first.address, topic, consumers, NAME)
    with at_first.connection:
        at_first.send(*"abcd")
        popped = at_first.pop_all(4, 30_000, timeout_s=20)
        expect(sorted(message["body"] for message in popped), list("abcd"), "popped from the first master")
        for message in popped:
            if message["body"] in "ac":
                expect(at_first.ack(message)["code"], 0, "code of an acknowledgement")
    wait_caught_up(first, second)
    wait_offsets_written(second, topic, consumers, 4)  # which are copied every 10 s
    first.kill()
    group.wait_master(but=first)
    at_second = Popper(second.address, topic, consumers, NAME)
    with at_second.connection:
        back = at_second.pop_all(2, 60_000, timeout_s=60)
        expect_bodies(back, list("bd"))
        for message in back:
            expect(at_second.ack(message)["code"], 0, "code of an acknowledgement of what came back")
        at_second.quiet(5)
