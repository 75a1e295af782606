"""Attributes of topics: how `+key=value` and `-key` change them, and which values are allowed.

Source: `AttributeUtil`, `AttributeParser`, `TopicAttributes`, `TopicMessageType` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from rmqwire.errors import RequestError

_I64_MAX = 2**63 - 1


class Attribute(msgspec.Struct, frozen=True):
    """One known key: whether it may change after creation, and the check of its value."""

    changeable: bool
    check: Callable[[str], bool]
    expected: str


def _one_of(*values: str) -> tuple[Callable[[str], bool], str]:
    allowed = frozenset(values)
    return allowed.__contains__, ", ".join(sorted(allowed))


def _whole_number(low: int) -> tuple[Callable[[str], bool], str]:
    def check(text: str) -> bool:
        try:
            return low <= int(text) <= _I64_MAX
        except ValueError:
            return False

    return check, f"a whole number from {low}"


MESSAGE_TYPE = "message.type"
RESERVE_TIME = "reserve.time"

TOPIC_ATTRIBUTES: Mapping[str, Attribute] = {
    "queue.type": Attribute(False, *_one_of("BatchCQ", "SimpleCQ", "RocksDBCQ")),
    "cleanup.policy": Attribute(False, *_one_of("DELETE", "COMPACTION")),
    MESSAGE_TYPE: Attribute(
        True,
        *_one_of("UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED", "PRIORITY", "LITE"),
    ),
    RESERVE_TIME: Attribute(True, *_whole_number(-1)),
}
"""What a topic may carry."""

GROUP_ATTRIBUTES: Mapping[str, Attribute] = {}
"""What a subscription group may carry: nothing that is acted upon yet."""


def parse_changes(text: str | None) -> dict[str, str]:
    """Read the list `+key=value,-key` of a request, signs kept.

    Raises:
        RequestError: An entry is not of that form, or a key comes twice.
    """
    changes: dict[str, str] = {}
    for entry in (text or "").split(","):
        if not entry:
            continue
        key, equals, value = entry.partition("=")
        key, value = key.strip(), value.strip()
        if equals and "=" in value:
            raise RequestError("kv string format wrong.")
        if equals and not (value and key.startswith("+")):
            raise RequestError(f"add/alter attribute format is wrong: {key}")
        if not equals and not key.startswith("-"):
            raise RequestError(f"delete attribute format is wrong: {key}")
        if key in changes:
            raise RequestError(f"key duplication: {key}")
        changes[key] = value
    return changes


def alter(
    known: Mapping[str, Attribute], current: Mapping[str, str] | None, changes: Mapping[str, str]
) -> dict[str, str]:
    """Give the attributes after a change.

    Args:
        known: The keys there are.
        current: Attributes now; None when what they belong to is being created.
        changes: Keys with their sign.

    Raises:
        RequestError: An unknown key, a value that is not allowed, or a change that is.
    """
    after = dict(current or {})
    seen: set[str] = set()
    for signed, value in changes.items():
        sign, key = signed[:1], signed[1:]
        if not key or "+" in key or "-" in key:
            raise RequestError("kv string format wrong.")
        if key in seen:
            raise RequestError(f"alter duplication key. key: {key}")
        seen.add(key)
        if current is None and sign != "+":
            raise RequestError(f"only add attribute is supported while creating topic. key: {key}")
        if sign not in ("+", "-"):
            raise RequestError(f"wrong format key: {key}")
        if sign == "-" and key not in after:
            raise RequestError(f"attempt to delete a nonexistent key: {key}")
        attribute = known.get(key)
        if attribute is None:
            raise RequestError(f"unsupported key: {key}")
        if current is not None and not attribute.changeable:
            raise RequestError(f"attempt to update an unchangeable attribute. key: {key}")
        if sign == "-":
            del after[key]
        elif attribute.check(value):
            after[key] = value
        else:
            raise RequestError(f"value is not in set: {value}, allowed for {key}: {attribute.expected}")
    return after
