"""Text to tree: the official grammar, by recursive descent.

As Java: the parser stops where an expression can end and does not look at what follows, so `a = 1 whatever` is
`a = 1`. Every refusal carries the official message, for which the parser notes what it would have taken at the current
token.

Source: `SelectorParser.jj`, `ParseException` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

from . import tree
from .errors import PARSE_EXCEPTION, ExpressionTooLarge, FilterError
from .lexer import IMAGES, Kind, Lexer, Token, escaped
from .lookahead import Lookahead

LENGTH_MAX = 128 * 1024
"""Longest expression that we take, in characters; the official broker has no bound of its own."""

NESTING_MAX = 100
"""Most parentheses open at once; each costs four calls, and Python's stack is bounded."""

_EQUALITIES = (Kind.IS, Kind.EQUAL, Kind.NOT_EQUAL)
_ORDER = {Kind.GREATER: ">", Kind.GREATER_EQUAL: ">=", Kind.LESS: "<", Kind.LESS_EQUAL: "<="}
_TEXT_TESTS = (Kind.CONTAINS, Kind.STARTSWITH, Kind.ENDSWITH)
_NEGATABLE = (*_TEXT_TESTS, Kind.BETWEEN, Kind.IN)
_COMPARISONS = (Kind.NOT, *_NEGATABLE, *_ORDER)
_LITERALS = {Kind.TRUE: True, Kind.FALSE: False, Kind.NULL: None}
_OPERANDS = (
    Kind.NOT,
    *_LITERALS,
    Kind.DECIMAL_LITERAL,
    Kind.FLOATING_POINT_LITERAL,
    Kind.STRING_LITERAL,
    Kind.ID,
    Kind.OPEN,
    Kind.MINUS,
)


