from typing import Any

def read_ext(data: bytes, /) -> dict[str, str] | None: ...
def pack_batch(
    body: bytes,
    template: bytes,
    topic_field: bytes,
    position: int,
    queue_offset: int,
    body_max: int,
    record_max: int,
    properties_max: int,
    total_max: int,
    /,
) -> tuple[bytes, bytes, list[int], list[int], list[str | None], list[bytes | None]] | None: ...
def add_keys(
    messages: list[Any],
    slots: Any,
    changed: set[int],
    page_bits: int,
    number: int,
    limit: int,
    begin: int,
    used: int,
    /,
) -> tuple[bytes, int, int, int]: ...
