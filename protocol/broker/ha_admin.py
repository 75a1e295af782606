"""What `mqadmin haStatus` and `mqadmin getBrokerEpoch` show, and what `mqadmin resetMasterFlushOffset` sets.

Source: `AdminBrokerProcessor.getBrokerHaStatus`, `getBrokerEpochCache`, `resetMasterFlushOffset` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.bodies import EpochEntryCache
from rmqwire.codes import ResponseCode
from rmqwire.requests.ha import GetBrokerEpochCache, GetBrokerHaStatus, ResetMasterFlushOffset

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions
    from rmqd.protocol.dispatch import Request

    from .replication import Replication


MASTER_ID = 0


class HaHandlers:
    """Tells how replication is going.

    Args:
        replication: Asked.
        options: The configuration, for the broker's names.
    """

    def __init__(self, replication: Replication, options: BrokerOptions) -> None:
        self._replication = replication
        self._options = options

    @handles(GetBrokerHaStatus)
    def status(self, request: Request, header: GetBrokerHaStatus) -> Result:
        """Give the slaves of a master, or the link of a slave."""
        return Reply(body=self._replication.status().encode())

    @handles(GetBrokerEpochCache)
    def epochs(self, request: Request, header: GetBrokerEpochCache) -> Result:
        """Give the epochs of the log; an error outside controller mode."""
        auto, broker = self._replication.auto_switch, self._options.broker
        if auto is None:
            return Reply(code=ResponseCode.SYSTEM_ERROR, remark="this request only for controllerMode ")
        body = EpochEntryCache(
            cluster_name=broker.broker_cluster_name,
            broker_name=broker.broker_name,
            broker_id=broker.broker_id,
            epoch_list=auto.epoch_entries(),
            max_offset=auto.log_end,
        )
        return Reply(body=body.encode())

    @handles(ResetMasterFlushOffset)
    def reset_flushed(self, request: Request, header: ResetMasterFlushOffset) -> Result:
        """Have a slave note how far its master has flushed; a master knows that itself."""
        if self._options.broker.broker_id != MASTER_ID:
            self._replication.master_flushed_offset = header.master_flush_offset
        return Reply()
