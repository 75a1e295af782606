"""Slaves that act as masters, controllers, static topics: a part of `BrokerConfig`."""

from __future__ import annotations

from rmqd.conf.option import OptionGroup, boolean, int32, int64, text


class BrokerCluster(OptionGroup):
    """Slaves that act as masters, controllers, static topics."""

    broker_heartbeat_interval = int32(
        1000, "ms", "Time between two heartbeats to the name servers or controllers.", acted=True
    )
    broker_not_active_timeout_millis = int64(
        10_000, "ms", "A broker that is silent for so long counts as gone.", acted=True
    )
    sync_broker_member_group_period = int32(
        1000, "ms", "Time between two looks at who else has this broker's name.", acted=True, low=1
    )
    clean_offline_broker_interval = int32(30_000, "ms", "Never read by the official broker either.")
    enable_slave_acting_master = boolean(
        False, "Let the slave with the lowest number stand in for its master.", acted=True
    )
    enable_remote_escape = boolean(False, "Let it send its delayed messages to other brokers.", acted=True)
    skip_pre_online = boolean(False, "Join at once, without catching up first.", acted=True)
    lock_in_strict_mode = boolean(False, "A queue lock needs a majority of the replicas.")
    forward_timeout = int64(3000, "ms", "Longest wait for a request that is passed to another broker.", acted=True)
    enable_controller_mode = boolean(False, "Let a controller decide who is master.", acted=True)
    controller_addr = text("", "Controllers as host:port;host:port.", acted=True)
    fetch_controller_addr_by_dns_lookup = boolean(False, "Look the controllers up in DNS.", acted=True)
    sync_broker_metadata_period = int64(
        5000, "ms", "Time between two looks at the broker's own state at the controller.", acted=True
    )
    check_sync_state_set_period = int64(
        5000, "ms", "Time between two checks of which replicas are in sync.", acted=True
    )
    sync_controller_metadata_period = int64(
        10_000, "ms", "Time between two looks for the leading controller.", acted=True
    )
    controller_heart_beat_timeout_mills = int64(
        10_000, "ms", "Silence after which the controller gives a broker up.", acted=True
    )
    broker_election_priority = int32(2_147_483_647, "", "Lower numbers are rather elected master.", acted=True)
