"""The timer's files together: slots filled and emptied, rolls, crashes of the process and of the machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim.simfiles import SimFiles

from rmqd.store.errors import StoreDamaged, WriteFailed
from rmqd.store.timerlog import UNIT_BYTES, Unit
from rmqd.store.timerstore import Entry, QueueState, TimerStore

NOW_MS = 1_795_000_000_000
SIZE = 100
TURN = 500
"""Slots of a turn: enough for the 60 that are kept free."""


@dataclass
class World:
    """A timer, and the queue that it takes messages from: their due times, one after the other."""

    files: SimFiles = field(default_factory=SimFiles)
    now_ms: int = NOW_MS
    queue: list[int] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    """Indexes of the queue, as they came."""
    log_file_size: int = 300
    window: int = 100
    precision_ms: int = 1000

    def open(self) -> TimerStore:
        timer = TimerStore(
            "/store",
            precision_ms=self.precision_ms,
            log_file_size=self.log_file_size,
            roll_window_slots=self.window,
            files=self.files,
            slots_per_turn=TURN,
        )
        timer.open(self.now_ms, QueueState(0, len(self.queue), len(self.queue) * SIZE, lambda at, _: at // SIZE))
        return timer

    def send(self, *delays_s: float) -> None:
        self.queue += [self.now_ms + int(delay_s * 1000) for delay_s in delays_s]

    def work(self, timer: TimerStore) -> None:
        """Take and deliver all there is."""
        timer.move_write_time(self.now_ms)
        while timer.queue_offset < len(self.queue):
            entries: list[Entry] = []
            for index in range(timer.queue_offset, len(self.queue)):
                if self.queue[index] < timer.write_ms:
                    self.deliver(index)
                else:
                    entries.append(Entry(self.queue[index], index * SIZE, SIZE, 0))
            timer.enqueue(entries)
            timer.queue_offset = len(self.queue)
        while (slot := timer.next_slot()) is not None:
            reader = timer.new_reader()
            content = timer.content(slot, reader)
            for unit in timer.units(reversed(content.positions), reader):
                assert unit is not None
                index = unit.physical_offset // SIZE
                if unit.rolls:
                    self.queue.append(self.queue[index])
                else:
                    self.deliver(index)
            reader.close()
            timer.passed(slot)

    def deliver(self, index: int) -> None:
        assert self.now_ms >= self.queue[index], "early"
        self.delivered.append(index)

    def kill(self) -> None:
        """Only the process dies."""
        files = self.files.after_process_crash()
        files._created = self.files._created
        self.files = files

    def units_of(self, timer: TimerStore) -> list[Unit]:
        """What is in the first file of the log."""
        reader = timer.new_reader()
        found = timer.units(range(0, timer.log.end, UNIT_BYTES), reader)
        reader.close()
        return [unit for unit in found if unit is not None]

    def flush(self, timer: TimerStore) -> None:
        plan = timer.flush_plan(self.now_ms)
        assert plan is not None
        timer.flushed(plan())

    def advance(self, timer: TimerStore, seconds: float, step_s: float = 1.0) -> None:
        end_ms = self.now_ms + int(seconds * 1000)
        while self.now_ms < end_ms:
            self.now_ms += int(step_s * 1000)
            self.work(timer)


def test_messages_come_in_the_order_of_their_slots_and_of_the_queue() -> None:
    """Within a slot the oldest comes first; nothing comes early, nor later than a slot."""
    world = World()
    timer = world.open()
    world.send(5, 3, 5, 3.4, 0.2, 5)
    world.work(timer)
    assert (timer.pending, world.delivered) == (6, [])
    world.advance(timer, 1)
    assert world.delivered == [4]
    world.advance(timer, 3)
    assert world.delivered == [4, 1, 3]
    world.advance(timer, 2)
    assert world.delivered == [4, 1, 3, 0, 2, 5]
    assert timer.pending == 0


def test_a_message_beyond_the_window_is_put_off_until_it_is_near() -> None:
    """By the whole window, or half of it when little more than the window is left."""
    world = World(window=100)
    timer = world.open()
    world.send(99, 120, 350)
    world.work(timer)
    due = [unit.due_ms - NOW_MS for unit in world.units_of(timer)]
    assert due == [99_000, 50_000, 100_000]
    world.advance(timer, 360)
    assert [world.queue[index] - NOW_MS for index in world.delivered] == [99_000, 120_000, 350_000]


def test_a_message_that_takes_another_back_is_told_apart() -> None:
    """It is no message to deliver, and the slot counts one less."""
    world = World()
    timer = world.open()
    timer.enqueue([Entry(NOW_MS + 2000, 0, SIZE, 0), Entry(NOW_MS + 2000, SIZE, SIZE, 0, deletes=True)])
    assert timer.wheel.count(NOW_MS + 2000) == 0
    timer.move_write_time(NOW_MS + 3000)
    slot = timer.next_slot()
    assert slot is not None
    reader = timer.new_reader()
    content = timer.content(slot, reader)
    reader.close()
    assert list(content.positions) == [0]
    assert [unit.physical_offset for unit in content.deletes] == [SIZE]


def test_what_cannot_be_written_is_not_taken() -> None:
    """On a full disk the wheel points nowhere; when there is room again, everything is taken."""
    world = World()
    timer = world.open()

    def full(operation: str, path: str) -> None:
        if operation == "write" and "timerlog" in path:
            raise OSError(28, "No space left on device")

    world.files.failing = full
    with pytest.raises(WriteFailed):
        timer.enqueue([Entry(NOW_MS + 2000, 0, SIZE, 0)])
    assert (timer.pending, timer.wheel.slot(NOW_MS + 2000)) == (0, None)
    world.files.failing = None
    world.send(2)
    world.work(timer)
    world.advance(timer, 3)
    assert world.delivered == [0]


def test_a_new_timer_begins_now_and_an_old_one_where_it_was() -> None:
    """After days of rest what was due meanwhile is delivered at once."""
    world = World()
    timer = world.open()
    assert timer.read_ms == NOW_MS
    world.send(30, 90)
    world.work(timer)
    world.flush(timer)
    timer.close()
    world.now_ms += 200_000
    timer = world.open()
    world.work(timer)
    assert world.delivered == [0, 1]


def test_another_precision_is_refused_while_there_is_a_wheel() -> None:
    """Slots would mean other times."""
    world = World()
    timer = world.open()
    world.flush(timer)
    world.precision_ms = 500
    with pytest.raises(StoreDamaged, match="timerPrecisionMs"):
        world.open()


def test_nothing_is_flushed_while_nothing_happens() -> None:
    """A broker without timer messages does not write each second."""
    world = World()
    timer = world.open()
    world.flush(timer)
    world.advance(timer, 30)
    assert not timer.changed
    world.send(1)
    world.work(timer)
    assert timer.changed


def test_a_process_that_dies_delivers_nothing_twice_but_what_it_delivered_since_the_checkpoint() -> None:
    """Messages taken after the last flush are in the log, and are not taken again."""
    world = World()
    timer = world.open()
    world.send(2, 10)
    world.work(timer)
    world.flush(timer)
    world.send(5, 11, 12)
    world.work(timer)
    world.advance(timer, 3)
    assert world.delivered == [0]
    world.kill()
    timer = world.open()
    assert timer.queue_offset == 5
    world.advance(timer, 20)
    assert sorted(world.delivered) == [0, 0, 1, 2, 3, 4]


STEPS = st.one_of(
    st.tuples(st.just("send"), st.lists(st.floats(0, 150), min_size=1, max_size=8)),
    st.tuples(st.just("wait"), st.integers(1, 20)),
    st.tuples(st.just("flush"), st.none()),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("kill"), st.none()),
    st.tuples(st.just("power"), st.integers(0, 2**32)),
)


@given(st.lists(STEPS, max_size=14))
def test_whatever_happens_each_message_comes_and_none_comes_early(steps: list[tuple[str, Any]]) -> None:
    """Stops, kills and power cuts at any moment; the commit log and its queue survive, as `_flush` makes sure."""
    world = World(window=60)
    timer = world.open()
    for what, value in steps:
        if what == "send":
            world.send(*value)
            world.work(timer)
        elif what == "wait":
            world.advance(timer, value)
        elif what == "flush":
            world.flush(timer)
        else:
            if what == "restart":
                world.flush(timer)
                timer.close()
            elif what == "kill":
                world.kill()
            else:
                bits = value
                world.files = world.files.after_power_loss(
                    lambda path, page, bits=bits: hash((path, page, bits)) % 2 > 0
                )
            before = list(world.delivered)
            timer = world.open()
            world.work(timer)
            if what == "restart":
                assert len(set(world.delivered)) - len(set(before)) == len(world.delivered) - len(before)
    world.advance(timer, 400)
    missing = {world.queue[index] for index in range(len(world.queue))} - {world.queue[i] for i in world.delivered}
    assert not missing
    assert timer.queue_offset == len(world.queue)
