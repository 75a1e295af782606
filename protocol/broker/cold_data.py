"""Cold-data flow control: groups that read far behind are slowed down, so that the disk serves those who keep up.

Acts with `coldDataFlowControlEnable` alone. A message is cold when more of the log lies behind it than
`accessMessageInMemoryHotRatio` percent of the memory, and with `coldDataScanEnable` also only when its read had to wait
for the disk: reads tell that here, and no table of pages has to be kept. What a group reads of them is added up for
`ROUND_S`; above its limit its cold pulls are answered SYSTEM_BUSY (push consumers), or kept for some seconds and
answered with one message (pull consumers).

Source: `ColdDataCgCtrService`, `ColdDataPullRequestHoldService`, `CommitLog.ColdDataCheckService` (5.5.0).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from rmqd.store.errors import ColdRead

from .cold_strategy import ADAPTIVE, Strategy, strategy_for
from .names import SYSTEM_GROUP_PREFIX, SYSTEM_GROUPS

if TYPE_CHECKING:
    from rmqd.conf import BrokerOptions
    from rmqd.store.messagestore import MessageStore
    from rmqd.store.reading import GetResult

ROUND_S = 5.0
HOLD_MS = 3000
"""How long a pull consumer's cold pull is kept; then it gets one message."""
BUSY = "This consumer group is reading cold data. It has been flow control"
_FORGOTTEN_AFTER_MS = 60_000
_PHYSICAL_OFFSET = struct.Struct(">q")
_PHYSICAL_OFFSET_AT = 28
_SYSTEM_GROUPS = frozenset((*SYSTEM_GROUPS, "__MONITOR_CONSUMER", "DEFAULT_CONSUMER", "SCHEDULE_CONSUMER"))
"""`MixAll.isSysConsumerGroupPullMessage`."""


class _Account(msgspec.Struct):
    """What a group has read of cold messages in this round."""

    cold_bytes: int
    last_read_at_ms: int
    created_at_ms: int


class ColdSettings(msgspec.Struct):
    """The options it follows."""

    enabled: bool = False
    only_waited: bool = False
    """`coldDataScanEnable`: reads from memory are not cold, however far behind."""
    hot_percent: int = 26
    group_limit_bytes: int = 3_145_728
    total_limit_bytes: int = 104_857_600
    adapts: bool = False
    by_pid: bool = True

    def follow(self, options: BrokerOptions) -> None:
        """Copy the options."""
        broker, store = options.broker, options.store
        self.enabled = store.cold_data_flow_control_enable
        self.only_waited = store.cold_data_scan_enable
        self.hot_percent = store.access_message_in_memory_hot_ratio
        self.group_limit_bytes = broker.cg_cold_read_threshold
        self.total_limit_bytes = broker.global_cold_read_threshold
        self.adapts = broker.cold_ctr_strategy_enable
        self.by_pid = broker.use_pid_cold_ctr_strategy


