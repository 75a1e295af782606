"""Power cuts at any file operation: any subset of the unsynced pages is lost, and pages are torn at 512 bytes.

Lives of a store, a state file and a timer run on the simulated file system, each with pseudo-random steps. At some
of their operations the disk is looked at as a power cut would leave it, and a store opened on that: what was
acknowledged and synced is there, what is there was put, what is derived agrees with the log, and life goes on.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

import pytest
from twisted.internet.task import Clock

from rmqd.protocol.broker.durability import GATHER_S, GroupCommit
from rmqd.store.dirlock import DirectoryLock
from rmqd.store.statefile import StateFile
from rmqwire.codes import ResponseCode
from tests.protocol.fakes import ManualThread
from tests.sim.simfiles import ALL_SECTORS, SimFiles
from tests.sim.world import Put, World
from tests.store.test_timer_store import World as TimerWorld

from .conftest import Say
from .sizes import SEED, size, stated

STORE_STATES = size(120, 3000)
TIMER_STATES = size(60, 1000)
STATES_PER_LIFE = 20
STEPS = 90
CONFIG = "/store/config/topics.json"


class Loss:
    """Which sectors of an unsynced page reached the disk, the same answer for the same page."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._kept = chance.choice((0.0, 0.3, 0.7, 1.0))
        self._torn = chance.choice((0.0, 0.2, 1.0))
        self._pages: dict[tuple[str, int], int] = {}

    def __call__(self, path: str, page: int) -> int:
        sectors = self._pages.get((path, page))
        if sectors is None:
            chance = self._chance
            if chance.random() < self._torn:
                sectors = chance.randint(0, ALL_SECTORS)
            else:
                sectors = ALL_SECTORS if chance.random() < self._kept else 0
            self._pages[path, page] = sectors
        return sectors


def cut(files: SimFiles, chance: random.Random) -> SimFiles:
    return files.after_power_loss(Loss(chance), chance.randint(0, len(files.journal)))


@dataclass
class State:
    """The disk after a power cut, and what was promised before."""

    operation: str
    files: SimFiles
    put: list[Put]
    synced: list[Put]
    config: int
    """Of the state file: the last version whose save had ended."""


class Life(World):
    """A store with SYNC_FLUSH and a state file; `states` is what cuts would have left."""

    def __init__(self, chance: random.Random, cut_each: float) -> None:
        super().__init__()
        self.chance = chance
        self.cut_each = cut_each
        self.thread = ManualThread()
        self.synced: list[Put] = []
        """Acknowledged: SYNC_FLUSH answered SUCCESS."""
        self.put: list[Put] = []
        self.config = 0
        self.states: list[State] = []
        self.files.failing = self.look

    def look(self, operation: str, path: str) -> None:
        if self.chance.random() < self.cut_each:
            durable = self.store.flushed_offset if hasattr(self, "store") else 0
            synced = [*self.synced, *(put for put in self.put if put.end <= durable)]
            state = State(
                f"{operation} {path}", cut(self.files, self.chance), self.put + self.staged, synced, self.config
            )
            self.states.append(state)

    def commit(self) -> None:
        group = list(self.staged)
        self.put += group
        super().commit()
        for put in group:
            self.commits.when_flushed(put.end).addCallback(self._answered, put)

    def _answered(self, code: int, put: Put) -> None:
        assert code == ResponseCode.SUCCESS
        self.synced.append(put)

    def live(self) -> None:
        chance = self.chance
        self.open()
        clock = Clock()
        self.commits = GroupCommit(self.store, self.thread, clock, 5000, lambda: len(self.put) - len(self.synced))
        for _ in range(STEPS):
            clock.advance(chance.choice((0, 0, GATHER_S)))
            step = chance.random()
            if step < 0.5:
                for _ in range(chance.randint(1, 4)):
                    more = "p" * chance.choice((0, 0, 30, 700, 1500))
                    self.stage(chance.choice("AB"), chance.randint(0, 2), chance.choice((0, 10, 300, 2500)), more)
                self.commit()
            elif step < 0.75:
                if self.thread.jobs:
                    self.thread.run_one()
            elif step < 0.85:
                self.store.tick_consume_queues(chance.randint(1, 3))
            elif step < 0.93:
                self.checkpoint()
            else:
                version = self.config + 1
                text = json.dumps({"version": version, "filler": "x" * chance.randint(0, 6000)})
                StateFile(CONFIG, files=self.files).save(text.encode())
                self.config = version
        while self.thread.jobs or clock.getDelayedCalls():
            if self.thread.jobs:
                self.thread.run_one()
            clock.advance(GATHER_S)
        assert len(self.synced) == len(self.put)
        self.store.close()


def examine(state: State, chance: random.Random) -> int:
    """Open what a cut left, and go on from there; tells how many messages it held."""
    world = World()
    world.files = state.files
    world.acked = list(state.put)
    world.number = 10_000
    world.open()
    try:
        world.check(state.synced)
        found = len(world.acked)
        _examine_config(state)
        for _ in range(chance.randint(0, 3)):
            world.stage("A", chance.randint(0, 2), chance.choice((10, 600)))
            world.commit()
            if chance.random() < 0.5:
                world.flush()
            if chance.random() < 0.3:
                world.checkpoint()
        if chance.random() < 0.3:
            durable = world.store.flushed_offset
            world._forget_process()
            world.files = cut(world.files, chance)
            world.open()
            world.check([put for put in world.acked if put.end <= durable])
        world.close()
        world.open()
        world.check(world.acked)
        world.close()
    finally:
        DirectoryLock._held.clear()
    return found


