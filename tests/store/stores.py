"""Small stores in a folder for the tests, with a clock that ticks when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from rmqd.store.files import Files, RealFiles
from rmqd.store.messagestore import MessageStore, StagedPut, StoreOptions
from rmqwire.hashing import tags_code
from rmqwire.message import encode_host, encode_properties, message_keys

HOST = encode_host("127.0.0.1", 10911)
BORN = encode_host("10.1.2.3", 55555)
START_MS = 1_700_000_000_000


def small_options(root: Path, **changes: Any) -> StoreOptions:
    """Files so small that a few messages roll them."""
    options = StoreOptions(
        root=root,
        store_host=HOST,
        mapped_file_size_commit_log=8192,
        mapped_file_size_consume_queue=200,
        max_hash_slot_num=64,
        max_index_num=64,
        max_message_size=4000,
    )
    return replace(options, **changes)


class Clock:
    """Milliseconds that go on by `step` with each look."""

    def __init__(self, now_ms: int = START_MS, step: int = 1) -> None:
        self.now_ms = now_ms
        self.step = step

    def __call__(self) -> int:
        self.now_ms += self.step
        return self.now_ms


def make_store(
    root: Path,
    *,
    clock: Callable[[], int] | None = None,
    files: Files | None = None,
    delivery_time_ms: Callable[[int, int], int] | None = None,
    **changes: Any,
) -> MessageStore:
    """A store that is not open yet."""
    return MessageStore(
        small_options(root, **changes),
        wall_clock_ms=clock or Clock(),
        delivery_time_ms=delivery_time_ms,
        files=files or RealFiles(),
        memory_bytes=1 << 30,
    )


@contextmanager
def opened(root: Path, **arguments: Any) -> Iterator[MessageStore]:
    """A store that is open, and closed in order at the end."""
    store = make_store(root, **arguments)
    store.open()
    try:
        yield store
    finally:
        store.close()


def put(
    store: MessageStore,
    body: bytes,
    topic: str = "T",
    queue_id: int = 0,
    *,
    properties: dict[str, str] | None = None,
    sys_flag: int = 0,
    born_host: bytes = BORN,
) -> StagedPut:
    """Stage one message as a send handler does."""
    properties = properties or {}
    return store.stage(
        topic,
        queue_id,
        body,
        encode_properties(properties),
        tags_code=tags_code(properties.get("TAGS")),
        keys=message_keys(properties),
        flag=7,
        sys_flag=sys_flag,
        born_timestamp=START_MS - 5,
        born_host=born_host,
    )


def put_many(store: MessageStore, count: int, topic: str = "T", queue_id: int = 0, first: int = 0) -> list[StagedPut]:
    """Put numbered messages, each in a group of its own."""
    puts = []
    for number in range(first, first + count):
        puts.append(put(store, b"body %d" % number, topic, queue_id, properties={"KEYS": f"K{number}"}))
        store.commit()
    return puts


def crash(store: MessageStore) -> None:
    """Let go of everything as it is, as a kill does."""
    store._open = False
    store._abandon()
