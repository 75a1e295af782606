"""Accounts of ACL 1.0, users and policies of auth 2.0."""

from __future__ import annotations

import msgspec

from .base import Body, written


class PlainAccessConfig(Body):
    """An account of ACL 1.0."""

    access_key: str | None = None
    secret_key: str | None = None
    white_remote_address: str | None = None
    admin: bool = written(False)
    default_topic_perm: str | None = None
    default_group_perm: str | None = None
    topic_perms: list[str] | None = None
    group_perms: list[str] | None = None


class AclConfig(Body):
    """All accounts of ACL 1.0."""

    global_white_addrs: list[str] | None = None
    plain_access_configs: list[PlainAccessConfig] | None = None


class UserInfo(Body):
    """A user."""

    user_name: str | None = msgspec.field(name="username", default=None)
    password: str | None = None
    user_type: str | None = None
    """`Super` or `Normal`."""
    user_status: str | None = None
    """`enable` or `disable`."""


class PolicyEntryInfo(Body):
    """What is allowed or denied on one resource."""

    resource: str | None = None
    actions: list[str] | None = None
    source_ips: list[str] | None = None
    decision: str | None = None


class PolicyInfo(Body):
    """Entries of one policy type."""

    policy_type: str | None = None
    """`Custom` or `Default`."""
    entries: list[PolicyEntryInfo] | None = None


class AclInfo(Body):
    """The policies of one subject."""

    subject: str | None = None
    policies: list[PolicyInfo] | None = None