def _examine_config(state: State) -> None:
    text = StateFile(CONFIG, files=state.files).load()
    assert text is not None or state.config == 0
    if text is not None:
        assert json.loads(text)["version"] in (state.config, state.config + 1)


def store_life(seed: int, life: int) -> tuple[int, int, int]:
    """One life and the states that cuts leave of it.

    Returns:
        How many states, how many messages were promised in them and how many were found.
    """
    chance = random.Random(f"{seed} store {life}")
    world = Life(chance, cut_each=0.06)
    with stated(seed=seed, life=life):
        world.live()
    states = chance.sample(world.states, min(len(world.states), STATES_PER_LIFE))
    found = 0
    for number, state in enumerate(states):
        with stated(seed=seed, life=life, state=number, cut_before=state.operation):
            found += examine(state, chance)
    return len(states), sum(len(set(state.synced)) for state in states), found


def test_what_was_acknowledged_and_synced_survives_any_power_cut(say: Say) -> None:
    """Log, consume queues, index, checkpoint, SYNC_FLUSH acknowledgements, and a state file with its `.bak`."""
    states = found = promised = life = 0
    while states < STORE_STATES:
        life += 1
        more = store_life(SEED, life)
        states, promised, found = states + more[0], promised + more[1], found + more[2]
    assert promised, "nothing was synced in any state"
    say(f"{states} power cuts of a store: {promised} messages promised, {found} found, 0 promised ones lost")


@pytest.mark.parametrize(
    ("seed", "life"),
    [
        pytest.param(20260607, 66, id="a torn sector of properties"),
        pytest.param(20260607, 87, id="a torn entry of the index"),
        pytest.param(1, 9, id="a torn entry at the begin of an index file"),
        pytest.param(2, 116, id="a torn entry, and a log that was cut"),
        pytest.param(3, 58, id="a torn entry while the log is synced"),
    ],
)
def test_power_cuts_that_once_cost_something(seed: int, life: int) -> None:
    store_life(seed, life)


class Timer(TimerWorld):
    """A timer whose commit log loses what was not flushed, too."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(window=60, log_file_size=chance.choice((300, 5200)))
        self.chance = chance
        self.durable = 0
        """Messages of the queue that are on disk."""
        self.states: list[tuple[SimFiles, list[int], int]] = []
        self.files.failing = self.look

    def look(self, operation: str, path: str) -> None:
        if self.chance.random() < 0.05:
            kept = self.chance.randint(self.durable, len(self.queue))
            self.states.append((cut(self.files, self.chance), self.queue[:kept], self.now_ms))

    def live(self) -> None:
        chance = self.chance
        timer = self.open()
        for _ in range(30):
            step = chance.random()
            if step < 0.5:
                self.send(*(chance.uniform(0, 150) for _ in range(chance.randint(1, 20))))
                self.work(timer)
            elif step < 0.75:
                self.advance(timer, chance.randint(1, 20))
            else:
                self.durable = len(self.queue)
                self.flush(timer)
        timer.close()


def timer_life(seed: int, life: int) -> tuple[int, int]:
    """As `store_life`, of a timer; returns how many states and how many messages waited in them."""
    chance = random.Random(f"{seed} timer {life}")
    world = Timer(chance)
    with stated(seed=seed, life=life):
        world.live()
    states = chance.sample(world.states, min(len(world.states), STATES_PER_LIFE))
    messages = 0
    for number, (files, queue, now_ms) in enumerate(states):
        after = TimerWorld(files=files, now_ms=now_ms, queue=list(queue), window=60, log_file_size=world.log_file_size)
        with stated(seed=seed, life=life, state=number):
            timer = after.open()
            after.work(timer)
            due_later = {index for index, due_ms in enumerate(queue) if due_ms > now_ms}
            after.advance(timer, 400)
            timer.close()
            came = {after.queue[index] for index in after.delivered}
            missing = {queue[index] for index in due_later} - came
            assert not missing, f"{len(missing)} of {len(due_later)} lost"
        messages += len(due_later)
    return len(states), messages


def test_a_timer_loses_no_message_by_a_power_cut(say: Say) -> None:
    """Wheel, log and checkpoint: each message that the commit log still has comes, and none comes early."""
    states = messages = life = 0
    while states < TIMER_STATES:
        life += 1
        more = timer_life(SEED, life)
        states, messages = states + more[0], messages + more[1]
    say(f"{states} power cuts of a timer: {messages} messages waiting, 0 lost, 0 early")


@pytest.mark.parametrize(("seed", "life"), [(1, 10), (2, 82)])
def test_torn_units_of_the_timer_log_that_were_once_taken(seed: int, life: int) -> None:
    timer_life(seed, life)


def test_a_page_can_be_torn() -> None:
    """The simulation itself: only some of the sectors of a page are there after the cut."""
    files = SimFiles()
    fd = files.open("/x", create=True)
    files.pwrite(fd, b"o" * 4096, 0)
    files.data_sync(fd)
    files.sync_directory("/")
    files.pwrite(fd, b"n" * 4096, 0)
    after = files.after_power_loss(lambda path, page: 0b101)
    assert after.pread(after.open("/x"), 4096, 0) == b"n" * 512 + b"o" * 512 + b"n" * 512 + b"o" * 2560


@pytest.mark.parametrize("sectors", [0, ALL_SECTORS])
def test_a_whole_page_is_there_or_not(sectors: int) -> None:
    files = SimFiles()
    fd = files.open("/x", create=True)
    files.pwrite(fd, b"n" * 100, 0)
    after = files.after_power_loss(lambda path, page: sectors)
    assert after.pread(after.open("/x"), 100, 0) == (b"n" * 100 if sectors else bytes(100))
