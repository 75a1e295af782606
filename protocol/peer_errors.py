"""What asking another server can fail with, whatever the connection is made of. Must not import Twisted."""

from __future__ import annotations

from rmqwire.errors import RmqError


class PeerError(RmqError):
    """A request of ours that the peer did not answer."""


class RequestTimeout(PeerError):
    """No answer within the time given."""


class ConnectionGone(PeerError):
    """The connection was lost before the answer came."""


class ConnectFailed(PeerError):
    """The peer's address is not usable, or nobody accepted the connection in time."""


class ClientStopped(PeerError):
    """Asked for a connection after `stop`."""
