"""Waiting awake: when it is done, and when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmqd.protocol.shortwait import (
    DISTRUST,
    DISTRUST_MAX,
    FORGIVEN_AFTER,
    SHORT_S,
    TRUSTED,
    ShortWait,
    processors,
)

EVENTS = [(5, 1)]
ASK_S = 2e-6
FIRST = 1
"""Of a connection: whose it is was not known before."""


class Machine:
    """A clock, and events that come some time after the last were given."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due = 0.0
        self.taken_s = 0.0  # by others, whenever they are let
        self.events = EVENTS
        self.slept: list[float] = []
        self.asked = 0

    def clock(self) -> float:
        return self.now

    def give_way(self) -> None:
        self.now += self.taken_s

    def poll(self, timeout_s: float, most: int) -> list[tuple[int, int]]:
        assert most == 7
        self.now += ASK_S
        if timeout_s == 0:
            self.asked += 1
            return self.events if self.now >= self.due else []
        self.slept.append(timeout_s)
        if timeout_s < 0 or self.now + timeout_s >= self.due:
            self.now = max(self.now, self.due)
            return self.events
        self.now += timeout_s
        return []

    def after(self, wait: ShortWait, gap_s: float, timeout_s: float | None = None) -> list[tuple[int, int]]:
        """Wait for events that come after `gap_s`."""
        self.due = self.now + gap_s
        return wait.events(self.poll, timeout_s, 7)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def wait(machine: Machine) -> ShortWait:
    return ShortWait(given=2, clock=machine.clock, give_way=machine.give_way)


def trusting(machine: Machine, wait: ShortWait) -> None:
    """Let events come soon, until they are waited for awake."""
    for _ in range(FIRST + TRUSTED):
        assert machine.after(wait, 50e-6) == EVENTS
    machine.slept.clear()


def test_what_comes_soon_again_and_again_is_waited_for_awake(machine: Machine, wait: ShortWait) -> None:
    for _ in range(FIRST + TRUSTED):
        assert machine.after(wait, 50e-6) == EVENTS
    assert machine.slept == [-1] * (FIRST + TRUSTED)
    for _ in range(100):
        assert machine.after(wait, 50e-6, 3.0) == EVENTS
    assert machine.slept == [-1] * (FIRST + TRUSTED)


def test_what_comes_late_is_slept_for(machine: Machine, wait: ShortWait) -> None:
    for _ in range(100):
        assert machine.after(wait, 0.005) == EVENTS
    assert machine.slept == [-1] * 100
    assert not machine.asked


@pytest.mark.parametrize("turns", [[[(5, 1)], [(6, 1)]], [[(5, 1), (6, 1)]], [[(5, 1)], [(5, 1)], [(6, 1)]]])
def test_several_clients_are_slept_for(machine: Machine, wait: ShortWait, turns: list[list[tuple[int, int]]]) -> None:
    for turn in range(300):
        machine.events = turns[turn % len(turns)]
        assert machine.after(wait, 50e-6) == machine.events
    assert machine.slept == [-1] * 300


def test_a_client_that_asks_for_much_at_once_is_slept_for(machine: Machine, wait: ShortWait) -> None:
    for turn in range(300):
        assert machine.after(wait, 50e-6) == EVENTS
        if turn % 3 == 0:
            wait.not_alone()
    assert machine.slept == [-1] * 300


def test_another_client_ends_it(machine: Machine, wait: ShortWait) -> None:
    trusting(machine, wait)
    machine.events = [(6, 1)]
    assert machine.after(wait, 50e-6) == [(6, 1)]
    asked = machine.asked
    assert asked
    assert machine.after(wait, 50e-6) == [(6, 1)]
    assert machine.asked == asked


def test_it_sleeps_after_a_moment_and_soon_at_once(machine: Machine, wait: ShortWait) -> None:
    trusting(machine, wait)
    begun = machine.now
    machine.after(wait, 1.0)
    assert machine.asked * ASK_S == pytest.approx(SHORT_S, rel=0.05)
    assert machine.now == begun + 1.0
    for _ in range(10):
        machine.after(wait, 1.0)
    asked = machine.asked
    machine.after(wait, 1.0)
    assert machine.asked == asked


def test_some_that_come_soon_among_late_ones_are_not_enough(machine: Machine, wait: ShortWait) -> None:
    for _ in range(100):
        machine.after(wait, 50e-6)
        machine.after(wait, 0.005)
    assert not machine.asked


def test_a_timer_is_not_late(machine: Machine, wait: ShortWait) -> None:
    trusting(machine, wait)
    begun = machine.now
    assert machine.after(wait, 1.0, 40e-6) == []
    assert machine.now - begun < 45e-6
    begun = machine.now
    assert machine.after(wait, 1.0, 400e-6) == []
    assert machine.now - begun == pytest.approx(400e-6, abs=5e-6)


def test_nothing_is_waited_for_when_work_is_there(machine: Machine, wait: ShortWait) -> None:
    assert machine.after(wait, 1.0, 0) == []
    assert machine.asked == 1


def test_the_processor_is_left_to_others_for_longer_each_time(machine: Machine, wait: ShortWait) -> None:
    distrust = DISTRUST
    for _ in range(12):
        trusting(machine, wait)
        machine.taken_s = 1e-3
        assert machine.after(wait, 50e-6) == EVENTS
        asked, machine.taken_s = machine.asked, 0.0
        for _ in range(distrust - 1):  # the wait that was disturbed was long, which takes nothing more away
            machine.after(wait, 50e-6)
        assert machine.asked == asked
        machine.after(wait, 50e-6)
        distrust = min(distrust * 2, DISTRUST_MAX)


def test_what_goes_well_for_long_is_forgiven(machine: Machine, wait: ShortWait) -> None:
    for _ in range(2):
        trusting(machine, wait)
        machine.taken_s = 1e-3
        machine.after(wait, 50e-6)
        machine.taken_s = 0.0
        for _ in range(4 * DISTRUST):
            machine.after(wait, 50e-6)
    for _ in range(2 * FORGIVEN_AFTER):
        machine.after(wait, 50e-6)
    assert wait._distrust == DISTRUST


@pytest.mark.parametrize("given", [0.5, 1, 1.9])
def test_a_small_machine_is_not_kept_awake(machine: Machine, given: float) -> None:
    wait = ShortWait(given=given, clock=machine.clock, give_way=machine.give_way)
    for _ in range(20):
        assert machine.after(wait, 50e-6) == EVENTS
    assert machine.slept == [-1] * 20
    assert machine.after(wait, 50e-6, 0.01) == EVENTS
    assert machine.slept[-1] == 0.01


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "50000 100000\n"}, 0.5),
        ({"cpu.max": ""}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "25000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.25),
    ],
)
def test_processors_are_counted_as_they_are_allotted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], most: float | None
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert processors(tmp_path) == (3 if most is None else most)
