"""Brokers that a simulated controller makes masters and slaves, on one clock, with memory pipes and files in memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from protocol.fakes import at_once
from protocol.test_replication import End
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock

from rmqd.protocol.broker.auto_switch import AutoSwitch
from rmqd.protocol.broker.ha_acks import AckRules
from rmqd.protocol.broker.ha_master import HaSettings
from rmqd.store.epochs import EpochFile
from rmqd.store.errors import StoreError
from rmqwire.codes import ResponseCode
from rmqwire.message import decode_record

from .simfiles import SimulatedCrash
from .world import World, small_options

RULES = AckRules(timeout_ms=3000, ruled=True, all_in_sync=True, refuses=True)


def address_of(broker_id: int) -> str:
    return f"10.0.0.{broker_id}:10912"


class Node:
    """One broker through many lives."""

    def __init__(self, cluster: Cluster, broker_id: int) -> None:
        self.cluster = cluster
        self.broker_id = broker_id
        self.world = World(small_options(root=Path(f"/n{broker_id}")))
        self.world.files.now_ms = 1000 * broker_id
        self.boot = 0
        self.alive = False
        self.auto: AutoSwitch
        self.cuts: list[int] = []
        self.begin()

    @property
    def store(self) -> Any:
        return self.world.store

    def begin(self) -> None:
        cluster, world = self.cluster, self.world
        world.options = replace(world.options, boot_id=f"boot-{self.boot}", slave=False)
        world.open()
        path = f"/n{self.broker_id}/epochFileCheckpoint"
        self.auto = AutoSwitch(
            world.store,
            EpochFile(path, files=world.files),
            cluster.settings,
            cluster.rules,
            cluster.clock,
            lambda host, port: Connector(cluster, self, int(host.rpartition(".")[2])),
            at_once,
            lambda: 0,
        )
        self.auto.on_sync_state_set.append(lambda wanted: cluster.wished(self, wanted))
        self.auto.on_truncated.append(self.cuts.append)
        self.auto.start()
        self.alive = True

    def _gone(self) -> None:
        """Stop what would run on in the process that is simulated; nothing of it reaches the disk."""
        self.alive = False
        self.world.files.crash_at = 0
        for end in self.cluster.ends_of(self):
            end.cut()
        auto = self.auto
        auto._client.part()
        auto._ticks.stop()
        auto.acks.stop()
        auto.service.stop()
        self.world._forget_process()

    def kill(self) -> None:
        self._gone()
        self.world.files = self.world.files.after_process_crash()

    def lose_power(self) -> None:
        chance = self.cluster.chance
        self._gone()
        kept, journal = chance.choice((0.0, 0.5, 1.0)), chance.randint(0, len(self.world.files.journal))
        pages: dict[tuple[str, int], bool] = {}
        self.world.files = self.world.files.after_power_loss(
            lambda path, page: pages.setdefault((path, page), chance.random() < kept), journal
        )
        self.boot += 1

    @property
    def crashed(self) -> bool:
        files = self.world.files
        return self.alive and files.crash_at is not None and files.operations >= files.crash_at

    def log(self) -> bytes:
        store, parts = self.store, []
        at = store.min_physical_offset
        while at < store.max_physical_offset:
            parts.append(store.read_log(at, 1 << 20, allow_cold=True))
            at += len(parts[-1])
        return b"".join(parts)

    def seen(self) -> Iterator[bytes]:
        """The messages that a consumer of this broker can see."""
        store = self.store
        for topic in store.topics():
            for queue_id in store.queue_ids(topic):
                at = store.min_offset(topic, queue_id)
                while at < store.max_offset(topic, queue_id):
                    found = store.get_messages(topic, queue_id, at, 32, allow_cold=True)
                    assert found.count, (found, topic, queue_id, at)
                    for record in found.records:
                        message = decode_record(record, check_crc=True)
                        assert (message.topic, message.queue_id, message.queue_offset) == (topic, queue_id, at)
                        at += 1
                        yield message.body.rstrip(b"y")


@dataclass
class Connector:
    """The endpoint of one broker as another one sees it."""

    cluster: Cluster
    source: Node
    target_id: int

    def connect(self, factory: Any) -> Deferred[Any]:
        cluster, target = self.cluster, self.cluster.nodes[self.target_id]
        if not target.alive or not self.source.alive or {self.source.broker_id, self.target_id} & cluster.cut_off:
            return fail(ConnectionRefusedError())
        theirs_protocol = target.auto.service.buildProtocol(None)
        if theirs_protocol is None:
            return fail(ConnectionRefusedError())
        ours, theirs = End(cluster.clock, cluster.chance), End(cluster.clock, cluster.chance)
        ours.other, theirs.other = theirs, ours
        ours.protocol, theirs.protocol = factory.buildProtocol(None), theirs_protocol
        theirs.protocol.makeConnection(theirs)
        ours.protocol.makeConnection(ours)
        cluster.links.append((self.source, target, ours, theirs))
        return succeed(ours.protocol)


@dataclass
class Controller:
    """What the controllers agreed on."""

    master: int | None = None
    epoch: int = 0
    members: frozenset[int] = frozenset()
    members_epoch: int = 0


@dataclass
class Cluster:
    """Some brokers of one name.

    Attributes:
        acked: Bodies that producers got SEND_OK for.
        seen: Bodies that consumers of a master saw.
        cut_off: Brokers that reach neither the others nor the controller.
    """

    chance: random.Random
    count: int = 3
    rules: AckRules = field(default_factory=lambda: replace(RULES))

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.settings = HaSettings(batch_bytes=1024)
        self.controller = Controller()
        self.links: list[tuple[Node, Node, End, End]] = []
        self.cut_off: set[int] = set()
        self.acked: set[bytes] = set()
        self.seen: set[bytes] = set()
        self.number = 0
        self.elections = 0
        self.nodes: dict[int, Node] = {}
        for broker_id in range(1, self.count + 1):
            self.nodes[broker_id] = Node(self, broker_id)

    def ends_of(self, node: Node) -> list[End]:
        return [end for source, target, *ends in self.links if node in (source, target) for end in ends if end.open]

    @property
    def master(self) -> Node | None:
        return None if self.controller.master is None else self.nodes[self.controller.master]

    # The controller

    def wished(self, node: Node, wanted: frozenset[int]) -> None:
        if self.chance.random() < 0.1:
            return  # the request is lost
        epoch, version = self.controller.epoch, self.controller.members_epoch
        self.clock.callLater(self.chance.random() * 0.3, self._decide, node, wanted, epoch, version)

    def _decide(self, node: Node, wanted: frozenset[int], epoch: int, version: int) -> None:
        controller = self.controller
        if (
            controller.master != node.broker_id
            or node.broker_id in self.cut_off
            or not node.alive
            or (epoch, version) != (controller.epoch, controller.members_epoch)
            or node.auto.last_epoch != controller.epoch
            or any(not self.nodes[member].alive or member in self.cut_off for member in wanted - controller.members)
        ):
            return
        controller.members, controller.members_epoch = wanted, version + 1
        if self.chance.random() < 0.6:  # else the answer is lost
            node.auto.set_sync_state_set(controller.members_epoch, wanted)

    def reachable(self) -> set[int]:
        return {broker_id for broker_id, node in self.nodes.items() if node.alive} - self.cut_off

    def elect(self) -> None:
        """Elect another master when there is none; the first time anybody."""
        controller, reachable = self.controller, self.reachable()
        if controller.master in reachable:
            return
        may = sorted(reachable & controller.members if controller.epoch else reachable)
        if not may:
            return
        self.elections += 1
        controller.master = self.chance.choice(may)
        controller.epoch += 1
        controller.members, controller.members_epoch = frozenset((controller.master,)), controller.members_epoch + 1

    def poll(self) -> None:
        """Every broker is told what it is."""
        self.elect()
        controller = self.controller
        for broker_id in self.reachable():
            auto = self.nodes[broker_id].auto
            if controller.master is None or auto.last_epoch > controller.epoch:
                continue
            told: Any
            if controller.master == broker_id:
                told = auto.become_master(broker_id, controller.epoch, controller.members_epoch, controller.members)
            else:
                told = auto.become_slave(broker_id, address_of(controller.master), controller.epoch)
            done = Deferred.fromCoroutine(told)
            done.addErrback(lambda failure: failure.trap(StoreError, SimulatedCrash))
            with suppress(SimulatedCrash):
                auto.check_sync_state_set()

    # Clients

    def put(self, node: Node, count: int) -> None:
        """Send messages to a broker that takes itself for the master, whether it is or not."""
        if not node.alive or not node.auto.is_master or node.auto.acks.too_few():
            return
        world, bodies = node.world, []
        try:
            for _ in range(count):
                self.number += 1
                world.number = self.number - 1
                world.stage(self.chance.choice("AB"), self.chance.randrange(2), self.chance.randrange(600))
                bodies.append(world.staged[-1].body.rstrip(b"y"))
            world.commit()
        except (StoreError, SimulatedCrash):
            return
        waiting = node.auto.acks.when_replicated(node.store.max_physical_offset)
        if waiting is None:
            self._answered(ResponseCode.SUCCESS, bodies)
        else:
            waiting.addCallback(self._answered, bodies)

    def _answered(self, code: int, bodies: list[bytes]) -> None:
        if code == ResponseCode.SUCCESS:
            self.acked.update(bodies)

    def look(self) -> None:
        """Consume all there is at the master, and check that nothing that was there is gone."""
        master = self.master
        if master is None or not master.alive or not master.auto.is_master or master.crashed:
            return
        if master.auto.last_epoch != self.controller.epoch:
            return
        visible = set(master.seen())
        assert self.seen <= visible, sorted(self.seen - visible)
        self.seen = visible

    def check_acked(self) -> None:
        """The log of the master has all that was acknowledged."""
        master = self.master
        if master is None or not master.alive or master.auto.last_epoch != self.controller.epoch:
            return
        log = master.log()
        lost = [body for body in self.acked if body not in log]
        assert not lost, (sorted(lost), master.broker_id)

    def run(self, seconds: float, step: float = 0.1) -> None:
        for _ in range(round(seconds / step)):
            try:
                self.clock.advance(step)
                for _ in range(3):
                    self.clock.advance(0)
            except SimulatedCrash:
                pass
            for node in self.nodes.values():
                if node.crashed:
                    node.kill()

    def settle(self) -> None:
        """Let everybody come back and agree."""
        self.cut_off.clear()
        for node in self.nodes.values():
            node.world.files.crash_at = None
            if not node.alive:
                node.begin()
        for _ in range(40):
            self.poll()
            self.run(1)
            if len(self.controller.members) == self.count:
                break
        self.run(2)
