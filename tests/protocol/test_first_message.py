"""The first message of a new topic is acknowledged when a crash would lose neither the message nor the topic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from protocol.fakes import BrokerWorld, ManualThread
from protocol.wiring import sent

from rmqd.protocol.broker import state_writer
from rmqwire.requests import SendMessage


def message(topic: str) -> SendMessage:
    fields: dict[str, Any] = {
        "producer_group": "p",
        "topic": topic,
        "default_topic": "TBW102",
        "default_topic_queue_nums": 4,
        "queue_id": 0,
        "sys_flag": 0,
        "born_timestamp": 1,
        "flag": 0,
        "properties": "",
    }
    return SendMessage(**fields)


def test_the_answer_waits_for_the_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut, whoever was told SEND_OK finds topic and message."""
    world, thread = BrokerWorld(tmp_path), ManualThread()
    monkeypatch.setattr(world.parts.topics._writer, "_run_in_thread", thread)
    assert isinstance(world.parts.topics._writer, state_writer.StateWriter)
    peer = world.peer()
    peer.send(message("New"), b"first")
    assert sent(peer.wire) == []
    assert world.store.max_offset("New", 0) == 1
    assert peer.ask(message("SELF_TEST_TOPIC"), b"x").code != 0, "others are answered meanwhile"
    thread.run_one()
    (answer,) = sent(peer.wire)
    assert answer.code == 0
    assert answer.ext["queueOffset"] == "0"
    assert peer.ask(message("New"), b"second").code == 0
    world.close()


def test_a_topic_that_cannot_be_saved_is_not_acknowledged(tmp_path: Path) -> None:
    """On a full disk the sender learns of it at once; when there is room again, sends go on."""
    world = BrokerWorld(tmp_path)
    config = tmp_path / "store" / "config"
    kept = tmp_path / "kept"
    if config.exists():
        config.rename(kept)
    config.write_bytes(b"no folder")
    peer = world.peer()
    assert peer.ask(message("New"), b"first").code == 1
    assert peer.ask(message("New"), b"second").code == 1
    config.unlink()
    assert peer.ask(message("New"), b"third").code == 0
    assert world.parts.topics.unsaved == set()
    world.close()
