"""Which messages of a queue a consumer wants: by tags, which the consume queue knows, or by their properties.

Source: `FilterAPI`, `ExpressionMessageFilter`, `ExpressionForRetryMessageFilter` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rmqd.store.errors import ColdRead, StoreError
from rmqwire.errors import MalformedMessage
from rmqwire.hashing import java_string_hash
from rmqwire.properties import decode_properties
from rmqwire.record_fields import record_properties

from .names import RETRY_PREFIX

if TYPE_CHECKING:
    from rmqd.protocol.filter import ConsumerFilters, Filter
    from rmqd.store.acceptance import Accepts
    from rmqd.store.messagestore import MessageStore
    from rmqwire.bodies import SubscriptionData

PROPERTY_RETRY_TOPIC = "RETRY_TOPIC"
"""Where a message in a retry topic came from."""

READ_ON_ARRIVAL_MAX = 16
"""Of more messages that arrive at once not all are looked at: those who wait are woken to see for themselves."""


class Selection(NamedTuple):
    """What a consumer wants.

    Attributes:
        tags: Tag hashes, None for all.
        accepts: Asked about the properties of a message, None when tags decide.
    """

    tags: frozenset[int] | None
    accepts: Accepts | None = None


def tags_of(subscription: SubscriptionData) -> frozenset[int] | None:
    """Give the tag hashes of a subscription from a heartbeat; None when it wants every message."""
    if subscription.sub_string == "*" or not subscription.code_set:
        return None
    return frozenset(subscription.code_set)


def parse_tags(expression: str | None) -> frozenset[int] | None:
    """Read a tag expression (`*`, empty, or tags joined by two bars).

    Raises:
        ValueError: It holds bars but no tag.
    """
    if expression is None or not expression.strip() or expression == "*":
        return None
    tags = [tag.strip() for tag in expression.split("||")]
    tags = [tag for tag in tags if tag]
    if not tags:
        raise ValueError("subString split error")
    return frozenset(map(java_string_hash, tags))


def by_properties(
    compiled: Filter, topic: str, filters: ConsumerFilters, *, filter_support_retry: bool = False
) -> Selection:
    """Select by an expression.

    Args:
        compiled: The expression.
        topic: Where from; of a retry topic `filter_support_retry` asks the filter of each message's first topic
            instead, and takes messages of topics without one.
        filters: Where those are.
        filter_support_retry: `filterSupportRetry`.
    """
    if not (filter_support_retry and topic.startswith(RETRY_PREFIX)):
        return Selection(None, compiled.matches)
    group = topic[len(RETRY_PREFIX) :].partition("+")[0]

    def accepts(properties: Mapping[str, str]) -> bool:
        found = filters.get(properties.get(PROPERTY_RETRY_TOPIC, ""), group)
        return found is None or found.compiled.matches(properties)

    return Selection(None, accepts)


def arrival_reader(store: MessageStore) -> Callable[[str, int, int, int], Sequence[Mapping[str, str]] | None]:
    """Make the reader of what has just arrived: by topic, queue id, first offset and number.

    It gives the properties of each message; None when they are not at hand, so that whoever waits has to look itself.
    """

    def read(topic: str, queue_id: int, offset: int, count: int) -> Sequence[Mapping[str, str]] | None:
        if count > READ_ON_ARRIVAL_MAX:
            return None
        try:
            found = store.get_messages(topic, queue_id, offset, count)
            if found.count != count:
                return None
            return [decode_properties(record_properties(record)) for record in found.records]
        except (ColdRead, StoreError, MalformedMessage):
            return None  # the pull that is woken meets the same, and answers for it

    return read
