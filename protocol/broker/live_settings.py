"""Have the parts follow the options: at the start, and again after updateBrokerConfig.

Parts do not read the configuration; they have settings of their own that this copies into, so that it is visible in
one place which options act at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmqd.conf.runtime import Changed

    from .group_admin import GroupAdminSettings
    from .heartbeat import HeartbeatHandlers
    from .lookup import LookupHandlers
    from .parts import BrokerParts
    from .topic_admin import TopicAdminSettings


class LiveSettings:
    """Copies options into the parts.

    Args:
        parts: Those of the broker.
        heartbeat, lookup: Handlers with settings.
        topic_admin, group_admin: Settings of handlers.
    """

    def __init__(
        self,
        parts: BrokerParts,
        heartbeat: HeartbeatHandlers,
        lookup: LookupHandlers,
        topic_admin: TopicAdminSettings,
        group_admin: GroupAdminSettings,
    ) -> None:
        self._parts = parts
        self._heartbeat = heartbeat
        self._lookup = lookup
        self._topic_admin = topic_admin
        self._group_admin = group_admin

    def changed(self, changed: Changed) -> None:
        """Act upon an update."""
        self.refresh()
        if "brokerPermission" in changed.keys:
            self._parts.topics.bump_version()
            self._parts.registration.refresh()  # told to the name servers meanwhile; it never fails

    def refresh(self) -> None:
        """Copy every option that acts at once."""
        self._state()
        self._traffic()
        self._requests()

    def _state(self) -> None:
        parts, broker = self._parts, self._parts.options.broker
        topics = parts.topics.settings
        topics.auto_create_topic_enable = broker.auto_create_topic_enable
        topics.default_topic_queue_nums = broker.default_topic_queue_nums
        parts.groups.auto_create = broker.auto_create_subscription_group
        parts.groups.create_system_groups = broker.enable_create_sys_group
        parts.offsets.server_side_reset = broker.use_server_side_reset_offset
        parts.consumers.notify_enabled = broker.notify_consumer_ids_changed_enable
        parts.consumers.real_time = broker.real_time_notify_consumer_change
        # as Java: only transactions need to find producers again
        parts.producers.takes_new = broker.enable_register_producer or not broker.reject_transaction_message

    def _traffic(self) -> None:
        parts, broker, store = self._parts, self._parts.options.broker, self._parts.options.store
        parts.send_settings.broker_permission = broker.broker_permission
        parts.send_settings.max_message_size = store.max_message_size
        parts.send_settings.start_accept_send_request_at_ms = broker.start_accept_send_request_time_stamp
        parts.send_settings.reject_transaction_message = broker.reject_transaction_message
        parts.transaction_settings.follow(parts.options)
        parts.timer_settings.follow(parts.options)
        parts.flow_settings.follow(parts.options)
        parts.cold.settings.follow(parts.options)
        parts.store.read_ahead = store.data_read_ahead_enable
        parts.pops.follow()
        parts.replication.follow()
        parts.send_settings.too_few_replicas = parts.replication.too_few_replicas
        parts.modes.follow(parts.options)
        parts.reply_settings.store_reply_message_enable = broker.store_reply_message_enable
        parts.pull_checks.broker_permission = broker.broker_permission
        parts.pull_checks.enable_property_filter = broker.enable_property_filter
        parts.pull_checks.filter_support_retry = broker.filter_support_retry
        parts.pull_checks.reject_pull_consumers = broker.reject_pull_consumer_enable
        parts.pull_settings.long_polling_enable = broker.long_polling_enable
        parts.pull_settings.short_polling_time_ms = broker.short_polling_time_mills
        parts.pull_settings.lite_pull_message_enable = broker.lite_pull_message_enable
        parts.pull_settings.slave_read_enable = broker.slave_read_enable
        parts.slow_groups.enabled = broker.disable_consume_if_consumer_read_slowly
        parts.slow_groups.threshold_bytes = broker.consumer_fallbehind_threshold

    def _requests(self) -> None:
        broker = self._parts.options.broker
        self._heartbeat.reject_pull_consumers = broker.reject_pull_consumer_enable
        self._heartbeat.enable_property_filter = broker.enable_property_filter
        self._lookup.default_query_max_num = self._parts.options.store.default_query_max_num
        topic_admin, group_admin = self._topic_admin, self._group_admin
        topic_admin.validate_system_topic_when_update_topic = broker.validate_system_topic_when_update_topic
        topic_admin.enable_mixed_message_type = broker.enable_mixed_message_type
        topic_admin.clear_retry_topic_when_delete_topic = broker.clear_retry_topic_when_delete_topic
        for paged in (topic_admin, group_admin):
            paged.enable_split_metadata = broker.enable_split_metadata
            paged.split_metadata_size = broker.split_metadata_size