def parse(text: str) -> tree.Node:
    """Read an expression.

    Raises:
        FilterError: It is none, or larger than we take.
    """
    if len(text) > LENGTH_MAX:
        raise ExpressionTooLarge(f"the expression has {len(text)} characters, at most {LENGTH_MAX} are taken")
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._lexer = Lexer(text)
        self._at = 0
        self._tried: set[Kind] = set()
        """What would have been taken at the current token so far."""
        self._open = 0
        self._looked_to = 0
        """Tokens before this one are known to be well-formed operands."""

    def whole(self) -> tree.Node:
        return tree.as_condition(self._condition())

    def _kind(self) -> Kind:
        return self._lexer.token(self._at).kind

    def _take(self) -> Token:
        token = self._lexer.token(self._at)
        self._at += 1
        self._tried.clear()
        return token

    def _accept(self, kind: Kind) -> bool:
        if self._kind() is kind:
            self._take()
            return True
        self._tried.add(kind)
        return False

    def _need(self, kind: Kind) -> Token:
        if self._kind() is not kind:
            self._refuse((kind,))
        return self._take()

    def _refuse(self, wanted: Collection[Kind], *last: Kind) -> NoReturn:
        """Complain about the current token; `last` are named after all others."""
        token = self._lexer.token(self._at)
        names = [IMAGES[kind] for kind in (*sorted(self._tried.union(wanted)), *last)]
        line, column = self._lexer.place(token)
        found = IMAGES[token.kind]
        if token.kind is not Kind.EOF:
            found = f' {found} "{escaped(token.image)} "'
        raise FilterError(
            PARSE_EXCEPTION,
            f'Encountered "{found}" at line {line}, column {column}.\n'
            f"Was expecting{' one of' if len(names) > 1 else ''}:\n    "
            + "".join(f"{name} ...\n    " for name in names),
        )

    def _condition(self) -> tree.Node:
        """`orExpression`: conjunctions joined by OR."""
        first = self._conjunction()
        alternatives: list[tree.Node] = []
        while self._accept(Kind.OR):
            further = self._conjunction()
            if not alternatives:
                alternatives.append(tree.as_condition(first))
            alternatives.append(tree.as_condition(further))
        return tree.Junction(False, alternatives) if alternatives else first

    def _conjunction(self) -> tree.Node:
        first = self._equality()
        terms: list[tree.Node] = []
        while self._accept(Kind.AND):
            further = self._equality()
            if not terms:
                terms.append(tree.as_condition(first))
            terms.append(tree.as_condition(further))
        return tree.Junction(True, terms) if terms else first

    def _equality(self) -> tree.Node:
        left = self._comparison()
        while self._kind() in _EQUALITIES:
            kind = self._take().kind
            if kind is Kind.EQUAL:
                left = tree.equality(left, self._comparison())
            elif kind is Kind.NOT_EQUAL:
                left = tree.Not(tree.equality(left, self._comparison()))
            elif self._kind() is Kind.NULL:
                self._take()
                left = tree.is_null(left)
            else:
                if self._kind() is not Kind.NOT:
                    self._refuse((Kind.NOT, Kind.NULL))
                self._take()
                self._need(Kind.NULL)
                left = tree.Not(tree.is_null(left))
        self._tried.update(_EQUALITIES)
        return left

    def _comparison(self) -> tree.Node:
        left = self._operand()
        while (kind := self._kind()) in _COMPARISONS:
            if kind in _ORDER:
                self._take()
                left = tree.ordering(_ORDER[kind], left, self._operand())
                continue
            is_negated = kind is Kind.NOT
            if is_negated:
                kind = self._lexer.token(self._at + 1).kind
                if kind not in _NEGATABLE:
                    self._refuse((*_ORDER, *_NEGATABLE))
                self._take()
            self._take()
            left = self._negatable(kind, left, is_negated)
        self._tried.update(_COMPARISONS)
        return left

    def _negatable(self, kind: Kind, left: tree.Node, is_negated: bool) -> tree.Node:
        """Read what follows one of the operators that NOT can stand before."""
        if kind is Kind.BETWEEN:
            low = self._operand()
            self._need(Kind.AND)
            high = self._operand()
            return (tree.not_between if is_negated else tree.between)(left, low, high)
        if kind is Kind.IN:
            self._need(Kind.OPEN)
            elements = [self._string()]
            while self._accept(Kind.COMMA):
                elements.append(self._string())
            self._need(Kind.CLOSE)
            return tree.in_list(left, elements, is_negated)
        return tree.TextTest(kind.name, left, self._string(), is_negated)

    def _string(self) -> str:
        return self._lexer.string(self._need(Kind.STRING_LITERAL))

    def _operand(self) -> tree.Node:
        """`unaryExpr` and `primaryExpr`: signs, NOT, and what they stand before."""
        prefixes: list[Kind] = []
        while True:
            kind = self._kind()
            if kind is Kind.PLUS:
                self._check_plus()
                self._take()
            elif kind in (Kind.MINUS, Kind.NOT):
                self._take()
                prefixes.append(kind)
            elif kind in _OPERANDS:
                break
            else:
                self._refuse(_OPERANDS, Kind.PLUS)
        node = self._primary(kind)
        for prefix in reversed(prefixes):
            node = tree.Negate(node) if prefix is Kind.MINUS else tree.Not(tree.as_condition(node))
        return node

    def _check_plus(self) -> None:
        if self._at >= self._looked_to:
            end = Lookahead(self._lexer, NESTING_MAX - self._open).end_of_operand(self._at)
            if end is None:
                self._refuse(_OPERANDS)
            self._looked_to = end

    def _primary(self, kind: Kind) -> tree.Node:
        if kind is Kind.STRING_LITERAL:
            return tree.Constant(self._string())
        token = self._take()
        if kind is Kind.ID:
            return tree.Property(token.image)
        if kind is Kind.DECIMAL_LITERAL:
            return tree.decimal(token.image)
        if kind is Kind.FLOATING_POINT_LITERAL:
            return tree.floating(token.image)
        if kind is not Kind.OPEN:
            return tree.Constant(_LITERALS[kind])
        self._open += 1
        if self._open > NESTING_MAX:
            raise ExpressionTooLarge(f"more than {NESTING_MAX} parentheses are open at once")
        node = self._condition()
        self._need(Kind.CLOSE)
        self._open -= 1
        return node
