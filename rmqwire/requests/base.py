"""Fields that many request headers inherit, as `RpcRequestHeader` and `TopicRequestHeader` give them in Java.

Clients since 4.9.5 send some of them with every request. A broker without static topics ignores them, but they take
part in request signatures.
"""

from __future__ import annotations

import msgspec

from rmqwire.declare import Header


class RpcRequest(Header, kw_only=True):
    """Base of requests that can be forwarded between brokers.

    Source: `RpcRequestHeader` 5.5.0.
    """

    namespace: str | None = msgspec.field(name="ns", default=None)
    namespaced: bool | None = msgspec.field(name="nsd", default=None)
    broker_name: str | None = msgspec.field(name="bname", default=None)
    oneway: bool | None = msgspec.field(name="oway", default=None)


class TopicRequest(RpcRequest, kw_only=True):
    """Base of requests about one topic or one queue.

    Source: `TopicRequestHeader`, `TopicQueueRequestHeader` 5.5.0.
    """

    logical: bool | None = msgspec.field(name="lo", default=None)
    """Whether the queue is one of a static topic."""
