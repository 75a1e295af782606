"""Runs of usual sends: what one read brought for one topic is read, stored and answered in three compiled calls.

What it is for: the bulk of what brokers do. A run is the sends in a row that `speed.read_sends` understands, to a topic
about which nothing is special. What it must not do: differ from `SendHandlers`, the reference, which serves all others,
those that break a limit, and everything where nothing is compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.replies import Result, Staged, encode_reply
from rmqwire import speed

from .names import PERM_WRITE, SYSTEM_PREFIX
from .send_checks import NOT_ALLOWED_TO_SEND

if TYPE_CHECKING:
    from collections.abc import Container

    from rmqd.protocol.remoting import RemotingConnection
    from rmqd.store.messagestore import MessageStore
    from rmqwire.frames import Frame

    from .safe_runs import SafeRuns
    from .send import SendHandlers, SendSettings
    from .send_properties import PropertyRules
    from .send_replies import SendReplies
    from .stats import BrokerStats
    from .topics import TopicTable


class SendRuns:
    """Serves runs of sends.

    Args:
        handlers: The reference; writes the answers to what could not be stored.
        store, topics, settings, replies, rules, stats: As of `SendHandlers`.
        safe_runs: Answers them when they are safe; None when a commit is all that is promised.
    """

    def __init__(
        self,
        handlers: SendHandlers,
        store: MessageStore,
        topics: TopicTable,
        settings: SendSettings,
        replies: SendReplies,
        rules: PropertyRules,
        stats: BrokerStats,
        safe_runs: SafeRuns | None,
    ) -> None:
        self._handlers = handlers
        self._store = store
        self._topics = topics
        self._settings = settings
        self._replies = replies
        self._suffix = rules.suffix
        self._stats = stats
        self._safe_runs = safe_runs
        self.special: Container[str] = ()
        """Topics that are left to the handlers."""

    def take(self, connection: RemotingConnection, frames: list[Frame], first: int) -> tuple[int, int, Staged | None]:
        """Stage the sends that begin with frame `first`.

        Returns:
            How many were staged, the frame from which on it is worth asking again, and the answer to them all, None
            when there are none.
        """
        assert speed.read_sends is not None
        sends = speed.read_sends(frames, first)
        if not sends:
            return 0, first + 1, None
        topic = sends[0][1]
        queue_count = self._queue_count(topic)
        if not queue_count:
            return 0, first + len(sends), None
        stage_run, suffix, born_host = self._store.stage_run, self._suffix, connection.born_host
        places, size, end, count = [], 0, 0, 0
        while count < len(sends):
            run = stage_run(topic, queue_count, sends, count, suffix, born_host)
            if run is None:
                break
            places.append(run.places)
            count += run.count
            size += run.size
            end = run.end
        if not count:
            return 0, first + len(sends), None
        all_places = places[0] if len(places) == 1 else b"".join(places)

        def answers(told: int | BaseException) -> bytes:
            if isinstance(told, BaseException):
                return self._refused(told, sends, count)
            return self._replies.stored_run(told, sends, 0, all_places)

        def finish(failed: Exception | None) -> Result:
            if failed is not None:
                return answers(failed)
            self._stats.put(topic, count, size, count)
            if self._safe_runs is None:
                return answers(0)
            return self._safe_runs.answer(connection, end, count, answers)

        return count, first + len(sends), Staged(finish)

    def _queue_count(self, topic: str) -> int:
        """How many queues of a topic take runs; 0 when something about it, or the broker, is special."""
        settings = self._settings
        if (
            settings.is_slave
            or settings.too_few_replicas is not None
            or settings.start_accept_send_request_at_ms
            or not settings.broker_permission & PERM_WRITE
        ):
            return 0
        config = self._topics.get(topic)
        if config is None or config.topic_filter_type == "MULTI_TAG" or topic in self._topics.unsaved:
            return 0
        if topic in self.special:
            return 0
        if topic in NOT_ALLOWED_TO_SEND or topic.startswith(("%", SYSTEM_PREFIX)):
            return 0
        return config.write_queue_nums

    def _refused(self, failed: BaseException | None, sends: list[speed.Send], count: int) -> bytes:
        reply = self._handlers.not_stored(failed)
        return b"".join([encode_reply(send[0], reply) for send in sends[:count]])
