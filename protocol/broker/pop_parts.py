"""What the requests of pop consumption share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from rmqd.store.messagestore import MessageStore

    from .escape import Escape
    from .groups import SubscriptionGroups
    from .ha_acks import WhenSafe
    from .pop_checks import PopChecks, PopSettings
    from .pop_holds import PopHolds
    from .pop_log import ReviveLog
    from .pop_offsets import PopOffsets, PopsOut
    from .pop_order import PopOrders
    from .state_writer import RunInThread
    from .stats import BrokerStats
    from .topics import TopicTable


class PopShared(msgspec.Struct):
    """The state of pop consumption and what it works on.

    Attributes:
        holds: Waiting pops.
        notices: Waiting notifications.
        when_safe: As for sends.
        elsewhere: Reads from other brokers, and sends to them; None before the broker serves.
    """

    store: MessageStore
    topics: TopicTable
    groups: SubscriptionGroups
    settings: PopSettings
    checks: PopChecks
    log: ReviveLog
    offsets: PopOffsets
    out: PopsOut
    orders: PopOrders
    holds: PopHolds
    notices: PopHolds
    stats: BrokerStats
    wall_clock_ms: Callable[[], int]
    run_in_thread: RunInThread
    when_safe: WhenSafe | None
    elsewhere: Escape | None = None
