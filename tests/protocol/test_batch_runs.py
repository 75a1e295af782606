"""Runs of usual batches against the general path, which is the reference: equal answers, files, keys and counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol.runs_world import FLIPS, KEY, USUAL, Side, compare, damaged, frame_of, full_disk, now, safe_later, spied
from protocol.wiring import sent

from rmqwire import speed
from rmqwire.message import BatchEntry, encode_batch

from .test_send_runs import CHANGES, FLAGS, PROPERTIES, requests

__all__ = ["now"]

pytestmark = pytest.mark.skipif(speed.read_batches is None, reason="nothing compiled")

OF_REQUEST: list[str | None] = [
    *["WAIT\x01true\x02"] * 6,
    *(None, "WAIT\x01true", "WAIT\x01false\x02", "WAIT\x01", "UNIQ_KEY\x01AB\x02WAIT\x01true\x02"),
    *("UNIQ_KEY\x01\u00fc\x02", 'UNIQ_KEY\x01"\x02', "DELAY\x010\x02", "DELAY\x012\x02", "TAGS\x01a\x02"),
    *("nothing", "\x02", "__STARTDELIVERTIME\x017\x02"),
]  # fmt: skip
STYLES = ["java"] * 6 + ["go", "spaced", "remark", "more", "twice", "cut"]
ENTRIES = st.builds(
    BatchEntry,
    st.sampled_from([0, 0, 7, -1]),
    st.sampled_from([b"x", b"body" * 30, b"\0\xff", b"", b"y" * 1000]),
    st.builds(
        lambda text, number: text.replace("%04d", f"{number:04d}").encode(),
        st.one_of(st.just(KEY + "WAIT\x01true\x02"), st.sampled_from([*PROPERTIES, ""])),
        st.integers(0, 5),
    ),
)
WRONG_BODIES = st.sampled_from([b"", b"\0", bytes(21), b"x" * 3000, b"\0" * 16 + b"\xff" * 6])


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Any]:
    """What a producer of batches, or somebody like one, sends."""
    ext: dict[str, str | None] = {**USUAL, "e": draw(st.sampled_from("0123")), "m": "true"}
    ext["i"] = draw(st.sampled_from(OF_REQUEST))
    if draw(st.integers(0, 4)) == 0:
        ext.update(draw(st.sampled_from(CHANGES)))
    body = encode_batch(draw(st.lists(ENTRIES, min_size=1, max_size=5)))
    if draw(st.integers(0, 9)) == 0:
        body = draw(st.one_of(WRONG_BODIES, st.integers(1, 30).map(lambda cut: body[:-cut])))
    return {
        "ext": {name: value for name, value in ext.items() if value is not None},
        "binary": draw(st.booleans()),
        "flag": draw(FLAGS),
        "code": draw(st.sampled_from([320] * 12 + [310, 34])),
        "body": body,
        "style": draw(st.sampled_from(STYLES)),
    }


@settings(max_examples=150, deadline=None)
@given(
    reads=st.lists(
        st.lists(st.one_of(batches(), batches(), batches(), requests()), min_size=1, max_size=9), min_size=1, max_size=5
    )
)
def test_both_ways_are_equal(tmp_path_factory: pytest.TempPathFactory, reads: list[list[dict[str, Any]]]) -> None:
    opaque = iter(range(1, 1000))
    compare(tmp_path_factory, [b"".join(frame_of(request, next(opaque)) for request in read) for read in reads])


@settings(max_examples=80, deadline=None)
@given(read=st.lists(batches(), min_size=1, max_size=4), flips=FLIPS)
def test_both_ways_are_equal_for_damaged_headers(
    tmp_path_factory: pytest.TempPathFactory, read: list[dict[str, Any]], flips: list[tuple[int, int]]
) -> None:
    compare(tmp_path_factory, [damaged(read, flips)])


def usual(count: int, messages: int = 3, **changes: str) -> bytes:
    """A read of usual batches."""
    ext = {**USUAL, "m": "true", "i": "WAIT\x01true\x02", **changes}
    body = encode_batch([BatchEntry(0, b"b%d" % at, (PROPERTIES[0] % at).encode()) for at in range(messages)])
    return b"".join(
        frame_of(
            {"ext": {**ext, "e": str(n % 4)}, "binary": n % 2 == 1, "flag": 0, "code": 320, "style": "java",
             "body": body},
            n,
        )
        for n in range(count)
    )  # fmt: skip


@pytest.mark.usefixtures("now")
def test_a_read_is_one_run_once_its_queues_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(tmp_path, runs=True)
    taken = spied(side, monkeypatch, "stage_batches")
    assert len(side.serve([usual(9)])) == 9
    assert taken == [1, 1, 1, 6]
    taken.clear()
    assert len(side.serve([usual(9)])) == 9
    assert taken == [9]
    assert side.world.store.max_offset("T", 0) == 18
    side.world.close()


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("runs", [True, False])
def test_what_cannot_be_written_is_refused_one_by_one(tmp_path: Path, runs: bool) -> None:
    side = Side(tmp_path, runs=runs)
    side.serve([usual(4)])
    with full_disk(side):
        side.peer.connection.dataReceived(usual(6))
        refused = sent(side.peer.wire)
    assert sorted(answer.opaque for answer in refused) == list(range(6))
    assert {answer.code for answer in refused} == {1}
    assert all("No space left" in (answer.remark or "") for answer in refused)
    assert len(side.serve([usual(4)])) == 4
    assert side.world.store.max_offset("T", 0) == 6
    side.world.close()


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("code", [0, 10])
def test_answers_wait_until_the_messages_are_safe(tmp_path: Path, code: int) -> None:
    side = Side(tmp_path, runs=True)
    waits, flow = safe_later(side), side.world.parts.flow
    side.peer.connection.dataReceived(usual(5))
    assert sent(side.peer.wire) == []
    assert flow.waiting_sends == 5, "requests, not messages"
    ((end, wait),) = waits
    assert end == side.world.store.log.wrote_offset
    wait.callback(code)
    answers = sent(side.peer.wire)
    assert [(answer.opaque, answer.code) for answer in answers] == [(n, code) for n in range(5)]
    assert [answer.ext["queueOffset"] for answer in answers] == ["0", "0", "0", "0", "3"]
    assert all(len(answer.ext["msgId"].split(",")) == 3 for answer in answers)

    side.peer.connection.dataReceived(usual(2))
    waits[-1][1].errback(RuntimeError("gone"))
    assert {(answer.opaque, answer.code) for answer in sent(side.peer.wire)} == {(0, 1), (1, 1)}
    assert flow.waiting_sends == 0
    side.world.close()


@pytest.mark.usefixtures("now")
def test_a_store_that_takes_nothing_refuses_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(tmp_path, runs=True)
    side.world.store.flush_failed(OSError(5, "Input/output error"))
    taken = spied(side, monkeypatch, "stage_batches")
    side.peer.connection.dataReceived(usual(3))
    assert [answer.code for answer in sent(side.peer.wire)] == [14, 14, 14]
    assert taken[0] == 0
    assert not any(taken)
    side.world.close()


@pytest.mark.usefixtures("now")
def test_limits_that_change_count_at_once(tmp_path: Path) -> None:
    side = Side(tmp_path, runs=True)
    side.peer.connection.dataReceived(usual(1))
    side.world.parts.send_settings.max_message_size = 50
    side.peer.connection.dataReceived(usual(1))
    assert [answer.code for answer in sent(side.peer.wire)] == [0, 1]
    side.world.close()
