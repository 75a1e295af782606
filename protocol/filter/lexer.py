"""Expression text to tokens, one at a time: what the parser does not ask for may be anything.

Positions are in UTF-16 units, as Java counts. Source: `SelectorParser.jj`, `SelectorParserTokenManager`,
`SimpleCharStream` (5.5.0).
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple

from .errors import LEXICAL_ERROR, FilterError

_TAB_WIDTH = 8


class Kind(IntEnum):
    """Kinds of tokens, by the numbers that order them in the official messages."""

    EOF = 0
    NOT = 8
    AND = 9
    OR = 10
    BETWEEN = 11
    IN = 12
    TRUE = 13
    FALSE = 14
    NULL = 15
    IS = 16
    CONTAINS = 17
    STARTSWITH = 18
    ENDSWITH = 19
    DECIMAL_LITERAL = 20
    FLOATING_POINT_LITERAL = 21
    STRING_LITERAL = 23
    ID = 24
    EQUAL = 25
    NOT_EQUAL = 26
    GREATER = 27
    GREATER_EQUAL = 28
    LESS = 29
    LESS_EQUAL = 30
    OPEN = 31
    COMMA = 32
    CLOSE = 33
    PLUS = 34
    MINUS = 35


WORDS = {kind.name: kind for kind in Kind if Kind.NOT <= kind <= Kind.ENDSWITH}
SIGNS = {
    "=": Kind.EQUAL,
    "<>": Kind.NOT_EQUAL,
    ">": Kind.GREATER,
    ">=": Kind.GREATER_EQUAL,
    "<": Kind.LESS,
    "<=": Kind.LESS_EQUAL,
    "(": Kind.OPEN,
    ",": Kind.COMMA,
    ")": Kind.CLOSE,
    "+": Kind.PLUS,
    "-": Kind.MINUS,
}
IMAGES = {
    **{kind: f"<{kind.name}>" for kind in Kind},
    **{kind: f'"{text}"' for text, kind in (WORDS | SIGNS).items()},
}
"""How the official messages write a kind."""

_COMMON = r"""
  (?P<skipped> [ \t\n\r\f]+ | /\*[^*]*\*(?:\*|[^*/][^*]*\*)*/ %s )
| (?P<FLOATING_POINT_LITERAL> (?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? | [0-9]+[eE][+-]?[0-9]+ )
| (?P<DECIMAL_LITERAL> 0 | [1-9][0-9]*[lL]? )
| (?P<word> [A-Za-z_$][A-Za-z0-9_$]* )
| (?P<STRING_LITERAL> '[^']*(?:''[^']*)*' )
| (?P<sign> <> | >= | <= | [=<>(),+-] )
"""
_TOKEN = re.compile(_COMMON % "", re.VERBOSE)
_TOKEN_BEFORE_BREAK = re.compile(_COMMON % r"| --[^\n\r]*(?:\r\n|\n|\r)", re.VERBOSE)
"""Line comments end with their line: where no line ends any more, two minus signs are two tokens."""


class Token(NamedTuple):
    """A token and where it begins in the text, -1 being before an empty one."""

    kind: Kind
    image: str
    start: int


class Lexer:
    """The tokens of one expression, numbered from 0.

    Args:
        text: The expression.
    """

    def __init__(self, text: str) -> None:
        self._is_wide = bool(text) and max(text) > "\uffff"
        if self._is_wide:
            units = text.encode("utf-16-le", "surrogatepass")
            text = "".join(chr(units[i] | units[i + 1] << 8) for i in range(0, len(units), 2))
        self._text = text
        self._last_break = max(text.rfind("\n"), text.rfind("\r"))
        self._tokens: list[Token] = []
        self._read = 0

    def token(self, index: int) -> Token:
        """Give a token, EOF for all after the last.

        Raises:
            FilterError: On the way there is something that begins no token.
        """
        tokens = self._tokens
        while index >= len(tokens):
            if tokens and tokens[-1].kind is Kind.EOF:
                return tokens[-1]
            tokens.append(self._next())
        return tokens[index]

    def string(self, token: Token) -> str:
        """Give the value of a string literal."""
        value = token.image[1:-1].replace("''", "'")
        if self._is_wide:
            return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return value

    def place(self, token: Token) -> tuple[int, int]:
        """Give the line and column where a token begins; an EOF is where the last character is."""
        return self._place(token.start)

    def _next(self) -> Token:
        text, start = self._text, self._read
        while True:
            if start == len(text):
                self._read = start
                return Token(Kind.EOF, "", start - 1)
            match = (_TOKEN_BEFORE_BREAK if start < self._last_break else _TOKEN).match(text, start)
            if match is None:
                raise self._unknown(start)
            if match.lastgroup != "skipped":
                break
            start = match.end()
        self._read = match.end()
        image, group = match.group(), match.lastgroup
        if group == "word":
            kind = WORDS.get(image.upper(), Kind.ID)
        elif group == "sign":
            kind = SIGNS[image]
        else:
            kind = Kind[str(group)]
        return Token(kind, image, start)

    def _unknown(self, start: int) -> FilterError:
        """Say as JavaCC does what it read before it gave up, and where it stood then."""
        text = self._text
        first, size = text[start], len(text)
        if first == "'" or text.startswith("/*", start):
            end = size - 1  # an open string or comment: read to the end
        elif first in "/." and start + 1 < size:
            end = start + 1  # something else was to follow
        else:
            end = start
        line, column = self._place(end)
        if end + 1 < size:
            unit = text[end]
            found = f'"{escaped(unit)}" ({ord(unit)}), '
            after = text[start:end]
        else:
            found = "<EOF> "
            after = text[start : end + 1] if end > start else ""
            line, column = (line + 1, 0) if text[end] in "\n\r" else (line, column + 1)
        return FilterError(
            LEXICAL_ERROR,
            f'Lexical error at line {line}, column {column}.  Encountered: {found}after : "{escaped(after)}"',
        )

    def _place(self, position: int) -> tuple[int, int]:
        if position < 0:
            return 0, 0
        line, column = 1, 0
        before = ""
        for unit in self._text[: position + 1]:
            column += 1
            if before == "\n" or (before == "\r" and unit != "\n"):
                line, column = line + 1, 1
            if unit == "\t":
                column -= 1
                column += _TAB_WIDTH - column % _TAB_WIDTH
            before = unit
        return line, column


_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "'": "\\'", "\\": "\\\\"}


def escaped(text: str) -> str:
    """Write a text as the official messages do: printable ASCII, NUL left out."""
    return "".join(
        _ESCAPES.get(unit) or (unit if " " <= unit <= "~" else f"\\u{ord(unit):04x}") for unit in text if unit != "\0"
    )
