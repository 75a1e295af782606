"""What all JSON bodies have in common: how they are read and written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, ClassVar, TypeVar

import msgspec

from rmqwire.dialect import BeanMap, dumps, loads, pretty
from rmqwire.dialect_reader import NOT_STANDARD, quote_integer_keys
from rmqwire.dialect_writer import is_plain
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
        if b'"$ref"' in data:  # fastjson 1 writes a second occurrence of an object as a reference
            return cls.of_tree(loads(data))
        decode = _decoder(cls)
        try:
            return decode(data)  # type: ignore[no-any-return]
        except NOT_STANDARD:
            pass
        try:
            return decode(quote_integer_keys(data))  # type: ignore[no-any-return]
        except NOT_STANDARD:
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
        if is_plain(self.__class__):
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
    except (msgspec.MsgspecError, RecursionError, TypeError) as cause:
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
