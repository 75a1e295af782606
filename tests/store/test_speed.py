"""The compiled loops of the store give byte for byte what the Python gives."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmqd.store.batchwriter import StagedBatch
from rmqd.store.consumequeue import UNIT, ConsumeQueue, append_units
from rmqd.store.errors import MessageIllegal
from rmqd.store.messagestore import MessageStore
from rmqwire import speed
from rmqwire.errors import MalformedMessage
from rmqwire.hashing import IndexKeyHasher
from rmqwire.message import BatchEntry, encode_batch

from .stores import BORN, opened

BORN_V6 = b"\x20\x01" + bytes(14) + b"\0\0\x1f\x90"

pytestmark = pytest.mark.skipif(speed.pack_batch is None, reason="the compiled part is not built")

KEYS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x01\x02"), min_size=1, max_size=40)
PROPERTIES = st.one_of(
    KEYS.map(lambda key: f"UNIQ_KEY\x01{key}\x02WAIT\x01true\x02".encode()),
    KEYS.map(lambda key: f"UNIQ_KEY\x01{key}\x02WAIT\x01true".encode()),
    KEYS.map(lambda key: f"UNIQ_KEY\x01{key}\x02".encode()),
    KEYS.map(lambda key: f"UNIQ_KEY\x01{key}\x02KEYS\x01{key} b\x02TAGS\x01A\x02".encode()),
    KEYS.map(lambda key: f"TAGS\x01{key}\x02UNIQ_KEY\x01{key}\x02".encode()),
    st.binary(max_size=40),
)
ENTRIES = st.builds(BatchEntry, st.integers(-(2**31), 2**31 - 1), st.binary(max_size=300), PROPERTIES)
FLIPS = st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=2)
BATCHES = st.lists(st.tuples(st.lists(ENTRIES, min_size=1, max_size=9), FLIPS), min_size=1, max_size=4)
Batches = list[tuple[list[BatchEntry], list[tuple[int, int]]]]


def outcome(store: MessageStore, body: bytes, born_host: bytes) -> object:
    """What staging a batch leaves in the store, or its error."""
    try:
        batch: StagedBatch = store.stage_client_batch(
            "T", 0, body, sys_flag=0, born_timestamp=5, born_host=born_host, reconsume_times=2
        )
    except (MessageIllegal, MalformedMessage) as error:
        assert store._group_timestamp == 0, "the next message takes its own time"
        return str(error)
    result = (
        batch,
        b"".join(store._parts),
        [bytes(part) for _, piece in store._pieces for part in piece],
        [bytes(queue.staged) for queue in store._touched],
        [(offset, at, list(keys)) for _, offset, at, keys in store._keyed],
    )
    store._drop_group()
    return result


@settings(max_examples=150, deadline=None)
@given(batches=BATCHES, v6=st.booleans())
def test_batches(tmp_path_factory: pytest.TempPathFactory, batches: Batches, v6: bool) -> None:
    with pytest.MonkeyPatch.context() as patch, opened(tmp_path_factory.mktemp("store")) as store:
        compiled = speed.pack_batch
        store._wall_clock_ms = lambda: 1_700_000_000_000
        for entries, flips in batches:
            body = bytearray(encode_batch(entries))
            for at, value in flips:
                body[at % len(body)] = value
            patch.setattr(speed, "pack_batch", compiled)
            fast = outcome(store, bytes(body), BORN_V6 if v6 else BORN)
            patch.setattr(speed, "pack_batch", None)
            assert fast == outcome(store, bytes(body), BORN_V6 if v6 else BORN)


def test_a_batch_that_reaches_over_the_end_of_a_file(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        body = encode_batch([BatchEntry(n, b"y" * 900, b"UNIQ_KEY\x01k%d\x02" % n) for n in range(3)])
        ends = [
            store.stage_client_batch("T", 0, body, sys_flag=0, born_timestamp=1, born_host=BORN).end for _ in range(5)
        ]
        store.commit()
        assert ends[1] < 8192 < ends[2], "the third one begins a file"
        found = store.get_messages("T", 0, 0, 32)
        assert found.count == 15
        assert [len(store.query("T", f"k{n}", 32, 0, 1 << 60).records) for n in range(3)] == [5, 5, 5]


KEYED = st.tuples(st.integers(0, 2**60), st.integers(0, 2**42), st.lists(KEYS, max_size=4))


@given(st.lists(KEYED, max_size=12), st.integers(1, 40))
def test_index_entries(messages: list[tuple[int, int, list[str]]], limit: int) -> None:
    assert speed.add_keys is not None
    hashers = [IndexKeyHasher("T"), IndexKeyHasher("\u00fc\U0001f600")]
    keyed = [(hashers[place % 2], offset, time, keys) for place, (offset, time, keys) in enumerate(messages)]
    slots = memoryview(bytearray(4 * 17)).cast("i")
    changed: set[int] = set()
    entries, done, number, used = speed.add_keys(list(keyed), slots, changed, 2, 1, limit, 1000, 0)

    expected, table, pages, next_number = b"", [0] * 17, set(), 1
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
            pages.add(slot >> 2)
            next_number += 1
    assert (entries, number, used) == (expected, next_number, sum(map(bool, table)))
    assert (list(slots), changed) == (table, pages)
    assert done == len(keyed) or number + len(keyed[done][3]) > limit


def test_wrong_arguments_are_refused() -> None:
    assert speed.add_keys is not None
    assert speed.pack_batch is not None
    assert speed.read_ext is not None
    slots = memoryview(bytearray(16)).cast("i")
    with pytest.raises(TypeError):
        speed.read_ext("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        speed.pack_batch(b"", b"")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="template"):
        speed.pack_batch(b"", b"short", b"", 0, 0, 1, 1, 1, 1)
    hasher = IndexKeyHasher("T")
    for broken in ([1], [(1, 2, 3)], [(hasher, "x", 1, ())], [(hasher, 1, 1, [5])], [(1, 1, 1, ())]):
        with pytest.raises((TypeError, AttributeError)):
            speed.add_keys(broken, slots, set(), 1, 1, 9, 0, 0)
    with pytest.raises(ValueError, match="slots"):
        speed.add_keys([], memoryview(bytearray()), set(), 1, 1, 9, 0, 0)


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
