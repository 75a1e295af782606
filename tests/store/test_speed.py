"""The compiled loops of the store give byte for byte what the Python gives."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqd.store.consumequeue import UNIT, ConsumeQueue, append_units
from rmqwire import speed
from rmqwire.hashing import IndexKeyHasher

BORN_V6 = b"\x20\x01" + bytes(14) + b"\0\0\x1f\x90"

pytestmark = pytest.mark.skipif(speed.add_keys is None, reason="the compiled part is not built")

KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x01\x02"), min_size=1, max_size=40)
KEYED = st.tuples(st.integers(0, 2**60), st.integers(0, 2**42), st.lists(KEYS, max_size=4))


@given(st.lists(KEYED, max_size=12), st.integers(1, 40))
def test_index_entries(messages: list[tuple[int, int, list[str]]], limit: int) -> None:
    assert speed.add_keys is not None
    hashers = [IndexKeyHasher("T"), IndexKeyHasher("\u00fc\U0001f600")]
    keyed = [(hashers[place % 2], offset, time, keys) for place, (offset, time, keys) in enumerate(messages)]
    slots = memoryview(bytearray(4 * 17)).cast("i")
    changed = bytearray(5)
    entries, done, number, used = speed.add_keys(list(keyed), slots, changed, 2, 1, limit, 1000, 0)

    expected, table, pages, next_number = b"", [0] * 17, bytearray(5), 1
    for hasher, offset, time, keys in keyed[:done]:
        for key in keys:
            key_hash = hasher.index_hash(key)
            slot = key_hash % 17
            seconds = min(max((time - 1000) // 1000, 0), 2**31 - 1)
            expected += (
                key_hash.to_bytes(4, "big") + offset.to_bytes(8, "big") + seconds.to_bytes(4, "big")
                + table[slot].to_bytes(4, "big")
            )  # fmt: skip
            table[slot] = next_number
            pages[slot >> 2] = 1
            next_number += 1
    assert (entries, number, used) == (expected, next_number, sum(map(bool, table)))
    assert (list(slots), changed) == (table, pages)
    assert done == len(keyed) or number + len(keyed[done][3]) > limit


def test_wrong_arguments_are_refused() -> None:
    assert speed.add_keys is not None
    assert speed.read_ext is not None
    slots = memoryview(bytearray(16)).cast("i")
    with pytest.raises(TypeError):
        speed.read_ext("text")  # type: ignore[arg-type]
    hasher = IndexKeyHasher("T")
    for broken in ([1], [(1, 2, 3)], [(hasher, "x", 1, ())], [(hasher, 1, 1, [5])], [(1, 1, 1, ())]):
        with pytest.raises((TypeError, AttributeError)):
            speed.add_keys(broken, slots, bytearray(2), 1, 1, 9, 0, 0)
    with pytest.raises(ValueError, match="slots"):
        speed.add_keys([], memoryview(bytearray()), bytearray(2), 1, 1, 9, 0, 0)
    with pytest.raises(ValueError, match="pages"):
        speed.add_keys([], slots, bytearray(1), 1, 1, 9, 0, 0)
    with pytest.raises(TypeError):
        speed.add_keys([], slots, set(), 1, 1, 9, 0, 0)  # type: ignore[arg-type]


GROUPS = st.lists(st.lists(st.tuples(st.integers(0, 5), st.integers(-(2**63), 2**63 - 1)), max_size=30), max_size=6)


@given(GROUPS, st.one_of(st.none(), st.lists(st.sets(st.sampled_from("ABCDEF")), max_size=3)), st.integers(0, 200))
def test_units_become_visible(
    groups: list[list[tuple[int, int]]], awaited: list[set[str]] | None, long_bytes: int
) -> None:
    assert speed.append_units is not None
    seen = []
    for append in (speed.append_units, append_units):
        queues = [ConsumeQueue("ABCDEF"[number], number, "", IndexKeyHasher("T")) for number in range(6)]
        mappings = None if awaited is None else tuple(dict.fromkeys(topics) for topics in awaited)
        dirty: dict[ConsumeQueue, None] = {}
        told = []
        for group in groups:
            touched: list[ConsumeQueue] = []
            for number, code in group:
                if not queues[number].staged:
                    touched.append(queues[number])
                queues[number].staged += UNIT.pack(number, 1, code)
                queues[number].staged_next += 1
            arrived, long = append(touched, dirty, mappings, long_bytes)
            told.append(([(queue.topic, units) for queue, units in arrived], [queue.topic for queue in long]))
        state = [(queue.max_offset, bytes(queue.memory[1]), bytes(queue.staged)) for queue in queues]
        seen.append((told, state, [queue.topic for queue in dirty]))
    assert seen[0] == seen[1]


def test_units_of_what_is_no_queue() -> None:
    assert speed.append_units is not None
    queue = ConsumeQueue("T", 0, "", IndexKeyHasher("T"))
    queue.staged += bytes(20)
    for touched, dirty, awaited, size in (
        ([queue], [], None, 1), ((queue,), {}, None, 1), ([queue], {}, [{}], 1), ([queue], {}, ({}, "T"), 1),
        ([object()], {}, None, 1), ([queue], {}, None, "1"),
    ):  # fmt: skip
        with pytest.raises((TypeError, AttributeError)):
            speed.append_units(touched, dirty, awaited, size)  # type: ignore[arg-type]
    for memory in ((0, b""), (0,), [0, bytearray()], (0, queue.staged)):
        queue.memory = memory  # type: ignore[assignment]
        with pytest.raises(TypeError):
            speed.append_units([queue], {}, None, 1)
    queue.memory = (0, bytearray(1))
    with memoryview(queue.memory[1]), pytest.raises(BufferError):
        speed.append_units([queue], {}, None, 1)


def test_units_of_many_groups_and_sizes(tmp_path: Path) -> None:
    """Arrays that grow, are emptied, cut from the front and swapped keep their content."""
    assert speed.append_units is not None
    queue, expected, random = ConsumeQueue("T", 0, "", IndexKeyHasher("T")), b"", Random(7)
    for number in range(3000):
        units = bytes([number & 0xFF]) * (20 * random.choice((1, 1, 1, 2, 5, 40, 900)))
        queue.staged += units
        expected += units
        speed.append_units([queue], {}, (), 1 << 30)
        assert queue.staged == b""
        tail = queue.memory[1]
        assert len(tail) == len(expected)
        if number % 7 == 0:
            cut = random.randrange(len(expected))
            del tail[:cut]
            expected = expected[cut:]
        if number % 97 == 0:
            assert tail == expected
            queue.memory, expected = (0, bytearray()), b""
    assert bytes(queue.memory[1]) == expected


def test_only_objects_with_these_slots_are_queues() -> None:
    class Without:
        def __init__(self) -> None:
            self.hasher, self.staged, self.staged_next, self.memory, self.max_offset = (None,) * 5

    class Hollow:
        __slots__ = ("hasher", "max_offset", "memory", "staged", "staged_next", "topic")

    class Derived(ConsumeQueue):
        __slots__ = ()

    assert speed.append_units is not None
    for kind in (Without, Hollow, lambda: Derived("T", 0, "", IndexKeyHasher("T"))):
        with pytest.raises((TypeError, AttributeError)):
            speed.append_units([kind()], {}, None, 1)
    queue = ConsumeQueue("T", 0, "", IndexKeyHasher("T"))
    assert speed.append_units([queue], {}, None, 1) == append_units([queue], {}, None, 1) == ([(queue, b"")], [])
    queue.staged += bytes(20)
    assert speed.append_units([queue], {}, None, 1) == ([(queue, bytes(20))], [queue])
