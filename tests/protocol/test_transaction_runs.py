"""Half messages and ends of transactions in runs against the handlers, which are the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol.runs_world import KEY, USUAL, Side, frame_of, full_disk, now, safe_later, spied, stop_clock
from protocol.wiring import sent

from rmqd.protocol.broker import half_reads
from rmqd.protocol.broker.names import TRANS_HALF_TOPIC, TRANS_OP_HALF_TOPIC
from rmqd.store.errors import ColdRead
from rmqwire import speed
from rmqwire.frames import JSON, ROCKETMQ, encode_frame
from rmqwire.header_binary import encode_binary
from rmqwire.message import decode_message_id

__all__ = ["now"]

pytestmark = pytest.mark.skipif(speed.read_sends is None, reason="nothing compiled")

HALF = "TRAN_MSG\x01true\x02PGROUP\x01PG\x02"
HALVES = [
    HALF + KEY + "WAIT\x01true\x02",
    KEY + "KEYS\x01k1 k2\x02TAGS\x01TagA\x02" + HALF[:-1],
    "own\x01value\x02WAIT\x01true\x02" + KEY + HALF,
]
UNUSUAL_HALVES = [
    HALF + KEY + "DELAY\x013\x02",
    HALF + KEY + "CHECK_IMMUNITY_TIME_IN_SECONDS\x0130\x02",
    HALF + KEY + "WAIT\x01false\x02",
    HALF + KEY + "REAL_TOPIC\x01U\x02",
    HALF + KEY + "__transactionId__\x01x\x02",
    KEY + "TRAN_MSG\x01TRUE\x02PGROUP\x01PG\x02",
    KEY + "TRAN_MSG\x01false\x02PGROUP\x01PG\x02",
    KEY + "TRAN_MSG\x01true\x02",
    KEY + "TRAN_MSG\x01true\x02PGROUP\x01other\x02",
    KEY + "PGROUP\x01PG\x02",
    HALF,
]
CHANGED_ENDS: list[dict[str, str | None]] = [
    {"producerGroup": "other"}, {"producerGroup": None}, {"producerGroup": "\u00fc"}, {"msgId": None},
    {"tranStateTableOffset": "77"}, {"tranStateTableOffset": "-1"}, {"tranStateTableOffset": "x"},
    {"commitLogOffset": "999999999"}, {"commitLogOffset": "-1"}, {"commitLogOffset": "1"}, {"commitLogOffset": "01"},
    {"commitOrRollback": "0"}, {"commitOrRollback": "4"}, {"commitOrRollback": None},
    {"fromTransactionCheck": "true"}, {"fromTransactionCheck": "maybe"}, {"fromTransactionCheck": None},
    {"transactionId": None}, {"topic": "T"}, {"bname": "broker-a"}, {"ns": "space"}, {"new": "field"},
]  # fmt: skip


@st.composite
def puts(draw: st.DrawFn) -> dict[str, Any]:
    """A send or a half message."""
    ext = dict(USUAL)
    ext["e"] = draw(st.sampled_from("0123"))
    opens = draw(st.integers(0, 3)) > 0
    texts = [KEY + "WAIT\x01true\x02"]
    if opens:
        texts = UNUSUAL_HALVES if draw(st.integers(0, 4)) == 0 else HALVES
        ext["f"] = "4" if draw(st.integers(0, 9)) else draw(st.sampled_from(["0", "5", "8", "12", "6", "260"]))
    ext["i"] = draw(st.sampled_from(texts)).replace("%04d", f"{draw(st.integers(0, 9999)):04}")
    if draw(st.integers(0, 9)) == 0:
        ext.update(draw(st.sampled_from([{"b": "U"}, {"b": "many"}, {"e": "7"}, {"j": "1"}, {"h": "7"}])))
    return {
        "ext": ext, "binary": draw(st.booleans()), "flag": 0, "code": 310,
        "style": draw(st.sampled_from(["java", "go"])),
        "body": draw(st.sampled_from([b"x", b"body" * 30, b"", b"y" * 2400, b"z" * 9000])),
    }  # fmt: skip


@st.composite
def ends(draw: st.DrawFn) -> dict[str, Any]:
    """The end of a transaction: of which of those that were opened, and how."""
    return {
        "which": draw(st.integers(0, 30)),
        "kind": draw(st.sampled_from(["8", "8", "12"])),
        "changes": draw(st.sampled_from(CHANGED_ENDS)) if draw(st.integers(0, 4)) == 0 else {},
        "flag": 2 if draw(st.integers(0, 6)) else 0,
        "binary": draw(st.booleans()),
        "other_connection": draw(st.integers(0, 9)) == 0,
    }


def end_of(half: tuple[int, int], end: dict[str, Any], opaque: int) -> bytes:
    """The request that ends a transaction, whose half message is at a place in the log and its queue."""
    at, offset = half
    members = {
        "commitLogOffset": str(at), "commitOrRollback": end["kind"], "fromTransactionCheck": "false",
        "msgId": "AC11000100002A139C550000", "producerGroup": "PG", "tranStateTableOffset": str(offset),
        "transactionId": "AC11000100002A139C550000", **end["changes"],
    }  # fmt: skip
    ext = {name: value for name, value in members.items() if value is not None}
    if end["binary"]:
        return encode_frame(ROCKETMQ, encode_binary(37, "JAVA", 513, opaque, end["flag"], None, ext))
    pairs = ",".join(f'"{name}":"{value}"' for name, value in ext.items())
    text = f'{{"code":37,"extFields":{{{pairs}}},"flag":{end["flag"]},"language":"JAVA","opaque":{opaque},'
    return encode_frame(JSON, (text + '"serializeTypeCurrentRPC":"JSON","version":513}').encode())


class Both:
    """A broker with runs and one without, which are told the same."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self.sides = [Side(folders.mktemp("side"), runs=runs) for runs in (True, False)]
        self.others = [side.world.peer("another") for side in self.sides]
        self.opened: list[tuple[int, int]] = []
        self._opaque = iter(range(1, 1 << 20))

    def read(self, requests: list[dict[str, Any]]) -> None:
        """One read of a socket; what it opens can be ended by the next one."""
        data, elsewhere, halves = b"", b"", set()
        for request in requests:
            opaque = next(self._opaque)
            if "which" not in request:
                data += frame_of(request, opaque)
                if "TRAN_MSG" in request["ext"]["i"]:
                    halves.add(opaque)
            elif self.opened:
                frame = end_of(self.opened[request["which"] % len(self.opened)], request, opaque)
                if request["other_connection"]:
                    elsewhere += frame
                else:
                    data += frame
        for side, other in zip(self.sides, self.others, strict=True):
            other.connection.dataReceived(elsewhere)
            side.peer.connection.dataReceived(data)
            side.world.turn()
        told = [sent(side.peer.wire) for side in self.sides]
        seen = [sorted((a.opaque, a.code, a.remark, a.ext) for a in answers) for answers in told]
        assert seen[0] == seen[1]
        assert sorted(a.opaque for a in sent(self.others[0].wire)) == sorted(
            a.opaque for a in sent(self.others[1].wire)
        )
        for answer in told[0]:
            if answer.opaque in halves and answer.code == 0:
                at = decode_message_id(answer.ext["msgId"])[1]
                self.opened.append((at, int(answer.ext["queueOffset"])))

    def check(self) -> None:
        """Both have come to the same; also with the notes of what has ended."""
        for side in self.sides:
            side.world.parts.transactions._ends.write()
        ours, reference = (side.state() for side in self.sides)
        for what, value in reference.items():
            assert ours[what] == value, what

    def close(self) -> None:
        for side in self.sides:
            side.world.close()


