"""Trees to closures: what a message costs is one call per part of the expression that it reaches.

Every closure takes the message's properties and gives None (unknown), a bool, or for operands a value. Java's order
of evaluation is kept, since a part that fails (`Unevaluable`) fails the whole unless it is never reached.

Source: `ComparisonExpression`, `LogicExpression`, `UnaryExpression` (5.5.0).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from . import tree
from .values import Value, compare, compare_doubles, is_integer, to_boolean, to_double, to_integer, to_long

Properties: TypeAlias = "Mapping[str, str]"
Evaluate: TypeAlias = "Callable[[Properties], Value]"

_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "CONTAINS": operator.contains,
    "STARTSWITH": lambda text, search: text.startswith(search),
    "ENDSWITH": lambda text, search: text.endswith(search),
}
_MIRRORED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}


def evaluator(node: tree.Node) -> Evaluate:
    """Make the closure of a node."""
    known, value = _fixed(node)
    if known:
        return lambda properties: value
    make = _MAKERS[type(node)]
    return make(node)


def _fixed(node: tree.Node) -> tuple[bool, Value]:
    """Give the value of a node that has the same for all messages: literals and their negations."""
    if isinstance(node, tree.Constant):
        return True, node.value
    if isinstance(node, tree.Negate):
        known, value = _fixed(node.operand)
        return known, -value if isinstance(value, int | float) and not isinstance(value, bool) else None
    return False, None


def _property(node: tree.Property) -> Evaluate:
    name = node.name
    return lambda properties: properties.get(name)


def _negate(node: tree.Negate) -> Evaluate:
    evaluate = evaluator(node.operand)

    def negation(properties: Properties) -> Value:
        evaluate(properties)  # may fail; and is no number: properties are texts, all other parts are conditions
        return None

    return negation


def _cast(node: tree.Cast) -> Evaluate:
    name = node.operand.name
    return lambda properties: False if name in properties else None


def _not(node: tree.Not) -> Evaluate:
    evaluate = evaluator(node.operand)

    def negation(properties: Properties) -> Value:
        value = evaluate(properties)
        return None if value is None else not value

    return negation


def _junction(node: tree.Junction) -> Evaluate:
    parts = tuple(map(evaluator, node.terms))
    if node.is_and:

        def conjunction(properties: Properties) -> Value:
            whole: bool | None = True
            for part in parts:
                value = part(properties)
                if value is None:
                    whole = None
                elif not value:
                    return False
            return whole

        return conjunction

    def disjunction(properties: Properties) -> Value:
        whole: bool | None = False
        for part in parts:
            value = part(properties)
            if value is None:
                whole = None
            elif value:
                return True
        return whole

    return disjunction


def _ordering(node: tree.Ordering) -> Evaluate:
    if isinstance(node.left, tree.Property):
        known, number = _fixed(node.right)
        if known and number is not None:
            return _property_against_number(node.left.name, node.symbol, number)
    if isinstance(node.right, tree.Property):
        known, number = _fixed(node.left)
        if known and number is not None:
            return _property_against_number(node.right.name, _MIRRORED[node.symbol], number)
    left, right = evaluator(node.left), evaluator(node.right)
    relation = _RELATIONS[node.symbol]

    def ordering(properties: Properties) -> Value:
        one = left(properties)
        if one is None:
            return None
        other = right(properties)
        if other is None:
            return None
        if isinstance(one, str) and isinstance(other, str):
            return relation(compare_doubles(to_double(one), to_double(other)), 0)
        return relation(compare(one, other), 0)

    return ordering


def _property_against_number(name: str, symbol: str, number: Value) -> Evaluate:
    relation = _RELATIONS[symbol]
    if isinstance(number, float):

        def against_double(properties: Properties) -> Value:
            text = properties.get(name)
            if text is None:
                return None
            given = to_double(text)
            # NaN is above all numbers in Java; literals are finite and not 0, so all else is as in Python.
            return relation(given if given == given else math.inf, number)

        return against_double
    assert isinstance(number, int)
    convert = to_integer if is_integer(number) else to_long

    def against_integer(properties: Properties) -> Value:
        text = properties.get(name)
        return None if text is None else relation(convert(text), number)

    return against_integer


def _equal(node: tree.Equal) -> Evaluate:
    known, value = _fixed(node.right)
    if known and isinstance(node.left, tree.Property):
        return _property_equal(node.left.name, value)
    left, right = evaluator(node.left), evaluator(node.right)

    def equality(properties: Properties) -> Value:
        one = left(properties)
        other = right(properties)
        if one is None:
            return True if other is None else None
        return False if other is None else compare(one, other) == 0

    return equality


def _property_equal(name: str, value: Value) -> Evaluate:
    if value is None:
        return lambda properties: name not in properties
    if isinstance(value, str):

        def equals_text(properties: Properties) -> Value:
            text = properties.get(name)
            return None if text is None else text == value

        return equals_text
    convert: Callable[[str], bool | int | float]
    if isinstance(value, bool):
        convert = to_boolean
    elif isinstance(value, float):
        convert = to_double
    else:
        convert = to_integer if is_integer(value) else to_long

    def equals(properties: Properties) -> Value:
        text = properties.get(name)
        return None if text is None else convert(text) == value

    return equals


def _text_test(node: tree.TextTest) -> Evaluate:
    evaluate, search, is_negated = evaluator(node.operand), node.search, node.is_negated
    if not search:

        def nothing(properties: Properties) -> Value:
            return False  # as Java, which does not even look at the operand

        return nothing
    test = _TEXT_TESTS[node.word]

    def text_test(properties: Properties) -> Value:
        value = evaluate(properties)
        return isinstance(value, str) and test(value, search) is not is_negated

    return text_test


def _in_list(node: tree.InList) -> Evaluate:
    name, elements, is_negated = node.operand.name, frozenset(node.elements), node.is_negated

    def in_list(properties: Properties) -> Value:
        text = properties.get(name)
        return None if text is None else (text in elements) is not is_negated

    return in_list


_MAKERS: dict[type[tree.Node], Callable[[Any], Evaluate]] = {
    tree.Property: _property,
    tree.Negate: _negate,
    tree.Cast: _cast,
    tree.Not: _not,
    tree.Junction: _junction,
    tree.Ordering: _ordering,
    tree.Equal: _equal,
    tree.TextTest: _text_test,
    tree.InList: _in_list,
}
