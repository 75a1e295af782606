"""Which queues a pop looks at, one after the other. What it must not do: look.

Source: `PopMessageProcessor.processRequest` (5.5.0).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .names import pop_retry_topics

if TYPE_CHECKING:
    from rmqwire.bodies import TopicConfig
    from rmqwire.requests.pop import PopMessage

    from .pop_checks import PopSettings
    from .topics import TopicTable


def queues_to_look_at(
    header: PopMessage, topic: TopicConfig, topics: TopicTable, settings: PopSettings, wants_more: Callable[[], bool]
) -> Iterator[tuple[str, int]]:
    """Give topics and queue ids: at times the retry topic first, otherwise when there is room left.

    Args:
        header: What was asked for.
        topic: Where.
        topics: Has the retry topics.
        settings: How often these come first, and which.
        wants_more: Whether there is room left.
    """
    at_random = random.randrange(100)  # noqa: S311
    retry_first = at_random < settings.retry_probability
    if retry_first and not header.order:
        yield from _retry_queues(header, topics, settings, at_random)
    if header.queue_id < 0:
        yield from _turned(topic, at_random)
    else:
        yield header.topic, header.queue_id
    if not retry_first and not header.order and wants_more():
        yield from _retry_queues(header, topics, settings, at_random)


def _retry_queues(
    header: PopMessage, topics: TopicTable, settings: PopSettings, at_random: int
) -> Iterator[tuple[str, int]]:
    second, first = pop_retry_topics(header.topic, header.consumer_group)
    use_first = not settings.retry_v2 or (settings.read_retry_v1 and at_random % 2 == 0)
    config = topics.get(first if use_first else second)
    if config is not None:
        yield from _turned(config, at_random)


def _turned(topic: TopicConfig, at_random: int) -> Iterator[tuple[str, int]]:
    """All queues of a topic, beginning anywhere."""
    count = topic.read_queue_nums
    return ((topic.topic_name or "", (at_random + index) % count) for index in range(count))
