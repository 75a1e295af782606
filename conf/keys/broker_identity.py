"""Who a broker is within a cluster: a part of `BrokerConfig`."""

from __future__ import annotations

from rmqd.conf.option import Computed, OptionGroup, boolean, int64, text


class BrokerIdentity(OptionGroup):
    """Who a broker is within a cluster."""

    broker_name = text(
        Computed("the host name", lambda machine: machine.host_name),
        "Name that a master shares with its slaves; the host name by default.",
        important=True,
        acted=True,
    )
    broker_cluster_name = text("DefaultCluster", "Cluster the broker belongs to.", important=True, acted=True)
    broker_id = int64(
        0, "", "0 is the master of the name; slaves have numbers above 0.", important=True, acted=True, low=-1
    )
    is_broker_container = boolean(False, "The process is a broker container.", settable=False)
    in_broker_container = boolean(
        False, "The broker runs inside a broker container; the start sets it.", printed_key="isInBrokerContainer"
    )
