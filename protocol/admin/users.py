"""Commands on the users of brokers with authentication."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rmqwire.bodies.acl import UserInfo
from rmqwire.requests.acl import AuthCreateUser, AuthDeleteUser, AuthGetUser, AuthListUser, AuthUpdateUser

from .command import BROKER, CLUSTER, command, flag
from .groups import addresses_given
from .output import Columns

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

_NAME = flag("u", "username", "name of the user", required=True)
_TYPE = flag("t", "userType", "Super or Normal")
_USERS = Columns(
    "%-16s  %-22s  %-22s  %-22s",
    None,
    ("#UserName", "#Password", "#UserType", "#UserStatus"),
    ("username", "password", "userType", "userStatus"),
)


async def every_address(admin: Admin, given: Given) -> list[str]:
    """The broker that `-b` names, or masters and slaves of the cluster that `-c` names: each keeps its own users."""
    if given.one_of("brokerAddr", "clusterName") == "brokerAddr":
        return [given.text("brokerAddr")]
    return await admin.addresses(given.text("clusterName"))


async def _get(admin: Admin, address: str, name: str | None) -> UserInfo | None:
    answer = await admin.call(address, AuthGetUser(user_name=name))
    return UserInfo.decode(answer.body) if answer.body else None


async def _list(admin: Admin, address: str, wanted: str | None) -> list[UserInfo]:
    answer = await admin.call(address, AuthListUser(filter=wanted))
    return [UserInfo.decode(json.dumps(one).encode()) for one in json.loads(answer.body or b"[]")]


def _show(out: Output, users: list[UserInfo]) -> None:
    out.rows()
    if users:
        out.table(_USERS, [(one.user_name, one.password, one.user_type, one.user_status) for one in users])


@command("createUser", BROKER, CLUSTER, _NAME, flag("p", "password", "its password", required=True), _TYPE)
async def create_user(admin: Admin, given: Given, out: Output) -> None:
    """Make a user."""
    name = given.text("username")
    user = UserInfo(user_name=name, password=given.text("password"), user_type=given.maybe("userType"))
    for address in await every_address(admin, given):
        await admin.call(address, AuthCreateUser(user_name=name), user.encode())
        out.line(f"create user to {address} success.")
        out.row({"address": address, "username": name})


@command(
    "updateUser",
    BROKER,
    CLUSTER,
    _NAME,
    flag("p", "password", "its new password"),
    _TYPE,
    flag("s", "userStatus", "enable or disable"),
)
async def update_user(admin: Admin, given: Given, out: Output) -> None:
    """Change a user's password, type or status."""
    name = given.text("username")
    given.one_of("password", "userType", "userStatus")
    user = UserInfo(
        user_name=name,
        password=given.maybe("password"),
        user_type=given.maybe("userType"),
        user_status=given.maybe("userStatus"),
    )
    for address in await every_address(admin, given):
        await admin.call(address, AuthUpdateUser(user_name=name), user.encode())
        out.line(f"update user to {address} success.")
        out.row({"address": address, "username": name})


@command("deleteUser", BROKER, CLUSTER, _NAME)
async def delete_user(admin: Admin, given: Given, out: Output) -> None:
    """Delete a user."""
    name = given.text("username")
    for address in await every_address(admin, given):
        await admin.call(address, AuthDeleteUser(user_name=name))
        out.line(f"delete user to {address} success.")
        out.row({"address": address, "username": name})


@command("getUser", BROKER, CLUSTER, flag("u", "username", "name of the user"))
async def get_user(admin: Admin, given: Given, out: Output) -> None:
    """Show a user, as the first broker that has it knows it."""
    for address in await addresses_given(admin, given):
        user = await _get(admin, address, given.maybe("username"))
        if user is not None:
            _show(out, [user])
            return
    out.rows()


@command("listUser", BROKER, CLUSTER, flag("f", "filter", "only names with this text"))
async def list_users(admin: Admin, given: Given, out: Output) -> None:
    """List the users of the first broker that has any."""
    for address in await addresses_given(admin, given):
        users = await _list(admin, address, given.maybe("filter"))
        if users:
            _show(out, users)
            if given.has("clusterName") and not given.has("brokerAddr"):
                out.line(f"get user from {address} success.")
            return
    out.rows()


@command(
    "copyUser",
    flag("f", "fromBroker", "address of the broker that has the users", required=True),
    flag("t", "toBroker", "address of the broker that gets them", required=True),
    flag("u", "usernames", "their names, joined by commas; all without it"),
)
async def copy_users(admin: Admin, given: Given, out: Output) -> None:
    """Copy users from one broker to another."""
    source, target = given.text("fromBroker"), given.text("toBroker")
    names = given.maybe("usernames")
    if names is None:
        users = await _list(admin, source, None)
    else:
        found = [await _get(admin, source, name) for name in names.split(",") if name]
        users = [user for user in found if user is not None]
    out.rows()
    for user in users:
        known = await _get(admin, target, user.user_name)
        header = (AuthCreateUser if known is None else AuthUpdateUser)(user_name=user.user_name)
        await admin.call(target, header, user.encode())
        out.line(f"copy user of {user.user_name} from {source} to {target} success.")
        out.row({"username": user.user_name, "from": source, "to": target})
