"""Generator of `docs/requests.md` from the declared requests: `python -m rmqwire.document [FILE]`.

The handlers are not known here; who knows them passes their names to `render`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from .codes import name_of_request
from .declare import Declaration, Header, Role, declarations
from .fields import i32, i64
from .header_json import fields_of
from .requests import UNSERVED
from .requests.base import RpcRequest, TopicRequest

TITLES = {
    Role.NAMESRV: "Name server",
    Role.BROKER: "Broker",
    Role.CLIENT: "Client: requests that a broker sends",
    Role.CONTROLLER: "Controller",
    Role.CONTAINER: "Broker container",
}

HEAD = """\
# Requests

Generated from the declarations in `rmqwire/requests/`; change those and run `make docs`.

Fields are spelled as on the wire. `?` may be absent, `= x` is the value of an absent field, all others are required;
a request without a required field is answered `SYSTEM_ERROR`. Fields not named here are skipped. `i32` and `i64` travel
as decimal text, `bool` as `true` or `false`. Bodies named like a class are in `rmqwire.bodies`.
"""

COLUMNS = ("code", "name", "fields", "body", "answer's fields", "answer's body", "Java source", "handler")


def render(handlers: Mapping[tuple[Role, int], str] | None = None) -> str:
    """Write the whole document.

    Args:
        handlers: What handles a code in a role, or why nothing does.
    """
    known = handlers or {}
    parts = [HEAD]
    for tag, base in (("+R", RpcRequest), ("+T", TopicRequest)):
        parts.append(f"`{tag}` stands for {_fields(fields_of(base))}.\n")
    for role, title in TITLES.items():
        table = declarations(role)
        parts.append(f"\n## {title}\n\n{len(table)} requests.\n\n{_row(COLUMNS)}\n{_row('---' for _ in COLUMNS)}\n")
        parts += [_row(_cells(entry, known.get((role, code), ""))) + "\n" for code, entry in table.items()]
    parts.append("\n## Codes that nobody serves\n\nAnswered 3, `REQUEST_CODE_NOT_SUPPORTED`.\n\n")
    parts.append(f"{_row(('code', 'name', 'why'))}\n{_row(('---', '---', '---'))}\n")
    parts += [_row((str(code), name_of_request(code), why)) + "\n" for code, why in sorted(UNSERVED.items())]
    return "".join(parts)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(entry: Declaration, handler: str) -> tuple[str, ...]:
    name = name_of_request(entry.code) + (" (oneway)" if entry.oneway else "")
    return (
        str(entry.code),
        name,
        _header(entry.header),
        entry.body,
        _header(entry.reply),
        entry.reply_body,
        entry.source,
        handler,
    )


def _header(header: type[Header]) -> str:
    tag, base = "", Header
    if issubclass(header, RpcRequest):
        tag, base = ("+T", TopicRequest) if issubclass(header, TopicRequest) else ("+R", RpcRequest)
    inherited = {field.encode_name for field in fields_of(base)}
    own = _fields(field for field in fields_of(header) if field.encode_name not in inherited)
    return ", ".join(part for part in (f"`{tag}`" if tag else "", own) if part)


def _fields(fields: Iterable[msgspec.structs.FieldInfo]) -> str:
    return ", ".join(f"`{_field(field)}`" for field in fields)


def _field(field: msgspec.structs.FieldInfo) -> str:
    text = f"{field.encode_name} {_type(field.type)}"
    if field.required:
        return text
    if field.default is None:
        return text + "?"
    return f"{text} = {str(field.default).lower()}"


def _type(kind: Any) -> str:
    optional = [member for member in get_args(kind) if member is not type(None)]
    if kind in (i32, i64):
        return "i32" if kind == i32 else "i64"
    if type(None) in get_args(kind):
        return _type(optional[0])
    return str(kind.__name__)


def main(arguments: list[str]) -> None:
    """Write the document to the file named, or to standard output."""
    if arguments:
        Path(arguments[0]).write_text(render(), encoding="utf-8")
    else:
        sys.stdout.write(render())


if __name__ == "__main__":  # pragma: no cover  # `main` is tested
    main(sys.argv[1:])
