"""Messages whose keys wait to be added to the index.

What it is for: a message waits with its keys as texts; the messages of batches, which are many at once, wait together
with keys that are hashed already. What it must not do: know files of the index.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from rmqwire.hashing import IndexKeyHasher

HASHED_KEY_BYTES = 12
"""Of a key that is hashed: hash i32, physical offset i64."""
_hashed_keys = struct.Struct(">iq").iter_unpack

Keys = Sequence[str] | bytes
"""Of one message the texts, without the topic; of several the hashes, each with the physical offset of its message."""

KeyedMessage = tuple[IndexKeyHasher, int, int, Keys]
"""(hasher of its topic, physical offset, store time, keys); of several messages the last one's offset."""


def key_count(keys: Keys) -> int:
    """How many entries of the index they make."""
    return len(keys) // HASHED_KEY_BYTES if isinstance(keys, bytes) else len(keys)


def hashes_of(message: KeyedMessage) -> Iterator[tuple[int, int]]:
    """Each key's hash, and the physical offset of its message."""
    hasher, physical_offset, _, keys = message
    if isinstance(keys, bytes):
        return _hashed_keys(keys)
    return ((hasher.index_hash(key), physical_offset) for key in keys)


def without_first(message: KeyedMessage, count: int) -> KeyedMessage:
    """The same without its first keys."""
    hasher, physical_offset, timestamp, keys = message
    return hasher, physical_offset, timestamp, keys[count * HASHED_KEY_BYTES if isinstance(keys, bytes) else count :]
