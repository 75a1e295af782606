"""The producers' part in a check: who is asked, and what becomes of a transaction that nobody answers for.

Source: `AbstractTransactionalMessageCheckListener`, `DefaultTransactionalMessageCheckListener` (5.5.0).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.logger import Logger

from rmqwire.message import encode_message_id
from rmqwire.requests.transaction import CheckTransactionState

from .names import PERM_READ, PERM_WRITE, TRANS_CHECK_MAX_TIME_TOPIC, TRANS_HALF_TOPIC
from .transaction_messages import UNIQ_KEY, HalfMessage

if TYPE_CHECKING:
    from rmqd.store.messagestore import StagedPut

    from .clients import ProducerRegistry
    from .topic_counts import TopicCounts
    from .topics import TopicTable

_log = Logger()

_GIVEN_UP_QUEUES = 1


@dataclass(frozen=True, slots=True)
class Address:
    """Who the broker is, in checks and notes.

    Attributes:
        broker_name: Told to producers.
        store_host: `ip | port i32`, as records store it.
    """

    broker_name: str
    store_host: bytes


class ProducerChecks:
    """Asks producers, and counts what could not be asked.

    Args:
        producers: Who is connected.
        topics: Where the topic of given-up messages is made.
        counts: Of open transactions.
        address: The broker's.
    """

    def __init__(self, producers: ProducerRegistry, topics: TopicTable, counts: TopicCounts, address: Address) -> None:
        self._producers = producers
        self._topics = topics
        self._counts = counts
        self._address = address
        self.asked = 0
        self.nobody: Counter[str] = Counter()
        """By producer group: half messages that nobody could be asked about."""

    def ask(self, half: HalfMessage, put: StagedPut) -> None:
        """Ask one producer of the group, each in turn; one way, it answers with END_TRANSACTION."""
        group = half.producer_group or ""
        connection = self._producers.any_connection(group)
        if connection is None:
            self.nobody[group] += 1
            return
        self.asked += 1
        unique_key = half.properties.get(UNIQ_KEY)
        header = CheckTransactionState(
            topic=TRANS_HALF_TOPIC,
            tran_state_table_offset=put.queue_offset,
            commit_log_offset=put.physical_offset,
            msg_id=unique_key,
            transaction_id=unique_key,
            offset_msg_id=encode_message_id(self._address.store_host, put.physical_offset),
            broker_name=self._address.broker_name,
        )
        connection.tell(header, half.check_body(put))

    def giving_up(self) -> None:
        """Make the topic of given-up messages."""
        self._topics.create_for_send_back(TRANS_CHECK_MAX_TIME_TOPIC, _GIVEN_UP_QUEUES, PERM_READ | PERM_WRITE, 0)

    def gave_up(self, half: HalfMessage) -> None:
        """Count it as ended, and say so: only an administrator can help now."""
        self._counts.add(half.real_topic, -1)
        _log.error(
            "the transaction {key} to {topic} was checked {times} times or is too old, moved to {moved}",
            key=half.properties.get(UNIQ_KEY),
            topic=half.real_topic,
            times=half.check_times,
            moved=TRANS_CHECK_MAX_TIME_TOPIC,
        )

    def log_round(self) -> None:
        """Say what a round did, if anything."""
        if self.asked or self.nobody:
            _log.info(
                "{asked} transactions checked; no producer to ask: {nobody}",
                asked=self.asked,
                nobody=dict(self.nobody.most_common(10)),
            )
        self.asked = 0
        self.nobody.clear()
