"""The parts of a broker, made once and given to each other.

Only construction: what each part needs is visible here, and nowhere else. `handlers` is what the dispatcher serves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmqd.conf import BrokerRole, FlushDiskType
from rmqd.protocol.client import RemotingClient, tcp_endpoints
from rmqd.protocol.clocks import wall_clock_ms
from rmqd.protocol.dispatch import Dispatcher
from rmqd.protocol.filter import BloomLayout
from rmqd.protocol.sockets import client_sockets
from rmqd.store.reading import physical_memory_bytes
from rmqd.store.statefile import StateFile
from rmqd.store.timerstore import TimerStore
from rmqwire import speed
from rmqwire.declare import Role

from .batch_runs import BatchRuns
from .clients import ConsumerRegistry, ProducerRegistry
from .cold_admin import ColdDataHandlers
from .cold_data import ColdData, ColdSettings
from .controller_link import RoleNotices
from .delay_delivery import DelayedDelivery
from .delay_offsets import DelayOffsets
from .durability import GroupCommit
from .filter_state import StoredFilters
from .flow_control import FlowControl, FlowSettings
from .groups import SubscriptionGroups
from .ha_admin import HaHandlers
from .holds import PullHolds
from .locks import QueueLocks
from .member_group import member_group
from .offsets import ConsumerOffsets
from .pop_modes import RequestModes
from .pop_service import PopService
from .pull import PullHandlers, PullSettings
from .pull_checks import PullChecks
from .registration import broker_registration
from .replication import Replication
from .request_reply import ReplyHandlers, ReplySettings
from .retry_routing import RetryRouting
from .safe_runs import SafeRuns
from .selection import arrival_reader
from .send import SendHandlers, SendSettings
from .send_back import SendBackHandlers
from .send_properties import PropertyRules
from .send_replies import SendReplies
from .slave_sync import slave_sync
from .slow_groups import SlowGroups
from .state_handlers import state_handlers
from .static_parts import StaticTopics
from .stats import BrokerStats
from .stats_sources import follow_parts
from .timer import TimerRules, TimerSettings
from .timer_admin import RecallHandlers, TimerStateHandlers
from .timer_service import TimerService
from .topic_counts import TopicCounts
from .topics import TopicSettings, TopicTable
from .transaction_producers import Address
from .transaction_service import Transactions
from .transaction_settings import TransactionSettings
from .unique_id import UniqueIds

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from rmqd.conf import BrokerOptions
    from rmqd.store.messagestore import MessageStore

    from .delay import DelayLevels
    from .durability import RunSync

_TIMER_LATE_MS = 2000
_TIMER_BACKLOG = 5000
"""With more messages to take the timer may be so far behind that acknowledgements of pops are still on their way."""


class BrokerParts:
    """Everything between the ports and the store.

    Args:
        options: The configuration.
        store: Open.
        reactor: Clock and connector.
        run_in_thread: For what waits for the disk.
        address: `brokerIP1:listenPort`.
        levels: Delay levels, which the store knows too.
        run_sync: Runs a sync of the log; a thread when None.

    Raises:
        StoreError: A state file cannot be read.
    """

    def __init__(
        self,
        options: BrokerOptions,
        store: MessageStore,
        reactor: Any,
        run_in_thread: Callable[..., Deferred[Any]],
        address: str,
        levels: DelayLevels,
        run_sync: RunSync | None = None,
    ) -> None:
        broker = options.broker
        self._levels = levels
        self.options = options
        self.store = store
        self._run_in_thread = run_in_thread
        self.reactor = reactor
        self._config_dir = Path(options.store.store_path_root_dir) / "config"
        self.stats = BrokerStats(broker.broker_cluster_name, wall_clock_ms)
        self.topics = TopicTable(
            self._file("topics.json"),
            TopicSettings(
                broker_name=broker.broker_name,
                cluster_name=broker.broker_cluster_name,
                auto_create_topic_enable=broker.auto_create_topic_enable,
                default_topic_queue_nums=broker.default_topic_queue_nums,
                cluster_topic_enable=broker.cluster_topic_enable,
                broker_topic_enable=broker.broker_topic_enable,
                trace_topic_enable=broker.trace_topic_enable,
                msg_trace_topic_name=broker.msg_trace_topic_name,
                revive_queue_num=broker.revive_queue_num,
                timer_wheel_enable=options.store.timer_wheel_enable,
            ),
            wall_clock_ms,
            run_in_thread,
        )
        self.groups = SubscriptionGroups(
            self._file("subscriptionGroup.json"),
            wall_clock_ms,
            run_in_thread,
            auto_create=broker.auto_create_subscription_group,
            create_system_groups=broker.enable_create_sys_group,
        )
        self.offsets = ConsumerOffsets(
            self._file("consumerOffset.json"),
            wall_clock_ms,
            run_in_thread,
            version_step=broker.consumer_offset_update_version_step,
            server_side_reset=broker.use_server_side_reset_offset,
        )
        self.consumers = ConsumerRegistry(
            reactor,
            notify_enabled=broker.notify_consumer_ids_changed_enable,
            expiry_ms=broker.channel_expired_timeout,
            real_time=broker.real_time_notify_consumer_change,
        )
        self.filters = StoredFilters(
            self._file("consumerFilter.json"),
            wall_clock_ms,
            run_in_thread,
            BloomLayout(broker.max_error_rate_of_bloom_filter, broker.expect_consumer_num_use_filter),
            broker.filter_data_clean_time_span,
        )
        self.consumers.on_group_gone.append(self.filters.unregister)
        self.producers = ProducerRegistry(reactor)
        self.locks = QueueLocks(reactor)
        self.holds = PullHolds(reactor, arrival_reader(store))
        self.slow_groups = SlowGroups(self.groups)
        store.tell_arrivals(self.holds.arrived, self.holds.topics)
        self.delay_offsets = DelayOffsets(
            self._file("delayOffset.json"), wall_clock_ms, run_in_thread, broker.delay_offset_update_version_step
        )
        self.delayed = DelayedDelivery(store, levels, self.delay_offsets, wall_clock_ms, run_in_thread)
        follow_parts(self.stats, store, self.delayed)
        self.group_commit = GroupCommit(
            store,
            run_sync or run_in_thread,
            reactor,
            options.store.sync_flush_timeout,
            lambda: self.flow.waiting_sends,
        )
        self.timer_settings = TimerSettings(
            served=options.store.timer_wheel_enable, precision_ms=options.store.timer_precision_ms
        )
        self.timer_settings.follow(options)
        self.timers = self._timers() if self.timer_settings.served else None
        slot_count = self.timers.files.wheel.count if self.timers is not None else lambda _: 0
        levels.timers = self.timer_rules = TimerRules(
            self.timer_settings, broker.broker_name, wall_clock_ms, slot_count
        )
        self.client = RemotingClient(
            tcp_endpoints(reactor), Dispatcher(Role.CLIENT, ()), reactor, client_sockets(options.client)
        )
        self.replication = Replication(options, store, reactor, self.client, run_in_thread, wall_clock_ms)
        sync_flush = options.store.flush_disk_type is FlushDiskType.SYNC_FLUSH
        self.flow_settings = FlowSettings()
        self.flow_settings.follow(options)
        self.flow = FlowControl(
            store, self.flow_settings, reactor.callLater, reactor.seconds, self.stats.committed, self.stats.read
        )
        when_safe = self.replication.when_safe(self.group_commit.when_flushed if sync_flush else None)
        self.when_safe = self.flow.counted(when_safe)
        self._safe_runs = SafeRuns(store, when_safe, self.flow.sends_wait) if when_safe is not None else None
        if self.replication.auto_switch is not None:
            waiting = (self.group_commit, self._safe_runs)
            self.replication.auto_switch.on_truncated += [each.log_was_cut for each in waiting if each is not None]
        self.registration = broker_registration(options, self.topics, self.client, reactor, address)
        self.registration.on_master = self.replication.master_changed
        self.members = member_group(self)
        self.topics.on_changed.append(self.registration.topics_changed)
        self.registration.on_order_topics = self.topics.set_order
        self.send_settings = SendSettings(
            broker_permission=broker.broker_permission,
            broker_ip=broker.broker_ip1,
            max_message_size=options.store.max_message_size,
            start_accept_send_request_at_ms=broker.start_accept_send_request_time_stamp,
            is_slave=options.store.broker_role is BrokerRole.SLAVE,
            reject_transaction_message=broker.reject_transaction_message,
        )
        self.reply_settings = ReplySettings(broker.store_reply_message_enable)
        self.pops = self._pops(reactor)
        self.modes = RequestModes(self._file("messageRequestMode.json"), run_in_thread)
        self.transaction_settings = TransactionSettings()
        self.transaction_settings.follow(options)
        self.transactions = self._transactions(reactor)
        self.pull_settings = PullSettings(
            long_polling_enable=broker.long_polling_enable,
            short_polling_time_ms=broker.short_polling_time_mills,
            lite_pull_message_enable=broker.lite_pull_message_enable,
            slave_read_enable=broker.slave_read_enable,
            broker_ip=broker.broker_ip1,
            is_slave=self.send_settings.is_slave,
            refuses_reads=self.slave_refuses_reads() or broker.enable_controller_mode,
            offset_check_in_slave=options.store.offset_check_in_slave,
            master_is_alive=self.replication.has_master,
        )
        self.cold = ColdData(store, ColdSettings(), physical_memory_bytes(), wall_clock_ms)
        self.pull_checks = PullChecks(
            self.topics,
            self.groups,
            self.consumers,
            self.filters,
            broker_ip=broker.broker_ip1,
            broker_permission=broker.broker_permission,
        )
        self.static_topics = StaticTopics(self, self._file("topicQueueMapping.json"), run_in_thread)
        if self.send_settings.is_slave:
            self.replication.sync = slave_sync(self)
        self.send_runs: BatchRuns | None = None
        """What serves usual sends, where it was built."""
        self.role_notices = RoleNotices()
        self.handlers = self._handlers(address)

    def slave_refuses_reads(self) -> bool:
        """Whether this is a slave, and the file says that slaves are not read."""
        said = "slaveReadEnable" in self.options.source and not self.options.broker.slave_read_enable
        return said and self.options.store.broker_role is BrokerRole.SLAVE

    def _file(self, name: str) -> StateFile:
        return StateFile(self._config_dir / name)

    def _timers(self) -> TimerService:
        store = self.options.store
        files = TimerStore(
            store.store_path_root_dir,
            precision_ms=store.timer_precision_ms,
            log_file_size=store.mapped_file_size_timer_log,
            roll_window_slots=store.timer_roll_window_slot,
        )
        return TimerService(
            self.store,
            files,
            self.timer_settings,
            TopicCounts(self._file("timermetrics"), "timingCount", wall_clock_ms, self._run_in_thread),
            self.stats,
            self.reactor,
            wall_clock_ms,
            self._run_in_thread,
            self.group_commit.when_flushed,
        )

    def _pops(self, reactor: Any) -> PopService:
        return PopService(
            self.options,
            self.store,
            self.topics,
            self.groups,
            self.offsets,
            self.stats,
            self._levels,
            self._file("consumerOrderInfo.json"),
            reactor,
            wall_clock_ms,
            self._run_in_thread,
            self._timer_is_behind,
            self.when_safe,
        )

    def _timer_is_behind(self) -> bool:
        timers = self.timers
        return timers is not None and (timers.behind_ms >= _TIMER_LATE_MS or timers.messages_behind >= _TIMER_BACKLOG)

    def _transactions(self, reactor: Any) -> Transactions:
        return Transactions(
            self.store,
            self.topics,
            self.offsets,
            self.producers,
            self._levels,
            TopicCounts(self._file("transactionMetrics"), "transactionCount", wall_clock_ms, self._run_in_thread),
            self.transaction_settings,
            self.send_settings,
            self.stats,
            Address(self.options.broker.broker_name, self.store.options.store_host),
            reactor,
            wall_clock_ms,
            self._run_in_thread,
            self.when_safe,
        )

    def _handlers(self, address: str) -> list[object]:
        broker = self.options.broker
        host = self.store.options.store_host
        replies = SendReplies(host, broker.region_id, broker.trace_on)
        rules = PropertyRules(broker.region_id, broker.trace_on, broker.broker_cluster_name)
        sends = SendHandlers(
            self.store,
            self.topics,
            self.send_settings,
            replies,
            rules,
            self.stats,
            wall_clock_ms,
            UniqueIds(host[:-4], wall_clock_ms),
            self._levels,
            RetryRouting(self.topics, self.groups, self.locks),
            self.when_safe,
            self.transactions.opened,
        )
        if speed.read_sends is not None:
            self.send_runs = BatchRuns(sends, self.transactions, self._safe_runs)
        return [
            sends,
            *self.transactions.handlers,
            ReplyHandlers(
                self.store,
                self.topics,
                self.producers,
                self._levels,
                replies,
                self.reply_settings,
                self.send_settings,
                self.stats,
                host,
                self.reactor,
                wall_clock_ms,
                self.when_safe,
            ),
            SendBackHandlers(
                self.store,
                self.topics,
                self.groups,
                self.send_settings,
                self._levels,
                self.stats,
                self._run_in_thread,
            ),
            PullHandlers(
                self.store,
                self.pull_checks,
                self.offsets,
                self.holds,
                self.stats,
                self.pull_settings,
                self.slow_groups,
                partial(self.flow.in_thread, self._run_in_thread),
                self.cold,
            ),
            ColdDataHandlers(self.cold, self.store, self.options),
            RecallHandlers(
                self.store,
                self.topics,
                self.timer_rules,
                self.send_settings,
                self.stats,
                wall_clock_ms,
                self.when_safe,
                broker_name=broker.broker_name,
                region_id=broker.region_id,
            ),
            TimerStateHandlers(self.timers),
            HaHandlers(self.replication, self.options),
            self.role_notices,
            self.members,
            *self.pops.handlers,
            *state_handlers(self, self._run_in_thread, address),
        ]

    async def save_all(self) -> None:
        """Bring every state file up to date.

        Raises:
            StoreError: One of them cannot be written.
        """
        for state in (
            self.topics,
            self.groups,
            self.offsets,
            self.filters,
            self.delay_offsets,
            self.static_topics.table,
            self.pops.orders,
            self.modes,
        ):
            await state.saved()
        await self.transactions.counts.saved()
