"""The property string of a message: names and values, and the few names the server looks at.

Source: `MessageDecoder`, `MessageConst`, 4.7.0 and 5.5.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

NAME_VALUE_SEPARATOR = "\x01"
PROPERTY_SEPARATOR = "\x02"

PROPERTY_KEYS = "KEYS"
PROPERTY_TAGS = "TAGS"
PROPERTY_UNIQ_KEY = "UNIQ_KEY"
PROPERTY_DELAY = "DELAY"


def encode_properties(properties: Mapping[str, str] | Iterable[tuple[str, str]]) -> bytes:
    """`name 0x01 value 0x02` for each, the last 0x02 included.

    Source: `MessageDecoder.messageProperties2String`.
    """
    pairs = properties.items() if isinstance(properties, Mapping) else properties
    return "".join([f"{name}\x01{value}\x02" for name, value in pairs]).encode("utf-8")


def decode_properties(properties: bytes) -> dict[str, str]:
    """Read a property string as 5.x does: pieces without a name or without a value are dropped.

    Bytes that are no UTF-8 become replacement characters, as in Java.

    Source: `MessageDecoder.string2messageProperties`.
    """
    return parse_properties(properties.decode("utf-8", "replace"))


def parse_properties(text: str) -> dict[str, str]:
    """Read a property string that is text already, as in a request header."""
    pieces = text.split(PROPERTY_SEPARATOR)
    try:
        found = dict([piece.split(NAME_VALUE_SEPARATOR, 1) for piece in pieces if piece])
    except ValueError:  # a piece without a separator
        found = dict([piece.split(NAME_VALUE_SEPARATOR, 1) for piece in pieces if NAME_VALUE_SEPARATOR in piece])
    if "" in found or "" in found.values():
        return {name: value for name, value in found.items() if name and value}
    return found


TAGS_KEY = "T#"
"""What stands before tags where a message is indexed under them."""


def message_keys(properties: Mapping[str, str]) -> list[str]:
    """What a message is indexed under: its unique key, then each blank-separated part of KEYS, then its tags.

    Source: `IndexService.buildIndex`, 5.5.0; older ones leave the tags out.
    """
    keys = []
    unique = properties.get(PROPERTY_UNIQ_KEY)
    if unique is not None:
        keys.append(unique)
    several = properties.get(PROPERTY_KEYS)
    if several:
        keys.extend(part for part in several.split(" ") if part)
    tags = properties.get(PROPERTY_TAGS)
    if tags:
        keys.append(TAGS_KEY + tags)
    return keys


_UNIQUE_BEGIN = b"UNIQ_KEY\x01"
_USUAL_RESTS = frozenset((b"WAIT\x01true\x02", b"WAIT\x01true", b""))


def tags_and_keys(properties: bytes) -> tuple[str | None, Sequence[str]]:
    """The TAGS text of a stored property string, and what the message is indexed under (`message_keys`).

    Most messages have a unique key and WAIT, in that order, and nothing else: these are read without a dictionary.
    """
    if properties.startswith(_UNIQUE_BEGIN):
        end = properties.find(b"\x02")
        if end > 9 and properties[end + 1 :] in _USUAL_RESTS:
            return None, (properties[9:end].decode("utf-8", "replace"),)
    found = decode_properties(properties)
    return found.get(PROPERTY_TAGS), message_keys(found)
