"""Messages that are held back: written, but seen only once they are confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmqd.store import heldback
from rmqd.store.messagestore import MessageStore

from .stores import make_store
from .stores import put as stage


def opened(path: Path) -> MessageStore:
    store = make_store(path)
    store.open()
    return store


def put(store: MessageStore, *queue_ids: int) -> int:
    for queue_id in queue_ids:
        stage(store, b"body", queue_id=queue_id, properties={"TAGS": "A"})
    store.commit()
    return store.max_physical_offset


def test_a_message_is_seen_when_it_is_confirmed(tmp_path: Path) -> None:
    """A consumer gets it then, and whoever waits for it is told then."""
    store = opened(tmp_path)
    told: list[tuple[str, int, int, list[int]]] = []
    store.tell_arrivals(lambda *arrival: told.append((*arrival[:3], list(arrival[3]))))
    put(store, 0)
    assert told == [("T", 0, 1, [65])]
    store.hold_back()
    first = put(store, 0, 0, 1)
    second = put(store, 0)
    assert len(told) == 1
    assert [store.max_offset("T", queue_id) for queue_id in (0, 1)] == [1, 0]
    assert store.get_messages("T", 0, 1, 32).count == 0
    assert store.get_messages("T", 0, 0, 32).count == 1
    store.confirm(first - 1)
    assert len(told) == 1, "a group is shown as one"
    store.confirm(first)
    assert told[1:] == [("T", 0, 3, [65, 65]), ("T", 1, 1, [65])]
    assert store.get_messages("T", 0, 0, 32).count == 3
    store.confirm(second)
    assert store.get_messages("T", 0, 0, 32).count == 4
    store.close()


def test_what_is_held_back_keeps_its_place_in_the_queue(tmp_path: Path) -> None:
    """The next message, a group that is dropped, and a restart all find the true end of the queue."""
    store = opened(tmp_path)
    store.hold_back()
    put(store, 0, 0)
    assert stage(store, b"next").queue_offset == 2
    store._drop_group()
    put(store, 0)
    assert store.max_offset("T", 0) == 0
    store.close()
    store = opened(tmp_path)
    assert store.max_offset("T", 0) == 3
    store.close()


def test_a_cut_forgets_what_is_held_back_behind_it(tmp_path: Path) -> None:
    """What is left of a group is shown when the rest of the log is confirmed."""
    store = opened(tmp_path)
    store.hold_back()
    put(store, 0)
    size = store.max_physical_offset
    put(store, 0, 1, 1)
    end = store.cut_log(3 * size)
    assert end == 3 * size
    store.confirm(end - 1)
    assert [store.max_offset("T", queue_id) for queue_id in (0, 1)] == [1, 0]
    store.confirm(end)
    assert [store.max_offset("T", queue_id) for queue_id in (0, 1)] == [2, 1]
    put(store, 1)
    store.confirm(store.max_physical_offset)
    assert store.get_messages("T", 1, 0, 32).count == 2
    store.close()


def test_very_many_groups_are_held_back_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are shown in larger steps, each message once it is confirmed."""
    monkeypatch.setattr(heldback, "GROUPS_MAX", 8)
    store = opened(tmp_path)
    store.hold_back()
    ends = [put(store, number % 2) for number in range(100)]
    assert store.held_back is not None
    assert len(store.held_back) <= 8
    for number in (30, 75, 99):
        store.confirm(ends[number])
        seen = [store.max_offset("T", queue_id) for queue_id in (0, 1)]
        assert sum(seen) <= number + 1
        assert all(not store.get_messages("T", queue_id, end, 1).count for queue_id, end in enumerate(seen))
    assert seen == [50, 50]
    assert not len(store.held_back)
    store.close()


@pytest.mark.parametrize(("bound", "most"), [("GROUPS_MAX", 32), ("ENTRIES_MAX", 256)])
def test_groups_of_very_many_queues_are_held_back_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    """Merged groups come to hold all queues; and what is confirmed is seen while the lag stays as large as it is."""
    monkeypatch.setattr(heldback, bound, most)
    store = opened(tmp_path)
    store.hold_back()
    held = store.held_back
    assert held is not None
    ends: list[int] = []
    steps = 0
    for number in range(400):
        ends.append(put(store, *range(8)))
        entries = sum(len(group) for _, group in held._groups)
        assert entries == held._entries <= 256
        if number >= 200:
            before = store.max_offset("T", 0)
            store.confirm(ends[number - 200])
            steps += store.max_offset("T", 0) > before
            assert store.max_offset("T", 0) <= number - 199
    assert steps > 8
    assert store.max_offset("T", 7) > 150
    store.cut_log(ends[390])
    store.confirm(ends[390])
    assert [store.max_offset("T", queue_id) for queue_id in range(8)] == [391] * 8
    assert held._entries == len(held) == 0
    store.close()
