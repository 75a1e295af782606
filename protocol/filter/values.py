"""Texts as numbers and values in order, by Java's rules.

An expression's values are None, bool, int, float and str, for Java's null, Boolean, Integer or Long, Double and
String. Which of Integer and Long an int is follows from its value: literals are Integers where they fit, and the one
number that fits and is none, -2147483648, can only be the negation of a Long.

Source: `ComparisonExpression.__compare` (5.5.0), `Integer.valueOf`, `Double.valueOf`, `Double.compareTo` (JDK).
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

from .errors import Unevaluable

Value: TypeAlias = "bool | int | float | str | None"

DOUBLE_MAX_TEXT = "1.7976931348623157E308"
DOUBLE_MIN_TEXT = "4.9E-324"

LONG_MAX = 2**63 - 1
_INTEGER_MIN, _INTEGER_MAX = -(2**31), 2**31 - 1
_LONG_MIN = -(2**63)
_DIGITS_MAX = 4000
"""Python refuses to convert longer texts of digits."""

_INTEGER = re.compile(r"[+-]?\d+")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEXADECIMAL = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F]+\.?|[0-9a-fA-F]*\.[0-9a-fA-F]+)[pP][+-]?[0-9]+")
_NAMED = {"NaN": math.nan, "Infinity": math.inf}
TRIMMED = "".join(map(chr, range(0x21)))
"""What Java's `trim` takes off."""


def is_integer(number: int) -> bool:
    """Say whether a number of an expression is an Integer in Java, else it is a Long."""
    return _INTEGER_MIN < number <= _INTEGER_MAX


def _digits(text: str) -> int:
    if _INTEGER.fullmatch(text) is None or (not text.isascii() and max(text) > "\uffff"):
        raise Unevaluable(text)
    if len(text) > _DIGITS_MAX:
        negative, text = text[0] == "-", text.lstrip("+-").lstrip("0") or "0"
        if len(text) > _DIGITS_MAX:
            raise Unevaluable("a number of thousands of digits")
        return -int(text) if negative else int(text)
    return int(text)


def to_integer(text: str) -> int:
    """Read an Integer.

    Raises:
        Unevaluable: It is none, or out of range.
    """
    number = _digits(text)
    if _INTEGER_MIN <= number <= _INTEGER_MAX:
        return number
    raise Unevaluable(text)


def to_long(text: str) -> int:
    """Read a Long.

    Raises:
        Unevaluable: It is none, or out of range.
    """
    number = _digits(text)
    if _LONG_MIN <= number <= LONG_MAX:
        return number
    raise Unevaluable(text)


def to_double(text: str) -> float:
    """Read a Double: also with white space around, a suffix `d` or `f`, in hexadecimal, NaN and Infinity.

    Raises:
        Unevaluable: It is none.
    """
    if _DECIMAL.fullmatch(text) is not None:
        return float(text)
    bare = text.strip(TRIMMED)
    if bare[-1:] in ("f", "F", "d", "D"):
        number = bare[:-1]
        if _DECIMAL.fullmatch(number) is not None:
            return float(number)
        if _HEXADECIMAL.fullmatch(number) is not None:
            return _of_hexadecimal(number)
    if _DECIMAL.fullmatch(bare) is not None:
        return float(bare)
    if _HEXADECIMAL.fullmatch(bare) is not None:
        return _of_hexadecimal(bare)
    named = _NAMED.get(bare[1:] if bare[:1] in ("+", "-") else bare)
    if named is None:
        raise Unevaluable(text)
    return -named if bare[0] == "-" else named


def _of_hexadecimal(text: str) -> float:
    try:
        return float.fromhex(text)
    except OverflowError:
        return -math.inf if text[0] == "-" else math.inf


def to_boolean(text: str) -> bool:
    """Read a Boolean: all that is not `true` in any case is false."""
    return text.lower() == "true"


def compare_doubles(left: float, right: float) -> int:
    """Compare as `Double.compareTo`: NaN equals itself and is above all, -0.0 is below 0.0."""
    if left < right:
        return -1
    if left > right:
        return 1
    if left == right:
        if left != 0:
            return 0
        left, right = math.copysign(1, left), math.copysign(1, right)
        return (left > right) - (left < right)
    return int(left != left) - int(right != right)


def compare(left: bool | int | float | str, right: bool | int | float | str) -> int:
    """Compare two values, converting the one that is a text to the type of the other.

    Returns:
        Less than, equal to or greater than 0; -1 too where the types have no common one.

    Raises:
        Unevaluable: The text does not convert, or Java fails on the pair of types.
    """
    left_type, right_type = left.__class__, right.__class__
    if left_type is right_type:
        if left_type is float:
            return compare_doubles(left, right)  # type: ignore[arg-type]
        return (left > right) - (left < right)  # type: ignore[operator]
    if left_type is bool:
        if right_type is str:
            raise Unevaluable("as Java: a Boolean before a String fails in a cast")
        return -1
    if left_type is str:
        assert isinstance(left, str)
        if right_type is bool:
            given = to_boolean(left)
            return (given > right) - (given < right)  # type: ignore[operator]
        return compare(_as_type_of(right, left), right)
    if right_type is bool:
        return -1
    if right_type is str:
        assert isinstance(right, str)
        return compare(left, _as_type_of(left, right))
    return compare_doubles(float(left), float(right))


def _as_type_of(number: bool | int | float | str, text: str) -> int | float:
    if number.__class__ is float:
        return to_double(text)
    assert isinstance(number, int)
    return to_integer(text) if is_integer(number) else to_long(text)
