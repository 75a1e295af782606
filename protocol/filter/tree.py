"""What an expression is made of, and which parts go together.

`ordering`, `equality`, `between` and so on make the nodes and refuse what Java's factory methods refuse, with its
messages; `text()` of a node is Java's `toString`, which those messages quote. No node is deeper than `DEPTH_MAX`, so
whoever walks a tree may recurse.

Source: `ComparisonExpression`, `LogicExpression`, `UnaryExpression`, `ConstantExpression` (5.5.0).
"""

from __future__ import annotations

from collections.abc import Sequence

from rmqwire.dialect_writer import java_double
from rmqwire.hashing import hash_order, unsigned_string_hash

from .errors import CLASS_CAST, ILLEGAL, NOT_A_NUMBER, PARSE_EXCEPTION, ExpressionTooLarge, FilterError, Unevaluable
from .values import DOUBLE_MAX_TEXT, DOUBLE_MIN_TEXT, LONG_MAX, TRIMMED, Value, compare

DEPTH_MAX = 100
"""Deepest nesting that we take; chains of AND and OR are of any length."""

_DOUBLE_MIN = 5e-324
"""Java writes it with the digits that its text has to have at least."""

_HASH_SET_FROM = 5
"""Lists of so many elements are a HashSet in Java, which shows in the order that `text()` gives them."""


class Node:
    """A part of an expression."""

    __slots__ = ("depth",)
    depth: int

    def __init__(self, *parts: Node) -> None:
        self.depth = 1 + max((part.depth for part in parts), default=0)
        if self.depth > DEPTH_MAX:
            raise ExpressionTooLarge(f"the expression is nested more than {DEPTH_MAX} levels deep")

    def text(self) -> str:
        """Write the node as Java does."""
        raise NotImplementedError


class Constant(Node):
    """A literal; TRUE, FALSE and NULL are conditions too."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        super().__init__()
        self.value = value

    def text(self) -> str:
        value = self.value
        if isinstance(value, str):
            return "'" + value.replace("'", "''") + "'"
        return "NULL" if value is None else _java_text(value).upper()


class Property(Node):
    """A property of the message."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def text(self) -> str:
        return self.name


class Negate(Node):
    """A minus sign; of anything but a number it is null."""

    __slots__ = ("operand",)

    def __init__(self, operand: Node) -> None:
        super().__init__(operand)
        self.operand = operand

    def text(self) -> str:
        return f"(- {self.operand.text()})"


class Condition(Node):
    """What is true, false or unknown (`BooleanExpression`)."""

    __slots__ = ()


class Cast(Condition):
    """A property that stands where a condition has to: false, as no property is a Boolean, unknown when missing."""

    __slots__ = ("operand",)

    def __init__(self, operand: Property) -> None:
        super().__init__(operand)
        self.operand = operand

    def text(self) -> str:
        return self.operand.text()


class Not(Condition):
    """NOT."""

    __slots__ = ("operand",)

    def __init__(self, operand: Node) -> None:
        super().__init__(operand)
        self.operand = operand

    def text(self) -> str:
        return f"(NOT {self.operand.text()})"


class Junction(Condition):
    """A chain of AND or of OR."""

    __slots__ = ("is_and", "terms")

    def __init__(self, is_and: bool, terms: Sequence[Node]) -> None:
        super().__init__(*terms)
        self.is_and = is_and
        self.terms = tuple(terms)

    def text(self) -> str:
        symbol = "&&" if self.is_and else "||"
        first, *others = self.terms
        chain = "".join(f" {symbol} {term.text()})" for term in others)
        return "(" * len(others) + first.text() + chain


class Ordering(Condition):
    """`>`, `>=`, `<` or `<=`."""

    __slots__ = ("left", "right", "symbol")

    def __init__(self, symbol: str, left: Node, right: Node) -> None:
        super().__init__(left, right)
        self.symbol = symbol
        self.left = left
        self.right = right

    def text(self) -> str:
        return f"({self.left.text()} {self.symbol} {self.right.text()})"


class Equal(Condition):
    """`=`, and IS NULL."""

    __slots__ = ("left", "right")

    def __init__(self, left: Node, right: Node) -> None:
        super().__init__(left, right)
        self.left = left
        self.right = right

    def text(self) -> str:
        return f"({self.left.text()} == {self.right.text()})"


class TextTest(Condition):
    """CONTAINS, STARTSWITH and ENDSWITH, each also with NOT; false of all that is no text, with NOT too."""

    __slots__ = ("is_negated", "operand", "search", "word")

    def __init__(self, word: str, operand: Node, search: str, is_negated: bool) -> None:
        super().__init__(operand)
        self.word = word
        self.operand = operand
        self.search = search
        self.is_negated = is_negated

    def text(self) -> str:
        return f"({'NOT ' if self.is_negated else ''}{self.word} {self.operand.text()})"


class InList(Condition):
    """IN and NOT IN."""

    __slots__ = ("elements", "is_negated", "operand")

    def __init__(self, operand: Property, elements: list[str], is_negated: bool) -> None:
        super().__init__(operand)
        self.operand = operand
        self.elements = tuple(elements if len(elements) < _HASH_SET_FROM else _in_hash_order(elements))
        self.is_negated = is_negated

    def text(self) -> str:
        return f"{self.operand.name} {'NOT IN' if self.is_negated else 'IN'} ( {', '.join(self.elements)} )"


