"""Runs of usual sends: what one read brought for one topic is read, stored and answered in three compiled calls.

What it is for: the bulk of what brokers do. A run is the sends in a row that `speed.read_sends` understands, to a topic
about which nothing is special; half messages and the ends of transactions among them. What it must not do: differ from
`SendHandlers` and `TransactionHandlers`, the reference, which serve all others, those that break a limit, and all where
nothing is compiled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.replies import Result, Staged, encode_reply
from rmqwire import speed

from .half_reads import take_halves
from .names import PERM_WRITE, SYSTEM_PREFIX, TRANS_HALF_TOPIC
from .send_checks import NOT_ALLOWED_TO_SEND

if TYPE_CHECKING:
    from collections.abc import Container

    from rmqd.protocol.remoting import RemotingConnection
    from rmqd.store.runwriter import StagedRun
    from rmqwire.frames import Frame

    from .safe_runs import SafeRuns
    from .send import SendHandlers
    from .transaction_service import Transactions


class SendRuns:
    """Serves runs of sends.

    Args:
        handlers: The reference, whose settings these share; writes the answers to what could not be stored.
        transactions: Told what was opened and what has ended.
        safe_runs: Answers them when they are safe; None when a commit is all that is promised.
    """

    def __init__(self, handlers: SendHandlers, transactions: Transactions, safe_runs: SafeRuns | None) -> None:
        self._handlers = handlers
        self._store = handlers.store
        self._topics = handlers.topics
        self._settings = handlers.settings
        self._replies = handlers.replies
        self._suffix = handlers.rules.suffix
        self._stats = handlers.stats
        self._transactions = transactions
        self._safe_runs = safe_runs
        self.special: Container[str] = ()
        """Topics that are left to the handlers."""

    def take(self, connection: RemotingConnection, frames: list[Frame], first: int) -> tuple[int, int, Staged | None]:
        """Stage the sends and ends of transactions that begin with frame `first`.

        Returns:
            How many were staged, the frame from which on it is worth asking again, and the answer to them all, None
            when there are none.
        """
        assert speed.read_sends is not None
        puts, halves = speed.read_sends(frames, first)
        ask_from = first + len(puts)
        if halves:
            parsed = len(puts)
            take_halves(self._store, puts, halves, connection.born_host)
            # What lies behind is read once more only if that costs no more than what was gained.
            if len(puts) < parsed <= 2 * len(puts):
                ask_from = first + len(puts) + 1
        if not puts:
            return 0, max(ask_from, first + 1), None
        topic = puts[0][speed.PUT_TOPIC]
        queue_count = self._queue_count(topic)
        if not queue_count or (self._settings.reject_transaction_message and self._opens(puts)):
            return 0, ask_from, None
        staged = self._stage(topic, queue_count, puts, connection.born_host)
        if staged is None:
            return 0, ask_from, None
        count, total, places = staged

        def answers(told: int | BaseException) -> bytes:
            if isinstance(told, BaseException):
                return self._refused(told, puts[:count])
            return self._replies.stored_run(told, puts, 0, places)

        def finish(failed: Exception | None) -> Result:
            if halves:
                self._note_ends(topic, puts[:count], failed)
            if failed is not None:
                return answers(failed) or None  # ends alone are not answered
            self._count(topic, total)
            if self._safe_runs is None:
                return answers(0) or None
            if places:
                return self._safe_runs.answer(connection, total.end, len(places) // 16, answers)
            if total.stored:
                self._safe_runs.want()
            return None

        return count, ask_from, Staged(finish)

    @staticmethod
    def _opens(puts: list[speed.Put]) -> bool:
        return any(put[speed.PUT_KIND] == speed.KIND_HALF for put in puts)

    def _stage(
        self, topic: str, queue_count: int, puts: list[speed.Put], born_host: bytes
    ) -> tuple[int, StagedRun, bytes] | None:
        """Stage puts, as many as there is room for; give how many, sums over them, and all places."""
        stage_run, suffix = self._store.stage_run, self._suffix
        total, places, count = None, [], 0
        while count < len(puts):
            run = stage_run(topic, queue_count, puts, count, suffix, born_host, TRANS_HALF_TOPIC)
            if run is None:
                break
            count += run.count
            places.append(run.places)
            if total is not None:
                run.size += total.size
                run.stored += total.stored
                run.halves += total.halves
                run.half_bytes += total.half_bytes
            total = run
        return None if total is None else (count, total, places[0] if len(places) == 1 else b"".join(places))

    def _count(self, topic: str, total: StagedRun) -> None:
        """Count what was stored."""
        if total.halves:
            self._stats.put(TRANS_HALF_TOPIC, total.halves, total.half_bytes, total.halves)
            self._transactions.opened(topic, total.halves)
        others = total.stored - total.halves
        if others:
            self._stats.put(topic, others, total.size - total.half_bytes, others)

    def _note_ends(self, topic: str, puts: list[speed.Put], failed: Exception | None) -> None:
        """Note what has ended: what was committed by its message, and what was rolled back in any case."""
        least = speed.KIND_COMMIT if failed is None else speed.KIND_ROLLBACK
        ended = [put[speed.PUT_HALF_OFFSET] for put in puts if put[speed.PUT_KIND] >= least]
        if ended:
            # The notes of the ends lie behind the messages in the log: no slave has the one without the other.
            self._transactions.ended(topic, ended)

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

    def _refused(self, failed: BaseException | None, puts: list[speed.Put]) -> bytes:
        reply = self._handlers.not_stored(failed)
        return b"".join(
            [encode_reply(put[speed.PUT_OPAQUE], reply) for put in puts if put[speed.PUT_KIND] < speed.KIND_COMMIT]
        )
