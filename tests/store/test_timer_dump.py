"""`rmqd dump` of the timer's files; the declared layouts say what the fast paths write."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from rmqd.store.dump import dump_file
from rmqd.store.timercheckpoint import TimerCheckpoint
from rmqd.store.timerlog import BLANK_MAGIC, Unit
from rmqd.store.timerstore import Entry, QueueState, TimerStore
from rmqwire import layouts_timer

I32 = st.integers(-(2**31), 2**31 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
NOW_MS = 1_795_000_000_000


@given(I64, I64, I32, I64, I32, I32)
def test_a_unit_as_declared(previous: int, write_ms: int, delay_ms: int, offset: int, size: int, code: int) -> None:
    """Field by field."""
    declared = layouts_timer.TIMER_UNIT.build(
        {
            "previous_position": previous,
            "magic": 1,
            "write_ms": write_ms,
            "delay_ms": delay_ms,
            "physical_offset": offset,
            "record_bytes": size,
            "topic_hash": code,
            "reserved": 0,
        }
    )
    assert Unit(previous, 1, write_ms, write_ms + delay_ms, offset, size, code).encode() == declared


@given(I64, I64, I64, st.integers(1, 2**31 - 1))
def test_a_checkpoint_as_declared(read_ms: int, log_end: int, queue_offset: int, precision_ms: int) -> None:
    """With its mark."""
    page = TimerCheckpoint(
        read_ms=read_ms, log_end=log_end, queue_offset=queue_offset, complete=True, precision_ms=precision_ms
    ).encode()
    found = layouts_timer.TIMER_CHECKPOINT.parse(page)
    mark = layouts_timer.TIMER_CHECKPOINT_MARK.parse(found.mark_bytes)
    assert (found.read_ms, found.log_end, found.queue_offset) == (read_ms, log_end, queue_offset)
    assert (mark.log_end, mark.queue_offset, mark.precision_ms) == (log_end, queue_offset, precision_ms)


def test_the_filler_as_declared() -> None:
    """One magic in two spellings."""
    assert layouts_timer.TIMER_BLANK.build({"size_bytes": 40, "reserved": 0})[12:] == BLANK_MAGIC.to_bytes(
        4, "big", signed=True
    )


def test_a_timer_is_dumped(tmp_path: Path) -> None:
    """Slots, units with the filler, and the checkpoint with its mark; a broken unit is named."""
    timer = TimerStore(str(tmp_path), precision_ms=1000, log_file_size=300, roll_window_slots=1000)
    timer.open(NOW_MS, QueueState(0, 0, 0, lambda *_: None))
    timer.enqueue([Entry(NOW_MS + 5000, number * 100, 100, 7) for number in range(6)])
    plan = timer.flush_plan(NOW_MS)
    assert plan is not None
    timer.flushed(plan())
    timer.close()
    (slot,) = dump_file(str(tmp_path / "timerwheel"))
    assert (slot["kind"], slot["time_units"], slot["messages"]) == ("timer_slot", NOW_MS // 1000 + 5, 6)
    assert (slot["first_position"], slot["last_position"]) == (0, 300)
    first = tmp_path / "timerlog" / f"{0:020d}"
    *units, filler = dump_file(str(first))
    assert [unit["physical_offset"] for unit in units] == [0, 100, 200, 300, 400]
    assert (filler["kind"], filler["position"], filler["size_bytes"]) == ("timer_blank", 260, 40)
    (unit,) = dump_file(str(tmp_path / "timerlog" / f"{300:020d}"))
    assert (unit["position"], unit["previous_position"]) == (300, 208)
    checkpoint, mark = dump_file(str(tmp_path / "config" / "timercheck"))
    assert (checkpoint["log_end"], mark["log_end"], mark["agrees"]) == (352, 352, True)
    data = bytearray(first.read_bytes())
    data[52 + 3] = 9
    first.write_bytes(data)
    assert [each["kind"] for each in dump_file(str(first))] == ["timer_unit", "damage"]
