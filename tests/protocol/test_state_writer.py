"""State files are written off the reactor, each change in time, and failures are told to whoever waits."""

from __future__ import annotations

from pathlib import Path

from protocol.fakes import ManualThread, state_file
from twisted.trial.unittest import SynchronousTestCase

from rmqd.protocol.broker.state_writer import StateWriter
from rmqd.store.errors import StoreError

waits = SynchronousTestCase()


class Notes:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "notes.json"
        self.text = b"0"
        self.encoded = 0
        self.thread = ManualThread()
        self.writer = StateWriter(state_file(folder, "notes.json"), self._encode, self.thread)

    def _encode(self) -> bytes:
        self.encoded += 1
        return self.text

    def change(self, text: bytes) -> None:
        self.text = text
        self.writer.changed()


def test_changes_during_a_write_go_out_together(tmp_path: Path) -> None:
    """A thousand topics made at once cost a few writes, not a thousand."""
    notes = Notes(tmp_path)
    for number in range(1000):
        notes.change(b"%d" % number)
    assert len(notes.thread.jobs) == 1, "one write at a time"
    notes.thread.run_one()
    assert notes.path.read_bytes() == b"0"
    notes.thread.run_one()
    assert notes.path.read_bytes() == b"999"
    assert notes.thread.jobs == []
    assert notes.encoded == 2


def test_saved_waits_for_the_change_and_not_for_later_ones(tmp_path: Path) -> None:
    """Who made a topic is answered when the topic is on disk."""
    notes = Notes(tmp_path)
    notes.change(b"1")
    first = notes.writer.saved()
    notes.change(b"2")
    second = notes.writer.saved()
    waits.assertNoResult(first)
    notes.thread.run_one()
    waits.successResultOf(first)
    waits.assertNoResult(second)
    notes.thread.run_one()
    waits.successResultOf(second)
    assert notes.path.read_bytes() == b"2"
    waits.successResultOf(notes.writer.saved())


def test_a_marked_change_waits_for_the_tick(tmp_path: Path) -> None:
    """Offsets are written every five seconds, not at each commit; a stop writes them at once."""
    notes = Notes(tmp_path)
    notes.writer.mark()
    assert notes.thread.jobs == []
    notes.writer.write()
    notes.thread.run_one()
    notes.writer.mark()
    stop = notes.writer.saved()
    notes.thread.run_one()
    waits.successResultOf(stop)
    notes.writer.write()
    assert notes.thread.jobs == [], "nothing has changed since"


def test_a_failed_write_is_told_and_tried_again(tmp_path: Path) -> None:
    """On a full disk a new topic is not acknowledged; once there is room, it is stored without being asked again."""
    folder = tmp_path / "gone"
    notes = Notes(folder)
    folder.write_bytes(b"a file where the folder should be")
    notes.change(b"1")
    waiter = notes.writer.saved()
    notes.thread.run_one()
    waits.failureResultOf(waiter, StoreError)
    assert not notes.writer.clean
    folder.unlink()
    notes.writer.write()
    notes.thread.run_one()
    assert notes.path.read_bytes() == b"1"
    assert notes.writer.clean