@settings(max_examples=150, deadline=None)
@given(reads=st.lists(st.lists(st.one_of(puts(), puts(), ends()), min_size=1, max_size=10), min_size=2, max_size=6))
def test_both_ways_are_equal(tmp_path_factory: pytest.TempPathFactory, reads: list[list[dict[str, Any]]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_clock(patch)
        both = Both(tmp_path_factory)
        try:
            for read in reads:
                both.read(read)
            both.check()
        finally:
            both.close()


def half(number: int, **ext: str) -> dict[str, Any]:
    """A usual half message."""
    fields = {**USUAL, "f": "4", "e": str(number % 4), "i": HALVES[0] % number, **ext}
    return {"ext": fields, "binary": False, "flag": 0, "code": 310, "body": b"b%d" % number, "style": "java"}


END = {"kind": "8", "changes": {}, "flag": 2, "binary": False}


@pytest.fixture
def side(tmp_path: Path, now: None) -> Any:
    side = Side(tmp_path, runs=True)
    yield side
    side.world.close()


def opened(side: Side, count: int, first: int = 0) -> list[tuple[int, int]]:
    """Open transactions; where their half messages are."""
    side.peer.connection.dataReceived(b"".join(frame_of(half(first + n), n) for n in range(count)))
    answers = sorted(sent(side.peer.wire), key=lambda answer: answer.opaque)
    return [(decode_message_id(answer.ext["msgId"])[1], int(answer.ext["queueOffset"])) for answer in answers]


def test_ends_and_half_messages_are_one_run(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    for begun in range(2):  # the first time, the queues are opened one by one
        halves = opened(side, 8, begun * 100)
        taken = spied(side, monkeypatch)
        read = b""
        for number, place in enumerate(halves):
            read += end_of(place, {**END, "kind": "12" if number == 5 else "8"}, 100 + number)
            read += frame_of(half(begun * 100 + 10 + number), 200 + number)
        side.peer.connection.dataReceived(read)
        assert sorted(answer.opaque for answer in sent(side.peer.wire)) == list(range(200, 208))
    assert taken == [16]
    store = side.world.store
    assert [store.max_offset("T", queue_id) for queue_id in range(4)] == [4, 2, 4, 4]
    assert store.max_offset(TRANS_HALF_TOPIC, 0) == 32
    side.world.parts.transactions._ends.write()
    assert store.max_offset(TRANS_OP_HALF_TOPIC, 0) == 1
    assert side.world.parts.transactions.counts.count("T") == 16


def test_what_lies_far_apart_or_is_not_in_memory_is_read_by_the_handlers(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = side.world.store
    first = opened(side, 2)
    monkeypatch.setattr(half_reads, "SPAN_MAX_BYTES", half_reads._LAST_BYTES)
    side.peer.connection.dataReceived(b"".join(end_of(place, END, 50) for place in first))
    assert sum(store.max_offset("T", queue_id) for queue_id in range(4)) == 2

    monkeypatch.undo()
    second = opened(side, 2, 10)

    def cold(*_: Any, **__: Any) -> bytes:
        raise ColdRead("not in memory")

    with monkeypatch.context() as patch:
        patch.setattr(store, "read_log", cold)
        side.peer.connection.dataReceived(b"".join(end_of(place, END, 50) for place in second))
    assert sum(store.max_offset("T", queue_id) for queue_id in range(4)) == 4


def test_ends_that_are_not_usual_cost_no_more_than_by_the_handlers(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests behind the first unusual one are not read over and over."""
    places = opened(side, 64)
    other = side.world.peer("another")
    parsed = []
    read_sends = speed.read_sends
    assert read_sends is not None

    def counted(*args: Any) -> Any:
        found = read_sends(*args)
        parsed.append(len(found[0]))
        return found

    monkeypatch.setattr(speed, "read_sends", counted)
    other.connection.dataReceived(b"".join(end_of(place, END, 50) for place in places))
    assert sum(side.world.store.max_offset("T", queue_id) for queue_id in range(4)) == 64
    assert sum(parsed) <= 2 * 64


@pytest.mark.usefixtures("now")
def test_as_many_as_lie_together_are_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    side = Side(tmp_path, runs=True, mappedFileSizeCommitLog="200000")
    places = opened(side, 64)
    side.peer.connection.dataReceived(b"".join(end_of(place, END, 50) for place in places[:4]))
    monkeypatch.setattr(half_reads, "_LAST_BYTES", 1000)
    monkeypatch.setattr(half_reads, "SPAN_MAX_BYTES", 1000 + places[43][0] - places[4][0])
    taken = spied(side, monkeypatch)
    side.peer.connection.dataReceived(b"".join(end_of(place, END, 50) for place in places[4:]))
    assert len(taken) == 2
    assert taken[0] in range(40, 43), "and those that lie in what is read behind the last one"
    assert sum(taken) == 59, "the one between them is the handler's"
    assert sum(side.world.store.max_offset("T", queue_id) for queue_id in range(4)) == 64
    side.world.close()


@pytest.mark.parametrize("runs", [True, False])
def test_a_rollback_is_noted_even_if_what_came_with_it_cannot_be_written(tmp_path: Path, runs: bool) -> None:
    side = Side(tmp_path, runs=runs)
    places = opened(side, 3)
    with full_disk(side):
        read = [end_of(place, {**END, "kind": "12" if n == 1 else "8"}, 50) for n, place in enumerate(places)]
        side.peer.connection.dataReceived(b"".join(read))
    assert side.world.parts.transactions.counts.count("T") == 2
    side.world.close()


def test_an_end_that_cannot_be_written_is_not_noted(side: Side) -> None:
    places = opened(side, 3)
    with full_disk(side):
        read = b"".join(end_of(place, END, 50) for place in places) + frame_of(half(9), 60)
        side.peer.connection.dataReceived(read)
    assert [(answer.opaque, answer.code) for answer in sent(side.peer.wire)] == [(60, 1)]
    assert side.world.parts.transactions.counts.count("T") == 3
    side.world.parts.transactions._ends.write()
    assert side.world.store.max_offset(TRANS_OP_HALF_TOPIC, 0) == 0
    side.peer.connection.dataReceived(b"".join(end_of(place, END, 70) for place in places))
    assert side.world.parts.transactions.counts.count("T") == 0


def test_where_messages_wait_to_be_safe_the_ends_do_not_count_as_waiting(side: Side) -> None:
    places = opened(side, 3)
    waits, flow = safe_later(side), side.world.parts.flow
    side.peer.connection.dataReceived(end_of(places[0], END, 50) + frame_of(half(5), 60))
    assert (sent(side.peer.wire), flow.waiting_sends, len(waits)) == ([], 1, 1)
    waits[0][1].callback(0)
    assert [answer.opaque for answer in sent(side.peer.wire)] == [60]
    side.peer.connection.dataReceived(end_of(places[1], END, 50))
    assert (sent(side.peer.wire), flow.waiting_sends, len(waits)) == ([], 0, 2), "it is made safe, and nobody waits"
    waits[1][1].errback(RuntimeError("the log was cut"))
    side.peer.connection.dataReceived(end_of(places[2], {**END, "kind": "12"}, 50))
    assert len(waits) == 2, "a rollback alone stores nothing that is to be made safe"


def test_half_messages_are_refused_where_they_are_forbidden(side: Side) -> None:
    place = opened(side, 1)[0]
    side.world.parts.send_settings.reject_transaction_message = True
    side.peer.connection.dataReceived(frame_of(half(5), 60) + end_of(place, END, 50))
    assert [(answer.opaque, answer.code) for answer in sent(side.peer.wire)] == [(60, 16)]
    assert side.world.store.max_offset("T", 0) == 1, "what was opened before can be ended"
