"""A broker with or without runs, and requests as producers write them: what tests of runs share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from protocol.fakes import NOW_MS, BrokerWorld
from twisted.internet.defer import Deferred

from protocol import fakes
from rmqd.protocol.broker import parts
from rmqd.protocol.broker.safe_runs import SafeRuns
from rmqd.protocol.dispatch import Dispatcher
from rmqd.store.errors import WriteFailed
from rmqwire.bodies import TopicConfig
from rmqwire.declare import Role
from rmqwire.frames import JSON, ROCKETMQ, FrameReader, encode_frame
from rmqwire.header_binary import encode_binary

USUAL = {"a": "PG", "b": "T", "c": "TBW102", "d": "4", "e": "1", "f": "0", "g": "1700000000000", "h": "0",
         "j": "0", "k": "false", "m": "false", "n": "broker-a"}  # fmt: skip
KEY = "UNIQ_KEY\x01AC11000100002A139C55%04d\x02"


def frame_of(request: dict[str, Any], opaque: int) -> bytes:
    """One request as bytes."""
    ext, body = request["ext"], request["body"]
    if request["binary"]:
        return encode_frame(
            ROCKETMQ, encode_binary(request["code"], "JAVA", 513, opaque, request["flag"], None, ext), body
        )
    members = {"code": request["code"], "extFields": ext, "flag": request["flag"], "language": "JAVA"}
    members |= {"opaque": opaque, "serializeTypeCurrentRPC": "JSON", "version": 513}
    text = json.dumps(members, separators=(",", ":"), ensure_ascii=False)
    style = request["style"]
    if style == "go":
        order = ["code", "language", "version", "opaque", "flag", "extFields"]
        text = json.dumps({name: members[name] for name in order} | {"remark": ""}, separators=(",", ":"))
    elif style == "spaced":
        text = json.dumps(members)
    elif style == "remark":
        text = text[:-1] + ',"remark":null}'
    elif style == "more":
        text = text[:-1] + ',"unknown":1}'
    elif style == "twice":
        text = text[:-1] + f',"opaque":{opaque + 500_000}}}'
    elif style == "cut":
        text = text.replace('"version":513', '"version":-513')
    return encode_frame(JSON, text.encode(), body)


FLIPS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3)
"""Where in a header a byte is damaged, and what it becomes."""


def damaged(requests: Sequence[dict[str, Any]], flips: Sequence[tuple[int, int]]) -> bytes:
    """A read of requests whose headers have wrong bytes."""
    frames = [bytearray(frame_of(request, opaque)) for opaque, request in enumerate(requests)]
    for frame in frames:
        for at, value in flips:
            size = int.from_bytes(frame[5:8], "big")
            frame[8 + at % size] = value
    return b"".join(frames)


def stop_clock(patch: pytest.MonkeyPatch) -> None:
    """Let all brokers store their messages at the same time."""
    for module in (parts, fakes):
        patch.setattr(module, "wall_clock_ms", lambda: NOW_MS)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_clock(monkeypatch)


class Side:
    """A broker with or without runs."""

    def __init__(self, folder: Path, *, runs: bool, **keys: str) -> None:
        keys = {"mappedFileSizeCommitLog": "20000", "maxMessageSize": "2500", **keys}
        self.world = BrokerWorld(folder, **keys)
        if not runs:
            self.world.dispatcher = Dispatcher(
                Role.BROKER, self.world.parts.handlers, barrier=self.world.parts.flow, gate=self.world.parts.flow
            )
        for name, kind in (("T", ""), ("U", ""), ("many", "MULTI_TAG")):
            config = TopicConfig(topic_name=name, read_queue_nums=8, write_queue_nums=4)
            if kind:
                config.topic_filter_type = kind
            self.world.parts.topics.update(config)
        self.peer = self.world.peer()

    def serve(self, reads: Sequence[bytes]) -> list[bytes]:
        """Take reads from the socket; give the answers in their order of opaque numbers, and what is in the store."""
        for read in reads:
            self.peer.connection.dataReceived(read)
        return self.answers()

    def answers(self) -> list[bytes]:
        """The answers since the last call, ordered."""
        data = self.peer.wire.value()
        self.peer.wire.clear()
        return sorted(b"%d|%b|%b" % frame for frame in FrameReader().receive(data))

    def state(self) -> dict[str, Any]:
        """All that sends leave behind."""
        store, found = self.world.store, self.world.parts.stats
        units = {
            (queue.topic, queue.queue_id): (queue.max_offset, queue.memory[0], bytes(queue.memory[1]))
            for queue in store._by_key.values()
        }
        log = b"".join(path.read_bytes() for path in sorted(Path(str(store.options.commit_log_path())).iterdir()))
        store.tick_consume_queues()
        keys = {
            key: [bytes(record) for record in store.query("T", key, 64, 0, 1 << 60).records]
            for key in ("k1", "k2", "order", "7", *(f"AC11000100002A139C55{number:04d}" for number in range(4)))
        }
        items = {
            (name, topic): (item.value, item.times)
            for topic, pair in found._topics.items()
            for name, item in zip(("nums", "sizes"), pair, strict=True)
        }
        return {
            "log": log,
            "units": units,
            "keys": keys,
            "stats": items,
            "puts": (store.put_count, found.put_size_total),
            "open": self.world.parts.transactions.counts.encode(),
        }


def compare(folders: pytest.TempPathFactory, reads: Sequence[bytes]) -> None:
    """Serve the same reads with and without runs: answers and all that is left behind are equal."""
    outcomes = []
    with pytest.MonkeyPatch.context() as patch:
        stop_clock(patch)
        for runs in (True, False):
            side = Side(folders.mktemp("side"), runs=runs)
            try:
                outcomes.append((side.serve(reads), side.state()))
            finally:
                side.world.close()
    answered, reference = outcomes
    assert answered[0] == reference[0]
    for what, value in reference[1].items():
        assert answered[1][what] == value, what


def spied(side: Side, monkeypatch: pytest.MonkeyPatch, stage: str = "stage_run") -> list[int]:
    """How many requests each run dealt with that `stage` of the store makes; 0 for those that it does not take."""
    taken: list[int] = []
    stages = getattr(side.world.store, stage)

    def spy(*args: Any) -> Any:
        run = stages(*args)
        taken.append(0 if run is None else run.count)
        return run

    monkeypatch.setattr(side.world.store, stage, spy)
    return taken


@contextmanager
def full_disk(side: Side) -> Iterator[None]:
    """The log cannot be written meanwhile."""

    def full(begin: int, data: bytes) -> None:
        raise WriteFailed("No space left on device", file="commitlog")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(side.world.store.log, "write", full)
        yield


def safe_later(side: Side) -> list[tuple[int, Deferred[int]]]:
    """Let runs wait until their messages are safe; for what places in the log, and what is to be told."""
    runs, waits = side.world.parts.send_runs, list[tuple[int, Deferred[int]]]()
    assert runs is not None

    def when_safe(end: int) -> Deferred[int]:
        waits.append((end, Deferred()))
        return waits[-1][1]

    runs._safe_runs = SafeRuns(side.world.store, when_safe, side.world.parts.flow.sends_wait)
    return waits
