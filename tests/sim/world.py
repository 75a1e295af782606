"""A store on the simulated file system beside the list of what was put into it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from msgspec.structs import replace

from rmqd.store.dispatch import unit_tags_code
from rmqd.store.errors import MessageIllegal, StoreError
from rmqd.store.messagestore import MessageStore, StoreOptions
from rmqwire.message import decode_record, encode_host, encode_properties, iter_records, message_keys
from rmqwire.properties import decode_properties

from .simfiles import SimFiles, SimulatedCrash

HOST = encode_host("127.0.0.1", 10911)
OPTIONS = StoreOptions(
    root=Path("/store"),
    store_host=HOST,
    mapped_file_size_commit_log=16384,
    mapped_file_size_consume_queue=400,
    max_hash_slot_num=50,
    max_index_num=40,
    max_message_size=12_000,
    checkpoint_log_bytes=8192,
)


@dataclass(frozen=True)
class Put:
    """A message as it was acknowledged, or staged."""

    topic: str
    queue_id: int
    queue_offset: int
    end: int
    body: bytes
    key: str


class World:
    """One store through many lives."""

    def __init__(self, options: StoreOptions = OPTIONS) -> None:
        self.options = options
        self.files = SimFiles()
        self.acked: list[Put] = []
        self.staged: list[Put] = []
        self.number = 0
        self.store: MessageStore
        self.notes: list[str] = []

    def clock(self) -> int:
        self.files.now_ms += 1
        return 1_700_000_000_000 + self.files.now_ms

    def open(self) -> None:
        self.store = MessageStore(self.options, wall_clock_ms=self.clock, files=self.files, memory_bytes=1 << 30)
        self.notes = self.store.open().lines()

    def stage(self, topic: str, queue_id: int, length: int, more: str = "") -> None:
        """`more` makes the properties longer."""
        self.number += 1
        key = f"K{self.number}"
        body = (b"%d:" % self.number).ljust(length, b"y")
        properties = {"KEYS": key, "TAGS": "T"} | ({"MORE": more} if more else {})
        put = self.store.stage(
            topic,
            queue_id,
            body,
            encode_properties(properties),
            tags_code=unit_tags_code(topic, properties, 0, None),
            keys=message_keys(properties),
            flag=0,
            sys_flag=0,
            born_timestamp=1,
            born_host=HOST,
        )
        self.staged.append(Put(topic, queue_id, put.queue_offset, put.physical_offset + put.size, body, key))

    def commit(self) -> None:
        self.store.commit()
        self.acked += self.staged
        self.staged = []

    def flush(self) -> None:
        job = self.store.flush_plan()
        if job is not None:
            self.store.flushed(job())

    def checkpoint(self, *, at_once: bool = True) -> None:
        job = self.store.checkpoint_plan(at_once=at_once)
        if job is not None:
            self.store.checkpointed(job())

    def close(self) -> None:
        self.store.close()
        self.staged = []

    # -- crashes -------------------------------------------------------------------------------------------------

    def _forget_process(self) -> None:
        self.store._lock._held.discard(self.store._lock._key)

    def kill(self) -> None:
        """The process ends; what was written is there."""
        self._forget_process()
        self.files = self.files.after_process_crash()
        self.open()
        self.check(self.acked)

    def lose_power(self, chance: random.Random) -> None:
        """The machine stops; of what was not synced some pages are there."""
        durable = self.store.flushed_offset
        self._forget_process()
        pages: dict[tuple[str, int], bool] = {}
        kept = chance.choice((0.0, 0.3, 0.7, 1.0))
        journal = chance.randint(0, len(self.files.journal))
        self.files = self.files.after_power_loss(
            lambda path, page: pages.setdefault((path, page), chance.random() < kept), journal
        )
        self.open()
        self.check([put for put in self.acked if put.end <= durable])

    # -- what must hold ------------------------------------------------------------------------------------------

    def present(self) -> Iterator[Put]:
        store = self.store
        for topic in store.topics():
            for queue_id in store.queue_ids(topic):
                offset = store.min_offset(topic, queue_id)
                end = store.max_offset(topic, queue_id)
                while offset < end:
                    found = store.get_messages(topic, queue_id, offset, 32)
                    assert found.count, (found, topic, queue_id, offset, end)
                    for record in found.records:
                        message = decode_record(record, check_crc=True)
                        assert (message.topic, message.queue_id, message.queue_offset) == (topic, queue_id, offset)
                        key = decode_properties(message.properties)["KEYS"]
                        end_at = message.physical_offset + message.size
                        yield Put(topic, queue_id, offset, end_at, message.body, key)
                        offset += 1
                    assert found.next_begin_offset == offset

    def check(self, required: list[Put], *, dense: bool = True) -> None:
        """What was promised is there, what is there was put, and what is derived agrees with the log."""
        known = {*self.acked, *self.staged}
        present = list(self.present())
        missing = set(required) - set(present)
        assert not missing, (len(missing), min(put.end for put in missing), self.notes)
        assert set(present) <= known, (set(present) - known, self.notes)
        if dense:
            self._check_log(present)
        for put in present:
            found = self.store.query(put.topic, put.key, 10, 0, 1 << 60)
            bodies = [decode_record(record).body for record in found.records]
            assert put.body in bodies, (put, bodies, self.notes)
        self.acked, self.staged = sorted(present, key=lambda put: put.end), []

    def _check_log(self, present: list[Put]) -> None:
        """Every record of the log is in its queue, and nothing follows the end."""
        store = self.store
        ends = {put.end for put in present}
        at = store.min_physical_offset
        seen = 0
        while at < store.max_physical_offset:
            record = store.read_record(at)
            if record is None:  # the blank at a file's end
                at = store.log.next_start(at)
                continue
            at += len(record)
            seen += 1
            assert at in ends, (at, self.notes)
        assert seen == len(present)


def expect_refused(world: World) -> None:
    """A message that breaks a limit changes nothing."""
    before = world.store.max_physical_offset
    try:
        world.stage("A", 0, world.options.max_message_size + 1)
    except MessageIllegal:
        assert world.store.max_physical_offset == before
    else:
        raise AssertionError("a message over the limit was taken")


def scenario(world: World) -> None:
    """A fixed life: rolls of all kinds of files, flushes, checkpoints and an orderly end in between."""
    world.open()
    for number in range(150):
        world.stage("AB"[number % 2], number % 3, 1 + number * 37 % 900)
        if number % 4 == 3:
            world.commit()
        if number % 7 == 0:
            world.store.tick_consume_queues(2)
        if number % 23 == 0:
            world.flush()
        if number % 31 == 0:
            world.checkpoint()
        if number == 90:
            world.commit()
            world.close()
            world.open()
    world.commit()
    world.close()


def small_options(**changes: object) -> StoreOptions:
    """The options of the simulations with some changed."""
    return replace(OPTIONS, **changes)  # type: ignore[arg-type]


__all__ = [
    "Put",
    "SimulatedCrash",
    "StoreError",
    "World",
    "expect_refused",
    "iter_records",
    "scenario",
    "small_options",
]
