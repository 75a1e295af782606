"""How a request is declared, once: its code, header fields, reply, role and source.

The registry made here is what the dispatcher routes by, what `docs/requests.md` is generated from, and what the
tests compare the handlers with.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec


class Role(enum.Flag):
    """Who answers a request."""

    NAMESRV = enum.auto()
    BROKER = enum.auto()
    CLIENT = enum.auto()
    CONTROLLER = enum.auto()
    CONTAINER = enum.auto()


class Header(msgspec.Struct, rename="camel", kw_only=True, gc=False):
    """Base of every header: attributes in snake_case, on the wire the camelCase that Java uses.

    Fields without a default are required (`@CFNotNull` in Java). Absent and null are `None`. Give
    `msgspec.field(name=...)` where Java's spelling is not the camelCase of ours. Values are scalars: headers are not
    tracked by the garbage collector.
    """


class NoFields(Header):
    """A request or reply without header fields."""


H = TypeVar("H", bound=Header)


class Declaration(msgspec.Struct, frozen=True):
    """One request code as one role serves it."""

    code: int
    header: type[Header]
    reply: type[Header]
    served_by: Role
    source: str
    body: str
    reply_body: str
    oneway: bool


_REGISTRY: dict[tuple[int, Role], Declaration] = {}
_BY_HEADER: dict[type[Header], Declaration] = {}


def request(
    code: int,
    *,
    served_by: Role,
    source: str,
    reply: type[Header] = NoFields,
    body: str = "",
    reply_body: str = "",
    oneway: bool = False,
) -> Callable[[type[H]], type[H]]:
    """Declare a header class as the request `code`.

    Args:
        code: The request code.
        served_by: The roles that answer it; two declarations of one code must not share a role.
        source: The Java header class, or the document, that the fields come from.
        reply: The header class of the answer's fields.
        body: What the request's body holds, in words or as the name of a class in `bodies`.
        reply_body: The same for the answer.
        oneway: Whether senders usually expect no answer.

    Raises:
        ValueError: The code is declared already for one of the roles.
    """

    def register(header: type[H]) -> type[H]:
        declaration = Declaration(code, header, reply, served_by, source, body, reply_body, oneway)
        for role in Role:
            if role in served_by:
                if (code, role) in _REGISTRY:
                    raise ValueError(f"request code {code} is declared twice for {role.name}")
                _REGISTRY[code, role] = declaration
        _BY_HEADER[header] = declaration
        return header

    return register


def declaration_of(header: type[Header]) -> Declaration:
    """Give the declaration that a header class was registered with.

    Raises:
        KeyError: The class was never declared with `request`.
    """
    return _BY_HEADER[header]


def declarations(role: Role) -> dict[int, Declaration]:
    """Give every declared request that `role` serves, by code. `rmqwire.requests` must have been imported."""
    return {
        code: declaration
        for (code, served_by), declaration in sorted(_REGISTRY.items(), key=_code)
        if served_by is role
    }


def _code(item: tuple[tuple[int, Role], Any]) -> int:
    return item[0][0]
