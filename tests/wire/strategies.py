"""Hypothesis strategies derived from the declared types: any struct of `rmqwire` with any values it may have."""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from rmqwire.fields import I32_MAX, I32_MIN, I64_MAX, I64_MIN, i32

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.text("abcXYZ019%@_-", min_size=1, max_size=6)


@cache
def structs(kind: type[msgspec.Struct]) -> st.SearchStrategy[Any]:
    """Give values of a struct class; members that have a default are left out at times."""
    hints = get_type_hints(kind, include_extras=True)
    required, optional = {}, {}
    for field in msgspec.structs.fields(kind):
        (required if field.required else optional)[field.name] = values(hints[field.name])
    return st.builds(_make, st.just(kind), st.fixed_dictionaries(required, optional=optional))


def _make(kind: type[msgspec.Struct], members: dict[str, Any]) -> Any:
    return kind(**members)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Give values of one field's type."""
    origin = get_origin(kind)
    if origin is Annotated:
        low, high = (I32_MIN, I32_MAX) if kind == i32 else (I64_MIN, I64_MAX)
        return st.integers(low, high)
    if origin in (UnionType, Union):
        return st.one_of(values(member) for member in get_args(kind))
    if origin is list:
        return st.lists(values(get_args(kind)[0]), max_size=3)
    if origin is dict:
        key, value = get_args(kind)
        return st.dictionaries(NAMES if key is str else values(key), values(value), max_size=3)
    if kind is str:
        return TEXT
    if kind is bool:
        return st.booleans()
    if kind is float:
        return st.floats(allow_nan=False, allow_infinity=False)
    if kind is bytes:
        return st.binary(max_size=8)
    if kind is type(None):
        return st.none()
    return structs(kind)