class ColdData:
    """Accounts and limits.

    Args:
        store: Says where its log ends.
        settings: Options.
        memory_bytes: Physical memory.
        wall_clock_ms: Stamps accounts.
    """

    def __init__(
        self,
        store: MessageStore,
        settings: ColdSettings,
        memory_bytes: int,
        wall_clock_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self.settings = settings
        self._memory_bytes = memory_bytes
        self._wall_clock_ms = wall_clock_ms
        self._accounts: dict[str, _Account] = {}
        self.limits: dict[str, int] = {}
        """Set by administrators, and by the strategy for names that end in `||adaptive`."""
        self._total_bytes = 0
        self._strategy: Strategy = strategy_for(settings)

    # -- reads ---------------------------------------------------------------------------------------------------

    def slows(self, group: str, topic: str, queue_id: int, queue_offset: int) -> bool:
        """Whether a group has read too much and would go on with cold messages."""
        account = self._accounts.get(group)
        if account is None or not self.settings.enabled or _is_system(group):
            return False
        if account.cold_bytes < self.limit_of(group) and self._total_bytes < self.settings.total_limit_bytes:
            return False
        try:
            units = self._store.queue_units(topic, queue_id, queue_offset, 1, allow_cold=False)
        except ColdRead:  # not even the queue is in memory
            return True
        return units is not None and bool(units) and self._is_cold(units[0][0])

    def _is_cold(self, physical_offset: int) -> bool:
        hot_bytes = self._memory_bytes * self.settings.hot_percent // 100
        return self._store.max_physical_offset - physical_offset > hot_bytes

    def note(self, group: str, found: GetResult, waited: bool) -> None:
        """Count what a read brought. Only called while enabled.

        Args:
            group: Who reads.
            found: What it brought.
            waited: Whether it waited for the disk.
        """
        if not found.sizes or (self.settings.only_waited and not waited) or _is_system(group):
            return
        first = self._offset_at(found, 0)
        if not self._is_cold(first):
            return  # and no later one is
        cold_bytes = position = 0
        for size in found.sizes:
            if self._is_cold(self._offset_at(found, position)):
                cold_bytes += size
            position += size
        now_ms = self._wall_clock_ms()
        self._total_bytes += cold_bytes
        account = self._accounts.get(group)
        if account is None:
            self._accounts[group] = _Account(cold_bytes, now_ms, now_ms)
        else:
            account.cold_bytes += cold_bytes
            account.last_read_at_ms = now_ms

    @staticmethod
    def _offset_at(found: GetResult, position: int) -> int:
        offset: int = _PHYSICAL_OFFSET.unpack_from(found.body, position + _PHYSICAL_OFFSET_AT)[0]
        return offset

    # -- limits --------------------------------------------------------------------------------------------------

    def limit_of(self, group: str) -> int:
        """Bytes a round that a group may read; `group` may end in `||adaptive`."""
        plain = group.removesuffix(ADAPTIVE)
        limit = self.limits.get(plain)
        if limit is None and self.settings.adapts:
            limit = self.limits.get(plain + ADAPTIVE)
        return self.settings.group_limit_bytes if limit is None else limit

    @property
    def over_total(self) -> bool:
        """Whether all groups together have read too much."""
        return self._total_bytes > self.settings.total_limit_bytes

    def info(self) -> dict[str, Any]:
        """What request 2003 tells."""
        return {
            "runtimeTable": {
                group: {
                    "coldAcc": account.cold_bytes,
                    "createTimeMills": account.created_at_ms,
                    "lastColdReadTimeMills": account.last_read_at_ms,
                }
                for group, account in self._accounts.items()
            },
            "configTable": dict(self.limits),
            "cgColdReadThreshold": self.settings.group_limit_bytes,
            "globalColdReadThreshold": self.settings.total_limit_bytes,
            "globalAcc": self._total_bytes,
        }

    # -- rounds --------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """End a round: accounts begin at nothing, limits are adapted. Called every `ROUND_S`."""
        settings, now_ms = self.settings, self._wall_clock_ms()
        if settings.adapts:
            self._strategy.collect(self._total_bytes)
        for group, account in list(self._accounts.items()):
            if now_ms >= account.last_read_at_ms + _FORGOTTEN_AFTER_MS:
                if settings.adapts:
                    self.limits.pop(group + ADAPTIVE, None)
                del self._accounts[group]
            elif self._reached_limit(group, account):
                self._strategy.promote(self, group)
            account.cold_bytes = 0
        if settings.adapts:
            self._strategy.decelerate_most(self)
        else:
            for name in [name for name in self.limits if name.endswith(ADAPTIVE)]:
                del self.limits[name]
        self._total_bytes = 0

    def _reached_limit(self, group: str, account: _Account) -> bool:
        """Whether the strategy may raise the limit of a group."""
        if not self.settings.adapts or group in self.limits or self.over_total:
            return False
        return account.cold_bytes >= self.limit_of(group)


def _is_system(group: str) -> bool:
    return group.startswith(SYSTEM_GROUP_PREFIX) or group in _SYSTEM_GROUPS
