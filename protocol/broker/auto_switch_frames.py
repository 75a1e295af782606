"""What brokers send each other on the port for replicas in controller mode.

Big-endian, on plain TCP. A slave begins with `state i32 = 1 | from last file i16 | learner i16 | broker id i64`. The
master answers `state i32 = 1 | n i32 | end of its log i64 | last epoch i32` and n bytes: `epoch i32 | start i64` for
each epoch. From then on a slave writes `state i32 = 2 | end of its log i64`, and the master `state i32 = 2 | n i32 |
offset i64 | epoch i32 | its start i64 | confirm offset i64` and n bytes of the log, none of the next epoch; n = 0 is
its sign of life.

Source: `AutoSwitchHAConnection`, `AutoSwitchHAClient`, `HAConnectionState` (5.5.0).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from rmqd.store.epochs import NO_EPOCH, Epoch, check_order
from rmqd.store.errors import ReplicaRefused

HANDSHAKE = 1
TRANSFER = 2
"""The states that are sent; others are not."""

STATE = struct.Struct(">i")
SLAVE_HANDSHAKE = struct.Struct(">ihhq")
SLAVE_REPORT = struct.Struct(">iq")
MASTER_HEAD = struct.Struct(">iiqi")
"""State, size of what follows the head, offset, epoch: how both frames of a master begin."""
MASTER_TRANSFER = struct.Struct(">iiqiqq")
EPOCH_ENTRY = struct.Struct(">iq")

EPOCHS_MAX_BYTES = 1 << 20


def master_handshake(entries: Sequence[Epoch], log_end: int) -> bytes:
    """Give the answer of a master."""
    last = entries[-1].epoch if entries else NO_EPOCH
    head = MASTER_HEAD.pack(HANDSHAKE, len(entries) * EPOCH_ENTRY.size, log_end, last)
    return head + b"".join(EPOCH_ENTRY.pack(*entry) for entry in entries)


def read_epochs(body: bytes) -> tuple[Epoch, ...]:
    """Read the epochs of a master's answer; what is left behind the last whole one is ignored, as by Java.

    Raises:
        ReplicaRefused: they are in no order.
    """
    whole = len(body) - len(body) % EPOCH_ENTRY.size
    entries = tuple(Epoch(*fields) for fields in EPOCH_ENTRY.iter_unpack(body[:whole]))
    try:
        check_order(entries)
    except ValueError as cause:
        raise ReplicaRefused(f"the master's epochs make no sense: {cause}") from cause
    return entries
