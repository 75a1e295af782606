"""Requests on the key-value configuration of a name server."""

from __future__ import annotations

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request


@request(RequestCode.PUT_KV_CONFIG, served_by=Role.NAMESRV, source="PutKVConfigRequestHeader 5.5.0")
class PutKvConfig(Header):
    """Set one value."""

    namespace: str
    key: str
    value: str


class GetKvConfigReply(Header):
    """The value."""

    value: str | None = None


@request(
    RequestCode.GET_KV_CONFIG,
    served_by=Role.NAMESRV,
    reply=GetKvConfigReply,
    source="GetKVConfigRequestHeader 5.5.0",
)
class GetKvConfig(Header):
    """Ask for one value."""

    namespace: str
    key: str


@request(RequestCode.DELETE_KV_CONFIG, served_by=Role.NAMESRV, source="DeleteKVConfigRequestHeader 5.5.0")
class DeleteKvConfig(Header):
    """Remove one value."""

    namespace: str
    key: str


@request(
    RequestCode.GET_KVLIST_BY_NAMESPACE,
    served_by=Role.NAMESRV,
    source="GetKVListByNamespaceRequestHeader 5.5.0",
    reply_body="KvTable",
)
class GetKvListByNamespace(Header):
    """Ask for all values of one namespace."""

    namespace: str
