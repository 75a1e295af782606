"""disableConsumeIfConsumerReadSlowly: a group that is too far behind is stopped, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest
from protocol.fakes import BrokerWorld

from rmqwire.bodies import TopicConfig
from rmqwire.codes import ResponseCode
from rmqwire.requests.pull import PullMessage


def pull(group: str, offset: int) -> PullMessage:
    return PullMessage(
        consumer_group=group, topic="T", queue_id=0, queue_offset=offset, max_msg_nums=1, sys_flag=4, commit_offset=0,
        suspend_timeout_millis=0, sub_version=0, subscription="*", expression_type="TAG",
    )  # fmt: skip


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_a_group_far_behind_is_stopped(tmp_path: Path, enabled: str) -> None:
    """The next pulls of the slow group are refused; those of the quick one go on, and the switch is off by default."""
    world = BrokerWorld(tmp_path, disableConsumeIfConsumerReadSlowly=enabled, consumerFallbehindThreshold="1000")
    world.parts.topics.update(TopicConfig(topic_name="T"))
    world.put("T", 0, *[b"x" * 200] * 10)
    peer = world.peer()
    for group, offset in (("slow", 0), ("quick", 8)):
        assert peer.ask(pull(group, offset)).code == ResponseCode.SUCCESS
    assert peer.ask(pull("slow", 0)).code == ResponseCode.SUCCESS, "not before the next check"
    world.parts.slow_groups.check()
    stopped = ResponseCode.NO_PERMISSION if enabled == "true" else ResponseCode.SUCCESS
    assert peer.ask(pull("slow", 0)).code == stopped
    assert peer.ask(pull("quick", 9)).code == ResponseCode.SUCCESS
    assert world.parts.groups.data_version.counter == (3 if enabled == "true" else 2)
    world.close()
