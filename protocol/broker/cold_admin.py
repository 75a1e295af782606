"""Requests on cold-data flow control, and how the kernel reads the commit log ahead.

Source: `AdminBrokerProcessor` (5.5.0).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from twisted.logger import Logger

from rmqd.conf import ConfError
from rmqd.conf.properties import read_entries
from rmqd.protocol.dispatch import handles
from rmqd.protocol.replies import Reply, Result
from rmqwire.codes import ResponseCode
from rmqwire.errors import RequestError
from rmqwire.requests.maintenance import (
    GetColdDataFlowCtrInfo,
    RemoveColdDataFlowCtrConfig,
    SetCommitlogReadMode,
    UpdateColdDataFlowCtrConfig,
)

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions
    from rmqd.protocol.dispatch import Request
    from rmqd.store.messagestore import MessageStore

    from .cold_data import ColdData

_log = Logger()

MADV_NORMAL, MADV_RANDOM = 0, 1
_I64_END = 1 << 63


class ColdDataHandlers:
    """Serves them.

    Args:
        cold: Limits and accounts.
        store: Told how to read.
        options: Where the choice is shown.
    """

    def __init__(self, cold: ColdData, store: MessageStore, options: BrokerOptions) -> None:
        self._cold = cold
        self._store = store
        self._options = options

    @handles(UpdateColdDataFlowCtrConfig)
    def update(self, request: Request, header: UpdateColdDataFlowCtrConfig) -> Result:
        """Set the limits of groups; as Java, entries that are no numbers are passed over."""
        try:
            entries = read_entries(request.body.decode("utf-8", "replace"), "request")
        except ConfError as cause:
            raise RequestError("string2Properties error") from cause
        for entry in entries:
            try:
                limit = int(entry.value)
            except ValueError:
                limit = _I64_END
            if -_I64_END <= limit < _I64_END:
                self._cold.limits[entry.key] = limit
            else:
                _log.warn("limit {text} of group {group} is no number", text=entry.value, group=entry.key)
        return Reply()

    @handles(RemoveColdDataFlowCtrConfig)
    def remove(self, request: Request, header: RemoveColdDataFlowCtrConfig) -> Result:
        """Forget the limit of a group."""
        self._cold.limits.pop(request.body.decode("utf-8", "replace"), None)
        return Reply()

    @handles(GetColdDataFlowCtrInfo)
    def show(self, request: Request, header: GetColdDataFlowCtrInfo) -> Result:
        """Tell limits and accounts."""
        return Reply(body=msgspec.json.encode(self._cold.info()))

    @handles(SetCommitlogReadMode)
    def read_ahead(self, request: Request, header: SetCommitlogReadMode) -> Result:
        """Have the kernel read the log ahead, or not."""
        mode = header.read_ahead_mode
        if mode is None:
            what = "failed" if request.ext else "param error"
            raise RequestError(f"set commitlog readahead mode {what}", ResponseCode.SYSTEM_ERROR)
        if mode not in (MADV_NORMAL, MADV_RANDOM):
            raise RequestError("set commitlog readahead mode param value error", ResponseCode.INVALID_PARAMETER)
        self._options.store.data_read_ahead_enable = mode == MADV_NORMAL
        self._store.read_ahead = mode == MADV_NORMAL
        return Reply(remark=f"set commitlog readahead mode success, mode: {mode}")
