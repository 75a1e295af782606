"""What all JSON bodies have in common: how they are read and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec import inspect

from rmqwire.dialect import BeanMap, dumps, loads, pretty
from rmqwire.errors import MalformedBody
from rmqwire.fields import i32

B = TypeVar("B", bound="Body")
T = TypeVar("T")


class Body(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """Base of every JSON body and of its parts.

    Members that Java leaves out when null default to None. Members that Java always writes have their default from
    `written`, `new_list` or `new_dict`, whatever their value.

    Attributes:
        WRITTEN_FROM: Attribute to write by the attribute whose member name is written, for names that changed.
    """

    WRITTEN_FROM: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def decode(cls: type[B], data: bytes) -> B:
        """Read a body; unknown members are skipped, null counts as absent.

        Raises:
            MalformedBody: No JSON, or members of other types.
        """
        try:
            return _decoder(cls)(data)  # type: ignore[no-any-return]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return cls.of_tree(loads(data))

    @classmethod
    def of_tree(cls: type[B], tree: Any) -> B:
        """Make a body of what `dialect.loads` gave.

        Raises:
            MalformedBody: Members of other types.
        """
        try:
            return msgspec.convert(_convertible(tree), cls, strict=False, str_keys=True)
        except (msgspec.MsgspecError, RecursionError, TypeError) as cause:
            raise MalformedBody(f"{cls.__name__}: {cause}") from cause

    def encode(self, *, quoted_integer_keys: bool = False) -> bytes:
        """Write the body compactly, members sorted; `quoted_integer_keys` gives standard JSON."""
        if _is_plain(self.__class__):
            return msgspec.json.encode(self, order="sorted")
        return dumps(self, quoted_integer_keys=quoted_integer_keys)

    def pretty(self) -> bytes:
        """Write the body indented, as in a `config/*.json` file."""
        return pretty(self)


class MessageQueue(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True, frozen=True):
    """One queue of a topic on one broker; frozen and hashable, since maps have it as key."""

    broker_name: str | None = None
    queue_id: i32 = msgspec.field(default_factory=lambda: 0)
    topic: str | None = None


def written(value: T) -> T:
    """Declare a default that is written like any other value."""
    field: T = msgspec.field(default_factory=lambda: value)
    return field


def new_list() -> list[Any]:
    """Make the default of a list that is written when it is empty too."""
    return []


def new_dict() -> dict[Any, Any]:
    """Make the default of a map that is written when it is empty too."""
    return {}


def read_list(kind: type[T], data: bytes) -> list[T]:
    """Read a body that is an array of scalars or bodies.

    Raises:
        MalformedBody: No JSON, or elements of other types.
    """
    try:
        return msgspec.convert(_convertible(loads(data)), list[kind], strict=False, str_keys=True)  # type: ignore[valid-type]
    except (msgspec.MsgspecError, TypeError) as cause:
        raise MalformedBody(f"array of {kind.__name__}: {cause}") from cause


def _convertible(node: Any) -> Any:
    """Leave nulls out and turn object keys into queues, the only objects that are keys in the protocol."""
    if isinstance(node, dict):
        return {key: _convertible(value) for key, value in node.items() if value is not None}
    if isinstance(node, list):
        return [_convertible(value) for value in node if value is not None]
    if isinstance(node, BeanMap):
        return {
            msgspec.convert(_convertible(key), MessageQueue, strict=False): _convertible(value)
            for key, value in node.pairs
            if value is not None
        }
    return node


@cache
def _decoder(kind: type[Body]) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind, strict=False).decode


@cache
def _is_plain(kind: type[Body]) -> bool:
    """Say whether msgspec writes a body as Java does: no map with other keys than text, no doubles, no second names."""
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
