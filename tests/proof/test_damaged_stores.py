"""Damaged stores: flipped bits, cut files, zeros, missing files, one at a time in copies of two small stores.

What must hold: the store opens, or refuses with an error that names the file; whatever is read is what was put or is
known to be damaged by its checksum; what is derived from the log and missing is made again, equal.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from rmqd.protocol.broker.state_text import load_state
from rmqd.store.dirlock import DirectoryLock
from rmqd.store.errors import StoreDamaged, StoreError
from rmqd.store.statefile import StateFile
from rmqwire.errors import MalformedMessage
from rmqwire.message import decode_record
from tests.sim.simfiles import EMPTY, PAGE, SECTOR, Inode, SimFiles
from tests.sim.world import Put, World

from .conftest import Say
from .sizes import SEED, size, stated

STORES = size(200, 2000)
CONFIG = "/store/config/topics.json"
LOG, QUEUES, INDEX, CHECKPOINT = "/store/commitlog/", "/store/consumequeue/", "/store/index/", "/store/checkpoint"


def copy_of(files: SimFiles) -> SimFiles:
    """The same files, to be damaged."""
    names = {}
    for path, inode in files.names.items():
        names[path] = Inode(inode.size, inode.size, dict(inode.pages), dict(inode.pages), inode.modified_at_ms)
    return SimFiles(names=names, folders=set(files.folders), durable_names=dict(names), now_ms=files.now_ms)


def content(files: SimFiles, path: str) -> bytes:
    inode = files.names[path]
    pages = range(-(-inode.size // PAGE))
    return b"".join(inode.pages.get(page, EMPTY) for page in pages)[: inode.size]


def overwrite(files: SimFiles, path: str, at: int, data: bytes) -> None:
    fd = files.open(path)
    files.pwrite(fd, data, at)
    files.close(fd)


@dataclass
class Original:
    """A store that is well: 120 messages, some of them behind the last checkpoint when it was killed."""

    killed: bool
    world: World = field(default_factory=World)
    bodies: dict[int, int] = field(default_factory=dict)
    """Where the bodies of the log's messages begin, and their lengths."""

    def __post_init__(self) -> None:
        world = self.world
        world.open()
        for version in (1, 2):
            StateFile(CONFIG, files=world.files).save(json.dumps({"version": version}).encode())
        for number in range(120):
            world.stage("AB"[number % 2], number % 3, 20 + number * 37 % 900)
            world.commit()
            if number in (30, 80):
                world.store.tick_consume_queues()
                world.checkpoint()
        at = 0
        while at < world.store.max_physical_offset:
            record = world.store.read_record(at)
            if record is None:
                at = world.store.log.next_start(at)
                continue
            body = decode_record(record).body
            self.bodies[at + record.index(body)] = len(body)
            at += len(record)
        if self.killed:
            world.store.tick_consume_queues()
            world._forget_process()
            world.files = world.files.after_process_crash()
        else:
            world.close()