def _in_hash_order(elements: list[str]) -> list[str]:
    buckets = 1 << (max(len(elements) * 4 // 3 + 1, 16) - 1).bit_length()
    return hash_order(dict.fromkeys(elements), unsigned_string_hash, buckets)


def _java_text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return DOUBLE_MIN_TEXT if value == _DOUBLE_MIN else java_double(value)
    return str(value)


def decimal(image: str) -> Constant:
    """Make an integer of a literal.

    Raises:
        FilterError: It is no Long.
    """
    digits = image.rstrip("lL")
    if len(digits) > len(str(LONG_MAX)) or int(digits) > LONG_MAX:
        raise FilterError(NOT_A_NUMBER, f'For input string: "{digits}"')
    return Constant(int(digits))


def floating(image: str) -> Constant:
    """Make a Double of a literal.

    Raises:
        FilterError: It is too large, or 0 (as Java, which takes 0.0 for too small).
    """
    value = float(image)
    if value == float("inf"):
        raise FilterError(ILLEGAL, f"{image} is greater than {DOUBLE_MAX_TEXT}")
    if value == 0:
        raise FilterError(ILLEGAL, f"{image} is less than {DOUBLE_MIN_TEXT}")
    return Constant(value)


def as_condition(node: Node) -> Node:
    """Take a node where a condition has to be.

    Raises:
        FilterError: It is none.
    """
    if _is_condition(node):
        return node
    if isinstance(node, Property):
        return Cast(node)
    raise FilterError(PARSE_EXCEPTION, f"Expression will not result in a boolean value: {node.text()}")


def _is_condition(node: Node) -> bool:
    if isinstance(node, Constant):
        return node.value is None or isinstance(node.value, bool)
    return isinstance(node, Condition)


def ordering(symbol: str, left: Node, right: Node) -> Ordering:
    """Compare by order.

    Raises:
        FilterError: An operand is a condition or a literal that is no number.
    """
    for operand in (left, right):
        is_number = isinstance(operand, Constant) and isinstance(operand.value, int | float)
        if _is_condition(operand) or (isinstance(operand, Constant) and not is_number):
            raise FilterError(ILLEGAL, f"Value '{operand.text()}' cannot be compared.")
    return Ordering(symbol, left, right)


def equality(left: Node, right: Node) -> Equal:
    """Compare for equality.

    Raises:
        FilterError: An operand is NULL, or the left one a Boolean and the right one a literal of another type.
    """
    for operand in (left, right):
        if isinstance(operand, Constant) and operand.value is None:
            raise FilterError(ILLEGAL, f"'{operand.text()}' cannot be compared.")
    if (
        isinstance(left, Constant)
        and isinstance(right, Constant)
        and isinstance(left.value, bool)
        and not isinstance(right.value, bool)
    ):
        raise FilterError(ILLEGAL, f"'{left.text()}' cannot be compared with '{right.text()}'")
    return Equal(left, right)


def is_null(operand: Node) -> Equal:
    """Ask whether something is null."""
    return Equal(operand, Constant(None))


def between(operand: Node, low: Node, high: Node) -> Junction:
    """Ask whether something is in a range, bounds included.

    Raises:
        FilterError: The bounds are literals and null, the wrong way round or not comparable.
    """
    if isinstance(low, Constant) and isinstance(high, Constant):
        _check_bounds(low.value, high.value)
    return Junction(True, (ordering(">=", operand, low), ordering("<=", operand, high)))


def _check_bounds(low: Value, high: Value) -> None:
    if low is None or high is None:
        raise FilterError(ILLEGAL, "Illegal values of between, values can not be null!")
    try:
        is_reversed = compare(high, low) < 0
    except Unevaluable as cause:
        if isinstance(high, bool):
            raise FilterError(
                CLASS_CAST,
                "class java.lang.Boolean cannot be cast to class java.lang.String (java.lang.Boolean and"
                " java.lang.String are in module java.base of loader 'bootstrap')",
            ) from cause
        text, number = (low, high) if isinstance(low, str) else (str(high), low)
        if isinstance(number, float):
            text = text.strip(TRIMMED)  # a Double is read without the white space around it
        said = f'For input string: "{text}"' if text or not isinstance(number, float) else "empty String"
        raise FilterError(ILLEGAL, f"{NOT_A_NUMBER}: {said}") from cause
    if is_reversed:
        raise FilterError(
            ILLEGAL,
            f"Illegal values of between, left value({_java_text(low)}) must less than or equal to right"
            f" value({_java_text(high)})",
        )


def not_between(operand: Node, low: Node, high: Node) -> Junction:
    """Ask whether something is outside of a range.

    Raises:
        FilterError: An operand cannot be compared.
    """
    return Junction(False, (ordering("<", operand, low), ordering(">", operand, high)))


def in_list(operand: Node, elements: list[str], is_negated: bool) -> InList:
    """Ask whether a property is one of some texts.

    Raises:
        FilterError: It is asked of something else than a property.
    """
    if not isinstance(operand, Property):
        raise FilterError(ILLEGAL, f"Expected a property for In expression, got: {operand.text()}")
    return InList(operand, elements, is_negated)
