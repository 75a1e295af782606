from collections.abc import Sequence
from typing import Any

def read_ext(data: bytes, /) -> dict[str, str] | None: ...
def add_keys(
    messages: list[Any],
    slots: Any,
    changed: bytearray,
    page_bits: int,
    number: int,
    limit: int,
    begin: int,
    used: int,
    /,
) -> tuple[bytes, int, int, int]: ...
def read_sends(frames: list[tuple[int, bytes, bytes]], first: int, /) -> tuple[list[Any], list[int]]: ...
def read_halves(requests: list[Any], data: bytes, begin: int, born_host: bytes, half_field: bytes, /) -> int: ...
def pack_sends(
    puts: list[Any],
    first: int,
    queues: list[Any],
    half_queue: Any,
    touched: list[Any],
    keyed: list[Any],
    template: bytes,
    topic_field: bytes,
    half_field: bytes,
    suffix: bytes,
    timestamp: int,
    position: int,
    body_max: int,
    record_max: int,
    properties_max: int,
    total_max: int,
    /,
) -> tuple[bytes, bytes, int, int, int, int]: ...
def send_answers(pieces: tuple[bytes, ...], code: int, puts: list[Any], first: int, places: bytes, /) -> bytes: ...
def read_batches(
    frames: list[tuple[int, bytes, bytes]], first: int, /
) -> list[tuple[int, str, int, int, int, bytes]]: ...
def pack_batches(
    batches: list[tuple[int, str, int, int, int, bytes]],
    first: int,
    queues: list[Any],
    touched: list[Any],
    keyed: list[Any],
    template: bytes,
    topic_field: bytes,
    timestamp: int,
    position: int,
    batch_max: int,
    body_max: int,
    record_max: int,
    properties_max: int,
    total_max: int,
    /,
) -> tuple[bytes, bytes, int, int]: ...
def batch_answers(
    pieces: tuple[bytes, ...],
    host: bytes,
    code: int,
    batches: list[tuple[int, str, int, int, int, bytes]],
    first: int,
    count: int,
    places: bytes,
    /,
) -> bytes: ...
def append_units(
    touched: list[Any], dirty: dict[Any, None], awaited: tuple[Any, ...] | None, long_bytes: int, /
) -> tuple[list[tuple[Any, bytes]], list[Any]]: ...
def cut_frames(
    data: bytes | memoryview, limit: int, position: int = 0, /
) -> tuple[list[tuple[int, bytes, bytes]], int]: ...
def keep_freed(size: int, /) -> bool: ...

CRC32_WAYS: tuple[str, ...]

def crc32(data: bytes | bytearray | memoryview, /) -> int: ...
def crc32_by(way: str, data: bytes | bytearray | memoryview, /) -> int: ...

class Syncs:
    def __init__(self, tell: int) -> None: ...
    def begin(self, fds: Sequence[int], /) -> None: ...
    def ended(self) -> tuple[int, int] | None: ...
    def close(self) -> None: ...
