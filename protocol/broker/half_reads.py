"""The half messages that a read of requests ends, fetched from the log in one go.

What it is for: runs of sends with ends of transactions between them (`send_runs`). Half messages that end together were
sent together, so they lie near each other. What it must not do: answer; whatever is not plainly usual, far away or not
in memory is left to `TransactionHandlers`, the reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.store.errors import ColdRead, StoreError
from rmqwire import speed
from rmqwire.message import topic_field

from .names import TRANS_HALF_TOPIC

if TYPE_CHECKING:
    from rmqd.store.messagestore import MessageStore

SPAN_MAX_BYTES = 256 * 1024
"""Half messages that lie further apart are not read together."""
_LAST_BYTES = 8 * 1024
"""Read of the last one, whose length is not known; a longer one is left to the handlers."""
_HALF_FIELD = topic_field(TRANS_HALF_TOPIC)[0]


def take_halves(store: MessageStore, requests: list[speed.Put], places: list[int], born_host: bytes) -> None:
    """Make puts of the ends among requests, and drop all from the first one on that is not usual or too far away.

    Args:
        store: Where half messages are.
        requests: What `speed.read_sends` gave; changed in place.
        places: Where the half messages are in the log.
        born_host: Of the connection that ends them: the handlers see to those that came by another one.
    """
    assert speed.read_halves is not None
    near, begin, size = _near(places, store.log.min_offset)
    data = b""
    if near:
        try:
            data = store.read_log(begin, size)
        except (ColdRead, StoreError):  # the handlers meet it again: they read in a thread, or say what is wrong
            data = b""
    # Those beyond are not in the data, so they are where it stops.
    del requests[speed.read_halves(requests, data, begin, born_host, _HALF_FIELD) :]


def _near(places: list[int], min_offset: int) -> tuple[int, int, int]:
    """How many of the first places can be read together, where they begin, and bytes to read."""
    first = last = places[0]
    near = 0
    for place in places:
        begin, end = min(first, place), max(last, place)
        if end - begin + _LAST_BYTES > SPAN_MAX_BYTES or place < min_offset:
            break
        first, last = begin, end
        near += 1
    return near, first, last - first + _LAST_BYTES
