"""Requests to a broker container, which runs several brokers in one process."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request
from rmqwire.fields import i64


@request(
    RequestCode.ADD_BROKER,
    served_by=Role.CONTAINER,
    source="AddBrokerRequestHeader 5.5.0",
    body="properties text, UTF-8",
)
class AddBroker(Header):
    """Start a broker."""

    config_path: str | None = None


@request(RequestCode.REMOVE_BROKER, served_by=Role.CONTAINER, source="RemoveBrokerRequestHeader 5.5.0")
class RemoveBroker(Header):
    """Stop a broker."""

    broker_name: str
    broker_cluster_name: str
    broker_id: i64
