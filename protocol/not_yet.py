"""Requests that are declared and not served, and why. The dispatcher answers them 3, REQUEST_CODE_NOT_SUPPORTED.

A test holds: the handled codes and these together are exactly the declared ones, and no code is in both.
"""

from __future__ import annotations

from rmqwire.codes import RequestCode as C
from rmqwire.declare import Role

_ACL = "ACL 1.0"
_AUTH = "auth 2.0"
_LITE = "lite topics of 5.5"

_BROKER: dict[int, str] = {
    **dict.fromkeys(
        (
            C.UPDATE_AND_CREATE_ACL_CONFIG,
            C.DELETE_ACL_CONFIG,
            C.GET_BROKER_CLUSTER_ACL_INFO,
            C.UPDATE_GLOBAL_WHITE_ADDRS_CONFIG,
            C.GET_BROKER_CLUSTER_ACL_CONFIG,
        ),
        _ACL,
    ),
    **dict.fromkeys(
        (
            C.AUTH_CREATE_USER,
            C.AUTH_UPDATE_USER,
            C.AUTH_DELETE_USER,
            C.AUTH_GET_USER,
            C.AUTH_LIST_USER,
            C.AUTH_CREATE_ACL,
            C.AUTH_UPDATE_ACL,
            C.AUTH_DELETE_ACL,
            C.AUTH_GET_ACL,
            C.AUTH_LIST_ACL,
        ),
        _AUTH,
    ),
    **dict.fromkeys(
        (
            C.POP_LITE_MESSAGE,
            C.LITE_SUBSCRIPTION_CTL,
            C.GET_BROKER_LITE_INFO,
            C.GET_PARENT_TOPIC_INFO,
            C.GET_LITE_TOPIC_INFO,
            C.GET_LITE_CLIENT_INFO,
            C.GET_LITE_GROUP_INFO,
            C.TRIGGER_LITE_DISPATCH,
        ),
        _LITE,
    ),
}

NOT_YET: dict[Role, dict[int, str]] = {Role.NAMESRV: {}, Role.BROKER: _BROKER}
"""By role: code to what has to come first."""

NOT_OURS: dict[int, str] = {
    C.CHECK_ROCKSDB_CQ_WRITE_PROGRESS: "there is no RocksDB here",
    C.EXPORT_ROCKSDB_CONFIG_TO_JSON: "there is no RocksDB here: the state files are JSON already",
}
"""Codes that no installation of ours will serve."""
