"""What a slave does of a master's work while it stands in for it (`enableSlaveActingMaster`, `enableRemoteEscape`).

Only construction. Source: `BrokerController.changeSpecialServiceStatus` (5.3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .escape import Escape
from .escape_delays import EscapedDelays
from .escape_halves import EscapedHalves
from .escape_pops import EscapedPops, EscapedRevives
from .escape_timers import EscapedTimerPuts, EscapedTimers

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from .delay import DelayLevels
    from .escape_rounds import EscapeRounds
    from .parts import BrokerParts


def escapes(
    parts: BrokerParts,
    levels: DelayLevels,
    wall_clock_ms: Callable[[], int],
    run_in_thread: Callable[..., Deferred[Any]],
) -> list[EscapeRounds]:
    """Make the services of an acting slave, none where the options want none; pops of any broker may read elsewhere."""
    broker = parts.options.broker
    escape = parts.pops.shared.elsewhere = Escape(
        broker.broker_name, broker.broker_id, lambda: parts.registration.name_servers, parts.client, parts.reactor
    )
    if not (parts.send_settings.is_slave and broker.enable_slave_acting_master and broker.enable_remote_escape):
        return []
    services: list[EscapeRounds] = [
        EscapedDelays(
            parts.store,
            levels,
            parts.delay_offsets,
            escape,
            lambda: parts.members.acting,
            parts.reactor,
            wall_clock_ms,
            run_in_thread,
        ),
        EscapedHalves(
            parts.store,
            parts.topics,
            parts.offsets,
            escape,
            lambda: parts.members.acting,
            lambda: parts.transaction_settings.check_interval_ms,
            parts.reactor,
            run_in_thread,
        ),
    ]
    if parts.timers is not None:
        puts = EscapedTimerPuts(escape, wall_clock_ms)
        services.append(EscapedTimers(parts.timers, puts, lambda: parts.members.acting, parts.reactor))
    parts.pops.shared.log.elsewhere = EscapedRevives(escape, lambda: parts.members.acting, wall_clock_ms)
    services.append(EscapedPops(parts.pops, lambda: parts.members.acting, parts.reactor))
    return services
