"""What a slave does of a master's work while it stands in for it (`enableSlaveActingMaster`, `enableRemoteEscape`).

Only construction. Source: `BrokerController.changeSpecialServiceStatus` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .escape import Escape
from .escape_delays import EscapedDelays, pause_ms
from .escape_halves import EscapedHalves
from .escape_pops import EscapedRevives, escaped_pops
from .escape_rounds import EscapeRounds, WhileActing
from .escape_timers import EscapedTimerPuts, escaped_timers

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from .delay import DelayLevels
    from .parts import BrokerParts


def escapes(
    parts: BrokerParts,
    levels: DelayLevels,
    wall_clock_ms: Callable[[], int],
    run_in_thread: Callable[..., Deferred[Any]],
) -> list[EscapeRounds | WhileActing]:
    """Make the services of an acting slave, none where the options want none; pops of any broker may read elsewhere."""
    broker = parts.options.broker
    escape = parts.pops.shared.elsewhere = Escape(
        broker.broker_name, broker.broker_id, lambda: parts.registration.name_servers, parts.client, parts.reactor
    )
    if not (parts.send_settings.is_slave and broker.enable_slave_acting_master and broker.enable_remote_escape):
        return []

    def acting() -> bool:
        return parts.members.acting

    delays = EscapedDelays(parts.store, levels, parts.delay_offsets, escape, wall_clock_ms, run_in_thread)
    halves = EscapedHalves(parts.store, parts.topics, parts.offsets, escape, run_in_thread)
    services: list[EscapeRounds | WhileActing] = [
        EscapeRounds(delays.send_all, acting, parts.reactor, pause_ms, "delayed messages"),
        EscapeRounds(
            halves.send_all,
            acting,
            parts.reactor,
            lambda _: parts.transaction_settings.check_interval_ms,
            "open transactions",
        ),
    ]
    if parts.timers is not None:
        services.append(escaped_timers(parts.timers, EscapedTimerPuts(escape, wall_clock_ms), acting, parts.reactor))
    parts.pops.shared.log.elsewhere = EscapedRevives(escape, acting, wall_clock_ms)
    services.append(escaped_pops(parts.pops, acting, parts.reactor))
    return services
