"""Reader of the JSON that fastjson writes and accepts beyond the standard.

Standard text is read by msgspec. What it refuses is read here: bare integer keys, objects as keys, single quotes,
unquoted names, surplus commas, comments, control characters in strings. Depth and size of the result are bounded by the
text's.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from .errors import MalformedBody

DEPTH_MAX = 128
"""Deepest nesting read; the bodies of the protocol have less than ten levels."""

NUMBER_SIZE_MAX = 64
"""Longest number read, in characters."""

_EXPANSION = 4
"""How many values `$ref` may bring per character of text; beyond it the text is an attack."""

_SPACE = re.compile(r"(?:[\s\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_DOUBLE = re.compile(r'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_SINGLE = re.compile(r"'([^'\\]*(?:\\.[^'\\]*)*)'", re.DOTALL)
_NUMBER = re.compile(r"([+-]?\d+)(\.\d*)?([eE][+-]?\d+)?[LSBFDlsbfd]?(?![\w.])")
_NAME = re.compile(r"[A-Za-z_$][\w$]*")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "F": "\f", "r": "\r", "v": "\v"}
_ESCAPES.update({str(digit): chr(digit) for digit in range(8)})
_WORDS = {"true": True, "false": False, "null": None, "undefined": None, "NaN": None}
_OPENERS = "{["
_REF = "$ref"

_BARE_INTEGER = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")|(?<=[{,\s])(-?\d+)(?=\s*:)', re.DOTALL)

_decode = msgspec.json.Decoder().decode

NOT_STANDARD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for text that is not standard JSON of the expected types."""


class BeanMap:
    """An object whose keys are objects themselves, as fastjson writes a `Map` with bean keys.

    Attributes:
        pairs: The entries in the order of the text.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        self.pairs = pairs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BeanMap) and self.pairs == other.pairs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"BeanMap({self.pairs!r})"


def loads(data: bytes) -> Any:
    """Read one JSON value in fastjson's dialect.

    Returns:
        dict, list, str, int, float, bool, None; objects with objects as keys are `BeanMap`. Integer keys, bare or
        quoted, are their text. `$ref` is replaced by a copy of what it names, by None when it names nothing.

    Raises:
        MalformedBody: The text is not JSON even for fastjson, or too deep, or its references expand without end.
    """
    try:
        tree = _decode(data)
    except NOT_STANDARD:
        try:
            tree = _decode(quote_integer_keys(data))
        except NOT_STANDARD:
            tree = _Reader(str(data, "utf-8", "replace")).whole()
    if b"$ref" in data:
        return _resolve(tree, len(data))
    return tree


def quote_integer_keys(data: bytes) -> bytes:
    """Quote the bare integer keys of a text that is standard JSON but for them, as tables of offsets are."""
    return _BARE_INTEGER.sub(_quote, data)


def _quote(match: re.Match[bytes]) -> bytes:
    return match[1] or b'"' + match[2] + b'"'


class _Reader:
    __slots__ = ("at", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def whole(self) -> Any:
        value = self.value(0)
        self.skip()
        if self.at < len(self.text):
            raise self.error("something after the end")
        return value

    def error(self, what: str) -> MalformedBody:
        return MalformedBody(f"JSON: {what} at character {self.at} of {len(self.text)}")

    def skip(self) -> str:
        """Pass over space and comments; give the next character, "" at the end."""
        match = _SPACE.match(self.text, self.at)
        assert match is not None  # the pattern matches nothing at all as well
        self.at = match.end()
        return self.text[self.at : self.at + 1]

    def skip_commas(self) -> str:
        while (first := self.skip()) == ",":
            self.at += 1
        return first

    def next_member(self, closer: str) -> str:
        first = self.skip()
        if first != "," and first != closer:
            raise self.error(f"neither a comma nor {closer}")
        return self.skip_commas()

    def value(self, depth: int) -> Any:
        if depth > DEPTH_MAX:
            raise self.error(f"more than {DEPTH_MAX} levels")
        first = self.skip()
        if first == "{":
            return self.object(depth)
        if first == "[":
            return self.array(depth)
        if first == '"' or first == "'":
            return self.string(first)
        match = _NAME.match(self.text, self.at)
        if match is not None and match[0] in _WORDS:
            self.at = match.end()
            return _WORDS[match[0]]
        return self.number()

    def object(self, depth: int) -> Any:
        self.at += 1
        pairs: list[tuple[Any, Any]] = []
        is_bean_map = False
        first = self.skip_commas()
        while first != "}":
            if first and first in _OPENERS:
                key = self.value(depth + 1)
                is_bean_map = True
            else:
                key = self.key(first)
            if self.skip() != ":":
                raise self.error("no colon after a key")
            self.at += 1
            pairs.append((key, self.value(depth + 1)))
            first = self.next_member("}")
        self.at += 1
        return BeanMap(pairs) if is_bean_map else dict(pairs)

    def key(self, first: str) -> str:
        if first == '"' or first == "'":
            return self.string(first)
        match = _NAME.match(self.text, self.at) or _NUMBER.match(self.text, self.at)
        if match is None:
            raise self.error("no key")
        self.at = match.end()
        return match[0]

    def array(self, depth: int) -> list[Any]:
        self.at += 1
        values = []
        first = self.skip_commas()
        while first != "]":
            values.append(self.value(depth + 1))
            first = self.next_member("]")
        self.at += 1
        return values

    def string(self, quote: str) -> str:
        match = (_DOUBLE if quote == '"' else _SINGLE).match(self.text, self.at)
        if match is None:
            raise self.error("a string without end")
        self.at = match.end()
        text = match[1]
        if "\\" not in text:
            return text
        text = _ESCAPE.sub(_unescape, text)
        # Two escaped surrogates are one character; a lone one is none.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def number(self) -> int | float:
        match = _NUMBER.match(self.text, self.at)
        if match is None or match.end() - self.at > NUMBER_SIZE_MAX:
            raise self.error("no value")
        self.at = match.end()
        digits, fraction, exponent = match.groups()
        if fraction is None and exponent is None:
            return int(digits)
        return float(digits + (fraction or "") + (exponent or ""))


def _unescape(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) > 1:
        return chr(int(escape[1:], 16))
    return _ESCAPES.get(escape, escape)


def _resolve(root: Any, size_bytes: int) -> Any:
    """Copy a tree with every `{"$ref": path}` replaced by a copy of what its path names."""
    left = _EXPANSION * size_bytes

    def copy(node: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > DEPTH_MAX:
            raise MalformedBody("JSON: references that expand without end")
        if isinstance(node, dict):
            if len(node) == 1 and isinstance(node.get(_REF), str):
                return copy(_at_path(root, node[_REF]), depth + 1)
            return {key: copy(value, depth + 1) for key, value in node.items()}
        if isinstance(node, list):
            return [copy(value, depth + 1) for value in node]
        if isinstance(node, BeanMap):
            return BeanMap([(copy(key, depth + 1), copy(value, depth + 1)) for key, value in node.pairs])
        return node

    return copy(root, 0)


_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,9})\]|\[['\"]([^'\"]*)['\"]\]")


def _at_path(root: Any, path: str) -> Any:
    """Follow a path such as `$.a.b[0]`; None for one that leads nowhere or upwards (`..`, `@`)."""
    if not path.startswith("$"):
        return None
    node, at = root, 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            return None
        at = step.end()
        name = step[1] if step[1] is not None else step[3]
        if name is not None and isinstance(node, dict):
            node = node.get(name)
        elif step[2] is not None and isinstance(node, list) and int(step[2]) < len(node):
            node = node[int(step[2])]
        else:
            return None
    return node
