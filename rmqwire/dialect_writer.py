"""Writer of JSON as the official peers write it: compact, members sorted, null members left out.

Maps keep their order. Integer keys are bare, or quoted on demand; keys that are objects are written as objects, which
is no standard JSON but the only form that fastjson reads back.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from json.encoder import encode_basestring
from math import isfinite
from typing import Any

import msgspec
from msgspec import inspect

from .dialect_reader import BeanMap


def dumps(value: Any, *, quoted_integer_keys: bool = False) -> bytes:
    """Write a value compactly.

    Args:
        value: Structs, dicts, `BeanMap`s, lists, tuples, sets, str, numbers, bool, bytes (base64) and None.
        quoted_integer_keys: Write `{"0":1}` for `{0: 1}` and sort all maps, as for `acceptStandardJsonOnly`.

    Raises:
        TypeError: A value of another type.
    """
    out: list[str] = []
    _Writer(out, quoted_integer_keys, "").value(value, "")
    return "".join(out).encode("utf-8", "replace")


def pretty(value: Any) -> bytes:
    """Write a value indented by tabs, as the official 5.5.0 writes its `config/*.json`.

    Raises:
        TypeError: A value of a type that `dumps` does not take.
    """
    out: list[str] = []
    _Writer(out, False, "\t").value(value, "\n")
    return "".join(out).encode("utf-8", "replace")


class _Writer:
    __slots__ = ("emit", "indent", "standard")

    def __init__(self, out: list[str], standard: bool, indent: str) -> None:
        self.emit = out.append
        self.standard = standard
        self.indent = indent

    def value(self, value: Any, line: str) -> None:
        """Write a value; `line` is the line break with the current indentation, or nothing."""
        kind = value.__class__
        if kind is str:
            self.emit(encode_basestring(value))
        elif kind is bool:
            self.emit("true" if value else "false")
        elif kind is int:
            self.emit(str(value))
        elif value is None:
            self.emit("null")
        elif isinstance(value, msgspec.Struct):
            self.members(value, line)
        elif isinstance(value, dict):
            entries = value.items()
            self.map(sorted(entries) if self.standard and _sortable(value) else list(entries), line)
        elif isinstance(value, BeanMap):
            self.map(value.pairs, line)
        elif isinstance(value, list | tuple | set | frozenset):
            self.array(value, line)
        elif isinstance(value, float):
            self.emit(java_double(value))
        elif isinstance(value, bytes):
            self.emit(f'"{b64encode(value).decode()}"')
        else:
            raise TypeError(f"{kind.__name__} is not written as JSON")

    def members(self, value: msgspec.Struct, line: str) -> None:
        if not line and is_plain(value.__class__):
            self.emit(msgspec.json.encode(value, order="sorted").decode())
            return
        inner = line + self.indent if line else ""
        before = "{"
        for name, attribute in members_of(value.__class__):
            member = getattr(value, attribute)
            if member is not None:
                self.emit(before + inner + name)
                self.value(member, inner)
                before = ","
        self.emit("{}" if before == "{" else line + "}")

    def map(self, pairs: list[tuple[Any, Any]], line: str) -> None:
        inner = line + self.indent if line else ""
        before = "{"
        for key, member in pairs:
            if key.__class__ is int:
                self.emit(f'{before}{inner}"{key}":' if self.standard else f"{before}{inner}{key}:")
            else:
                self.emit(before + inner)
                self.value(key, inner)
                self.emit(":")
            self.value(member, inner)
            before = ","
        self.emit("{}" if before == "{" else line + "}")

    def array(self, values: Any, line: str) -> None:
        inner = line + self.indent if line else ""
        before = "["
        for member in values:
            self.emit(before + inner)
            self.value(member, inner)
            before = ","
        self.emit("[]" if before == "[" else line + "]")


def _sortable(value: dict[Any, Any]) -> bool:
    return all(key.__class__ is str for key in value) or all(key.__class__ is int for key in value)


@cache
def members_of(kind: type[msgspec.Struct]) -> tuple[tuple[str, str], ...]:
    """Give the members of a struct sorted by name: the name as JSON with its colon, and the attribute."""
    written_from: Mapping[str, str] = getattr(kind, "WRITTEN_FROM", {})  # read into one, written from another
    return tuple(
        (f'"{field.encode_name}":', written_from.get(field.name, field.name))
        for field in sorted(msgspec.structs.fields(kind), key=lambda field: field.encode_name)
    )


def java_double(value: float) -> str:
    """Write a double as Java does: `0.0`, `12.5`, `1.0E-7`; what is no number as `null`."""
    if not isfinite(value):
        return "null"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)  # a finite number
    text = "".join(map(str, digits)).lstrip("0").rstrip("0") or "0"
    power = len("".join(map(str, digits)).lstrip("0")) + exponent - 1 if value else 0
    minus = "-" if sign else ""
    if power < -3 or power > 6:
        return f"{minus}{text[0]}.{text[1:] or '0'}E{power}"
    if power < 0:
        return f"{minus}0.{'0' * (-power - 1)}{text}"
    return f"{minus}{text[: power + 1].ljust(power + 1, '0')}.{text[power + 1 :] or '0'}"


@cache
def is_plain(kind: type[msgspec.Struct]) -> bool:
    """Say whether msgspec writes a struct as Java does: only text as keys of maps, no doubles, no second names."""
    return _plain(inspect.type_info(kind))


def _plain(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.StructType):
        written_from: Mapping[str, str] = getattr(kind.cls, "WRITTEN_FROM", {})
        return not written_from and all(_plain(field.type) for field in kind.fields)
    if isinstance(kind, inspect.DictType):
        return isinstance(kind.key_type, inspect.StrType) and _plain(kind.value_type)
    if isinstance(kind, inspect.ListType):
        return _plain(kind.item_type)
    if isinstance(kind, inspect.UnionType):
        return all(_plain(member) for member in kind.types)
    return isinstance(kind, inspect.StrType | inspect.IntType | inspect.BoolType | inspect.NoneType | inspect.BytesType)
