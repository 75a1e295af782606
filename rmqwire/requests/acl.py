"""Requests on access control: ACL 1.0 (4.5.2 to 5.3.2), users and policies of auth 2.0 (5.3.0+)."""

from __future__ import annotations

import msgspec

from rmqwire.codes import RequestCode
from rmqwire.declare import Header, Role, request


@request(
    RequestCode.UPDATE_AND_CREATE_ACL_CONFIG,
    served_by=Role.BROKER,
    source="CreateAccessConfigRequestHeader 4.7.0",
)
class UpdateAndCreateAclConfig(Header):
    """Create or change an account."""

    access_key: str
    secret_key: str | None = None
    white_remote_address: str | None = None
    admin: bool = False
    default_topic_perm: str | None = None
    default_group_perm: str | None = None
    topic_perms: str | None = None
    """Comma list of `name=PERM`."""
    group_perms: str | None = None


@request(RequestCode.DELETE_ACL_CONFIG, served_by=Role.BROKER, source="DeleteAccessConfigRequestHeader 4.7.0")
class DeleteAclConfig(Header):
    """Delete an account."""

    access_key: str


class GetBrokerClusterAclInfoReply(Header):
    """The version of a broker's accounts."""

    version: str
    broker_name: str
    broker_addr: str
    cluster_name: str
    all_acl_file_version: str | None = None


@request(
    RequestCode.GET_BROKER_CLUSTER_ACL_INFO,
    served_by=Role.BROKER,
    reply=GetBrokerClusterAclInfoReply,
    source="no header class; AdminBrokerProcessor 4.9.7",
)
class GetBrokerClusterAclInfo(Header):
    """Ask for the version of the accounts."""


@request(
    RequestCode.UPDATE_GLOBAL_WHITE_ADDRS_CONFIG,
    served_by=Role.BROKER,
    source="UpdateGlobalWhiteAddrsConfigRequestHeader 4.9.7",
)
class UpdateGlobalWhiteAddrsConfig(Header):
    """Change the addresses that need no account."""

    global_white_addrs: str
    acl_file_full_path: str | None = None


@request(
    RequestCode.GET_BROKER_CLUSTER_ACL_CONFIG,
    served_by=Role.BROKER,
    source="no header class; AdminBrokerProcessor 4.9.7",
    reply_body="AclConfig",
)
class GetBrokerClusterAclConfig(Header):
    """Ask for all accounts."""


class _OfUser(Header):
    user_name: str | None = msgspec.field(name="username", default=None)


@request(
    RequestCode.AUTH_CREATE_USER,
    served_by=Role.BROKER,
    source="CreateUserRequestHeader 5.5.0",
    body="UserInfo",
)
class AuthCreateUser(_OfUser):
    """Create a user."""


@request(
    RequestCode.AUTH_UPDATE_USER,
    served_by=Role.BROKER,
    source="UpdateUserRequestHeader 5.5.0",
    body="UserInfo",
)
class AuthUpdateUser(_OfUser):
    """Change a user."""


@request(RequestCode.AUTH_DELETE_USER, served_by=Role.BROKER, source="DeleteUserRequestHeader 5.5.0")
class AuthDeleteUser(_OfUser):
    """Delete a user."""


@request(
    RequestCode.AUTH_GET_USER,
    served_by=Role.BROKER,
    source="GetUserRequestHeader 5.5.0",
    reply_body="UserInfo",
)
class AuthGetUser(_OfUser):
    """Ask for a user."""


@request(
    RequestCode.AUTH_LIST_USER,
    served_by=Role.BROKER,
    source="ListUsersRequestHeader 5.5.0",
    reply_body="JSON array of UserInfo",
)
class AuthListUser(Header):
    """Ask for users."""

    filter: str | None = None


class _OfSubject(Header):
    subject: str | None = None
    """`User:name`."""


@request(
    RequestCode.AUTH_CREATE_ACL,
    served_by=Role.BROKER,
    source="CreateAclRequestHeader 5.5.0",
    body="AclInfo",
)
class AuthCreateAcl(_OfSubject):
    """Add policies to a subject."""


@request(
    RequestCode.AUTH_UPDATE_ACL,
    served_by=Role.BROKER,
    source="UpdateAclRequestHeader 5.5.0",
    body="AclInfo",
)
class AuthUpdateAcl(_OfSubject):
    """Change the policies of a subject."""


@request(RequestCode.AUTH_DELETE_ACL, served_by=Role.BROKER, source="DeleteAclRequestHeader 5.5.0")
class AuthDeleteAcl(_OfSubject):
    """Delete policies of a subject."""

    policy_type: str | None = None
    resource: str | None = None


@request(
    RequestCode.AUTH_GET_ACL,
    served_by=Role.BROKER,
    source="GetAclRequestHeader 5.5.0",
    reply_body="AclInfo",
)
class AuthGetAcl(_OfSubject):
    """Ask for the policies of a subject."""


@request(
    RequestCode.AUTH_LIST_ACL,
    served_by=Role.BROKER,
    source="ListAclsRequestHeader 5.5.0",
    reply_body="JSON array of AclInfo",
)
class AuthListAcl(Header):
    """Ask for policies."""

    subject_filter: str | None = None
    resource_filter: str | None = None
