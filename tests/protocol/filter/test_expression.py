"""What a consumer gets by an SQL92 expression, and what it is told when the expression is wrong."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmqd.protocol.filter import FilterError, compile_expression
from rmqd.protocol.filter.errors import Unevaluable
from rmqd.protocol.filter.parser import LENGTH_MAX, parse
from rmqwire.codes import ResponseCode

GOLDEN = Path(__file__).parents[2] / "golden" / "filter-5.5.0.tsv"


def golden(kind: str) -> list[list[str]]:
    rows = [line.split("\t") for line in GOLDEN.read_text().splitlines()]
    return [row[1:] for row in rows if row[0] == kind]


PROPERTIES: list[dict[str, str]] = [json.loads(text) for (text,) in golden("P")]


@pytest.mark.parametrize(("expression", "outcome", "text", "results"), golden("E"))
def test_as_the_official_classes(expression: str, outcome: str, text: str, results: str) -> None:
    source = json.loads(expression)
    if outcome == "error":
        with pytest.raises(FilterError) as caught:
            compile_expression(source)
        assert caught.value.remark == json.loads(text)
        assert caught.value.code == ResponseCode.SUBSCRIPTION_PARSE_FAILED
        return
    compiled = compile_expression(source)
    assert parse(source).text() == json.loads(text)
    letters = []
    for properties in PROPERTIES:
        try:
            letters.append({True: "T", False: "F", None: "N"}[compiled.evaluate(properties)])
        except Unevaluable:
            letters.append("X")
        assert compiled.matches(properties) is (letters[-1] == "T")
    assert "".join(letters) == results


@pytest.mark.parametrize(
    ("expression", "properties", "wanted"),
    [
        ("a > 5 AND b = 'x'", {"a": "6", "b": "x"}, True),
        ("a > 5 AND b = 'x'", {"a": "6"}, False),
        ("a IS NULL", {}, True),
        ("NOT (a = 5)", {}, False),  # unknown, not false
        ("a BETWEEN 0 AND 3", {"a": "3"}, True),
        ("a IN ('x', 'y')", {"a": "y"}, True),
        ("a NOT IN ('x', 'y')", {}, False),
        ("a NOT CONTAINS 'x'", {}, False),
        ("a > 5 OR b = 'x'", {"a": "text", "b": "x"}, False),  # what cannot be compared fails the whole
        ("b = 'x' OR a > 5", {"a": "text", "b": "x"}, True),
        ("a > 5", {"a": "3000000000"}, False),  # no Integer, and 5 is one
        ("a > 5l", {"a": "3000000000"}, False),
        ("a > 5.0", {"a": "3000000000"}, True),
        ("a > 2147483648", {"a": "3000000000"}, True),
        ("TAGS = 'TagA'", {"TAGS": "TagA"}, True),
        ("a = 1 and b this was never read", {"a": "1"}, False),
        ("a = 1 this was never read", {"a": "1"}, True),
    ],
)
def test_what_matches(expression: str, properties: dict[str, str], wanted: bool) -> None:
    assert compile_expression(expression).matches(properties) is wanted


def test_numbers_of_thousands_of_digits() -> None:
    compiled = compile_expression("a > 5")
    assert compiled.matches({"a": "0" * 5000 + "7"})
    assert not compiled.matches({"a": "7" * 5000})
    assert not compile_expression("a < 5").matches({"a": "-" + "7" * 5000})
    assert compile_expression("a < -5").matches({"a": "-" + "0" * 5000 + "7"})
    assert compile_expression("a = 0").matches({"a": "0" * 5000})


def test_long_chains_are_taken() -> None:
    compiled = compile_expression(" OR ".join(f"a = {number}" for number in range(7000)))
    assert compiled.matches({"a": "6999"})
    assert not compiled.matches({"a": "7000"})
    many = ", ".join(f"'{number}'" for number in range(10_000))
    assert compile_expression(f"a IN ({many})").matches({"a": "9999"})


@pytest.mark.parametrize(
    "expression",
    [
        "(" * 100_000,
        "(" * 1000 + "a" + ")" * 1000,
        "+(" * 1000 + "a" + ")" * 1000,
        "NOT " * 1000 + "a",
        "- " * 1000 + "a = b",
        "a" + " = 1" * 1000,
        "a" + " IS NULL" * 1000,
        "a" + " CONTAINS 'x'" * 1000,
        "a = '" + "x" * LENGTH_MAX,
    ],
)
def test_what_is_too_deep_or_too_long_is_refused(expression: str) -> None:
    with pytest.raises(FilterError, match=r"(levels deep|parentheses|characters)"):
        compile_expression(expression)


def test_as_deep_as_allowed() -> None:
    assert compile_expression("(" * 100 + "a = 1" + ")" * 100).matches({"a": "1"})
    assert compile_expression("+(" * 100 + "a = 1" + ")" * 100).matches({"a": "1"})
    assert compile_expression("NOT (" * 96 + "a = 1" + ")" * 96).matches({"a": "1"})
    assert compile_expression("+ " * 10_000 + "a IS NULL").matches({})


@pytest.mark.parametrize(
    "expression",
    [
        "a = --1 OR " * 11_000,
        "/*" * 60_000,
        "/*" + "*x" * 60_000,
        "'" + "''" * 60_000,
        "a = 1 " + "-" * 120_000,
        "-- \r" * 40_000 + "a",
        "+" * 131_000,
        "a IN ('" + "','" * 40_000,
    ],
)
def test_hostile_texts_cost_little(expression: str) -> None:
    began = time.process_time()
    try:
        compile_expression(expression)
    except FilterError:
        pass  # whether it compiles is the golden table's business
    assert time.process_time() - began < 5  # milliseconds where it is linear, minutes where it is not


def test_errors_from_the_cache_are_new_ones() -> None:
    errors = []
    for _ in range(2):
        with pytest.raises(FilterError) as caught:
            compile_expression("a = ")
        errors.append(caught.value)
    assert errors[0] is not errors[1]
    assert errors[0].remark == errors[1].remark


def test_a_lone_surrogate_does_not_break_the_answer() -> None:
    with pytest.raises(FilterError) as caught:
        compile_expression("'\ud800' AND a")
    assert caught.value.remark.endswith("boolean value: '?'")


WORDS = st.sampled_from(
    [*"=<>(),+-#'/é🎉", *("NOT", "AND", "OR", "BETWEEN", "IN", "TRUE", "NULL", "IS", "CONTAINS", "<>", "<=", "a", "b")]
) | st.sampled_from(["5", ".5", "9999999999", "'x'", "--", "/*"])  # fmt: skip
TEXTS = st.dictionaries(
    st.sampled_from("ab"), st.text() | st.from_regex(r"[+-]?[0-9.eEx]{1,12}[dfLp]?", fullmatch=True)
)


@given(st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=20), TEXTS)
def test_any_text_compiles_or_is_refused(expression: str, properties: dict[str, str]) -> None:
    try:
        compiled = compile_expression(expression)
    except FilterError as refused:
        refused.remark.encode()
        return
    assert compiled.matches(properties) in (True, False)


@given(st.sampled_from(["a = {}", "a > {}", "{} >= a", "a <> {}", "a BETWEEN {} AND b"]), st.sampled_from(
    ["5", "5.5", "b", "'5'", "TRUE", "3000000000", "-1"]), TEXTS)  # fmt: skip
def test_any_property_can_be_compared(form: str, operand: str, properties: dict[str, str]) -> None:
    try:
        compiled = compile_expression(form.format(operand))
    except FilterError:
        return  # not every operand can be ordered
    assert compiled.matches(properties) in (True, False)
