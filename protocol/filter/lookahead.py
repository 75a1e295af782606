"""Whether the tokens ahead are an operand, as the official grammar looks before it takes a plus sign.

Only that place of the grammar looks further than two tokens. It matters for the messages: an error behind a plus sign
is reported at the sign. Reads syntax only, builds nothing. Source: `SelectorParser.jj`, `unaryExpr` (5.5.0).
"""

from __future__ import annotations

from .errors import ExpressionTooLarge
from .lexer import Kind, Lexer

_ORDER = (Kind.GREATER, Kind.GREATER_EQUAL, Kind.LESS, Kind.LESS_EQUAL)
_TEXT_TESTS = (Kind.CONTAINS, Kind.STARTSWITH, Kind.ENDSWITH)
_PREFIXES = (Kind.PLUS, Kind.MINUS, Kind.NOT)
_PRIMARIES = (
    Kind.TRUE,
    Kind.FALSE,
    Kind.NULL,
    Kind.DECIMAL_LITERAL,
    Kind.FLOATING_POINT_LITERAL,
    Kind.STRING_LITERAL,
    Kind.ID,
)


class _Mismatch(Exception):
    """The tokens are no operand."""


class Lookahead:
    """Reads ahead from the parser's position.

    Args:
        lexer: The tokens.
        nesting_max: How many parentheses may still be opened.
    """

    def __init__(self, lexer: Lexer, nesting_max: int) -> None:
        self._lexer = lexer
        self._nesting_left = nesting_max
        self._at = 0

    def end_of_operand(self, at: int) -> int | None:
        """Give the index after the operand that begins at a token, None when there is none.

        Raises:
            FilterError: Something that begins no token comes first, or the nesting is too deep.
        """
        self._at = at
        try:
            self._operand()
        except _Mismatch:
            return None
        return self._at

    def _kind(self, ahead: int = 0) -> Kind:
        return self._lexer.token(self._at + ahead).kind

    def _accept(self, kind: Kind) -> bool:
        if self._kind() is not kind:
            return False
        self._at += 1
        return True

    def _need(self, kind: Kind) -> None:
        if not self._accept(kind):
            raise _Mismatch

    def _operand(self) -> None:
        while self._kind() in _PREFIXES:
            self._at += 1
        if self._kind() in _PRIMARIES:
            self._at += 1
            return
        self._need(Kind.OPEN)
        if not self._nesting_left:
            raise ExpressionTooLarge("too many parentheses are open at once")
        self._nesting_left -= 1
        self._comparison()
        while True:
            if self._kind() in (Kind.OR, Kind.AND, Kind.EQUAL, Kind.NOT_EQUAL):
                self._at += 1
                self._comparison()
            elif self._accept(Kind.IS):
                self._accept(Kind.NOT)
                self._need(Kind.NULL)
            else:
                break
        self._need(Kind.CLOSE)
        self._nesting_left += 1

    def _comparison(self) -> None:
        self._operand()
        while True:
            kind = self._kind()
            if kind in _ORDER:
                self._at += 1
                self._operand()
                continue
            ahead = 1 if kind is Kind.NOT else 0
            kind = self._kind(ahead)
            if kind in _TEXT_TESTS:
                self._at += ahead + 1
                self._need(Kind.STRING_LITERAL)
            elif kind is Kind.BETWEEN:
                self._at += ahead + 1
                self._operand()
                self._need(Kind.AND)
                self._operand()
            elif kind is Kind.IN:
                self._at += ahead + 1
                self._need(Kind.OPEN)
                self._need(Kind.STRING_LITERAL)
                while self._accept(Kind.COMMA):
                    self._need(Kind.STRING_LITERAL)
                self._need(Kind.CLOSE)
            elif ahead:
                raise _Mismatch
            else:
                return
