"""Random lives of a store: puts, reads, flushes, rolls, deletion, full disks, kills and power losses in any order."""

from __future__ import annotations

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rmqd.store.dirlock import DirectoryLock
from rmqd.store.errors import StoreFull
from rmqd.store.reading import GetStatus

from .world import World, expect_refused

TOPICS = st.sampled_from("AB")
QUEUES = st.integers(0, 2)


class StoreMachine(RuleBasedStateMachine):
    """The model is the list of what was acknowledged (`World.acked`)."""

    @initialize()
    def begin(self) -> None:
        DirectoryLock._held.clear()
        self.world = World()
        self.world.open()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.commit()
            self.world.close()
            self.world.open()
            self.world.check(self.world.acked)
            self.world.close()

    @rule(topic=TOPICS, queue=QUEUES, length=st.integers(0, 3000), count=st.integers(1, 5))
    def stage(self, topic: str, queue: int, length: int, count: int) -> None:
        for _ in range(count):
            self.world.stage(topic, queue, length)

    @rule()
    def commit(self) -> None:
        self.world.commit()

    @rule()
    def a_message_over_the_limit(self) -> None:
        expect_refused(self.world)

    @rule()
    def flush(self) -> None:
        self.world.flush()

    @rule(limit=st.integers(1, 3))
    def tick(self, limit: int) -> None:
        self.world.store.tick_consume_queues(limit)

    @rule()
    def checkpoint(self) -> None:
        self.world.checkpoint()

    @rule()
    def checkpoint_while_messages_come(self) -> None:
        """The sync runs in a thread: messages are put between its plan and its end."""
        world = self.world
        job = world.store.checkpoint_plan(at_once=True)
        world.stage("A", 0, 700)
        world.commit()
        world.store.tick_consume_queues()
        if job is not None:
            world.store.checkpointed(job())

    @rule(seed=st.integers(0, 2**32), after_job=st.booleans())
    def a_power_loss_while_a_checkpoint_is_made(self, seed: int, after_job: bool) -> None:
        world = self.world
        job = world.store.checkpoint_plan(at_once=True)
        world.stage("B", 1, 900)
        world.commit()
        if job is not None and after_job:
            job()  # it is on disk, and nobody was told
        world.lose_power(random.Random(seed))

    @rule()
    def close_and_open(self) -> None:
        self.world.commit()
        self.world.close()
        self.world.open()
        assert "closed in order" in self.world.notes[0]
        self.world.check(self.world.acked)

    @rule()
    def kill(self) -> None:
        self.world.kill()

    @rule(seed=st.integers(0, 2**32))
    def lose_power(self, seed: int) -> None:
        self.world.lose_power(random.Random(seed))

    @precondition(lambda self: not self.world.staged)
    @rule(pages=st.integers(0, 1), count=st.integers(1, 4))
    def a_full_disk(self, pages: int, count: int) -> None:
        """A group that does not fit is not stored, and what comes when there is space again is."""
        world = self.world
        world.files.capacity_pages = world.files.used_pages() + pages
        for _ in range(count):
            world.stage("A", 1, 2500)
        try:
            world.commit()
        except StoreFull:
            world.staged = []
        finally:
            world.files.capacity_pages = None
        world.store.tick_consume_queues()
        assert world.store.not_writable is None

    @invariant()
    def every_queue_ends_where_its_messages_do(self) -> None:
        if not hasattr(self, "world"):
            return
        ends: dict[tuple[str, int], int] = {}
        for put in self.world.acked:
            ends[put.topic, put.queue_id] = max(ends.get((put.topic, put.queue_id), 0), put.queue_offset + 1)
        for (topic, queue), end in ends.items():
            store = self.world.store
            assert store.max_offset(topic, queue) == end
            assert store.get_messages(topic, queue, end, 1).status is GetStatus.OFFSET_OVERFLOW_ONE

    @invariant()
    def every_queue_with_units_that_are_in_no_file_waits_for_its_turn(self) -> None:
        if hasattr(self, "world"):
            queues = self.world.store.queues
            assert all(queue in queues.dirty for queue in queues.loaded() if queue.memory[1])


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestStore = StoreMachine.TestCase
