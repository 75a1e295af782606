"""Commands on who may do what at brokers with authorization."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rmqwire.bodies.acl import AclInfo, PolicyEntryInfo, PolicyInfo
from rmqwire.requests.acl import AuthCreateAcl, AuthDeleteAcl, AuthGetAcl, AuthListAcl, AuthUpdateAcl

from .command import BROKER, CLUSTER, command, flag
from .groups import addresses_given
from .output import Columns
from .users import every_address

if TYPE_CHECKING:
    from .asking import Admin
    from .command import Given
    from .output import Output

_SUBJECT = flag("s", "subject", "who, as User:name", required=True)
_POLICY = (
    BROKER,
    CLUSTER,
    _SUBJECT,
    flag("r", "resources", "what, as Topic:name,Group:prefix*; joined by commas", required=True),
    flag("a", "actions", "Pub, Sub, Create, Update, Delete, Get, List or All; joined by commas", required=True),
    flag("i", "sourceIp", "from where, joined by commas"),
    flag("d", "decision", "Allow or Deny", required=True),
)
_ENTRIES = Columns(
    "%-16s  %-10s  %-22s  %-20s  %-24s  %-10s",
    None,
    ("#Subject", "#PolicyType", "#Resource", "#Actions", "#SourceIp", "#Decision"),
    ("subject", "policyType", "resource", "actions", "sourceIps", "decision"),
)


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part]


def _list_text(words: list[str] | None) -> str | None:
    """`List.toString`."""
    return None if words is None else f"[{', '.join(words)}]"


def _policies(given: Given) -> AclInfo:
    entries = [
        PolicyEntryInfo(
            resource=resource,
            actions=_words(given.text("actions")),
            source_ips=_words(given.maybe("sourceIp")),
            decision=given.text("decision"),
        )
        for resource in _words(given.text("resources")) or []
    ]
    return AclInfo(subject=given.text("subject"), policies=[PolicyInfo(entries=entries)])


async def _get(admin: Admin, address: str, subject: str | None) -> AclInfo | None:
    answer = await admin.call(address, AuthGetAcl(subject=subject))
    return AclInfo.decode(answer.body) if answer.body else None


async def _list(admin: Admin, address: str, subject: str | None, resource: str | None) -> list[AclInfo]:
    answer = await admin.call(address, AuthListAcl(subject_filter=subject, resource_filter=resource))
    return [AclInfo.decode(json.dumps(one).encode()) for one in json.loads(answer.body or b"[]")]


def _show(out: Output, acls: list[AclInfo]) -> None:
    if not acls:
        return
    out.head(_ENTRIES)
    for acl in acls:
        if not acl.policies:
            out.put(_ENTRIES, acl.subject, "", "", "", "", "")
        for policy in acl.policies or []:
            for entry in policy.entries or []:
                out.put(
                    _ENTRIES,
                    acl.subject,
                    policy.policy_type,
                    entry.resource,
                    _list_text(entry.actions),
                    _list_text(entry.source_ips),
                    entry.decision,
                )


@command("createAcl", *_POLICY)
async def create_acl(admin: Admin, given: Given, out: Output) -> None:
    """Allow or deny something."""
    acl = _policies(given)
    for address in await every_address(admin, given):
        await admin.call(address, AuthCreateAcl(subject=acl.subject), acl.encode())
        out.line(f"create acl to {address} success.")
        out.row({"address": address, "subject": acl.subject})


@command("updateAcl", *_POLICY)
async def update_acl(admin: Admin, given: Given, out: Output) -> None:
    """Change what is allowed or denied."""
    acl = _policies(given)
    for address in await every_address(admin, given):
        await admin.call(address, AuthUpdateAcl(subject=acl.subject), acl.encode())
        out.line(f"update acl to {address} success.")
        out.row({"address": address, "subject": acl.subject})


@command("deleteAcl", BROKER, CLUSTER, _SUBJECT, flag("r", "resources", "only the policy of this resource"))
async def delete_acl(admin: Admin, given: Given, out: Output) -> None:
    """Delete the policies of a subject, or that of one resource."""
    subject = given.text("subject")
    for address in await every_address(admin, given):
        await admin.call(address, AuthDeleteAcl(subject=subject, resource=given.maybe("resources")))
        out.line(f"delete acl to {address} success.")
        out.row({"address": address, "subject": subject})


@command("getAcl", BROKER, CLUSTER, flag("s", "subject", "who, as User:name"))
async def get_acl(admin: Admin, given: Given, out: Output) -> None:
    """Show the policies of a subject."""
    out.rows()
    for address in await addresses_given(admin, given):
        acl = await _get(admin, address, given.maybe("subject"))
        if acl is not None:
            _show(out, [acl])


@command(
    "listAcl",
    BROKER,
    CLUSTER,
    flag("s", "subject", "only subjects with this text"),
    flag("r", "resource", "only resources with this text"),
)
async def list_acls(admin: Admin, given: Given, out: Output) -> None:
    """List policies."""
    out.rows()
    for address in await addresses_given(admin, given):
        _show(out, await _list(admin, address, given.maybe("subject"), given.maybe("resource")))


@command(
    "copyAcl",
    flag("f", "fromBroker", "address of the broker that has the policies", required=True),
    flag("t", "toBroker", "address of the broker that gets them", required=True),
    flag("s", "subjects", "whose, joined by commas; all without it"),
)
async def copy_acls(admin: Admin, given: Given, out: Output) -> None:
    """Copy policies from one broker to another."""
    source, target = given.text("fromBroker"), given.text("toBroker")
    subjects = given.maybe("subjects")
    if subjects is None:
        acls = await _list(admin, source, None, None)
    else:
        found = [await _get(admin, source, subject) for subject in subjects.split(",") if subject]
        acls = [acl for acl in found if acl is not None]
    out.rows()
    for acl in acls:
        known = await _get(admin, target, acl.subject)
        header = (AuthCreateAcl if known is None else AuthUpdateAcl)(subject=acl.subject)
        await admin.call(target, header, acl.encode())
        out.line(f"copy acl of {acl.subject} from {source} to {target} success.")
        out.row({"subject": acl.subject, "from": source, "to": target})
