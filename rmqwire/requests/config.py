"""Requests that show or change a running server's properties."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request


@request(
    RequestCode.UPDATE_BROKER_CONFIG,
    served_by=Role.BROKER | Role.CONTAINER,
    source="no header class; AdminBrokerProcessor 5.5.0",
    body="properties text, UTF-8",
)
class UpdateBrokerConfig(Header):
    """Change properties of a running broker."""


class GetBrokerConfigReply(Header):
    """The version of the properties."""

    version: str
    """`DataVersion` as JSON text."""


@request(
    RequestCode.GET_BROKER_CONFIG,
    served_by=Role.BROKER | Role.CONTAINER,
    reply=GetBrokerConfigReply,
    source="no header class; AdminBrokerProcessor 5.5.0",
    reply_body="properties text, UTF-8, never empty",
)
class GetBrokerConfig(Header):
    """Ask for the properties of a broker."""


@request(
    RequestCode.UPDATE_NAMESRV_CONFIG,
    served_by=Role.NAMESRV,
    source="no header class; DefaultRequestProcessor 5.5.0",
    body="properties text, UTF-8",
)
class UpdateNamesrvConfig(Header):
    """Change properties of a running name server."""


@request(
    RequestCode.GET_NAMESRV_CONFIG,
    served_by=Role.NAMESRV,
    source="no header class; DefaultRequestProcessor 5.5.0",
    reply_body="properties text, UTF-8",
)
class GetNamesrvConfig(Header):
    """Ask for the properties of a name server."""


@request(
    RequestCode.UPDATE_CONTROLLER_CONFIG,
    served_by=Role.CONTROLLER,
    source="no header class; ControllerRequestProcessor 5.5.0",
    body="properties text, UTF-8",
)
class UpdateControllerConfig(Header):
    """Change properties of a running controller."""


@request(
    RequestCode.GET_CONTROLLER_CONFIG,
    served_by=Role.CONTROLLER,
    source="no header class; ControllerRequestProcessor 5.5.0",
    reply_body="properties text, UTF-8",
)
class GetControllerConfig(Header):
    """Ask for the properties of a controller."""
