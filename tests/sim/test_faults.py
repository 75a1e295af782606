"""One fixed life of a store in which the system refuses one operation, whichever: reading, writing, listing, syncing.

What must hold: whoever called is told by an error of ours that names the trouble, never by a bare `OSError` in the
middle of something; and after the trouble is gone and the broker is started anew, all that was acknowledged is there.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from rmqd.store.errors import StoreError
from rmqwire.message import encode_host

from .simfiles import SimFiles
from .world import World

STEP = 6
PARTS = [0, *(pytest.param(part, marks=pytest.mark.slow) for part in range(1, STEP))]
ALWAYS = (0, 1 << 60)


class FaultyFiles(SimFiles):
    """Counts every call and refuses one of them."""

    fail_at: int | None = None
    calls = 0
    refused: str | None = None

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in _PORT:
            return lambda *given, **named: self._guarded(name, found, given, named)
        return found

    def _guarded(self, name: str, call: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self.calls += 1
        if self.calls == self.fail_at:
            path = given[0] if isinstance(given[0], str) else self._fds[given[0]][0]
            self.refused = f"{name} {path}"
            raise OSError(errno.EIO, "Input/output error", path)
        return call(*given, **named)


_CHANGING = ("pwrite", "truncate", "data_sync", "sync_directory", "rename", "unlink", "make_directories")
_PORT = {"open", "lock", "pread", "pread_cached", "size", "entries", "modified_at_ms", "remove_directory", *_CHANGING}


class Life(World):
    """What a broker does with its store, and what it does with errors."""

    def __init__(self) -> None:
        super().__init__()
        self.files = FaultyFiles()
        self.errors: list[str] = []
        self.unsure: list[Any] = []

    def attempt(self, call: Callable[..., Any], *given: Any) -> Any:
        try:
            return call(*given)
        except StoreError as error:
            self.errors.append(str(error))
            return None

    def commit(self) -> None:
        staged = list(self.staged)
        try:
            super().commit()
        except StoreError:
            self.unsure += staged  # refused: it may be found later or not, but it was not acknowledged
            self.staged = []
            raise

    def job(self, plan: Callable[..., Any], done: Callable[..., Any], failed: Callable[..., Any]) -> None:
        job = self.attempt(plan)
        if job is None:
            return
        try:
            result = job()
        except StoreError as error:
            self.errors.append(str(error))
            failed(error)
        else:
            done(result)

    def live(self) -> None:
        self.attempt(self.open)
        if self.errors:
            return
        for number in range(48):
            self.attempt(self.stage, "AB"[number % 2], number % 3, 1 + number * 137 % 1900)
            if number % 3 == 2:
                self.attempt(self.commit)
            if number % 5 == 0:
                self.attempt(self.store.tick_consume_queues, 2)
            if number % 11 == 10:
                self.job(self.store.flush_plan, self.store.flushed, self.store.flush_failed)
                self.look(number)
            if number % 17 == 16:
                self.checkpoint()
        self.attempt(self.commit)
        self.checkpoint()
        self.attempt(self.store.close)

    def checkpoint(self, *, at_once: bool = True) -> None:
        store = self.store
        self.job(lambda: store.checkpoint_plan(at_once=at_once), store.checkpointed, store.checkpoint_failed)

    def look(self, number: int) -> None:
        for cold in (False, True):
            self.attempt(lambda cold=cold: self.store.get_messages("A", 0, 0, 32, allow_cold=cold))
        self.attempt(self.store.query, "A", f"K{number}", 4, *ALWAYS)
        self.attempt(self.store.search_offset_by_time, "B", 1, 1_700_000_000_000 + self.files.now_ms // 2)
        self.job(self.store.clean_plan, self.store.cleaned, self.store.clean_failed)

    def begin_anew(self) -> None:
        """The trouble is over; the next process finds what was written."""
        self.files.fail_at = None
        self._forget_process()
        self.staged = self.unsure
        self.open()
        self.check(self.acked)


def operations() -> int:
    life = Life()
    life.live()
    assert not life.errors
    return life.files.calls


@pytest.mark.parametrize("first", PARTS)
def test_a_refusal_at_any_operation_is_told_and_loses_nothing(first: int) -> None:
    silent = 0
    total = operations()
    for point in range(1 + first, total + 1, STEP):
        life = Life()
        life.files.fail_at = point
        life.live()
        assert life.files.refused is not None
        if life.errors:
            assert "Input/output error" in life.errors[0] or "/store" in life.errors[0], life.errors
        silent += not life.errors
        try:
            life.begin_anew()
        except AssertionError as wrong:
            raise AssertionError(f"call {point}, {life.files.refused}: {life.errors}") from wrong
        life.store.close()
    assert silent < total / STEP, "most refusals are told"


def test_deleting_a_topic_that_the_system_refuses_is_told_and_can_be_repeated() -> None:
    """Each refusal by itself: what is left of the topic is gone in the end, and nothing else is."""
    for point in range(1, 100):
        life = Life()
        life.open()
        for _ in range(30):
            life.stage("A", 0, 10)
            life.stage("B", 0, 10)
        life.commit()
        life.store.tick_consume_queues()
        life.files.calls = 0
        life.files.fail_at = point
        life.attempt(life.store.destroy_topic, "A")
        assert all("/consumequeue/A" in error for error in life.errors)
        done = life.files.refused is None
        life.files.fail_at = None
        life.store.destroy_topic("A")
        assert life.store.topics() == ["B"]
        assert life.store.max_offset("B", 0) == 30
        life.store.close()
        if done:
            break
    else:
        pytest.fail("a refusal was left out")


def test_records_of_ipv6_hosts_survive_too() -> None:
    """Their records are longer by 12 bytes for each host, which the search by time has to know."""
    world = World()
    world.open()
    store = world.store
    for number in range(3):
        store.stage(
            "A",
            0,
            b"%d" % number,
            b"",
            tags_code=0,
            keys=(),
            flag=0,
            sys_flag=0,
            born_timestamp=1,
            born_host=encode_host("2001:db8::1", 9),
        )
        store.commit()
    first = store.store_timestamp("A", 0, 0)
    assert store.search_offset_by_time("A", 0, first) == 0
    assert store.search_offset_by_time("A", 0, first + 1) == 1
    store.close()
