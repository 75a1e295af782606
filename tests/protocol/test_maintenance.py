"""Cleaning on demand."""

from __future__ import annotations

from pathlib import Path

from protocol.fakes import BrokerWorld

from rmqwire.bodies import TopicConfig
from rmqwire.requests import CleanExpiredConsumequeue, CleanUnusedTopic, DeleteExpiredCommitlog


def test_queues_of_unknown_topics_go(tmp_path: Path) -> None:
    """cleanUnusedTopic frees what deleted topics left, and touches nothing else."""
    world = BrokerWorld(tmp_path)
    world.parts.topics.update(TopicConfig(topic_name="Known"))
    for topic in ("Known", "Gone", "%LMQ%x", "rmq_sys_x", "RMQ_SYS_TRACE_TOPIC"):
        world.put(topic, 0, b"m")
    assert world.peer().ask(CleanUnusedTopic()).code == 0
    assert sorted(world.store.topics()) == ["%LMQ%x", "Known", "RMQ_SYS_TRACE_TOPIC", "rmq_sys_x"]
    world.close()


def test_deletion_by_hand_keeps_what_is_new(tmp_path: Path) -> None:
    """deleteExpiredCommitLog deletes only what is expired."""
    world = BrokerWorld(tmp_path)
    world.put("T", 0, b"m")
    assert world.peer().ask(DeleteExpiredCommitlog()).code == 0
    world.store.clean_expired()
    assert world.store.max_offset("T", 0) == 1
    assert world.store.min_physical_offset == 0
    world.close()


def test_cleaning_queues_by_hand_keeps_their_numbering(tmp_path: Path) -> None:
    """cleanExpiredCQ goes through all queues again and takes nothing that is still needed."""
    world = BrokerWorld(tmp_path)
    world.put("T", 0, b"a", b"b")
    world.store.clean_expired()
    assert world.peer().ask(CleanExpiredConsumequeue()).code == 0
    world.store.clean_expired()
    assert (world.store.min_offset("T", 0), world.store.max_offset("T", 0)) == (0, 2)
    world.close()
