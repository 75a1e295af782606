"""Runs of usual sends against the general path, which is the reference: equal answers, files, keys and counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol.runs_world import FLIPS, KEY, USUAL, Side, compare, damaged, frame_of, full_disk, now, safe_later, spied
from protocol.wiring import sent

from rmqwire import speed
from rmqwire.bodies import TopicConfig

__all__ = ["now"]

pytestmark = pytest.mark.skipif(speed.read_sends is None, reason="nothing compiled")

PROPERTIES = [
    KEY + "WAIT\x01true\x02",
    "WAIT\x01true\x02" + KEY[:-1],
    "TAGS\x01TagA\x02" + KEY + "WAIT\x01true",
    "KEYS\x01k1 k2\x02" + KEY,
    KEY + "KEYS\x01order 7\x02TAGS\x01polygenelubricants\x02WAIT\x01true\x02",
    KEY + "KEYS\x01k1  k2\x02",
    KEY + "KEYS\x01 \x02",
    KEY + "KEYS\x01\u00fc\x02",
    KEY + "WAIT\x01false\x02",
    KEY + "WAIT\x01\x02",
    KEY + "user\x01value\x02Order Id\x0112\x02WAIT\x01true",
    "a\x011\x02" + KEY + "a\x012\x02",
    KEY + "".join(f"n{number}\x01{number}\x02" for number in range(17)),
    KEY + "v\x01\u00fc\x02",
    KEY + "\u00fc\x01v\x02",
    KEY + "__transactionId__\x01x\x02",
    KEY + "INSTANCE_ID\x01x\x02",
    KEY + "CLUSTER\x01x\x02",
    KEY + "DELAY\x012\x02",
    KEY + KEY,
    KEY + "\x02",
    KEY + "TAGS\x01a\x01b\x02",
    KEY + "nothing\x02",
    "UNIQ_KEY\x01with-dash-%04d\x02",
    'UNIQ_KEY\x01"%04d\x02',
]
CHANGES: list[dict[str, str | None]] = [
    *[{"e": each} for each in ("0", "2", "3", "7", "99", "01", "+1", "x", "")],
    *[{"f": each} for each in ("1", "257", "769", "16", "2", "8", "-1", "65536")],
    *[{"g": each} for each in ("0", "-5", "9223372036854775807", "9223372036854775808", "1e3")],
    *[{"h": each} for each in ("7", "2147483647", "-1", "2147483648")],
    *[{"j": each} for each in ("1", "00", "x")],
    *[{"m": each} for each in ("TRUE", "no", "0")],
    *[{"l": each} for each in ("16", "-1", "x")],
    *[{name: None} for name in "abcdefghjkmn"],
    *[{"b": each} for each in ("U", "%RETRY%G", "SCHEDULE_TOPIC_XXXX", "nowhere!", "many", "t\u00fc", "T\\")],
    {"k": "true"}, {"k": "maybe"}, {"n": "\u00fc"}, {"z": "new"}, {"aa": "long"}, {"a": "\u00fc"}, {"a": '"'},
]  # fmt: skip
FLAGS = st.sampled_from([0, 0, 0, 0, 0, 2])


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """What a producer, or somebody like one, sends."""
    ext: dict[str, str | None] = dict(USUAL)
    ext["e"] = draw(st.sampled_from("0123"))
    properties = draw(
        st.sampled_from(PROPERTIES if draw(st.integers(0, 3)) == 0 else PROPERTIES[:5] + PROPERTIES[10:11])
    )
    ext["i"] = properties % draw(st.integers(0, 9999)) if properties.count("%") == 1 else properties % (1, 2)
    if draw(st.integers(0, 4)) == 0:
        ext.update(draw(st.sampled_from(CHANGES)))
    return {
        "ext": {name: value for name, value in ext.items() if value is not None},
        "binary": draw(st.booleans()),
        "flag": draw(FLAGS),
        "code": draw(st.sampled_from([310] * 12 + [320, 34])),
        "body": draw(st.sampled_from([b"x", b"body" * 30, b"\0\xff", b"", b"y" * 3000])),
        "style": draw(st.sampled_from(["java"] * 6 + ["go", "spaced", "remark", "more", "twice", "cut"])),
    }


@settings(max_examples=120, deadline=None)
@given(reads=st.lists(st.lists(requests(), min_size=1, max_size=12), min_size=1, max_size=5))
def test_both_ways_are_equal(tmp_path_factory: pytest.TempPathFactory, reads: list[list[dict[str, Any]]]) -> None:
    opaque = iter(range(1, 1000))
    compare(tmp_path_factory, [b"".join(frame_of(request, next(opaque)) for request in read) for read in reads])


@settings(max_examples=80, deadline=None)
@given(read=st.lists(requests(), min_size=1, max_size=4), flips=FLIPS)
def test_both_ways_are_equal_for_damaged_headers(
    tmp_path_factory: pytest.TempPathFactory, read: list[dict[str, Any]], flips: list[tuple[int, int]]
) -> None:
    compare(tmp_path_factory, [damaged(read, flips)])


def usual(count: int, **changes: str) -> bytes:
    """A read of usual sends."""
    ext = {**USUAL, **changes}
    return b"".join(
        frame_of(
            {"ext": {**ext, "e": str(n % 4), "i": PROPERTIES[0] % n}, "binary": False, "flag": 0, "code": 310,
             "body": b"b%d" % n, "style": "java"},
            n,
        )
        for n in range(count)
    )  # fmt: skip


@pytest.mark.usefixtures("now")
def test_a_read_is_one_run_once_its_queues_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(tmp_path, runs=True)
    taken = spied(side, monkeypatch)
    assert len(side.serve([usual(20)])) == 20
    assert taken == [1, 1, 1, 17]
    taken.clear()
    assert len(side.serve([usual(20)])) == 20
    assert taken == [20]
    side.world.close()


@pytest.mark.usefixtures("now")
def test_a_deleted_topic_begins_anew(tmp_path: Path) -> None:
    side = Side(tmp_path, runs=True)
    side.serve([usual(8)])
    side.world.store.destroy_topic("T")
    assert len(side.serve([usual(8)])) == 8
    assert side.world.store.max_offset("T", 0) == 2
    assert side.world.store.get_messages("T", 0, 0, 8).count == 2
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
    assert side.world.store.max_offset("T", 0) == 2
    side.world.close()


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("code", [0, 10])
def test_answers_wait_until_the_messages_are_safe(tmp_path: Path, code: int) -> None:
    side = Side(tmp_path, runs=True)
    waits, flow = safe_later(side), side.world.parts.flow
    side.peer.connection.dataReceived(usual(5))
    assert sent(side.peer.wire) == []
    assert flow.waiting_sends == 5
    ((end, wait),) = waits
    assert end == side.world.store.log.wrote_offset
    wait.callback(code)
    answers = sent(side.peer.wire)
    assert [(answer.opaque, answer.code) for answer in answers] == [(n, code) for n in range(5)]
    assert all(answer.ext["queueOffset"] in "01" for answer in answers)

    side.peer.connection.dataReceived(usual(2))
    waits[-1][1].errback(RuntimeError("gone"))
    assert {(answer.opaque, answer.code) for answer in sent(side.peer.wire)} == {(0, 1), (1, 1)}
    assert flow.waiting_sends == 0
    side.world.close()


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize("runs", [True, False])
def test_a_topic_that_has_no_room_in_a_record_is_refused_and_the_connection_lives(tmp_path: Path, runs: bool) -> None:
    side = Side(tmp_path, runs=runs, autoMessageVersionOnTopicLen="false")
    topic = "t" * 200
    side.world.parts.topics.update(TopicConfig(topic_name=topic, read_queue_nums=4, write_queue_nums=4))
    side.peer.connection.dataReceived(usual(2, b=topic) + usual(2))
    answers = {(answer.opaque, answer.code) for answer in sent(side.peer.wire)}
    assert {code for _, code in answers} == {0, 13}
    assert side.world.store.max_offset("T", 0) == 1
    side.world.close()


@pytest.mark.usefixtures("now")
def test_what_is_staged_in_part_is_acknowledged_to_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(tmp_path, runs=True)
    side.serve([usual(4)])
    store, compiled = side.world.store, speed.pack_sends
    assert compiled is not None

    def breaks(*args: Any) -> tuple[bytes, bytes]:
        compiled(*args)
        raise MemoryError

    told: list[Exception | None] = []
    store.when_committed(told.append)
    end = store.log.wrote_offset
    monkeypatch.setattr(speed, "pack_sends", breaks)
    with pytest.raises(MemoryError):
        side.peer.connection.dataReceived(usual(4))
    assert isinstance(told[0], MemoryError)
    assert sent(side.peer.wire) == []
    store.commit()
    assert store.log.wrote_offset == end
    assert [store.max_offset("T", queue_id) for queue_id in range(4)] == [1, 1, 1, 1]
    side.peer.connection.dataReceived(usual(1))
    assert [answer.code for answer in sent(side.peer.wire)] == [14]
    side.world.close()


@pytest.mark.usefixtures("now")
def test_a_store_that_takes_nothing_refuses_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(tmp_path, runs=True)
    side.world.store.flush_failed(OSError(5, "Input/output error"))
    taken = spied(side, monkeypatch)
    side.peer.connection.dataReceived(usual(3))
    assert [answer.code for answer in sent(side.peer.wire)] == [14, 14, 14]
    assert taken == [0]
    side.world.close()
