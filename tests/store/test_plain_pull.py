"""The short way of the usual pull gives what looking at each unit gives."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rmqd.store.errors import ColdRead
from rmqd.store.reading import GetResult, QueueReading

from .test_groupwriter import opened, put


@pytest.mark.parametrize("seed", range(6))
def test_both_ways_agree(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    with opened(tmp_path) as store:
        alone = seed % 2
        for _ in range(120):
            put(store, b"x" * chance.randint(0, 900), queue_id=0 if alone else chance.randint(0, 2))
            if chance.random() < 0.3:
                store.commit()
        store.commit()
        end = store.max_offset("T", 0)
        asked = [(chance.randint(0, end), chance.randint(1, 64), chance.randint(100, 9000)) for _ in range(80)]
        short = [answer(store.get_messages("T", 0, at, count, max_bytes=size)) for at, count, size in asked]
        taken = QueueReading._all_of
        monkeypatch.setattr(QueueReading, "_all_of", lambda *_: None)
        long = [answer(store.get_messages("T", 0, at, count, max_bytes=size)) for at, count, size in asked]
        assert short == long
        monkeypatch.setattr(QueueReading, "_all_of", taken)
        assert any(len(found[3]) > 5 for found in short)


def answer(found: GetResult) -> tuple[object, int, int, list[bytes], bool]:
    return found.status, found.next_begin_offset, found.max_offset, found.records, found.suggest_slave


def test_cold_pages_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as store:
        put(store, b"x")
        store.commit()

        def cold(*_: object) -> bytes:
            raise ColdRead("not in the page cache", file="log", position=0)

        monkeypatch.setattr(store.log, "read", cold)
        with pytest.raises(ColdRead):
            store.get_messages("T", 0, 0, 1)
