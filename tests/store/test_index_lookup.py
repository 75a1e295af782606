"""Lookups in the index: long chains are left to threads, and what changes meanwhile does not lose anything."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from rmqd.store import indexlookup
from rmqd.store.errors import ColdRead
from rmqd.store.fdpool import ColdReader
from rmqd.store.files import RealFiles
from rmqd.store.keyindex import KeyIndex
from rmqd.store.messagestore import MessageStore
from rmqwire import speed
from rmqwire.hashing import IndexKeyHasher
from rmqwire.message import decode_record

from .stores import START_MS, Clock, opened, put

HASHER = IndexKeyHasher("T")


def index_of(store: MessageStore) -> KeyIndex:
    assert store.index is not None
    return store.index


def test_a_long_chain_is_walked_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All messages with one tag are one chain; the oldest of them lie at its end, in one file or over several."""
    clock = Clock(step=0)
    with opened(tmp_path, clock=clock) as store:
        for number in range(200):
            clock.now_ms = START_MS + number * 1000
            put(store, b"%d" % number, properties={"KEYS": "k"})
            store.commit()
        store.tick_consume_queues()
        assert len(index_of(store).files) == 4

        def bodies(second: int, *, allow_cold: bool) -> list[bytes]:
            at = START_MS + second * 1000
            result = store.query("T", "k", 32, at, at, allow_cold=allow_cold)
            return [decode_record(record).body for record in result.records]

        assert bodies(199, allow_cold=False) == [b"199"]
        assert bodies(195, allow_cold=False) == [b"195"]
        monkeypatch.setattr(indexlookup, "HOT_STEPS_MAX", 30)
        for second in (130, 70, 1):
            with pytest.raises(ColdRead):
                bodies(second, allow_cold=False)
            assert bodies(second, allow_cold=True) == [b"%d" % second]


def test_what_a_lookup_may_look_at_is_for_all_files_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexlookup, "HOT_STEPS_MAX", 100)
    with opened(tmp_path, max_hash_slot_num=1, clock=Clock(step=1000)) as store:
        for number in range(200):
            put(store, b"%d" % number, properties={"KEYS": f"k{number}"})
            store.commit()
        store.tick_consume_queues()
        with pytest.raises(ColdRead):
            store.query("T", "k0", 32, 0, 1 << 60, allow_cold=False)
        assert len(store.query("T", "k0", 32, 0, 1 << 60, allow_cold=True).records) == 1


def test_a_lookup_in_a_thread_while_keys_are_added_finds_those_that_were_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "add_keys", None)
    with opened(tmp_path) as store:
        first = put(store, b"1", properties={"KEYS": "k"})
        store.commit()
        store.tick_consume_queues()
        index = index_of(store)
        found: list[list[int]] = []

        def look() -> None:
            reader = ColdReader(RealFiles())
            found.append(index.select("T", "k", 8, 0, 1 << 60, reader))
            reader.close()

        thread = threading.Thread(target=look)

        class Slow:
            """Somebody looks while the keys of a group are added."""

            def index_hash(self, key: str) -> int:
                thread.start()
                thread.join(0.2)
                return HASHER.index_hash(key)

        slow: Any = Slow()
        now = START_MS + 10
        assert index.files[0].add_all([(HASHER, 1000, now, ["k"]), (slow, 2000, now, ["other"])]) == 2
        thread.join()
        assert found == [[1000, first.physical_offset]]


class Meanwhile:
    """A reader to which something happens with the first read."""

    def __init__(self, happens: Any) -> None:
        self._reader = ColdReader(RealFiles())
        self._happens = happens

    def read(self, path: str, offset: int, size: int) -> bytes:
        happens, self._happens = self._happens, None
        if happens is not None:
            happens()
        return self._reader.read(path, offset, size)


def test_a_file_that_expires_while_a_thread_looks_has_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(100):
            put(store, b"%d" % number, properties={"KEYS": f"k{number}"})
            store.commit()
        store.tick_consume_queues()
        job = store.checkpoint_plan(at_once=True)
        assert job is not None
        store.checkpointed(job())
        index = index_of(store)
        assert len(index.files) == 2

        def expire() -> None:
            for path in index.remove_expired(1 << 60):
                os.unlink(path)

        reader: Any = Meanwhile(expire)
        assert index.select("T", "k3", 8, 0, 1 << 60, reader) == []
        lost = index.files[0].path
        index.files[0]._table = None
        os.rename(lost, lost + ".away")
        with pytest.raises(FileNotFoundError):  # which is damage
            index.select("T", "k99", 8, 0, 1 << 60, ColdReader(RealFiles()))
        os.rename(lost + ".away", lost)


def test_entries_that_are_cut_while_a_thread_follows_them_end_the_chain(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, b"1", properties={"KEYS": "k"})
        store.commit()
        store.tick_consume_queues()
        (file,) = index_of(store).files
        number, count = file.newest(HASHER.index_hash("k"), index_of(store).hot)
        assert (number, count) == (1, 2)
        file._memory = (1, bytearray())  # as a cut does
        assert file.entry(number, index_of(store).hot) == (0, 0, 0, 0)
