"""GET_BROKER_HA_STATUS, what `mqadmin haStatus` shows. Source: `AdminBrokerProcessor.getBrokerHaStatus` (5.5.0)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.requests.ha import GetBrokerHaStatus

if TYPE_CHECKING:
    from rmqd.protocol.dispatch import Request

    from .replication import Replication


class HaHandlers:
    """Tells how replication is going.

    Args:
        replication: Asked.
    """

    def __init__(self, replication: Replication) -> None:
        self._replication = replication

    @handles(GetBrokerHaStatus)
    def status(self, request: Request, header: GetBrokerHaStatus) -> Result:
        """Give the slaves of a master, or the link of a slave."""
        return Reply(body=self._replication.status().encode())
