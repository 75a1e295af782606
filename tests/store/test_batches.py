"""Batches by the compiled part give byte for byte what the Python gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmqd.store.batchwriter import StagedBatch
from rmqd.store.consumequeue import ConsumeQueue
from rmqd.store.errors import MessageIllegal
from rmqd.store.keyed import KeyedMessage, hashes_of, key_count
from rmqd.store.messagestore import MessageStore
from rmqwire import speed
from rmqwire.errors import MalformedMessage
from rmqwire.hashing import IndexKeyHasher
from rmqwire.message import BatchEntry, encode_batch

from .stores import BORN, opened

BORN_V6 = b"\x20\x01" + bytes(14) + b"\0\0\x1f\x90"
NOW_MS = 1_700_000_000_000

compiled = pytest.mark.skipif(speed.pack_batches is None, reason="the compiled part is not built")

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x01\x02"), min_size=1, max_size=40)
NAMES = st.sampled_from([b"UNIQ_KEY", b"KEYS", b"TAGS", b"WAIT", b"own", b""])
VALUES = st.one_of(
    st.binary(max_size=12), st.sampled_from([b"", b"a", b" a  b ", b"a\x01b", b"\xc3", b"\xf0\x9f\x98\x80"])
)
PROPERTIES = st.one_of(
    TEXTS.map(lambda key: f"UNIQ_KEY\x01{key}\x02WAIT\x01true\x02".encode()),
    TEXTS.map(lambda key: f"UNIQ_KEY\x01{key}\x02WAIT\x01true".encode()),
    TEXTS.map(lambda key: f"UNIQ_KEY\x01{key}\x02".encode()),
    TEXTS.map(lambda key: f"UNIQ_KEY\x01{key}\x02KEYS\x01{key} b\x02TAGS\x01A\x02".encode()),
    TEXTS.map(lambda key: f"TAGS\x01{key}\x02UNIQ_KEY\x01{key}\x02".encode()),
    st.lists(st.tuples(NAMES, VALUES), max_size=6).map(
        lambda pairs: b"\x02".join(b"\x01".join(pair) for pair in pairs)
    ),
    st.binary(max_size=40),
)
ENTRIES = st.builds(BatchEntry, st.integers(-(2**31), 2**31 - 1), st.binary(max_size=300), PROPERTIES)
FLIPS = st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=2)
BATCHES = st.lists(
    st.tuples(st.lists(ENTRIES, min_size=1, max_size=9), FLIPS, st.integers(0, 3)), min_size=1, max_size=5
)
Batches = list[tuple[list[BatchEntry], list[tuple[int, int]], int]]


def keys_of(messages: list[KeyedMessage]) -> list[tuple[int, int, int]]:
    """Time, hash and offset of each key, however they wait."""
    return [(message[2], key_hash, offset) for message in messages for key_hash, offset in hashes_of(message)]


def staged(store: MessageStore) -> object:
    """What is staged, which is dropped then."""
    result = (
        b"".join(store._parts),
        [bytes(part) for _, piece in store._pieces for part in piece],
        [(queue.queue_id, bytes(queue.staged), queue.staged_next) for queue in store._touched],
        keys_of(store._keyed),
        [message[1] for message in store._keyed[-1:]],
        store._position,
    )
    store._drop_group()
    return result


def outcome(store: MessageStore, body: bytes, born_host: bytes) -> object:
    """What staging a batch leaves in the store, or its error."""
    try:
        batch: StagedBatch = store.stage_client_batch(
            "T", 0, body, sys_flag=0, born_timestamp=5, born_host=born_host, reconsume_times=2
        )
    except (MessageIllegal, MalformedMessage) as error:
        assert store._group_timestamp == 0, "the next message takes its own time"
        return str(error)
    return batch, staged(store)


def bodies_of(batches: Batches) -> list[tuple[int, bytes]]:
    """Queue and body of each, damaged as told."""
    bodies = []
    for entries, flips, queue_id in batches:
        body = bytearray(encode_batch(entries))
        for at, value in flips:
            body[at % len(body)] = value
        bodies.append((queue_id, bytes(body)))
    return bodies


@compiled
@settings(max_examples=150, deadline=None)
@given(batches=BATCHES, v6=st.booleans())
def test_one_by_one(tmp_path_factory: pytest.TempPathFactory, batches: Batches, v6: bool) -> None:
    with pytest.MonkeyPatch.context() as patch, opened(tmp_path_factory.mktemp("store")) as store:
        fast = speed.pack_batches
        store._wall_clock_ms = lambda: NOW_MS
        for _, body in bodies_of(batches):
            patch.setattr(speed, "pack_batches", fast)
            found = outcome(store, body, BORN_V6 if v6 else BORN)
            patch.setattr(speed, "pack_batches", None)
            assert found == outcome(store, body, BORN_V6 if v6 else BORN)


@compiled
@settings(max_examples=150, deadline=None)
@given(batches=BATCHES, flags=st.lists(st.integers(0, 0x7FF), min_size=5, max_size=5), v6=st.booleans())
def test_runs(tmp_path_factory: pytest.TempPathFactory, batches: Batches, flags: list[int], v6: bool) -> None:
    """A run of batches is what they are one by one; it ends before one that is malformed or breaks a limit."""
    born_host = BORN_V6 if v6 else BORN
    with pytest.MonkeyPatch.context() as patch, opened(tmp_path_factory.mktemp("store")) as store:
        store._wall_clock_ms = lambda: NOW_MS
        for queue_id in range(4):  # a run does not open queues, but for its first
            store._queues_of("T", 4)[queue_id] = store._queue_for_put("T", queue_id)
        run: list[speed.Batch] = [
            (number, "T", queue_id, flags[number] & ~0xC, number, body)
            for number, (queue_id, body) in enumerate(bodies_of(batches))
        ]
        told = store.stage_batches("T", 4, run, 0, born_host, 1 << 20)
        count = 0 if told is None else told.count
        found = staged(store)
        patch.setattr(speed, "pack_batches", None)
        places = b""
        for _, _, queue_id, sys_flag, born, body in run[:count]:
            batch = store.stage_client_batch(
                "T", queue_id, body, sys_flag=sys_flag, born_timestamp=born, born_host=born_host
            )
            numbers = (len(batch.physical_offsets), batch.queue_offset, *batch.physical_offsets)
            places += b"".join(number.to_bytes(8, "big") for number in numbers)
        assert (b"" if told is None else told.places) == places
        assert found == staged(store)
        if count < len(run):  # then the next one is refused, or does not fit the file
            _, _, queue_id, sys_flag, born, body = run[count]
            file_end = store._file_end
            with pytest.MonkeyPatch.context() as limit:
                limit.setattr(store, "_position", store.log.wrote_offset if told is None else told.end)
                try:
                    store.stage_client_batch(
                        "T", queue_id, body, sys_flag=sys_flag, born_timestamp=born, born_host=born_host
                    )
                except (MessageIllegal, MalformedMessage):
                    pass
                else:
                    assert store._file_end > file_end
                store._drop_group()


@compiled
def test_where_a_run_ends(tmp_path: Path) -> None:
    body = encode_batch([BatchEntry(0, b"x", b"")])
    with opened(tmp_path) as store:
        store.stage_client_batch("T", 0, body, sys_flag=0, born_timestamp=1, born_host=BORN)

        def taken(queue_ids: list[int], queue_count: int = 4, batch_max: int = 1000) -> int:
            run: list[speed.Batch] = [(0, "T", queue_id, 0, 1, body) for queue_id in queue_ids]
            staged_run = store.stage_batches("T", queue_count, run, 0, BORN, batch_max)
            return 0 if staged_run is None else staged_run.count

        assert taken([0, 0, 1]) == 2, "of a queue that is not open yet"
        assert taken([1, 0, 1]) == 3, "the first is opened"
        assert taken([0, 1, 2], queue_count=1) == 1
        assert taken([1], queue_count=1) == 0
        assert taken([0], batch_max=len(body)) == 1
        assert taken([0], batch_max=len(body) - 1) == 0
        store.refuse("no")
        assert taken([0]) == 0


@compiled
def test_what_is_staged_in_part_is_stored_by_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = speed.pack_batches
    assert fast is not None

    def breaks(*args: Any) -> Any:
        fast(*args)
        raise MemoryError

    with opened(tmp_path) as store:
        body = encode_batch([BatchEntry(0, b"x", b"UNIQ_KEY\x01k\x02")])
        told: list[Exception | None] = []
        store.when_committed(told.append)
        monkeypatch.setattr(speed, "pack_batches", breaks)
        with pytest.raises(MemoryError):
            store.stage_batches("T", 1, [(1, "T", 0, 0, 1, body)], 0, BORN, 1000)
        assert isinstance(told[0], MemoryError)
        assert store.not_writable is not None
        assert (store._keyed, store._touched, store._parts) == ([], [], [])


@pytest.mark.parametrize("fast", [pytest.param(True, marks=compiled), False])
def test_a_batch_that_reaches_over_the_end_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    if not fast:
        monkeypatch.setattr(speed, "pack_batches", None)
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


@pytest.mark.parametrize("fast", [pytest.param(True, marks=compiled), False])
def test_keys_of_a_batch_go_on_in_the_next_index_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    """Files of 63 keys; batches of 20, and one that fills more than one file."""
    if not fast:
        monkeypatch.setattr(speed, "pack_batches", None)
        monkeypatch.setattr(speed, "add_keys", None)
    with opened(tmp_path, max_message_size=100_000, mapped_file_size_commit_log=1 << 20) as store:
        number = 0
        for size in (20, 20, 20, 20, 150, 20, 1):
            entries = [BatchEntry(0, b"y", b"UNIQ_KEY\x01k%d\x02" % (number + at)) for at in range(size)]
            store.stage_client_batch("T", 0, encode_batch(entries), sys_flag=0, born_timestamp=1, born_host=BORN)
            store.commit()
            number += size
        store.tick_consume_queues()
        assert store.index is not None
        assert not store.index.pending
        assert [file.header.index_count for file in store.index.files] == [64, 64, 64, 63]
        assert [len(store.query("T", f"k{at}", 32, 0, 1 << 60).records) for at in range(number)] == [1] * number


@compiled
def test_keys_of_many_batches_are_added_without_being_asked_for(tmp_path: Path) -> None:
    with opened(tmp_path, max_index_num=10_000, mapped_file_size_commit_log=1 << 20) as store:
        body = encode_batch([BatchEntry(0, b"", b"UNIQ_KEY\x01k%d\x02" % number) for number in range(25)])
        assert store.index is not None
        for _ in range(100):
            store.stage_client_batch("T", 0, body, sys_flag=0, born_timestamp=1, born_host=BORN)
            store.commit()
        assert sum(key_count(message[3]) for message in store.index.pending) == 2500 - 82 * 25
        assert store.index.files[-1].header.index_count == 82 * 25 + 1


HASHED = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**60)), max_size=20)


@compiled
@given(st.lists(st.one_of(HASHED, st.lists(TEXTS, max_size=3)), max_size=8), st.integers(1, 60))
def test_keys_that_are_hashed(given_keys: list[list[Any]], limit: int) -> None:
    """Entries, slots and pages are those of the same keys one by one."""
    assert speed.add_keys is not None
    hasher, messages, single = IndexKeyHasher("T"), [], []
    for place, keys in enumerate(given_keys):
        if keys and isinstance(keys[0], tuple):
            packed = b"".join(key_hash.to_bytes(4, "big") + offset.to_bytes(8, "big") for key_hash, offset in keys)
            messages.append((hasher, place, 5000, packed))
        else:
            messages.append((hasher, place, 5000, keys))
    tables = []
    for _ in range(2):
        tables.append((memoryview(bytearray(4 * 17)).cast("i"), bytearray(5)))
    entries, done, number, used = speed.add_keys(messages, *tables[0], 2, 1, limit, 1000, 0)
    assert done == len(messages) or number + key_count(messages[done][3]) > limit
    for message in messages[:done]:
        single += [(hasher, offset, 5000, key_hash) for key_hash, offset in hashes_of(message)]
    one_by_one = b""
    next_number, all_used = 1, 0
    for _, offset, time, key_hash in single:
        packed = key_hash.to_bytes(4, "big") + offset.to_bytes(8, "big")
        entry, _, next_number, all_used = speed.add_keys(
            [(hasher, offset, time, packed)], *tables[1], 2, next_number, 1 << 30, 1000, all_used
        )
        one_by_one += entry
    assert (entries, number, used) == (one_by_one, next_number, all_used)
    assert tables[0] == tables[1]


@compiled
def test_wrong_arguments_are_refused() -> None:
    assert speed.pack_batches is not None
    assert speed.read_batches is not None
    assert speed.batch_answers is not None
    queue = ConsumeQueue("T", 0, "", IndexKeyHasher("T"))
    batch = (1, "T", 0, 0, 1, encode_batch([BatchEntry(0, b"x", b"")]))
    rest = ([], [], bytes(88), b"\1T", 1, 0, 1000, 1000, 1000, 1000, 1000)
    for wrong in ((), ([batch], 0, [queue]), ((batch,), 0, [queue], *rest), ([()], 0, [queue], *rest),
                  ([batch[:5]], 0, [queue], *rest), ([(*batch[:5], "x")], 0, [queue], *rest),
                  ([batch], 0, [object()], *rest), ([batch], "0", [queue], *rest)):  # fmt: skip
        with pytest.raises((TypeError, AttributeError)):
            speed.pack_batches(*wrong)
    for first, template, why in ((-1, bytes(88), "negative"), (0, bytes(87), "template"), (0, bytes(129), "template")):
        with pytest.raises(ValueError, match=why):
            speed.pack_batches([batch], first, [queue], [], [], template, *rest[3:])  # type: ignore[arg-type]
    assert speed.pack_batches([batch], 5, [queue], *rest) == (b"", b"", 0, 0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        speed.read_batches((), 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative"):
        speed.read_batches([], -1)
    pieces, places = (b"",) * 6, (1).to_bytes(8, "big") + bytes(16)
    for places_cut in (b"", places[:15], places[:-1], (1 << 62).to_bytes(8, "big") + places[8:]):
        with pytest.raises(ValueError, match="places"):
            speed.batch_answers(pieces, b"", 0, [batch], 0, 1, places_cut)
    with pytest.raises(ValueError, match="batches"):
        speed.batch_answers(pieces, b"", 0, [batch], 0, 2, places)
    with pytest.raises(TypeError):
        speed.batch_answers(pieces[:5], b"", 0, [batch], 0, 1, places)
    with pytest.raises(TypeError):
        speed.batch_answers(pieces, b"", 0, [()], 0, 1, places)  # type: ignore[list-item]