@dataclass
class Damage:
    """One copy of a store, and what was done to it."""

    original: Original
    files: SimFiles
    chance: random.Random
    said: str = ""
    body_of: int | None = None
    """The physical offset, when a bit of a body was flipped."""

    def file(self, *prefixes: str) -> str:
        """Any file below one of the paths; the locks are no content."""
        paths = [path for path in self.files.names if path.startswith(prefixes)]
        return self.chance.choice([path for path in paths if not path.endswith(("/lock", "/abort"))])

    def flip_in_body(self) -> None:
        at, length = self.chance.choice(list(self.original.bodies.items()))
        self.body_of = at
        self._flip(f"{LOG}{at - at % 16384:020d}", at % 16384 + self.chance.randrange(length))

    def flip(self) -> None:
        path = self.file("/store/")
        self._flip(path, self.chance.randrange(max(self.files.names[path].size, 1)))

    def _flip(self, path: str, at: int) -> None:
        byte = content(self.files, path)[at : at + 1] or b"\0"
        overwrite(self.files, path, at, bytes((byte[0] ^ 1 << self.chance.randrange(8),)))
        self.said += f"bit flipped in {path} at {at}"

    def zeros(self) -> None:
        path = self.file("/store/")
        length = self.chance.choice((SECTOR, PAGE))
        at = self.chance.randrange(self.files.names[path].size // length + 1) * length
        rest = self.files.names[path].size - at
        overwrite(self.files, path, at, bytes(min(length, max(rest, 0))))
        self.said = f"{length} zeros in {path} at {at}"

    def cut(self) -> None:
        path = self.file("/store/")
        length = self.chance.choice((0, self.chance.randrange(self.files.names[path].size + 1)))
        fd = self.files.open(path)
        self.files.truncate(fd, length)
        self.files.close(fd)
        self.said = f"{path} cut to {length}"

    def remove(self, *prefixes: str) -> None:
        """Remove one file, or all below a path."""
        path = self.file(*prefixes)
        if self.chance.random() < 0.5:
            path = self.chance.choice(prefixes)
        for name in [name for name in self.files.names if name.startswith(path)]:
            del self.files.names[name]
        self.files.folders = {name for name in self.files.folders if not (name + "/").startswith(path)}
        self.said = f"{path} removed"


def derived(files: SimFiles, *prefixes: str) -> list[tuple[str, bytes]]:
    """Consume queues and index, the latter without names, which are times."""
    found = []
    for path in sorted(files.names):
        if path.startswith(prefixes):
            found.append((path if path.startswith(QUEUES) else "index", content(files, path)))
    return found


def judge(damage: Damage, outcomes: Counter[str]) -> None:
    """Open the damaged copy and read all of it."""
    world = World()
    world.files = damage.files
    world.acked = list(damage.original.world.acked)
    world.number = 10_000
    refused = ""
    try:
        world.open()
    except StoreError as error:
        refused = str(error)
    if refused:
        assert "/store/" in refused, f"it names no file: {refused}"
        outcomes["refused"] += 1
        return
    outcomes["opened"] += 1
    wrong = read_all(world, outcomes)
    if damage.body_of is not None:
        hit = next(put for put in world.acked if put.end > damage.body_of)
        assert hit in wrong, "a flipped body was not found"
        outcomes["flips in bodies found"] += 1
    refused = ""
    try:
        world.stage("A", 0, 20)
        world.commit()
    except StoreError as error:
        refused = str(error)
    assert not refused or "/store/" in refused, f"it names no file: {refused}"
    world.close()


def read_all(world: World, outcomes: Counter[str]) -> list[object]:
    """Read every queue; returns the messages that were not served as they were put."""
    store = world.store
    missing = {(put.topic, put.queue_id, put.queue_offset): put for put in world.acked}
    for topic in store.topics():
        for queue_id in store.queue_ids(topic):
            refused = ""
            try:
                read_queue(world, topic, queue_id, missing, outcomes)
            except StoreError as error:  # a queue is first looked at when it is used
                refused = str(error)
            assert not refused or "/store/" in refused, f"it names no file: {refused}"
            outcomes["queues refused"] += bool(refused)
    return list(missing.values())


def read_queue(
    world: World, topic: str, queue_id: int, missing: dict[tuple[str, int, int], Put], outcomes: Counter[str]
) -> None:
    """Read a queue, and take out of `missing` what is as it was put."""
    store = world.store
    offset, end = store.min_offset(topic, queue_id), store.max_offset(topic, queue_id)
    while offset < end:
        found = store.get_messages(topic, queue_id, offset, 1)
        for record in found.records:
            try:
                message = decode_record(record, check_crc=True)
            except MalformedMessage:
                outcomes["bodies known by their checksum"] += 1
                continue
            put = missing.get((topic, queue_id, offset))
            if put is not None and put.body == message.body:
                del missing[topic, queue_id, offset]
        offset = max(found.next_begin_offset, offset + 1)


KINDS = ("flip_in_body", "flip_in_body", "flip", "zeros", "cut")


def test_a_damaged_store_opens_or_names_the_file(say: Say) -> None:
    originals = [Original(killed=False), Original(killed=True)]
    outcomes: Counter[str] = Counter()
    count = STORES * 3 // 4
    for number in range(count):
        chance = random.Random(f"{SEED} damage {number}")
        original = chance.choice(originals)
        damage = Damage(original, copy_of(original.world.files), chance)
        getattr(damage, chance.choice(KINDS))()
        with stated(number=number, killed=original.killed, damage=damage.said):
            judge(damage, outcomes)
        DirectoryLock._held.clear()
    assert outcomes["opened"]
    assert outcomes["refused"]
    say(f"{count} damaged stores: {', '.join(f'{what} {times}' for what, times in sorted(outcomes.items()))}")


def test_what_is_derived_and_missing_is_built_again_equal(say: Say) -> None:
    """Files and folders of queues and index, and the checkpoint, that a person removed after an orderly end."""
    original = Original(killed=False)
    count = STORES // 4
    prefixes = (QUEUES, f"{QUEUES}A/", f"{QUEUES}B/1/", INDEX, CHECKPOINT)
    for number in range(count):
        chance = random.Random(f"{SEED} removed {number}")
        damage = Damage(original, copy_of(original.world.files), chance)
        damage.remove(chance.choice(prefixes))
        with stated(number=number, damage=damage.said):
            world = World()
            world.files = damage.files
            world.acked = list(original.world.acked)
            world.open()
            world.check(world.acked)
            world.close()
            before = derived(original.world.files, QUEUES, INDEX)
            assert derived(world.files, QUEUES, INDEX) == before, "what was built is not what was there"
    say(f"{count} stores with missing derived files: all built again, equal")


def test_after_a_kill_queues_that_are_all_missing_are_built_again() -> None:
    original = Original(killed=True)
    damage = Damage(original, copy_of(original.world.files), random.Random(SEED))
    for name in [name for name in damage.files.names if name.startswith(QUEUES)]:
        del damage.files.names[name]
    damage.files.folders = {name for name in damage.files.folders if not (name + "/").startswith(QUEUES)}
    world = World()
    world.files = damage.files
    world.acked = list(original.world.acked)
    world.open()
    world.check(world.acked)
    world.close()


def test_damage_in_the_log_is_told_when_all_of_it_has_to_be_read_again() -> None:
    """It is not cut there: good messages follow."""
    original = Original(killed=False)
    files = copy_of(original.world.files)
    for name in [name for name in files.names if name.startswith(QUEUES)]:
        del files.names[name]
    files.folders = {name for name in files.folders if not (name + "/").startswith(QUEUES)}
    overwrite(files, f"{LOG}{16384:020d}", 0, b"\x7f")
    world = World()
    world.files = files
    with pytest.raises(StoreDamaged, match="good records follow") as refused:
        world.open()
    assert (refused.value.file, refused.value.position) == (f"{LOG}{16384:020d}", 0)


@pytest.mark.parametrize("what", ["flip", "zeros", "cut", "remove"])
def test_a_damaged_config_file_is_replaced_by_its_backup_or_named(what: str) -> None:
    """Each kind of damage to either copy; both gone is a new broker."""
    original = Original(killed=False)
    for number in range(size(10, 60)):
        chance = random.Random(f"{SEED} config {what} {number}")
        damage = Damage(original, copy_of(original.world.files), chance)
        damage.file = lambda *_, chance=chance: chance.choice((CONFIG, CONFIG + ".bak"))  # type: ignore[method-assign]
        getattr(damage, what)(*((CONFIG,) if what == "remove" else ()))
        with stated(number=number, damage=damage.said):
            file = StateFile(CONFIG, files=damage.files)
            version, named = None, CONFIG
            try:
                version = load_state(file, lambda tree: tree.get("version"))
            except StoreDamaged as refused:
                named = refused.file or ""
            assert named == CONFIG
            if what != "flip":  # a digit may have become another one: nothing says so
                assert version in (1, 2, None)
