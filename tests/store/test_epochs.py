"""The epoch file: its text, which only official brokers fix, its list, and where two logs part."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqd.store.epochs import Epoch, EpochFile, consistent_point, decode_epochs, encode_epochs
from rmqd.store.errors import ReplicaRefused, StoreDamaged

TWO = (Epoch(1, 0), Epoch(3, 500))
TWO_TEXT = b"2\n1359627503\n1-0\n3-500\n"


def file_at(path: Path, log_end: int = 1 << 40) -> EpochFile:
    epochs = EpochFile(str(path))
    epochs.load(log_end)
    return epochs


def test_the_text_is_the_official_one() -> None:
    assert encode_epochs(TWO) == TWO_TEXT
    assert decode_epochs(TWO_TEXT) == TWO
    assert decode_epochs(b"1\n0\n7-9\n") == (Epoch(7, 9),), "a checksum of 0 is none"


@pytest.mark.parametrize(
    "text",
    [
        b"2\n1359627503\n1-0\n3-501\n",
        b"3\n1359627503\n1-0\n3-500\n",
        b"2\n1359627503\n1-0\n",
        b"2\n0\n3-0\n1-500\n",
        b"2\n0\n1-500\n3-0\n",
        b"",
        b"no number\n0\n",
        b"1\n0\n1\n",
    ],
)
def test_a_damaged_text_is_told(text: bytes) -> None:
    with pytest.raises(ValueError):
        decode_epochs(text)


def test_what_is_appended_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "epochFileCheckpoint"
    epochs = file_at(path)
    assert epochs.last_epoch == -1
    for entry in TWO:
        epochs.append(*entry)
    assert path.read_bytes() == TWO_TEXT
    again = file_at(path)
    assert again.entries == TWO
    assert again.last_epoch == 3


def test_an_epoch_has_to_follow_the_last_one(tmp_path: Path) -> None:
    epochs = file_at(tmp_path / "epochs")
    epochs.append(3, 500)
    for epoch, start in ((3, 600), (2, 600), (4, 499)):
        with pytest.raises(ReplicaRefused):
            epochs.append(epoch, start)
    epochs.receive(3, 500)
    epochs.append(4, 500)
    assert epochs.entries == ((3, 500), (4, 500)), "a master that wrote nothing has its epoch too"


def test_an_offset_lies_in_the_stretch_that_has_its_byte(tmp_path: Path) -> None:
    epochs = file_at(tmp_path / "epochs")
    assert epochs.at(0) is None
    for entry in ((2, 100), (4, 300), (5, 300)):
        epochs.append(*entry)
    assert epochs.at(99) is None
    assert epochs.at(100) == ((2, 100), 300)
    assert epochs.at(299) == ((2, 100), 300)
    assert epochs.at(300) == ((5, 300), None)


def test_stretches_are_cut_at_both_ends(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    epochs = file_at(path)
    for entry in ((1, 0), (2, 100), (4, 300)):
        epochs.append(*entry)
    epochs.cut_prefix(100)
    assert len(epochs.entries) == 3
    epochs.cut_prefix(101)
    assert epochs.entries == ((2, 100), (4, 300))
    epochs.adopt((), 300)
    assert file_at(path).entries == ((2, 100),)
    epochs.cut_prefix(1 << 40)
    assert epochs.entries == ((2, 100),), "the last one goes on"
    epochs.adopt((), 0)
    assert not path.exists()
    assert not path.with_name("epochs.bak").exists(), "it would be taken for the list"
    assert file_at(path).entries == ()


@pytest.mark.parametrize(
    ("ours", "theirs", "end", "adopted"),
    [
        ((), ((1, 0), (4, 90)), 0, ((1, 0),)),
        (((1, 0), (2, 60)), ((1, 0), (3, 60), (4, 90)), 60, ((1, 0), (3, 60))),
        (((1, 0), (2, 60)), ((2, 60), (4, 90)), 80, ((1, 0), (2, 60))),
        (((1, 0), (2, 60)), ((1, 0), (4, 90)), 50, ((1, 0),)),
        (((1, 0), (5, 60)), ((0, 0), (1, 20), (5, 60)), 10, ((0, 0),)),
    ],
)
def test_a_slave_has_its_masters_epochs_as_far_as_their_logs_are_the_same(
    tmp_path: Path,
    ours: tuple[tuple[int, int], ...],
    theirs: tuple[tuple[int, int], ...],
    end: int,
    adopted: tuple[tuple[int, int], ...],
) -> None:
    epochs = file_at(tmp_path / "epochs")
    for entry in ours:
        epochs.append(*entry)
    epochs.adopt([Epoch(*one) for one in theirs], end)
    assert file_at(tmp_path / "epochs").entries == adopted


def test_the_last_epoch_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    epochs = file_at(path)
    for entry in ((3, 100), (4, 400), (5, 400)):
        epochs.append(*entry)
    epochs.begin_again(350, 900)
    assert file_at(path).entries == ((3, 100), (5, 350))
    epochs.begin_again(100, 900)
    assert file_at(path).entries == ((3, 100), (5, 100))


def test_a_loss_is_known_until_the_epoch_begins_anew_or_is_over(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    epochs = file_at(path)
    epochs.note_loss()
    assert not epochs.may_have_lost, "there is nothing to lose"
    epochs.append(3, 100)
    assert not epochs.may_have_lost
    epochs.note_loss()
    assert file_at(path).may_have_lost
    epochs.append(4, 200)
    assert not file_at(path).may_have_lost
    epochs.note_loss()
    epochs.note_loss()
    epochs.begin_again(150, 900)
    assert not file_at(path).may_have_lost


def test_the_last_epoch_begins_anew_where_the_log_begins(tmp_path: Path) -> None:
    """What is left is of no epoch that anybody knows."""
    path = tmp_path / "epochs"
    epochs = file_at(path)
    for entry in ((2, 100), (3, 100)):
        epochs.append(*entry)
    epochs.begin_again(None, 100)
    assert epochs.entries == ((2, 100), (3, 100))
    epochs.begin_again(None, 150)
    assert file_at(path).entries == ((0, 100), (3, 101))
    epochs.begin_again(100, 900)
    assert file_at(path).entries == ((0, 100), (3, 102)), "it began at 100 before"


@pytest.mark.parametrize(
    ("slave", "end", "point"),
    [
        (((4, 500),), 1100, 900),
        (((4, 500),), 700, 700),
        (((4, 500), (5, 1000)), 2000, 900),
        (((4, 500), (5, 900)), 2000, 1500),
    ],
    ids=["a tail of the one before", "less", "more of this epoch", "after it began anew"],
)
def test_what_is_the_same_as_the_log_of_a_master_that_lost_the_end_of_its_own(
    tmp_path: Path, slave: tuple[tuple[int, int], ...], end: int, point: int
) -> None:
    epochs = file_at(tmp_path / "epochs")
    for entry in ((4, 500), (5, 1000)):
        epochs.append(*entry)
    epochs.begin_again(900, 1500)
    assert consistent_point([Epoch(*one) for one in slave], end, epochs.entries, 1500) == point


def test_an_epoch_behind_the_end_of_the_log_is_gone_with_it(tmp_path: Path) -> None:
    """Power was lost after the epoch was saved and before the log was."""
    path = tmp_path / "epochs"
    epochs = file_at(path)
    for entry in ((1, 0), (2, 100), (4, 300)):
        epochs.append(*entry)
    assert file_at(path, log_end=100).entries == ((1, 0), (2, 100))
    assert file_at(path).entries == ((1, 0), (2, 100)), "it does not come back when the log has grown"


def test_a_damaged_file_is_replaced_by_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "epochs"
    epochs = file_at(path)
    epochs.append(1, 0)
    epochs.append(2, 100)
    path.write_bytes(b"2\n1\n1-0\n2-100\n")
    assert file_at(path).entries == ((1, 0),)
    path.with_name("epochs.bak").write_bytes(b"also\n")
    path.write_bytes(b"2\n1\n1-0\n2-100\n")
    with pytest.raises(StoreDamaged, match="epochs"):
        file_at(path)


@pytest.mark.parametrize(
    ("ours", "our_end", "theirs", "their_end", "point"),
    [
        (((1, 0),), 100, ((1, 0),), 80, 80),
        (((1, 0),), 80, ((1, 0),), 100, 80),
        (((1, 0),), 100, ((1, 0), (2, 60)), 200, 60),
        (((1, 0), (2, 60)), 100, ((1, 0), (3, 70)), 200, 60),
        (((1, 0), (2, 60)), 100, ((1, 0), (2, 60), (4, 90)), 300, 90),
        (((1, 0), (2, 60)), 100, ((2, 60),), 90, 90),
        (((1, 0),), 100, ((1, 0), (2, 0)), 300, 0),
        (((1, 0), (3, 50)), 100, ((2, 0), (4, 50)), 100, None),
        (((1, 0),), 100, ((1, 10),), 100, None),
        (((1, 0),), 100, ((0, 0), (1, 10)), 100, 0),
        (((1, 10),), 100, ((1, 0),), 100, 0),
        (((1, 0), (5, 60)), 100, ((1, 0), (5, 80)), 200, 60),
        (((1, 0), (5, 60)), 100, ((1, 0), (5, 40)), 200, 40),
        (((2, 60),), 100, ((1, 0), (3, 50)), 200, None),
        ((), 0, ((1, 0),), 100, None),
        (((1, 0),), 100, (), 0, None),
    ],
)
def test_where_two_logs_part(
    ours: tuple[tuple[int, int], ...],
    our_end: int,
    theirs: tuple[tuple[int, int], ...],
    their_end: int,
    point: int | None,
) -> None:
    found = consistent_point([Epoch(*one) for one in ours], our_end, [Epoch(*one) for one in theirs], their_end)
    assert found == point


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1)), max_size=8))
def test_any_list_is_read_as_it_was_written(pairs: list[tuple[int, int]]) -> None:
    epochs = sorted({epoch for epoch, _ in pairs})
    starts = sorted(start for _, start in pairs)
    entries = tuple(Epoch(epoch, start) for epoch, start in zip(epochs, starts, strict=False))
    assert decode_epochs(encode_epochs(entries)) == entries
