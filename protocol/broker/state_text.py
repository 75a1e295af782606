"""Texts of the `config/*.json` files: read either copy, keep what a newer broker wrote, write big tables by joining.

Source: `ConfigManager` (5.5.0): the form is that of fastjson's pretty writer with tabs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from twisted.logger import Logger

from rmqd.store.errors import StoreDamaged
from rmqwire.bodies import DataVersion
from rmqwire.dialect import loads, pretty
from rmqwire.errors import MalformedBody

if TYPE_CHECKING:
    from rmqd.store.statefile import StateFile

_log = Logger()
T = TypeVar("T")

VERSION = "dataVersion"


def load_state(file: StateFile, read: Callable[[dict[str, Any]], T]) -> T | None:
    """Read a state file, or its backup when the file itself is damaged.

    Args:
        file: The file.
        read: Makes the state of the parsed object.

    Returns:
        What `read` made; None when there is no file yet.

    Raises:
        StoreDamaged: Neither the file nor its backup can be read. Starting with an empty table instead would lose
            topics or make consumers begin anew, so it is for a person to decide.
    """
    text = file.load()
    if text is None:
        return None
    try:
        return _read(text, read)
    except MalformedBody as damage:
        backup = file.load_backup()
        if backup is None or backup == text:
            raise StoreDamaged(f"damaged, and there is no good .bak: {damage}", file=file.path) from damage
        _log.warn("{path} is damaged ({damage}), its .bak is taken", path=file.path, damage=damage)
    try:
        return _read(backup, read)
    except MalformedBody as damage:
        raise StoreDamaged(f"damaged, and so is its .bak: {damage}", file=file.path) from damage


def _read(text: bytes, read: Callable[[dict[str, Any]], T]) -> T:
    tree = loads(text)
    if not isinstance(tree, dict):
        raise MalformedBody("no JSON object")
    return read(tree)


def table_of(tree: Mapping[str, Any], member: str) -> dict[str, Any]:
    """Give a member that is a map, empty when it is absent or null.

    Raises:
        MalformedBody: It is something else.
    """
    table = tree.get(member)
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise MalformedBody(f"{member} is no object")
    return table


def unknown_members(tree: Any, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Give the members that a struct has no field for, so that they can be written back."""
    if not isinstance(tree, dict):
        return {}
    known = _members(kind)
    return {name: value for name, value in tree.items() if name not in known}


@cache
def _members(kind: type[msgspec.Struct]) -> frozenset[str]:
    """The names of a struct's fields; kept, as there is one look for each of thousands of topics."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind))


def version_of(tree: Mapping[str, Any], default: DataVersion) -> DataVersion:
    """Give the version in a state file; the default when it has none."""
    version = tree.get(VERSION)
    return default if version is None else DataVersion.of_tree(version)


def document(texts: Mapping[str, bytes], values: Mapping[str, Any] | None = None) -> bytes:
    """Write an object, its members sorted by name.

    Args:
        texts: Members whose pretty texts are there.
        values: Members to write pretty now.
    """
    members = {**{name: indented(value, 1) for name, value in (values or {}).items()}, **texts}
    lines = b",\n\t".join(b'"%b":%b' % (name.encode(), members[name]) for name in sorted(members))
    return b"{\n\t" + lines + b"\n}"


def indented(value: Any, levels: int) -> bytes:
    """Write a value pretty, for a place `levels` deep."""
    # No text contains a raw line break: JSON escapes them.
    return pretty(value).replace(b"\n", b"\n" + b"\t" * levels)


class EntryTexts:
    """The pretty texts of the entries of a map in a document, each made once.

    Args:
        text_of: Gives the text of an entry by its name, indented by two levels.
    """

    def __init__(self, text_of: Callable[[str], bytes]) -> None:
        self._text_of = text_of
        self._texts: dict[str, bytes] = {}
        self._stale: dict[str, None] = {}

    def touch(self, name: str) -> None:
        """Note that an entry is new or has changed."""
        self._stale[name] = None

    def touch_all(self, names: Iterable[str]) -> None:
        """Note it of several entries."""
        self._stale.update(dict.fromkeys(names))

    def drop(self, name: str) -> None:
        """Note that an entry is gone."""
        self._stale.pop(name, None)
        self._texts.pop(name, None)

    def text(self) -> bytes:
        """Write the map as a member of the document."""
        for name in self._stale:
            self._texts[name] = b"%b:%b" % (msgspec.json.encode(name), self._text_of(name))
        self._stale.clear()
        if not self._texts:
            return b"{}"
        return b"{\n\t\t" + b",\n\t\t".join(self._texts.values()) + b"\n\t}"
