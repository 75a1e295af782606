"""The layouts of the timer's files, declared with `construct`: the manual, `rmqd dump`, and the oracle of tests.

As `rmqwire.layouts`, of which this is the part on `timerwheel`, `timerlog/*` and `config/timercheck`.

Source: `Slot`, `TimerLog`, `TimerCheckpoint` (5.5.0).
"""

from __future__ import annotations

from construct import (  # type: ignore[import-untyped]
    Bytes,
    Const,
    Hex,
    Int32sb,
    Int32ub,
    Int64sb,
    Padding,
    Struct,
)

__all__ = ["TIMER_BLANK", "TIMER_CHECKPOINT", "TIMER_CHECKPOINT_MARK", "TIMER_SLOT", "TIMER_UNIT"]

TIMER_SLOT = Struct(
    "time_units" / Int64sb,  # milliseconds / timerPrecisionMs
    "first_position" / Int64sb,  # of the timer log
    "last_position" / Int64sb,
    "messages" / Int32sb,
    "magic" / Int32sb,
)
"""Number `time_units` modulo 1,209,600 of the file; all zeros, or of another time, is an empty one."""

TIMER_UNIT = Struct(
    "size_bytes" / Const(52, Int32sb),
    "previous_position" / Int64sb,  # of the same slot; -1: none
    "magic" / Int32sb,  # 1, + 2: rolls, + 4: takes another message back
    "write_ms" / Int64sb,
    "delay_ms" / Int32sb,  # from write_ms to the time of the slot
    "physical_offset" / Int64sb,
    "record_bytes" / Int32sb,
    "topic_hash" / Int32sb,
    "reserved" / Int64sb,
)

TIMER_BLANK = Struct("size_bytes" / Int32sb, "reserved" / Int64sb, "magic" / Hex(Const(0xCBD43194, Int32ub)))
"""Where no unit fits any more; its size is the rest of the file."""

TIMER_CHECKPOINT = Struct(
    "read_ms" / Int64sb,  # the next slot to deliver
    "log_end" / Int64sb,
    "queue_offset" / Int64sb,
    "master_queue_offset" / Int64sb,
    "state_version" / Int64sb,
    "version_timestamp_ms" / Int64sb,
    "version_counter" / Int64sb,
    "unused" / Padding(4096 - 56 - 40),
    "mark_bytes" / Bytes(40),
)

TIMER_CHECKPOINT_MARK = Struct(
    "mark" / Const(b"rmqd-tm1"),
    "log_end" / Int64sb,
    "queue_offset" / Int64sb,
    "precision_ms" / Int32sb,
    "reserved" / Const(0, Int32sb),
    "crc" / Int32sb,  # CRC-32 of the 28 bytes before `reserved`, without the top bit
    "padding" / Const(0, Int32sb),
)
"""This project's own; the official broker leaves zeros there."""
